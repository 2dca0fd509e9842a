//! What of a job can be gone on with although its worker has gone: threads whose end is in the journal, the claims that
//! they made, and the tries that a place has used up. A projection of the journal like the rest of the state.
//!
//! A thread is gone on with only if its last session is known to have ended, and only after its claim, a limit, a login that
//! was refused, or in the middle of the tries after a cut; anything that makes it stale drops it.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::task::Tries;
use crate::model::claim::Claim;
use crate::model::event::{Event, Fact, SessionEnd, SessionKind};
use crate::model::id::TaskId;
use crate::model::outcome::{Failure, FailureKind, Tokens};

/// A thread that waits to be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The attempt it belongs to.
    pub attempt: u32,
    /// What it is to do next.
    pub kind: SessionKind,
    /// Codex's thread, and what it has spent.
    pub thread: (String, Tokens),
    /// What stopped it in the middle; `None` for an execution that has not begun.
    pub failure: Option<Failure>,
    /// When it ended.
    pub at: Timestamp,
    /// Whether what followed from its end is in the journal.
    settled: bool,
}

/// Everything of a job that can be gone on with, by the place of its sessions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parked {
    threads: BTreeMap<String, Unfinished>,
    claims: BTreeMap<String, (u32, Claim)>,
    tries: BTreeMap<String, (Tries, Timestamp)>,
}

impl Parked {
    /// Whether the next try of a place's session was put off; it may have begun since.
    pub fn is_put_off(&self, place: &str) -> bool {
        self.tries.contains_key(place)
    }

    /// Takes in one more event.
    pub fn apply(&mut self, event: &Event) {
        let place = event.task_id.as_ref().map(TaskId::as_str).unwrap_or_default();
        match &event.fact {
            Fact::SessionStarting(start) => drop(self.threads.remove(&start.place)),
            Fact::SessionEnded(end) => self.ended(end, event.ts),
            Fact::SessionRetried { place, failure, due } => {
                let (tries, then) =
                    self.tries.entry(place.clone()).or_insert((Tries::default(), *due));
                tries.count(failure.kind);
                *then = *due;
            }
            Fact::ClaimRecorded { attempt, claim, .. } => {
                self.claims.insert(place.to_owned(), (*attempt, claim.clone()));
            }
            Fact::TaskRetried { failure, .. } => self.settled(place, failure.kind),
            Fact::PlanningRetried { failure, .. } => {
                self.settled("plan", failure.kind);
                self.settled("roles", failure.kind);
            }
            Fact::TaskFailed { .. }
            | Fact::TaskCompleted { .. }
            | Fact::TaskExhausted { .. }
            | Fact::TaskSkipped { .. } => self.forget(place),
            Fact::Paused { .. } => self.threads.values_mut().for_each(|t| t.settled = true),
            _ => {}
        }
    }

    fn ended(&mut self, end: &SessionEnd, at: Timestamp) {
        if end.failure.is_none() {
            self.tries.remove(&end.place);
        }
        let kind = match (end.failure.as_ref().map(|f| f.kind), end.kind) {
            (None, SessionKind::Claim) | (Some(FailureKind::Transient), SessionKind::Execute) => {
                SessionKind::Execute
            }
            // The queen's sessions share a place: which question a thread of hers was about is not known.
            (_, SessionKind::Queen) => return,
            (Some(FailureKind::Limit | FailureKind::Auth), kind) => kind,
            (_, _) => return,
        };
        let Some(thread_id) = end.thread_id.clone() else { return };
        let unfinished = Unfinished {
            attempt: end.attempt,
            kind,
            thread: (thread_id, end.thread_tokens),
            failure: end.failure.clone(),
            at,
            settled: false,
        };
        self.threads.insert(end.place.clone(), unfinished);
    }

    /// What followed from the end of a place's session: what was not its fault leaves it as it is.
    fn settled(&mut self, place: &str, kind: FailureKind) {
        match kind {
            FailureKind::Limit
            | FailureKind::Auth
            | FailureKind::Left
            | FailureKind::Interrupted
            | FailureKind::Transient => {
                if let Some(thread) = self.threads.get_mut(place) {
                    thread.settled = true;
                }
            }
            FailureKind::Start
            | FailureKind::Task
            | FailureKind::Stopped
            | FailureKind::Stale
            | FailureKind::Bug => self.forget(place),
        }
    }

    fn forget(&mut self, place: &str) {
        self.threads.remove(place);
        self.claims.remove(place);
        self.tries.remove(place);
    }

    /// The thread that waits at a place.
    pub fn thread(&self, place: &str) -> Option<&Unfinished> {
        self.threads.get(place)
    }

    /// Takes the thread that waits at a place for such a session of such an attempt.
    pub fn take(&mut self, place: &str, kind: SessionKind, attempt: u32) -> Option<Unfinished> {
        let fits = |t: &&Unfinished| t.kind == kind && t.attempt == attempt;
        self.threads.get(place).filter(fits)?;
        self.threads.remove(place)
    }

    /// The execution of a task that waits to be begun or gone on with, and what it had claimed.
    pub fn execution(&self, task: &TaskId) -> Option<(&Unfinished, &Claim)> {
        let thread = self.threads.get(task.as_str())?;
        let (attempt, claim) = self.claims.get(task.as_str())?;
        let fits = thread.kind == SessionKind::Execute && thread.attempt == *attempt;
        fits.then_some((thread, claim))
    }

