//! What became of each attempt of each task: what it claimed, every verdict with who stood in the way, what it wrote beside
//! its claim, and how it ended. A projection of the journal for whoever shows it; nothing is decided by it.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use std::collections::BTreeMap;

use crate::model::claim::{Claim, ClaimQuality, Verdict, VerdictRecord};
use crate::model::event::{Event, Fact};
use crate::model::id::TaskId;
use crate::model::outcome::Failure;
use crate::model::workspace::Oid;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Its work is the job's; `None` where it wrote nothing.
    Completed(Option<Oid>),
    /// Another one follows.
    Retried(Failure),
    /// It was the last one: the queen is asked.
    Exhausted(Failure),
    /// The task has failed.
    Failed(Failure),
}

/// One attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// What it claimed, as far as it got.
    pub claim: Option<Claim>,
    /// Every verdict on that, oldest first.
    pub verdicts: Vec<VerdictRecord>,
    /// What was added to the claim when it landed.
    pub amended: Vec<String>,
    /// What it wrote without having claimed it.
    pub violated: Vec<String>,
    /// What others had changed under it.
    pub moved: Vec<String>,
    /// How good its claim was.
    pub quality: Option<ClaimQuality>,
    /// How it ended; `None` as long as it has not.
    pub end: Option<AttemptEnd>,
}

/// The attempts of every task that has begun one, in their order.
pub fn of(events: &[Event]) -> BTreeMap<TaskId, Vec<Attempt>> {
    let mut all: BTreeMap<TaskId, Vec<Attempt>> = BTreeMap::new();
    for event in events {
        let number = number_of(&event.fact);
        if let (Some(task), Some(number)) = (&event.task_id, number) {
            take(attempt(all.entry(task.clone()).or_default(), number), event);
        }
        if matches!(event.fact, Fact::Finished { .. }) {
            break;
        }
    }
    all
}

/// The attempt that a fact is about, if it is about one.
fn number_of(fact: &Fact) -> Option<u32> {
    match fact {
        Fact::SessionStarting(start) => Some(start.attempt),
        Fact::ClaimRecorded { attempt, .. }
        | Fact::ClaimBlocked { attempt, .. }
        | Fact::ClaimApproved { attempt }
        | Fact::ClaimAmended { attempt, .. }
        | Fact::ClaimMeasured { attempt, .. }
        | Fact::ClaimViolated { attempt, .. }
        | Fact::BaseMoved { attempt, .. }
        | Fact::TaskStarted { attempt }
        | Fact::TaskCompleted { attempt, .. }
        | Fact::TaskRetried { attempt, .. }
        | Fact::TaskExhausted { attempt, .. }
        | Fact::TaskFailed { attempt, .. } => Some(*attempt).filter(|number| *number > 0),
        _ => None,
    }
}

/// The attempt of that number; attempts are begun in their order, so that a missing one is a new one.
fn attempt(attempts: &mut Vec<Attempt>, number: u32) -> &mut Attempt {
    let known = attempts.iter().position(|a| a.number == number);
    let at = known.unwrap_or_else(|| {
        attempts.push(Attempt { number, ..Attempt::default() });
        attempts.len() - 1
    });
    &mut attempts[at]
}

