//! What the facts about sessions add up to: which are open, and what was spent on whom.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use jiff::Timestamp;

use super::state::JobState;
use crate::model::event::{Event, Fact, SessionEnd, SessionKind, SessionStart};
use crate::model::outcome::FailureKind;
use crate::model::plan::Role;
use crate::model::status::TaskPhase;

impl JobState {
    /// Takes in one more fact about a session.
    pub(super) fn apply_to_sessions(&mut self, event: &Event) {
        match &event.fact {
            Fact::SessionStarting(start) => self.start_session(start, event.ts),
            Fact::SessionConfirmed { place, thread_id, .. } => {
                if let Some((thread, _)) = self.open_threads.get_mut(place) {
                    thread.clone_from(thread_id);
                }
            }
            Fact::SessionEnded(end) => self.end_session(end),
            _ => {}
        }
    }

    fn start_session(&mut self, start: &SessionStart, at: Timestamp) {
        let place = &start.place;
        self.session_numbers.insert(place.clone(), start.number);
        self.open_sessions.insert(place.clone(), start.clone());
        self.open_threads.insert(place.clone(), (start.resumes.clone().unwrap_or_default(), at));
        let Some(task) = self.tasks.iter_mut().find(|t| t.task.id.as_str() == place) else {
            return;
        };
        task.attempt = task.attempt.max(start.attempt);
        if task.phase == TaskPhase::Pending {
            let writes = task.task.role.writes();
            task.phase = if writes { TaskPhase::Claiming } else { TaskPhase::Reviewing };
        }
    }

    fn end_session(&mut self, end: &SessionEnd) {
        self.open_sessions.remove(&end.place);
        self.open_threads.remove(&end.place);
        let is_cut = end.failure.as_ref().is_some_and(|f| f.kind == FailureKind::Interrupted);
        if end.kind == SessionKind::Queen && is_cut {
            self.unheard += 1;
        }
        self.tokens = self.tokens.plus(end.tokens);
        let spent = self.spent.entry(self.role_at(end.kind, &end.place)).or_default();
        *spent = spent.plus(end.tokens);
        if let Some(task) = self.tasks.iter_mut().find(|t| t.task.id.as_str() == end.place) {
            task.tokens = task.tokens.plus(end.tokens);
        }
    }

    /// Whose session of that kind and place it is.
    pub fn role_at(&self, kind: SessionKind, place: &str) -> Role {
        let of_task = self.tasks.iter().find(|t| t.task.id.as_str() == place);
        match kind {
            SessionKind::Plan | SessionKind::Roles => Role::Planner,
            SessionKind::Claim | SessionKind::Execute => Role::Executor,
            SessionKind::Review => of_task.map_or(Role::Reviewer, |t| t.task.role),
            SessionKind::Queen => Role::Queen,
        }
    }
}
