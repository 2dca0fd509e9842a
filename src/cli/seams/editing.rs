//! The seams of editing: drafts in `spool/tmp/`, the person's editor, and what takes the place of a job or a plan.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{
    Ending, Failure, Held, PATIENCE, Runs, Spool, admission, clock, ending, env, fsx, lookup, open,
    reading, refused,
};
use crate::cli::lookup::Whereabouts;
use crate::error::Exit;
use crate::logic::admission::{Facts, Shape};
use crate::logic::revise::{self, Revised};
use crate::logic::state::JobState;
use crate::model::event::Fact;
use crate::model::id::JobId;
use crate::model::job::After;
use crate::model::root::Root;
use crate::model::status::{JobPhase, PauseReason};
use crate::os::lock::FileLock;
use crate::os::{console, random};
use crate::runs::RunFolder;

/// Puts a text where a person can edit it, and nobody else.
pub(in crate::cli) fn draft(root: &Root, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let cannot = |e: std::io::Error| Failure::system("write the draft", &e);
    open(root)?;
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, "txt"));
    let tail = random::base32(6).map_err(cannot)?;
    let path = Spool::of(root).wake_folder().join(format!("{stem}-{tail}.{end}"));
    fsx::put_new(&path, text.as_bytes()).map_err(cannot)?;
    Ok(path)
}

/// Removes a draft that nobody needs any more.
pub(in crate::cli) fn drop_draft(path: &Path) {
    // Who finds it there finds what was wanted, in the journal or in the spool.
    let _stays = fsx::remove(path);
}

/// The person's editor; `vi` where none is named and there is a screen for it.
pub(in crate::cli) fn editor() -> Result<String, Failure> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(env::var);
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let is_screen =
        console::is_terminal(&stdin) && console::is_terminal(&stdout) && !console::is_dumb();
    which_editor(named, is_screen).ok_or_else(|| {
        Failure::usage("no editor is named by VISUAL or EDITOR, and vi needs a terminal")
            .hint("set EDITOR to an editor that waits until its file is closed")
    })
}

fn which_editor(mut named: impl Iterator<Item = String>, is_screen: bool) -> Option<String> {
    named.find(|words| !words.trim().is_empty()).or_else(|| is_screen.then(|| "vi".to_owned()))
}

/// Opens a file in an editor, until it is closed.
pub(in crate::cli) fn edit_file(editor: &str, path: &Path) -> Result<(), Failure> {
    let mut command = Command::new("sh");
    // As git does it: the variable may hold words, the path is no part of them.
    command.arg("-c").arg(format!("{editor} \"$@\"")).arg(editor).arg(path);
    let refused = |why: String| {
        Failure::usage(format!("cannot edit with {editor:?}: {why}"))
            .hint("set VISUAL or EDITOR to an editor that waits until its file is closed")
            .hint(format!("what was to be edited is in {}", path.display()))
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(refused(status.to_string())),
        Err(e) => Err(refused(e.to_string())),
    }
}

/// Judges a job file as the taker will, without dropping it; the answer is what it waits for.
pub(in crate::cli) fn judge(root: &Root, json: &[u8]) -> Result<Vec<After>, Failure> {
    let settings = open(root)?;
    let facts = Facts { settings: &settings, resolve: &reading::resolve };
    let admitted = admission::admit(json, Shape::Json, &facts).map_err(|r| refused(&r))?;
    if admitted.options.after.is_empty() {
        return Ok(Vec::new());
    }
    // Those that the taker knows, too.
    let is_meant = |k: &lookup::Known| match k.at {
        Whereabouts::Run | Whereabouts::Incoming(_) => true,
        Whereabouts::Ended(phase) => phase == JobPhase::Killed,
        Whereabouts::Rejected(_) => false,
    };
    let known = lookup::all(root)?.into_iter().filter(is_meant);
    let known = known.map(|k| (k.job, k.has_ended)).collect();
    admission::resolve_after(&admitted.options.after, &known).map_err(|r| refused(&r))
}

/// A job file with the jobs that it waits for, by their whole ids: what fits them today may fit others before it is taken.
pub(in crate::cli) fn waiting_for(mut job: Value, after: &[After]) -> Value {
    if let Some(object) = job.as_object_mut().filter(|_| !after.is_empty()) {
        object.insert("after".into(), json!(after));
    }
    job
}

/// Ends a taken job that no worker has ever started, since another one takes its place; false if one has, or holds it.
pub(in crate::cli) fn replace_unstarted(
    root: &Root,
    job: &JobId,
    by: &JobId,
) -> Result<bool, Failure> {
    let cannot = |e: std::io::Error| Failure::system("end the job", &e);
    if !Runs::of(root).folder(job).dir().is_dir() {
        return Ok(false);
    }
    let Some(mut held) = Held::acquire(&Runs::of(root), job).map_err(cannot)? else {
        return Ok(false);
    };
    if !is_unstarted(&held.state) {
        return Ok(false);
    }
    let message = format!("edited by a person: {by} takes its place");
    let end = Ending::new(JobPhase::Killed, "killed", message);
    ending::finish(&Spool::of(root), &mut held, &end, clock::now()).map_err(cannot)?;
    Ok(true)
}

/// Whether no worker has ever started a job, and it has not ended.
pub(in crate::cli) fn is_unstarted(state: &JobState) -> bool {
    state.started_at.is_none() && !state.phase.is_final()
}

/// Writes what a person has made of the plan of number `seen` into the journal of the job that waits for their word, as a
/// further plan; a plan of somebody else that has come meanwhile stays.
pub(in crate::cli) fn replan(
    folder: &RunFolder,
    seen: u32,
    revised: Revised,
) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("write the plan down", &e);
    let lock = FileLock::acquire(&folder.worker_lock(), PATIENCE).map_err(cannot)?;
    let too_late = || {
        Failure::new(
            Exit::Blocked,
            format!("{} does not wait for its first plan any more", folder.job()),
        )
    };
    let lock = lock.filter(FileLock::is_current).ok_or_else(too_late)?;
    let mut held = Held::open(folder.clone(), lock).map_err(cannot)?;
    if !revise::is_open(&held.state) {
        return Err(too_late());
    }
    if held.state.plan_number != seen {
        let meanwhile = format!("{} has got another plan meanwhile, which stays", folder.job());
        return Err(Failure::usage(meanwhile));
    }
    let message = held.state.standing.message.clone();
    let Revised { objective, strategy, tasks } = revised;
    let plan = held.state.plan_number + 1;
    let created = Fact::PlanCreated { plan, objective, tasks: tasks.clone() };
    let rest = Fact::Paused { reason: PauseReason::Approval, until: None, message };
    record(&mut held, created).map_err(cannot)?;
    let mut whole = held.state.plan();
    whole.strategy.clone_from(&strategy);
    folder.write_plan(&whole).map_err(cannot)?;
    record(&mut held, Fact::RolesAssigned { plan, tasks, strategy }).map_err(cannot)?;
    record(&mut held, rest).map_err(cannot)
}

fn record(held: &mut Held, fact: Fact) -> std::io::Result<()> {
    super::steering::write_down(held, fact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_editor_that_is_named_is_meant_and_vi_only_where_there_is_a_screen() {
        for (named, is_screen, expected) in [
            (&["code --wait", "ed"][..], false, Some("code --wait")),
            (&[" ", "ed"], true, Some("ed")),
            (&[], true, Some("vi")),
            (&[" "], false, None),
        ] {
            let found = which_editor(named.iter().map(ToString::to_string), is_screen);
            assert_eq!(found.as_deref(), expected, "{named:?}");
        }
    }
}
