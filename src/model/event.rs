//! The facts of a job, one a line in `runs/<job>/events.ndjson`: the truth from which everything else is derived.
//!
//! A fact is in the past tense and never changes once written. The event's name on disk is the serde tag.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{JobId, TaskId};

pub use super::command::CommandResult;
pub use super::fact::Fact;
pub use super::session::{
    SessionEnd, SessionExit, SessionKill, SessionKind, SessionStart, SessionTimeout,
};

/// The names of all events on disk.
pub const NAMES: [&str; 48] = [
    "job.submitted",
    "job.claimed",
    "job.worker_started",
    "job.workspace_fixed",
    "job.plan_created",
    "job.roles_assigned",
    "job.plan_approved",
    "job.claim_recorded",
    "job.claim_blocked",
    "job.claim_unblocked",
    "job.claim_approved",
    "job.claim_amended",
    "job.claim_measured",
    "job.base_advancing",
    "job.base_advanced",
    "job.base_diverged",
    "job.locks_released",
    "job.task_started",
    "job.task_landing",
    "job.task_completed",
    "job.claim_violated",
    "job.base_moved",
    "job.task_failed",
    "job.task_retried",
    "job.task_exhausted",
    "job.task_reopened",
    "job.advised",
    "job.replanned",
    "job.tasks_added",
    "job.review_approved",
    "job.review_rejected",
    "job.task_skipped",
    "job.planning_retried",
    "job.paused",
    "job.resumed",
    "job.verified",
    "job.landed",
    "job.finished",
    "terminal.session_starting",
    "terminal.session_opened",
    "terminal.started",
    "terminal.exit",
    "terminal.timeout",
    "terminal.killed",
    "terminal.session_retried",
    "terminal.session_ended",
    "memory.bank_created",
    "memory.entry_added",
];

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// When it was written (wall clock, for people; order is `seq`).
    pub ts: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
    /// The job.
    pub job_id: JobId,
    /// The task it is about, if any.
    pub task_id: Option<TaskId>,
}

impl Fact {
    /// The event's name on disk, such as `job.claimed`. The payload is not serialized for it.
    pub fn name(&self) -> String {
        let mut start = TagAlone(Vec::with_capacity(TagAlone::ROOM));
        // Ends in an error as soon as the tag is out.
        drop(serde_json::to_writer(&mut start, self));
        let text = String::from_utf8_lossy(&start.0);
        text.split('"').nth(3).unwrap_or_default().to_owned()
    }
}

/// Takes the first bytes of a serialized fact, which are its tag, and refuses the rest.
struct TagAlone(Vec<u8>);

impl TagAlone {
    /// More than any tag takes: `{"event":"job.…"`.
    const ROOM: usize = 48;
}

impl std::io::Write for TagAlone {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() >= Self::ROOM {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            seq: 7,
            ts: "2026-01-02T03:04:05Z".parse().expect("time"),
            fact: Fact::ClaimUnblocked { attempt: 2 },
            job_id: JobId::parse("a-abc234").expect("id"),
            task_id: TaskId::parse("t1").ok(),
        };
        let line = serde_json::to_string(&event).expect("json");
        assert_eq!(
            line,
            r#"{"seq":7,"ts":"2026-01-02T03:04:05Z","event":"job.claim_unblocked","payload":{"attempt":2},"job_id":"a-abc234","task_id":"t1"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).expect("back"), event);
    }

    #[test]
    fn the_names_are_those_that_a_journal_may_hold() {
        let unknown = r#"{"event":"x","payload":{}}"#;
        let said = serde_json::from_str::<Fact>(unknown).expect_err("no such event").to_string();
        let known: Vec<&str> = said.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, NAMES);
    }

    #[test]
    fn a_name_is_the_tag_on_disk() {
        for fact in [
            Fact::Resumed {},
            Fact::ClaimUnblocked { attempt: 2 },
            Fact::BankCreated { bank: "x\"".repeat(50) },
            Fact::SessionEnded(SessionEnd {
                place: "t1".into(),
                number: 1,
                kind: SessionKind::Execute,
                attempt: 1,
                failure: None,
                thread_id: None,
                tokens: crate::model::outcome::Tokens::default(),
                thread_tokens: crate::model::outcome::Tokens::default(),
            }),
        ] {
            let whole = serde_json::to_value(&fact).expect("json");
            assert_eq!(Some(fact.name().as_str()), whole["event"].as_str());
        }
    }
}