    /// Takes the tries that a place has used up, and when the next one is due.
    pub fn take_tries(&mut self, place: &str) -> Option<(Tries, Timestamp)> {
        self.tries.remove(place)
    }

    /// Threads from whose failure nothing has followed yet, since the worker died at once, with their places.
    pub fn unsettled(&self) -> Vec<(String, Unfinished)> {
        let open = self.threads.iter().filter(|(_, t)| !t.settled && t.failure.is_some());
        open.map(|(place, thread)| (place.clone(), thread.clone())).collect()
    }

    /// The failure of a place from which nothing has followed yet, if the job is to rest for it.
    pub fn to_rest_for(&self, place: &str) -> Option<&Failure> {
        let thread = self.threads.get(place).filter(|t| !t.settled)?;
        let rests = |f: &&Failure| matches!(f.kind, FailureKind::Limit | FailureKind::Auth);
        thread.failure.as_ref().filter(rests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::SessionStart;
    use crate::model::id::JobId;

    fn end(kind: SessionKind, failure: Option<FailureKind>) -> Fact {
        Fact::SessionEnded(SessionEnd {
            place: "t1".into(),
            number: 1,
            kind,
            attempt: 1,
            failure: failure.map(|kind| Failure::new(kind, "x")),
            thread_id: Some("thread".into()),
            tokens: Tokens::default(),
            thread_tokens: Tokens::default(),
        })
    }

    fn start() -> Fact {
        Fact::SessionStarting(SessionStart {
            place: "t1".into(),
            number: 2,
            kind: SessionKind::Execute,
            attempt: 1,
            boot_id: String::new(),
            cgroup: None,
            resumes: None,
            writable: Vec::new(),
            shut: Vec::new(),
        })
    }

    fn claimed() -> Fact {
        let claim = Claim { reads: Vec::new(), writes: Vec::new() };
        Fact::ClaimRecorded { attempt: 1, claim, thread_id: "thread".into() }
    }

    fn retried(kind: FailureKind) -> Fact {
        let due = Timestamp::UNIX_EPOCH;
        Fact::TaskRetried { attempt: 1, failure: Failure::new(kind, "x"), due }
    }

    fn parked(facts: Vec<Fact>) -> Parked {
        let mut parked = Parked::default();
        for (seq, fact) in (1..).zip(facts) {
            parked.apply(&Event {
                seq,
                ts: Timestamp::UNIX_EPOCH,
                fact,
                job_id: JobId::parse("a-abc234").expect("id"),
                task_id: TaskId::parse("t1").ok(),
            });
        }
        parked
    }

    #[test]
    fn a_thread_is_gone_on_with_only_when_its_end_is_known_and_nothing_made_it_stale() {
        use FailureKind::{Auth, Interrupted, Left, Limit, Stale, Task, Transient};
        use SessionKind::{Claim, Execute, Plan};
        let claim = || vec![end(Claim, None), claimed()];
        let cut = |kind| [claim(), vec![start(), end(Execute, Some(kind))]].concat();
        for (facts, waits, executes) in [
            (vec![end(Claim, None)], true, false),
            (claim(), true, true),
            ([claim(), vec![start()]].concat(), false, false),
            ([claim(), vec![retried(Left)]].concat(), true, true),
            (cut(Limit), true, true),
            (cut(Auth), true, true),
            (cut(Transient), true, true),
            (cut(Task), false, false),
            (cut(Interrupted), false, false),
            ([cut(Limit), vec![retried(Limit), retried(Interrupted)]].concat(), true, true),
            ([cut(Limit), vec![retried(Stale)]].concat(), false, false),
            ([cut(Limit), vec![start()]].concat(), false, false),
            (vec![end(Claim, Some(Limit))], true, false),
            (vec![end(Plan, Some(Limit))], true, false),
            (vec![end(Plan, Some(Transient))], false, false),
        ] {
            let parked = parked(facts.clone());
            let task = TaskId::parse("t1").expect("id");
            let found = (parked.thread("t1").is_some(), parked.execution(&task).is_some());
            assert_eq!(found, (waits, executes), "{facts:?}");
        }
    }

    #[test]
    fn what_has_not_followed_yet_is_known() {
        use FailureKind::Limit;
        use SessionKind::Execute;
        let cut = || vec![end(Execute, Some(Limit))];
        assert!(parked(cut()).to_rest_for("t1").is_some());
        assert_eq!(parked(cut()).unsettled().len(), 1);
        let settled = parked([cut(), vec![retried(Limit)]].concat());
        assert_eq!((settled.to_rest_for("t1"), settled.unsettled().len()), (None, 0));
        assert!(settled.thread("t1").is_some());
    }

    #[test]
    fn tries_are_counted_until_something_works() {
        let failure = Failure::new(FailureKind::Transient, "x");
        let again = |second| {
            let due = Timestamp::from_second(second).expect("time");
            Fact::SessionRetried { place: "t1".into(), failure: failure.clone(), due }
        };
        let mut twice = parked(vec![again(1), again(3), retried(FailureKind::Interrupted)]);
        let (tries, due) = twice.take_tries("t1").expect("tries");
        assert_eq!((tries.transient, due.as_second()), (2, 3));
        for end in [end(SessionKind::Execute, None), retried(FailureKind::Task)] {
            assert_eq!(parked(vec![again(1), end]).take_tries("t1"), None);
        }
    }
}
