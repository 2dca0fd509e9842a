//! The lane of a task that only reads: planners, reviewers, queens. It holds no lease; what it found goes to its dependents.

use serde_json::json;

use super::desk::{Desk, Outcome, Stop, bug};
use super::planning::{clear, view};
use super::{parked, words};
use crate::codex::Question;
use crate::logic::task::TaskState;
use crate::model::event::{Fact, SessionKind};

/// Runs one read-only task to its end.
pub(super) async fn read(desk: &Desk, task: &TaskState, stop: &Stop) -> Outcome<()> {
    let id = &task.task.id;
    let attempt = parked::attempt(desk, task);
    let mut facts = words::of_task(desk, task);
    facts["role"] = json!(task.task.role.as_str());
    let prompt = desk.asker.prompts.render("review", &facts).map_err(bug)?;
    let (cwd, tree) = view(desk, id.as_str()).await?;
    desk.record(Some(id), Fact::TaskStarted { attempt })?;
    let question = Question {
        task: Some(id.clone()),
        place: id.to_string(),
        kind: SessionKind::Review,
        attempt,
        cwd,
        prompt,
        schema: None,
        resume: None,
    };
    let told = desk.asker.tell(question, stop).await;
    clear(desk, tree).await?;
    let summary = words::summary(&told?.message);
    desk.record(Some(id), Fact::TaskCompleted { attempt, commit: None, summary })
}
