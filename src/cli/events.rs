//! `numerus events`: the facts of one job or of all of them, as lines for people or as they are.

use clap::Args;

use super::follow::{Journals, Wake, Wakes};
use super::here::Here;
use super::{lookup, story};
use crate::bus::pattern_matches;
use crate::error::{Exit, Failure};
use crate::model::event::Event;
use crate::model::id::JobId;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Show this job's events only
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Go on as events happen
    #[arg(short, long)]
    follow: bool,
    /// Print the events as they are on disk, one JSON object a line
    #[arg(long)]
    json: bool,
    /// Show events of this name only; a `*` at its end stands for anything, as in job.task_*
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
}

/// Shows what has happened, and with `--follow` what does.
pub(super) fn run(here: &mut Here, asked: &Events) -> Result<Exit, Failure> {
    if let Some(pattern) = &asked.pattern {
        checked(pattern)?;
    }
    let job = match &asked.job {
        Some(prefix) => Some(lookup::find(&here.root, prefix)?.job),
        None => None,
    };
    let mut wakes = Wakes::new();
    wakes.add(&here.root.runs());
    let mut journals = match &job {
        Some(job) => Journals::of_one(&here.root, job),
        None => Journals::of(&here.root, !asked.follow)?,
    };
    loop {
        for event in journals.read(&mut wakes)? {
            show(here, asked, job.as_ref(), &event)?;
        }
        let over = job.as_ref().is_some_and(|_| journals.all_ended());
        if !asked.follow || over {
            return Ok(Exit::Done);
        }
        if let Wake::Signal(signal) = wakes.next() {
            return Ok(Exit::Signal(signal));
        }
    }
}

fn show(
    here: &mut Here,
    asked: &Events,
    job: Option<&JobId>,
    event: &Event,
) -> Result<(), Failure> {
    if !asked.pattern.as_ref().is_none_or(|p| pattern_matches(p, &event.fact.name())) {
        return Ok(());
    }
    if asked.json {
        return here.out.json(&serde_json::to_string(event).unwrap_or_default());
    }
    let line = story::line(event, job.is_none(), &here.view);
    here.out.line(&line)
}

/// Refuses a pattern that would never fit.
fn checked(pattern: &str) -> Result<(), Failure> {
    let front = pattern.strip_suffix('*').unwrap_or(pattern);
    if !front.contains('*') {
        return Ok(());
    }
    Err(Failure::usage(format!("the pattern {pattern:?} has a * that is not at its end"))
        .hint("write a name, or its beginning and *, as in job.task_*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_at_the_end_only() {
        for (pattern, good) in
            [("job.*", true), ("*", true), ("job.claimed", true), ("*.exit", false), ("a**", false)]
        {
            assert_eq!(checked(pattern).is_ok(), good, "{pattern}");
        }
    }
}
