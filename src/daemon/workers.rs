//! The workers: started as children, found alive by their locks, told to end. A worker is a process of its own session;
//! nothing of it depends on the daemon's life.

use std::io::Result;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::log::Fact;
use super::{Daemon, Input};
use crate::codex::account::Account;
use crate::logic::schedule::{Hold, Other, Waiting};
use crate::model::id::JobId;
use crate::model::status::{JobPhase, PauseReason};
use crate::os::process::{self, Target};
use crate::os::{clock, env, fsx};

/// Starts without any new event after which a job is given up.
const BARREN_STARTS: u32 = 3;
/// Rest after a worker could not even be spawned.
const SPAWN_REST: Duration = Duration::from_secs(5);

/// Who works on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    /// Nobody.
    Idle,
    /// A child of ours: its number, and when it started, in clock ticks after boot.
    Child(u32, Option<u64>),
    /// Someone who holds its lock.
    Other,
}

/// A job that was taken and has not ended.
#[derive(Debug)]
pub(super) struct Live {
    /// As the schedule sees it.
    pub(super) waiting: Waiting,
    /// The accounts of codex that it uses, if it rests over one.
    pub(super) accounts: Vec<Account>,
    /// Why it did not start when last looked at.
    pub(super) hold: Option<Hold>,
    /// The journal's length in bytes when last read.
    pub(super) journal_bytes: u64,
    hand: Hand,
    /// How it has ended, so that whoever works on it only tidies up.
    ended_so: Option<Other>,
    /// Whether someone has worked on it under this daemon.
    has_worked: bool,
    bytes_at_start: Option<u64>,
    barren_starts: u32,
    /// Starts in the journal without progress that do not count: those before this daemon, which does not know what kept
    /// them from it, and those that the machine is to blame for.
    excused_starts: u32,
    retry_at: Option<Duration>,
}

impl Live {
    /// A job without a worker.
    pub(super) fn new(waiting: Waiting) -> Self {
        Self {
            waiting,
            accounts: Vec::new(),
            hold: None,
            journal_bytes: 0,
            hand: Hand::Idle,
            ended_so: None,
            has_worked: false,
            bytes_at_start: None,
            barren_starts: 0,
            excused_starts: 0,
            retry_at: None,
        }
    }

    /// Whether someone works on it.
    pub(super) fn works(&self) -> bool {
        self.hand != Hand::Idle
    }

    /// Whether it has ended, and somebody only tidies up after it.
    pub(super) fn has_ended(&self) -> bool {
        self.ended_so.is_some()
    }

    /// How it has ended, for whoever waits for it, while somebody tidies up after it.
    pub(super) fn ended_so(&self) -> Option<Other> {
        self.ended_so
    }

    /// Whether a child of ours works on it.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.hand, Hand::Child(..))
    }

    /// When starting it is tried again, after a start that did not work.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Whether it rests since codex is not there or not logged in.
    pub(super) fn lacks_codex(&self) -> bool {
        self.waiting.rest.is_some_and(|rest| rest.reason == PauseReason::Auth)
    }

    /// Whether it rests until its account may be used again.
    pub(super) fn rests_over_account(&self) -> bool {
        let over_account = |reason| matches!(reason, PauseReason::Limit | PauseReason::Auth);
        self.waiting.rest.is_some_and(|rest| over_account(rest.reason))
    }

    /// Codex's home, if it rests until somebody logs in there.
    pub(super) fn awaits_login(&self) -> Option<&Path> {
        self.accounts.first().filter(|_| self.lacks_codex()).map(Account::home)
    }

    /// Takes in how it stands, and that it has not ended. What a daemon before us could not do for want of codex is tried once more: whoever put
    /// that right has no other way to tell than to start a daemon.
    pub(super) fn set_waiting(&mut self, waiting: Waiting) {
        (self.waiting, self.ended_so) = (waiting, None);
        let is_endless = self.waiting.rest.is_some_and(|rest| rest.until.is_none());
        if !self.has_worked && is_endless && self.lacks_codex() {
            self.waiting.rest = None;
        }
    }

    /// Takes in that our worker has ended.
    pub(super) fn ended(&mut self) {
        self.hand = Hand::Idle;
    }

    /// Takes in whether someone else holds its lock.
    pub(super) fn set_held(&mut self, is_held: bool) {
        if !self.is_ours() {
            self.hand = if is_held { Hand::Other } else { Hand::Idle };
        }
        self.has_worked |= is_held;
    }

    /// Takes in that it has ended, while somebody still tidies up after it.
    pub(super) fn set_tidying(&mut self, phase: JobPhase) {
        let is_well = phase == JobPhase::Succeeded;
        self.ended_so = Some(if is_well { Other::Well } else { Other::Badly });
        self.set_held(true);
    }

    /// Lets the starts so far count as nothing: the machine is to blame.
    pub(super) fn excuse(&mut self, idle_starts: u32) {
        self.bytes_at_start = None;
        self.barren_starts = 0;
        self.excused_starts = idle_starts;
    }

    /// Whether it has been started too often without any progress, `idle_starts` times by its journal. A start after
    /// which the journal is as long as before counts, too.
    pub(super) fn is_stuck(&mut self, idle_starts: u32) -> bool {
        let counted = idle_starts.saturating_sub(self.excused_starts);
        counted.max(self.count_barren()) >= BARREN_STARTS
    }

    fn count_barren(&mut self) -> u32 {
        match self.bytes_at_start.take() {
            Some(before) if before == self.journal_bytes => self.barren_starts += 1,
            Some(_) => self.barren_starts = 0,
            None => {}
        }
        self.barren_starts
    }
}

