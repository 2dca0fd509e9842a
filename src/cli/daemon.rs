//! `numerus daemon`: the watcher in the foreground.

use clap::Args;

use super::here::Here;
use super::seams;
use crate::daemon::Options;
use crate::error::{Exit, Failure};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// Take what is there, see it through, and end
    #[arg(long)]
    once: bool,
    /// Run at most this many jobs at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_jobs: Option<u16>,
    /// Stop the jobs too when the daemon is told to stop
    #[arg(long)]
    stop_jobs: bool,
}

/// Runs the daemon until it is told to stop or, with `--once`, has nothing left to do.
pub(super) fn run(here: &mut Here, asked: &Daemon) -> Result<Exit, Failure> {
    let Daemon { once, max_jobs, stop_jobs } = *asked;
    let options = Options { once, max_jobs: max_jobs.map(usize::from), stop_jobs, program: None };
    seams::daemon(&here.root, options)
}
