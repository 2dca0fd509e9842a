//! From the workspace to the assigned roles.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::desk::{Desk, Fixing, Outcome, Stop, bug, lost, of_trees, with_trees};
use super::{early, memory, words};
use crate::codex::Question;
use crate::codex::prompt::first_line;
use crate::logic::planning::{Before, check_plan, check_roles, single};
use crate::logic::state::JobState;
use crate::model::event::{Fact, SessionKind};
use crate::model::job::{Options, Planning};
use crate::model::plan::{MAX_TASKS, Plan, PlanAnswer, Role, RolesAnswer, Task};
use crate::model::root::Root;
use crate::model::status::TaskPhase;
use crate::runs::RunFolder;
use crate::trees::{self, Ground};

/// Begins to look at the workspace; one that is made waits for the disk.
pub(super) fn begin_fixing(
    root: &Root,
    folder: &RunFolder,
    options: &Options,
    home: &Path,
) -> Fixing {
    let (root, home) = (root.path().to_owned(), home.to_owned());
    let (options, folder) = (options.clone(), folder.clone());
    spawn_blocking(move || {
        let ground = Ground { root: &root, codex_home: Some(&home) };
        trees::fix(&options, &folder, ground)
    })
}

/// Looks at the workspace, once for the whole life of the job.
pub(super) async fn fix_workspace(desk: &Desk) -> Outcome<()> {
    let begun = desk.fixing().take();
    let begin =
        || begin_fixing(&desk.root, &desk.folder, &desk.job.options, &desk.asker.codex.home);
    let fixed = begun.unwrap_or_else(begin).await;
    let workspace = fixed.map_err(|e| lost(&e))?.map_err(of_trees)?;
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
    let (earlier, similar) = memory::earlier(desk).await;
    facts["earlier"] = json!(earlier);
    facts["similar"] = json!(similar);
    let is_new = desk.book.state(|s| s.replan.is_some());
    let before = desk.book.state(Before::of);
    let prompt = desk.asker.prompts.render("plan", &facts).map_err(bug)?;
    let check = |answer: PlanAnswer| Ok((answer.objective.clone(), check_plan(&answer, &before)?));
    let asked = with_glance(desk, "plan", async |cwd| {
        let question = Question::new(SessionKind::Plan, Role::Planner, "plan", 1, cwd, prompt);
        let ((objective, tasks), _) = desk.asker.ask(question, check, stop).await?;
        let fact = if is_new {
            Fact::Replanned { plan: number, objective, tasks }
        } else {
            Fact::PlanCreated { plan: number, objective, tasks }
        };
        desk.record(None, fact)
    });
    asked.await
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
pub(super) async fn roles(desk: &Arc<Desk>, stop: &Stop) -> Outcome<()> {
    let plan = desk.book.state(unassigned);
    let text = serde_json::to_string_pretty(&brief(&plan)).unwrap_or_default();
    let facts = json!({ "objective_line": first_line(&desk.job.objective), "plan": text });
    let prompt = desk.asker.prompts.render("roles", &facts).map_err(bug)?;
    let check = |answer: RolesAnswer| Ok((check_roles(&answer, &plan.tasks)?, answer.strategy));
    let asked = with_glance(desk, "roles", async |cwd| {
        let _asking = early::begin(desk).await;
        let question = Question::new(SessionKind::Roles, Role::Planner, "roles", 1, cwd, prompt);
        let ((tasks, strategy), _) = desk.asker.ask(question, check, stop).await?;
        assign(desk, tasks, strategy)
    });
    asked.await
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

fn assign(desk: &Desk, tasks: Vec<Task>, strategy: String) -> Outcome<()> {
    let mut plan = desk.book.state(JobState::plan);
    plan.strategy.clone_from(&strategy);
    for task in &mut plan.tasks {
        if let Some(assigned) = tasks.iter().find(|t| t.id == task.id) {
            task.clone_from(assigned);
        }
    }
    desk.folder.write_plan(&plan).map_err(|e| bug(format!("cannot write the plan: {e}")))?;
    desk.record(None, Fact::RolesAssigned { plan: plan.number, tasks, strategy })
}

/// Looks at a snapshot of the tip; at the directory itself where there is no repository. A place has one snapshot at a time,
/// so that one which a dead worker left gives way to the next.
pub(super) async fn with_view<T>(
    desk: &Desk,
    place: &str,
    look: impl AsyncFnOnce(PathBuf) -> Outcome<T>,
) -> Outcome<T> {
    if desk.is_in_place()? {
        return look(desk.plain_cwd()?).await;
    }
    let tree = early::tree(desk, place, early::FIRST).await?;
    let found = look(tree.cwd()).await;
    // What was found is paid for: a snapshot that will not go is no reason to lose it.
    let _gives_way_to_the_next = with_trees(desk, move |trees| trees.remove(&tree)).await;
    found
}

/// Looks at what a planner sees: a snapshot, or the job's own fresh repository as long as there is nothing in it.
async fn with_glance<T>(
    desk: &Desk,
    place: &str,
    look: impl AsyncFnOnce(PathBuf) -> Outcome<T>,
) -> Outcome<T> {
    if is_still_empty(desk) {
        return look(desk.plain_cwd()?).await;
    }
    with_view(desk, place, look).await
}

/// Whether there is nothing to see yet: the job's own fresh repository, before the first landing. A tree of it would cost
/// time and show the same.
fn is_still_empty(desk: &Desk) -> bool {
    let at_base = |s: &JobState| s.workspace.as_ref().map(|w| &w.base) == s.tip.as_ref();
    desk.job.options.workspace.is_none() && desk.book.state(at_base)
}
