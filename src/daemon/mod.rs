//! Floor 3b: the daemon. It watches the spool, takes what is whole, starts workers within their number and puts right
//! what lies wrong. It holds nothing in memory that is not on disk: killed at any point, the next one goes on.
//!
//! One loop: whatever happens becomes an `Input`; hearing it only marks what to look at; then looking, deciding and
//! acting follow, in that order. A hint wakes, the disk decides.
//!
//! Diagnostics: trouble with one file or job is recorded in `store/daemon.ndjson` and tried again; only a spool that
//! cannot be opened at all ends the daemon.

mod backlog;
mod ground;
mod health;
mod holds;
mod lead;
pub mod log;
pub mod looks;
mod lost;
mod metrics;
mod over;
mod overview;
mod queue;
pub mod reading;
mod reconcile;
mod refusal;
mod rounds;
mod spare;
pub mod take;
mod watching;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use self::backlog::Turn;
use self::ground::Ground;
use self::log::{DaemonLog, Fact};
use self::looks::Looks;
use self::metrics::Metrics;
use self::overview::Overview;
use self::queue::Intake;
use self::spare::Spares;
use self::take::Desk;
use self::workers::Live;
use crate::error::Exit;
use crate::logic::health::Health;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::lock::FileLock;
use crate::os::moves::Moves;
use crate::os::signals::Listener;
use crate::os::watch::{Hint, Watch};
use crate::os::{clock, fsx};
use crate::spool::Notice;
use crate::store::holds::Holds;

/// How old an unfinished file has to be to be cleared away where others write, too: no write takes that long.
const OTHERS_TEMPS: Duration = Duration::from_secs(3600);
/// Most inputs heard before looking and deciding again.
const INPUTS_PER_TURN: usize = 1024;

/// How a daemon is to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether it ends when all there is to do is done.
    pub once: bool,
    /// Jobs that are worked on at a time; `None` leaves it to the settings.
    pub max_jobs: Option<usize>,
    /// Whether its end is the end of the workers too.
    pub stop_jobs: bool,
    /// The program that is started as `PROGRAM --root ROOT worker JOB`; `None` is this one, with `-` if it begins before its job is
    /// known.
    pub program: Option<PathBuf>,
    /// Told of every fact that goes into the daemon's journal, for who watches it run.
    pub tell: Option<fn(&Fact)>,
    /// Told what it does while another daemon leads.
    pub tell_standing: Option<fn(Standing, Option<u32>)>,
}

/// What a daemon does that does not lead, since another one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It waits until that one ends.
    By,
    /// It ends: it was to do its work once, and that one does it.
    Back,
    /// It leads now: that one has ended.
    In,
}

/// Something that happened.
#[derive(Debug)]
enum Input {
    /// Something may have changed on disk.
    Hint(Hint, Turn),
    /// A folder above was moved or removed, or something was mounted or unmounted.
    Moved,
    /// Of that no more is told.
    MovesUnheard,
    /// A signal came.
    Signal(i32),
    /// A worker that we started has ended, with this code if no signal ended it.
    WorkerEnded(JobId, Option<i32>),
    /// The page of all jobs is written, and how long that took; `None` if it cannot be.
    OverviewTold(Option<Duration>),
}

/// How far the daemon is in ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    /// Not at all.
    No,
    /// It ends and leaves its workers.
    Leave(i32),
    /// It ends when its workers have ended, which they were told to.
    Workers(i32),
}

