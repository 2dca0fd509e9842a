//! `numerus edit`: changes a job that has not begun. What was taken is never changed: the old job is withdrawn, and a new one
//! takes its place.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::Value;

use super::editor::{self, Edited};
use super::follow::Wakes;
use super::here::Here;
use super::jobfile::{Draft, Flags, compose};
use super::lookup::{self, Known, Whereabouts};
use super::needed::Needs;
use super::{idle, pause, retry, seams, snapshot, submit};
use crate::error::{Exit, Failure};
use crate::logic::state::JobState;
use crate::model::id::{JobId, TAIL_CHARS};
use crate::model::root::Root;
use crate::os::console::one_line;
use crate::os::random;
use crate::runs::Runs;
use crate::spool::{CutOff, Spool, Stamp};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Edit {
    /// The job, which no worker has started yet
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    flags: Flags,
}

/// Edits: by flags, or without any in the editor.
pub(super) fn run(here: &mut Here, asked: &Edit) -> Result<Exit, Failure> {
    if let Some(edit) = cut_off(&here.root, &asked.job) {
        return finish(here, &edit, &asked.flags);
    }
    let known = find(&here.root, &asked.job)?;
    let folder = Runs::of(&here.root).folder(&known.job);
    let is_taken = has_not_begun(&here.root, &known)?;
    nobody_waits(&here.root, &known.job)?;
    let seen = match &known.at {
        Whereabouts::Incoming(file) => seams::look(&here.root, file)?,
        _ => None,
    };
    let old = retry::draft(&here.root, &folder)?;
    let before = compose(&old, &Flags::default());
    let edited = if asked.flags == Flags::default() {
        by_hand(here, &known.job, &old)?
    } else {
        let flags = submit::resolved(&asked.flags, true)?;
        Some((compose(&old, &flags), None))
    };
    let (after, draft) = match edited {
        Some((after, draft)) if after != before => (after, draft),
        _ => {
            here.out.note(&format!("{}: unchanged", known.job));
            return Ok(Exit::Done);
        }
    };
    let (new, after) = match draft {
        Some(draft) => {
            draft.used(|()| replace(&here.root, &known, (is_taken, seen), &before, after))?
        }
        None => replace(&here.root, &known, (is_taken, seen), &before, after)?,
    };
    here.out.note(&format!("{}: withdrawn; {new} takes its place", known.job));
    tell_changes(here, &before, &after);
    here.out.line(new.as_str())?;
    idle::tell_untaken(here, &new);
    Ok(Exit::Done)
}

/// The edit of a job that was cut off; the job itself may have been removed since.
fn cut_off(root: &Root, prefix: &str) -> Option<CutOff> {
    let found = lookup::find_live(root, prefix).map(|known| known.job);
    lookup::cut_off_of(root, &found.ok().or_else(|| JobId::parse(prefix).ok())?)
}

/// Finishes an edit that was cut off: what it was to change stands already.
fn finish(here: &mut Here, edit: &CutOff, flags: &Flags) -> Result<Exit, Failure> {
    let CutOff { old, new, .. } = edit;
    if *flags != Flags::default() {
        let (said, hint) = edit.told();
        return Err(Failure::new(Exit::Blocked, said)
            .hint(format!("{hint}; then numerus edit {new} changes it")));
    }
    seams::finish_edit(&here.root, edit)?;
    here.out.note(&format!("{old}: its edit was cut off, and is finished; {new} takes its place"));
    here.out.line(new.as_str())?;
    idle::tell_untaken(here, new);
    Ok(Exit::Done)
}

/// The job, whose file is whole.
fn find(root: &Root, prefix: &str) -> Result<Known, Failure> {
    let known = lookup::find_job(root, prefix)?;
    let Whereabouts::Incoming(file) = &known.at else { return Ok(known) };
    seams::until_whole(root, file)?;
    // It may have been taken meanwhile.
    lookup::find(root, known.job.as_str())
}

