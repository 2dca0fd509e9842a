//! A plan as a person edits it: written as JSON, read back, and judged by the rules that hold for a model's plan.

use serde::{Deserialize, Serialize};

use super::planning::{Before, check_plan, check_roles};
use super::state::JobState;
use crate::model::claim::Resources;
use crate::model::plan::{Plan, PlanAnswer, Role, RoleAnswer, RolesAnswer, Task, TaskAnswer};
use crate::model::status::PauseReason;

/// Most problems that are told at once.
const MAX_PROBLEMS: usize = 10;

/// A plan without what only the program says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    objective: String,
    #[serde(default)]
    strategy: String,
    tasks: Vec<WrittenTask>,
}

/// One task of it; what is left out is as usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTask {
    id: String,
    summary: String,
    description: String,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    resources: Resources,
    #[serde(default = "executor")]
    role: Role,
    #[serde(default)]
    notes: String,
}

fn executor() -> Role {
    Role::Executor
}

/// A plan that a person has edited, whole and sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revised {
    /// The objective in the person's words.
    pub objective: String,
    /// How the work is shared out.
    pub strategy: String,
    /// The tasks, with their roles.
    pub tasks: Vec<Task>,
}

/// Whether a job's plan may still be replaced: it waits for a person, is its first, and nothing was begun.
pub fn is_open(state: &JobState) -> bool {
    let is_untouched = state.tasks.iter().all(|t| t.attempt == 0 && !t.phase.is_final());
    awaits_go(state) && state.replans == 0 && is_untouched
}

/// Whether a job rests until a person says go to its plan.
pub fn awaits_go(state: &JobState) -> bool {
    state.pause == Some(PauseReason::Approval) && !state.approved
}

/// Whether a job that asks for it has a plan that nobody has approved yet: it does not go on without, whatever it rests for now.
pub fn needs_go(state: &JobState) -> bool {
    state.strategy.is_some() && state.replan.is_none() && !state.approved
}

/// Whether a person can still be asked about the job's first plan before anything is executed.
pub fn can_ask(state: &JobState) -> bool {
    state.strategy.is_none() && state.replans == 0 && !state.phase.is_final()
}

/// What a person's go to the plan that they have seen comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// It is to be written down.
    Say,
    /// Somebody has said it already.
    Said,
    /// It is void: that plan is no longer the job's, or the job has ended.
    Void,
}

/// Judges a go to the plan of number `seen`: one that nobody has seen is never approved.
pub fn go(state: &JobState, seen: u32) -> Go {
    if state.phase.is_final() || state.plan_number != seen {
        Go::Void
    } else if state.approved {
        Go::Said
    } else {
        Go::Say
    }
}

/// A plan as JSON to be edited.
pub fn write(plan: &Plan) -> String {
    let task = |t: &Task| WrittenTask {
        id: t.id.to_string(),
        summary: t.summary.clone(),
        description: t.description.clone(),
        dependencies: t.dependencies.iter().map(ToString::to_string).collect(),
        resources: t.resources.clone(),
        role: t.role,
        notes: t.notes.clone(),
    };
    let written = Written {
        objective: plan.objective.clone(),
        strategy: plan.strategy.clone(),
        tasks: plan.tasks.iter().map(task).collect(),
    };
    let json = serde_json::to_string_pretty(&written).unwrap_or_default();
    format!("{json}\n")
}

