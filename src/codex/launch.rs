//! `numerus __session`: what happens in the new terminal before codex itself runs there. Sets up the descriptors, locks
//! the session's lock so that codex inherits it, enters the control group, and becomes codex.
//!
//! Arguments: `LOCK PROMPT STDERR CGROUP-PROCS-or-"-" -- PROGRAM ARGS…`. Exits with 127 and a line on stderr when any of
//! it fails: nothing of codex has run then.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::termios::{self, OptionalActions};

use crate::os::lock::FileLock;
use crate::os::{cgroup, fsx, pipe, process};

/// How long a session waits for the lock of the one before it in the same place.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Exit code for "codex was never reached".
const NOT_REACHED: u8 = 127;

/// Prepares and becomes codex; comes back only if that failed.
pub fn run(args: &[OsString]) -> u8 {
    let error = match prepare(args) {
        Ok(mut codex) => codex.exec(),
        Err(error) => error,
    };
    let line = format!("numerus: cannot start the session: {error}\n");
    let _nobody_listens = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    NOT_REACHED
}

fn prepare(args: &[OsString]) -> Result<Command> {
    let [lock, prompt, stderr, procs, dashes, program, rest @ ..] = args else {
        return Err(usage());
    };
    if dashes != "--" {
        return Err(usage());
    }
    // Apart from the terminal: mixed in, it would break lines of JSON.
    pipe::become_stderr(Path::new(stderr))?;
    process::interrupt_with_parent()?;
    if procs != "-" {
        cgroup::enter(Path::new(procs))?;
    }
    raw_stdout()?;
    hold_lock(Path::new(lock))?;
    rustix::stdio::dup2_stdin(File::open(Path::new(prompt)).map_err(fsx::at(Path::new(prompt)))?)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut codex = Command::new(program);
    codex.args(rest);
    Ok(codex)
}

fn usage() -> Error {
    Error::new(ErrorKind::InvalidInput, "__session is called by numerus alone")
}

/// Raw mode: a line feed stays a line feed, nothing is echoed or cut.
fn raw_stdout() -> Result<()> {
    let terminal = rustix::stdio::stdout();
    let mut modes = termios::tcgetattr(terminal)?;
    modes.make_raw();
    Ok(termios::tcsetattr(terminal, OptionalActions::Now, &modes)?)
}

/// Takes the session's lock on a descriptor that codex inherits: the lock is free when codex and all that inherited it
/// are gone.
fn hold_lock(path: &Path) -> Result<()> {
    let Some(lock) = FileLock::acquire(path, LOCK_PATIENCE)? else {
        return Err(Error::new(
            ErrorKind::WouldBlock,
            format!("{}: an older session still lives", path.display()),
        ));
    };
    lock.hand_down()
}
