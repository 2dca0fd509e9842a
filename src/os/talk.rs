//! A talk with a child process: one thread feeds it and hears it until it has ended, within a time. Who holds its pipes beyond its end is
//! heard a moment longer.
//!
//! Diagnostics: an error of the system is handed back with the child still running; whoever started it ends it.

use std::io::Result;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::clock;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How long pipes are listened to that somebody else holds when the child has ended.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Both sides of a talk.
pub(super) struct Talk<'a> {
    mouth: Mouth<'a>,
    /// What it says.
    pub(super) stdout: Ear,
    /// What it complains of.
    pub(super) stderr: Ear,
}

/// What a child is told.
struct Mouth<'a> {
    pipe: Option<OwnedFd>,
    words: &'a [u8],
}

/// What was heard of a child on one of its outputs, up to one byte over the limit. The rest goes by, so that it never waits.
pub(super) struct Ear {
    pipe: Option<OwnedFd>,
    limit: usize,
    /// What was heard.
    pub(super) bytes: Vec<u8>,
}

impl<'a> Talk<'a> {
    /// Takes the pipes of a child; `limits` are how many bytes are kept of what it says and complains.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn with(child: &mut Child, words: &'a [u8], limits: (u64, u64)) -> Result<Self> {
        let mouth = Mouth { pipe: silent(child.stdin.take())?, words };
        let stdout = Ear::on(silent(child.stdout.take())?, limits.0);
        let stderr = Ear::on(silent(child.stderr.take())?, limits.1);
        Ok(Self { mouth, stdout, stderr })
    }

    /// Goes on until the child has ended and its pipes are closed, or have been held by somebody else for a moment; `false` when the time
    /// is over before the child has ended. It is not reaped here.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn go_on(&mut self, child: &Child, patience: Duration) -> Result<bool> {
        let Some(pid) = Pid::from_raw(child.id().cast_signed()) else { return Ok(true) };
        let mut life = Some(pidfd_open(pid, PidfdFlags::empty())?);
        let mut until = clock::since_boot().saturating_add(patience);
        let mut chunk = vec![0; CHUNK];
        self.mouth.speak();
        loop {
            let is_closed = self.stdout.pipe.is_none() && self.stderr.pipe.is_none();
            let left = until.saturating_sub(clock::since_boot());
            if (is_closed && life.is_none()) || left.is_zero() {
                return Ok(life.is_none());
            }
            let pipes = [&self.mouth.pipe, &self.stdout.pipe, &self.stderr.pipe, &life];
            let [listens, says, complains, has_ended] = wait(pipes, left)?;
            if listens {
                self.mouth.speak();
            }
            // What it said last is there when it has ended.
            if says || has_ended {
                self.stdout.hear(&mut chunk);
            }
            if complains || has_ended {
                self.stderr.hear(&mut chunk);
            }
            if has_ended {
                life = None;
                until = until.min(clock::since_boot().saturating_add(A_MOMENT));
            }
        }
    }
}

/// Which of these have something to tell: the first listens, the others are listened to. None when the time is over.
fn wait(pipes: [&Option<OwnedFd>; 4], patience: Duration) -> Result<[bool; 4]> {
    let timeout = Timespec::try_from(patience).ok();
    let flags = |n| if n == 0 { PollFlags::OUT } else { PollFlags::IN };
    let open = || pipes.iter().enumerate().filter_map(|(n, pipe)| Some((n, pipe.as_ref()?)));
    let mut fds: Vec<PollFd<'_>> = open().map(|(n, pipe)| PollFd::new(pipe, flags(n))).collect();
    let mut ready = [false; 4];
    match poll(&mut fds, timeout.as_ref()) {
        Err(Errno::INTR) => return Ok(ready),
        polled => polled?,
    };
    for ((n, _), fd) in open().zip(&fds) {
        ready[n] = !fd.revents().is_empty();
    }
    Ok(ready)
}

impl Mouth<'_> {
    /// Says as much as is listened to. A child that ends early breaks the pipe; its exit code tells why.
    fn speak(&mut self) {
        while let Some(pipe) = self.pipe.as_ref().filter(|_| !self.words.is_empty()) {
            match write(pipe, self.words) {
                Ok(size) => self.words = &self.words[size..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_broken) => self.words = &[],
            }
        }
        self.pipe = None;
    }
}

impl Ear {
    fn on(pipe: Option<OwnedFd>, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
        Self { pipe, limit, bytes: Vec::new() }
    }

    /// Hears what there is to hear, no more than a chunk: who speaks faster than we listen is not to take all the time.
    fn hear(&mut self, chunk: &mut [u8]) {
        let Some(pipe) = &self.pipe else { return };
        match read(pipe, &mut *chunk) {
            Ok(0) => self.pipe = None,
            Ok(size) => {
                let room = self.limit - self.bytes.len();
                self.bytes.extend_from_slice(&chunk[..size.min(room)]);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_broken) => self.pipe = None,
        }
    }
}

/// Our end of a pipe, at which nobody waits.
fn silent(pipe: Option<impl Into<OwnedFd>>) -> Result<Option<OwnedFd>> {
    let Some(pipe) = pipe.map(Into::into) else { return Ok(None) };
    ioctl_fionbio(pipe.as_fd(), true)?;
    Ok(Some(pipe))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Child {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).stdin(Stdio::piped());
        shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell")
    }

    /// Whether it came to its end, and what was heard.
    fn talk(script: &str, words: &[u8], patience: Duration) -> (bool, Vec<u8>, Vec<u8>) {
        let mut child = shell(script);
        let mut talk = Talk::with(&mut child, words, (1 << 20, 4)).expect("pipes");
        let in_time = talk.go_on(&child, patience).expect("a talk");
        child.kill().expect("ours");
        child.wait().expect("ours");
        (in_time, talk.stdout.bytes, talk.stderr.bytes)
    }

    #[test]
    fn both_may_say_more_than_a_pipe_holds_at_the_same_time() {
        let words = vec![b'x'; 1 << 20];
        assert_eq!(talk("cat", &words, LONG), (true, words, Vec::new()));
    }

    #[test]
    fn what_is_over_a_limit_goes_by_but_for_a_byte() {
        let (in_time, _, complaint) = talk("head -c 300000 /dev/zero >&2", b"", LONG);
        assert_eq!((in_time, complaint), (true, vec![0; 5]));
    }

    #[test]
    fn who_does_not_listen_is_heard_to_the_end() {
        let words = vec![b'x'; 1 << 20];
        assert_eq!(talk("exec 0<&-; echo no", &words, LONG), (true, b"no\n".to_vec(), Vec::new()));
    }

    #[test]
    fn patience_ends_however_much_is_said() {
        for script in ["exec sleep 60", "exec yes"] {
            assert!(!talk(script, b"", Duration::from_millis(300)).0, "{script}");
        }
    }

    #[test]
    fn who_holds_a_pipe_beyond_the_end_takes_nothing_from_it() {
        assert_eq!(
            talk("echo ended; sleep 9 &", b"", LONG),
            (true, b"ended\n".to_vec(), Vec::new())
        );
    }
}
