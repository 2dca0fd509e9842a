//! What a session begins with: its files, the words and the environment that codex is called with, its terminal and its lock. Nothing of
//! codex runs yet.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{Bounds, Call, arguments};
use super::fence::{JOB_MARK, PLACE_MARK};
use super::program::Codex;
use super::session::SessionSpec;
use crate::model::job::Sandbox;
use crate::os::child::{NotStarted, Program};
use crate::os::lock::FileLock;
use crate::os::pty::{Pty, PtyProcess};
use crate::os::{family, fsx};

/// How long a session waits for the lock of the one before it in the same place.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Makes its folders and writes what codex reads.
///
/// # Errors
/// Those of the system, with the path.
pub(super) fn prepare(spec: &SessionSpec) -> Result<()> {
    fsx::make_dir(spec.place.dir())?;
    if let Some(temp) = temp(spec) {
        fsx::make_dir(&temp)?;
    }
    fsx::replace_derived(&spec.place.prompt(spec.number), spec.prompt.as_bytes())?;
    if let Some(schema) = &spec.schema {
        fsx::replace_derived(&spec.place.schema(spec.number), schema.to_string().as_bytes())?;
    }
    Ok(())
}

/// The folder for the temporary files of a session that may write: the attempt's own, beside its tree.
fn temp(spec: &SessionSpec) -> Option<PathBuf> {
    (spec.sandbox != Sandbox::ReadOnly).then(|| spec.place.temp(spec.attempt))
}

/// The fresh file that codex writes its last message into.
pub(super) fn last_message(spec: &SessionSpec) -> PathBuf {
    spec.place.dir().join(format!("last-{}.txt", spec.number))
}

/// How codex is called for a session, and what it is to find.
pub(super) struct Order {
    program: Program,
    prompt: PathBuf,
    lock: PathBuf,
}

/// What a session begins with, once its intent is on disk.
pub(super) struct Ready {
    terminal: Pty,
    program: Program,
    /// The prompt, and where stderr goes: apart from the terminal, since mixed in it would break lines of JSON.
    around: (OwnedFd, OwnedFd),
    lock: OwnedFd,
}

impl Ready {
    /// Begins it.
    ///
    /// # Errors
    /// When codex cannot be started.
    pub(super) fn begin(self) -> std::result::Result<PtyProcess, NotStarted> {
        self.terminal.run(&self.program, self.around, Some(self.lock))
    }
}

/// What codex is called with; the file of its last message is not there any more.
///
/// # Errors
/// Those of the system, with the path.
pub(super) fn order(codex: &Codex, spec: &SessionSpec, home: Option<&Path>) -> Result<Order> {
    let marks = [(JOB_MARK, spec.job.to_string()), (PLACE_MARK, spec.place_name.clone())];
    let schema = spec.schema.as_ref().map(|_| spec.place.schema(spec.number));
    let (last, temp) = (last_message(spec), temp(spec));
    fsx::remove(&last)?;
    let opened = spec.opened.as_ref().filter(|opened| !opened.is_everything());
    let call = Call {
        sandbox: spec.sandbox,
        bounds: opened.map(|opened| Bounds { cwd: home.unwrap_or(&spec.cwd), opened }),
        network: spec.network,
        model: spec.model.as_deref(),
        profile: spec.profile.as_deref(),
        last_message: &last,
        schema: schema.as_deref(),
        resume: spec.resume.as_ref().map(|(thread, _)| thread.as_str()),
        marks: &marks,
        temp: temp.as_deref(),
    };
    let mut argv = codex.program.clone();
    argv.extend(arguments(&call));
    let seal = family::seal(&marks.each_ref().map(|(name, value)| (*name, value.as_str())));
    let mut env = codex.env.clone();
    env.extend(marks.map(|(name, value)| (name.into(), value.into())));
    let (cwd, limits) = (spec.cwd.clone(), codex.bounds.limits());
    // It is put into its group a moment later.
    let program = Program { argv, env, cwd, group: None, limits, seal };
    let (prompt, lock) = (spec.place.prompt(spec.number), spec.place.session_lock());
    Ok(Order { program, prompt, lock })
}

/// Opens what codex is to find: its terminal, its prompt, and the session's lock, which it inherits and which is free when codex and all
/// that inherited it are gone.
///
/// # Errors
/// Those of the system, and an older session that still has the lock.
pub(super) fn make_ready(order: Order, stderr: OwnedFd) -> Result<Ready> {
    let Order { program, prompt, lock } = order;
    let terminal = Pty::open()?;
    let prompt = File::open(&prompt).map_err(fsx::at(&prompt))?;
    let Some(held) = FileLock::acquire(&lock, LOCK_PATIENCE)? else {
        let message = format!("{}: an older session still lives", lock.display());
        return Err(Error::new(ErrorKind::WouldBlock, message));
    };
    Ok(Ready { terminal, program, around: (prompt.into(), stderr), lock: held.hand_down()? })
}
