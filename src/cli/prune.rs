//! `numerus prune`: removes jobs that have ended, after a look at what goes, and with a copy of what matters.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::follow::Wakes;
use super::here::Here;
use super::needed::Needs;
use super::render::age;
use super::table::{Cell, table};
use super::{seams, snapshot};
use crate::error::{Exit, Failure};
use crate::logic::prune::{Ended, Fate, Rule, Standing, decide};
use crate::logic::state::JobState;
use crate::logic::words;
use crate::model::duration;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::os::console::{is_terminal, one_line};
use crate::os::fsx;
use crate::runs::Runs;
use crate::spool::{Place, Spool};
use crate::trees;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Remove jobs that ended longer ago than this, such as 30d
    #[arg(long, value_name = "TIME", value_parser = span)]
    older_than: Option<SignedDuration>,
    /// Keep the newest ones, this many
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Remove the oldest until all ended jobs together take no more than this, such as 10G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Remove only jobs that ended so (repeat for more)
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Vec<JobPhase>,
    /// Remove also jobs whose result is on no branch but their own, or lies in their run folder
    #[arg(long)]
    unmerged: bool,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

fn span(text: &str) -> Result<SignedDuration, String> {
    let read = duration::parse_age(text).and_then(|d| SignedDuration::try_from(d).ok());
    read.ok_or_else(|| format!("{text:?} is not a time like 12h, 30d"))
}

fn state(text: &str) -> Result<JobPhase, String> {
    match text {
        "done" | "succeeded" => Ok(JobPhase::Succeeded),
        "failed" => Ok(JobPhase::Failed),
        "killed" => Ok(JobPhase::Killed),
        _ => Err(format!("no ended job is {text:?}: use succeeded, failed, killed")),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size like 500M, 10G");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(bad()),
    };
    let count: u64 = digits.parse().map_err(|_| bad())?;
    count.checked_mul(1 << unit).ok_or_else(bad)
}

/// Prunes.
pub(super) fn run(here: &mut Here, asked: &Prune) -> Result<Exit, Failure> {
    let rule = Rule {
        older_than: asked.older_than,
        keep: asked.keep,
        max_bytes: asked.max_size,
        states: asked.state.clone(),
        unmerged: asked.unmerged,
    };
    if rule == (Rule { unmerged: asked.unmerged, ..Rule::default() }) {
        return Err(Failure::usage("nothing says which jobs are to go")
            .hint("say --older-than 30d, --keep 100, --max-size 10G or --state killed"));
    }
    seams::open(&here.root)?;
    let mut pruner = None;
    if !asked.dry_run {
        // What an earlier one has begun was asked for then.
        pruner = Some(seams::begin_pruning(&here.root)?);
        for job in seams::finish_pruning(pruner.as_ref())? {
            here.out.note(&format!("{job}: its removal had begun, and is finished"));
        }
    }
    let (ended, mut needs) = ended(&here.root)?;
    let fates = decide(&ended, &rule, here.view.now);
    let of =
        |fate: Fate| ended.iter().zip(&fates).filter(move |(_, f)| **f == fate).map(|(e, _)| e);
    let goes: Vec<&Ended> = of(Fate::Goes).collect();
    show(here, &goes)?;
    tell_kept(
        here,
        &of(Fate::NotMerged).collect::<Vec<_>>(),
        &of(Fate::WaitedFor).collect::<Vec<_>>(),
    );
    let Some(pruner) = pruner.filter(|_| !goes.is_empty()) else { return Ok(Exit::Done) };
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let confirmed = if asked.yes { Ok(true) } else { is_confirmed(here, &mut wakes, goes.len())? };
    if confirmed != Ok(true) {
        here.out.note("nothing was removed");
        return Ok(confirmed.err().map_or(Exit::Done, Exit::Signal));
    }
    if goes.iter().any(|one| seams::has_hooks_due(&here.root, &one.job)) {
        here.out.note("hooks are called first that are due");
        if let Some(signal) = seams::drain(&here.root, None) {
            here.out.note("they are called without this command, and nothing was removed");
            return Ok(Exit::Signal(signal));
        }
    }
    let worst = remove_all(here, &pruner, &goes, &mut needs, &mut wakes);
    // For people, and made again with the next job that begins or ends.
    let _page = seams::overview(&here.root);
    Ok(worst)
}

