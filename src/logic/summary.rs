//! What a job's state looks like from outside: `status.json`.

use std::collections::BTreeSet;

use super::state::JobState;
use super::task::TaskState;
use crate::model::PROTOCOL_VERSION;
use crate::model::job::Job;
use crate::model::status::{Status, TaskPhase, TaskStatus};

impl JobState {
    /// What `status.json` says.
    pub fn status(&self, job: &Job) -> Status {
        Status {
            version: PROTOCOL_VERSION,
            job_id: job.id.clone(),
            state: self.phase,
            reason: self.standing.reason.clone(),
            message: self.standing.message.clone(),
            until: self.standing.until,
            pid: self.pid,
            workspace: self
                .workspace
                .as_ref()
                .map(|w| w.top.clone())
                .or_else(|| job.options.workspace.clone()),
            branch: self.branch.clone(),
            takes_in: self.base.taken_in.clone(),
            objective: job
                .objective
                .lines()
                .find(|l| !l.trim().is_empty())
                .unwrap_or_default()
                .trim()
                .to_owned(),
            created_at: job.created_at,
            updated_at: self.updated_at.unwrap_or(job.created_at),
            tokens: self.tokens,
            spent: self.spent.clone(),
            counts: self.counts,
            tasks: self.tasks.iter().map(|t| self.task_status(t)).collect(),
        }
    }

    fn task_status(&self, state: &TaskState) -> TaskStatus {
        let done = self.done();
        let ahead =
            state.task.dependencies.iter().filter(|d| !done.contains(d)).map(ToString::to_string);
        let holders: BTreeSet<String> = state
            .conflicts
            .iter()
            .map(|c| format!("{}/{}", c.held_by.job, c.held_by.task))
            .collect();
        let waits_for = if state.phase == TaskPhase::Pending {
            ahead.collect()
        } else {
            holders.into_iter().collect()
        };
        let is_left_out = state.phase == TaskPhase::Skipped && state.left_out;
        let failed = state.failure.as_ref();
        let failed = failed.filter(|_| state.phase != TaskPhase::Succeeded && !is_left_out);
        let asked = state.exhausted.as_ref();
        let asked = asked.map(|f| format!("out of attempts, the queen is asked: {}", f.message));
        TaskStatus {
            id: state.task.id.clone(),
            summary: state.task.summary.clone(),
            role: state.task.role,
            state: state.phase,
            attempt: state.attempt,
            waits_for,
            until: state.due.filter(|_| state.phase == TaskPhase::Pending),
            message: asked.or(failed.map(|f| f.message.clone())).unwrap_or(state.summary.clone()),
            tokens: state.tokens,
        }
    }
}
