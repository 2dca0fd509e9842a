//! `numerus pause`: jobs rest until somebody lets them go on. What runs of them is interrupted, and begins anew then.

use std::time::Duration;

use clap::Args;

use super::follow::{Deadline, JournalTail, Wakes};
use super::here::Here;
use super::lookup::{self, Whereabouts};
use super::{retry, seams, several};
use crate::error::{Exit, Failure};
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::PauseReason;
use crate::runs::{RunFolder, Runs, Want};

/// How long the rest is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Pause {
    /// The jobs
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
}

/// Pauses.
pub(super) fn run(here: &mut Here, asked: &Pause) -> Result<Exit, Failure> {
    several::each(here, &asked.jobs, job)
}

/// Puts one job to rest, whether or not anything works on it; the answer says how that went.
pub(super) fn job(root: &Root, prefix: &str) -> Result<String, Failure> {
    let known = lookup::find_job(root, prefix)?;
    match &known.at {
        Whereabouts::Run => {}
        Whereabouts::Incoming(file) => seams::take_to_rest(root, file)?,
        Whereabouts::Ended(phase) => return Err(over(root, &known.job, phase.as_str())),
        Whereabouts::Rejected(_) => return Err(over(root, &known.job, "rejected")),
    }
    let folder = Runs::of(root).folder(&known.job);
    of_run(root, &folder)
}

/// What is said of a job that has ended, where one was wanted that has not.
pub(super) fn over(root: &Root, job: &JobId, how: &str) -> Failure {
    Failure::new(Exit::Blocked, format!("{job} has ended already ({how})"))
        .hint(retry::again(root, job, how))
}

fn of_run(root: &Root, folder: &RunFolder) -> Result<String, Failure> {
    let (mut wakes, mut tail) = (Wakes::new(), JournalTail::new(folder.clone()));
    tail.read()?;
    if tail.state().phase.is_final() {
        return Err(over(root, folder.job(), tail.state().phase.as_str()));
    }
    seams::wish_of_taken(root, folder, Want::Paused)?;
    let (deadline, mut nudged) = (Deadline::after(PATIENCE), false);
    loop {
        wakes.add(folder.dir());
        let held = folder.may_be_held();
        tail.read()?;
        if tail.state().phase.is_final() {
            return Err(over(root, folder.job(), tail.state().phase.as_str()));
        }
        if !held && (is_at_rest(tail.state()) || seams::rest(root, folder)?) {
            return Ok(said(folder.job()));
        }
        if held && !nudged {
            nudged = seams::nudge_worker(folder)?;
        }
        let Some(left) = deadline.left() else { break };
        wakes.next_within(left);
    }
    let job = folder.job();
    Err(Failure::new(Exit::Blocked, format!("{job} was asked to rest and does not yet"))
        .hint(format!("numerus status {job} tells when it does")))
}

fn is_at_rest(state: &JobState) -> bool {
    state.pause == Some(PauseReason::User)
}

fn said(job: &JobId) -> String {
    format!("{job}: paused; numerus resume {job} lets it go on")
}
