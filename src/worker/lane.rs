//! The lane of a task that writes: a fresh tree, the claim, its lease, the execution on the claim's own thread, the landing.
//!
//! An attempt is never gone on with after its worker died in the middle of a session: the next one starts in a new tree with
//! a new claim. One whose session had ended, over a limit or after its claim, is taken up where it was ([`super::parked`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::advancing;
use super::commands::{self, Run};
use super::desk::{Desk, Outcome, Stop, aside, bug, with_trees};
use super::early;
use super::enforcing;
use super::in_place;
use super::landing;
use super::leasing::{self, Case, HeldLease};
use super::parcel::Parcel;
use super::parked::{self, Claimed};
use super::{memory, words};
use crate::codex::Question;
use crate::leases::Lease;
use crate::logic::claims::{PathKind, normalise};
use crate::logic::task::TaskState;
use crate::model::claim::{Claim, ClaimAnswer, ClaimRecord, Execution};
use crate::model::event::{Fact, SessionKind};
use crate::model::id::TaskId;
use crate::model::job::Enforce;
use crate::model::outcome::FailureKind;
use crate::model::plan::Role;
use crate::trees::{self, Tree};

/// One attempt of a task.
struct Attempt<'a> {
    desk: &'a Arc<Desk>,
    task: &'a TaskState,
    number: u32,
    /// Its tree; `None` where agents work in the directory itself.
    tree: Option<Tree>,
    /// Where its agent works.
    cwd: PathBuf,
    stop: &'a Stop,
}

/// Runs one attempt of a task to its landing.
pub(super) async fn execute(desk: &Arc<Desk>, task: &TaskState, stop: &Stop) -> Outcome<()> {
    let (attempt, claimed) = match parked::take_up(desk, task).await? {
        Some((tree, claimed)) => (taken_up(desk, task, tree, stop), claimed),
        None => begun(desk, task, stop).await?,
    };
    let number = attempt.number;
    let lease = HeldLease::new(attempt.lease(&claimed).await?);
    let lane = desk.lanes.acquire().await;
    let worked = attempt.work(&claimed, &lease).await;
    drop(lane);
    clear_temps(desk, &task.task.id).await?;
    release(desk, &task.task.id, number, lease).await?;
    if let Some(tree) = worked? {
        landing::tidy(desk, tree, &task.task.id).await;
    }
    Ok(())
}

/// Temporary files outlive neither their attempt nor, since the next one clears first, the worker's death. A folder that
/// would not go is no reason to lose the work.
async fn clear_temps(desk: &Arc<Desk>, id: &TaskId) -> Outcome<()> {
    let place = desk.folder.place(id.as_str());
    let _stays_for_the_next = aside(move || trees::clear_temps(&place)).await?;
    Ok(())
}

/// A new attempt up to its claim; one that was cut off while it claimed goes on with that.
async fn begun<'a>(
    desk: &'a Arc<Desk>,
    task: &'a TaskState,
    stop: &'a Stop,
) -> Outcome<(Attempt<'a>, Claimed)> {
    let number = parked::attempt(desk, task);
    clear_temps(desk, &task.task.id).await?;
    let (tree, cwd) = ground(desk, task, number, stop).await?;
    let attempt = Attempt { desk, task, number, tree, cwd, stop };
    let claimed = attempt.claim().await?;
    Ok((attempt, claimed))
}

/// An attempt that had its claim before its job rested.
fn taken_up<'a>(
    desk: &'a Arc<Desk>,
    task: &'a TaskState,
    tree: Tree,
    stop: &'a Stop,
) -> Attempt<'a> {
    let (number, cwd) = (tree.attempt(), tree.cwd());
    Attempt { desk, task, number, tree: Some(tree), cwd, stop }
}