/// Whether the job was taken; refuses one that has begun, or is over.
fn has_not_begun(root: &Root, known: &Known) -> Result<bool, Failure> {
    let job = &known.job;
    let state = match &known.at {
        Whereabouts::Incoming(_) => return Ok(false),
        Whereabouts::Run => {
            JobState::replay(&snapshot::replay(&Runs::of(root).folder(job))?.events)
        }
        Whereabouts::Ended(phase) => JobState::default().as_if_ended(*phase, "", ""),
        Whereabouts::Rejected(reason) => {
            let name = Spool::rejected_name(reason);
            return Err(Failure::new(Exit::Blocked, format!("{job} was rejected")).hint(format!(
                "change spool/rejected/{}, then numerus retry {job}",
                name.to_string_lossy()
            )));
        }
    };
    if state.phase.is_final() {
        return Err(pause::over(root, job, state.phase.as_str()));
    }
    if seams::is_unstarted(&state) { Ok(true) } else { Err(begun(job, state.phase.as_str())) }
}

fn begun(job: &JobId, state: &str) -> Failure {
    Failure::new(Exit::Blocked, format!("{job} has begun ({state}): it keeps what it was given"))
        .hint(format!("numerus kill {job}, then numerus retry {job} with other options"))
}

/// A job that others wait for cannot give way to one of another id, whether or not they were taken; one whose front alone
/// is named, which the new id has, too, can.
fn nobody_waits(root: &Root, job: &JobId) -> Result<(), Failure> {
    let fits_the_new_one = format!("{}-", job.slug());
    let is_meant =
        |start: &str| job.as_str().starts_with(start) && !fits_the_new_one.starts_with(start);
    let Some(by) = Needs::of(root)?.who_names(is_meant) else { return Ok(()) };
    let (by, hint) = match lookup::job_of(&by) {
        Some(other) => {
            (other.to_string(), format!("numerus edit {other} --after OTHER, or kill it, first"))
        }
        None => (by, "take that file out of spool/incoming/ first".to_owned()),
    };
    Err(Failure::new(Exit::Blocked, format!("{by} waits for {job}")).hint(hint))
}

/// What the editor leaves, and the draft that it stands in.
type ByHand = Option<(Value, Option<Edited<()>>)>;

fn by_hand(here: &mut Here, job: &JobId, old: &Draft) -> Result<ByHand, Failure> {
    let editor = seams::editor().map_err(|none| {
        none.hint("or say what is to change by flags, such as numerus edit JOB --priority 20")
    })?;
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let (text, end) = written(old);
    let root = here.root.clone();
    let stem = old.stem.clone();
    let read = move |text: &str| {
        let new = if end == "md" {
            let (options, objective) = seams::front_matter(text)?;
            Draft { objective, options, stem: stem.clone() }
        } else {
            Draft::of_json(text, &stem)?
        };
        let job = compose(&new, &Flags::default());
        seams::judge(&root, job.to_string().as_bytes())?;
        Ok(job)
    };
    let name = format!("edit-{job}.{end}");
    let edited = editor::edit((here, &mut wakes), &editor, (&name, &text), &mut None, read)?;
    Ok(edited.map(|Edited { value, draft }| (value, Some(Edited { value: (), draft }))))
}

/// A job file to be edited: Markdown where that says the same, else JSON.
fn written(draft: &Draft) -> (String, &'static str) {
    let options = draft.options.iter().map(|(key, value)| format!("{key}: {value}"));
    let lines: Vec<String> = std::iter::once("---".to_owned()).chain(options).collect();
    let text = format!("{}\n---\n{}", lines.join("\n"), draft.objective);
    let same = |read: &(serde_json::Map<String, Value>, String)| {
        read.0 == draft.options && read.1 == draft.objective
    };
    match seams::front_matter(&text) {
        Ok(read) if same(&read) => (text, "md"),
        _ => (format!("{:#}\n", compose(draft, &Flags::default())), "json"),
    }
}