fn take(attempt: &mut Attempt, event: &Event) {
    match &event.fact {
        Fact::ClaimRecorded { claim, .. } => attempt.claim = Some(claim.clone()),
        Fact::ClaimBlocked { conflicts, .. } => {
            let conflicts = conflicts.clone();
            attempt.verdicts.push(VerdictRecord {
                at: event.ts,
                verdict: Verdict::NoGo,
                conflicts,
            });
        }
        Fact::ClaimApproved { .. } => {
            let conflicts = Vec::new();
            attempt.verdicts.push(VerdictRecord { at: event.ts, verdict: Verdict::Go, conflicts });
        }
        Fact::ClaimAmended { paths, .. } => attempt.amended.extend(paths.iter().cloned()),
        Fact::ClaimViolated { paths, .. } => attempt.violated.clone_from(paths),
        Fact::BaseMoved { paths, .. } => attempt.moved.clone_from(paths),
        Fact::ClaimMeasured { quality, .. } => attempt.quality = Some(quality.clone()),
        Fact::TaskCompleted { commit, .. } => {
            attempt.end = Some(AttemptEnd::Completed(commit.clone()));
        }
        Fact::TaskRetried { failure, .. } => {
            attempt.end = Some(AttemptEnd::Retried(failure.clone()));
        }
        Fact::TaskExhausted { failure, .. } => {
            attempt.end = Some(AttemptEnd::Exhausted(failure.clone()));
        }
        Fact::TaskFailed { failure, .. } => {
            attempt.end = Some(AttemptEnd::Failed(failure.clone()));
        }
        // The same attempt goes on: after a limit, say.
        Fact::SessionStarting(_) => attempt.end = None,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::claim::{ClaimPath, Conflict, Holder, Mode};
    use crate::model::id::JobId;
    use crate::model::outcome::FailureKind;

    fn event(of: &str, fact: Fact) -> Event {
        let job_id = JobId::parse("a-abc234").expect("id");
        let task_id = TaskId::parse(of).ok();
        Event { seq: 1, ts: Timestamp::UNIX_EPOCH, fact, job_id, task_id }
    }

    #[test]
    fn an_attempt_has_its_claim_its_verdicts_and_its_end() {
        let holder = Holder {
            job: JobId::parse("b-abc234").expect("id"),
            task: TaskId::parse("x").expect("id"),
        };
        let conflicts = vec![Conflict { path: "p".into(), mode: Mode::Write, held_by: holder }];
        let claim = Claim { reads: vec![], writes: vec![ClaimPath::file("p")] };
        let failure = Failure::new(FailureKind::Task, "no");
        let thread_id = String::new();
        let recorded = Fact::ClaimRecorded { attempt: 1, claim: claim.clone(), thread_id };
        let retried =
            Fact::TaskRetried { attempt: 1, failure: failure.clone(), due: Timestamp::UNIX_EPOCH };
        let completed = Fact::TaskCompleted { attempt: 2, commit: None, summary: String::new() };
        let all = of(&[
            event("t1", recorded),
            event("t1", Fact::ClaimBlocked { attempt: 1, conflicts: conflicts.clone() }),
            event("t1", Fact::ClaimApproved { attempt: 1 }),
            event("t1", Fact::ClaimAmended { attempt: 1, paths: vec!["q".into()] }),
            event("t1", Fact::ClaimViolated { attempt: 1, paths: vec!["r".into()] }),
            event("t1", retried),
            event("t2", Fact::TaskStarted { attempt: 1 }),
            event("", Fact::Resumed {}),
            event("t1", completed),
        ]);
        assert_eq!(all.len(), 2);
        let attempts = &all[&TaskId::parse("t1").expect("id")];
        assert_eq!(attempts.len(), 2);
        let first = &attempts[0];
        let verdicts: Vec<_> = first.verdicts.iter().map(|v| (v.verdict, &v.conflicts)).collect();
        assert_eq!(verdicts, [(Verdict::NoGo, &conflicts), (Verdict::Go, &vec![])]);
        assert_eq!(first.claim, Some(claim));
        assert_eq!(
            (first.amended.as_slice(), first.violated.as_slice()),
            (&["q".into()][..], &["r".into()][..])
        );
        assert_eq!(first.end, Some(AttemptEnd::Retried(failure)));
        assert_eq!(attempts[1].end, Some(AttemptEnd::Completed(None)));
    }

    #[test]
    fn an_attempt_of_no_number_is_none_and_nothing_counts_after_the_end() {
        let finished = Fact::Finished {
            state: crate::model::status::JobPhase::Failed,
            reason: String::new(),
            message: String::new(),
        };
        let failed = Fact::TaskFailed { attempt: 0, failure: Failure::new(FailureKind::Bug, "x") };
        let all = of(&[
            event("t1", failed),
            event("", finished),
            event("t1", Fact::TaskStarted { attempt: 1 }),
        ]);
        assert!(all.is_empty(), "{all:?}");
    }
}
