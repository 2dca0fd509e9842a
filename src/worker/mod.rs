//! Floor 3b: `numerus worker <job>`, the process that owns one job and holds its lock for as long as it lives.
//!
//! It carries the job through plan → roles → claim → arbitrate → execute → land → review → verify → judge to its end.
//! What comes next is decided by `logic::lifecycle` from the journal alone; what is under way are *lanes*, each an async
//! function that records its facts as it goes. Daemon and worker meet only in files, the lock and signals.

mod advancing;
mod advising;
mod amending;
mod awaiting;
mod book;
mod closing;
mod commands;
mod cycle;
mod desk;
mod early;
mod enforcing;
mod foreseeing;
mod in_place;
mod landing;
mod lane;
mod leasing;
mod listening;
mod memory;
mod mending;
mod parcel;
mod parked;
mod planning;
mod providing;
mod reading;
mod reopening;
mod resume;
mod settling;
mod stuck;
mod telling;
mod words;

use std::io::Result;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::bus::Bus;
use crate::codex::{Codex, fence};
use crate::health;
use crate::hooks;
use crate::logic::revise;
use crate::model::event::Fact;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::lock::FileLock;
use crate::os::signals::Listener;
use crate::os::{clock, family, process, reserve};
use crate::runs::{RunFolder, Runs, Want};

pub use awaiting::{Orders, Ready};
use book::Book;
use desk::Desk;
use foreseeing::Foreseen;
use providing::Providing;
use telling::Teller;

/// How long a starting worker tries for its lock: the taker holds it for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How a worker left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The job has ended or rests: there is nothing more to do now.
    Done,
    /// Another worker holds the job.
    Held,
    /// It was told to leave; the job goes on with the next worker.
    Asked,
    /// The machine kept it from going on, and why; the job goes on with the next worker.
    Unfit(String),
}

/// Works on a job until it ends, rests, or the worker is told to leave. Every event that it writes is published on the
/// bus, too.
///
/// # Errors
/// Those of the system; the job is as its journal says, and another worker may go on with it.
pub fn run(
    root: &Root,
    settings: &Settings,
    job: &JobId,
    bus: &Bus,
    Ready { runtime, foreseen }: Ready,
) -> Result<Left> {
    let _carries_on = reserve::spend();
    family::adopt_orphans(job.as_str())?;
    let folder = Runs::of(root).folder(job);
    let Some(lock) = take_lock(&folder)?.map(Arc::new) else { return Ok(Left::Held) };
    hooks::rouse(root, job);
    let (tell, signals) = mpsc::unbounded_channel();
    let _listening = Listener::listen(move |signal| {
        let _worker_is_leaving = tell.send(signal);
    })?;
    // What cannot be cleared away is in nobody's way.
    let _stays = folder.clear_temps(&lock);
    let telling = Teller::start(&runtime, (root, &folder), lock.clone(), bus);
    let ground = ((root, settings), foreseen);
    let left = runtime.block_on(work(ground, &folder, lock.clone(), bus, signals));
    drop(telling);
    // Blocking calls that hang must not keep a worker that is done.
    runtime.shutdown_background();
    // Orphans that hide stay ours as long as we live; the next worker could not tell them from strangers. Where somebody else
    // has the job by now, what carries its mark is theirs.
    let survivors = if lock.is_current() { fence::fence_own(job) } else { Vec::new() };
    drop(lock);
    if !survivors.is_empty() && left.is_ok() {
        return Err(std::io::Error::other(format!("processes will not die: {survivors:?}")));
    }
    left
}

fn take_lock(folder: &RunFolder) -> Result<Option<FileLock>> {
    let lock = FileLock::acquire(&folder.worker_lock(), LOCK_PATIENCE)?;
    Ok(lock.filter(FileLock::is_current))
}

/// What a worker has before it looks at its job.
type Ground<'a> = ((&'a Root, &'a Settings), Option<Foreseen>);

async fn work(
    ground: Ground<'_>,
    folder: &RunFolder,
    lock: Arc<FileLock>,
    bus: &Bus,
    signals: mpsc::UnboundedReceiver<i32>,
) -> Result<Left> {
    let Some(mut job) = folder.read_job()? else {
        return Err(std::io::Error::other(format!("{}: no job.json", folder.dir().display())));
    };
    // Whoever wishes it holds the lock that we hold now.
    job.options.approve |= folder.wants(Want::Asked);
    let book = Book::open(folder, lock, &job, bus)?;
    tokio::spawn(book.clone().scribe());
    let providing = Providing::begin(folder, bus, job.options.workspace.is_none());
    let left = carry_on(ground, folder, &job, &book, signals).await;
    providing.end().await;
    let in_step = book.catch_up();
    left.and_then(|left| in_step.map(|()| left))
}

async fn carry_on(
    ((root, settings), prepared): Ground<'_>,
    folder: &RunFolder,
    job: &Job,
    book: &Book,
    signals: mpsc::UnboundedReceiver<i32>,
) -> Result<Left> {
    // First of all, also where nothing else is left to do: the last fence looks at our own processes alone.
    let survivors = resume::fence(folder, job, book);
    if !survivors.is_empty() {
        let left = format!("processes of the last attempt will not die: {survivors:?}");
        return Err(std::io::Error::other(left));
    }
    if book.state(|s| s.phase.is_final()) {
        closing::put_away(root, folder, job, book)?;
        return Ok(Left::Done);
    }
    if waits_for_a_go(book, folder) {
        return Ok(Left::Done);
    }
    let pid = process::own_pid();
    let start_time = process::start_time(pid).unwrap_or_default();
    book.record(None, Fact::WorkerStarted { pid, start_time, boot_id: process::boot_id() })?;
    let unsettled = book.state(|s| s.parked.unsettled());
    let home = Codex::home_for(root, settings, job);
    let ending = resume::repair(book, folder, job, &home, clock::steady())?;
    // A fresh repository is made in the run folder, beside whatever else is put in its place now.
    let is_to_be_made = job.options.workspace.is_none() && book.state(|s| s.workspace.is_none());
    let fixing = is_to_be_made.then(|| planning::begin_fixing(root, folder, &job.options, &home));
    match Desk::set_up((root, settings), folder, job.clone(), book.clone(), prepared) {
        Ok(desk) => {
            *desk.fixing() = fixing;
            parked::hold_again(&desk, unsettled);
            resume::bury(&desk)?;
            resume::clear_unused(&desk);
            resume::mend_patches(&desk).await;
            if let Some(ending) = ending {
                desk.end_fixing().await;
                closing::finish(&desk, &ending).await?;
                return Ok(Left::Done);
            }
            cycle::run(&desk, signals).await
        }
        Err(problem) => {
            if let Some(fixing) = fixing {
                // What is written in the run folder is written as long as the job is ours.
                drop(fixing.await);
            }
            match health::cannot_write(root) {
                Some(why) => Ok(Left::Unfit(why)),
                None => closing::codex_unusable(book, &problem),
            }
        }
    }
}

/// Whether there is nothing to do before a person says go: a daemon and `start` may both have begun a worker for the plan. What
/// else somebody wishes of the job is looked at as ever, and so is what a worker left that died.
fn waits_for_a_go(book: &Book, folder: &RunFolder) -> bool {
    let rests = book.state(|s| revise::awaits_go(s) && s.pid.is_none());
    rests && !folder.wants(Want::Killed) && !folder.wants(Want::Paused)
}
