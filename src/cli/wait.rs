//! `numerus wait`: ends when the jobs have, with the worst of their codes.

use clap::Args;

use super::follow::{self, End, JournalTail, Onlooker, Patience, Silent, Wakes};
use super::here::Here;
use super::{idle, lookup};
use crate::error::{Exit, Failure};
use crate::logic::idle::Idle;
use crate::model::id::JobId;
use crate::runs::Runs;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// The jobs, each by any unique piece of the front of its id
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
}

/// Waits.
pub(super) fn run(here: &mut Here, asked: &Wait) -> Result<Exit, Failure> {
    let find = |prefix: &String| Ok(lookup::find_job(&here.root, prefix)?.job);
    let jobs = asked.jobs.iter().map(find).collect::<Result<Vec<_>, Failure>>()?;
    for job in &jobs {
        if idle::tell_untaken(here, job) || idle::tell_left(here, job)? {
            break;
        }
    }
    for_jobs(here, &jobs, &mut Silent)
}

/// Waits for each, and says on stderr how it ended.
pub(super) fn for_jobs(
    here: &mut Here,
    jobs: &[JobId],
    onlooker: &mut dyn Onlooker,
) -> Result<Exit, Failure> {
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let mut worst = Exit::Done;
    for job in jobs {
        let mut tail = JournalTail::new(Runs::of(&here.root).folder(job));
        let patience = Patience::UntilPersonNeeded;
        let end = follow::job(here, &mut wakes, &mut tail, patience, onlooker)?;
        here.out.note(&said(job, &end));
        if let End::Signal(_) = end {
            return Ok(end.exit());
        }
        worst = worst.worst(end.exit());
    }
    Ok(worst)
}

/// How following ended, in words.
pub(super) fn said(job: &JobId, end: &End) -> String {
    match end {
        End::Job(phase) => format!("{job}: {}", phase.as_str()),
        End::Paused(reason, message) => format!("{job}: paused ({}): {message}", reason.as_str()),
        End::NoWorker => {
            let command = Idle::Left.command(job).unwrap_or_default();
            format!(
                "{job}: its worker ended without a result; what landed stays, and a daemon starts another worker: \
                 without one, {command}"
            )
        }
        End::Rejected(why) => format!("{job}: rejected: {why}"),
        End::Signal(_) => {
            format!("{job}: only this command has ended; numerus status {job} shows the job")
        }
        End::Kill => format!("{job}: asked to end; numerus status {job} shows what came of it"),
        End::Detached => format!(
            "{job}: goes on without this command; numerus logs {job} -f follows it, numerus kill {job} ends it"
        ),
    }
}
