//! `numerus events`: the facts of one job or of all of them, as lines for people or as they are.

use clap::Args;
use jiff::Timestamp;

use super::follow::{Journals, Wake, Wakes};
use super::here::Here;
use super::{lookup, story};
use crate::bus::pattern_matches;
use crate::error::{Exit, Failure};
use crate::model::duration;
use crate::model::event::{Event, NAMES};
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
    /// Leave out what was before: a time, a span such as 2h, or with a job the number of the last event that is known
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

/// Where the reader goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// After the event of this number.
    Seq(u64),
    /// At this moment.
    Time(Timestamp),
}

impl Since {
    /// Reads the words of `--since`.
    fn read(text: &str, has_job: bool, now: Timestamp) -> Result<Self, Failure> {
        if let Ok(seq) = text.parse() {
            let without_job = || {
                Failure::usage(
                    "each job numbers its own events: --since takes a number with a JOB only",
                )
                .hint("name a time, such as --since 2h, or a job")
            };
            return has_job.then_some(Self::Seq(seq)).ok_or_else(without_job);
        }
        let ago = duration::parse(text).and_then(|span| now.checked_sub(span).ok());
        let time = ago.or_else(|| text.parse().ok()).map(Self::Time);
        time.ok_or_else(|| {
            Failure::usage(format!("--since {text:?} is no time"))
                .hint("write a moment such as 2026-01-31T12:00:00Z, a span such as 2h, or the number of an event")
        })
    }

    fn lets_pass(self, event: &Event) -> bool {
        match self {
            Self::Seq(seq) => event.seq > seq,
            Self::Time(time) => event.ts >= time,
        }
    }
}

/// Shows what has happened, and with `--follow` what does.
pub(super) fn run(here: &mut Here, asked: &Events) -> Result<Exit, Failure> {
    if let Some(pattern) = &asked.pattern {
        checked(pattern)?;
    }
    let job = match &asked.job {
        Some(prefix) => Some(lookup::find_job(&here.root, prefix)?.job),
        None => None,
    };
    let since = asked.since.as_deref().map(|s| Since::read(s, job.is_some(), here.view.now));
    let since = since.transpose()?;
    let mut wakes = Wakes::new();
    let mut journals = match &job {
        Some(job) => Journals::of_one(&here.root, job),
        // Whoever goes on from somewhere wants to know of those that have ended since, too.
        None => Journals::of(&here.root, !asked.follow || since.is_some())?,
    };
    loop {
        let events = journals.read(&mut wakes)?;
        for event in events.into_iter().filter(|e| since.is_none_or(|since| since.lets_pass(e))) {
            show(here, asked, job.as_ref(), &event)?;
        }
        if !asked.follow || (job.is_some() && journals.is_over()?) {
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
    if front.contains('*') {
        return Err(Failure::usage(format!(
            "the pattern {pattern:?} has a * that is not at its end"
        ))
        .hint("write a name, or its beginning and *, as in job.task_*"));
    }
    if NAMES.iter().any(|name| pattern_matches(pattern, name)) {
        return Ok(());
    }
    let distance =
        |name: &&&str| strsim::damerau_levenshtein(&cut_like(name, front, pattern), front);
    let near = NAMES.iter().min_by_key(distance).copied().unwrap_or_default();
    let near = cut_like(near, front, pattern);
    let star = if pattern.ends_with('*') { "*" } else { "" };
    let is_like = strsim::damerau_levenshtein(&near, front) * 2 <= front.chars().count();
    let refused = Failure::usage(format!("no event is called {pattern:?}"));
    Err(if is_like {
        refused.hint(format!("did you mean {near}{star}? docs/protocol.md lists all events"))
    } else {
        refused.hint("docs/protocol.md lists all events, such as job.finished; job.* fits many")
    })
}

/// As much of a name as a pattern says of it.
fn cut_like(name: &str, front: &str, pattern: &str) -> String {
    let chars = if pattern.ends_with('*') { front.chars().count() } else { usize::MAX };
    name.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_at_the_end_only() {
        for (pattern, good) in [
            ("job.*", true),
            ("*", true),
            ("job.claimed", true),
            ("*.exit", false),
            ("job**", false),
        ] {
            assert_eq!(checked(pattern).is_ok(), good, "{pattern}");
        }
    }

    #[test]
    fn a_name_that_no_event_has_is_refused_with_the_nearest_one() {
        for (pattern, near) in [
            ("job.finshed", "job.finished?"),
            ("finished", "job.finished?"),
            ("terminal.exited", "terminal.exit?"),
            ("jbo.*", "job.*?"),
            ("job.tsak_*", "job.task_*?"),
        ] {
            let refused = checked(pattern).expect_err(pattern);
            let expected = format!("did you mean {near} docs/protocol.md lists all events");
            assert_eq!(refused.hints, [expected], "{pattern}");
        }
    }

    #[test]
    fn what_is_like_no_event_gets_no_guess() {
        for pattern in ["bogus*", "bogus", "x*"] {
            let refused = checked(pattern).expect_err(pattern);
            assert!(refused.hints[0].starts_with("docs/protocol.md lists"), "{:?}", refused.hints);
        }
    }

    #[test]
    fn a_reader_goes_on_by_number_or_by_time() {
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().expect("time");
        let hour_ago = Since::Time("2026-03-04T04:06:07Z".parse().expect("time"));
        let midnight = Since::Time("2026-03-04T00:00:00Z".parse().expect("time"));
        for (text, has_job, expected) in [
            ("12", true, Some(Since::Seq(12))),
            ("12", false, None),
            ("1h", false, Some(hour_ago)),
            ("2026-03-04T00:00:00Z", true, Some(midnight)),
            ("yesterday", true, None),
            ("-1", true, None),
            ("", true, None),
        ] {
            assert_eq!(Since::read(text, has_job, now).ok(), expected, "{text:?}");
        }
    }
}
