//! `numerus run`: submit and follow in the foreground with a worker of its own; the job's code is the command's.

use clap::Args;

use super::follow::{self, End, JournalTail, Patience, Wakes};
use super::here::Here;
use super::jobfile::Flags;
use super::live::{Live, Tell};
use super::{kill, rehearsal, render, seams, snapshot, status, story, submit, wait};
use crate::codex::sandbox;
use crate::error::{Exit, Failure};
use crate::logic::state::JobState;
use crate::model::event::{Event, Fact};
use crate::model::id::JobId;
use crate::runs::{Runs, Want};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// What is to be done; `-` reads it from stdin
    #[arg(value_name = "OBJECTIVE")]
    objective: String,
    #[command(flatten)]
    flags: Flags,
}

/// Runs.
pub(super) fn run(here: &mut Here, asked: &Run) -> Result<Exit, Failure> {
    asked.flags.begin_at_once("run")?;
    can_begin(here, &asked.flags)?;
    let limit = seams::open(&here.root)?.max_objective_bytes;
    let draft = submit::said(&asked.objective, limit)?;
    let job = submit::submit(here, draft, &asked.flags, false)?.job;
    here.out.note(&format!("job {job}"));
    seams::take(&here.root, &job)?;
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let mut tail = JournalTail::new(Runs::of(&here.root).folder(&job));
    tell_script(here, &tail);
    let end = work(here, &mut wakes, &mut tail, tell)?;
    conclude(here, &job, &end)
}

/// Says that a script plays the agent, if so.
pub(super) fn tell_script(here: &mut Here, tail: &JournalTail) {
    let script = rehearsal::script(&here.root, tail.folder(), false);
    rehearsal::tell(here, script.as_deref());
}

/// Refuses early what would only fail or rest later, before anything is submitted.
pub(super) fn can_begin(here: &Here, flags: &Flags) -> Result<(), Failure> {
    seams::preflight(&here.root)?;
    let (rehearses, patience) = (flags.rehearse.is_some(), sandbox::PATIENCE_OF_PEOPLE);
    let settings = seams::codex_is_there(&here.root, rehearses, patience)?;
    // Roles may have logins of their own: whoever speaks for them finds out.
    let is_told = flags.rehearse.is_none() && flags.role.is_empty() && settings.roles.is_empty();
    let lack = is_told.then(|| seams::lacks_login(&settings, flags.profile.as_deref())).flatten();
    lack.map_or(Ok(()), |lack| Err(lack.hint("nothing was begun")))
}

/// Starts a worker and tells what happens while it works; what `tail` has read before is not told again.
pub(super) fn work(
    here: &mut Here,
    wakes: &mut Wakes,
    tail: &mut JournalTail,
    tell: Tell,
) -> Result<End, Failure> {
    wakes.collect(seams::start_worker(&here.root, tail.folder())?);
    follow::job(here, wakes, tail, Patience::WhileWorked, &mut Live::of_work(tell))
}

/// One event for someone who watches, as a line if it matters.
pub(super) fn tell_line(here: &mut Here, event: &Event, _state: &JobState) {
    if !story::tell(&event.fact).minor {
        let line = story::line(event, false, &here.aside());
        here.out.note(&line);
    }
}

/// The same, and the plan as a table.
pub(super) fn tell(here: &mut Here, event: &Event, state: &JobState) {
    tell_line(here, event, state);
    if matches!(event.fact, Fact::RolesAssigned { .. }) {
        let table = render::plan(&state.plan(), &here.aside());
        here.out.note_text(&table);
    }
}

/// The summary at the end, and what a signal means: the job ends with the command.
pub(super) fn conclude(here: &mut Here, job: &JobId, end: &End) -> Result<Exit, Failure> {
    let folder = Runs::of(&here.root).folder(job);
    if let End::Signal(_) = end {
        seams::wish(&folder, Want::Killed)?;
        seams::terminate_worker(&folder)?;
        here.out.note(&format!(
            "{job}: ends with this command, which was interrupted; numerus status {job} shows what came of it"
        ));
        return Ok(end.exit());
    }
    if let End::Kill = end {
        let said = kill::of_job(&here.root, &folder)?;
        here.out.line(&said)?;
        return Ok(end.exit());
    }
    if let End::Detached = end {
        here.out.note(&wait::said(job, end));
        return Ok(end.exit());
    }
    let signal = seams::drain(&here.root, Some(job));
    if signal.is_some() {
        here.out.note(&format!("{job}: its hooks are called without this command"));
    }
    // From the journal, which `end` was read from too: status.json may be a step behind it.
    let told = snapshot::told(&folder)?;
    if let Some(row) = &told {
        let text = status::detail(here, &folder, row);
        here.out.text(&text)?;
    }
    if told.is_none() || !matches!(end, End::Job(_)) {
        here.out.note(&wait::said(job, end));
    }
    Ok(signal.map_or(end.exit(), Exit::Signal))
}