/// Reads an edited plan.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn read(text: &str) -> Result<Revised, String> {
    let written: Written = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let Written { objective, strategy, tasks } = written;
    let roles =
        tasks.iter().map(|t| RoleAnswer { id: t.id.clone(), role: t.role, notes: t.notes.clone() });
    let roles = RolesAnswer { roles: roles.collect(), strategy: strategy.clone() };
    let task = |t: WrittenTask| TaskAnswer {
        id: t.id,
        summary: t.summary,
        description: t.description,
        dependencies: t.dependencies,
        resources: t.resources,
    };
    let plan = PlanAnswer { objective, tasks: tasks.into_iter().map(task).collect() };
    let checked = check_plan(&plan, &Before::default()).and_then(|t| check_roles(&roles, &t));
    let tasks =
        checked.map_err(|all| all.into_iter().take(MAX_PROBLEMS).collect::<Vec<_>>().join("; "))?;
    Ok(Revised { objective: plan.objective, strategy, tasks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::lifecycle::stories::{Story, task};
    use crate::model::event::Fact;
    use crate::model::status::JobPhase;

    fn planned() -> Story {
        Story::planned(&[task("a", &[]), task("b", &["a"])])
    }

    #[test]
    fn what_was_written_is_read_back() {
        let plan = planned().state.plan();
        let revised = read(&write(&plan)).expect("sound");
        assert_eq!((revised.objective, revised.strategy), (plan.objective, plan.strategy));
        assert_eq!(revised.tasks, plan.tasks);
    }

    #[test]
    fn a_task_needs_no_more_than_its_words_and_everything_else_is_judged() {
        let whole = |tasks: &str| format!("{{\"objective\": \"o\", \"tasks\": [{tasks}]}}");
        let a = r#"{"id": "a", "summary": "s", "description": "d"}"#;
        assert_eq!(read(&whole(a)).expect("sound").tasks[0].role, Role::Executor);
        let on = |id: &str, on: &str| {
            format!(
                r#"{{"id": "{id}", "summary": "s", "description": "d", "dependencies": ["{on}"]}}"#
            )
        };
        for (tasks, why) in [
            (String::new(), "has 0 entries"),
            (format!("{a}, {a}"), "two tasks have the id `a`"),
            (on("b", "c"), "`b` depends on `c`"),
            (format!("{}, {}", on("b", "c"), on("c", "b")), "form a cycle"),
            (r#"{"id": "plan", "summary": "s", "description": "d"}"#.to_owned(), "plan"),
            (r#"{"id": "a", "summary": "", "description": "d"}"#.to_owned(), "`summary` of `a`"),
            (
                r#"{"id": "a", "summary": "s", "description": "d", "role": "king"}"#.to_owned(),
                "king",
            ),
            (
                r#"{"id": "a", "summary": "s", "description": "d", "colour": 1}"#.to_owned(),
                "colour",
            ),
        ] {
            let problem = read(&whole(&tasks)).expect_err(why);
            assert!(problem.contains(why), "{why}: {problem}");
        }
    }

    #[test]
    fn a_go_is_to_the_plan_that_was_seen_and_to_no_other() {
        let waiting = planned().state;
        let mut approved = planned();
        approved.tell(None, Fact::PlanApproved {});
        let tasks = waiting.plan().tasks;
        let edited = |story: &mut Story| {
            let tasks = tasks.clone();
            story.tell(None, Fact::PlanCreated { plan: 2, objective: String::new(), tasks });
            story.state.clone()
        };
        let over = waiting.as_if_ended(JobPhase::Killed, "killed", "");
        for (state, seen, go) in [
            (waiting, 1, Go::Say),
            (approved.state.clone(), 1, Go::Said),
            (edited(&mut planned()), 1, Go::Void),
            (edited(&mut planned()), 2, Go::Say),
            (edited(&mut approved), 1, Go::Void),
            (over, 1, Go::Void),
        ] {
            assert_eq!(super::go(&state, seen), go, "{seen} of {}", state.plan_number);
        }
    }

    #[test]
    fn a_person_can_be_asked_until_the_first_plan_is_whole() {
        assert!(can_ask(&JobState::default()));
        let mut half = Story::new();
        half.tell(
            None,
            Fact::PlanCreated { plan: 1, objective: "o".into(), tasks: vec![task("a", &[])] },
        );
        assert!(can_ask(&half.state), "its roles are missing: nothing was executed");
        assert!(!can_ask(&planned().state));
        assert!(!can_ask(&JobState::default().as_if_ended(JobPhase::Killed, "killed", "")));
    }

    #[test]
    fn a_plan_is_replaced_only_while_it_waits_and_nothing_was_begun() {
        let mut story = planned();
        assert!(!is_open(&story.state), "it does not wait");
        let reason = PauseReason::Approval;
        story.tell(None, Fact::Paused { reason, until: None, message: String::new() });
        assert!(is_open(&story.state));
        let mut approved = planned();
        approved.tell(None, Fact::PlanApproved {});
        approved.tell(None, Fact::Paused { reason, until: None, message: String::new() });
        assert!(!is_open(&approved.state));
        story.done("a");
        assert!(!is_open(&story.state));
    }
}
