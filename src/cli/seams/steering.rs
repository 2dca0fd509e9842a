//! The seams of steering: a job without a worker is taken, put to rest or let go on here, under its lock.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;

use super::{
    Desk, Failure, Held, PATIENCE, Runs, Spool, Taken, Want, clock, ending, nobody, open, refused,
};
use crate::error::Exit;
use crate::hooks;
use crate::logic::idle;
use crate::logic::revise::{self, Go};
use crate::model::event::Fact;
use crate::model::root::Root;
use crate::model::status::PauseReason;
use crate::os::lock::FileLock;
use crate::runs::RunFolder;
use crate::spool::Place;

/// How the name of a rejection's reason ends.
const REASON: &str = ".reason.json";

/// Takes a submitted job that nobody has taken yet, to rest at once; one that somebody has just taken is fine.
pub(in crate::cli) fn take_to_rest(root: &Root, file: &Path) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("take the job", &e);
    super::until_whole(root, file)?;
    let desk = Desk::new(root, open(root)?);
    match desk.take(file.file_name().unwrap_or_default(), &mut nobody).map_err(cannot)? {
        Taken::Rejected { reason, .. } => Err(refused(&reason)),
        Taken::Later(why) => Err(Failure::new(Exit::Blocked, why)),
        Taken::Gone => Ok(()),
        // Its lock is still held: no daemon starts it in between.
        Taken::Job(fresh) => fresh.folder.wish(Want::Paused).map_err(cannot),
    }
}

/// Wishes something of a job, and sees its taking through if that was cut short. In this order: once it is taken a daemon may start it.
pub(in crate::cli) fn wish_of_taken(
    root: &Root,
    folder: &RunFolder,
    want: Want,
) -> Result<(), Failure> {
    super::wish(folder, want)?;
    see_taken(root, folder)?;
    // It may have gone with the folder that the taking left, which a daemon has put away meanwhile.
    if folder.wants(want) { Ok(()) } else { super::wish(folder, want) }
}

/// Sees the taking of a job through that was cut short, so that there is a job to be steered.
pub(in crate::cli) fn see_taken(root: &Root, folder: &RunFolder) -> Result<(), Failure> {
    let (job, spool) = (folder.job(), Spool::of(root));
    let taken = if folder.is_being_taken() {
        let desk = Desk::new(root, open(root)?);
        desk.see_through(folder.clone()).map_err(|e| Failure::system("take the job", &e))?
    } else if spool.has(Place::Incoming, job) && !spool.has_taken(job) && !folder.journal().exists()
    {
        // Its taker died before it had marked the folder.
        Some(Taken::Gone)
    } else {
        return Ok(());
    };
    match taken {
        Some(Taken::Rejected { reason, .. }) => Err(refused(&reason)),
        Some(Taken::Later(why)) => Err(Failure::new(Exit::Blocked, why)),
        Some(Taken::Job(_)) => {
            hooks::rouse(root, job);
            Ok(())
        }
        // Its taker died before it had moved the file, which then lies where it was dropped.
        Some(Taken::Gone) if !is_taken_now(root, folder)? => {
            Err(Failure::new(Exit::Unknown, format!("{job} is no job: its file was never taken"))
                .hint("a daemon puts its run folder away; numerus status --all lists every job"))
        }
        Some(Taken::Gone) | None => Ok(()),
    }
}

/// Takes the file that a job was to be made of; whether there is one, or somebody else has just taken it or is about to.
fn is_taken_now(root: &Root, folder: &RunFolder) -> Result<bool, Failure> {
    let (job, spool) = (folder.job(), Spool::of(root));
    let file = spool.file_of(Place::Incoming, job);
    let is_ours = match file.as_deref().and_then(Path::file_name) {
        // One that cannot be this job becomes another one.
        Some(name) => super::take_file(root, name)?.as_ref() == Some(job),
        None => false,
    };
    Ok(is_ours || folder.may_be_held() || spool.has_taken(job))
}

/// Writes down that a job which nobody works on rests, once nothing of it lives any more; false if somebody holds it. A job
/// whose worker died is left to the next one, which tells how that went.
pub(in crate::cli) fn rest(root: &Root, folder: &RunFolder) -> Result<bool, Failure> {
    let cannot = |e: std::io::Error| Failure::system("put the job to rest", &e);
    open(root)?;
    let Some(mut held) = Held::acquire(&Runs::of(root), folder.job()).map_err(cannot)? else {
        return Ok(false);
    };
    if held.state.pid.is_some() {
        refuse_alive(&held)?;
    } else if held.state.pause != Some(PauseReason::User) && !held.state.phase.is_final() {
        put_to_rest(&mut held).map_err(cannot)?;
    }
    drop(held);
    hooks::rouse(root, folder.job());
    Spool::of(root).wake().map_err(cannot)?;
    Ok(true)
}

/// Writes down that a person has put a job to rest.
pub(super) fn put_to_rest(held: &mut Held) -> std::io::Result<()> {
    let message = idle::of_pause(held.folder.job());
    let reason = PauseReason::User;
    write_down(held, Fact::Paused { reason, until: None, message })
}

/// Nothing of a job that rests may go on by itself.
fn refuse_alive(held: &Held) -> Result<(), Failure> {
    let left = ending::fence(held);
    if left.is_empty() {
        return Ok(());
    }
    let message = format!("processes of {} still live: {left:?}", held.folder.job());
    Err(Failure::new(Exit::Blocked, message).hint("end them by hand"))
}

