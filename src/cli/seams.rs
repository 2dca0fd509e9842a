//! The seams to the floors below: every call of a command that changes something goes through one tiny function here.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};

mod pages;

pub(super) use self::pages::{open_page, overview, report};

use super::lookup;
use crate::bus::Bus;
use crate::codex::{Codex, account, sandbox};
use crate::daemon::take::{self, Desk, Taken};
use crate::daemon::{self, reading};
use crate::ending::{self, Ending, Held};
use crate::error::{Exit, Failure};
use crate::health;
use crate::logic::admission::{self, Facts, Shape};
use crate::logic::frontmatter;
use crate::logic::schedule::{self, Hold, Waiting};
use crate::logic::state::JobState;
use crate::model::event::Fact;
use crate::model::id::JobId;
use crate::model::job::Sandbox;
use crate::model::rejection::Reason;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::git::{Git, GitError};
use crate::os::{clock, env, fsx, lock::FileLock, process};
use crate::root::RootError;
use crate::runs::{RunFolder, Runs, Want};
use crate::spool::Spool;
use crate::store::holds::Holds;
use crate::store::memory::Memory;
use crate::worker::Left;

/// How long a lock is tried for that its holder is about to let go.
const PATIENCE: Duration = Duration::from_secs(2);

/// The root that the flag, the environment or the current directory names; it need not exist.
pub(super) fn root(flag: Option<&Path>) -> Result<Root, Failure> {
    crate::root::discover(flag)
        .map_err(|e| Failure::usage(format!("cannot find a root: {e}")).hint("name one by --root"))
}

/// Makes the root if need be, checks it, and reads its settings.
pub(super) fn open(root: &Root) -> Result<Settings, Failure> {
    crate::root::open(root, true).map_err(unusable)
}

/// Refuses a root of which a folder is missing, or that a later version wrote: whoever read on would tell half of it.
pub(super) fn check(root: &Root) -> Result<(), Failure> {
    crate::root::check(root).map(drop).map_err(unusable)
}

fn unusable(why: RootError) -> Failure {
    match why {
        RootError::Settings { .. } => Failure::usage(why.to_string()),
        RootError::Mismatch { .. } => Failure::new(Exit::Root, why.to_string())
            .hint("mount what is missing, or name another root with --root"),
        RootError::Newer { .. } | RootError::Unsafe { .. } => {
            Failure::new(Exit::Root, why.to_string())
        }
        RootError::Io(e) => Failure::system("use the root", &e),
    }
}

/// Whether the root may be worked on; what its user should know. From here on this process leaves no dump of its memory.
pub(super) fn preflight(root: &Root) -> Result<Vec<String>, Failure> {
    let settings = open(root)?;
    process::keep_no_dumps().map_err(|e| Failure::system("turn off core dumps", &e))?;
    crate::root::preflight(root, &settings).map_err(|e| match e {
        RootError::Io(e) => Failure::system("look at the root", &e),
        e => Failure::new(Exit::Root, e.to_string())
            .hint("where that is meant to be so, set `trust_root = true` in numerus.toml; see docs/security.md"),
    })
}

/// Splits a Markdown file into its front matter, as options, and the objective.
pub(super) fn front_matter(text: &str) -> Result<(Map<String, Value>, String), Failure> {
    let bad = |why: String| Failure::usage(format!("the front matter cannot be read: {why}"));
    let parts = frontmatter::split(text).map_err(bad)?;
    let options = parts.front.map(frontmatter::parse).transpose().map_err(bad)?;
    Ok((options.unwrap_or_default(), parts.body.to_owned()))
}

/// Judges a job file as the taker will, and drops it into the spool.
pub(super) fn submit(root: &Root, job: &JobId, json: &[u8]) -> Result<(), Failure> {
    let settings = open(root)?;
    let facts = Facts { settings: &settings, resolve: &reading::resolve };
    let admitted = admission::admit(json, Shape::Json, &facts).map_err(|r| refused(&r))?;
    let known: Vec<String> = lookup::all(root)?.into_iter().map(|k| k.job.into()).collect();
    admission::resolve_after(&admitted.options.after, &known).map_err(|r| refused(&r))?;
    Spool::of(root).submit(job, json).map_err(|e| Failure::system("submit the job", &e))
}

fn refused(reason: &Reason) -> Failure {
    Failure::usage(reason.message.clone()).hint(reason.hint.clone())
}

