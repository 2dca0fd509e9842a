//! A landed task is final: what must be changed afterwards is done by tasks that are added to the plan, each with a claim
//! and a commit of its own. Which ones, is decided here.

use std::collections::BTreeSet;

use super::state::JobState;
use super::task::TaskState;
use crate::model::advice::Comment;
use crate::model::claim::Resources;
use crate::model::id::{MAX_ID_BYTES, TaskId};
use crate::model::plan::{Role, Task};
use crate::model::status::TaskPhase;

/// How often a reviewer may want changes before its word is final.
pub const MAX_REVIEW_ROUNDS: u32 = 2;
/// What stands before a command in the log of its output.
pub const COMMAND_MARK: &str = "$ ";
/// Longest output of a failed command that a task is told, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 8 * 1024;

/// A task whose diff was reviewed, with the paths that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The task.
    pub id: TaskId,
    /// What it changed, relative to the workspace.
    pub paths: Vec<String>,
}

/// The tasks that do what a reviewer wants: one for each reviewed task that a comment is about; what is about none of
/// them in particular goes to the first.
pub fn of_review(
    state: &JobState,
    round: u32,
    reviewed: &[Reviewed],
    comments: &[Comment],
) -> Vec<Task> {
    let Some(first) = reviewed.first() else { return Vec::new() };
    let owner = |comment: &Comment| {
        reviewed.iter().find(|r| r.paths.contains(&comment.path)).unwrap_or(first).id.clone()
    };
    let mut taken: BTreeSet<TaskId> = ids(state);
    let mut tasks = Vec::new();
    for reviewed in reviewed {
        let own = comments.iter().filter(|c| owner(c) == reviewed.id);
        let own: Vec<String> = own.map(|comment| format!("- {comment}")).collect();
        if own.is_empty() {
            continue;
        }
        let Some(id) = fresh_id(reviewed.id.as_str(), round, &mut taken) else { continue };
        let before = state.task(&reviewed.id).map(|t| t.task.description.as_str());
        let description = format!(
            "The work of the task `{}` has landed and was reviewed. Change what the reviewer asks for, and nothing \
             else.\n\nWhat the reviewer wants:\n{}\n\nWhat the task was:\n{}",
            reviewed.id,
            own.join("\n"),
            before.unwrap_or_default()
        );
        let summary = format!("Change what the review of {} asks for", reviewed.id);
        tasks.push(added(id, summary, description, vec![reviewed.id.clone()], &reviewed.paths));
    }
    tasks
}

/// The task that makes a failed verification pass.
pub fn of_verification(state: &JobState, command: &str, how: &str, output: &str) -> Vec<Task> {
    let description = format!(
        "All tasks of the job have landed, but the command that checks the result does not pass. Find out why and \
         mend it; change the check itself only if it is wrong.\n\nThe command: {command}\nHow it ended: {how}\nThe end \
         of its output:\n{}",
        tail(last_run(output, command))
    );
    one(state, "verify", state.mends + 1, "Make the verification pass", description)
}

/// The task that brings the result to what the queen misses in it.
pub fn of_rejection(state: &JobState) -> Vec<Task> {
    let description = format!(
        "All tasks of the job have landed, but the result does not meet its objective yet. Do what is missing.\n\nWhat \
         is missing:\n{}",
        state.missing
    );
    one(state, "objective", state.appeals + 1, "Do what the objective still misses", description)
}

fn one(state: &JobState, stem: &str, round: u32, summary: &str, description: String) -> Vec<Task> {
    let landed: Vec<TaskId> =
        state.tasks.iter().filter(|t| t.commit.is_some()).map(|t| t.task.id.clone()).collect();
    let id = fresh_id(stem, round, &mut ids(state));
    id.map(|id| added(id, summary.to_owned(), description, landed, &[])).into_iter().collect()
}

fn added(
    id: TaskId,
    summary: String,
    description: String,
    dependencies: Vec<TaskId>,
    paths: &[String],
) -> Task {
    let resources = Resources { reads: Vec::new(), writes: paths.to_vec() };
    let notes = String::new();
    Task { id, summary, description, dependencies, resources, role: Role::Executor, notes }
}

fn ids(state: &JobState) -> BTreeSet<TaskId> {
    state.tasks.iter().map(|t| t.task.id.clone()).collect()
}

/// `<stem>-r<round>`, or with the next number that is free.
fn fresh_id(stem: &str, round: u32, taken: &mut BTreeSet<TaskId>) -> Option<TaskId> {
    let numbered = |n: u32| {
        let tail = format!("-r{n}");
        let room = MAX_ID_BYTES - tail.len();
        let stem: String = stem.chars().take(room).collect();
        TaskId::parse(&format!("{stem}{tail}")).ok()
    };
    let id =
        (round..=round.saturating_add(64)).filter_map(numbered).find(|id| !taken.contains(id))?;
    taken.insert(id.clone());
    Some(id)
}