/// Writes the new job down, ends the old one and drops the new one, in that order: whoever dies in between leaves a job that did
/// not run, and one whose file is whole, which `status` of the old one names.
fn replace(
    root: &Root,
    known: &Known,
    (is_taken, seen): (bool, Option<Stamp>),
    before: &Value,
    mut after: Value,
) -> Result<(JobId, Value), Failure> {
    let old = &known.job;
    if is_taken
        && let Some(object) = after.as_object_mut()
        && object.get("key") == before.get("key")
    {
        // A key belongs to the first job that was taken with it.
        object.remove("key");
    } else if after.get("key") != before.get("key") {
        // Told now: the taker would refuse the new job when the old one is gone.
        seams::is_first_of_key(root, after.get("key").and_then(Value::as_str))?;
    }
    let waits_for = seams::judge(root, after.to_string().as_bytes())?;
    if waits_for.iter().any(|other| other.job == old.as_str()) {
        return Err(Failure::usage(format!("{old} cannot wait for itself"))
            .hint("leave `after` out, or name another job"));
    }
    let json = format!("{:#}\n", seams::waiting_for(after.clone(), &waits_for));
    let tail = random::base32(TAIL_CHARS).map_err(|e| Failure::system("make an id", &e))?;
    let new = JobId::compose(old.slug(), &tail);
    let prepared = seams::prepare(root, old, &new, json.as_bytes())?;
    let kept = |e: Failure| e.hint(format!("the edited job is in {}", prepared.display()));
    let is_gone = match &known.at {
        Whereabouts::Incoming(file) => {
            seams::is_as_read(root, file, seen.as_ref())
                .inspect_err(|_| seams::drop_draft(&prepared))?;
            seams::withdraw(root, file, old)
        }
        _ => seams::replace_unstarted(root, old, &new),
    };
    if !is_gone.map_err(kept)? {
        seams::drop_draft(&prepared);
        return Err(came_first(root, old));
    }
    seams::hand_over(root, &prepared, (old, &new), json.as_bytes())?;
    Ok((new, after))
}

/// Why a job could not be withdrawn that could be edited when its editing began: looked at once more.
fn came_first(root: &Root, job: &JobId) -> Failure {
    let now = lookup::find(root, job.as_str()).and_then(|known| has_not_begun(root, &known));
    now.err().unwrap_or_else(|| {
        let taken = format!("{job} was taken, paused or moved meanwhile: it is as it was");
        Failure::new(Exit::Blocked, taken).hint(format!("numerus edit {job} once more changes it"))
    })
}

/// Says which options are gone, new or other, and where the job works: whoever leaves out a line of the front matter, or all
/// of it, may not have meant that.
fn tell_changes(here: &mut Here, before: &Value, after: &Value) {
    let changes = changes(before, after);
    if !changes.is_empty() {
        here.out.note(&one_line(&changes));
    }
    match after.get("workspace").and_then(Value::as_str) {
        Some(dir) => here.out.note(&format!("works on {}", one_line(dir))),
        None if seams::names_workspace(&here.root) => {}
        None => here.out.note(
            "note: the job names no workspace, so it gets an empty one of its own; --workspace DIR names another",
        ),
    }
}

/// The keys of a job file that are gone, new or other than they were.
fn changes(before: &Value, after: &Value) -> String {
    let keys = |of: &Value| of.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default();
    let (old, new): (BTreeSet<String>, BTreeSet<String>) = (keys(before), keys(after));
    let is_other = |key: &&String| before.get(key.as_str()) != after.get(key.as_str());
    let kinds: [(&str, Vec<&String>); 3] = [
        ("gone", old.difference(&new).collect()),
        ("new", new.difference(&old).collect()),
        ("other", old.intersection(&new).filter(is_other).collect()),
    ];
    let said = kinds.iter().filter(|(_, keys)| !keys.is_empty()).map(|(kind, keys)| {
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        format!("{kind}: {}", keys.join(", "))
    });
    said.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_edit_changes_is_told_by_its_keys() {
        let before = json!({"objective": "a", "plan": "single", "verify": ["x"], "priority": 1});
        let told = |after| changes(&before, &after);
        assert_eq!(told(before.clone()), "");
        assert_eq!(
            told(json!({"objective": "b", "priority": 2, "labels": ["c"]})),
            "gone: plan, verify; new: labels; other: objective, priority"
        );
    }

    #[test]
    fn a_job_file_is_edited_as_markdown_wherever_that_says_the_same() {
        let mut draft = Draft::of_text("Fix it.\n\nSoon: \"now\"\n");
        assert_eq!(written(&draft).0, "---\n---\nFix it.\n\nSoon: \"now\"\n");
        draft.options.insert("verify".into(), json!(["make \"a\" # b", "true"]));
        draft.options.insert("budget".into(), json!({"tokens": 5, "wall": "1h"}));
        draft.options.insert("priority".into(), json!(-3));
        let (text, end) = written(&draft);
        assert_eq!(end, "md", "{text}");
        assert!(text.starts_with("---\nverify: "), "{text}");
    }
}
