//! The one door to portable-pty: a program in a terminal of its own.
//!
//! Nothing of ours runs between `fork` and `exec`: a child that is not a copy of this process leaves it no pages to
//! copy afterwards. The program therefore [makes itself at home](settle_in) in the terminal.
//!
//! What it writes is read by a descriptor of our own: portable-pty's reader says "end" where the kernel says `EIO`, after which
//! there may still be something to read. A terminal gives four kilobytes at a time; to read on before they are written to a log was
//! tried, with and without waiting for more, and is slower: the writer waits meanwhile, and asking a terminal whether there is more
//! waits for a worker of the kernel.
//!
//! Everything is spawned from one thread that lives as long as the process: a parent-death signal fires when the
//! *thread* that spawned ends.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Error, Read, Result};
use std::process::{Child, Command};
use std::sync::{Arc, mpsc};

use filedescriptor::FileDescriptor;
use portable_pty::{MasterPty, PtySize, native_pty_system};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};

use super::family;
use super::process::Target;
use super::signals;

/// Columns of the terminal: wide, so that nothing that looks at the width wraps lines.
const COLUMNS: u16 = 400;
/// Rows of the terminal.
const ROWS: u16 = 50;

/// What to run.
#[derive(Debug, Clone)]
pub struct PtyCommand {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
}

/// A program that runs in its terminal.
pub struct PtyProcess {
    /// Its number; also its process group and session, once it has settled in.
    pub pid: u32,
    /// The way to signal it.
    pub target: Arc<Target>,
    /// What it writes. Ends when the last process that has the terminal open is gone, or when the terminal is hung up.
    pub output: PtyOutput,
    /// To wait for it.
    pub child: PtyChild,
    /// Keeps the terminal open; dropping it hangs up.
    pub terminal: PtyTerminal,
}

/// The end of the terminal that we hold.
pub struct PtyTerminal(
    #[expect(dead_code, reason = "held for its descriptor, which hangs up when dropped")]
    Box<dyn MasterPty + Send>,
);

/// What is written into a terminal. The end is `EIO`, see `n_tty_read` in the kernel.
pub struct PtyOutput(File);

impl PtyOutput {
    fn of(master: &dyn MasterPty) -> Result<Self> {
        let descriptor = master.as_raw_fd().ok_or_else(|| Error::other("no descriptor"))?;
        let file = FileDescriptor::dup(&descriptor).and_then(|own| own.as_file());
        file.map(Self).map_err(Error::other)
    }

    /// The program's end of the terminal, which does not become this process's own terminal.
    fn other_end(&self) -> Result<File> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        Ok(ioctl_tiocgptpeer(&self.0, flags)?.into())
    }
}

impl Read for PtyOutput {
    fn read(&mut self, chunk: &mut [u8]) -> Result<usize> {
        self.0.read(chunk)
    }
}

/// The process in the terminal, to be waited for.
pub struct PtyChild(Child);

impl PtyChild {
    /// Waits until it has ended; its exit code, or `None` when a signal ended it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wait(&mut self) -> Result<Option<i32>> {
        Ok(self.0.wait()?.code())
    }
}

/// A request to the spawning thread, with the way back.
type Request = (PtyCommand, mpsc::Sender<Result<PtyProcess>>);

