//! Processes that stand by to become codex: `numerus __session` in a terminal of its own, and in a control group once it is known whose
//! it is, which waits for its orders. What takes long at the start of a session (a process, a terminal, the group if there is
//! time for that) is done while the session before it runs; of the first one before its job is known.
//!
//! Promises: one that stands by has begun nothing of codex, nor has one that was briefed, which gets everything ready while the journal
//! is flushed: codex begins with the word after that. It leaves when whoever made it is gone, and is ended when it is not needed any
//! more.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{Error, PipeReader, PipeWriter, Result};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::enclosing::Enclosing;
use super::fence::{JOB_MARK, group_prefix};
use super::launch::GO;
use super::orders::Orders;
use super::program;
use crate::model::id::JobId;
use crate::model::settings::Settings;
use crate::os::bounds::Bounds;
use crate::os::cgroup::Cgroup;
#[cfg(test)]
use crate::os::process::Target;
use crate::os::pty::{PtyCommand, PtyProcess, Spawner};
use crate::os::{env, memory, pipe, process};

/// Most processes that stand by at a time.
const MOST_STANDING: usize = 32;

/// Those of one job.
#[derive(Clone)]
pub struct Launchers {
    maker: Maker,
    standing: Arc<Mutex<Standing>>,
}

/// One that stands by, or is about to.
type Standby = JoinHandle<Result<Launcher>>;
type Standing = VecDeque<Standby>;

/// What is needed to make one.
#[derive(Clone)]
struct Maker {
    /// What is started, before the name of the pipe; `None` is this program, but for tests.
    words: Option<Vec<OsString>>,
    spawner: Spawner,
    /// Whose sessions they are for, once that is known.
    job: Arc<OnceLock<JobId>>,
    bounds: Bounds,
    made: Arc<AtomicU32>,
}

/// One that stands by.
pub(super) struct Launcher {
    /// Until it is told to begin.
    process: Option<PtyProcess>,
    group: Option<Cgroup>,
    enclosing: Option<Enclosing>,
    /// Whether it was tried to give it a group: it is known whose it is.
    is_settled: bool,
    /// The way to it. Whoever stands by has its end when nobody holds this any more.
    orders: PipeWriter,
    /// Its own end of that way, which it opens by its name.
    held: Option<PipeReader>,
    /// What that way tells the name of.
    briefed: Option<memory::Held>,
}

/// What a process that was told to begin may still have to read: the pipe, and what that tells the name of.
pub(super) type Orderly = (Option<PipeReader>, Option<memory::Held>);

/// One that was told to begin.
pub(super) struct Launched {
    /// The process.
    pub(super) process: PtyProcess,
    /// Its group.
    pub(super) group: Option<Cgroup>,
    /// How it gets there, if it was not there when it got its orders.
    pub(super) enclosing: Option<Enclosing>,
    /// To be held until the process has ended: by then it has read its orders and the word.
    pub(super) orders: Orderly,
}

impl Launchers {
    /// None yet.
    pub fn new(spawner: Spawner, settings: &Settings) -> Self {
        let (job, made, bounds) = (Arc::default(), Arc::default(), program::bounds(settings));
        let maker = Maker { words: None, spawner, job, bounds, made };
        Self { maker, standing: Arc::default() }
    }

    /// Tells whose sessions they are for, once: before one is taken. Those that began before carry no mark, and get their group
    /// now, beside whatever else is done.
    pub fn dedicate(&self, job: &JobId) {
        if self.maker.job.set(job.clone()).is_ok() {
            let mut standing = self.standing();
            let begun = std::mem::take(&mut *standing).into_iter();
            standing.extend(begun.map(|begun| self.settle(begun)));
        }
    }

    fn settle(&self, begun: Standby) -> Standby {
        let (maker, runtime) = (self.maker.clone(), Handle::current());
        spawn_blocking(move || {
            let mut launcher = runtime.block_on(begun).map_err(Error::other)??;
            if !launcher.is_settled {
                launcher.settle(&maker);
            }
            Ok(launcher)
        })
    }

