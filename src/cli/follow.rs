//! Following jobs by their files: woken by changes, never by time alone, but for a slow look that finds what a watch
//! missed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::here::Here;
use super::lookup::{self, Whereabouts};
use super::snapshot;
pub(super) use super::wakes::{Deadline, Wake, Wakes};
use crate::error::{Exit, Failure};
use crate::logic::state::JobState;
use crate::logic::timeline::Timeline;
use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::{JobPhase, PauseReason};
use crate::os::signals::INTERRUPT;
use crate::runs::{JournalReader, RunFolder, Runs};
use crate::spool::{Place, Spool};

/// One job's journal, read as it grows.
pub(super) struct JournalTail {
    folder: RunFolder,
    reader: Option<JournalReader>,
    state: JobState,
    timeline: Timeline,
}

impl JournalTail {
    /// Starts at the journal's beginning, whether it is there yet or not.
    pub(super) fn new(folder: RunFolder) -> Self {
        let (state, timeline) = (JobState::default(), Timeline::default());
        Self { folder, reader: None, state, timeline }
    }

    /// The job's state, as far as it was read.
    pub(super) fn state(&self) -> &JobState {
        &self.state
    }

    /// What it tells of time, as far as it was read.
    pub(super) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The job's folder.
    pub(super) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The events since the last call.
    pub(super) fn read(&mut self) -> Result<Vec<Event>, Failure> {
        self.read_on().map_err(|e| Failure::system("read the journal", &e))
    }

    /// As [`JournalTail::read`], and whether a worker holds the job.
    pub(super) fn look(&mut self) -> Result<(Vec<Event>, bool), Failure> {
        let (folder, mut events) = (self.folder.clone(), Vec::new());
        let held = snapshot::is_held_around(&folder, || {
            events.extend(self.read()?);
            Ok(self.state.phase)
        })?;
        Ok((events, held))
    }

    fn read_on(&mut self) -> std::io::Result<Vec<Event>> {
        if self.reader.is_none() {
            self.reader = match JournalReader::open(&self.folder.journal()) {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                reader => Some(reader?),
            };
        }
        if self.reader.as_ref().is_some_and(JournalReader::is_replaced) {
            // The record of a job whose journal was lost, or destroyed: it says how that ended.
            *self = Self::new(self.folder.clone());
            return self.read_on();
        }
        let mut events = Vec::new();
        while let Some(event) = self.reader.as_mut().map_or(Ok(None), JournalReader::next_event)? {
            self.state.apply(&event);
            self.timeline.apply(&event, &self.state);
            events.push(event);
        }
        Ok(events)
    }

    /// As [`JournalTail::read`], with no file kept open between two calls: a root has more jobs than a process may have
    /// files.
    fn read_apart(&mut self) -> Result<Vec<Event>, Failure> {
        let events = self.read();
        if let Some(reader) = &mut self.reader {
            reader.let_go();
        }
        events
    }

    /// Whether anybody has begun to work on the job and it has not ended, so that its own folder tells what comes next.
    fn is_under_way(&self) -> bool {
        self.state.started_at.is_some() && !self.state.phase.is_final()
    }
}

/// The journals of several jobs, told as one story in the order of time.
pub(super) struct Journals {
    root: Root,
    only: Option<JobId>,
    tails: BTreeMap<JobId, JournalTail>,
    passed_over: BTreeSet<JobId>,
}

impl Journals {
    /// All jobs of a root: those that have ended before count only if asked for.
    pub(super) fn of(root: &Root, with_ended: bool) -> Result<Self, Failure> {
        let mut passed_over = BTreeSet::new();
        if !with_ended {
            let ended = lookup::all(root)?.into_iter().map(|k| k.job);
            let folder = |job: &JobId| Runs::of(root).folder(job);
            passed_over = ended
                .filter(|job| folder(job).read_status().is_some_and(|s| s.state.is_final()))
                .collect();
        }
        Ok(Self { root: root.clone(), only: None, tails: BTreeMap::new(), passed_over })
    }

    /// One job of a root, whether it has been taken yet or not.
    pub(super) fn of_one(root: &Root, job: &JobId) -> Self {
        let only = Some(job.clone());
        Self { root: root.clone(), only, tails: BTreeMap::new(), passed_over: BTreeSet::new() }
    }

