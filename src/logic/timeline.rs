//! What a journal tells of time: when each session ran and how it ended, how long each claim waited and for whom, since when
//! a task stands where it stands, and when something landed. A projection of the journal beside
//! [`JobState`], for whoever shows it.
//!
//! Promises: any sequence of events is taken in; nothing ends before it began, even where the clock was set back; after
//! the end nothing changes any more, and nothing stays open.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::state::JobState;
use crate::model::claim::{Conflict, Holder};
use crate::model::event::{Event, Fact, SessionEnd, SessionKind, SessionStart};
use crate::model::id::TaskId;
use crate::model::outcome::{Failure, Tokens};
use crate::model::status::TaskPhase;
use crate::model::workspace::Oid;

/// A time with a beginning, and an end unless it is still going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    /// When it began.
    pub since: Timestamp,
    /// When it ended.
    pub until: Option<Timestamp>,
}

impl Spell {
    fn at(since: Timestamp) -> Self {
        Self { since, until: None }
    }

    fn end(&mut self, at: Timestamp) {
        self.until.get_or_insert(at.max(self.since));
    }

    /// Whether it is still going on.
    pub fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// How long it lasted, or has lasted by `now`.
    pub fn length(&self, now: Timestamp) -> SignedDuration {
        self.until.unwrap_or(now).duration_since(self.since).max(SignedDuration::ZERO)
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutcome {
    /// It has not.
    Open,
    /// Well.
    Well,
    /// It failed.
    Failed(Failure),
    /// Nobody wrote its end down: the job ended, or another session began in its place.
    Unknown,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpan {
    /// Its folder: a task's id, `plan`, `roles` or `queen`.
    pub place: String,
    /// Its number there.
    pub number: u32,
    /// What it was for.
    pub kind: SessionKind,
    /// The attempt it belonged to.
    pub attempt: u32,
    /// Whether it went on with an earlier thread.
    pub resumes: bool,
    /// When it ran.
    pub spell: Spell,
    /// How it ended.
    pub outcome: SessionOutcome,
    /// What it spent.
    pub tokens: Tokens,
}

/// A claim that got NO GO, until it got GO or its attempt was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseWait {
    /// The task that waited.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: u32,
    /// How long.
    pub spell: Spell,
    /// What stood in its way at the last verdict.
    pub conflicts: Vec<Conflict>,
    /// Everybody who stood in its way meanwhile.
    pub holders: BTreeSet<Holder>,
}

/// A task's work became the job's tip, or was found to change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The task.
    pub task: TaskId,
    /// When.
    pub at: Timestamp,
    /// Its commit; `None` where it wrote nothing.
    pub commit: Option<Oid>,
}

/// All of it, in the order in which things began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// When the first event was written.
    pub began: Option<Timestamp>,
    /// When the last one was; the end, if the job has ended.
    pub last: Option<Timestamp>,
    /// Whether the job has ended.
    pub is_over: bool,
    /// The sessions.
    pub sessions: Vec<SessionSpan>,
    /// The waits for leases.
    pub waits: Vec<LeaseWait>,
    /// What landed.
    pub landed: Vec<Landed>,
    /// Where each task has stood, each with when that began; never empty for a task.
    pub phases: BTreeMap<TaskId, Vec<(Timestamp, TaskPhase)>>,
}

