//! What the facts about sessions add up to: which are open, and what was spent on whom.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use super::state::JobState;
use crate::model::event::{Fact, SessionEnd, SessionKind};
use crate::model::plan::Role;
use crate::model::status::TaskPhase;

impl JobState {
    /// Takes in one more fact about a session.
    pub(super) fn apply_to_sessions(&mut self, fact: &Fact) {
        match fact {
            Fact::SessionStarting(start) => {
                self.session_numbers.insert(start.place.clone(), start.number);
                self.open_sessions.insert(start.place.clone(), start.clone());
                if let Some(task) =
                    self.tasks.iter_mut().find(|t| t.task.id.as_str() == start.place)
                {
                    task.attempt = task.attempt.max(start.attempt);
                    if task.phase == TaskPhase::Pending {
                        task.phase = if task.task.role.writes() {
                            TaskPhase::Claiming
                        } else {
                            TaskPhase::Reviewing
                        };
                    }
                }
            }
            Fact::SessionEnded(end) => self.end_session(end),
            _ => {}
        }
    }

    fn end_session(&mut self, end: &SessionEnd) {
        self.open_sessions.remove(&end.place);
        self.tokens = self.tokens.plus(end.tokens);
        let spent = self.spent.entry(self.role_of(end)).or_default();
        *spent = spent.plus(end.tokens);
        if let Some(task) = self.tasks.iter_mut().find(|t| t.task.id.as_str() == end.place) {
            task.tokens = task.tokens.plus(end.tokens);
        }
    }

    /// Whose session it was.
    fn role_of(&self, end: &SessionEnd) -> Role {
        let of_task = self.tasks.iter().find(|t| t.task.id.as_str() == end.place);
        match end.kind {
            SessionKind::Plan | SessionKind::Roles => Role::Planner,
            SessionKind::Claim | SessionKind::Execute => Role::Executor,
            SessionKind::Review => of_task.map_or(Role::Reviewer, |t| t.task.role),
            SessionKind::Queen => Role::Queen,
        }
    }
}