    /// The events since the last call, of new jobs too, in the order of time.
    pub(super) fn read(&mut self, wakes: &mut Wakes) -> Result<Vec<Event>, Failure> {
        let runs = Runs::of(&self.root);
        wakes.add(runs.dir());
        wakes.add(&Spool::of(&self.root).folder(Place::Claimed));
        let jobs = match &self.only {
            Some(job) => {
                watch(&self.root, wakes, &runs.folder(job));
                vec![job.clone()]
            }
            None => runs.jobs().map_err(|e| Failure::system("read the runs", &e))?,
        };
        for job in jobs.into_iter().filter(|job| !self.passed_over.contains(job)) {
            let folder = runs.folder(&job);
            self.tails.entry(job).or_insert_with(|| JournalTail::new(folder));
        }
        let mut events = Vec::new();
        for tail in self.tails.values_mut().filter(|t| !t.state.phase.is_final()) {
            // Of those that wait, however many they are, none is watched: `runs/` and `claimed/` tell of a beginning. What came
            // before a watch was there is read after it.
            loop {
                let is_watched = tail.is_under_way() || self.only.is_some();
                if is_watched {
                    wakes.add(tail.folder.dir());
                }
                events.extend(tail.read_apart()?);
                if is_watched || !tail.is_under_way() {
                    break;
                }
            }
        }
        wakes.settle();
        events.sort_by(|a, b| (a.ts, &a.job_id, a.seq).cmp(&(b.ts, &b.job_id, b.seq)));
        Ok(events)
    }

    /// Whether nothing more comes of any of them: they have ended, some of them perhaps before anybody took them.
    pub(super) fn is_over(&self) -> Result<bool, Failure> {
        for tail in self.tails.values().filter(|t| !t.state.phase.is_final()) {
            if end_of_untaken(&self.root, tail)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The jobs, as far as they were read.
    pub(super) fn states(&self) -> impl Iterator<Item = (&JobId, &JobState)> {
        self.tails.iter().map(|(job, tail)| (job, tail.state()))
    }
}

/// When following a job is over before the job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// When the worker that this command started has gone.
    WhileWorked,
    /// When it rests until a person acts.
    UntilPersonNeeded,
}

/// How following ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The job has ended.
    Job(JobPhase),
    /// It rests.
    Paused(PauseReason, String),
    /// Its worker is gone without an end.
    NoWorker,
    /// It was not accepted; the text says why.
    Rejected(String),
    /// Someone asked this process to end.
    Signal(u8),
    /// The person wants the job to end.
    Kill,
    /// The person wants it to go on without them.
    Detached,
}

impl End {
    /// What the command answers with.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Job(JobPhase::Succeeded) => Exit::Done,
            Self::Job(_) | Self::NoWorker => Exit::JobFailed,
            Self::Paused(PauseReason::Auth, _) => Exit::Codex,
            Self::Paused(..) | Self::Detached => Exit::Blocked,
            Self::Rejected(_) => Exit::Usage,
            Self::Signal(number) => Exit::Signal(*number),
            Self::Kill => Exit::Signal(u8::try_from(INTERRUPT).unwrap_or_default()),
        }
    }
}

/// Whoever looks on while a job is followed.
pub(super) trait Onlooker {
    /// An event that was not read before, with the state after all that was read with it.
    fn event(&mut self, _here: &mut Here, _event: &Event, _state: &JobState) {}

    /// Everything that was new is told. How long that may last, if not until something changes.
    fn looked(
        &mut self,
        _here: &mut Here,
        _wakes: &mut Wakes,
        _tail: &JournalTail,
        _held: bool,
    ) -> Option<Duration> {
        None
    }

    /// The following has ended.
    fn over(&mut self, _here: &mut Here) {}

    /// What a reason to wake means; `Some` where it ends the following.
    fn woken(&mut self, _here: &mut Here, _wakes: &mut Wakes, wake: Wake) -> Option<End> {
        match wake {
            Wake::Signal(number) => Some(End::Signal(number)),
            _ => None,
        }
    }
}

/// Waits, and says nothing.
pub(super) struct Silent;