/// Takes a submitted job; one that a daemon has taken meanwhile is fine.
pub(super) fn take(root: &Root, job: &JobId) -> Result<(), Failure> {
    let desk = Desk::new(root, open(root)?);
    let name = format!("{job}.json");
    let taken = desk.take(name.as_ref()).map_err(|e| Failure::system("take the job", &e))?;
    match taken {
        Taken::Rejected { reason, .. } => Err(refused(&reason)),
        Taken::Later(why) => Err(Failure::new(Exit::Blocked, why)),
        Taken::Job(_) | Taken::Gone => Ok(()),
    }
}

/// Whether a job may begin now: a worker of our own asks neither its `after` nor its `not_before`.
///
/// # Errors
/// What it waits for.
pub(super) fn may_begin(root: &Root, folder: &RunFolder, state: &JobState) -> Result<(), Failure> {
    let Some(job) = folder.read_job().map_err(|e| Failure::system("read the job", &e))? else {
        return Ok(());
    };
    let desk = Desk::new(root, open(root)?);
    let waiting = Waiting { rest: None, ..take::waiting(&job, state) };
    let schedule = schedule::decide(&[waiting], &|id| desk.other(id), 1, clock::now());
    let blocked = |why: String| Failure::new(Exit::Blocked, format!("{} {why}", job.id));
    if let Some((_, other)) = schedule.fail.first() {
        return Err(blocked(format!("cannot start: job {other} did not end well"))
            .hint(format!("numerus kill {} ends it", job.id)));
    }
    match schedule.hold.first() {
        Some((_, Hold::After(other))) => Err(blocked(format!("waits for job {other}")).hint(
            format!("numerus wait {other} tells when it has ended; a daemon starts it then"),
        )),
        Some((_, Hold::NotBefore(then))) => {
            Err(blocked(format!("is not to start before {then}")).hint("a daemon starts it then"))
        }
        _ => Ok(()),
    }
}

/// Takes back a person's wish that the job should rest: a worker would rest again at once.
pub(super) fn unhold(folder: &RunFolder) -> Result<(), Failure> {
    folder.unwish(Want::Paused).map_err(|e| Failure::system("take back the job's hold", &e))
}

/// Lifts what holds the accounts of a job's codex: somebody says that it is to be tried again. Where there is no codex,
/// nothing is held.
pub(super) fn lift_holds(root: &Root, folder: &RunFolder) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("lift the hold on the account", &e);
    let Some(job) = folder.read_job().map_err(cannot)? else { return Ok(()) };
    let Ok(codex) = Codex::for_job(root, &open(root)?, &job) else { return Ok(()) };
    let holds = Holds::open(&root.store()).map_err(|e| cannot(std::io::Error::other(e)))?;
    account::lift_all(&holds, &codex.home, clock::now()).map_err(cannot)
}

/// Withdraws a job file that nobody has taken yet; false if someone just did.
pub(super) fn withdraw(root: &Root, file: &Path) -> Result<bool, Failure> {
    match Spool::of(root).withdraw(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        moved => moved.map(|()| true).map_err(|e| Failure::system("withdraw the job", &e)),
    }
}

/// Starts this program as a child with its output in a file, out of reach of this terminal's signals.
pub(super) fn spawn_self(root: &Root, words: &[&str], log: &Path) -> Result<Child, Failure> {
    let cannot = |e: std::io::Error| Failure::system("start a process of this program", &e);
    let log = fsx::open_append(log).map_err(cannot)?;
    let binary = env::own_binary().map_err(cannot)?;
    let mut command = Command::new(binary);
    command.arg("--root").arg(root.path()).args(words);
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(cannot)?).stderr(log);
    command.spawn().map_err(cannot)
}

/// Starts a worker of our own for a taken job.
pub(super) fn start_worker(root: &Root, folder: &RunFolder) -> Result<Child, Failure> {
    spawn_self(root, &["worker", folder.job().as_str()], &folder.worker_log())
}

/// The first step of a session, which becomes codex.
pub(super) fn session(words: &[OsString]) -> Exit {
    Exit::Own(crate::codex::launch::run(words))
}

/// The loop of `numerus worker JOB`.
pub(super) fn work(root: &Root, job: &JobId) -> Result<Exit, Failure> {
    let settings = open(root)?;
    match crate::worker::run(root, &settings, job, &Bus::new()) {
        Ok(Left::Done | Left::Asked) => Ok(Exit::Done),
        Ok(Left::Held) => Ok(Exit::Blocked),
        Ok(Left::Unfit(why)) => Err(unfit(&why)),
        Err(e) if health::fault(&e).is_some() => Err(unfit(&e.to_string())),
        Err(e) => Err(Failure::system("carry the job on", &e)),
    }
}

fn unfit(why: &str) -> Failure {
    Failure::new(Exit::Unfit, format!("cannot carry the job on for now: {why}"))
}

