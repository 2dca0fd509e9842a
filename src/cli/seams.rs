//! The seams to the floors below: every call of a command that changes something goes through one tiny function here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Exit, Failure};
use crate::model::event::Fact;
use crate::model::id::JobId;
use crate::model::job::MAX_OBJECTIVE_BYTES;
use crate::model::root::Root;
use crate::os::{clock, env, fsx, lock::FileLock, process};
use crate::runs::{Journal, RunFolder};

use super::snapshot;

/// How long a lock is tried for that its holder is about to let go.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `daemon` was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct DaemonAsked {
    /// Drain the spool and end.
    pub(super) once: bool,
    /// Workers at a time, if not as the settings say.
    pub(super) max_jobs: Option<u32>,
    /// Stop the workers too when asked to stop.
    pub(super) stop_jobs: bool,
}

fn not_wired(what: &str) -> Failure {
    Failure::new(Exit::Blocked, format!("{what} is not part of this program yet"))
}

/// The root: the flag, else `NUMERUS_ROOT`, else the nearest folder above with `spool/incoming`, else the user's state.
pub(super) fn root(flag: Option<&Path>) -> Result<Root, Failure> {
    let here =
        std::env::current_dir().map_err(|e| Failure::system("read the current directory", &e))?;
    let named = flag.map(Path::to_owned).or_else(|| env::var_os("NUMERUS_ROOT").map(PathBuf::from));
    if let Some(path) = named {
        return Ok(Root::new(here.join(path)));
    }
    if let Some(above) = here.ancestors().find(|dir| dir.join("spool/incoming").is_dir()) {
        return Ok(Root::new(above));
    }
    state_dir().map(Root::new).ok_or_else(|| {
        Failure::usage("there is no root: neither --root nor NUMERUS_ROOT nor HOME is set")
    })
}

/// The user's state directory for this program.
pub(super) fn state_dir() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("numerus"))
}

/// Splits a Markdown file into its front matter, as options, and the objective.
pub(super) fn front_matter(text: &str) -> Result<(Map<String, Value>, String), Failure> {
    if text.starts_with("---\n") {
        return Err(not_wired("front matter in a file given to submit"));
    }
    Ok((Map::new(), text.to_owned()))
}

/// Judges a job file as the taker will.
pub(super) fn admit(_root: &Root, job: &Value) -> Result<(), Failure> {
    let objective = job.get("objective").and_then(Value::as_str).unwrap_or_default();
    if objective.len() as u64 > MAX_OBJECTIVE_BYTES {
        let most = MAX_OBJECTIVE_BYTES / 1024;
        return Err(Failure::usage(format!("the objective is larger than {most} KiB")));
    }
    Ok(())
}

/// Puts a job file into `incoming/`, whole.
pub(super) fn drop_job(root: &Root, job: &JobId, bytes: &[u8]) -> Result<(), Failure> {
    let incoming = root.spool().join("incoming");
    fsx::make_dirs(&incoming)
        .and_then(|()| fsx::put_new(&incoming.join(format!("{job}.json")), bytes))
        .map_err(|e| Failure::system("submit the job", &e))
}

/// Takes a submitted job; one that a daemon has taken meanwhile is fine.
pub(super) fn take(_root: &Root, _job: &JobId) -> Result<(), Failure> {
    Err(not_wired("taking a job without a daemon"))
}

/// Withdraws a job file that nobody has taken yet; false if someone just did.
pub(super) fn withdraw(root: &Root, file: &Path) -> Result<bool, Failure> {
    let killed = root.spool().join("killed");
    let name = file.file_name().unwrap_or_default();
    let moved = fsx::make_dirs(&killed).and_then(|()| fsx::move_to(file, &killed.join(name)));
    match moved {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        moved => moved.map(|()| true).map_err(|e| Failure::system("withdraw the job", &e)),
    }
}

