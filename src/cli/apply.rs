//! `numerus apply`: the result of a job into the user's own checkout, or what to do where that is not possible.

use std::fmt::Write as _;

use clap::Args;

use super::here::Here;
use super::lookup::{self, Whereabouts};
use super::story::listed;
use super::{seams, snapshot};
use crate::error::{Exit, Failure};
use crate::logic::state::JobState;
use crate::logic::take;
use crate::logic::words::plural;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::model::workspace::{Isolation, Workspace};
use crate::os::console::one_line;
use crate::runs::Runs;
use crate::trees::{Checkout, Outlook};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    /// Only say what would come of it
    #[arg(long)]
    check: bool,
}

/// Applies.
pub(super) fn run(here: &mut Here, asked: &Apply) -> Result<Exit, Failure> {
    let message = job(&here.root, &asked.job, asked.check)?;
    here.out.line(&message)?;
    Ok(Exit::Done)
}

/// Applies one job's result; the answer says what came of it.
pub(super) fn job(root: &Root, prefix: &str, only_check: bool) -> Result<String, Failure> {
    let known = lookup::find(root, prefix)?;
    let (job, folder) = (&known.job, Runs::of(root).folder(&known.job));
    if known.at != Whereabouts::Run {
        return Err(no_result(job, "has no run folder"));
    }
    let state = JobState::replay(&snapshot::replay(&folder)?.events);
    let Some(workspace) = &state.workspace else { return Err(no_result(job, "has not begun")) };
    if workspace.isolation == Isolation::InPlace {
        return Ok(format!("{job}: worked in {} itself: it is all there", workspace.top));
    }
    let Some(branch) = &state.branch else {
        let why = if state.phase.is_final() { "changed no file" } else { "has not ended" };
        return Err(no_result(job, why));
    };
    if folder.is_own(&workspace.top) {
        let take = take::command(job, branch, &workspace.top, true);
        return Err(Failure::new(
            Exit::Blocked,
            format!("{job} has a repository of its own: nothing is brought anywhere"),
        )
        .hint(format!("{take} makes a checkout of it")));
    }
    let to = Target { job, branch, workspace };
    let checkout = Checkout::of(workspace);
    let commit = seams::of_trees(checkout.commit(&format!("refs/heads/{branch}")))?;
    let commit = commit.ok_or_else(|| to.thrown_away(&state))?;
    let outlook = seams::of_trees(checkout.look(&commit))?;
    let current = seams::of_trees(checkout.branch())?.unwrap_or_default();
    let how = to.judged(&outlook, &current)?;
    if outlook == Outlook::Contained {
        return Ok(format!("{job}: {how}"));
    }
    let notes = notes(root, &checkout, &commit, job, &state)?;
    if only_check {
        return Ok(format!("{job}: {how}{notes}"));
    }
    let message = format!("Merge branch '{branch}' into {current}\n\nNumerus-Job: {job}\n");
    match seams::of_trees(seams::bring(&checkout, &outlook, &message))? {
        Ok(()) => Ok(format!("{job}: {}{notes}", to.done(&outlook, &current))),
        Err(why) => {
            Err(Failure::new(Exit::Blocked, format!("git does not bring {branch} in: {why}")).hint(
                format!("nothing was changed; git -C {} merge {branch} tells more", workspace.top),
            ))
        }
    }
}

/// What whoever applies a result should know: whose commits come along, and that the job did not end well.
fn notes(
    root: &Root,
    checkout: &Checkout,
    commit: &str,
    job: &JobId,
    state: &JobState,
) -> Result<String, Failure> {
    let mut brought = seams::of_trees(checkout.brings(commit))?;
    brought.remove(job);
    let mut notes = String::new();
    for (other, commits) in brought {
        let state = how_it_stands(root, &other).map(|how| format!(" ({how})"));
        let state = state.unwrap_or_default();
        let _ = write!(notes, "\n  brings {} of {other}{state}", plural(commits, "commit"));
    }
    if matches!(state.phase, JobPhase::Failed | JobPhase::Killed) {
        let message = one_line(&state.standing.message);
        let _ = write!(notes, "\n  note that {job} itself {}: {message}", ended_as(state.phase));
    } else if state.verified == Some(false) {
        notes.push_str("\n  note that its verify commands did not pass");
    }
    Ok(notes)
}

