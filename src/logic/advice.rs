//! What the queen may say, and whether she has said it. Her words never decide what code can decide: here stands what she
//! is asked about, which answers are open, and how many of each there may be.

use super::state::JobState;
use super::task::TaskState;
use crate::model::advice::{Decision, QueenAnswer};
use crate::model::job::{Job, Planning};
use crate::model::outcome::FailureKind;

/// How often the queen may give one task its attempts once more.
pub const MAX_REPRIEVES: u32 = 1;
/// How many new plans a job may have.
pub const MAX_REPLANS: u32 = 2;
/// Longest advice that is kept, in bytes.
const MAX_ADVICE_BYTES: usize = 8 * 1024;

/// Whether a failure for which there are no attempts left is a matter for the queen. What somebody ended, and what is
/// our own fault, is none.
pub fn is_asked(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Task
        | FailureKind::Transient
        | FailureKind::Start
        | FailureKind::Stale
        | FailureKind::Interrupted => true,
        FailureKind::Limit
        | FailureKind::Auth
        | FailureKind::Stopped
        | FailureKind::Left
        | FailureKind::Bug => false,
    }
}

/// What may be done about a task that is out of attempts.
pub fn about_task(state: &JobState, job: &Job, task: &TaskState) -> Vec<Decision> {
    let mut open = Vec::new();
    let is_judging = task.rounds > 0;
    if task.reprieves < MAX_REPRIEVES && !is_judging {
        open.push(Decision::Retry);
    }
    if job.options.plan == Planning::Auto && state.replans < MAX_REPLANS {
        open.push(Decision::Replan);
    }
    // Leaving out the only work there is would call nothing a success.
    let is_other_work =
        |t: &&TaskState| t.task.id != task.task.id && t.task.role.writes() && !t.left_out;
    if state.tasks.iter().any(|t| is_other_work(&t)) {
        open.push(Decision::Skip);
    }
    open.push(Decision::GiveUp);
    open
}

/// What may be said about the result of a job.
pub fn about_result() -> Vec<Decision> {
    vec![Decision::Accept, Decision::Reject]
}

/// Checks an answer against what was open.
///
/// # Errors
/// Every problem, in words that the queen can act on.
pub fn check(answer: &QueenAnswer, open: &[Decision]) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    if !open.contains(&answer.decision) {
        problems.push(format!(
            "`decision` must be one of {}, not {}",
            words(open),
            answer.decision.as_str()
        ));
    }
    if needs_advice(answer.decision) && answer.advice.trim().is_empty() {
        problems.push("`advice` is empty: say why, and what is to be done".to_owned());
    }
    if answer.advice.len() > MAX_ADVICE_BYTES {
        problems.push(format!("`advice` is longer than {MAX_ADVICE_BYTES} bytes"));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Whether somebody is to act on the words.
fn needs_advice(decision: Decision) -> bool {
    match decision {
        Decision::Retry | Decision::Replan | Decision::Skip | Decision::Reject => true,
        Decision::GiveUp | Decision::Accept => false,
    }
}

/// Decisions as a list of words.
pub fn words(decisions: &[Decision]) -> String {
    decisions.iter().map(|d| d.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::lifecycle::stories::{Story, job, task};
    use crate::model::job::Options;
    use crate::model::plan::Role;

    use Decision::{GiveUp, Replan, Retry, Skip};

    fn open(story: &Story, options: Options, name: &str) -> Vec<Decision> {
        let state = &story.state;
        let task = state.tasks.iter().find(|t| t.task.id.as_str() == name).expect("task");
        about_task(state, &job(options), task)
    }

    #[test]
    fn what_is_open_depends_on_what_was_granted_before() {
        let single = || Options { plan: Planning::Single, ..Options::default() };
        let mut story = Story::planned(&[task("a", &[]), task("b", &[])]);
        assert_eq!(open(&story, Options::default(), "a"), [Retry, Replan, Skip, GiveUp]);
        assert_eq!(open(&story, single(), "a"), [Retry, Skip, GiveUp]);
        story.exhausted("a").advised("a", Retry).exhausted("a");
        assert_eq!(open(&story, Options::default(), "a"), [Replan, Skip, GiveUp]);
        story.advised("b", Skip);
        assert_eq!(open(&story, single(), "a"), [GiveUp], "the only work left is not left out");
        let mut look = task("look", &[]);
        look.role = Role::Planner;
        let alone = Story::planned(&[task("a", &[]), look]);
        assert_eq!(open(&alone, single(), "a"), [Retry, GiveUp]);
        assert_eq!(open(&alone, single(), "look"), [Retry, Skip, GiveUp]);
    }

    #[test]
    fn only_an_open_answer_with_a_reason_counts() {
        let answer = |decision, advice: &str| QueenAnswer { decision, advice: advice.to_owned() };
        let open = [Retry, GiveUp];
        assert_eq!(check(&answer(Retry, "look at the test"), &open), Ok(()));
        assert_eq!(check(&answer(GiveUp, ""), &open), Ok(()), "nobody acts on it");
        for (answer, piece) in [
            (answer(Decision::Accept, "fine"), "one of retry, give_up, not accept"),
            (answer(Skip, "fine"), "not skip"),
            (answer(Retry, " "), "is empty"),
            (answer(Retry, &"x".repeat(9000)), "longer than"),
        ] {
            let problems = check(&answer, &open).expect_err(piece);
            assert!(problems[0].contains(piece), "{problems:?}");
        }
    }
}
