//! Marks: what a process that was started tells the suite, with the moment of its first instruction. A job of every peer and
//! the agent of Numerus are this very program under another name, so that all of them start equally fast.

use std::ffi::{OsStr, OsString};
use std::io::{self, Error, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::floor::WATCHER;

/// What this program is called when it plays a job of a peer.
pub(crate) const JOB: &str = "mark";
/// What it is called when it plays the agent.
pub(crate) const AGENT: &str = "codex";
/// The socket beside the name that a player was called by.
const SOCKET: &str = "marks";

/// The moment, in nanoseconds of the machine's steady clock.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = |n: i64| u64::try_from(n).unwrap_or_default();
    nanos(time.tv_sec) * 1_000_000_000 + nanos(time.tv_nsec)
}

/// What a mark tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first instruction of a process.
    Start,
    /// The last but a few.
    End,
    /// Something that it printed.
    Said,
}

/// One mark.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// What happened.
    pub(crate) kind: Kind,
    /// When.
    pub(crate) at: u64,
    /// To whom: the number of a peer's job, or `JOB/PLACE` of a session.
    pub(crate) name: String,
}

/// Tells the suite, if it still listens.
pub(crate) fn tell(own: &OsStr, kind: Kind, at: u64, name: &str) {
    let letter = match kind {
        Kind::Start => 's',
        Kind::End => 'e',
        Kind::Said => 'p',
    };
    let socket = Path::new(own).with_file_name(SOCKET);
    if let Ok(sender) = UnixDatagram::unbound() {
        let _nobody_listens = sender.send_to(format!("{letter} {at} {name}").as_bytes(), socket);
    }
}

/// The job of a peer: it says that it runs, and ends.
pub(crate) fn be_a_job(
    own: &OsStr,
    words: impl Iterator<Item = OsString>,
    started: u64,
) -> ExitCode {
    let name = words.last().unwrap_or_default();
    let name = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    tell(own, Kind::Start, started, &name);
    tell(own, Kind::End, now(), &name);
    ExitCode::SUCCESS
}

/// Where marks are heard, and the names under which this program is to be started so that they come here.
pub(crate) struct Marks {
    /// Of one listener at a time; a scratch folder may be shared by several threads.
    heard: Mutex<Receiver<Mark>>,
    socket: UnixDatagram,
    dir: PathBuf,
}

impl Marks {
    /// Listens in a folder, on a thread of its own, so that nobody waits to be heard.
    pub(crate) fn in_dir(dir: &Path) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        for name in [JOB, AGENT, WATCHER] {
            std::os::unix::fs::symlink(&own, dir.join(name))?;
        }
        let socket = UnixDatagram::bind(dir.join(SOCKET)).map_err(|e| {
            let hint = "is the path of the target folder longer than a socket's may be?";
            Error::new(e.kind(), format!("{}: {e}; {hint}", dir.join(SOCKET).display()))
        })?;
        let (tell, heard) = mpsc::channel();
        let listener = socket.try_clone()?;
        std::thread::spawn(move || listen(&listener, &tell));
        Ok(Self { heard: Mutex::new(heard), socket, dir: dir.to_owned() })
    }

    /// The job of a peer as a program.
    pub(crate) fn job(&self) -> PathBuf {
        self.dir.join(JOB)
    }

    /// The agent as a program.
    pub(crate) fn agent(&self) -> PathBuf {
        self.dir.join(AGENT)
    }

    /// The next mark of any kind; an error when none comes in time.
    pub(crate) fn next(&self, patience: Duration) -> io::Result<Mark> {
        let late = |_| Error::new(ErrorKind::TimedOut, "nothing was heard of a job");
        self.heard().recv_timeout(patience).map_err(late)
    }

    /// The next mark of a kind, each mark in time.
    pub(crate) fn wait(&self, kind: Kind, patience: Duration) -> io::Result<Mark> {
        loop {
            let mark = self.next(patience)?;
            if mark.kind == kind {
                return Ok(mark);
            }
        }
    }

    /// All that has come so far.
    pub(crate) fn drain(&self) -> Vec<Mark> {
        self.heard().try_iter().collect()
    }

    fn heard(&self) -> MutexGuard<'_, Receiver<Mark>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        // Wakes the listener, which ends.
        let _gone = self.socket.shutdown(Shutdown::Both);
    }
}

fn listen(socket: &UnixDatagram, tell: &Sender<Mark>) {
    let mut buffer = [0; 512];
    while let Ok(size @ 1..) = socket.recv(&mut buffer) {
        let Some(mark) = buffer.get(..size).and_then(parse) else { continue };
        if tell.send(mark).is_err() {
            return;
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.splitn(3, ' ');
    let kind = match words.next()? {
        "s" => Kind::Start,
        "e" => Kind::End,
        "p" => Kind::Said,
        _ => return None,
    };
    Some(Mark { kind, at: words.next()?.parse().ok()?, name: words.next()?.to_owned() })
}