/// The part of a log that the last run of a command wrote; all of it where its beginning is gone.
fn last_run<'a>(log: &'a str, command: &str) -> &'a str {
    let opening = format!("{COMMAND_MARK}{command}\n");
    log.rfind(&opening).map_or(log, |at| &log[at + opening.len()..])
}

/// The end of an output, from the start of a line where there is one.
fn tail(output: &str) -> &str {
    let mut from = output.len().saturating_sub(MAX_OUTPUT_BYTES);
    while !output.is_char_boundary(from) {
        from += 1;
    }
    let cut = &output[from..];
    match cut.split_once('\n') {
        Some((_, whole)) if from > 0 => whole,
        _ => cut,
    }
}

/// The tasks that a reviewer judges: those it depends on that have changed something.
pub fn judged<'a>(state: &'a JobState, reviewer: &TaskState) -> Vec<&'a TaskState> {
    let before = reviewer.task.dependencies.iter().filter_map(|id| state.task(id));
    before.filter(|t| t.task.role.writes() && t.phase == TaskPhase::Succeeded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::lifecycle::stories::{Story, id, task};

    fn comment(path: &str, text: &str) -> Comment {
        Comment { path: path.to_owned(), text: text.to_owned() }
    }

    fn reviewed(name: &str, paths: &[&str]) -> Reviewed {
        Reviewed { id: id(name), paths: paths.iter().map(|p| (*p).to_owned()).collect() }
    }

    #[test]
    fn each_comment_goes_to_the_task_that_changed_its_file() {
        let mut story = Story::planned(&[task("a", &[]), task("b", &[])]);
        story.done("a").done("b");
        let reviewed = [reviewed("a", &["a.txt"]), reviewed("b", &["b.txt", "c.txt"])];
        let comments = [comment("c.txt", "too long"), comment("", "no tests"), comment("x", "?")];
        let tasks = of_review(&story.state, 1, &reviewed, &comments);
        let names: Vec<&str> = tasks.iter().map(|t| t.id.as_str()).collect();
        assert_eq!(names, ["a-r1", "b-r1"]);
        assert!(tasks[0].description.contains("- no tests\n- x: ?"), "{}", tasks[0].description);
        assert!(tasks[1].description.contains("- c.txt: too long"), "{}", tasks[1].description);
        assert_eq!(tasks[1].dependencies, [id("b")]);
        assert_eq!(tasks[1].resources.writes, ["b.txt", "c.txt"]);
        assert_eq!(of_review(&story.state, 1, &[], &comments), []);
    }

    #[test]
    fn an_added_task_has_a_name_that_no_other_has() {
        let long = "x".repeat(64);
        let mut story = Story::planned(&[task("a", &[]), task("a-r1", &[]), task(&long, &[])]);
        story.done("a");
        let name = |of: &str| {
            let tasks =
                of_review(&story.state, 1, &[reviewed(of, &[])], &[comment("", "change it")]);
            tasks[0].id.to_string()
        };
        assert_eq!(name("a"), "a-r2");
        assert_eq!(name(&long), format!("{}-r1", "x".repeat(61)));
    }

    #[test]
    fn a_failed_verification_is_mended_with_its_output_at_hand() {
        let mut story = Story::planned(&[task("a", &[]), task("b", &[])]);
        story.done("a");
        let output = format!("{}\nlast words\n", "noise\n".repeat(4000));
        let output = format!("$ make test\nold\n$ make\nmine\n$ make test\n{output}");
        let tasks = of_verification(&story.state, "make test", "ended with 2", &output);
        assert_eq!(tasks[0].id, id("verify-r1"));
        assert_eq!(tasks[0].dependencies, [id("a")], "what did not land is not waited for");
        let told = &tasks[0].description;
        assert!(told.contains("make test") && told.contains("last words"), "{told}");
        assert_eq!(last_run("$ a\nold\n$ b\nother\n$ a\nnew\n", "a"), "new\n");
        assert!(told.len() < MAX_OUTPUT_BYTES + 1000, "{}", told.len());
    }

    #[test]
    fn what_is_rejected_is_done_by_a_task_that_knows_why() {
        let mut story = Story::planned(&[task("a", &[]), task("objective-r1", &[])]);
        story.done("a").objected(None, 1);
        let tasks = of_rejection(&story.state);
        assert_eq!(tasks[0].id, id("objective-r2"), "the name was taken");
        assert!(tasks[0].description.contains("more"), "{}", tasks[0].description);
    }
}
