//! Reads the spool for `top`: what lies in it, the jobs that have not ended, and what is said about the selected one. Costs
//! what is live: a job that nobody works on is read again when its status was written anew, the ended ones when one more
//! has ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::state::{Overview, Screen};
use crate::cli::activity::{self, Activities};
use crate::cli::board::Board;
use crate::cli::follow::{JournalTail, Wakes};
use crate::cli::here::View;
use crate::cli::ink::Tone;
use crate::cli::{ended, held, lookup, snapshot, story, unfit};
use crate::error::Failure;
use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::root::Root;
use crate::model::status::{JobPhase, Status};
use crate::runs::{RunFolder, Runs};
use crate::spool::{Place, Spool};
use crate::store::index::Index;

/// Ended jobs that are listed.
const RECENT: u32 = 20;
/// How often a job that has just ended is looked for in the index.
const MOST_LOOKS: u8 = 5;
/// Lines that are kept of what is said about a job, and shown of a task.
const MOST_LINES: usize = 500;

/// One job, as far as it was read.
struct Watched {
    folder: RunFolder,
    job: Option<Job>,
    /// The journal, once somebody works on the job or looks at it.
    tail: Option<JournalTail>,
    words: Activities,
    story: VecDeque<(Tone, String)>,
    /// The status as it was read, and of which file.
    status: Option<(Stamp, Status)>,
}

/// What was read, for the next time.
pub(super) struct Gatherer {
    root: Root,
    view: View,
    jobs: BTreeMap<JobId, Watched>,
    claimed: Option<BTreeSet<JobId>>,
    /// Jobs that have ended and are not in the index yet, and how often they were looked for.
    left: BTreeMap<JobId, u8>,
    recent: Vec<Board>,
    ended: BTreeMap<String, u64>,
    /// How many files were rejected, and of which moment of their folder.
    rejected: Option<(Stamp, u64)>,
}

/// What changes with a file or a folder: its number, and when it was changed last.
type Stamp = (u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    path.metadata().ok().map(|m| (m.ino(), m.mtime(), m.mtime_nsec()))
}

impl Gatherer {
    /// Starts with nothing read.
    pub(super) fn new(root: &Root, view: View) -> Self {
        Self {
            root: root.clone(),
            view,
            jobs: BTreeMap::new(),
            claimed: None,
            left: BTreeMap::new(),
            recent: Vec::new(),
            ended: BTreeMap::new(),
            rejected: None,
        }
    }

    /// Reads what has changed, and all that is selected.
    pub(super) fn look(&mut self, wakes: &mut Wakes, screen: &Screen) -> Result<Overview, Failure> {
        let spool = Spool::of(&self.root);
        wakes.add(&self.root.runs());
        wakes.add(&spool.daemon_lock());
        wakes.add(&self.root.store().join("holds"));
        for place in [Place::Incoming, Place::Claimed, Place::Rejected] {
            wakes.add(&spool.folder(place));
        }
        let cannot = |e: std::io::Error| Failure::system("read the spool", &e);
        let claimed: BTreeSet<JobId> = spool
            .jobs_in(Place::Claimed)
            .map_err(cannot)?
            .into_iter()
            .map(|(job, _)| job)
            .collect();
        self.read_ended(&claimed)?;
        let mut live: Vec<Board> =
            claimed.iter().filter_map(|job| self.board(wakes, job, screen)).collect();
        live.sort_by_key(|b| (order(b), b.status.created_at));
        let troubles = unfit::why(&self.root).into_iter().map(|why| format!("no new work: {why}"));
        let overview = Overview {
            root: self.root.path().display().to_string(),
            daemon: spool.is_led(),
            troubles: troubles.chain(held::lines(&self.root)).collect(),
            counts: self.counts(&live, &spool),
            log: self.log(wakes, screen),
            jobs: live.into_iter().chain(self.recent.iter().cloned()).collect(),
        };
        self.claimed = Some(claimed);
        wakes.settle();
        Ok(overview)
    }