/// Removes one after the other until a signal comes; the answer is the worst that happened.
fn remove_all(
    here: &mut Here,
    pruner: &seams::Pruner,
    goes: &[&Ended],
    needs: &mut Needs,
    wakes: &mut Wakes,
) -> Exit {
    let (mut worst, mut removed, mut hinted) = (Exit::Done, Vec::new(), BTreeSet::new());
    for one in goes {
        if let Some(signal) = wakes.signal() {
            here.out.note("interrupted: the others stay");
            worst = Exit::Signal(signal);
            break;
        }
        match remove(&here.root, pruner, one, needs) {
            Ok(()) => removed.push(one.bytes),
            Err(mut failure) => {
                // What to do is said once.
                failure.hints.retain(|hint| hinted.insert(hint.clone()));
                here.out.note_text(&failure.render());
                worst = worst.worst(failure.kind);
            }
        }
    }
    let bytes = words::size(removed.iter().sum());
    here.out.note(&format!("removed {}, {bytes}", words::plural(removed.len(), "job")));
    worst
}

/// Every job that has ended, with or without a run folder or a file in the spool, as far as nobody is at it; and who needs which.
fn ended(root: &Root) -> Result<(Vec<Ended>, Needs), Failure> {
    let cannot = |e: std::io::Error| Failure::system("read the spool", &e);
    let (spool, runs) = (Spool::of(root), Runs::of(root));
    let mut all = Vec::new();
    for phase in JobPhase::FINALS {
        let place = Place::at_end(phase);
        for (job, name) in spool.jobs_in(place).map_err(cannot)? {
            let folder = runs.folder(&job);
            if !folder.dir().is_dir() {
                let path = spool.folder(place).join(name);
                let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
                let at = meta.modified().ok().and_then(|t| Timestamp::try_from(t).ok());
                let (at, bytes) = (at.unwrap_or_default(), meta.len());
                let (result, waited_for_by) = (Standing::Nothing, None);
                all.push(Ended { job, phase, at, bytes, result, waited_for_by });
            } else if let Some(one) = of_run(root, &job, phase)? {
                all.push(one);
            }
        }
    }
    // One whose file somebody has moved elsewhere has ended as its journal says.
    let with_file: BTreeSet<JobId> = all.iter().map(|one| one.job.clone()).collect();
    for job in runs.jobs().map_err(cannot)?.into_iter().filter(|job| !with_file.contains(job)) {
        let status = snapshot::status(&runs.folder(&job)).ok().flatten();
        if let Some(phase) = status.map(|s| s.state).filter(|phase| phase.is_final())
            && spool.find(&job).is_none()
        {
            all.extend(of_run(root, &job, phase)?);
        }
    }
    let needs = Needs::of(root)?;
    for one in &mut all {
        one.waited_for_by = needs.who(&one.job);
    }
    Ok((all, needs))
}

/// One with a run folder; `None` where its end is not settled, or cannot be read: a daemon looks after it.
fn of_run(root: &Root, job: &JobId, phase: JobPhase) -> Result<Option<Ended>, Failure> {
    let folder = Runs::of(root).folder(job);
    let Ok(replay) = snapshot::replay(&folder) else { return Ok(None) };
    let state = JobState::replay(&replay.events);
    if state.phase != phase || folder.may_be_held() {
        return Ok(None);
    }
    let result = match &state.workspace {
        Some(workspace) if state.has_landed() => trees::standing(workspace, &folder),
        _ => Standing::Nothing,
    };
    let bytes = fsx::disk_bytes(folder.dir()).map_err(|e| Failure::system("read the run", &e))?;
    let (job, at) = (job.clone(), state.updated_at.unwrap_or_default());
    Ok(Some(Ended { job, phase, at, bytes, result, waited_for_by: None }))
}

