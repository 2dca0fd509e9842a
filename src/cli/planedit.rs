//! The plan of a job that waits for a person's word, in their editor: what they make of it is a further plan.

use std::path::PathBuf;

use super::editor;
use super::follow::{JournalTail, Wakes};
use super::here::Here;
use super::seams;
use crate::error::{Exit, Failure};
use crate::logic::revise;

/// What to do about a plan that cannot be used.
fn hint(why: &str) -> &'static str {
    if why.starts_with("missing field") {
        "tasks need `id`, `summary` and `description`; see docs/protocol.md"
    } else {
        "put that right in the editor, or leave the plan as it was; see docs/protocol.md"
    }
}

/// A draft that a person left in the editor's dialog, and the plan that it was made of.
pub(super) struct Left {
    plan: u32,
    draft: PathBuf,
}

/// Edits the plan, or the draft that was left of it the last time; what will not do is said, and the plan stays as it is.
pub(super) fn edit(
    here: &mut Here,
    wakes: &mut Wakes,
    tail: &mut JournalTail,
    left: &mut Option<Left>,
) -> Result<(), Failure> {
    if !revise::is_open(tail.state()) {
        here.out.note("only the first plan can be edited, before anything of it has begun");
        return Ok(());
    }
    let (job, plan) = (tail.folder().job().clone(), tail.state().plan());
    let text = revise::write(&plan);
    let read = |text: &str| {
        revise::read(text).map_err(|why| {
            Failure::usage(format!("the plan cannot be used: {why}")).hint(hint(&why))
        })
    };
    let name = format!("plan-{job}.json");
    let mut draft = left.take().filter(|left| left.plan == plan.number).map(|left| left.draft);
    let edited = seams::editor().and_then(|editor| {
        editor::edit((&mut *here, wakes), &editor, (&name, &text), &mut draft, read)
    });
    *left = draft.map(|draft| Left { plan: plan.number, draft });
    let used = match edited {
        Ok(Some(edited)) => {
            edited.used(|revised| seams::replan(tail.folder(), plan.number, revised))
        }
        Ok(None) => {
            here.out.note("the plan is unchanged");
            Ok(())
        }
        Err(refusal) => Err(refusal),
    };
    match used {
        Ok(()) => {}
        // The plan waits on, and so does the question.
        Err(refusal) if refusal.kind == Exit::Usage => here.out.note_text(&refusal.render()),
        Err(other) => return Err(other.hint(format!("{job} waits; numerus start {job} goes on"))),
    }
    tail.read().map(drop)
}
