//! `numerus open`: a job's report, or the overview of all jobs, in the user's browser; its path where there is none.

use std::path::PathBuf;

use clap::Args;

use super::here::Here;
use super::lookup::{self, Whereabouts};
use super::seams;
use crate::error::{Exit, Failure};
use crate::model::root::Root;
use crate::runs::Runs;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Open {
    /// Show this job; without one, all of them
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Print the path of the page instead of opening it
    #[arg(long)]
    print: bool,
}

/// Makes the page fresh and shows it.
pub(super) fn run(here: &mut Here, asked: &Open) -> Result<Exit, Failure> {
    let path = match &asked.job {
        Some(prefix) => of_job(&here.root, prefix)?,
        None => seams::overview(&here.root)?,
    };
    if !asked.print && seams::open_page(&path, true) {
        return Ok(Exit::Done);
    }
    if !asked.print {
        here.out.note("no browser could be started, this is the page:");
    }
    here.out.line(&path.display().to_string())?;
    Ok(Exit::Done)
}

/// Shows a job's page where the terminal is somebody else's; the answer says how that went.
pub(super) fn aside(root: &Root, prefix: &str) -> Result<String, Failure> {
    let path = of_job(root, prefix)?;
    let how = if seams::open_page(&path, false) { "shown" } else { "no browser could be started" };
    Ok(format!("{how}: {}", path.display()))
}

fn of_job(root: &Root, prefix: &str) -> Result<PathBuf, Failure> {
    let known = lookup::find_job(root, prefix)?;
    there_is_one(&known)?;
    seams::report(&Runs::of(root).folder(&known.job))
}

/// Only a job with a run folder has a report.
fn there_is_one(known: &lookup::Known) -> Result<(), Failure> {
    let job = &known.job;
    match &known.at {
        Whereabouts::Run => Ok(()),
        Whereabouts::Incoming(_) => {
            Err(Failure::new(Exit::Blocked, format!("{job} has no report: it waits to be taken"))
                .hint("a daemon takes it"))
        }
        Whereabouts::Ended(phase) => {
            let why =
                format!("{job} has no report: it {}, and its run folder is gone", phase.as_str());
            Err(Failure::new(Exit::Unknown, why))
        }
        Whereabouts::Rejected(reason) => {
            Err(Failure::new(Exit::Usage, format!("{job} has no report: it was rejected"))
                .hint(format!("the reason is in {}", reason.display())))
        }
    }
}
