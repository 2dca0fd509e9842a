//! The one door to signals (signal-hook): those that ask a program to end become calls, and what a worker starts has none shut off.

use std::io::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::{Handle, Signals};

/// SIGINT's number.
pub const INTERRUPT: i32 = SIGINT;
/// SIGTERM's number.
pub const TERMINATE: i32 = SIGTERM;
/// SIGHUP's number.
pub const HANG_UP: i32 = SIGHUP;

/// SIGCONT's number.
pub const CONTINUE: i32 = SIGCONT;
/// SIGWINCH's number.
pub const RESIZE: i32 = SIGWINCH;

/// What a program may count on not to be ignored: as portable-pty has it.
const NEVER_IGNORED: [i32; 6] = [SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Has what this process starts from now on ignore none of ALRM, CHLD, HUP, INT, QUIT and TERM, whatever this one was started with, as by
/// `nohup`. To this process they still mean nothing, unless it [listens](Listener), but for CHLD: the end of a child can be waited for.
///
/// # Errors
/// When the handlers cannot be installed, or the kernel does not tell.
pub fn hand_down_none_ignored() -> Result<()> {
    let mask = ignored(&std::fs::read_to_string("/proc/self/status")?);
    let mask = mask.ok_or_else(|| Error::other("the kernel does not tell what is ignored"))?;
    for signal in NEVER_IGNORED.into_iter().filter(|signal| mask >> (signal - 1) & 1 == 1) {
        // What a process handles, and does not ignore, is as ever in what it starts.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// The signals that a process ignores, the first one in the lowest bit, by what the kernel tells of it.
fn ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Listens until it is dropped; from then on the signals pass unheard.
#[derive(Debug)]
pub struct Listener {
    handle: Handle,
}

impl Listener {
    /// Calls `wake` with the number of each SIGINT, SIGTERM or SIGHUP, from a thread of its own.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen(wake: impl Fn(i32) + Send + 'static) -> Result<Self> {
        Self::listen_to(&[SIGINT, SIGTERM, SIGHUP], wake)
    }

    /// As [`Listener::listen`], and of what somebody does with the terminal as well: SIGCONT and SIGWINCH.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen_on_terminal(wake: impl Fn(i32) + Send + 'static) -> Result<Self> {
        Self::listen_to(&[SIGINT, SIGTERM, SIGHUP, SIGCONT, SIGWINCH], wake)
    }

    fn listen_to(which: &[i32], wake: impl Fn(i32) + Send + 'static) -> Result<Self> {
        let mut signals = Signals::new(which)?;
        let handle = signals.handle();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                wake(signal);
            }
        })?;
        Ok(Self { handle })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::os::process::{self, Target};

    #[test]
    fn what_is_ignored_is_read_from_what_the_kernel_tells() {
        let status =
            "Name:\tx\nSigBlk:\t00000001\nSigIgn:\t0000000000000004\nSigCgt:\t0000000180000000\n";
        assert_eq!(ignored(status), Some(1 << (signal_hook::consts::SIGQUIT - 1)));
        assert_eq!((ignored("Name:\tx\n"), ignored("SigIgn:\tx\n")), (None, None));
    }

    #[test]
    fn a_signal_becomes_a_call() {
        let (tx, rx) = mpsc::channel();
        let listener = Listener::listen(move |s| tx.send(s).expect("heard")).expect("listen");
        Target::open(process::own_pid(), |_| true).expect("we live").terminate();
        assert_eq!(rx.recv_timeout(Duration::from_secs(5)), Ok(TERMINATE));
        drop(listener);
    }
}
