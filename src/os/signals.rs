//! The one door to signals (signal-hook): those that ask a program to end become calls.

use std::io::Result;
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

/// What a program in a terminal of its own may count on not to be ignored.
const NEVER_IGNORED: [i32; 6] = [SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Has what this process starts from now on ignore none of the signals that end a program or tell it of a child, whatever this one was
/// started with, as by `nohup`. To this process they still mean nothing, unless it [listens](Listener).
///
/// # Errors
/// When the handlers cannot be installed, or the kernel does not tell.
pub fn hand_down_none_ignored() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    for signal in NEVER_IGNORED.into_iter().filter(|signal| is_ignored(*signal, &status)) {
        // What a process handles, and does not ignore, is as ever in what it starts.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Whether a process ignores a signal, by what the kernel tells of it.
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
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
    fn a_signal_becomes_a_call() {
        let (tx, rx) = mpsc::channel();
        let listener = Listener::listen(move |s| tx.send(s).expect("heard")).expect("listen");
        Target::open(process::own_pid(), |_| true).expect("we live").terminate();
        assert_eq!(rx.recv_timeout(Duration::from_secs(5)), Ok(TERMINATE));
        drop(listener);
    }
}
