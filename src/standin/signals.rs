//! Signals as events: an interrupt becomes a message to the one loop that plays.
//!
//! The loop waits for everything on one channel, so an interrupt ends a sleep, a command or a hang
//! alike. Where the loop is stuck elsewhere (a reader that does not read), the process ends anyway.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long an interrupted run may take to end in order.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the playing loop may be told.
#[derive(Debug)]
pub(super) enum Event {
    /// SIGINT came.
    Interrupted,
    /// The running command has ended.
    CommandEnded(io::Result<std::process::ExitStatus>),
}

/// The loop's ear: events in, and the switch that makes it deaf to signals.
#[derive(Debug)]
pub(super) struct Ear {
    /// Everything the loop waits for.
    pub(super) events: Receiver<Event>,
    /// Where threads that wait for the loop report.
    pub(super) sender: Sender<Event>,
    deaf: Arc<AtomicBool>,
}

impl Ear {
    /// Starts to listen for SIGINT.
    pub(super) fn open() -> io::Result<Self> {
        let (sender, events) = channel();
        let ear = Self { events, sender, deaf: Arc::new(AtomicBool::new(false)) };
        let mut signals = Signals::new([SIGINT])?;
        let (deaf, tell) = (Arc::clone(&ear.deaf), ear.sender.clone());
        thread::spawn(move || {
            for _ in signals.forever() {
                if !deaf.load(Ordering::SeqCst) && tell.send(Event::Interrupted).is_ok() {
                    thread::park_timeout(LAST_WORDS);
                    signal_hook::low_level::exit(1);
                }
            }
        });
        Ok(ear)
    }

    /// Ignores INT, TERM and HUP from here on.
    pub(super) fn go_deaf(&self) -> io::Result<()> {
        self.deaf.store(true, Ordering::SeqCst);
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&self.deaf))?;
        }
        Ok(())
    }

    /// Waits; `true` if the time passed in peace, `false` if an interrupt came.
    pub(super) fn rest(&self, time: Duration) -> bool {
        self.events.recv_timeout(time).is_err()
    }
}

/// Ends this process by `signal`, as if it had never been caught.
pub(super) fn die_by(signal: i32) -> io::Result<()> {
    match rustix::process::Signal::from_named_raw(signal) {
        Some(rustix::process::Signal::KILL) => {
            rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            )?;
            Ok(())
        }
        _ => signal_hook::low_level::emulate_default_handler(signal),
    }
}
