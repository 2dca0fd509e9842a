//! Processes that stand by to become codex: `numerus __session` in a terminal and a control group of its own, which waits for
//! its [orders](super::orders). What takes long at the start of a session (a process, a terminal, above all the group, for
//! which the kernel takes ten milliseconds) is done while the session before it runs.
//!
//! Promises: one that stands by has begun nothing of codex, and no session: those begin with the orders, after the journal
//! says so. It leaves when whoever made it is gone, and is ended when it is not needed any more.

use std::collections::VecDeque;
use std::io::{Error, PipeReader, PipeWriter, Result};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::enclosing::Enclosing;
use super::fence::{JOB_MARK, group_prefix};
use super::orders::Orders;
use crate::model::id::JobId;
use crate::os::bounds::Bounds;
use crate::os::cgroup::Cgroup;
use crate::os::pty::{PtyCommand, PtyProcess, Spawner};
use crate::os::{env, pipe, process};

/// Most processes that stand by at a time.
const MOST_STANDING: usize = 32;

/// Those of one job.
#[derive(Clone)]
pub struct Launchers {
    maker: Maker,
    standing: Arc<Mutex<Standing>>,
}

/// Those that stand by, or are about to.
type Standing = VecDeque<JoinHandle<Result<Launcher>>>;

/// What is needed to make one.
#[derive(Clone)]
struct Maker {
    spawner: Spawner,
    job: JobId,
    bounds: Bounds,
    made: Arc<AtomicU32>,
}

/// One that stands by.
pub(super) struct Launcher {
    /// Until it has its orders.
    process: Option<PtyProcess>,
    group: Option<Cgroup>,
    enclosing: Enclosing,
    /// The way to it. Whoever stands by has its end when nobody holds this any more.
    orders: PipeWriter,
    /// Its own end of that way, which it opens by its name.
    held: Option<PipeReader>,
}

/// One that has its orders.
pub(super) struct Launched {
    /// The process.
    pub(super) process: PtyProcess,
    /// Its group, and whether that had taken it in before it got its orders.
    pub(super) group: Option<Cgroup>,
    /// See there.
    pub(super) is_inside: bool,
    /// To be held until the process has ended: by then it has read its orders.
    pub(super) orders: Option<PipeReader>,
}

impl Launchers {
    /// None yet.
    pub fn new(spawner: Spawner, job: &JobId, bounds: Bounds) -> Self {
        let maker = Maker { spawner, job: job.clone(), bounds, made: Arc::default() };
        Self { maker, standing: Arc::default() }
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
        let first = self.standing().pop_front();
        first.unwrap_or_else(|| self.make()).await.map_err(Error::other)?
    }

    /// Ends those that stand by.
    pub async fn dismiss(&self) {
        let standing = std::mem::take(&mut *self.standing());
        for launcher in standing {
            let launcher = launcher.await;
            drop(spawn_blocking(move || drop(launcher)).await);
        }
    }

    fn make(&self) -> JoinHandle<Result<Launcher>> {
        let maker = self.maker.clone();
        spawn_blocking(move || maker.make())
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maker {
    fn make(&self) -> Result<Launcher> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{number}", group_prefix(&self.job), process::own_pid());
        let group = Cgroup::create(&name).inspect(|group| group.bound(self.bounds));
        let (held, orders) = pipe::pair()?;
        let argv = vec![env::own_binary()?.into(), "__session".into(), pipe::name_of(&held)];
        // Codex gets an environment of its own. What portable-pty does not find here it asks the machine for.
        let known = [("HOME", "/"), ("SHELL", "/bin/sh"), (JOB_MARK, self.job.as_str())];
        let env = known.map(|(name, value)| (name.into(), value.into())).to_vec();
        let process = match self.spawner.spawn(PtyCommand { argv, env, cwd: "/".into() }) {
            Ok(process) => process,
            Err(error) => {
                group.iter().for_each(Cgroup::remove);
                return Err(error);
            }
        };
        let home = group.clone().zip(process.target.clone());
        let enclosing = Enclosing::in_a_moment(&Handle::current(), move || {
            let _stays_outside = home.map(|(group, target)| group.take_in(&target));
        });
        Ok(Launcher { process: Some(process), group, enclosing, orders, held: Some(held) })
    }
}

impl Launcher {
    /// The group that it is in, or will be.
    pub(super) fn group(&self) -> Option<&Cgroup> {
        self.group.as_ref()
    }

    /// Gives it its orders.
    ///
    /// # Errors
    /// When they are too long. It is ended then.
    pub(super) fn launch(mut self, orders: &Orders) -> Result<Launched> {
        let is_inside = self.enclosing.is_done();
        pipe::fill(&self.orders, &orders.to_bytes())?;
        let process = self.process.take().ok_or_else(|| Error::other("launched before"))?;
        Ok(Launched { process, group: self.group.take(), is_inside, orders: self.held.take() })
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(target) = &process.target {
            target.kill();
        }
        let _ended = process.child.wait();
        self.group.iter().for_each(Cgroup::remove);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launchers() -> Launchers {
        let job = format!("standing{}-abc234", process::own_pid());
        let job = JobId::parse(&job).expect("id");
        Launchers::new(Spawner::start().expect("thread"), &job, Bounds::default())
    }

    #[tokio::test]
    async fn those_that_stand_by_are_ended_when_they_are_not_needed() {
        let launchers = launchers();
        (0..MOST_STANDING + 5).for_each(|_| launchers.prepare());
        assert_eq!(launchers.standing().len(), MOST_STANDING, "no more than that");
        let one = launchers.take().await.expect("one");
        let target = one.process.as_ref().and_then(|p| p.target.clone()).expect("a way to it");
        drop(one);
        launchers.dismiss().await;
        assert!(!target.lives() && launchers.standing().is_empty());
        assert!(Cgroup::named(&group_prefix(&launchers.maker.job)).is_empty());
    }
}