/// The thread that spawns. It ends with the last handle to it.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no more threads to give, or does not let this process stop ignoring signals.
    pub fn start() -> Result<Self> {
        signals::hand_down_none_ignored()?;
        let (requests, inbox) = mpsc::channel::<Request>();
        std::thread::Builder::new().name("spawner".into()).spawn(move || {
            for (command, reply) in inbox {
                drop(reply.send(open(&command)));
            }
        })?;
        Ok(Self { requests })
    }

    /// Runs a program in a new terminal.
    ///
    /// # Errors
    /// When there is no terminal to be had or the program cannot be started.
    pub fn spawn(&self, command: PtyCommand) -> Result<PtyProcess> {
        let (reply, answer) = mpsc::channel();
        self.requests.send((command, reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::other("the spawning thread has ended")
}

fn open(command: &PtyCommand) -> Result<PtyProcess> {
    let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).map_err(Error::other)?;
    let output = PtyOutput::of(&*pair.master)?;
    let other_end = output.other_end()?;
    let (program, args) = command.argv.split_first().ok_or_else(|| Error::other("no program"))?;
    let mut start = Command::new(program);
    start.args(args).env_clear().envs(command.env.iter().map(|(name, value)| (name, value)));
    start.stdin(other_end.try_clone()?).stdout(other_end.try_clone()?).stderr(other_end);
    let mut child = family::spawn(|| start.spawn(), Child::id)?;
    let pid = child.id();
    // Nobody has waited for it yet, so the number is still its own. What cannot be signalled could not be fenced.
    let Some(target) = Target::open(pid, |_| true).map(Arc::new) else {
        let _ended = child.kill().and_then(|()| child.wait());
        return Err(Error::other(format!("no way to signal process {pid}")));
    };
    let (child, terminal) = (PtyChild(child), PtyTerminal(pair.master));
    Ok(PtyProcess { pid, target, output, child, terminal })
}

/// Makes the process at home in the terminal that it was [spawned](Spawner::spawn) in, before it does anything else: it leads a session of
/// its own, to which the terminal belongs, has no descriptor of whoever started it and blocks no signal. Whoever started it may have
/// inherited both.
///
/// # Errors
/// Those of the system: it leads a session, or there is no terminal.
pub fn settle_in() -> Result<()> {
    portable_pty::unix::close_random_fds();
    signals::block_none()?;
    rustix::process::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
}

impl std::fmt::Debug for PtyProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PtyProcess").field("pid", &self.pid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script in a terminal of its own to its end: what it wrote, its code and its process id.
    fn played(script: &str) -> (String, Option<i32>, u32) {
        let mut process = started(script);
        let mut bytes = Vec::new();
        drop(process.output.read_to_end(&mut bytes));
        let code = process.child.wait().expect("wait");
        (String::from_utf8_lossy(&bytes).trim().to_owned(), code, process.pid)
    }

    #[test]
    fn a_question_to_the_terminal_is_answered_by_nobody() {
        // Device attributes, cursor position, and a line put into the input of the terminal it is on.
        let script = "stty raw -echo min 0 time 5; printf '\\033[c\\033[6n'; dd bs=64 count=1 2>/dev/null | wc -c";
        let (said, ..) = played(script);
        assert!(said.ends_with("[6n0"), "{said:?}");
    }

    #[test]
    fn all_that_was_written_is_read_and_the_end_is_an_error() {
        let (said, code, _) = played("stty raw; head -c 300000 /dev/zero | tr '\\0' x");
        assert_eq!((said.len(), code), (300_000, Some(0)));
        let spawner = Spawner::start().expect("thread");
        let argv = ["/bin/true"].map(OsString::from).to_vec();
        let command = PtyCommand { argv, env: Vec::new() };
        let mut process = spawner.spawn(command).expect("spawn");
        process.child.wait().expect("ended");
        let ends = [(); 2].map(|()| process.output.read(&mut [0; 8]).map_err(|e| e.raw_os_error()));
        let hung_up = Err(Some(rustix::io::Errno::IO.raw_os_error()));
        assert_eq!(ends, [hung_up, hung_up]);
    }

    /// Starts a script in a terminal of its own.
    fn started(script: &str) -> PtyProcess {
        let argv = ["setsid", "--ctty", "sh", "-c", script].map(OsString::from);
        let path = crate::os::env::var_os("PATH").expect("a search path");
        let env = vec![("PATH".into(), path)];
        let command = PtyCommand { argv: argv.to_vec(), env };
        Spawner::start().expect("thread").spawn(command).expect("spawn")
    }

    #[test]
    fn a_program_has_a_terminal_and_ends_with_its_own_code() {
        let (said, code, pid) = played("test -t 0 -a -t 1 -a -t 2 && echo $$; exit 3");
        assert_eq!((said, code), (pid.to_string(), Some(3)));
    }
}
