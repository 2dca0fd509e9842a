//! `numerus memory`: searches what ended jobs left, shows what is remembered of one, and takes one out for good.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::fold;
use super::here::{Here, View};
use super::ink::Tone;
use super::render::{age, job_tone};
use super::table::{Cell, table};
use super::{lookup, seams};
use crate::error::{Exit, Failure};
use crate::model::id::JobId;
use crate::model::memory::Entry;
use crate::os::console::{neutral, one_line};
use crate::store::memory::Found;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Memory {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Find the ended jobs that share most words with a text
    #[command(after_help = "Example:\n  numerus memory search login redirect\n  \
                            numerus memory search parser --workspace . --json")]
    Search(Search),
    /// Show what is remembered of a job
    Show {
        /// The job; its whole id if its run folder is gone
        job: String,
        /// Print the entry as it is on disk
        #[arg(long)]
        json: bool,
    },
    /// Forget a job for good, also when the memory is made anew
    Forget {
        /// The job; its whole id if its run folder is gone
        job: String,
    },
}

#[derive(Debug, Args)]
struct Search {
    /// Look for any of these words, in objectives, plans, paths and outcomes
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// Search the jobs of this workspace only
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print one JSON object a line, the best first
    #[arg(long)]
    json: bool,
}

/// Reads or changes the memory.
pub(super) fn run(here: &mut Here, asked: &Memory) -> Result<Exit, Failure> {
    match &asked.what {
        What::Search(asked) => search(here, asked),
        What::Show { job, json } => show(here, &named(here, job)?, *json),
        What::Forget { job } => forget(here, &named(here, job)?),
    }
}

/// The job that is meant: one may be remembered whose folder is gone.
fn named(here: &Here, job: &str) -> Result<JobId, Failure> {
    match lookup::find(&here.root, job) {
        Ok(known) => Ok(known.job),
        Err(unknown) => match lookup::removed(&here.root, job) {
            Some(removed) => Ok(removed),
            None => JobId::parse(job).map_err(|_| unknown),
        },
    }
}

fn nothing_of(job: &JobId) -> Failure {
    Failure::new(Exit::Unknown, format!("nothing is remembered of {job}"))
        .hint("numerus memory search TEXT finds what is remembered")
}

fn search(here: &mut Here, asked: &Search) -> Result<Exit, Failure> {
    let bank = asked.workspace.as_deref().map(seams::bank_of).transpose()?;
    let text = asked.text.join(" ");
    let limit = asked.limit;
    let found = seams::memory(&here.root, |memory| memory.search(&text, bank.as_deref(), limit))?;
    if found.is_empty() {
        here.out.note("nothing that is remembered has any of these words");
    } else if asked.json {
        for one in &found {
            here.out.json(&hit(one))?;
        }
    } else {
        here.out.text(&listed(&found, &here.view))?;
    }
    Ok(Exit::Done)
}

/// A found entry for programs: the entry itself, with what fits best.
fn hit(found: &Found) -> String {
    let mut entry = serde_json::to_value(&found.entry).unwrap_or_default();
    entry["snippet"] = json!(found.snippet);
    entry.to_string()
}

fn listed(found: &[Found], view: &View) -> String {
    let cells = |Found { entry, snippet }: &Found| {
        vec![
            Cell::from(entry.job_id.as_str()),
            Cell::toned(entry.outcome.as_str(), job_tone(entry.outcome)),
            Cell::from(age(entry.at, view.now)),
            Cell::from(one_line(snippet)),
        ]
    };
    let rows: Vec<Vec<Cell>> = found.iter().map(cells).collect();
    table(&["JOB", "OUTCOME", "AGE", "TEXT"], &rows, view.width, view.ink)
}

fn show(here: &mut Here, job: &JobId, as_json: bool) -> Result<Exit, Failure> {
    let found = seams::memory(&here.root, |memory| memory.find(job))?;
    let entry = found.ok_or_else(|| nothing_of(job))?;
    if as_json {
        here.out.json(&serde_json::to_string(&entry).unwrap_or_default())?;
    } else {
        here.out.text(&told(&entry, &here.view))?;
    }
    Ok(Exit::Done)
}

