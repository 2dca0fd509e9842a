//! `numerus memory forget`: takes what a job taught out of the memory, so that no later job is told of it.

use clap::{Args, Subcommand};

use super::here::Here;
use super::{lookup, seams};
use crate::error::{Exit, Failure};
use crate::model::id::JobId;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Memory {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Forget a job for good, also when the memory is made anew
    Forget {
        /// The job; its whole id if its run folder is gone
        job: String,
    },
}

/// Changes the memory.
pub(super) fn run(here: &mut Here, asked: &Memory) -> Result<Exit, Failure> {
    let What::Forget { job } = &asked.what;
    let job = match lookup::find(&here.root, job) {
        Ok(known) => known.job,
        Err(unknown) => JobId::parse(job).map_err(|_| unknown)?,
    };
    if !seams::forget(&here.root, &job)? {
        return Err(Failure::new(Exit::Unknown, format!("nothing is remembered of {job}")));
    }
    here.out.line(&format!("{job}: forgotten"))?;
    Ok(Exit::Done)
}
