//! Floor 3a: programs of the user that are called when something has happened: `hooks/EVENT` and `hooks/all` in the root.
//!
//! One process a root calls them, the *runner* (`numerus __hooks`): it reads the journals, so that no job waits for a hook. A
//! job whose journal it is to read has a mark in `store/hooks/`; whoever writes or starts something [rouses](rouse) it. Up to
//! which fact a job's hooks were called stands in `runs/JOB/hooks/done`, put after the call: a hook is called at least once,
//! in the order of the journal, and again if the runner died in between.
//!
//! Diagnostics: nothing here keeps a job or a daemon from going on. A hook that fails, or is refused, has a line in
//! `runs/JOB/hooks/failed.ndjson`.

mod backlog;
mod call;
mod record;
mod runner;
mod scripts;

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::model::id::JobId;
use crate::model::root::Root;
use crate::os::lock::{self, FileLock};
use crate::os::watch::Watch;
use crate::os::{clock, env, family, fsx, process, signals};
use crate::runs::Runs;

pub use record::{Failure, failures};
pub use runner::run;
pub use scripts::problems;

/// The word by which this program becomes the runner.
pub const RUNNER: &str = "__hooks";

/// How long a look at the runner's lock may keep a new runner from it.
const LOOKS: Duration = Duration::from_millis(200);
/// How often marks and journals are looked at where no event tells.
const RESCAN: Duration = Duration::from_secs(2);
/// How often marks are waited for to go where the kernel has no watch to give.
const WITHOUT_WATCH: Duration = Duration::from_millis(200);

fn marks(root: &Root) -> PathBuf {
    root.store().join("hooks")
}

fn runner_lock(root: &Root) -> PathBuf {
    marks(root).join(".lock")
}

fn try_lead(root: &Root) -> std::io::Result<Option<FileLock>> {
    FileLock::acquire(&runner_lock(root), LOOKS)
}

/// Has the journal of a job read for its hooks, from now on until it ends or nobody works on it. Costs one look where the root
/// has no hooks.
pub fn rouse(root: &Root, job: &JobId) {
    if scripts::any(root) {
        let mark = marks(root).join(job.as_str());
        // One that is there, and taken away just now, was taken by a runner that then looks once more.
        let is_marked = mark.exists();
        let put = || fsx::make_dir(&marks(root)).and_then(|()| fsx::put_mark(&mark));
        let marked = if is_marked { Ok(()) } else { put() };
        // What cannot be marked is read when the job is next written to.
        drop(marked.and_then(|()| start_runner(root)));
    }
}

/// Whether hooks are still to be called for any job.
pub fn are_left(root: &Root) -> bool {
    scripts::any(root) && !backlog::marked(root).is_empty()
}

/// Goes on with what a runner that died has left.
pub fn resume(root: &Root) {
    if are_left(root) {
        // The next one that is roused takes it along.
        drop(start_runner(root));
    }
}

/// Whether hooks are still to be called for what is in a job's journal.
pub fn is_due(root: &Root, job: &JobId) -> bool {
    scripts::any(root) && marks(root).join(job.as_str()).exists()
}

/// Waits until the hooks of a job, or of all jobs that nobody works on, have been called, at most so long; gives back the signal
/// that ended the waiting. The runner calls them, and goes on with that.
pub fn drain(root: &Root, job: Option<&JobId>, patience: Duration) -> Option<i32> {
    let deadline = clock::since_boot() + patience;
    let is_meant = |marked: &JobId| match job {
        Some(job) => job == marked,
        None => !Runs::of(root).folder(marked).is_held().unwrap_or(false),
    };
    match job {
        // Its worker may not have come to mark the end that it has written.
        Some(job) => rouse(root, job),
        None => resume(root),
    }
    until_called(root, is_meant, deadline, RESCAN)
}

/// Waits until no job that is meant has a mark: looks when a mark has come or gone, and every `rescan` anyway. The answer is
/// the signal that ended the waiting, if one did.
fn until_called(
    root: &Root,
    is_meant: impl Fn(&JobId) -> bool,
    deadline: Duration,
    rescan: Duration,
) -> Option<i32> {
    let (tell, told) = channel();
    // Without a watch nobody else would hold the sender, and a closed channel ends each wait at once.
    let (signal, _keeps_it_open) = (tell.clone(), tell.clone());
    // Where none can be caught they end us.
    let _listener = signals::Listener::listen(move |number| {
        let _nobody_waits = signal.send(Some(number));
    });
    let mut watch = Watch::new(move |_| {
        let _nobody_waits = tell.send(None);
    })
    .ok();
    // Before the first look: whatever goes after that is heard of.
    let is_watched = watch.as_mut().is_some_and(|watch| watch.add(&marks(root)).is_ok());
    let rest = if is_watched { rescan } else { WITHOUT_WATCH };
    while backlog::marked(root).iter().any(&is_meant) {
        let left = deadline.checked_sub(clock::since_boot())?;
        let mut next = told.recv_timeout(rest.min(left)).ok();
        // A burst of changes is one reason to look.
        while let Some(wake) = next {
            if wake.is_some() {
                return wake;
            }
            next = told.try_recv().ok();
        }
    }
    None
}

/// Starts the runner where none is at work; it looks at the marks again after it has let go of its lock.
fn start_runner(root: &Root) -> std::io::Result<()> {
    if lock::is_held(&runner_lock(root))? {
        return Ok(());
    }
    let mut command = process::own_call(&env::own_binary()?, root.path(), &[RUNNER]);
    // One that a hook started by what it did goes on when that hook has ended.
    command.env_remove(call::MARK);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A worker ends orphans that come to it: this one is its own.
    let mut child = family::spawn(|| command.spawn(), Child::id)?;
    // A daemon outlives many of them: each is waited for.
    std::thread::spawn(move || drop(child.wait()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::os::process::{self, Target};

    #[test]
    fn who_waits_for_hooks_looks_when_a_mark_goes_and_not_by_the_clock() {
        let d = tempfile::tempdir().expect("scratch");
        let (root, job) = (Root::new(d.path()), JobId::parse("a-abc234").expect("id"));
        let mark = marks(&root).join(job.as_str());
        fsx::make_dirs(&marks(&root)).expect("marks");
        fsx::put_mark(&mark).expect("mark");
        let (begun, never) = (clock::since_boot(), Duration::from_secs(3600));
        std::thread::scope(|scope| {
            let first = Cell::new(true);
            let is_meant = |marked: &JobId| {
                // Gone as soon as it was seen.
                if first.replace(false) {
                    scope.spawn(|| fsx::remove(&mark).expect("removed"));
                }
                *marked == job
            };
            until_called(&root, is_meant, begun + Duration::from_secs(60), never);
        });
        assert!(clock::since_boot() < begun + Duration::from_secs(60), "the event has told it");
    }

    #[test]
    fn who_waits_for_hooks_is_ended_by_a_signal() {
        let d = tempfile::tempdir().expect("scratch");
        let root = Root::new(d.path());
        fsx::make_dirs(&marks(&root)).expect("marks");
        fsx::put_mark(&marks(&root).join("a-abc234")).expect("mark");
        let us = Target::open(process::own_pid(), |_| true).expect("we live");
        let asked = |_: &JobId| {
            us.hang_up();
            true
        };
        let begun = clock::since_boot();
        let ended = until_called(&root, asked, begun + Duration::from_secs(60), RESCAN);
        assert!(ended.is_some() && clock::since_boot() < begun + Duration::from_secs(60));
    }
}
