//! The one door to portable-pty: a program in a terminal of its own.
//!
//! What it writes is read by a descriptor of our own: portable-pty's reader says "end" where the kernel says `EIO`, after which
//! there may still be something to read. A terminal gives four kilobytes at a time; to read on before they are written to a log was
//! tried, with and without waiting for more, and is slower: the writer waits meanwhile, and asking a terminal whether there is more
//! waits for a worker of the kernel. What is faster: see docs/decisions/0074-the-reader-steps-aside.md.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use filedescriptor::FileDescriptor;
use portable_pty::{MasterPty, PtySize, native_pty_system};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{self, OptionalActions};

use super::child::{Child, Given, NotStarted, Program, start};
use super::process::Target;

/// Columns of the terminal: wide, so that nothing that looks at the width wraps lines.
const COLUMNS: u16 = 400;
/// Rows of the terminal.
const ROWS: u16 = 50;

/// A terminal that nobody works in yet.
pub struct Pty {
    /// What will be written into it.
    output: PtyOutput,
    /// The program's end, which does not become this process's own terminal.
    inner: OwnedFd,
    /// Our end.
    terminal: PtyTerminal,
}

/// A program that runs in its terminal.
pub struct PtyProcess {
    /// Its number; also its process group and session.
    pub pid: u32,
    /// The way to signal it.
    pub target: Arc<Target>,
    /// What it writes. Ends when the last process that has the terminal open is gone, or when the terminal is hung up.
    pub output: PtyOutput,
    /// To wait for it.
    pub child: Child,
    /// Keeps the terminal open, as its output does: when both are dropped it hangs up.
    pub terminal: PtyTerminal,
}

/// The end of the terminal that we hold, beside its output.
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
}

impl Read for PtyOutput {
    fn read(&mut self, chunk: &mut [u8]) -> Result<usize> {
        self.0.read(chunk)
    }
}

impl Pty {
    /// Opens one in raw mode: a line feed stays a line feed, nothing is echoed or cut.
    ///
    /// # Errors
    /// When there is no terminal to be had.
    pub fn open() -> Result<Self> {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).map_err(Error::other)?;
        let output = PtyOutput::of(&*pair.master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let inner = ioctl_tiocgptpeer(&output.0, flags)?;
        let mut modes = termios::tcgetattr(&inner)?;
        modes.make_raw();
        termios::tcsetattr(&inner, OptionalActions::Now, &modes)?;
        Ok(Self { output, inner, terminal: PtyTerminal(pair.master) })
    }

    /// Runs a program in it, with this as its standard input and error, and something that it keeps open.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn run(
        self,
        program: &Program,
        (stdin, stderr): (OwnedFd, OwnedFd),
        kept: Option<OwnedFd>,
    ) -> std::result::Result<PtyProcess, NotStarted> {
        let Self { output, inner, terminal } = self;
        let child =
            start(program, &Given { standard: [stdin, inner, stderr], is_terminal: true, kept })?;
        let pid = child.id();
        // Nobody has waited for it yet, so the number is still its own. What cannot be signalled could not be fenced.
        let Some(target) = Target::open(pid, |_| true).map(Arc::new) else {
            child.kill();
            child.wait()?;
            return Err(Error::other(format!("no way to signal process {pid}")).into());
        };
        Ok(PtyProcess { pid, target, output, child, terminal })
    }
}

impl std::fmt::Debug for PtyProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PtyProcess").field("pid", &self.pid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a script in a terminal of its own.
    fn started(script: &str) -> PtyProcess {
        let pty = Pty::open().expect("a terminal");
        let end = || pty.inner.try_clone().expect("room");
        let standard = (end(), end());
        pty.run(&Program::shell(script), standard, None).expect("started")
    }

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
        let script =
            "stty min 0 time 5; printf '\\033[c\\033[6n'; dd bs=64 count=1 2>/dev/null | wc -c";
        let (said, ..) = played(script);
        assert!(said.ends_with("[6n0"), "{said:?}");
    }

    #[test]
    fn all_that_was_written_is_read_as_it_is_and_the_end_is_an_error() {
        let (said, code, _) = played("head -c 300000 /dev/zero | tr '\\0' x");
        assert_eq!((said.len(), code), (300_000, Some(0)));
        let mut process = started("printf '\\n\\n'");
        process.child.wait().expect("ended");
        let mut line_feeds = [0; 8];
        assert_eq!(process.output.read(&mut line_feeds).expect("read"), 2, "as they were written");
        let ends = [(); 2].map(|()| process.output.read(&mut [0; 8]).map_err(|e| e.raw_os_error()));
        let hung_up = Err(Some(rustix::io::Errno::IO.raw_os_error()));
        assert_eq!(ends, [hung_up, hung_up]);
    }

    #[test]
    fn a_program_has_a_terminal_of_its_own_and_ends_with_its_own_code() {
        let script = "test -t 0 -a -t 1 -a -t 2 && : </dev/tty && echo $$; exit 3";
        let (said, code, pid) = played(script);
        assert_eq!((said, code), (pid.to_string(), Some(3)));
    }

    #[test]
    fn who_leaves_the_terminal_hangs_up() {
        let process = started("exec sleep 1000");
        drop((process.output, process.terminal));
        assert_eq!(process.child.wait().expect("hung up"), None);
    }
}
