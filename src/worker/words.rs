//! What a task's agent is told about its surroundings, and what is kept of its last words.

use serde_json::{Value, json};

use super::desk::Desk;
use crate::codex::prompt::first_line;
use crate::logic::state::JobState;
use crate::logic::task::TaskState;
use crate::model::advice::Comment;
use crate::model::claim::{Claim, ClaimPath};
use crate::model::status::TaskPhase;
use crate::os::console::one_line;

/// Longest piece of last words that is kept in the journal, in characters.
const SUMMARY_CHARS: usize = 4000;
/// Most paths that a message names.
const SHOWN_PATHS: usize = 5;
/// Longest piece of a path in a message, in characters.
const SHOWN_PATH_CHARS: usize = 120;
/// Longest diff that a prompt shows, in bytes.
const MAX_DIFF_BYTES: usize = 256 * 1024;

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
        "advice": task.advice,
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
    cut(message.trim(), SUMMARY_CHARS)
}

/// The beginning of a text.
pub(super) fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// How each task stands, a line each.
pub(super) fn standings(state: &JobState) -> String {
    let line = |t: &TaskState| {
        let why = t.exhausted.as_ref().or(t.failure.as_ref()).map(|f| f.message.as_str());
        let words = if t.phase == TaskPhase::Succeeded {
            t.summary.as_str()
        } else {
            why.unwrap_or_default()
        };
        let (id, phase, summary) = (&t.task.id, t.phase.as_str(), first_line(&t.task.summary));
        let words = first_line(words);
        let colon = if words.is_empty() { "" } else { ": " };
        format!("- {id} ({phase}) {summary}{colon}{words}")
    };
    state.tasks.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A diff as a prompt shows it, cut where it is too long.
pub(super) fn shown_diff(patch: &[u8]) -> String {
    let cut = patch.get(..MAX_DIFF_BYTES).unwrap_or(patch);
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < patch.len() {
        let rest = patch.len() - cut.len();
        let more = format!("\n[{rest} more bytes are left out: look at the files themselves]\n");
        text.push_str(&more);
    }
    text
}

/// The first few of some paths, fit for a line.
pub(super) fn shown(paths: &[String]) -> String {
    let more = paths.len().saturating_sub(SHOWN_PATHS);
    let short = |path: &String| one_line(path).chars().take(SHOWN_PATH_CHARS).collect::<String>();
    let list = paths.iter().take(SHOWN_PATHS).map(short).collect::<Vec<_>>().join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

/// Remarks, a line each.
pub(super) fn listed(comments: &[Comment]) -> String {
    let said = comments.iter().filter(|c| !c.text.trim().is_empty());
    said.map(Comment::to_string).collect::<Vec<_>>().join("\n")
}