/// An entry for people.
fn told(entry: &Entry, view: &View) -> String {
    let mut text = String::new();
    let mut fact = |name: &str, value: &str, tone: Tone| {
        text.push_str(&fold::fact(name, value, tone, view));
    };
    let share =
        |share: Option<f64>| share.map(|s| format!("{:.0} %", s * 100.0)).unwrap_or_default();
    fact("job", entry.job_id.as_str(), Tone::Strong);
    fact("outcome", entry.outcome.as_str(), job_tone(entry.outcome));
    let ended = format!("{}, {} ago", view.moment(entry.at), age(entry.at, view.now));
    fact("ended", &ended, Tone::Plain);
    fact("workspace", &one_line(&entry.bank), Tone::Plain);
    fact("precision", &share(entry.claim_precision), Tone::Plain);
    fact("recall", &share(entry.claim_recall), Tone::Plain);
    let _ = write!(text, "\nobjective\n{}", indented(entry.objective.lines()));
    for (name, lines) in [
        ("plan", entry.plan.lines().collect()),
        ("claimed", paths(&entry.claims)),
        ("wrote", paths(&entry.wrote)),
        ("written without a claim", paths(&entry.missed)),
    ] {
        let lines: Vec<&str> = lines;
        if !lines.is_empty() {
            let _ = write!(text, "\n{name}\n{}", indented(lines.into_iter()));
        }
    }
    text
}

fn paths(paths: &[String]) -> Vec<&str> {
    paths.iter().map(|path| if path.is_empty() { "./" } else { path.as_str() }).collect()
}

fn indented<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.fold(String::new(), |text, line| text + "  " + &neutral(line) + "\n")
}

fn forget(here: &mut Here, job: &JobId) -> Result<Exit, Failure> {
    if !seams::forget(&here.root, job)? {
        return Err(nothing_of(job));
    }
    here.out.line(&format!("{job}: forgotten"))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::JobPhase;

    fn entry() -> Entry {
        Entry {
            version: 1,
            job_id: JobId::parse("fix-it-abc234").expect("id"),
            bank: "/srv/shop".into(),
            at: "2026-03-04T05:06:07Z".parse().expect("time"),
            objective: "Fix the\u{1b}[2J login\nand more".into(),
            plan: "one\ntwo".into(),
            claims: vec![String::new(), "src/a.rs".into()],
            outcome: JobPhase::Failed,
            claim_precision: Some(0.5),
            claim_recall: None,
            missed: vec!["b.rs".into()],
            wrote: Vec::new(),
        }
    }

    #[test]
    fn an_entry_is_told_whole_and_harmless() {
        let view = View::plain(80, "2026-03-04T07:06:07Z");
        let expected = "job        fix-it-abc234\noutcome    failed\nended      05:06, 2h ago\n\
                        workspace  /srv/shop\nprecision  50 %\n\nobjective\n  Fix the\\x1b[2J login\n  and more\n\
                        \nplan\n  one\n  two\n\nclaimed\n  ./\n  src/a.rs\n\nwritten without a claim\n  b.rs\n";
        assert_eq!(told(&entry(), &view), expected);
    }

    #[test]
    fn hits_fit_a_narrow_terminal_and_keep_their_order() {
        let found = |id: &str| {
            let job_id = JobId::parse(id).expect("id");
            let snippet = "…of the login page\nthat nobody can see any more…".to_owned();
            Found { entry: Entry { job_id, ..entry() }, snippet }
        };
        let text = listed(
            &[found("b-abc234"), found("a-abc234")],
            &View::plain(40, "2026-03-05T05:06:07Z"),
        );
        let expected = "JOB       OUTCOME  AGE  TEXT\n\
                        b-abc234  failed   1d   …of the login p…\n\
                        a-abc234  failed   1d   …of the login p…\n";
        assert_eq!(text, expected);
    }
}
