//! A worker that begins before its job is known: its process starts while a file is taken, which waits for the disk, and is
//! told its job when that may begin. Soon after a job has begun the next such worker begins, and waits as long as another file is
//! likely to come. One at a time; what is not needed is sent away.

use std::io::{PipeWriter, Result, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{Daemon, Stop};
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::order::Order;
use crate::model::root::Root;
use crate::os::{clock, env, process};

/// The word in the place of a job for a worker that is told its job later.
const TOLD_LATER: &str = "-";
/// How long the end of one is waited for, and once more where it had to be ended.
const A_MOMENT: Duration = Duration::from_secs(1);

/// How long after a job has begun a worker is kept for the next one: files often come one after the other.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long after a job has begun that worker begins: until then the job's own first session needs the processors.
const A_WHILE: Duration = Duration::from_millis(25);

/// The worker that is kept, and until when one is.
#[derive(Debug, Default)]
pub(super) struct Spares {
    ready: Option<Spare>,
    /// When the next one begins, in boot time; `None` when none is to begin before a file comes.
    begin_at: Option<Duration>,
    /// Until when one is kept, in boot time.
    until: Duration,
}

/// What to do about the worker that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Nothing, before the next is due.
    Leave,
    /// It is not needed.
    Dismiss,
    /// One is to begin.
    Begin,
}

impl Spares {
    /// Takes the one that is kept, for a job that begins: another one follows.
    pub(super) fn take(&mut self, job: &JobId, now: Duration) -> Option<Spare> {
        (self.begin_at, self.until) = (Some(now + A_WHILE), now + KEPT_FOR);
        let is_anothers = |spare: &mut Spare| spare.foretold.as_ref().is_some_and(|of| of != job);
        if self.ready.as_mut().is_some_and(is_anothers) { None } else { self.ready.take() }
    }

    /// Tells the one that is kept, if one is, what its job may be.
    pub(super) fn foretell(&mut self, job: &Job) {
        if let Some(spare) = &mut self.ready {
            spare.foretell(job);
        }
    }

    /// When something is to be done about it, in boot time, as long as it is of use.
    fn due(&self) -> Option<Duration> {
        let end = self.ready.as_ref().map(|_| self.until);
        end.or(self.begin_at.filter(|at| *at < self.until))
    }

    /// `is_of_use`: whether a file that came now could start at once.
    fn care(&self, is_of_use: bool, now: Duration) -> Care {
        let is_kept = is_of_use && now < self.until;
        match (&self.ready, self.begin_at) {
            // One that was told of a job which did not begin is no other's.
            (Some(spare), _) if !is_kept || spare.foretold.is_some() => Care::Dismiss,
            (None, Some(at)) if is_kept && at <= now => Care::Begin,
            _ => Care::Leave,
        }
    }
}

/// A worker that is about to begin, or has.
#[derive(Debug)]
pub(super) struct Spare {
    child: Receiver<Result<Child>>,
    orders: PipeWriter,
    /// The job that it is for, once it was told of one.
    foretold: Option<JobId>,
}

impl Spare {
    /// Has one begin, on a thread of its own: a start takes as long as a write to the disk.
    fn begin(root: &Root) -> Result<Self> {
        let (input, orders) = std::io::pipe()?;
        let (tell, child) = channel();
        let worker = process::own_call(&env::own_binary()?, root.path(), &["worker", TOLD_LATER]);
        let mut worker = Command::from(worker);
        worker.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        let loop_of_ours = Handle::current();
        std::thread::Builder::new().name("spare".to_owned()).spawn(move || {
            let _its_ends_are_heard_there = loop_of_ours.enter();
            drop(tell.send(worker.spawn()));
        })?;
        Ok(Self { child, orders, foretold: None })
    }

    /// Tells it what its job may be, so that it finds out what there is to know of it. What does not fit into the pipe it is not
    /// told, so this waits for nobody.
    fn foretell(&mut self, job: &Job) {
        let Some(line) = Order::Soon(Box::new(job.clone())).to_line() else { return };
        if self.foretold.is_none() && self.orders.write_all(&line).is_ok() {
            self.foretold = Some(job.id.clone());
        }
    }

    /// Tells it its job; `None` when it could not be started or has gone.
    pub(super) fn tell(mut self, job: &JobId) -> Option<Child> {
        let child = self.child.recv().ok()?.ok()?;
        self.orders.write_all(&Order::Begin(job.clone()).to_line()?).ok()?;
        Some(child)
    }

    /// Sees it leave, with what it has ready: its orders end, and it has no job, so it has begun nothing of one. Who stays is ended.
    async fn end(self) {
        let Self { child, orders, foretold: _ } = self;
        drop(orders);
        let Ok(Ok(mut child)) = child.recv() else { return };
        if timeout(A_MOMENT, child.wait()).await.is_err() {
            let _ended = timeout(A_MOMENT, child.kill()).await;
        }
    }
}

