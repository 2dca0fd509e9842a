//! The lane of a task that only reads: planners, reviewers, queens. It holds no lease. What a planner found goes to its
//! dependents; a reviewer judges the diffs of the tasks before it, and what it wants changed becomes tasks.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::desk::{Desk, Outcome, Stop, bug, with_trees};
use super::mending;
use super::planning::with_view;
use super::{parked, words};
use crate::codex::Question;
use crate::logic::advice;
use crate::logic::followups::{MAX_REVIEW_ROUNDS, judged};
use crate::logic::task::TaskState;
use crate::model::advice::{Comment, Judgement, ReviewAnswer};
use crate::model::event::{Fact, SessionKind};
use crate::model::outcome::{Failure, FailureKind};
use crate::model::plan::Role;

/// Runs one read-only task to its end.
pub(super) async fn read(desk: &Arc<Desk>, task: &TaskState, stop: &Stop) -> Outcome<()> {
    let before: Vec<TaskState> =
        desk.book.state(|s| judged(s, task).into_iter().cloned().collect());
    if task.task.role == Role::Reviewer && !before.is_empty() {
        review(desk, task, before, stop).await
    } else {
        look(desk, task, stop).await
    }
}

/// Lets it look, and keeps what it says.
async fn look(desk: &Desk, task: &TaskState, stop: &Stop) -> Outcome<()> {
    let id = &task.task.id;
    let attempt = parked::attempt(desk, task);
    let prompt = prompt(desk, &facts(desk, task))?;
    let told = with_view(desk, id.as_str(), async |cwd| {
        let question = question(desk, task, attempt, cwd, prompt)?;
        let summary = words::summary(&desk.asker.tell(question, stop).await?.message);
        desk.record(Some(id), Fact::TaskCompleted { attempt, commit: None, summary })
    });
    told.await
}

/// Lets it judge what the tasks before it have landed.
async fn review(
    desk: &Arc<Desk>,
    task: &TaskState,
    before: Vec<TaskState>,
    stop: &Stop,
) -> Outcome<()> {
    let mut facts = facts(desk, task);
    facts["judges"] = json!(true);
    facts["diff"] = json!(diffs(desk, before).await?);
    let attempt = parked::attempt(desk, task);
    let prompt = prompt(desk, &facts)?;
    let asked = with_view(desk, task.task.id.as_str(), async |cwd| {
        let checked = |answer: ReviewAnswer| advice::check_review(&answer).map(|()| answer);
        desk.asker.ask(question(desk, task, attempt, cwd, prompt)?, checked, stop).await
    });
    let (answer, _) = asked.await?;
    match answer.verdict {
        Judgement::Approve => approved(desk, task, attempt, answer.comments),
        Judgement::Changes => rejected(desk, task, attempt, answer.comments).await,
    }
}

fn approved(desk: &Desk, task: &TaskState, attempt: u32, comments: Vec<Comment>) -> Outcome<()> {
    let id = &task.task.id;
    let remarks = words::listed(&comments);
    let summary = if remarks.is_empty() { "approved".to_owned() } else { words::summary(&remarks) };
    desk.record(Some(id), Fact::ReviewApproved { comments })?;
    desk.record(Some(id), Fact::TaskCompleted { attempt, commit: None, summary })
}

async fn rejected(
    desk: &Arc<Desk>,
    task: &TaskState,
    attempt: u32,
    comments: Vec<Comment>,
) -> Outcome<()> {
    let (id, round) = (&task.task.id, task.rounds + 1);
    if round > MAX_REVIEW_ROUNDS {
        let wanted = words::summary(&words::listed(&comments)).replace('\n', "; ");
        let message = format!("after {MAX_REVIEW_ROUNDS} rounds it still wants changes: {wanted}");
        let failure = Failure::new(FailureKind::Task, message);
        return desk.record(Some(id), Fact::TaskExhausted { attempt, failure });
    }
    desk.record(Some(id), Fact::ReviewRejected { round, comments })?;
    mending::after_review(desk, &desk.task(id)?).await
}

fn facts(desk: &Desk, task: &TaskState) -> Value {
    let mut facts = words::of_task(desk, task);
    facts["role"] = json!(task.task.role.as_str());
    facts
}

fn prompt(desk: &Desk, facts: &Value) -> Outcome<String> {
    desk.asker.prompts.render("review", facts).map_err(bug)
}

/// The question, with the fact that the attempt begins on record.
fn question(
    desk: &Desk,
    task: &TaskState,
    attempt: u32,
    cwd: PathBuf,
    prompt: String,
) -> Outcome<Question> {
    let id = &task.task.id;
    desk.record(Some(id), Fact::TaskStarted { attempt })?;
    let (kind, role) = (SessionKind::Review, task.task.role);
    Ok(Question::new(kind, role, id.as_str(), attempt, cwd, prompt).with_task(Some(id)))
}

/// What the judged tasks have landed, one diff after the other; empty where agents work in the directory itself.
async fn diffs(desk: &Desk, before: Vec<TaskState>) -> Outcome<String> {
    if desk.is_in_place()? {
        return Ok(String::new());
    }
    let commits: Vec<String> = before.into_iter().filter_map(|t| t.commit).collect();
    let patch = with_trees(desk, move |trees| {
        let mut whole = Vec::new();
        for commit in commits {
            whole.extend(trees.patch_of_commit(&commit)?);
        }
        Ok(whole)
    });
    Ok(words::shown_diff(&patch.await?))
}
