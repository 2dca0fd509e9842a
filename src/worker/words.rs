//! What a task's agent is told about its surroundings, and what is kept of its last words.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::desk::{Desk, aside};
use crate::codex::prompt::first_line;
use crate::logic::quality;
use crate::logic::state::JobState;
use crate::logic::task::TaskState;
use crate::model::advice::Comment;
use crate::model::claim::{Claim, ClaimPath, ClaimQuality};
use crate::model::status::TaskPhase;
use crate::model::workspace::Workspace;
use crate::os::console::one_line;
use crate::os::fsx;
use crate::store::StoreError;
use crate::store::memory::{Entry, Memory};

/// Longest piece of last words that is kept in the journal, in characters.
const SUMMARY_CHARS: usize = 4000;
/// Jobs whose claims tell the next one something.
const EARLIER_JOBS: u32 = 20;

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

/// What earlier jobs on this workspace teach about claims, as one line. Best effort: without a memory nothing is said.
pub(super) async fn earlier(desk: &Desk) -> Option<String> {
    let look = || async {
        let (store, workspace) = (desk.root.store(), desk.workspace().ok()?);
        let log = desk.folder.worker_log();
        aside(move || remembered(&store, &log, &workspace)).await.ok()?
    };
    desk.earlier.get_or_init(look).await.clone()
}

/// Opens the memory; what had to be written again is said in the worker's log.
pub(super) fn open_memory(store: &Path, log: &Path) -> Result<Memory, StoreError> {
    let memory = Memory::open(store)?;
    if let Some(restored) = memory.restored() {
        let say = |mut file: File| writeln!(file, "numerus: {restored}");
        let _as_well_as_it_goes = fsx::open_append(log).and_then(say);
    }
    Ok(memory)
}

fn remembered(store: &Path, log: &Path, workspace: &Workspace) -> Option<String> {
    if ["memory.ndjson", "memory.db"].iter().all(|name| !store.join(name).exists()) {
        return None;
    }
    let memory = open_memory(store, log).ok()?;
    let last = memory.last(&workspace.top, EARLIER_JOBS).ok()?;
    let all: Vec<ClaimQuality> = last.iter().map(Entry::quality).collect();
    let said = quality::words(&quality::mean(&all)?, &workspace.prefix)?;
    Some(one_line(&said))
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