impl Daemon {
    /// Has a worker begin for the job that a file is about to become, if that could start at once.
    pub(super) fn call_spare(&mut self) {
        if self.spares.ready.is_none() && self.could_use_spare() {
            self.begin_spare();
        }
    }

    fn begin_spare(&mut self) {
        self.spares.begin_at = None;
        // Without it the job's worker begins when the job may.
        self.spares.ready = Spare::begin(&self.desk.root).ok();
    }

    /// Whether a file that came now could start at once.
    fn could_use_spare(&self) -> bool {
        let is_ours = self.options.program.is_none() && self.stop == Stop::No;
        is_ours && self.is_fit() && self.queued == 0 && self.busy() < self.lanes
    }

    /// Whether one is kept where that could be. A daemon that is to do its work once waits for no file.
    fn keeps_spare(&self) -> bool {
        !self.options.once && self.could_use_spare()
    }

    /// When something is to be done about the one that is kept, in boot time.
    pub(super) fn spare_due(&self) -> Option<Duration> {
        if self.keeps_spare() { self.spares.due() } else { None }
    }

    /// Keeps one as long as files are likely to come that could start at once, and sends away who is not needed.
    pub(super) async fn look_after_spare(&mut self) {
        match self.spares.care(self.keeps_spare(), clock::since_boot()) {
            Care::Leave => {}
            Care::Dismiss => self.dismiss_spare().await,
            Care::Begin => self.begin_spare(),
        }
    }

    /// Sees the one that is kept gone: where a daemon has ended nothing of it is left.
    pub(super) async fn dismiss_spare(&mut self) {
        if let Some(spare) = self.spares.ready.take() {
            spare.end().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn job() -> JobId {
        JobId::parse("a-abc234").expect("id")
    }

    fn waiting() -> Spare {
        let (_input, orders) = std::io::pipe().expect("a pipe");
        Spare { child: channel().1, orders, foretold: None }
    }

    #[test]
    fn one_is_kept_while_files_are_likely_to_come_that_could_start_at_once() {
        let ms = Duration::from_millis(1);
        let (long_ago, soon, later) = (Duration::ZERO, NOW + ms, NOW + KEPT_FOR);
        for (is_there, begin_at, until, is_of_use, expected) in [
            (false, None, later, true, Care::Leave),
            (false, Some(soon), later, true, Care::Leave),
            (false, Some(NOW), later, true, Care::Begin),
            (false, Some(NOW), later, false, Care::Leave),
            (false, Some(long_ago), NOW, true, Care::Leave),
            (true, None, later, true, Care::Leave),
            (true, None, later, false, Care::Dismiss),
            (true, None, NOW, true, Care::Dismiss),
            (true, None, Duration::ZERO, true, Care::Dismiss),
        ] {
            let ready = is_there.then(waiting);
            let spares = Spares { ready, begin_at, until };
            let case = (is_there, begin_at, until, is_of_use);
            assert_eq!(spares.care(is_of_use, NOW), expected, "{case:?}");
        }
    }

    #[test]
    fn the_next_one_begins_a_while_after_a_job_and_is_kept_for_the_one_after_that() {
        let mut spares = Spares::default();
        assert_eq!(spares.due(), None, "nothing to do before the first job");
        assert!(spares.take(&job(), NOW).is_none());
        assert_eq!(spares.due(), Some(NOW + A_WHILE));
        (spares.ready, spares.begin_at) = (Some(waiting()), None);
        assert_eq!(spares.due(), Some(NOW + KEPT_FOR));
        assert!(spares.take(&job(), NOW + KEPT_FOR / 2).is_some());
        spares.ready = Some(waiting());
        assert_eq!(spares.care(true, NOW + KEPT_FOR), Care::Leave, "from the last job on");
    }

    #[test]
    fn nobody_wakes_for_one_that_is_due_too_late() {
        let begin_at = Some(NOW + KEPT_FOR);
        let spares = Spares { ready: None, begin_at, until: NOW + KEPT_FOR };
        assert_eq!(spares.due(), None);
    }

    #[test]
    fn one_that_was_told_of_another_job_is_sent_away() {
        let other = JobId::parse("b-abc234").expect("id");
        let told = |foretold| Spare { foretold: Some(foretold), ..waiting() };
        let mut spares = Spares { ready: Some(told(other)), ..Spares::default() };
        assert!(spares.take(&job(), NOW).is_none());
        assert_eq!(spares.care(true, NOW), Care::Dismiss);
        spares.ready = Some(told(job()));
        assert!(spares.take(&job(), NOW).is_some());
    }
}
