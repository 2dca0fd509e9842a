//! What wakes a command that follows files: changes of them, signals, the end of a child, a typed line, and a slow look that
//! finds what a watch missed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::here::Here;
use crate::error::Failure;
use crate::os::screen::{self, Key};
use crate::os::watch::Watch;
use crate::os::{clock, signals};

/// Longest time without a look at the files.
const RESCAN: Duration = Duration::from_secs(5);
/// The same where the kernel has no watches to give.
const WITHOUT_WATCH: Duration = Duration::from_secs(1);

/// One Ctrl-C may arrive twice, as where a process gets it by its number and with its group: what comes so soon after it is the same press.
/// Nobody presses twice within it.
const BOUNCE: Duration = Duration::from_millis(50);

/// When the last Ctrl-C arrived, in milliseconds since boot; 0 where none has, or a line was typed since.
#[derive(Clone, Default)]
struct LastPress(Arc<AtomicU64>);

impl LastPress {
    /// Whether a Ctrl-C that arrives now is the last one once more.
    fn is_bounce(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let last = self.0.swap(now, Ordering::Relaxed);
        last != 0 && u128::from(now.saturating_sub(last)) < BOUNCE.as_millis()
    }

    /// Whoever has typed a line presses anew.
    fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Why a follower woke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something may have changed.
    Look,
    /// Someone asked this process to end.
    Signal(u8),
    /// It was stopped and goes on; others may have written on its terminal meanwhile.
    Continued,
    /// The child that was handed over has ended.
    Child,
    /// A key was pressed on the whole screen; `None` is the end of the input.
    Key(Option<Key>),
    /// Something that was begun aside is over, and says so.
    Said(String),
    /// The person answered; `None` is the end of their input.
    Answer(Option<String>),
}

/// Wakes when watched files change.
pub(super) struct Wakes {
    /// `None` where the kernel has none to give.
    watch: Option<Watch>,
    /// What is watched, and whether it was asked for since the last [`Wakes::settle`].
    watched: BTreeMap<PathBuf, bool>,
    sender: Sender<Wake>,
    receiver: Receiver<Wake>,
    signals: Option<signals::Listener>,
    last_press: LastPress,
    /// Whether somebody waits for a typed line already.
    reads: bool,
}

