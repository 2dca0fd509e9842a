//! From the workspace to the assigned roles.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::desk::{Desk, Outcome, Stop, aside, bug, of_trees, with_trees};
use super::words;
use crate::codex::prompt::first_line;
use crate::codex::{Question, schema};
use crate::logic::planning::{Before, check_plan, check_roles, single};
use crate::logic::state::JobState;
use crate::model::event::{Fact, SessionKind};
use crate::model::job::Planning;
use crate::model::plan::{MAX_TASKS, Plan, PlanAnswer, Role, RolesAnswer, Task};
use crate::model::status::TaskPhase;
use crate::trees::{self, Ground, Tree};

/// The number of the tree of a place that only reads.
const VIEW: u32 = 1;

/// Looks at the workspace, once for the whole life of the job.
pub(super) async fn fix_workspace(desk: &Desk) -> Outcome<()> {
    let (options, folder) = (desk.job.options.clone(), desk.folder.clone());
    let (root, home) = (desk.root.path().to_owned(), desk.asker.codex.home.clone());
    let fixed = aside(move || {
        let ground = Ground { root: &root, codex_home: Some(&home) };
        trees::fix(&options, &folder, ground)
    });
    let workspace = fixed.await?.map_err(|e| of_trees(&e))?;
    desk.record(None, Fact::WorkspaceFixed { workspace })
}

/// Asks for the plan, or makes the plan of a job that wants none.
pub(super) async fn plan(desk: &Desk, stop: &Stop) -> Outcome<()> {
    let objective = desk.job.objective.clone();
    let number = desk.book.state(|s| s.plan_number) + 1;
    if desk.job.options.plan == Planning::Single {
        return one_task(desk, number, objective);
    }
    let mut facts = plan_facts(desk, &objective);
    facts["earlier"] = json!(words::earlier(desk).await);
    let is_new = desk.book.state(|s| s.replan.is_some());
    let before = desk.book.state(Before::of);
    let (cwd, tree) = glance(desk, "plan").await?;
    let prompt = desk.asker.prompts.render("plan", &facts).map_err(bug)?;
    let shape = schema::strict::<PlanAnswer>();
    let question = question("plan", SessionKind::Plan, cwd, prompt, Some(shape.clone()));
    let check = |text: &str| {
        let answer: PlanAnswer = schema::read(&shape, text)?;
        Ok((answer.objective.clone(), check_plan(&answer, &before)?))
    };
    let asked = desk.asker.ask(question, check, stop).await;
    if let Ok(((objective, tasks), _)) = &asked {
        let (objective, tasks) = (objective.clone(), tasks.clone());
        let plan = number;
        let fact = if is_new {
            Fact::Replanned { plan, objective, tasks }
        } else {
            Fact::PlanCreated { plan, objective, tasks }
        };
        desk.record(None, fact)?;
    }
    clear(desk, tree).await?;
    asked.map(drop)
}

/// What a planner is told; for a new plan also how the old one fared.
fn plan_facts(desk: &Desk, objective: &str) -> Value {
    let mut facts = json!({
        "objective": objective, "objective_line": first_line(objective), "max_tasks": MAX_TASKS,
    });
    desk.book.state(|state| {
        let failed = (state.planning.charged > 0).then_some("The last plan could not be used.");
        facts["failures"] = json!(failed);
        if let Some(advice) = &state.replan {
            facts["advice"] = json!(advice);
            facts["tasks"] = json!(words::standings(state));
        }
    });
    facts
}

fn one_task(desk: &Desk, number: u32, objective: String) -> Outcome<()> {
    let tasks = single(&objective);
    let created = Fact::PlanCreated { plan: number, objective, tasks: tasks.clone() };
    desk.record(None, created)?;
    assign(desk, tasks, "one task: the objective itself".to_owned())
}

