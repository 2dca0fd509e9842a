//! The facts of a job, one a line in `runs/<job>/events.ndjson`: the truth from which everything else is derived.
//!
//! A fact is in the past tense and never changes once written. The event's name on disk is the serde tag.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::claim::{Claim, Conflict};
use super::id::{JobId, TaskId};
use super::job::Origin;
use super::outcome::Failure;
use super::plan::Task;
use super::status::{JobPhase, PauseReason};
use super::workspace::{Oid, Workspace};

pub use super::session::{SessionEnd, SessionKind, SessionStart};

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

/// One command of `verify`, as it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The command.
    pub command: String,
    /// Its exit code; `None` when it was ended by a signal or a deadline.
    pub code: Option<i32>,
}

/// A fact, with its payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload")]
pub enum Fact {
    /// Someone dropped it.
    #[serde(rename = "job.submitted")]
    Submitted {
        /// Where it came from.
        origin: Origin,
    },
    /// It was taken: from here on it reaches exactly one end.
    #[serde(rename = "job.claimed")]
    Claimed {
        /// The job file's name in `claimed/`.
        file: String,
    },
    /// A worker holds the job's lock.
    #[serde(rename = "job.worker_started")]
    WorkerStarted {
        /// Its process.
        pid: u32,
        /// When that process started, in clock ticks after boot.
        start_time: u64,
        /// The kernel's boot.
        boot_id: String,
    },
    /// The workspace was looked at, once.
    #[serde(rename = "job.workspace_fixed")]
    WorkspaceFixed {
        /// What was found.
        workspace: Workspace,
    },
    /// A plan was made; its roles follow.
    #[serde(rename = "job.plan_created")]
    PlanCreated {
        /// Its number.
        plan: u32,
        /// The objective in the planner's words.
        objective: String,
        /// Its tasks.
        tasks: Vec<Task>,
    },
    /// Every task of the plan has its role; `plan-N.json` is on disk.
    #[serde(rename = "job.roles_assigned")]
    RolesAssigned {
        /// The plan's number.
        plan: u32,
        /// The tasks, now with role and notes.
        tasks: Vec<Task>,
        /// How the work is shared out.
        strategy: String,
    },
    /// A person said go.
    #[serde(rename = "job.plan_approved")]
    PlanApproved {},
    /// A task said what it will touch.
    #[serde(rename = "job.claim_recorded")]
    ClaimRecorded {
        /// The attempt.
        attempt: u32,
        /// The claim, normalised.
        claim: Claim,
        /// Codex's thread that made it.
        thread_id: String,
    },
    /// NO GO: it waits.
    #[serde(rename = "job.claim_blocked")]
    ClaimBlocked {
        /// The attempt.
        attempt: u32,
        /// Who stands in the way.
        conflicts: Vec<Conflict>,
    },
    /// What stood in the way is gone.
    #[serde(rename = "job.claim_unblocked")]
    ClaimUnblocked {
        /// The attempt.
        attempt: u32,
    },
    /// GO: the claim is a lease.
    #[serde(rename = "job.claim_approved")]
    ClaimApproved {
        /// The attempt.
        attempt: u32,
    },
    /// The lease is gone.
    #[serde(rename = "job.locks_released")]
    LocksReleased {
        /// The attempt.
        attempt: u32,
    },
    /// The agent may write now.
    #[serde(rename = "job.task_started")]
    TaskStarted {
        /// The attempt.
        attempt: u32,
    },
    /// The commit exists and is about to become the tip.
    #[serde(rename = "job.task_landing")]
    TaskLanding {
        /// The attempt.
        attempt: u32,
        /// The commit.
        commit: Oid,
        /// What the tip was before.
        parent: Oid,
    },
    /// The task is done, for good.
    #[serde(rename = "job.task_completed")]
    TaskCompleted {
        /// The attempt.
        attempt: u32,
        /// Its commit; `None` when it wrote nothing.
        commit: Option<Oid>,
        /// The agent's last words, cut to a few lines.
        summary: String,
    },
    /// The agent wrote what it had not claimed: nothing landed.
    #[serde(rename = "job.claim_violated")]
    ClaimViolated {
        /// The attempt.
        attempt: u32,
        /// The paths outside the claim.
        paths: Vec<String>,
    },
    /// What the task read or wrote had changed under it: nothing landed, it claims again.
    #[serde(rename = "job.base_moved")]
    BaseMoved {
        /// The attempt.
        attempt: u32,
        /// The paths.
        paths: Vec<String>,
    },
    /// The task gave up.
    #[serde(rename = "job.task_failed")]
    TaskFailed {
        /// The attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// The task will be tried again.
    #[serde(rename = "job.task_retried")]
    TaskRetried {
        /// The attempt that ended.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// Not before this moment.
        due: Timestamp,
    },
    /// The task will not run, since one it depends on did not end well.
    #[serde(rename = "job.task_skipped")]
    TaskSkipped {
        /// That task.
        because: TaskId,
    },
    /// The plan or the roles will be asked for again.
    #[serde(rename = "job.planning_retried")]
    PlanningRetried {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        due: Timestamp,
    },
    /// The job rests; no process works on it.
    #[serde(rename = "job.paused")]
    Paused {
        /// Why.
        reason: PauseReason,
        /// Until when, if that is known.
        until: Option<Timestamp>,
        /// In words.
        message: String,
    },
    /// It goes on.
    #[serde(rename = "job.resumed")]
    Resumed {},
    /// The verify commands were run on the tip.
    #[serde(rename = "job.verified")]
    Verified {
        /// Whether all passed.
        passed: bool,
        /// Each command.
        commands: Vec<CommandResult>,
    },
    /// The branch exists.
    #[serde(rename = "job.landed")]
    Landed {
        /// Its name.
        branch: String,
        /// Its commit.
        commit: Oid,
    },
    /// The end. Nothing follows.
    #[serde(rename = "job.finished")]
    Finished {
        /// `succeeded`, `failed` or `killed`.
        state: JobPhase,
        /// A word for programs, such as `task_failed`, `dependency`, `killed`.
        reason: String,
        /// A sentence for people.
        message: String,
    },
    /// About to spawn codex.
    #[serde(rename = "terminal.session_starting")]
    SessionStarting(SessionStart),
    /// Spawned in its PTY.
    #[serde(rename = "terminal.session_opened")]
    SessionOpened {
        /// The folder.
        place: String,
        /// The number.
        number: u32,
        /// Codex's process.
        pid: u32,
    },
    /// Codex has confirmed its start.
    #[serde(rename = "terminal.started")]
    SessionConfirmed {
        /// The folder.
        place: String,
        /// The number.
        number: u32,
        /// Codex's thread.
        thread_id: String,
    },
    /// Codex has ended.
    #[serde(rename = "terminal.exit")]
    SessionExited {
        /// The folder.
        place: String,
        /// The number.
        number: u32,
        /// Its exit code; `None` when a signal ended it.
        code: Option<i32>,
    },
    /// One of our deadlines passed.
    #[serde(rename = "terminal.timeout")]
    SessionTimedOut {
        /// The folder.
        place: String,
        /// The number.
        number: u32,
        /// `total` or `no_progress`.
        deadline: String,
    },
    /// We ended it.
    #[serde(rename = "terminal.killed")]
    SessionKilled {
        /// The folder.
        place: String,
        /// The number.
        number: u32,
        /// Processes that outlived even the last kill; always empty unless the machine is at fault.
        survivors: Vec<u32>,
    },
    /// It did not start or was cut; it will be tried again.
    #[serde(rename = "terminal.session_retried")]
    SessionRetried {
        /// The folder.
        place: String,
        /// Why.
        failure: Failure,
        /// Not before this moment.
        due: Timestamp,
    },
    /// Ended and fenced: nothing of it lives.
    #[serde(rename = "terminal.session_ended")]
    SessionEnded(SessionEnd),
    /// The workspace's memory bank was made.
    #[serde(rename = "memory.bank_created")]
    BankCreated {
        /// Its name.
        bank: String,
    },
    /// What the job did was remembered.
    #[serde(rename = "memory.entry_added")]
    EntryAdded {
        /// In which bank.
        bank: String,
    },
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
