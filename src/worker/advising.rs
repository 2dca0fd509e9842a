//! Asking the queen: about a task that is out of attempts, and about the result of a job. What she may answer is decided by
//! `logic::advice`; her words are on record before anything follows from them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::desk::{Desk, Outcome, Stop, bug, with_trees};
use super::planning::with_view;
use super::words;
use crate::codex::Question;
use crate::codex::prompt::first_line;
use crate::logic::advice;
use crate::logic::task::TaskState;
use crate::model::advice::{Comment, Decision, QueenAnswer};
use crate::model::event::{Fact, SessionKind};
use crate::model::outcome::{Failure, FailureKind};
use crate::model::plan::Role;

/// The folder of her sessions.
const PLACE: &str = "queen";

/// Longest piece of the objective that she is shown, in characters.
const MAX_OBJECTIVE_CHARS: usize = 100_000;

/// Deaths of the worker under her sessions, in the whole life of a job.
const MAX_UNHEARD: u32 = 5;

/// Asks what is to be done about a task that is out of attempts.
pub(super) async fn advise(desk: &Arc<Desk>, task: &TaskState, stop: &Stop) -> Outcome<()> {
    let id = &task.task.id;
    // Until her answer is on record: what is open to her depends on what she has said of others.
    let _one_at_a_time = desk.queen.lock().await;
    let open = desk.book.state(|s| advice::about_task(s, &desk.job, task));
    let mut facts = words::of_task(desk, task);
    facts["attempts"] = json!(task.attempt);
    facts["failure"] = json!(task.exhausted.as_ref().map(|f| f.message.clone()));
    let answer = ask(desk, Some(task), facts, &open, stop).await.map_err(|f| unheard(task, f))?;
    let (decision, said) = (answer.decision, answer.advice);
    desk.record(Some(id), Fact::Advised { decision, advice: said })?;
    match (decision, task.exhausted.clone()) {
        (Decision::GiveUp, Some(failure)) => {
            desk.record(Some(id), Fact::TaskFailed { attempt: task.attempt, failure })
        }
        _ => Ok(()),
    }
}

/// The task's own failure is what counts, where the queen cannot be heard; what makes the job rest stays what it is.
fn unheard(task: &TaskState, failure: Failure) -> Failure {
    match &task.exhausted {
        Some(own) if advice::is_asked(failure.kind) => Failure {
            message: format!("{}; the queen could not be asked: {}", own.message, failure.message),
            ..own.clone()
        },
        _ => failure,
    }
}

/// Asks whether the result meets the objective.
pub(super) async fn judge(desk: &Arc<Desk>, stop: &Stop) -> Outcome<()> {
    let _one_at_a_time = desk.queen.lock().await;
    let diff = whole_diff(desk).await?;
    let facts = json!({
        "summary": "Judge the result of the whole job",
        "objective_line": first_line(&desk.job.objective),
        "result": true,
        "diff": diff,
        "verified": (!desk.job.options.verify.is_empty()).then(|| desk.job.options.verify.join("\n")),
    });
    let answer = ask(desk, None, facts, &advice::about_result(), stop).await?;
    let comments = vec![Comment { path: String::new(), text: answer.advice }];
    let round = desk.book.state(|s| s.appeals) + 1;
    desk.record(
        None,
        match answer.decision {
            Decision::Accept => Fact::ReviewApproved { comments },
            _ => Fact::ReviewRejected { round, comments },
        },
    )
}

/// What the job has changed; empty where agents work in the directory itself.
async fn whole_diff(desk: &Desk) -> Outcome<String> {
    if desk.is_in_place()? || !desk.book.state(crate::logic::state::JobState::has_landed) {
        return Ok(String::new());
    }
    let base = desk.workspace()?.base;
    let tip = desk.tip();
    let patch = with_trees(desk, move |trees| trees.patch(&base, &tip)).await?;
    Ok(words::shown_diff(&patch))
}

/// Asks her. The caller sees to it that it is one question at a time: her sessions share a folder.
async fn ask(
    desk: &Arc<Desk>,
    task: Option<&TaskState>,
    mut facts: Value,
    open: &[Decision],
    stop: &Stop,
) -> Outcome<QueenAnswer> {
    if desk.book.state(|s| s.unheard) >= MAX_UNHEARD {
        let message = "the worker died too often under a question to the queen";
        return Err(Failure::new(FailureKind::Task, message));
    }
    facts["objective"] = json!(words::cut(&desk.job.objective, MAX_OBJECTIVE_CHARS));
    facts["allowed"] = json!(advice::words(open));
    facts["tasks"] = json!(desk.book.state(words::standings));
    let prompt = desk.asker.prompts.render("queen", &facts).map_err(bug)?;
    let attempt = task.map_or(1, |t| t.attempt);
    let check = |answer: QueenAnswer| advice::check(&answer, open).map(|()| answer);
    let asked = with_view(desk, PLACE, async |cwd| {
        let question = Question::new(SessionKind::Queen, Role::Queen, PLACE, attempt, cwd, prompt);
        desk.asker.ask(question.with_task(task.map(|t| &t.task.id)), check, stop).await
    });
    asked.await.map(|(answer, _)| answer)
}
