//! The one door to signals (signal-hook): those that ask a program to end become calls, and a process can be asked to.

use std::io::Result;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// SIGINT's number.
pub const INTERRUPT: i32 = SIGINT;
/// SIGTERM's number.
pub const TERMINATE: i32 = SIGTERM;
/// SIGHUP's number.
pub const HANG_UP: i32 = SIGHUP;

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
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
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

/// Asks a process to end (SIGTERM). The caller has made sure that the number still belongs to it; a process that is gone
/// is no error.
///
/// # Errors
/// When the process may not be signalled.
pub fn terminate(pid: u32) -> Result<()> {
    let Some(pid) = i32::try_from(pid).ok().filter(|p| *p > 1).and_then(Pid::from_raw) else {
        return Ok(());
    };
    match kill_process(pid, Signal::TERM) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signal_becomes_a_call() {
        let (tx, rx) = mpsc::channel();
        let listener = Listener::listen(move |s| tx.send(s).expect("heard")).expect("listen");
        terminate(std::process::id()).expect("signal ourselves");
        assert_eq!(rx.recv_timeout(Duration::from_secs(5)), Ok(TERMINATE));
        drop(listener);
    }

    #[test]
    fn nobody_in_particular_is_never_signalled() {
        for pid in [0, 1, u32::MAX] {
            terminate(pid).expect("left alone");
        }
    }
}