impl Onlooker for Silent {}

/// Follows one job until it ends or `patience` does; the onlooker sees every event that `tail` has not read before.
pub(super) fn job(
    here: &mut Here,
    wakes: &mut Wakes,
    tail: &mut JournalTail,
    patience: Patience,
    onlooker: &mut dyn Onlooker,
) -> Result<End, Failure> {
    let end = to_its_end(here, wakes, tail, patience, onlooker);
    onlooker.over(here);
    end
}

fn to_its_end(
    here: &mut Here,
    wakes: &mut Wakes,
    tail: &mut JournalTail,
    patience: Patience,
    onlooker: &mut dyn Onlooker,
) -> Result<End, Failure> {
    let mut child_gone = false;
    loop {
        watch(&here.root, wakes, &tail.folder);
        let (events, held) = tail.look()?;
        for event in events {
            onlooker.event(here, &event, tail.state());
        }
        let end = ended(&here.root, tail, patience, child_gone && !held)?;
        // Whoever wrote the end still tidies up: what is told to be over is over in every file.
        if let Some(end) = end.filter(|end| !held || !matches!(end, End::Job(_))) {
            return Ok(end);
        }
        let time = onlooker.looked(here, wakes, tail, held);
        let wake = wakes.next_within(time.unwrap_or(Duration::MAX));
        child_gone |= wake == Wake::Child;
        if let Some(end) = onlooker.woken(here, wakes, wake) {
            return Ok(end);
        }
    }
}

/// Watches what tells of a job: its folder, and the places where its file may end.
pub(super) fn watch(root: &Root, wakes: &mut Wakes, folder: &RunFolder) {
    wakes.add(&root.runs());
    let spool = Spool::of(root);
    for place in [Place::Rejected].into_iter().chain(JobPhase::FINALS.map(Place::at_end)) {
        wakes.add(&spool.folder(place));
    }
    wakes.add(folder.dir());
}

fn ended(
    root: &Root,
    tail: &JournalTail,
    patience: Patience,
    worker_gone: bool,
) -> Result<Option<End>, Failure> {
    let state = tail.state();
    if state.phase.is_final() {
        return Ok(Some(End::Job(state.phase)));
    }
    if let Some(reason) = state.pause.filter(|r| gives_up(patience, *r, worker_gone)) {
        return Ok(Some(End::Paused(reason, state.standing.message.clone())));
    }
    let rests_left = || {
        let held = tail.folder.may_be_held();
        snapshot::left_at_rest(&tail.folder, state.phase, held)
    };
    if patience == Patience::UntilPersonNeeded
        && let Some(message) = rests_left()
    {
        return Ok(Some(End::Paused(PauseReason::User, message)));
    }
    if worker_gone {
        return Ok(Some(End::NoWorker));
    }
    end_of_untaken(root, tail)
}

/// How a job has ended that has no journal: it was withdrawn or rejected before it was taken, or its record is gone.
pub(super) fn end_of_untaken(root: &Root, tail: &JournalTail) -> Result<Option<End>, Failure> {
    if tail.reader.is_some() {
        return Ok(None);
    }
    Ok(match lookup::find(root, tail.folder.job().as_str())?.at {
        Whereabouts::Run | Whereabouts::Incoming(_) => None,
        Whereabouts::Ended(phase) => Some(End::Job(phase)),
        Whereabouts::Rejected(path) => Some(End::Rejected(rejection(&path))),
    })
}

/// Whether a rest ends the following. A worker of our own may be about to end the rest, so its end is awaited.
fn gives_up(patience: Patience, reason: PauseReason, worker_gone: bool) -> bool {
    match patience {
        Patience::WhileWorked => worker_gone,
        Patience::UntilPersonNeeded => reason.needs_person(),
    }
}

/// The words of a `.reason.json`.
pub(super) fn rejection(path: &Path) -> String {
    let text = crate::os::fsx::read_optional(path).ok().flatten().unwrap_or_default();
    let reason: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let of = |key: &str| reason.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let (message, hint) = (of("message"), of("hint"));
    let message = if message.is_empty() { "no reason given".to_owned() } else { message };
    if hint.is_empty() { message } else { format!("{message} ({hint})") }
}