impl Wakes {
    /// Starts with nothing watched.
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel();
        let wake = sender.clone();
        let watch = Watch::new(move |_| drop(wake.send(Wake::Look))).ok();
        Self {
            watch,
            watched: BTreeMap::new(),
            sender,
            receiver,
            signals: None,
            last_press: LastPress::default(),
            reads: false,
        }
    }

    /// Watches a folder or file once it is there; the call is repeated until it is.
    pub(super) fn add(&mut self, path: &Path) {
        let Some(watch) = &mut self.watch else { return };
        if let Some(is_asked) = self.watched.get_mut(path) {
            *is_asked = true;
        } else if watch.add(path).is_ok() {
            self.watched.insert(path.to_owned(), true);
        }
    }

    /// Lets go of what nobody has asked to watch since the last call: the kernel gives each user only so many watches, and
    /// who looks for weeks sees many jobs come and go.
    pub(super) fn settle(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        self.watched.retain(|path, is_asked| {
            let stays = std::mem::take(is_asked);
            if !stays {
                watch.remove(path);
            }
            stays
        });
    }

    /// The paths that are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> impl Iterator<Item = &Path> {
        self.watched.keys().map(PathBuf::as_path)
    }

    /// Wakes for signals as well.
    pub(super) fn catch_signals(&mut self) -> Result<(), Failure> {
        let sender = self.sender.clone();
        // Told by when it arrived: whoever takes the wakes may be busy for longer.
        let last = self.last_press.clone();
        let wake = move |signal| {
            if signal == signals::INTERRUPT && last.is_bounce(clock::since_boot()) {
                return;
            }
            drop(sender.send(match signal {
                signals::CONTINUE => Wake::Continued,
                signals::RESIZE => Wake::Look,
                other => Wake::Signal(u8::try_from(other).unwrap_or(0)),
            }));
        };
        let listener = signals::Listener::listen_on_terminal(wake);
        self.signals = Some(listener.map_err(|e| Failure::system("listen for signals", &e))?);
        Ok(())
    }

    /// Wakes when a child has ended; its exit status is collected.
    pub(super) fn collect(&self, mut child: Child) {
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            drop(child.wait());
            drop(sender.send(Wake::Child));
        });
    }

    /// Wakes when a line was typed. What is asked while an earlier question is open is answered by the same line.
    pub(super) fn read_line(&mut self) {
        if std::mem::replace(&mut self.reads, true) {
            return;
        }
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line).unwrap_or(0);
            drop(sender.send(Wake::Answer((read > 0).then_some(line))));
        });
    }

    /// Asks the person behind the input, and waits for the line, `None` at the end of the input; or the signal that came first.
    pub(super) fn ask(&mut self, here: &mut Here, question: &str) -> Result<Option<String>, u8> {
        here.out.note_text(question);
        self.read_line();
        loop {
            match self.next() {
                Wake::Answer(line) => return Ok(line.map(|line| line.trim().to_owned())),
                Wake::Signal(signal) => return Err(signal),
                _ => {}
            }
        }
    }

    /// The signal that has come, if one has; nothing is waited for, and other reasons to wake are forgotten.
    pub(super) fn signal(&mut self) -> Option<u8> {
        self.receiver.try_iter().find_map(|wake| match wake {
            Wake::Signal(signal) => Some(signal),
            _ => None,
        })
    }

    /// Wakes for keys as well; the screen is the caller's.
    pub(super) fn catch_keys(&self) -> Result<(), Failure> {
        let sender = self.sender.clone();
        let wake = move |key| drop(sender.send(Wake::Key(key)));
        screen::listen(wake).map_err(|e| Failure::system("listen for keys", &e))
    }

    /// Does something aside, and wakes with what it says.
    pub(super) fn hear(&self, work: impl FnOnce() -> String + Send + 'static) {
        let sender = self.sender.clone();
        std::thread::spawn(move || drop(sender.send(Wake::Said(work()))));
    }

    /// Waits for the next reason to look, at most until a rescan is due. A burst of changes is one reason.
    pub(super) fn next(&mut self) -> Wake {
        self.next_within(RESCAN)
    }

    /// As [`Wakes::next`], at most this long.
    pub(super) fn next_within(&mut self, time: Duration) -> Wake {
        let rescan = if self.watch.is_some() { RESCAN } else { WITHOUT_WATCH };
        let mut wake = self.receiver.recv_timeout(time.min(rescan)).unwrap_or(Wake::Look);
        while wake == Wake::Look {
            match self.receiver.try_recv() {
                Ok(next) => wake = next,
                Err(_) => break,
            }
        }
        if matches!(wake, Wake::Answer(_)) {
            self.reads = false;
            self.last_press.forget();
        }
        wake
    }
}

/// A moment from now in boot time, for bounded waits.
pub(super) struct Deadline(Duration);

impl Deadline {
    /// That far ahead.
    pub(super) fn after(time: Duration) -> Self {
        Self(clock::since_boot() + time)
    }

    /// What is left of it; `None` once it has passed.
    pub(super) fn left(&self) -> Option<Duration> {
        self.0.checked_sub(clock::since_boot()).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_that_arrives_twice_is_pressed_once_and_a_quick_second_press_is_one() {
        let (at, last) = (Duration::from_millis, LastPress::default());
        for (now, expected) in
            [(5000, false), (5000, true), (5049, true), (5099, false), (5219, false)]
        {
            assert_eq!(last.is_bounce(at(now)), expected, "{now}");
        }
        last.forget();
        assert!(!last.is_bounce(at(5220)), "a line was typed in between");
    }
}
