//! `numerus status`: a plain reader of the files; nothing has to be running.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::follow::rejection;
use super::here::Here;
use super::ink::Tone;
use super::lookup::{self, Known, Whereabouts};
use super::{ended, held, idle, rehearsal, render, seams, snapshot};
use crate::error::{Exit, Failure};
use crate::model::id::JobId;
use crate::model::status::{JobPhase, Status};
use crate::os::console::one_line;
use crate::runs::{RunFolder, Runs};
use crate::spool::{CutOff, Spool};

/// Ended jobs that are listed without `--all`.
const RECENT: u32 = 10;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct AskStatus {
    /// Show this job with its tasks
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Print status.json: the job's, or one a line
    #[arg(long)]
    json: bool,
    /// List every job that is known
    #[arg(long, conflicts_with = "job")]
    all: bool,
}

/// Shows one job or all of them.
pub(super) fn run(here: &mut Here, asked: &AskStatus) -> Result<Exit, Failure> {
    if let Some(why) = seams::broken_settings(&here.root) {
        let why = one_line(&why);
        here.out.note(&format!("warning: the settings cannot be read: {why}"));
    }
    for line in held::lines(&here.root).into_iter().chain(seams::hook_problems(&here.root)) {
        if asked.json {
            here.out.note(&line);
        } else {
            here.out.line(&line)?;
        }
    }
    match &asked.job {
        Some(prefix) => match lookup::find_live(&here.root, prefix) {
            Ok(known) => one(here, &known, asked.json),
            Err(unknown) if unknown.kind == Exit::Unknown => {
                a_file(here, prefix, asked.json, unknown)
            }
            Err(other) => Err(other),
        },
        None => list(here, asked),
    }
}

/// What edits have left that were cut off, also where the old job has been removed since.
fn tell_cut_off(here: &mut Here) {
    for edit in lookup::cut_off(&here.root) {
        tell_edit(here, &edit);
    }
}

fn tell_edit(here: &mut Here, edit: &CutOff) {
    let (said, hint) = edit.told();
    here.out.note(&format!("note: {said}; {hint}"));
}

/// That files were not accepted, and where to see why: whoever dropped one looks here for it.
fn tell_rejected(here: &mut Here) {
    match lookup::rejections(&here.root).len() {
        0 => {}
        1 => here.out.note("1 file was rejected: spool/rejected/ has it with its reason"),
        n => here
            .out
            .note(&format!("{n} files were rejected: spool/rejected/ has each with its reason")),
    }
}

/// A dropped file that is no job: it waits, or was not accepted.
fn a_file(here: &mut Here, name: &str, as_json: bool, unknown: Failure) -> Result<Exit, Failure> {
    if lookup::dropped(&here.root, name).is_none() {
        return rejected_file(here, name, as_json, unknown);
    }
    let why = "waits to be taken";
    if as_json {
        here.out.json(&json!({"file": name, "state": "incoming", "message": why}).to_string())?;
    } else {
        here.out.line(&format!("{}: incoming ({why})", one_line(name)))?;
        idle::tell(here, Some(&format!("numerus start {}", render::word(name))));
    }
    Ok(Exit::Done)
}

/// A dropped file that was no job yet: found by the front of its name, as it was dropped.
fn rejected_file(
    here: &mut Here,
    prefix: &str,
    as_json: bool,
    unknown: Failure,
) -> Result<Exit, Failure> {
    let names = lookup::rejections(&here.root);
    let mut fits: Vec<&(String, PathBuf)> =
        names.iter().filter(|(name, _)| !prefix.is_empty() && name.starts_with(prefix)).collect();
    if let Some(exact) = fits.iter().position(|(name, _)| name == prefix) {
        fits = vec![fits.swap_remove(exact)];
    }
    let [(name, reason)] = fits.as_slice() else {
        return Err(match (fits.as_slice(), lookup::nearest_name(&names, prefix)) {
            ([], Some(near)) => unknown.hint(format!(
                "a file called {} was rejected: numerus status {}",
                one_line(near),
                one_line(near)
            )),
            ([], None) => unknown,
            (several, _) => unknown.hint(format!(
                "{} rejected files are called so: see spool/rejected/",
                several.len()
            )),
        });
    };
    let why = rejection(reason);
    if as_json {
        let line = json!({"file": name, "state": "rejected", "message": why});
        here.out.json(&line.to_string())?;
    } else {
        here.out.line(&format!("{}: rejected ({})", one_line(name), one_line(&why)))?;
    }
    Ok(Exit::Done)
}