/// How the job stands whose commits come along, where that can be read.
fn how_it_stands(root: &Root, job: &JobId) -> Option<&'static str> {
    let folder = Runs::of(root).folder(job);
    if !folder.dir().exists() {
        return Some("not in this root");
    }
    let replay = snapshot::replay(&folder).ok()?;
    Some(JobState::replay(&replay.events).phase.as_str())
}

fn ended_as(phase: JobPhase) -> &'static str {
    if phase == JobPhase::Killed { "was killed" } else { "failed" }
}

fn no_result(job: &JobId, why: &str) -> Failure {
    Failure::new(Exit::Blocked, format!("{job} has no branch to apply: it {why}"))
        .hint(format!("numerus status {job} shows where it stands"))
}

/// What is to be brought where.
struct Target<'a> {
    job: &'a JobId,
    branch: &'a str,
    workspace: &'a Workspace,
}

impl Target<'_> {
    /// What is possible, in words.
    ///
    /// # Errors
    /// Where nothing is, with what to do.
    fn judged(&self, outlook: &Outlook, current: &str) -> Result<String, Failure> {
        let Self { job, branch, workspace } = self;
        let top = &workspace.top;
        let blocked = |message: String, hint: String| {
            Err(Failure::new(Exit::Blocked, message)
                .hint(hint)
                .hint(format!("nothing was changed in {top}")))
        };
        match outlook {
            Outlook::Contained => Ok(format!("{branch} is part of {current} already")),
            Outlook::Forward { .. } => {
                Ok(format!("{branch} can be applied to {current} in {top}: a fast forward"))
            }
            Outlook::Merge { .. } => {
                Ok(format!("{branch} can be applied to {current} in {top}: a merge"))
            }
            Outlook::Dirty(paths) => blocked(
                format!("{top} has changes that are not committed: {}", listed(paths)),
                format!("commit them or put them away (git stash), then numerus apply {job}"),
            ),
            Outlook::Conflicts(paths) => blocked(
                format!("{branch} conflicts with {current} in {}", listed(paths)),
                format!("git -C {top} merge {branch} lets you resolve it"),
            ),
            Outlook::UnderWay(what) => blocked(
                format!("{what} is under way in {top}"),
                format!("end it, then numerus apply {job}"),
            ),
            Outlook::Detached => blocked(
                format!("no branch is checked out in {top}"),
                format!("git switch BRANCH there, then numerus apply {job}"),
            ),
            Outlook::InTheWay(paths) => blocked(
                format!(
                    "{branch} would replace what git does not know in {top}: {}",
                    listed(paths)
                ),
                format!("move it away, then numerus apply {job}"),
            ),
            Outlook::Filtered(path, filter) => blocked(
                format!(
                    "{path} would go through the filter {filter:?}, a program of yours, as files of {branch} say"
                ),
                format!("look at git diff {current}...{branch}, then git -C {top} merge {branch}"),
            ),
        }
    }

    fn done(&self, outlook: &Outlook, current: &str) -> String {
        let how = match outlook {
            Outlook::Merge { .. } => "merged into",
            _ => "applied to",
        };
        format!("{} is {how} {current} in {}", self.branch, self.workspace.top)
    }

    fn thrown_away(&self, state: &JobState) -> Failure {
        let Self { job, branch, workspace } = self;
        let tip = state.tip.as_deref().unwrap_or_default();
        Failure::new(Exit::Blocked, format!("the branch {branch} is not there any more")).hint(
            format!(
                "git -C {} branch {branch} {tip} brings it back; then numerus apply {job}",
                workspace.top
            ),
        )
    }
}