    /// Has one more stand by, beside whatever else is done.
    pub fn prepare(&self) {
        let mut standing = self.standing();
        if standing.len() < MOST_STANDING {
            standing.push_back(self.make());
        }
    }

    /// One that stands by, or a new one.
    ///
    /// # Errors
    /// When there is no process or no terminal to be had.
    pub(super) async fn take(&self) -> Result<Launcher> {
        loop {
            let Some(first) = self.standing().pop_front() else {
                return self.make().await.map_err(Error::other)?;
            };
            // What could not be made then, or has died since, is made now.
            match first.await.map_err(Error::other)? {
                Ok(launcher) if launcher.lives() => return Ok(launcher),
                _useless => {}
            }
        }
    }

    /// Ends those that stand by.
    pub async fn dismiss(&self) {
        let standing = std::mem::take(&mut *self.standing());
        for launcher in standing {
            let launcher = launcher.await;
            drop(spawn_blocking(move || drop(launcher)).await);
        }
    }

    fn make(&self) -> Standby {
        let maker = self.maker.clone();
        spawn_blocking(move || maker.make())
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maker {
    fn make(&self) -> Result<Launcher> {
        let (held, orders) = pipe::pair()?;
        let argv = [self.words()?, vec![pipe::name_of(&held)]].concat();
        // Codex gets an environment of its own. Until then it has one that says something: who has none may be just being born, and
        // whoever looks for a family waits for that.
        let mark = self.job.get().map(|job| (JOB_MARK, job.as_str()));
        let env = [("HOME", "/")].into_iter().chain(mark);
        let env = env.map(|(name, value)| (name.into(), value.into())).collect();
        let process = self.spawner.spawn(PtyCommand { argv, env })?;
        let (process, held, briefed) = (Some(process), Some(held), None);
        let (group, enclosing, is_settled) = (None, None, false);
        let mut launcher =
            Launcher { process, group, enclosing, is_settled, orders, held, briefed };
        launcher.settle(self);
        Ok(launcher)
    }

    /// Asked each time: the program's file may have been replaced since the last one.
    fn words(&self) -> Result<Vec<OsString>> {
        match &self.words {
            Some(words) => Ok(words.clone()),
            None => Ok(vec![env::own_binary()?.into(), "__session".into()]),
        }
    }

    /// A control group for the next one of this job.
    fn group(&self, job: &JobId) -> Option<Cgroup> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{number}", group_prefix(job), process::own_pid());
        Cgroup::create(&name).inspect(|group| group.bound(self.bounds))
    }
}

impl Launcher {
    /// Gives it its group and has it moved there in a moment, if it is known whose it is.
    fn settle(&mut self, maker: &Maker) {
        // Asked once: it may become known at any moment, and then whoever tells it settles those that are not yet.
        let Some(job) = maker.job.get() else { return };
        self.is_settled = true;
        let (Some(group), Some(process)) = (maker.group(job), &self.process) else { return };
        let (inner, target) = (group.clone(), process.target.clone());
        let move_in = move || drop(inner.take_in(&target));
        self.enclosing = Some(Enclosing::in_a_moment(&Handle::current(), move_in));
        self.group = Some(group);
    }

    /// The group that it is in, or will be.
    pub(super) fn group(&self) -> Option<&Cgroup> {
        self.group.as_ref()
    }

    fn lives(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.target.lives())
    }

    /// Gives it its orders, which it gets ready to obey.
    ///
    /// # Errors
    /// When the system has no room for them. It is ended then.
    pub(super) fn brief(mut self, orders: &Orders) -> Result<Self> {
        let briefed = memory::Held::new(&orders.to_bytes())?;
        // A name fits into the smallest pipe, so this waits for nobody.
        pipe::say(&self.orders, &briefed.name())?;
        self.briefed = Some(briefed);
        Ok(self)
    }

