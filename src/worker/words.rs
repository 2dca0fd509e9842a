//! What a task's agent is told about its surroundings, and what is kept of its last words.

use serde_json::{Value, json};

use super::desk::Desk;
use crate::codex::prompt::first_line;
use crate::logic::task::TaskState;
use crate::model::claim::{Claim, ClaimPath};

/// Longest piece of last words that is kept in the journal, in characters.
const SUMMARY_CHARS: usize = 4000;

/// The facts that every prompt about a task may use.
pub(super) fn of_task(desk: &Desk, task: &TaskState) -> Value {
    let hint = &task.task.resources;
    let has_hint = !hint.reads.is_empty() || !hint.writes.is_empty();
    json!({
        "task_id": task.task.id,
        "summary": first_line(&task.task.summary),
        "objective_line": first_line(&desk.job.objective),
        "description": task.task.description,
        "notes": task.task.notes,
        "hint": has_hint.then(|| serde_json::to_string(hint).unwrap_or_default()),
        "findings": findings(desk, task),
        "previous": task.failure.as_ref().map(|f| f.message.clone()),
    })
}

/// What the tasks that this one depends on reported.
fn findings(desk: &Desk, task: &TaskState) -> String {
    let report = |t: &TaskState| format!("{}: {}", t.task.id, t.summary.trim());
    desk.book.state(|state| {
        let before = task.task.dependencies.iter().filter_map(|id| state.task(id));
        before.filter(|t| !t.summary.trim().is_empty()).map(report).collect::<Vec<_>>().join("\n")
    })
}

/// The granted claim, as the prompt of the execution shows it.
pub(super) fn resources(claim: &Claim) -> String {
    let paths =
        |list: &[ClaimPath]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    json!({ "reads": paths(&claim.reads), "writes": paths(&claim.writes) }).to_string()
}

/// What is kept of an agent's last words.
pub(super) fn summary(message: &str) -> String {
    message.trim().chars().take(SUMMARY_CHARS).collect()
}
