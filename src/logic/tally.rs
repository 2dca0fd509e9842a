//! How often things happened in a job, counted from its facts.

use jiff::Timestamp;

use super::state::JobState;
use crate::model::event::{Event, Fact};
use crate::model::id::TaskId;

impl JobState {
    /// Takes in one more fact.
    pub(super) fn tally(&mut self, event: &Event) {
        let task = event.task_id.as_ref();
        match (&event.fact, task) {
            (Fact::SessionStarting(_), _) => self.counts.sessions += 1,
            (Fact::ClaimBlocked { .. }, Some(task)) if !self.waits.contains_key(task) => {
                self.counts.no_go += 1;
                self.waits.insert(task.clone(), event.ts);
            }
            (Fact::ClaimApproved { .. }, Some(task)) => {
                self.counts.go += 1;
                self.has_waited(task, event.ts);
            }
            (
                Fact::TaskRetried { .. } | Fact::TaskFailed { .. } | Fact::TaskSkipped { .. },
                Some(task),
            ) => self.has_waited(task, event.ts),
            (Fact::Paused { .. } | Fact::Finished { .. }, _) => {
                let tasks: Vec<TaskId> = self.waits.keys().cloned().collect();
                for task in &tasks {
                    self.has_waited(task, event.ts);
                }
            }
            _ => {}
        }
    }

    fn has_waited(&mut self, task: &TaskId, now: Timestamp) {
        let Some(since) = self.waits.remove(task) else { return };
        let waited = u64::try_from(now.duration_since(since).as_millis()).unwrap_or(0);
        self.counts.waited_ms = self.counts.waited_ms.saturating_add(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;
    use crate::model::status::{JobPhase, PauseReason};
    use crate::model::tally::Counts;

    #[test]
    fn claims_are_counted_once_however_often_they_are_judged_and_waits_end_with_whatever_ends_them()
    {
        let (a, b) = (TaskId::parse("a").expect("id"), TaskId::parse("b").expect("id"));
        let blocked = || Fact::ClaimBlocked { attempt: 1, conflicts: Vec::new() };
        let paused =
            Fact::Paused { reason: PauseReason::User, until: None, message: String::new() };
        let end = Fact::Finished {
            state: JobPhase::Killed,
            reason: String::new(),
            message: String::new(),
        };
        let mut state = JobState::default();
        for (second, task, fact) in [
            (0u32, Some(&a), Fact::ClaimApproved { attempt: 1 }),
            (1, Some(&a), blocked()),
            (2, Some(&b), blocked()),
            (3, Some(&a), blocked()),
            (5, Some(&a), Fact::ClaimApproved { attempt: 2 }),
            (8, None, paused),
            (20, Some(&b), blocked()),
            (21, None, end),
            (30, Some(&b), Fact::ClaimApproved { attempt: 1 }),
        ] {
            state.apply(&Event {
                seq: u64::from(second) + 1,
                ts: Timestamp::from_second(i64::from(second)).expect("time"),
                fact,
                job_id: JobId::parse("j-abc234").expect("id"),
                task_id: task.cloned(),
            });
        }
        let expected = Counts { sessions: 0, go: 2, no_go: 3, waited_ms: 4000 + 6000 + 1000 };
        assert_eq!(state.counts, expected);
    }
}