    /// Tells it to obey. One that could not has left, as a session that has ended.
    ///
    /// # Errors
    /// Those of the system. It is ended then.
    pub(super) fn launch(mut self) -> Result<Launched> {
        let process = self.process.as_ref().ok_or_else(|| Error::other("launched before"))?;
        // What it starts from now on is where it is.
        let is_inside = self.group().is_some_and(|group| group.members().contains(&process.pid));
        pipe::say(&self.orders, GO)?;
        let process = self.process.take().ok_or_else(|| Error::other("launched before"))?;
        let enclosing = self.enclosing.take().filter(|_| !is_inside);
        let orders = (self.held.take(), self.briefed.take());
        Ok(Launched { process, group: self.group.take(), enclosing, orders })
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.target.kill();
        let _ended = process.child.wait();
        self.enclosing.iter().for_each(Enclosing::cancel);
        self.group.iter().for_each(Cgroup::remove);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobId {
        JobId::parse(&format!("{name}{}-abc234", process::own_pid())).expect("id")
    }

    /// Launchers of nobody yet, each of them a program that waits for the end of the pipe.
    fn launchers() -> Launchers {
        let spawner = Spawner::start().expect("thread");
        let mut launchers = Launchers::new(spawner, &Settings::default());
        launchers.maker.words = Some(vec!["/bin/cat".into()]);
        launchers
    }

    fn target(launcher: &Launcher) -> Arc<Target> {
        launcher.process.as_ref().expect("without orders").target.clone()
    }

    #[tokio::test]
    async fn those_that_stand_by_are_ended_when_they_are_not_needed() {
        let (launchers, job) = (launchers(), job("ended"));
        launchers.dedicate(&job);
        (0..MOST_STANDING + 5).for_each(|_| launchers.prepare());
        assert_eq!(launchers.standing().len(), MOST_STANDING, "no more than that");
        let one = launchers.take().await.expect("one");
        let first = target(&one);
        assert!(first.lives());
        drop(one);
        assert!(!first.lives());
        launchers.dismiss().await;
        assert!(launchers.standing().is_empty());
        let left = crate::codex::fence::fence_own(&job);
        assert!(left.is_empty() && Cgroup::named(&group_prefix(&job)).is_empty());
    }

    #[tokio::test]
    async fn one_that_stood_by_before_its_job_was_known_has_its_group_when_it_is_taken() {
        let (launchers, job) = (launchers(), job("early"));
        let groups = || Cgroup::named(&group_prefix(&job));
        launchers.prepare();
        let begun = launchers.standing().pop_front().expect("begun");
        let early = begun.await.expect("made").expect("stands by");
        assert!(early.lives() && early.group().is_none() && groups().is_empty());
        let pid = early.process.as_ref().expect("without orders").pid;
        let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("its own");
        assert!(!environment.is_empty(), "it would be waited for as one that is being born");
        launchers.standing().push_back(spawn_blocking(|| Ok(early)));
        // One more is just being made.
        launchers.prepare();
        launchers.dedicate(&job);
        let settled = std::mem::take(&mut *launchers.standing());
        assert_eq!(settled.len(), 2);
        for one in settled {
            let one = one.await.expect("made").expect("stands by");
            launchers.standing().push_back(spawn_blocking(|| Ok(one)));
        }
        let may_have_one = Cgroup::create(&format!("{}x", group_prefix(&job)));
        may_have_one.iter().for_each(Cgroup::remove);
        let expected = if may_have_one.is_some() { 2 } else { 0 };
        assert_eq!(groups().len(), expected, "one for each, before any is taken");
        let taken = launchers.take().await.expect("the same");
        assert_eq!(taken.group().is_some(), may_have_one.is_some());
        drop(taken);
        launchers.dismiss().await;
        assert!(groups().is_empty());
    }

    #[tokio::test]
    async fn one_that_has_died_meanwhile_is_not_taken() {
        let launchers = launchers();
        launchers.dedicate(&job("died"));
        launchers.prepare();
        let dead = launchers.take().await.expect("one");
        target(&dead).kill();
        assert!(!target(&dead).lives_beyond(std::time::Duration::from_secs(20)));
        launchers.standing().push_back(spawn_blocking(|| Ok(dead)));
        launchers.standing().push_back(spawn_blocking(|| Err(Error::other("no room then"))));
        let one = launchers.take().await.expect("a new one");
        assert!(one.lives() && launchers.standing().is_empty());
    }
}