/// The active daemon of a spool.
struct Daemon {
    desk: Desk,
    options: Options,
    lanes: usize,
    log: DaemonLog,
    looks: Looks,
    ground: Ground,
    /// The root's id when the daemon started: another root may be put in its place.
    root_id: Option<String>,
    watch: Option<Watch>,
    /// What tells when the ground is pulled away; `None` where that cannot be heard.
    moves: Option<Moves>,
    inputs: UnboundedSender<Input>,
    /// Jobs that were taken and have not ended.
    jobs: BTreeMap<JobId, Live>,
    /// The worker that begins before its job is known.
    spares: Spares,
    /// Jobs seen to have ended, with their file where it belongs.
    settled: BTreeSet<JobId>,
    /// Jobs to look at again.
    unchecked: BTreeSet<JobId>,
    /// Jobs whose lock is watched, since someone else holds it.
    watched_locks: BTreeSet<JobId>,
    /// What kept us from looking after a job when that was tried last.
    complaints: BTreeMap<JobId, String>,
    /// Whether the jobs are to be scheduled anew.
    is_dirty: bool,
    /// How far `incoming/` has been taken.
    intake: Intake,
    /// Jobs that wait for nothing but a worker.
    queued: usize,
    /// The accounts that are held.
    holds: Option<Holds>,
    /// Holds that were told of, by account, with when they were written.
    told: BTreeMap<String, Timestamp>,
    /// Homes of codex that are watched for a login.
    homes: BTreeSet<PathBuf>,
    /// When some resting job may go on.
    wake: Option<Timestamp>,
    next_rescan: Duration,
    /// When it is looked at what no event tells of; `None` while nothing is open.
    next_round: Option<Duration>,
    stop: Stop,
    has_failed: bool,
    has_rejected: bool,
    /// Whether a file waits for another job of its owner to end.
    keeps_waiting: bool,
    /// What is told of it all.
    metrics: Metrics,
    /// When the page of all jobs is written.
    overview: Overview,
    /// How fit the machine is.
    health: Health,
    /// Where commands hear of it; `None` where that could not be opened.
    notice: Option<Notice>,
}

/// Runs a daemon until it is told to end, or with `once` until all is done; returns its exit code.
///
/// # Errors
/// When the spool cannot be used.
pub fn run(root: &Root, settings: Settings, options: Options) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _guard = runtime.enter();
    let (inputs, heard) = unbounded_channel();
    let tell = inputs.clone();
    let _signals = Listener::listen(move |signal| drop(tell.send(Input::Signal(signal))))?;
    runtime.block_on(lead::lead(Desk::new(root, settings), options, inputs, heard))
}

impl Daemon {
    fn new(
        desk: Desk,
        options: Options,
        watch: Option<Watch>,
        inputs: UnboundedSender<Input>,
    ) -> Result<Self> {
        fsx::make_kept_dirs(desk.runs.dir())?;
        fsx::make_kept_dirs(&desk.root.store())?;
        let log = DaemonLog::open(&desk.root)?;
        let notice = Notice::open(&desk.spool).ok();
        let root_id = crate::root::check(&desk.root).ok().flatten();
        Ok(Self {
            lanes: options.max_jobs.unwrap_or(desk.settings.max_jobs),
            looks: Looks::new(&desk.settings),
            ground: Ground::default(),
            root_id,
            desk,
            options,
            log,
            watch,
            moves: None,
            inputs,
            jobs: BTreeMap::new(),
            spares: Spares::default(),
            settled: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            watched_locks: BTreeSet::new(),
            complaints: BTreeMap::new(),
            is_dirty: true,
            intake: Intake::default(),
            queued: 0,
            holds: None,
            told: BTreeMap::new(),
            homes: BTreeSet::new(),
            wake: None,
            next_rescan: Duration::ZERO,
            next_round: None,
            stop: Stop::No,
            has_failed: false,
            has_rejected: false,
            keeps_waiting: false,
            metrics: Metrics::default(),
            overview: Overview::default(),
            health: Health::default(),
            notice,
        })
    }

    /// The loop. It ends when there is nothing left to do for it.
    async fn work(mut self, mut heard: UnboundedReceiver<Input>, lock: &FileLock) -> Exit {
        self.metrics = Metrics::begin();
        self.lift_refused_logins();
        self.watch_folders();
        // Whoever reads this may drop files, and is seen to do it.
        self.record(&Fact::DaemonStarted { pid: std::process::id() });
        self.look_before_work();
        self.clear();
        let exit = self.work_on(&mut heard, lock).await;
        self.dismiss_spares().await;
        self.see_overview_told().await;
        exit
    }

    async fn work_on(&mut self, heard: &mut UnboundedReceiver<Input>, lock: &FileLock) -> Exit {
        loop {
            self.check_ground_if_doubted();
            self.look_after_health();
            if self.next_rescan <= clock::since_boot() {
                self.rescan();
            }
            if !self.still_leads(lock) {
                return self.yield_lead(lock);
            }
            if self.ground.is_firm() {
                self.go_round();
                self.check_marked();
                self.take_what_is_whole(|| !heard.is_empty());
                self.schedule();
            }
            self.look_after_spare();
            if let Some(code) = self.end_of_work() {
                self.record(&Fact::DaemonStopped { reason: "done".to_owned() });
                self.write_metrics();
                return code;
            }
            self.tell_metrics();
            self.tell_overview();
            // Workers' ends are brought by tasks of their own, which nothing else lets run where there is always more to hear.
            tokio::task::yield_now().await;
            let Ok(mut next) = timeout(self.patience(), heard.recv()).await else { continue };
            for _ in 0..INPUTS_PER_TURN {
                let Some(input) = next else { break };
                self.hear(input);
                next = heard.try_recv().ok();
            }
        }
    }