impl Timeline {
    /// Replays a journal; the state that it adds up to is made on the way.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> (JobState, Self) {
        let (mut state, mut timeline) = (JobState::default(), Self::default());
        for event in events {
            state.apply(event);
            timeline.apply(event, &state);
        }
        (state, timeline)
    }

    /// Takes in one more event, with the state that the job has after it.
    pub fn apply(&mut self, event: &Event, after: &JobState) {
        if self.is_over {
            return;
        }
        self.began.get_or_insert(event.ts);
        self.last = Some(self.last.map_or(event.ts, |last| last.max(event.ts)));
        self.take(event);
        self.follow_tasks(event, after);
        if after.phase.is_final() {
            self.close(event.ts);
        }
    }

    fn take(&mut self, event: &Event) {
        match &event.fact {
            Fact::SessionStarting(start) => self.open_session(start, event.ts),
            Fact::SessionEnded(end) => self.end_session(end, event.ts),
            Fact::ClaimBlocked { attempt, conflicts } => {
                if let Some(task) = &event.task_id {
                    self.block(task, *attempt, conflicts, event.ts);
                }
            }
            Fact::TaskCompleted { commit, .. } => {
                if let Some(task) = event.task_id.clone() {
                    self.landed.push(Landed { task, at: event.ts, commit: commit.clone() });
                }
            }
            _ => {}
        }
    }

    fn open_session(&mut self, start: &SessionStart, at: Timestamp) {
        let before = self.sessions.iter_mut().rev().find(|s| s.place == start.place);
        if let Some(lost) = before.filter(|s| s.spell.is_open()) {
            lost.spell.end(at);
            lost.outcome = SessionOutcome::Unknown;
        }
        self.sessions.push(SessionSpan {
            place: start.place.clone(),
            number: start.number,
            kind: start.kind,
            attempt: start.attempt,
            resumes: start.resumes.is_some(),
            spell: Spell::at(at),
            outcome: SessionOutcome::Open,
            tokens: Tokens::default(),
        });
    }

    fn end_session(&mut self, end: &SessionEnd, at: Timestamp) {
        let is_it = |s: &&mut SessionSpan| s.place == end.place && s.number == end.number;
        let Some(session) = self.sessions.iter_mut().rev().find(is_it) else { return };
        session.spell.end(at);
        session.outcome = end.failure.clone().map_or(SessionOutcome::Well, SessionOutcome::Failed);
        session.tokens = end.tokens;
    }

    fn block(&mut self, task: &TaskId, attempt: u32, conflicts: &[Conflict], at: Timestamp) {
        let holders = conflicts.iter().map(|c| c.held_by.clone());
        let open = self.waits.iter_mut().rev().find(|w| w.task == *task);
        if let Some(wait) = open.filter(|w| w.spell.is_open() && w.attempt == attempt) {
            wait.conflicts = conflicts.to_vec();
            wait.holders.extend(holders);
            return;
        }
        self.waits.push(LeaseWait {
            task: task.clone(),
            attempt,
            spell: Spell::at(at),
            conflicts: conflicts.to_vec(),
            holders: holders.collect(),
        });
    }

    /// What the state says of the tasks now: a wait is over when nothing stands in the task's way any more.
    fn follow_tasks(&mut self, event: &Event, after: &JobState) {
        let free = |wait: &LeaseWait| {
            after
                .task(&wait.task)
                .is_none_or(|t| t.conflicts.is_empty() || t.attempt > wait.attempt)
        };
        for wait in self.waits.iter_mut().filter(|w| w.spell.is_open()).filter(|w| free(w)) {
            wait.spell.end(event.ts);
        }
        for task in &after.tasks {
            let stood = self.phases.entry(task.task.id.clone()).or_default();
            if stood.last().is_none_or(|(_, phase)| *phase != task.phase) {
                let at = stood.last().map_or(event.ts, |(since, _)| event.ts.max(*since));
                stood.push((at, task.phase));
            }
        }
    }

    /// The job has ended: so has everything in it.
    fn close(&mut self, at: Timestamp) {
        self.is_over = true;
        for session in self.sessions.iter_mut().filter(|s| s.spell.is_open()) {
            session.spell.end(at);
            session.outcome = SessionOutcome::Unknown;
        }
        for wait in &mut self.waits {
            wait.spell.end(at);
        }
    }

    /// Since when a task stands where it stands.
    pub fn since(&self, task: &TaskId) -> Option<Timestamp> {
        self.phases.get(task)?.last().map(|(since, _)| *since)
    }

    /// The sessions that run.
    pub fn open_sessions(&self) -> impl Iterator<Item = &SessionSpan> {
        self.sessions.iter().filter(|s| s.spell.is_open())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::claim::Mode;
    use crate::model::id::JobId;
    use crate::model::outcome::FailureKind;
    use crate::model::status::JobPhase;

    fn task(id: &str) -> TaskId {
        TaskId::parse(id).expect("id")
    }

    fn second(at: i64) -> Timestamp {
        Timestamp::from_second(at).expect("time")
    }

    fn event(at: i64, of: &str, fact: Fact) -> Event {
        let job_id = JobId::parse("a-abc234").expect("id");
        Event { seq: 1, ts: second(at), fact, job_id, task_id: TaskId::parse(of).ok() }
    }

    fn plan(ids: &[&str]) -> Fact {
        let tasks = ids.iter().map(|id| {
            let task = json!({"id": id, "summary": "", "description": "", "dependencies": [], "role": "executor",
                              "notes": "", "resources": {"reads": [], "writes": []}});
            serde_json::from_value(task).expect("task")
        });
        Fact::PlanCreated { plan: 1, objective: String::new(), tasks: tasks.collect() }
    }

    fn starting(place: &str, number: u32) -> Fact {
        let start = json!({"place": place, "number": number, "kind": "claim", "attempt": 1, "boot_id": "",
                           "cgroup": null, "resumes": null});
        Fact::SessionStarting(serde_json::from_value(start).expect("start"))
    }

    fn ended(place: &str, number: u32, failure: Option<Failure>) -> Fact {
        let tokens = Tokens { input: 7, cached: 0, output: 1 };
        Fact::SessionEnded(SessionEnd {
            place: place.into(),
            number,
            kind: SessionKind::Claim,
            attempt: 1,
            failure,
            thread_id: None,
            tokens,
            thread_tokens: tokens,
        })
    }

    fn blocked(by: &str) -> Fact {
        let held_by = Holder { job: JobId::parse("b-abc234").expect("id"), task: task(by) };
        let conflicts = vec![Conflict { path: "x".into(), mode: Mode::Write, held_by }];
        Fact::ClaimBlocked { attempt: 1, conflicts }
    }

    fn finished() -> Fact {
        Fact::Finished { state: JobPhase::Killed, reason: "killed".into(), message: String::new() }
    }

    fn told(events: &[Event]) -> Timeline {
        Timeline::replay(events).1
    }

    #[test]
    fn a_session_has_its_time_its_end_and_its_tokens() {
        let failure = Failure::new(FailureKind::Task, "no");
        let timeline = told(&[
            event(1, "t1", starting("t1", 1)),
            event(4, "t1", ended("t1", 1, Some(failure.clone()))),
            event(5, "t1", starting("t1", 2)),
            event(7, "", starting("plan", 1)),
        ]);
        let spans: Vec<_> = timeline.sessions.iter().map(|s| (s.number, s.spell.until)).collect();
        assert_eq!(spans, [(1, Some(second(4))), (2, None), (1, None)]);
        assert_eq!(timeline.sessions[0].outcome, SessionOutcome::Failed(failure));
        assert_eq!(timeline.sessions[0].tokens.input, 7);
        assert_eq!(timeline.sessions[0].spell.length(second(99)), SignedDuration::from_secs(3));
        assert_eq!(timeline.sessions[1].spell.length(second(9)), SignedDuration::from_secs(4));
        assert_eq!(timeline.open_sessions().count(), 2);
    }

    #[test]
    fn a_wait_goes_from_the_first_no_go_to_the_go_and_knows_everybody_in_its_way() {
        let mut events = vec![
            event(1, "", plan(&["t1"])),
            event(2, "t1", starting("t1", 1)),
            event(3, "t1", blocked("x")),
            event(5, "t1", blocked("y")),
        ];
        let timeline = told(&events);
        let wait = &timeline.waits[0];
        assert!(wait.spell.is_open());
        assert_eq!((wait.spell.since, wait.holders.len(), wait.conflicts.len()), (second(3), 2, 1));
        assert_eq!(timeline.since(&task("t1")), Some(second(3)), "blocked since then");
        events.push(event(8, "t1", Fact::ClaimUnblocked { attempt: 1 }));
        events.push(event(8, "t1", Fact::ClaimApproved { attempt: 1 }));
        events.push(event(9, "t1", Fact::TaskStarted { attempt: 1 }));
        let timeline = told(&events);
        assert_eq!(timeline.waits.len(), 1);
        assert_eq!(timeline.waits[0].spell.until, Some(second(8)));
        let phases: Vec<_> = timeline.phases[&task("t1")].iter().map(|(_, p)| p.as_str()).collect();
        assert_eq!(phases, ["pending", "claiming", "blocked", "executing"]);
    }

    #[test]
    fn at_the_end_nothing_is_open_and_later_events_count_no_more() {
        let timeline = told(&[
            event(1, "", plan(&["t1"])),
            event(2, "t1", starting("t1", 1)),
            event(3, "t1", blocked("x")),
            event(4, "", finished()),
            event(9, "t1", starting("t1", 2)),
        ]);
        assert!(timeline.is_over && timeline.last == Some(second(4)));
        assert_eq!(timeline.sessions.len(), 1);
        assert_eq!(timeline.sessions[0].outcome, SessionOutcome::Unknown);
        assert_eq!(timeline.open_sessions().count(), 0);
        assert!(timeline.waits.iter().all(|w| !w.spell.is_open()));
        assert_eq!(timeline.phases[&task("t1")].last(), Some(&(second(4), TaskPhase::Skipped)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_negative() {
        let timeline =
            told(&[event(100, "t1", starting("t1", 1)), event(50, "t1", ended("t1", 1, None))]);
        assert_eq!(timeline.sessions[0].spell.until, Some(second(100)));
        assert_eq!((timeline.began, timeline.last), (Some(second(100)), Some(second(100))));
    }

    #[test]
    fn a_session_whose_end_nobody_wrote_ends_where_the_next_one_begins() {
        let timeline = told(&[
            event(1, "t1", starting("t1", 1)),
            event(5, "t1", starting("t1", 2)),
            event(6, "t1", ended("t1", 9, None)),
            event(7, "t1", ended("t1", 2, None)),
        ]);
        let outcomes: Vec<_> = timeline.sessions.iter().map(|s| s.outcome.clone()).collect();
        assert_eq!(outcomes, [SessionOutcome::Unknown, SessionOutcome::Well]);
        assert_eq!(timeline.sessions[0].spell.until, Some(second(5)));
    }
}
