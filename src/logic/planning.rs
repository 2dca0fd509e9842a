//! A model's plan and roles: either a whole plan that can be carried out, or the list of everything that is wrong with
//! the answer, in words that the model can act on.

use std::collections::{BTreeMap, BTreeSet};

use super::state::JobState;
use super::task::TaskState;
use crate::model::claim::Resources;
use crate::model::id::TaskId;
use crate::model::plan::{MAX_TASKS, PlanAnswer, Role, RolesAnswer, Task, TaskAnswer};
use crate::model::status::TaskPhase;

/// Longest text of an answer that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 32 * 1024;
/// Longest text of all tasks together, in bytes: whoever gives them roles reads them all.
const MAX_PLAN_BYTES: usize = 512 * 1024;
/// Most paths that a task may name as a hint.
const MAX_PATHS: usize = 256;

/// What there was before a new plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// Tasks that have landed: the new ones may depend on them.
    pub landed: BTreeSet<TaskId>,
    /// Every id that was ever used in the job.
    pub taken: BTreeSet<TaskId>,
}

impl Before {
    /// What there is in a job.
    pub fn of(state: &JobState) -> Self {
        let ids = |tasks: &mut dyn Iterator<Item = &TaskState>| {
            tasks.map(|t| t.task.id.clone()).collect::<BTreeSet<_>>()
        };
        let mut succeeded = state.tasks.iter().filter(|t| t.phase == TaskPhase::Succeeded);
        Self { landed: ids(&mut succeeded), taken: ids(&mut state.tasks.iter()) }
    }
}

/// Checks a plan answer; the tasks have no roles yet and count as executors until they are assigned.
///
/// # Errors
/// Every problem found.
pub fn check_plan(answer: &PlanAnswer, before: &Before) -> Result<Vec<Task>, Vec<String>> {
    let mut problems = Vec::new();
    if answer.tasks.is_empty() || answer.tasks.len() > MAX_TASKS {
        problems.push(format!("`tasks` has {} entries: give 1 to {MAX_TASKS}", answer.tasks.len()));
    }
    let tasks: Vec<Task> =
        answer.tasks.iter().filter_map(|t| check_task(t, &mut problems)).collect();
    let size: usize = answer.tasks.iter().map(|t| t.summary.len() + t.description.len()).sum();
    if size > MAX_PLAN_BYTES {
        problems.push(format!("the tasks have {size} bytes of text: at most {MAX_PLAN_BYTES}"));
    }
    check_ids(&tasks, before, &mut problems);
    if problems.is_empty() && has_cycle(&tasks) {
        problems
            .push("the dependencies form a cycle: no order of the tasks satisfies them".to_owned());
    }
    if problems.is_empty() { Ok(tasks) } else { Err(problems) }
}

fn check_task(answer: &TaskAnswer, problems: &mut Vec<String>) -> Option<Task> {
    let id = match TaskId::parse(&answer.id) {
        Ok(id) => id,
        Err(error) => {
            problems.push(format!("task id {error}"));
            return None;
        }
    };
    let mut dependencies = Vec::new();
    for name in &answer.dependencies {
        match TaskId::parse(name) {
            Ok(dependency) if !dependencies.contains(&dependency) => dependencies.push(dependency),
            Ok(_) => {}
            Err(error) => problems.push(format!("dependency of `{id}`: {error}")),
        }
    }
    for (key, text) in [("summary", &answer.summary), ("description", &answer.description)] {
        if text.trim().is_empty() || text.len() > MAX_TEXT_BYTES {
            problems.push(format!("`{key}` of `{id}` must have 1 to {MAX_TEXT_BYTES} bytes"));
        }
    }
    if answer.resources.reads.len() + answer.resources.writes.len() > MAX_PATHS {
        problems.push(format!("`resources` of `{id}` name more than {MAX_PATHS} paths"));
    }
    let (summary, description) = (answer.summary.clone(), answer.description.clone());
    let resources = answer.resources.clone();
    Some(Task {
        id,
        summary,
        description,
        dependencies,
        resources,
        role: Role::Executor,
        notes: String::new(),
    })
}

fn check_ids(tasks: &[Task], before: &Before, problems: &mut Vec<String>) {
    let mut ids = BTreeSet::new();
    for task in tasks {
        if before.taken.contains(&task.id) {
            problems
                .push(format!("the id `{}` was used by an earlier plan: take another", task.id));
        }
        if !ids.insert(&task.id) {
            problems.push(format!("two tasks have the id `{}`", task.id));
        }
    }
    for task in tasks {
        for dependency in
            task.dependencies.iter().filter(|d| !ids.contains(d) && !before.landed.contains(d))
        {
            problems.push(format!(
                "`{}` depends on `{dependency}`, which is no task of the plan",
                task.id
            ));
        }
    }
}

/// Takes away, again and again, every task whose dependencies are all gone; what stays is a cycle.
fn has_cycle(tasks: &[Task]) -> bool {
    let mut left: BTreeMap<&TaskId, &[TaskId]> =
        tasks.iter().map(|t| (&t.id, &t.dependencies[..])).collect();
    loop {
        let free: Vec<&TaskId> = left
            .iter()
            .filter(|(_, on)| on.iter().all(|d| !left.contains_key(d)))
            .map(|(id, _)| *id)
            .collect();
        if free.is_empty() {
            return !left.is_empty();
        }
        for id in free {
            left.remove(id);
        }
    }
}