/// Starts this program as a child with its output in a file, out of reach of this terminal's signals.
pub(super) fn spawn_self(root: &Root, words: &[&str], log: &Path) -> Result<Child, Failure> {
    use std::os::unix::process::CommandExt;
    let cannot = |e: std::io::Error| Failure::system("start a process of this program", &e);
    let log = fsx::open_append(log).map_err(cannot)?;
    let binary = env::own_binary().map_err(cannot)?;
    let mut command = Command::new(binary);
    command.arg("--root").arg(root.path()).args(words);
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(cannot)?).stderr(log);
    command.process_group(0).spawn().map_err(cannot)
}

/// Starts a worker of our own for a taken job.
pub(super) fn start_worker(root: &Root, folder: &RunFolder) -> Result<Child, Failure> {
    spawn_self(root, &["worker", folder.job().as_str()], &folder.worker_log())
}

/// The first step of a session, which becomes codex.
pub(super) fn session(_words: Vec<OsString>) -> Result<Exit, Failure> {
    Err(not_wired("the launch of a session"))
}

/// The loop of `numerus worker JOB`.
pub(super) fn worker(_root: &Root, _job: &JobId) -> Result<Exit, Failure> {
    Err(not_wired("the worker"))
}

/// The loop of `numerus daemon`.
pub(super) fn daemon(_root: &Root, asked: DaemonAsked) -> Result<Exit, Failure> {
    let DaemonAsked { once, max_jobs, stop_jobs } = asked;
    Err(not_wired(&format!("the daemon ({once}, {max_jobs:?}, {stop_jobs})")))
}

/// Ends a job that has no worker, under its lock; false if someone holds it.
pub(super) fn finish_killed(_root: &Root, _folder: &RunFolder) -> Result<bool, Failure> {
    Err(not_wired("ending a job that has no worker"))
}

/// Asks the worker that holds a folder to end; false if no worker could be told apart.
pub(super) fn terminate_worker(folder: &RunFolder) -> Result<bool, Failure> {
    let Some(pid) = worker_pid(folder)? else { return Ok(false) };
    let is_it = |pid| {
        folder.is_held().unwrap_or(false) && worker_pid(folder).is_ok_and(|now| now == Some(pid))
    };
    let target = process::Target::open(pid, is_it);
    Ok(target.inspect(process::Target::terminate).is_some())
}

/// The process that wrote the last start of a worker, if that was under this run of the kernel.
fn worker_pid(folder: &RunFolder) -> Result<Option<u32>, Failure> {
    let events = snapshot::replay(folder)?.events;
    let start = events.iter().rev().find_map(|e| match &e.fact {
        Fact::WorkerStarted { pid, boot_id } => Some((*pid, boot_id.clone())),
        _ => None,
    });
    Ok(start.filter(|(_, boot)| *boot == process::boot_id()).map(|(pid, _)| pid))
}

/// Writes a person's approval into the journal of a resting job.
pub(super) fn approve(folder: &RunFolder) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("approve the plan", &e);
    let lock = FileLock::acquire(&folder.worker_lock(), PATIENCE).map_err(cannot)?;
    if !lock.as_ref().is_some_and(FileLock::is_current) {
        return Err(Failure::new(Exit::Blocked, format!("a worker has {} already", folder.job())));
    }
    let (mut journal, _) = Journal::open(&folder.journal(), folder.job()).map_err(cannot)?;
    journal.append(Fact::PlanApproved {}, None, clock::now()).map_err(cannot)?;
    journal.flush().map_err(cannot)
}

/// Calls `wake` with the number of every interrupt and termination asked of this process; the second one ends it.
pub(super) fn on_signal(wake: impl Fn(u8) + Send + 'static) -> Result<(), Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|e| Failure::system("watch for signals", &e))?;
    std::thread::spawn(move || {
        for (n, signal) in signals.forever().enumerate() {
            if n > 0 {
                drop(signal_hook::low_level::emulate_default_handler(signal));
            }
            wake(u8::try_from(signal).unwrap_or(0));
        }
    });
    Ok(())
}

/// Git's answer in a directory.
pub(super) fn git(dir: &Path, args: &[&str]) -> Result<String, Failure> {
    let failed =
        |why: String| Failure::new(Exit::Root, format!("cannot run git {}: {why}", args.join(" ")));
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args).stdin(Stdio::null()).env("GIT_OPTIONAL_LOCKS", "0");
    let output = command.output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
