//! The seams to the floors below: every call of a command that changes something goes through one tiny function here.

mod applying;
mod doctor;
mod editing;
mod hook;
mod init;
mod keys;
mod memory;
mod pages;
mod pruning;
mod replacing;
mod steering;
mod wishes;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};

use super::lookup;
use crate::bus::Bus;
use crate::codex::{Codex, account};
use crate::daemon::take::{Desk, Taken, nobody};
use crate::daemon::{self, reading};
use crate::ending::{self, Ending, Held};
use crate::error::{Exit, Failure};
use crate::health;
use crate::hooks;
use crate::logic::admission;
use crate::logic::frontmatter;
use crate::logic::schedule::{self, Hold, Waiting};
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::order::Order;
use crate::model::rejection::Reason;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::git::{Git, GitError};
use crate::os::{clock, env, fsx, process};
use crate::root::RootError;
use crate::runs::{RunFolder, Runs, Want};
use crate::spool::Spool;
use crate::store::holds::Holds;
use crate::worker::{Left, Orders, Ready};

pub(super) use self::applying::{bring, of_trees};
pub(super) use self::doctor::{broken_settings, codex_is_there, examine, lacks_login, preflight};
pub(super) use self::editing::{
    draft, drop_draft, edit_file, editor, is_unstarted, judge, replace_unstarted, replan,
    waiting_for,
};
pub(super) use self::hook::{drain, hook_failures, hook_problems, run_hooks};
pub(super) use self::init::{init, write_page};
pub(super) use self::keys::is_first_of_key;
pub(super) use self::memory::{bank_of, forget, memory};
pub(super) use self::pages::{open_page, overview, report, see_to_overview, write_overview};
pub(super) use self::pruning::{
    Pruner, begin_pruning, finish_pruning, has_hooks_due, prune, prune_file,
};
pub(super) use self::replacing::{
    finish_edit, hand_over, is_as_read, look, prepare, read_as_taken, until_whole,
};
pub(super) use self::steering::{
    ask_first, drop_again, go_on, has_daemon, rest, say_go, see_taken, take_to_rest, wish_of_taken,
};
pub(super) use self::wishes::{put_note, wish, wish_of_task};

/// How long a lock is tried for that its holder is about to let go.
const PATIENCE: Duration = Duration::from_secs(2);

/// The root that the flag, the environment or the current directory names; it need not exist.
pub(super) fn root(flag: Option<&Path>) -> Result<Root, Failure> {
    crate::root::discover(flag)
        .map_err(|e| Failure::usage(format!("cannot find a root: {e}")).hint("name one by --root"))
}

/// Makes the root if need be, checks it, and reads its settings.
pub(super) fn open(root: &Root) -> Result<Settings, Failure> {
    crate::root::open(root, true).map_err(|e| unusable(&e))
}

/// Refuses a root of which a folder is missing, or that a later version wrote: whoever read on would tell half of it.
pub(super) fn check(root: &Root) -> Result<(), Failure> {
    crate::root::check(root).map(drop).map_err(|e| unusable(&e))
}

/// A root that cannot be used, as its error says it.
fn unusable(why: &RootError) -> Failure {
    let kind = if matches!(why, RootError::Settings { .. }) { Exit::Usage } else { Exit::Root };
    let cannot = if matches!(why, RootError::Io(_)) { "cannot use the root: " } else { "" };
    Failure::new(kind, format!("{cannot}{why}")).hint(why.hint())
}

/// Splits a Markdown file into its front matter, as options, and the objective.
pub(super) fn front_matter(text: &str) -> Result<(Map<String, Value>, String), Failure> {
    let bad = |why: String| {
        Failure::usage(format!("the front matter cannot be read: {why}"))
            .hint("it is YAML between two lines of `---`, such as `priority: 10`; what follows is the objective")
    };
    let parts = frontmatter::split(text).map_err(bad)?;
    let options = parts.front.map(frontmatter::parse).transpose().map_err(bad)?;
    Ok((options.unwrap_or_default(), parts.body.to_owned()))
}

/// Judges a job file as the taker will, and drops it into the spool with the whole ids of what it waits for.
pub(super) fn submit(root: &Root, id: &JobId, job: Value) -> Result<(), Failure> {
    let after = judge(root, job.to_string().as_bytes())?;
    let json = format!("{:#}\n", waiting_for(job, &after));
    Spool::of(root).submit(id, json.as_bytes()).map_err(|e| Failure::system("submit the job", &e))
}

/// Whether the settings name a workspace for jobs that name none.
pub(super) fn names_workspace(root: &Root) -> bool {
    crate::root::settings(root).is_ok_and(|settings| settings.workspace.is_some())
}

/// The script that plays a job's agent which has not ended; `own` is the one that the job itself names.
pub(super) fn script_of(root: &Root, own: Option<&str>) -> Option<String> {
    let settings = crate::root::settings(root).unwrap_or_default();
    Codex::script_of(own, &settings).map(str::to_owned)
}

fn refused(reason: &Reason) -> Failure {
    Failure::usage(reason.message.clone()).hint(reason.hint.clone())
}

/// Takes a submitted job; one that a daemon has taken meanwhile is fine.
pub(super) fn take(root: &Root, job: &JobId) -> Result<(), Failure> {
    if take_file(root, format!("{job}.json").as_ref())?.is_none() {
        hooks::rouse(root, job);
    }
    Ok(())
}