/// Refuses early what would only park later: no codex, or no home for it. A rehearsal needs neither.
pub(super) fn codex_is_there(root: &Root, rehearses: bool) -> Result<Settings, Failure> {
    let settings = open(root)?;
    if !rehearses && settings.rehearse.is_none() {
        let there = Codex::real(&settings).and_then(|codex| match settings.sandbox {
            // Whether a job asks for that is looked at when it starts.
            Sandbox::DangerFullAccess => Ok(()),
            // Where nothing can be written it cannot be tried: that is waited for, and the worker tries it.
            Sandbox::ReadOnly | Sandbox::WorkspaceWrite => sandbox::check(&codex, &root.store())
                .or_else(|why| health::cannot_write(root).map(drop).ok_or(why)),
        });
        there.map_err(|why| {
            Failure::new(Exit::Codex, why)
                .hint("nothing was begun: job files stay where they are")
                .hint(
                    "to play jobs without codex, set NUMERUS_REHEARSE=builtin, or `rehearse` in numerus.toml; \
                     run, start and submit also take --rehearse",
                )
        })?;
    }
    Ok(settings)
}

/// The loop of `numerus daemon`.
pub(super) fn daemon(
    root: &Root,
    settings: Settings,
    options: daemon::Options,
) -> Result<Exit, Failure> {
    daemon::run(root, settings, options).map_err(|e| Failure::system("watch the spool", &e))
}

/// Ends a job that has no worker, under its lock and after the fence; false if someone holds it.
pub(super) fn finish_killed(root: &Root, folder: &RunFolder) -> Result<bool, Failure> {
    let cannot = |e: std::io::Error| Failure::system("end the job", &e);
    open(root)?;
    let held = Held::acquire(&Runs::of(root), folder.job()).map_err(cannot)?;
    let Some(mut held) = held else { return Ok(false) };
    let left = ending::fence(&held);
    if !left.is_empty() {
        let job = folder.job();
        return Err(Failure::new(
            Exit::Blocked,
            format!("cannot end {job}: processes of it still live: {left:?}"),
        )
        .hint(format!("end them by hand, then numerus kill {job} again")));
    }
    ending::finish(&Spool::of(root), &mut held, &Ending::killed(), clock::now()).map_err(cannot)?;
    Ok(true)
}

/// Takes a job out of the memory for good; false if nothing is remembered of it.
pub(super) fn forget(root: &Root, job: &JobId) -> Result<bool, Failure> {
    open(root)?;
    let forgotten = Memory::open(&root.store()).and_then(|mut m| m.forget(job, clock::now()));
    forgotten.map_err(|e| Failure::new(Exit::Root, format!("cannot change the memory: {e}")))
}

/// Asks the worker that holds a folder to end; false if no worker could be told apart.
pub(super) fn terminate_worker(folder: &RunFolder) -> Result<bool, Failure> {
    Ok(worker(folder)?.inspect(process::Target::terminate).is_some())
}

/// Makes the worker that holds a folder look at what is wished of it; false if no worker could be told apart.
pub(super) fn nudge_worker(folder: &RunFolder) -> Result<bool, Failure> {
    Ok(worker(folder)?.inspect(process::Target::hang_up).is_some())
}

fn worker(folder: &RunFolder) -> Result<Option<process::Target>, Failure> {
    folder.worker().map_err(|e| Failure::system("look for the worker", &e))
}

/// Writes a person's approval into the journal of a resting job.
pub(super) fn approve(root: &Root, folder: &RunFolder) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("approve the plan", &e);
    let lock = FileLock::acquire(&folder.worker_lock(), PATIENCE).map_err(cannot)?;
    let Some(lock) = lock.filter(FileLock::is_current) else {
        return Err(Failure::new(Exit::Blocked, format!("a worker has {} already", folder.job())));
    };
    let mut held = Held::open(folder.clone(), lock).map_err(cannot)?;
    let event = held.journal.append(Fact::PlanApproved {}, None, clock::now()).map_err(cannot)?;
    held.journal.flush().map_err(cannot)?;
    held.state.apply(&event);
    drop(held);
    Spool::of(root).wake().map_err(cannot)
}

/// Git's answer in a directory, to a call that changes nothing.
pub(super) fn git(dir: &Path, args: &[&str]) -> Result<String, Failure> {
    answered(Git::at(dir).read(args).run())
}

/// A call of git that changes a repository of our own.
pub(super) fn git_write(dir: &Path, args: &[&str]) -> Result<String, Failure> {
    answered(Git::at(dir).write(args).run())
}

fn answered(answer: Result<Vec<u8>, GitError>) -> Result<String, Failure> {
    let bytes = answer.map_err(|e| Failure::new(Exit::Root, format!("cannot {e}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
