//! A worker that begins before its job is known: its process starts while a file is taken, which waits for the disk, and is
//! told its job when that may begin. Soon after a job has begun the next such worker begins, and waits as long as another file is
//! likely to come; where jobs wait for a lane already, it begins at once, so that it is mostly ready when there is one. One at a time;
//! what is not needed is sent away.

use std::io::{PipeWriter, Result, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
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
    /// Those that were sent away and are not seen gone yet. None begins before they are.
    leaving: JoinSet<()>,
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
    /// Takes the one that is kept, for a job that begins: another one follows. `others_wait`: whether jobs wait for a lane, so that it
    /// is needed for sure.
    pub(super) fn take(&mut self, job: &JobId, others_wait: bool, now: Duration) -> Option<Spare> {
        let rest = if others_wait { Duration::ZERO } else { A_WHILE };
        (self.begin_at, self.until) = (Some(now + rest), now + KEPT_FOR);
        self.ready.take_if(|spare| spare.foretold.as_ref().is_none_or(|of| of == job))
    }

    /// Tells the one that is kept, if one is, what its job may be; not of one that waits for something before it may begin.
    pub(super) fn foretell(&mut self, job: &Job) {
        let may_begin = job.options.after.is_empty() && job.options.not_before.is_none();
        if let Some(spare) = self.ready.as_mut().filter(|_| may_begin) {
            spare.foretell(job);
        }
    }

    /// When something is to be done about it, in boot time, as long as it is of use.
    fn due(&self, now: Duration) -> Option<Duration> {
        let end = self.ready.as_ref().map(|_| self.until);
        end.or(self.begin_at.filter(|at| (*at).max(now) < self.until))
    }

    /// Whether nobody is kept and nobody will be, before another job begins.
    fn has_nothing(&self, now: Duration) -> bool {
        self.ready.is_none() && self.due(now).is_none()
    }

    /// `is_of_use`: whether a job could start soon.
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
    /// Whether the job that a file is about to become could start at once.
    pub(super) fn is_next(&self) -> bool {
        self.takes_workers() && !self.has_waiting_jobs() && self.has_lane()
    }

    /// Has a worker begin for it, if none waits.
    pub(super) fn call_spare(&mut self) {
        if self.spares.ready.is_none() {
            self.begin_spare();
        }
    }

    fn begin_spare(&mut self) {
        while self.spares.leaving.try_join_next().is_some() {}
        if self.spares.leaving.is_empty() {
            self.spares.begin_at = None;
            // Without it the job's worker begins when the job may.
            self.spares.ready = Spare::begin(&self.desk.root).ok();
        } else {
            self.spares.begin_at = Some(clock::since_boot() + A_WHILE);
        }
    }

    /// Whether workers of ours are begun at all.
    fn takes_workers(&self) -> bool {
        let is_ours = self.options.program.is_none() && self.stop == Stop::No;
        is_ours && self.ground.is_firm() && self.ground.is_open() && self.is_fit()
    }

    /// Whether a job could start now.
    pub(super) fn has_lane(&self) -> bool {
        self.free_lanes() > 0
    }

    /// Whether jobs wait for a lane, and for nothing else.
    pub(super) fn has_waiting_jobs(&self) -> bool {
        self.queued > 0
    }

    /// Whether one is kept where that could be: for a job that waits for a lane, or for a file that could start at once. A daemon that
    /// is to do its work once waits for no file.
    fn keeps_spare(&self) -> bool {
        let awaits_file = || !self.options.once && self.has_lane();
        self.takes_workers() && (self.has_waiting_jobs() || awaits_file())
    }

    /// When something is to be done about the one that is kept, in boot time.
    pub(super) fn spare_due(&self, now: Duration) -> Option<Duration> {
        // Asked last: it looks at all jobs.
        self.spares.due(now).filter(|_| self.keeps_spare())
    }

    /// Keeps one as long as files are likely to come that could start at once, and sends away who is not needed: another may be, in a
    /// while.
    pub(super) fn look_after_spare(&mut self) {
        let now = clock::since_boot();
        if self.spares.has_nothing(now) {
            return;
        }
        match self.spares.care(self.keeps_spare(), now) {
            Care::Leave => {}
            Care::Dismiss => {
                self.spares.begin_at = Some(now + A_WHILE);
                let needless = self.spares.ready.take();
                needless.map(|spare| self.spares.leaving.spawn(spare.end()));
            }
            Care::Begin => self.begin_spare(),
        }
    }

    /// Sees all of them gone: where a daemon has ended nothing of them is left.
    pub(super) async fn dismiss_spares(&mut self) {
        if let Some(spare) = self.spares.ready.take() {
            spare.end().await;
        }
        while self.spares.leaving.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::model::job::{Options, Origin};

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
            let spares = Spares { ready, begin_at, until, ..Spares::default() };
            let case = (is_there, begin_at, until, is_of_use);
            assert_eq!(spares.care(is_of_use, NOW), expected, "{case:?}");
        }
    }

    #[test]
    fn the_next_one_begins_a_while_after_a_job_and_is_kept_for_the_one_after_that() {
        let mut spares = Spares::default();
        assert_eq!(spares.due(NOW), None, "nothing to do before the first job");
        assert!(spares.take(&job(), false, NOW).is_none());
        assert_eq!(spares.due(NOW), Some(NOW + A_WHILE));
        (spares.ready, spares.begin_at) = (Some(waiting()), None);
        assert_eq!(spares.due(NOW), Some(NOW + KEPT_FOR));
        assert!(spares.take(&job(), false, NOW + KEPT_FOR / 2).is_some());
        spares.ready = Some(waiting());
        assert_eq!(spares.care(true, NOW + KEPT_FOR), Care::Leave, "from the last job on");
    }

    #[test]
    fn where_jobs_wait_for_a_lane_the_next_one_begins_at_once() {
        let mut spares = Spares::default();
        assert!(spares.take(&job(), true, NOW).is_none());
        assert_eq!((spares.due(NOW), spares.care(true, NOW)), (Some(NOW), Care::Begin));
    }

    #[test]
    fn whoever_is_due_has_something_to_do_so_that_nobody_wakes_in_vain() {
        let times = [0, 999, 1000, 1001, 1059, 1060, 1061].map(Duration::from_secs);
        let begins = times.map(Some).into_iter().chain([None]);
        for (begin_at, until) in begins.flat_map(|at| times.map(|until| (at, until))) {
            for is_there in [false, true] {
                let ready = is_there.then(waiting);
                let spares = Spares { ready, begin_at, until, ..Spares::default() };
                let is_due = spares.due(NOW).is_some_and(|at| at <= NOW);
                let has_to = spares.care(true, NOW) != Care::Leave;
                assert_eq!(is_due, has_to, "{begin_at:?} {until:?} {is_there}");
                assert!(!(has_to && spares.has_nothing(NOW)), "{begin_at:?} {until:?} {is_there}");
            }
        }
    }

    #[test]
    fn one_that_was_told_of_another_job_is_sent_away() {
        let other = JobId::parse("b-abc234").expect("id");
        let told = |foretold| Spare { foretold: Some(foretold), ..waiting() };
        let mut spares = Spares { ready: Some(told(other)), ..Spares::default() };
        assert!(spares.take(&job(), false, NOW).is_none());
        assert_eq!(spares.care(true, NOW), Care::Dismiss);
        spares.ready = Some(told(job()));
        assert!(spares.take(&job(), false, NOW).is_some());
    }

    #[test]
    fn a_job_that_may_begin_is_foretold_once() {
        let (mut input, orders) = std::io::pipe().expect("a pipe");
        let spare = Spare { child: channel().1, orders, foretold: None };
        let mut spares = Spares { ready: Some(spare), ..Spares::default() };
        let later = |job: &Job| {
            let options = Options { not_before: Some(job.created_at), ..Options::default() };
            Job { options, ..job.clone() }
        };
        let job = Job {
            version: 1,
            id: job(),
            objective: "x".into(),
            options: Options::default(),
            origin: Origin { name: "a.md".into(), bytes: 1, sha256: "0".repeat(64), uid: 0 },
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        for told in [&later(&job), &job, &job] {
            spares.foretell(told);
        }
        drop(spares);
        let mut said = Vec::new();
        input.read_to_end(&mut said).expect("read");
        assert_eq!(Order::of_line(&said), Some(Order::Soon(Box::new(job))), "one line");
    }
}