/// Where the attempt works: a tree of its own, or the directory itself.
async fn ground(
    desk: &Arc<Desk>,
    task: &TaskState,
    number: u32,
    stop: &Stop,
) -> Outcome<(Option<Tree>, PathBuf)> {
    if desk.is_in_place()? {
        let cwd = desk.plain_cwd()?;
        return Ok((None, cwd));
    }
    if number == task.attempt
        && let Some(tree) = parked::find_tree(desk, task, number).await?
    {
        let cwd = tree.cwd();
        return Ok((Some(tree), cwd));
    }
    let mut tree = early::tree(desk, task.task.id.as_str(), number).await?;
    if !desk.job.options.carry.is_empty() {
        let carry = desk.job.options.carry.clone();
        let carried = with_trees(desk, move |trees| {
            trees.carry(&mut tree, &carry)?;
            Ok(tree)
        });
        tree = carried.await?;
    }
    for command in &desk.job.options.setup {
        let run = Run { place: task.task.id.as_str(), name: "setup", cwd: &tree.cwd() };
        commands::must_pass(desk, run, command, stop).await?;
    }
    let cwd = tree.cwd();
    Ok((Some(tree), cwd))
}

impl Attempt<'_> {
    fn question(&self, kind: SessionKind, prompt: String) -> Question {
        let (id, cwd) = (&self.task.task.id, self.cwd.clone());
        Question::new(kind, Role::Executor, id.as_str(), self.number, cwd, prompt)
            .with_task(Some(id))
    }

    /// Asks what the task will touch, in the untouched tree.
    async fn claim(&self) -> Outcome<Claimed> {
        let id = &self.task.task.id;
        let prompts = &self.desk.asker.prompts;
        let mut facts = words::of_task(self.desk, self.task);
        facts["earlier"] = json!(memory::lessons(self.desk).await);
        facts["strict"] = json!(self.desk.job.options.enforce == Enforce::Strict);
        let prompt = prompts.render("claim", &facts).map_err(bug)?;
        let question = self.question(SessionKind::Claim, prompt);
        let kind = |path: &str| kind_in(self.tree.as_ref(), &self.cwd, path);
        let check = |answer| check_claim(answer, id, &kind);
        let asked = self.desk.asker.ask(question, check, self.stop).await;
        let ((claim, execution), reply) = asked?;
        let (attempt, thread_id) = (self.number, reply.thread.0.clone());
        let fact = Fact::ClaimRecorded { attempt, claim: claim.clone(), thread_id };
        self.desk.record(Some(id), fact)?;
        Ok(Claimed { claim, execution, thread: reply.thread, has_begun: false })
    }

    /// Waits for the lease of what was claimed; where agents share a directory, of the whole directory.
    async fn lease(&self, claimed: &Claimed) -> Outcome<Lease> {
        let record = ClaimRecord {
            task_id: self.task.task.id.clone(),
            attempt: self.number,
            resources: claimed.claim.clone(),
            execution: claimed.execution.clone(),
            verdicts: Vec::new(),
            amended: Vec::new(),
        };
        let whole = in_place::whole_directory();
        let claim = if self.tree.is_some() { &claimed.claim } else { &whole };
        let case = Case { task: &self.task.task.id, attempt: self.number, claim, record };
        leasing::acquire(self.desk, case, self.stop).await
    }

    /// The part that holds the lease; gives back the tree that is no longer needed.
    async fn work(self, claimed: &Claimed, lease: &HeldLease) -> Outcome<Option<Tree>> {
        match self.tree.clone() {
            Some(tree) => self.work_in_tree(tree, claimed, lease).await.map(Some),
            None => self.work_in_place(claimed).await.map(|()| None),
        }
    }

    async fn work_in_tree(self, tree: Tree, claimed: &Claimed, lease: &HeldLease) -> Outcome<Tree> {
        advancing::take_in(self.desk, &claimed.claim).await?;
        let (tree, changed) = if claimed.has_begun {
            parked::still_holds(self.desk, self.task, &tree, &claimed.claim).await?;
            (tree, Vec::new())
        } else {
            landing::move_to_tip(self.desk, tree).await?
        };
        let question = self.order(claimed, &changed).await?;
        let summary = match self.execution(question).await {
            Ok(summary) => summary,
            Err(failure) => {
                if failure.kind == FailureKind::Task {
                    landing::keep_patch(self.desk, tree, self.number, claimed.claim.clone())
                        .await?;
                }
                return Err(failure);
            }
        };
        let parcel = Parcel {
            task: self.task.clone(),
            attempt: self.number,
            tree: tree.clone(),
            claim: claimed.claim.clone(),
            lease: lease.clone(),
            summary,
        };
        landing::land(self.desk, parcel).await?;
        Ok(tree)
    }

    async fn work_in_place(self, claimed: &Claimed) -> Outcome<()> {
        let (desk, task, number) = (self.desk, self.task, self.number);
        // The copy waits for the disk; what the agent is asked is put together meanwhile.
        let copying = in_place::prepare(desk, task, number, &self.cwd, &claimed.claim);
        let (before, question) = tokio::join!(copying, self.order(claimed, &[]));
        let before = before?;
        let worked = match question {
            Ok(question) => self.execution(question).await,
            Err(failure) => Err(failure),
        };
        match worked {
            Ok(summary) => in_place::conclude(desk, task, number, before, summary).await,
            Err(failure) => {
                let (desk, id) = (desk.clone(), task.task.id.clone());
                aside(move || in_place::restore(&desk, &id, number)).await??;
                Err(failure)
            }
        }
    }

    /// What the agent is asked to do: what it claimed, on the thread that claimed it.
    async fn order(&self, claimed: &Claimed, changed: &[String]) -> Outcome<Question> {
        let id = &self.task.task.id;
        self.desk.record(Some(id), Fact::TaskStarted { attempt: self.number })?;
        let opened = enforcing::opened(self.desk, self.tree.as_ref(), &claimed.claim).await?;
        let mut facts = self.facts(claimed, changed);
        facts["enforced"] = json!(opened.as_ref().and_then(enforcing::words));
        let name = if claimed.has_begun { "continue" } else { "execute" };
        let prompt = self.desk.asker.prompts.render(name, &facts).map_err(bug)?;
        let question = self.question(SessionKind::Execute, prompt);
        Ok(question.with_thread(claimed.thread.clone()).with_opened(opened))
    }

    /// Lets the agent do it.
    async fn execution(&self, question: Question) -> Outcome<String> {
        let told = self.desk.asker.tell(question, self.stop).await;
        let reply = told.map_err(parked::lost_thread)?;
        Ok(words::summary(&reply.message))
    }

    fn facts(&self, claimed: &Claimed, changed: &[String]) -> Value {
        let mut facts = words::of_task(self.desk, self.task);
        facts["resources"] = json!(words::resources(&claimed.claim));
        facts["changed"] = json!((!changed.is_empty()).then(|| changed.join(" ")));
        facts
    }
}

fn kind_in(tree: Option<&Tree>, cwd: &Path, path: &str) -> PathKind {
    tree.map_or_else(|| trees::kind_below(cwd, path), |tree| tree.kind(path))
}

fn check_claim(
    answer: ClaimAnswer,
    id: &TaskId,
    kind: &dyn Fn(&str) -> PathKind,
) -> Result<(Claim, Execution), Vec<String>> {
    if TaskId::parse(&answer.task_id).ok().as_ref() != Some(id) {
        return Err(vec![format!("`task_id` must be \"{id}\", not {:?}", answer.task_id)]);
    }
    Ok((normalise(&answer.resources, kind)?, answer.execution))
}

async fn release(desk: &Desk, id: &TaskId, attempt: u32, lease: HeldLease) -> Outcome<()> {
    aside(move || lease.lock().release()).await?.map_err(|e| bug(e.to_string()))?;
    desk.record(Some(id), Fact::LocksReleased { attempt })
}