    /// The jobs that ended last and how many have, if one more has.
    fn read_ended(&mut self, claimed: &BTreeSet<JobId>) -> Result<(), Failure> {
        if let Some(before) = &self.claimed {
            self.left.extend(before.difference(claimed).map(|job| (job.clone(), 0)));
            if self.left.is_empty() {
                return Ok(());
            }
        }
        let recent = ended::recent(&self.root, RECENT)?.0.into_iter();
        let is_over = |job: &JobId| !claimed.contains(job);
        self.recent = recent
            .filter(|row| is_over(&row.status.job_id))
            .map(|row| Board::at_rest(row.status, false))
            .collect();
        let index = Index::open_reader(&self.root.store()).ok().flatten();
        self.ended = index.and_then(|index| index.counts().ok()).unwrap_or_default();
        let shown: BTreeSet<&JobId> = self.recent.iter().map(|b| &b.status.job_id).collect();
        self.jobs.retain(|job, _| claimed.contains(job) || shown.contains(job));
        self.left.retain(|job, looks| {
            *looks += 1;
            !shown.contains(job) && *looks < MOST_LOOKS
        });
        Ok(())
    }

    fn counts(&mut self, live: &[Board], spool: &Spool) -> Vec<(u64, &'static str)> {
        let of = |phase| live.iter().filter(|b| b.status.state == phase).count() as u64;
        let incoming = lookup::incoming(&self.root).map_or(0, |names| names.len() as u64);
        let rejected = self.count_rejected(spool);
        let ended = |phase: JobPhase| self.ended.get(phase.as_str()).copied().unwrap_or(0);
        let all = [
            (of(JobPhase::Running) + of(JobPhase::Planning), "running"),
            (of(JobPhase::Paused), "paused"),
            (of(JobPhase::Queued), "queued"),
            (incoming, "incoming"),
            (ended(JobPhase::Succeeded), "succeeded"),
            (ended(JobPhase::Failed), "failed"),
            (ended(JobPhase::Killed), "killed"),
            (rejected, "rejected"),
        ];
        all.into_iter().filter(|(n, word)| *n > 0 || *word == "running").collect()
    }

    /// Nobody empties that folder: it is counted when it has changed.
    fn count_rejected(&mut self, spool: &Spool) -> u64 {
        let now = stamp(&spool.folder(Place::Rejected));
        if let Some((_, n)) = self.rejected.filter(|(then, _)| Some(*then) == now) {
            return n;
        }
        let n = spool.rejections().map_or(0, |all| all.len() as u64);
        self.rejected = now.map(|now| (now, n));
        n
    }

    /// A job that has not ended; `None` where its files say nothing yet.
    fn board(&mut self, wakes: &mut Wakes, job: &JobId, screen: &Screen) -> Option<Board> {
        let watched = self.watched(job);
        let mut status = watched.read_status();
        // Of those that wait, however many they are, nobody asks for a lock, and none is watched: the overview in `runs/` is
        // written when one begins, and `claimed/` changes when one ends.
        let waits = status.as_ref().is_some_and(|s| s.state == JobPhase::Queued);
        if !waits || screen.job.as_ref() == Some(job) {
            wakes.add(watched.folder.dir());
            status = watched.read_status();
        }
        let held = !waits
            && watched.is_held_around(|of| {
                status = of.read_status();
                status.as_ref().map_or(JobPhase::Queued, |s| s.state)
            });
        if held || screen.job.as_ref() == Some(job) {
            let (now, view) = (self.view.now, self.view.clone());
            let board = self.watched(job).follow(wakes, &view, now);
            // Why a job waits for another one is the daemon's to say, and stands in its status alone.
            let waits = |b: &Board| b.status.state == JobPhase::Queued;
            return match board {
                Some(board) if !waits(&board) => Some(board),
                other => status.map(|status| Board::at_rest(status, held)).or(other),
            };
        }
        Some(Board::at_rest(status?, held))
    }

