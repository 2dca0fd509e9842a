//! `numerus resume`: what rests goes on, by a daemon. It works on nothing itself.

use clap::Args;

use super::here::Here;
use super::lookup::{self, Whereabouts};
use super::{pause, seams, several, snapshot};
use crate::error::{Exit, Failure};
use crate::logic::idle::Idle;
use crate::logic::revise;
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::PauseReason;
use crate::runs::{RunFolder, Runs, Want};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The jobs
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
}

/// Resumes.
pub(super) fn run(here: &mut Here, asked: &Resume) -> Result<Exit, Failure> {
    several::each(here, &asked.jobs, job)
}

/// Lets one job go on; the answer says who goes on with it.
pub(super) fn job(root: &Root, prefix: &str) -> Result<String, Failure> {
    let known = lookup::find_job(root, prefix)?;
    match &known.at {
        Whereabouts::Run => {}
        Whereabouts::Incoming(_) => return Ok(format!("{}: is not paused", known.job)),
        Whereabouts::Ended(phase) => return Err(pause::over(root, &known.job, phase.as_str())),
        Whereabouts::Rejected(_) => return Err(pause::over(root, &known.job, "rejected")),
    }
    let folder = Runs::of(root).folder(&known.job);
    seams::see_taken(root, &folder)?;
    let state = JobState::replay(&snapshot::replay(&folder)?.events);
    if state.phase.is_final() {
        return Err(pause::over(root, &known.job, state.phase.as_str()));
    }
    let is_held_back = folder.wants(Want::Paused);
    match state.pause {
        Some(PauseReason::Approval) if !is_held_back => Err(waits_for_approval(&known.job)),
        // Whoever worked on it has gone, or a go was said to its plan: it goes on already, by whom it can.
        None if !is_held_back && is_left(&folder, &state)? => Ok(goes_on(root, &folder, &state)),
        None if !is_held_back => {
            Ok(format!("{}: is not paused ({})", known.job, state.phase.as_str()))
        }
        reason => {
            if matches!(reason, Some(PauseReason::Limit | PauseReason::Auth)) {
                seams::lift_holds(root, &folder)?;
            }
            seams::go_on(root, &folder)?;
            Ok(goes_on(root, &folder, &state))
        }
    }
}

fn is_left(folder: &RunFolder, state: &JobState) -> Result<bool, Failure> {
    let held = folder.is_held().map_err(|e| Failure::system("look at the worker's lock", &e))?;
    Ok(Idle::of(state.phase, state.pause, held) == Some(Idle::Left))
}

/// What a job does that is held back no more.
fn goes_on(root: &Root, folder: &RunFolder, state: &JobState) -> String {
    let job = folder.job();
    if needs_go(folder, state) {
        format!("{job}: is held back no more; numerus start {job} shows its plan and asks")
    } else {
        said(root, job)
    }
}

/// Whether its plan waits for a person's word, whatever else it was put to rest for.
pub(super) fn needs_go(folder: &RunFolder, state: &JobState) -> bool {
    let accepted = folder.read_job().ok().flatten();
    let asks = accepted.is_some_and(|job| job.options.approve) || folder.wants(Want::Asked);
    asks && revise::needs_go(state)
}

fn waits_for_approval(job: &JobId) -> Failure {
    Failure::new(Exit::Blocked, format!("{job} waits for a person's word on its plan"))
        .hint(format!("numerus start {job} shows the plan and asks"))
}

/// Who goes on with a job that may.
pub(super) fn said(root: &Root, job: &JobId) -> String {
    if seams::has_daemon(root) {
        format!("{job}: goes on")
    } else {
        format!("{job}: goes on with the next daemon, or at once by numerus start {job}")
    }
}