/// Takes a dropped file: the job that it became, or `None` if it is gone.
pub(super) fn take_file(root: &Root, name: &OsStr) -> Result<Option<JobId>, Failure> {
    let desk = Desk::new(root, open(root)?);
    match desk.take(name, &mut nobody).map_err(|e| Failure::system("take the job", &e))? {
        Taken::Rejected { reason, .. } => Err(refused(&reason)),
        Taken::Later(why) => Err(Failure::new(Exit::Blocked, why)),
        Taken::Gone => Ok(None),
        Taken::Job(fresh) => {
            let job = fresh.job.id.clone();
            drop(fresh);
            hooks::rouse(root, &job);
            Ok(Some(job))
        }
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
    let waiting = Waiting { rest: None, ..Waiting::of(&job, state) };
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
pub(super) fn withdraw(root: &Root, file: &Path, job: &JobId) -> Result<bool, Failure> {
    let is_missing = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
    let mut moved = Spool::of(root).withdraw(file, job);
    if moved.as_ref().is_err_and(is_missing) && file.symlink_metadata().is_ok() {
        // Not the file is gone: where nothing but `incoming/` was ever made, there is no place to keep it.
        open(root)?;
        moved = Spool::of(root).withdraw(file, job);
    }
    match moved {
        Err(e) if is_missing(&e) => Ok(false),
        moved => moved.map(|()| true).map_err(|e| Failure::system("withdraw the job", &e)),
    }
}

/// Starts this program as a child with its output in a file, out of reach of this terminal's signals.
pub(super) fn spawn_self(root: &Root, words: &[&str], log: &Path) -> Result<Child, Failure> {
    let cannot = |e: std::io::Error| Failure::system("start a process of this program", &e);
    let log = fsx::open_append(log).map_err(cannot)?;
    let binary = env::own_binary().map_err(cannot)?;
    let mut command = process::own_call(&binary, root.path(), words);
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(cannot)?).stderr(log);
    command.spawn().map_err(cannot)
}

/// Starts a worker of our own for a taken job.
pub(super) fn start_worker(root: &Root, folder: &RunFolder) -> Result<Child, Failure> {
    spawn_self(root, &["worker", folder.job().as_str()], &folder.worker_log())
}

/// The loop of `numerus worker JOB`.
pub(super) fn work(root: &Root, job: &JobId) -> Result<Exit, Failure> {
    let settings = open(root)?;
    let ready = make_ready()?;
    carry_on(root, &settings, job, ready)
}

fn make_ready() -> Result<Ready, Failure> {
    Ready::make().map_err(|e| Failure::system("begin a worker", &e))
}

fn carry_on(root: &Root, settings: &Settings, job: &JobId, ready: Ready) -> Result<Exit, Failure> {
    match crate::worker::run(root, settings, job, &Bus::new(), ready) {
        Ok(Left::Done | Left::Asked) => Ok(Exit::Done),
        Ok(Left::Held) => Ok(Exit::Blocked),
        Ok(Left::Unfit(why)) => Err(unfit(&why)),
        Err(e) if health::fault(&e).is_some() => Err(unfit(&e.to_string())),
        Err(e) => Err(Failure::system("carry the job on", &e)),
    }
}

/// The same for a job that the daemon tells on standard input, if it does.
pub(super) fn work_when_told(root: &Root) -> Result<Exit, Failure> {
    // What goes wrong with these is said where the job's worker is to say it.
    let mut made = open(root).and_then(|settings| Ok((make_ready()?, settings)));
    let mut orders = Orders::of_input();
    let mut hear = || orders.hear(root).map_err(|e| Failure::system("hear of a job", &e));
    let mut told = hear()?;
    let is_foretold = matches!(told, Some(Order::Soon(_)));
    if let Some(Order::Soon(job)) = told {
        made = renew(root, made).map(|(ready, settings)| {
            let ready = ready.foresee(root, &settings, *job);
            (ready, settings)
        });
        told = hear()?;
    }
    let Some(Order::Begin(job)) = told else { return Ok(Exit::Done) };
    let (ready, settings) = if is_foretold { made } else { renew(root, made) }?;
    carry_on(root, &settings, &job, ready)
}

/// What was made ready, if it still fits the settings, which are others by now where somebody has changed them since.
fn renew(
    root: &Root,
    made: Result<(Ready, Settings), Failure>,
) -> Result<(Ready, Settings), Failure> {
    let settings = open(root)?;
    match made {
        Ok((ready, seen)) if seen == settings => Ok((ready, settings)),
        _ => Ok((make_ready()?, settings)),
    }
}

fn unfit(why: &str) -> Failure {
    Failure::new(Exit::Unfit, format!("cannot carry the job on for now: {why}"))
}

/// The loop of `numerus daemon`.
pub(super) fn daemon(
    root: &Root,
    settings: Settings,
    options: daemon::Options,
) -> Result<Exit, Failure> {
    let once = options.once;
    let ended = daemon::run(root, settings, options);
    let signal = if once { drain(root, None) } else { None };
    let ended = ended.map_err(|e| Failure::system("watch the spool", &e))?;
    Ok(signal.map_or(ended, Exit::Signal))
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

/// Asks the worker that holds a folder to end; `None` if no worker could be told apart.
pub(super) fn terminate_worker(folder: &RunFolder) -> Result<Option<process::Target>, Failure> {
    Ok(worker(folder)?.inspect(process::Target::terminate))
}

/// Makes the worker that holds a folder look at what is wished of it; false if no worker could be told apart.
pub(super) fn nudge_worker(folder: &RunFolder) -> Result<bool, Failure> {
    Ok(worker(folder)?.inspect(process::Target::hang_up).is_some())
}

fn worker(folder: &RunFolder) -> Result<Option<process::Target>, Failure> {
    folder.worker().map_err(|e| Failure::system("look for the worker", &e))
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