fn one(here: &mut Here, known: &Known, as_json: bool) -> Result<Exit, Failure> {
    let folder = Runs::of(&here.root).folder(&known.job);
    let row = snapshot::row(&folder)?;
    match (&known.at, row) {
        (Whereabouts::Run, Some(row)) if as_json => {
            here.out.line(&pretty(&row.status))?;
        }
        (Whereabouts::Run, Some(row)) => {
            let text = detail(here, &folder, &row);
            here.out.text(&text)?;
            if idle::waits(&row) {
                let command = row.idle().and_then(|idle| idle.command(&known.job));
                idle::tell(here, command.as_deref());
            }
            let dir = folder.dir().display().to_string();
            if let Some(line) = render::failed_hooks(&seams::hook_failures(&folder), &dir) {
                here.out.line(&line)?;
            }
        }
        (at, _) => outside(here, known, at, as_json)?,
    }
    if let Some(edit) = lookup::cut_off_of(&here.root, &known.job) {
        tell_edit(here, &edit);
    }
    Ok(Exit::Done)
}

/// One job for people, with what its files say beside its status.
pub(super) fn detail(here: &Here, folder: &RunFolder, row: &render::Row) -> String {
    let is_over = row.status.state.is_final();
    let script = rehearsal::script(&here.root, folder, is_over);
    let agent = rehearsal::fact(script.as_deref(), is_over);
    let waits = snapshot::waits(folder, &row.status);
    render::detail(row, &waits, &agent, &folder.dir().display().to_string(), &here.view)
}

fn pretty(status: &Status) -> String {
    serde_json::to_string_pretty(status).unwrap_or_default()
}

/// A job without a readable run folder: what the spool says of it.
fn outside(here: &mut Here, known: &Known, at: &Whereabouts, as_json: bool) -> Result<(), Failure> {
    let (state, why) = match at {
        Whereabouts::Incoming(_) => ("incoming", "waits to be taken".to_owned()),
        Whereabouts::Ended(JobPhase::Killed) => {
            let why = match Spool::of(&here.root).successor(&known.job) {
                Some(new) => format!("edited by a person: {new} takes its place"),
                None => "withdrawn before anyone took it".to_owned(),
            };
            ("killed", why)
        }
        Whereabouts::Ended(phase) => (phase.as_str(), "its run folder is gone".to_owned()),
        Whereabouts::Rejected(reason) => ("rejected", rejection(reason)),
        Whereabouts::Run => ("queued", "is being taken".to_owned()),
    };
    if as_json {
        let line = json!({"job_id": known.job, "state": state, "message": why});
        return here.out.line(&line.to_string());
    }
    here.out.line(&format!("{}: {state} ({})", known.job, one_line(&why)))
}

fn list(here: &mut Here, asked: &AskStatus) -> Result<Exit, Failure> {
    let (mut live, unseen) = snapshot::live(&here.root)?;
    for line in &unseen {
        here.out.note(&one_line(line));
    }
    let (recent, more) =
        if asked.all { (ended::all(&here.root)?, 0) } else { ended::recent(&here.root, RECENT)? };
    // One that ended between the two looks is in both.
    let ended: BTreeSet<&JobId> = recent.iter().map(|row| &row.status.job_id).collect();
    live.retain(|row| !ended.contains(&row.status.job_id));
    let incoming = lookup::incoming(&here.root)?;
    if let Some(no_root) = lookup::no_root(&here.root) {
        let makes = "the first `numerus submit`, `run` or `start` makes it";
        here.out.note(&format!("{no_root}; {makes}"));
        return Ok(Exit::Done);
    }
    if asked.json {
        for row in live.iter().chain(&recent) {
            here.out.json(&serde_json::to_string(&row.status).unwrap_or_default())?;
        }
        return Ok(Exit::Done);
    }
    let mut parts = Vec::new();
    if !live.is_empty() {
        parts.push(render::jobs(&live, &here.view));
    }
    if !incoming.is_empty() {
        parts.push(render::waiting(&incoming, &here.view));
    }
    if !recent.is_empty() {
        let title = here.view.ink.paint(Tone::Strong, "ended");
        let more = match more {
            0 => String::new(),
            n => format!("… {n} more: numerus status --all\n"),
        };
        parts.push(format!("{title}\n{}{more}", render::jobs(&recent, &here.view)));
    }
    idle::tell_listed(here, &live, incoming.len());
    tell_rejected(here);
    tell_cut_off(here);
    if parts.is_empty() {
        here.out.note(&format!("no jobs in {}", here.root.path().display()));
    }
    here.out.text(&parts.join("\n"))?;
    Ok(Exit::Done)
}