/// Takes a person's wish to rest back, and writes down that the job goes on if nobody works on it.
pub(in crate::cli) fn go_on(root: &Root, folder: &RunFolder) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("let the job go on", &e);
    let desk = Desk::new(root, open(root)?);
    super::unhold(folder)?;
    // Whoever holds it is about to rest, and is started again: the wish is gone.
    let lock = FileLock::acquire(&folder.worker_lock(), PATIENCE).map_err(cannot)?;
    if let Some(lock) = lock.filter(FileLock::is_current) {
        let mut held = Held::open(folder.clone(), lock).map_err(cannot)?;
        if held.state.pause.is_some_and(|reason| reason != PauseReason::Approval) {
            write_down(&mut held, Fact::Resumed {}).map_err(cannot)?;
            // As the queue sees it: what it waited for before, it waits for again.
            let status = desk.status(&held.job, &held.state);
            let _derived = held.folder.write_status(&status);
        }
    }
    hooks::rouse(root, folder.job());
    Spool::of(root).wake().map_err(cannot)
}

/// Has the next worker of a job show its plan and rest, before anything is executed; false if its plan is under way already, so
/// that nothing is asked. It is wished under the lock: whichever worker comes next knows of it, a daemon's too.
pub(in crate::cli) fn ask_first(folder: &RunFolder) -> Result<bool, Failure> {
    let cannot = |e: std::io::Error| Failure::system("have the plan shown first", &e);
    let held = hold(folder, &cannot)?;
    let can_ask = revise::can_ask(&held.state);
    if can_ask {
        folder.wish(Want::Asked).map_err(cannot)?;
    }
    Ok(can_ask)
}

/// Takes a job's lock, which a worker may have.
fn hold(folder: &RunFolder, cannot: &dyn Fn(std::io::Error) -> Failure) -> Result<Held, Failure> {
    let lock = FileLock::acquire(&folder.worker_lock(), PATIENCE).map_err(cannot)?;
    let Some(lock) = lock.filter(FileLock::is_current) else {
        let job = folder.job();
        return Err(Failure::new(Exit::Blocked, format!("a worker has {job} already"))
            .hint(format!("numerus status {job} shows what it does")));
    };
    Held::open(folder.clone(), lock).map_err(cannot)
}

/// Writes a person's go to the plan of number `seen` into the journal of a job whose plan waits for it, and only then takes a
/// person's hold back: if the go is refused, all is as it was. False if that plan is no longer the one that waits: then
/// nothing is approved.
pub(in crate::cli) fn say_go(root: &Root, folder: &RunFolder, seen: u32) -> Result<bool, Failure> {
    let cannot = |e: std::io::Error| Failure::system("approve the plan", &e);
    let mut held = hold(folder, &cannot)?;
    match revise::go(&held.state, seen) {
        Go::Void => return Ok(false),
        Go::Said => {}
        Go::Say => write_down(&mut held, Fact::PlanApproved {}).map_err(cannot)?,
    }
    super::unhold(folder)?;
    drop(held);
    hooks::rouse(root, folder.job());
    Spool::of(root).wake().map_err(cannot)?;
    Ok(true)
}

/// Appends a fact, durably, and brings what is derived from it up to date.
pub(super) fn write_down(held: &mut Held, fact: Fact) -> std::io::Result<()> {
    let event = held.journal.append(fact, None, clock::now())?;
    held.journal.flush()?;
    held.state.apply(&event);
    // It is done: what is derived from it is made again by whoever finds it behind.
    let _derived = held.folder.write_status(&held.state.status(&held.job));
    Ok(())
}

/// Drops a rejected file once more, as it is; `None` if no file of that name was rejected.
pub(in crate::cli) fn drop_again(
    root: &Root,
    name: &OsStr,
    as_it_is: bool,
) -> Result<Option<OsString>, Failure> {
    let rejected = Spool::of(root).folder(Place::Rejected);
    let is_there = rejected.join(name).exists();
    let text = name.to_string_lossy();
    if let Some(of) = text.strip_suffix(REASON)
        && is_there
        && !rejected.join(format!("{text}{REASON}")).exists()
    {
        return Err(Failure::usage(format!("{text} says why {of} was rejected; it is no job"))
            .hint(format!("numerus retry {of} drops the file itself again")));
    }
    if is_there && !as_it_is {
        return Err(Failure::usage("a rejected file keeps its options")
            .hint("change the file in spool/rejected, then retry it without flags"));
    }
    match Spool::of(root).drop_again(name) {
        Ok(dropped) => Ok(Some(dropped)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::system("drop the file once more", &e)),
    }
}

/// Whether a daemon looks after the root.
pub(in crate::cli) fn has_daemon(root: &Root) -> bool {
    Spool::of(root).is_led()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;

    #[test]
    fn a_go_that_is_refused_takes_no_hold_back() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        crate::os::fsx::make_dirs(&root.runs()).expect("runs");
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&root).create(&job).expect("folder");
        folder.wish(Want::Paused).expect("wish");
        let _worker = folder.try_lock().expect("lock").expect("free");
        let refused = say_go(&root, &folder, 1).expect_err("a worker has it");
        assert_eq!((refused.kind, refused.hints.len()), (Exit::Blocked, 1));
        assert!(folder.wants(Want::Paused));
    }
}