    fn record(&mut self, fact: &Fact) {
        if let Some(tell) = self.options.tell {
            tell(fact);
        }
        self.metrics.hear(fact);
        self.mark_overview(fact);
        self.has_rejected |= matches!(fact, Fact::Rejected { .. });
        self.log.record(fact, clock::now());
    }

    /// Records trouble; whatever it stopped is tried again when something wakes us, at the latest at a rescan in good time.
    fn trouble(&mut self, what: &str, error: &std::io::Error) {
        if self.blames_machine(what, error) {
            return;
        }
        self.come_back_soon();
        self.ground.doubt();
        self.record(&Fact::Trouble { message: format!("{what}: {error}") });
    }

    fn clear(&mut self) {
        if let Err(e) = self.desk.spool.clear_temps(OTHERS_TEMPS) {
            self.trouble("cannot clear away unfinished files", &e);
        }
        if let Err(e) = self.desk.spool.finish_withdrawn() {
            self.trouble("cannot finish what was withdrawn", &e);
        }
    }

    /// Marks what an input tells of; nothing is done yet.
    fn hear(&mut self, input: Input) {
        match input {
            Input::Signal(signal) => self.hear_signal(signal),
            Input::WorkerEnded(job, code) => {
                self.learn_from_end(&job, code);
                if let Some(live) = self.jobs.get_mut(&job) {
                    live.ended();
                }
                self.unchecked.insert(job);
            }
            Input::OverviewTold(took) => self.overview_ended(took),
            Input::Moved => self.ground.moved(),
            Input::MovesUnheard => self.miss_moves(),
            Input::Hint(hint, _turn) if hint.paths.is_empty() => {
                self.looks.doubt(true);
                self.next_rescan = Duration::ZERO;
            }
            Input::Hint(hint, _turn) => {
                for path in &hint.paths {
                    self.hear_of(path, hint.change);
                }
            }
        }
    }

    fn hear_signal(&mut self, signal: i32) {
        self.stop = match self.stop {
            Stop::No if !self.options.stop_jobs => Stop::Leave(signal),
            Stop::No | Stop::Leave(_) | Stop::Workers(_) => Stop::Workers(signal),
        };
        let (jobs, stops) = (self.busy(), matches!(self.stop, Stop::Workers(_)));
        if jobs > 0 {
            self.record(&Fact::Leaving { jobs, stops });
        }
        if stops {
            self.stop_workers();
        }
    }

    /// How long nothing needs to be done unless something happens.
    fn patience(&self) -> Duration {
        if self.ground.is_doubted() {
            return Duration::ZERO;
        }
        let now = clock::since_boot();
        if !self.ground.is_firm() {
            return self.next_rescan.saturating_sub(now);
        }
        if !self.unchecked.is_empty() {
            return Duration::ZERO;
        }
        let wall = self.wake.map(|then| clock::until(then, clock::now()));
        let takes = self.ground.is_open() && !self.is_crowded();
        let due = if self.is_fit() {
            self.looks.next_due().filter(|_| takes)
        } else {
            // Files that are due are not taken by a machine that is not fit: the next test is due instead.
            Some(self.health.next_test())
        };
        let looks = due.map(|due| due.saturating_sub(now));
        let retry = self.jobs.values().filter_map(Live::retry_at).min();
        let retry = retry.map(|at| at.saturating_sub(now));
        let rescan = self.next_rescan.saturating_sub(now);
        let told = self.metrics.due(self.busy() > 0).map(|at| at.saturating_sub(now));
        let page = self.overview.due().map(|at| at.saturating_sub(now));
        let round = self.next_round.map(|at| at.saturating_sub(now));
        let spare = self.spare_due(now).map(|at| at.saturating_sub(now));
        [wall, looks, retry, told, page, round, spare]
            .into_iter()
            .flatten()
            .fold(rescan, Duration::min)
    }
}

#[cfg(test)]
mod tests;