fn show(here: &mut Here, goes: &[&Ended]) -> Result<(), Failure> {
    if goes.is_empty() {
        here.out.note("there is nothing to remove");
        return Ok(());
    }
    let now = here.view.now;
    let cells = |one: &&Ended| {
        vec![
            Cell::from(one.job.as_str()),
            Cell::from(one.phase.as_str()),
            Cell::from(format!("{} ago", age(one.at, now))),
            Cell::from(words::size(one.bytes)),
            Cell::from(one_line(&one.result.as_str())),
        ]
    };
    let rows: Vec<Vec<Cell>> = goes.iter().map(cells).collect();
    let heads = ["JOB", "STATE", "ENDED", "SIZE", "RESULT"];
    here.out.text(&table(&heads, &rows, here.view.width, here.view.ink))?;
    let bytes = goes.iter().map(|one| one.bytes).sum();
    let copies = here.root.pruned();
    let there = match fsx::list(&copies).and_then(|names| taken(&copies, &names)) {
        Ok(bytes) => format!("takes {}", words::size(bytes)),
        Err(e) => format!("cannot be read ({})", one_line(&e.to_string())),
    };
    let copies = copies.display();
    let jobs = words::plural(goes.len(), "job");
    here.out.line(&format!(
        "{jobs}, {}; copies of what matters go to {copies}, which {there}",
        words::size(bytes)
    ))
}

/// What a folder takes; there is none before the first copy.
fn taken(dir: &Path, names: &[String]) -> std::io::Result<u64> {
    if names.is_empty() { Ok(0) } else { fsx::disk_bytes(dir) }
}

fn tell_kept(here: &mut Here, not_merged: &[&Ended], waited_for: &[&Ended]) {
    let (within, apart): (Vec<&Ended>, Vec<&Ended>) =
        not_merged.iter().partition(|one| one.result == Standing::Within);
    for (jobs, why, what) in [
        (apart, "are on no branch but their own", "numerus apply them"),
        (within, "lie in repositories in their run folders", "git clone these"),
    ] {
        if jobs.is_empty() {
            continue;
        }
        let names: Vec<&str> = jobs.iter().take(5).map(|e| e.job.as_str()).collect();
        let more = if jobs.len() > 5 { ", …" } else { "" };
        here.out.note(&format!(
            "kept, since their results {why}: {}{more} ({}); {what}, or say --unmerged",
            names.join(", "),
            jobs.len()
        ));
    }
    for one in waited_for {
        let by = one.waited_for_by.as_deref().map(one_line).unwrap_or_default();
        here.out.note(&format!("kept: {}, since {by} needs it", one.job));
    }
}

/// Asks on a terminal, or tells the signal that came first; elsewhere nothing is removed unasked.
fn is_confirmed(
    here: &mut Here,
    wakes: &mut Wakes,
    jobs: usize,
) -> Result<Result<bool, u8>, Failure> {
    if !is_terminal(&std::io::stdin()) {
        return Err(Failure::usage("nobody is there to be asked, and nothing was removed")
            .hint("say --yes to remove them, or --dry-run to see them only"));
    }
    let answer = wakes.ask(here, &format!("remove {}? [y]es, [n]o: ", words::plural(jobs, "job")));
    Ok(answer.map(|line| matches!(line.unwrap_or_default().to_lowercase().as_str(), "y" | "yes")))
}

/// Removes one, if nobody has come to need it meanwhile.
fn remove(
    root: &Root,
    pruner: &seams::Pruner,
    one: &Ended,
    needs: &mut Needs,
) -> Result<(), Failure> {
    needs.refresh(root)?;
    if let Some(by) = needs.who(&one.job) {
        let stays = format!("{} stays: {} needs it", one.job, one_line(&by));
        return Err(Failure::new(Exit::Blocked, stays));
    }
    if Runs::of(root).folder(&one.job).dir().is_dir() {
        return seams::prune(root, pruner, &one.job, &one.result);
    }
    if Spool::of(root).taken(&one.job).is_none() {
        return Err(Failure::new(Exit::Unknown, format!("{} is gone already", one.job)));
    }
    seams::prune_file(root, pruner, &one.job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("3K", Some(3072)),
            ("10G", Some(10 << 30)),
            ("2TiB", Some(2 << 40)),
            ("G", None),
            ("1.5G", None),
            ("1X", None),
            ("99999999T", None),
            ("", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }
}