impl Daemon {
    /// Workers alive, ours and others.
    pub(super) fn busy(&self) -> usize {
        self.jobs.values().filter(|live| live.works()).count()
    }

    /// Lanes that no job has. One that has ended has none while its worker tidies up, unless so many do that they are as many as there
    /// are lanes.
    pub(super) fn free_lanes(&self) -> usize {
        let tidying = self.jobs.values().filter(|live| live.works() && live.has_ended()).count();
        let busy = self.busy() - tidying.min(self.lanes);
        self.lanes.saturating_sub(busy)
    }

    /// Starts a job's worker.
    pub(super) fn start(&mut self, job: &JobId) {
        match self.spawn(job) {
            Ok((pid, started)) => {
                if let Some(live) = self.jobs.get_mut(job) {
                    live.hand = Hand::Child(pid, started);
                    live.has_worked = true;
                    live.bytes_at_start = Some(live.journal_bytes);
                    live.retry_at = None;
                }
                self.record(&Fact::Started { job: job.clone(), pid });
            }
            Err(e) => {
                if let Some(live) = self.jobs.get_mut(job) {
                    live.retry_at = Some(clock::since_boot() + SPAWN_REST);
                }
                self.trouble(&format!("cannot start a worker for {job}"), &e);
            }
        }
    }

    fn spawn(&mut self, job: &JobId) -> Result<(u32, Option<u64>)> {
        // One that waited ends where the settings are wrong by now. Whoever starts once more looks at them first.
        let is_first = self.jobs.get(job).is_none_or(|live| !live.has_worked);
        let (others_wait, now) = (self.has_waiting_jobs(), clock::since_boot());
        let kept = if is_first { self.spares.take(job, others_wait, now) } else { None };
        let mut child = match kept.and_then(|spare| spare.tell(job)) {
            Some(child) => child,
            None => self.begin(job)?,
        };
        let pid = child.id().unwrap_or(0);
        // Nobody has waited for it yet, so the number is still its own.
        let started = process::start_time(pid);
        let (job, tell) = (job.clone(), self.inputs.clone());
        tokio::spawn(async move {
            // What it left on disk tells what follows; how it ended only whether the machine is to be looked at.
            let code = child.wait().await.ok().and_then(|status| status.code());
            drop(tell.send(Input::WorkerEnded(job, code)));
        });
        Ok((pid, started))
    }

    fn begin(&self, job: &JobId) -> Result<Child> {
        // A worker reads the settings anew: what is wrong with them is no fault of the job's.
        crate::root::open(&self.desk.root, false).map_err(std::io::Error::other)?;
        // Where it cannot be opened a worker could not say why it ended.
        let log = fsx::open_append(&self.desk.runs.folder(job).worker_log())?;
        let program = match &self.options.program {
            Some(program) => program.clone(),
            None => env::own_binary()?,
        };
        let words = ["worker", job.as_str()];
        let worker = process::own_call(&program, self.desk.root.path(), &words);
        let mut worker = Command::from(worker);
        worker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
    }

