//! `numerus __session`: what happens in the new terminal before codex itself runs there. Makes itself at home in it, seals the family,
//! sets up the descriptors, locks the session's lock so that codex inherits it, and becomes codex. Commands of
//! the job file start in the same way, without terminal, prompt and lock of their own, and enter a control group first.
//!
//! Arguments: `LOCK PROMPT STDERR CGROUP-PROCS BOUNDS -- PROGRAM ARGS…`, `-` for what there is none of; or the name of a pipe that
//! tells, sooner or later, where orders with these words are. Those are prepared, and obeyed when the pipe says `go`: until then
//! the journal may not say yet that codex begins. Without orders, or without that word, it leaves. Exits with 127 and a line on
//! stderr when any of it fails: nothing of codex has run then.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::termios::{self, OptionalActions};

use super::fence::{JOB_MARK, PLACE_MARK};
use super::orders::Orders;
use crate::logic::classify::NOT_PREPARED;
use crate::os::bounds::Bounds;
use crate::os::lock::FileLock;
use crate::os::{cgroup, env, family, fsx, memory, pipe, process, pty};

/// How long a session waits for the lock of the one before it in the same place.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The word after which codex may begin.
pub(super) const GO: &[u8] = b"go";
/// Exit code for "codex was never reached".
const NOT_REACHED: u8 = 127;

/// Prepares and becomes codex; comes back only if that failed, or if there is nothing to become.
pub fn run(args: &[OsString]) -> u8 {
    let prepared = match args {
        [orders] => stand_by(Path::new(orders)),
        words => prepare(words, mark).map(Some),
    };
    let line = match prepared {
        Ok(Some(mut codex)) => format!("numerus: cannot run codex: {}\n", codex.exec()),
        Ok(None) => return 0,
        Err(error) => format!("{NOT_PREPARED}{error}\n"),
    };
    let _nobody_listens = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    NOT_REACHED
}

/// Waits for orders, prepares what they say and waits for the word; `None` when whoever was to give them is gone or needs nothing.
fn stand_by(name: &Path) -> Result<Option<Command>> {
    pty::settle_in()?;
    // Nobody's folder is in use by who only waits.
    env::enter(Path::new("/"))?;
    process::interrupt_with_parent()?;
    let mut heard = pipe::Words::of(name)?;
    let Some(written) = heard.hear()? else { return Ok(None) };
    let Orders { cwd, env, words } = Orders::of_bytes(&memory::read_all(&written)?)?;
    // As the environment has it: of two of one name the last counts.
    let mark = |name: &str| {
        let (_, value) = env.iter().rfind(|(known, _)| known == name)?;
        value.clone().into_string().ok()
    };
    let mut codex = prepare(&words, mark)?;
    env::enter(&cwd).map_err(fsx::at(&cwd))?;
    codex.env_clear().envs(env);
    Ok((heard.hear()?.as_deref() == Some(GO)).then_some(codex))
}

/// A mark that this process was given.
fn mark(name: &str) -> Option<String> {
    env::var(name)
}

/// Does what the words say up to codex. The seal comes first: from then on this process is known as one of its family.
fn prepare(words: &[OsString], mark: impl Fn(&str) -> Option<String>) -> Result<Command> {
    let [lock, prompt, stderr, procs, bounds, dashes, program, rest @ ..] = words else {
        return Err(usage());
    };
    if dashes != "--" {
        return Err(usage());
    }
    seal(mark);
    // Apart from the terminal: mixed in, it would break lines of JSON.
    given(stderr, pipe::become_stderr)?;
    process::interrupt_with_parent()?;
    given(procs, cgroup::enter)?;
    given(lock, |lock| raw_stdout().and_then(|()| hold_lock(lock)))?;
    given(prompt, |prompt| {
        Ok(rustix::stdio::dup2_stdin(File::open(prompt).map_err(fsx::at(prompt))?)?)
    })?;
    Bounds::of_word(&bounds.to_string_lossy()).bind()?;
    process::keep_private();
    process::keep_no_dumps()?;
    let mut codex = Command::new(program);
    codex.args(rest);
    Ok(codex)
}

/// Does it with the path, if one is named.
fn given(word: &OsString, with: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if word == "-" { Ok(()) } else { with(Path::new(word)) }
}

/// Seals the family by the marks that its first process carries.
fn seal(mark: impl Fn(&str) -> Option<String>) {
    if let (Some(job), Some(place)) = (mark(JOB_MARK), mark(PLACE_MARK)) {
        family::seal(&[(JOB_MARK, &job), (PLACE_MARK, &place)]);
    }
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