/// Lays the answer of the roles session over the tasks.
///
/// # Errors
/// Every problem found.
pub fn check_roles(answer: &RolesAnswer, tasks: &[Task]) -> Result<Vec<Task>, Vec<String>> {
    let mut problems = Vec::new();
    let mut roles = BTreeMap::new();
    for role in &answer.roles {
        match TaskId::parse(&role.id) {
            Ok(id) if !tasks.iter().any(|t| t.id == id) => {
                problems.push(format!("`{id}` is no task of the plan"));
            }
            Ok(id) => {
                if roles.insert(id.clone(), role).is_some() {
                    problems.push(format!("`{id}` has two roles"));
                }
            }
            Err(error) => problems.push(format!("role of {error}")),
        }
    }
    let mut out = Vec::new();
    for task in tasks {
        match roles.get(&task.id) {
            Some(role) => {
                out.push(Task { role: role.role, notes: role.notes.clone(), ..task.clone() });
            }
            None => problems.push(format!("`{}` has no role", task.id)),
        }
    }
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

/// The plan of a job that asked for none: its objective is the one task.
pub fn single(objective: &str) -> Vec<Task> {
    let summary = objective
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .unwrap_or("the objective")
        .to_owned();
    let id = TaskId::parse("t1");
    let task = |id| Task {
        id,
        summary,
        description: objective.to_owned(),
        dependencies: Vec::new(),
        resources: Resources::default(),
        role: Role::Executor,
        notes: String::new(),
    };
    id.map(task).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::RoleAnswer;

    fn plan(tasks: &[(&str, &[&str])]) -> PlanAnswer {
        let task = |(id, on): &(&str, &[&str])| TaskAnswer {
            id: (*id).to_owned(),
            summary: "s".into(),
            description: "d".into(),
            dependencies: on.iter().map(|d| (*d).to_owned()).collect(),
            resources: Resources::default(),
        };
        PlanAnswer { objective: "o".into(), tasks: tasks.iter().map(task).collect() }
    }

    fn long_plan() -> PlanAnswer {
        let names: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
        let mut answer = plan(&names.iter().map(|n| (n.as_str(), &[][..])).collect::<Vec<_>>());
        answer.tasks.iter_mut().for_each(|t| t.description = "x".repeat(20_000));
        answer
    }

    #[test]
    fn a_plan_is_taken_as_a_whole_or_every_problem_is_named() {
        assert!(
            check_plan(&plan(&[("T_1", &[]), ("b", &["t-1", "t_1"])]), &Before::default()).is_ok()
        );
        for (answer, piece) in [
            (plan(&[]), "0 entries"),
            (plan(&[("a", &["b"])]), "no task of the plan"),
            (plan(&[("a", &[]), ("A", &[])]), "two tasks have the id `a`"),
            (plan(&[("a", &["a"])]), "cycle"),
            (plan(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])]), "cycle"),
            (plan(&[("plan", &[])]), "reserved"),
            (plan(&[("../x", &[])]), "not an id"),
            (long_plan(), "bytes of text"),
        ] {
            let problems = check_plan(&answer, &Before::default()).expect_err(piece);
            assert!(problems.iter().any(|p| p.contains(piece)), "{problems:?}");
        }
    }

    #[test]
    fn a_new_plan_may_build_on_what_landed_and_takes_new_names() {
        let ids = |names: &[&str]| names.iter().filter_map(|n| TaskId::parse(n).ok()).collect();
        let before = Before { landed: ids(&["a"]), taken: ids(&["a", "b"]) };
        assert!(check_plan(&plan(&[("c", &["a"]), ("d", &["c"])]), &before).is_ok());
        for (answer, piece) in [
            (plan(&[("a", &[])]), "`a` was used"),
            (plan(&[("b", &[])]), "`b` was used"),
            (plan(&[("c", &["b"])]), "`b`, which is no task"),
        ] {
            let problems = check_plan(&answer, &before).expect_err(piece);
            assert!(problems.iter().any(|p| p.contains(piece)), "{problems:?}");
        }
    }

    #[test]
    fn every_task_gets_exactly_one_role() {
        let tasks = check_plan(&plan(&[("a", &[]), ("b", &[])]), &Before::default()).expect("plan");
        let roles = |ids: &[&str]| RolesAnswer {
            roles: ids
                .iter()
                .map(|id| RoleAnswer { id: (*id).into(), role: Role::Reviewer, notes: "n".into() })
                .collect(),
            strategy: "s".into(),
        };
        assert_eq!(
            check_roles(&roles(&["a", "B"]), &tasks).expect("roles")[1].role,
            Role::Reviewer
        );
        for ids in [&["a"][..], &["a", "b", "b"], &["a", "b", "c"]] {
            assert!(check_roles(&roles(ids), &tasks).is_err(), "{ids:?}");
        }
    }
}