    /// Lets go of retries whose time has come.
    pub(super) fn retry_due(&mut self) {
        let now = clock::since_boot();
        for live in self.jobs.values_mut() {
            if live.retry_at.is_some_and(|at| at <= now) {
                live.retry_at = None;
                self.is_dirty = true;
            }
        }
    }

    /// Asks every worker to end.
    pub(super) fn stop_workers(&mut self) {
        let jobs: Vec<JobId> =
            self.jobs.iter().filter(|(_, l)| l.works()).map(|(job, _)| job.clone()).collect();
        for job in jobs {
            self.stop_worker(&job);
        }
    }

    /// Asks a job's worker to end: a child of ours by what was seen at its start, another by what its journal says. One
    /// that has gone is left alone, and so is whoever has its number now.
    pub(super) fn stop_worker(&mut self, job: &JobId) {
        let worker = match self.jobs.get(job).map(|live| live.hand) {
            Some(Hand::Child(pid, started)) => Ok(child(pid, started)),
            _ => self.desk.runs.folder(job).worker(),
        };
        match worker {
            Ok(Some(worker)) => worker.terminate(),
            Ok(None) => {}
            Err(e) => self.trouble(&format!("cannot stop the worker of {job}"), &e),
        }
    }
}

fn child(pid: u32, started: Option<u64>) -> Option<Target> {
    Target::open(pid, |pid| started.is_some() && process::start_time(pid) == started)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::state::JobState;
    use crate::model::job::{Job, Options, Origin};

    fn live(id: &JobId) -> Live {
        let origin = Origin { name: String::new(), bytes: 0, sha256: String::new(), uid: 0 };
        let (objective, options) = (String::new(), Options::default());
        let created_at = jiff::Timestamp::UNIX_EPOCH;
        let job = Job { version: 1, id: id.clone(), objective, options, origin, created_at };
        Live::new(Waiting::of(&job, &JobState::default()))
    }

    #[test]
    fn a_job_that_has_ended_needs_no_lane_unless_many_still_tidy_up() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut daemon = crate::daemon::rounds::tests::daemon(dir.path());
        daemon.lanes = 2;
        for (working, tidying, waiting, free) in
            [(0, 0, 5, 2), (1, 0, 0, 1), (2, 0, 1, 0), (0, 2, 0, 2), (1, 2, 0, 1), (0, 3, 0, 1)]
        {
            daemon.jobs.clear();
            for n in 0..working + tidying + waiting {
                let id = JobId::parse(&format!("j{n}-abc234")).expect("id");
                let mut live = live(&id);
                live.set_held(n < working);
                if (working..working + tidying).contains(&n) {
                    live.set_tidying(JobPhase::Succeeded);
                }
                daemon.jobs.insert(id, live);
            }
            assert_eq!(daemon.free_lanes(), free, "{working} {tidying} {waiting}");
        }
        daemon.jobs.values_mut().for_each(Live::ended);
        assert_eq!(daemon.free_lanes(), 2, "whoever has gone needs none");
    }

    #[test]
    fn starts_that_the_machine_is_to_blame_for_do_not_count() {
        let mut live = live(&JobId::parse("a-abc234").expect("id"));
        assert!(!live.is_stuck(2) && live.is_stuck(3));
        live.excuse(3);
        assert!(!live.is_stuck(5) && live.is_stuck(6));
        live.excuse(6);
        for (count, is_stuck) in [(1, false), (2, false), (3, true)] {
            live.bytes_at_start = Some(live.journal_bytes);
            assert_eq!(live.is_stuck(0), is_stuck, "{count} starts that left no trace");
        }
        live.excuse(0);
        assert!(!live.is_stuck(0));
    }

    #[test]
    fn a_number_that_someone_else_has_now_is_no_child() {
        let own = process::own_pid();
        let started = process::start_time(own);
        assert!(child(own, started).is_some());
        for other in [None, started.map(|at| at + 1)] {
            assert!(child(own, other).is_none(), "{other:?}");
        }
    }
}