    fn watched(&mut self, job: &JobId) -> &mut Watched {
        let runs = Runs::of(&self.root);
        self.jobs.entry(job.clone()).or_insert_with(|| Watched {
            folder: runs.folder(job),
            job: None,
            tail: None,
            words: Activities::default(),
            story: VecDeque::new(),
            status: None,
        })
    }

    /// What is said about the selected job, or by the agents of the selected task.
    fn log(&mut self, wakes: &mut Wakes, screen: &Screen) -> Vec<(Tone, String)> {
        let Some(job) = &screen.job else { return Vec::new() };
        let view = self.view.clone();
        let watched = self.watched(job);
        if let Some(task) = &screen.task {
            wakes.add(watched.folder.place(task.as_str()).dir());
            return activity::last_lines(&watched.folder, task.as_str(), MOST_LINES);
        }
        watched.read_on(&view);
        watched.story.iter().cloned().collect()
    }

    /// The moment that times are counted to from now on.
    pub(super) fn set_now(&mut self, now: jiff::Timestamp) {
        self.view.now = now;
    }
}

/// Jobs that are worked on come first, then those that wait for somebody.
fn order(board: &Board) -> u8 {
    match board.status.state {
        JobPhase::Planning | JobPhase::Running => 0,
        JobPhase::Paused => 1,
        JobPhase::Queued => 2,
        JobPhase::Succeeded | JobPhase::Failed | JobPhase::Killed => 3,
    }
}

impl Watched {
    /// The status file, if it was written anew; else as it was read before.
    fn read_status(&mut self) -> Option<Status> {
        let stamp = stamp(&self.folder.dir().join("status.json"));
        if let Some((_, status)) = self.status.as_ref().filter(|(s, _)| Some(*s) == stamp) {
            return Some(status.clone());
        }
        let status = snapshot::status(&self.folder).ok().flatten()?;
        self.status = stamp.map(|stamp| (stamp, status.clone()));
        Some(status)
    }

    /// Reads the journal on, to where the job stands.
    fn read_on(&mut self, view: &View) -> JobPhase {
        let tail = self.tail.get_or_insert_with(|| JournalTail::new(self.folder.clone()));
        // A journal that cannot be read is the daemon's to mend; the job is shown as its status says.
        for event in tail.read().unwrap_or_default() {
            self.story.extend(told(&event, view));
        }
        let over = self.story.len().saturating_sub(MOST_LINES);
        self.story.drain(..over);
        tail.state().phase
    }

    /// Whether somebody holds the job, around a reading of it. What cannot be looked at must not end the screen.
    fn is_held_around(&mut self, mut read: impl FnMut(&mut Self) -> JobPhase) -> bool {
        let folder = self.folder.clone();
        snapshot::is_held_around(&folder, || Ok(read(self))).unwrap_or(true)
    }

    fn follow(&mut self, wakes: &mut Wakes, view: &View, now: jiff::Timestamp) -> Option<Board> {
        let held = self.is_held_around(|of| of.read_on(view));
        if self.job.is_none() {
            self.job = self.folder.read_job().ok().flatten();
        }
        let (tail, job, words) = (self.tail.as_ref()?, self.job.as_ref()?, &mut self.words);
        for session in tail.timeline().open_sessions() {
            wakes.add(self.folder.place(&session.place).dir());
        }
        let folder = &self.folder;
        let mut words = |place: &str, session| words.of(folder, place, session);
        Some(Board::of(tail.state(), tail.timeline(), (job, held), &mut words, now))
    }
}

/// An event as a line of the log; none for what only someone who looks closely wants to know.
fn told(event: &Event, view: &View) -> Option<(Tone, String)> {
    let told = story::tell(&event.fact);
    if told.minor {
        return None;
    }
    let task = event.task_id.as_ref().map(|t| format!("{t}: ")).unwrap_or_default();
    Some((told.tone, format!("{}  {task}{}", view.clock_time(event.ts), told.text)))
}

#[cfg(test)]
mod tests;