/// Asks for the roles.
pub(super) async fn roles(desk: &Desk, stop: &Stop) -> Outcome<()> {
    let plan = desk.book.state(unassigned);
    let text = serde_json::to_string_pretty(&brief(&plan)).unwrap_or_default();
    let facts = json!({ "objective_line": first_line(&desk.job.objective), "plan": text });
    let prompt = desk.asker.prompts.render("roles", &facts).map_err(bug)?;
    let (cwd, tree) = glance(desk, "roles").await?;
    let shape = schema::strict::<RolesAnswer>();
    let question = question("roles", SessionKind::Roles, cwd, prompt, Some(shape.clone()));
    let check = |text: &str| {
        let answer: RolesAnswer = schema::read(&shape, text)?;
        Ok((check_roles(&answer, &plan.tasks)?, answer.strategy))
    };
    let asked = desk.asker.ask(question, check, stop).await;
    clear(desk, tree).await?;
    let ((tasks, strategy), _) = asked?;
    assign(desk, tasks, strategy)
}

/// The part of the plan that has no roles yet: what landed before a new plan was made keeps its own.
fn unassigned(state: &JobState) -> Plan {
    let is_new = |t: &Task| state.task(&t.id).is_some_and(|t| t.phase == TaskPhase::Pending);
    let mut plan = state.plan();
    plan.tasks.retain(is_new);
    plan
}

/// What the roles session is shown of a plan.
fn brief(plan: &Plan) -> Value {
    let task = |t: &Task| {
        json!({
            "id": t.id, "summary": t.summary, "description": t.description,
            "dependencies": t.dependencies, "resources": t.resources,
        })
    };
    json!({ "objective": plan.objective, "tasks": plan.tasks.iter().map(task).collect::<Vec<_>>() })
}

/// `plan-N.json` is on disk before the journal names it.
fn assign(desk: &Desk, tasks: Vec<Task>, strategy: String) -> Outcome<()> {
    let mut plan = desk.book.state(JobState::plan);
    plan.strategy.clone_from(&strategy);
    for task in &mut plan.tasks {
        if let Some(assigned) = tasks.iter().find(|t| t.id == task.id) {
            task.clone_from(assigned);
        }
    }
    desk.folder.put_plan(&plan).map_err(|e| bug(format!("cannot write the plan: {e}")))?;
    desk.record(None, Fact::RolesAssigned { plan: plan.number, tasks, strategy })
}

fn question(
    place: &str,
    kind: SessionKind,
    cwd: PathBuf,
    prompt: String,
    schema: Option<Value>,
) -> Question {
    Question {
        task: None,
        place: place.to_owned(),
        kind,
        role: Role::Planner,
        attempt: 1,
        cwd,
        prompt,
        schema,
        resume: None,
        opened: None,
    }
}

/// A snapshot of the tip to read in; the directory itself where there is no repository. A place has one at a time, so that
/// one which a dead worker left gives way to the next.
pub(super) async fn view(desk: &Desk, place: &str) -> Outcome<(PathBuf, Option<Tree>)> {
    if desk.is_in_place()? {
        return Ok((desk.plain_cwd()?, None));
    }
    let place = desk.folder.place(place);
    let tip = desk.book.state(|s| s.tip.clone()).unwrap_or_default();
    let tree = with_trees(desk, move |trees| trees.add(&place, VIEW, &tip)).await?;
    Ok((tree.cwd(), Some(tree)))
}

/// What a planner sees: a snapshot, or the job's own fresh repository as long as there is nothing in it.
async fn glance(desk: &Desk, place: &str) -> Outcome<(PathBuf, Option<Tree>)> {
    if is_still_empty(desk) { Ok((desk.plain_cwd()?, None)) } else { view(desk, place).await }
}

/// Whether there is nothing to see yet: the job's own fresh repository, before the first landing. A tree of it would cost
/// time and show the same.
fn is_still_empty(desk: &Desk) -> bool {
    let at_base = |s: &JobState| s.workspace.as_ref().map(|w| &w.base) == s.tip.as_ref();
    desk.job.options.workspace.is_none() && desk.book.state(at_base)
}

/// Removes a tree that was only read.
pub(super) async fn clear(desk: &Desk, tree: Option<Tree>) -> Outcome<()> {
    let Some(tree) = tree else { return Ok(()) };
    with_trees(desk, move |trees| trees.remove(&tree)).await
}
