//! `numerus start`: asks for the objective, shows the plan, and lets a person say go before anything is executed.

use std::path::Path;

use clap::Args;

use super::follow::{self, End, JournalTail, Wakes};
use super::here::Here;
use super::jobfile::{Draft, Flags};
use super::lookup::{self, Known, Whereabouts};
use super::{kill, planedit, render, resume, retry, run, seams, snapshot, submit};
use crate::error::{Exit, Failure};
use crate::logic::revise::{self, Go};
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::{JobPhase, PauseReason};
use crate::runs::{RunFolder, Runs, Want};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The objective, a waiting job or a dropped file; asked for where it is missing
    #[arg(value_name = "OBJECTIVE|JOB")]
    what: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

/// What the person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Go,
    Edit,
    Cancel,
    Later,
}

/// Starts.
pub(super) fn run(here: &mut Here, asked: &Start) -> Result<Exit, Failure> {
    asked.flags.begin_at_once("start")?;
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let what = match &asked.what {
        Some(what) => what.clone(),
        None => match wakes.ask(here, "objective: ") {
            Ok(line) => line.unwrap_or_default(),
            Err(signal) => return Ok(Exit::Signal(signal)),
        },
    };
    match named(here, &what)? {
        Some(_) if asked.flags != Flags::default() => {
            Err(Failure::usage(format!("{what} is a job, which keeps the options that it has"))
                .hint(format!("numerus start {what} goes on with it")))
        }
        Some(known) => match known.at {
            Whereabouts::Run => go_on(here, &mut wakes, &known.job),
            Whereabouts::Incoming(file) => {
                seams::until_whole(&here.root, &file)?;
                go_on(here, &mut wakes, &known.job)
            }
            Whereabouts::Ended(phase) => has_ended(here, &known.job, phase),
            Whereabouts::Rejected(reason) => {
                let end = End::Rejected(follow::rejection(&reason));
                run::conclude(here, &known.job, &end)
            }
        },
        None => match lookup::dropped(&here.root, &what) {
            Some(_) if asked.flags != Flags::default() => Err(Failure::usage(format!(
                "{what} waits to be taken, with the options that it has"
            ))
            .hint(format!("numerus start {what} takes it and works on it"))),
            Some(file) => take(here, &mut wakes, &file),
            None => {
                refuse_rejected(&here.root, &what)?;
                if asked.what.is_some() && !what.contains(char::is_whitespace) {
                    here.out
                        .note(&format!("note: no job is called {what:?}: taken as an objective"));
                }
                begin(here, &mut wakes, Draft::of_text(&what), &asked.flags)
            }
        },
    }
}

/// Takes a dropped file, and goes on with the job that it is then.
fn take(here: &mut Here, wakes: &mut Wakes, file: &Path) -> Result<Exit, Failure> {
    seams::until_whole(&here.root, file)?;
    let name = file.file_name().unwrap_or_default();
    let Some(job) = seams::take_file(&here.root, name)? else {
        let message = format!("{} was just taken", name.to_string_lossy());
        return Err(Failure::new(Exit::Blocked, message).hint("numerus status shows as which job"));
    };
    here.out.note(&format!("job {job}"));
    go_on(here, wakes, &job)
}

/// What was not accepted is no objective.
fn refuse_rejected(root: &Root, what: &str) -> Result<(), Failure> {
    let is_meant = |name: &str| name == what || lookup::is_stem(what, name);
    match lookup::rejections(root).into_iter().find(|(name, _)| is_meant(name)) {
        Some((name, reason)) => {
            let why = follow::rejection(&reason);
            Err(Failure::usage(format!("{name} was rejected: {why}"))
                .hint(format!("mend it in spool/rejected, then numerus retry {name}")))
        }
        None => Ok(()),
    }
}

/// The job that the words name, if they name one at all.
fn named(here: &Here, what: &str) -> Result<Option<Known>, Failure> {
    if JobId::parse(what).is_err() {
        return Ok(None);
    }
    match lookup::find_live(&here.root, what) {
        Ok(known) => Ok(Some(known)),
        // A file that was dropped, or rejected, is told of as one.
        Err(e) if e.kind == Exit::Unknown && !(what.contains('-') && is_no_file(here, what)) => {
            Ok(None)
        }
        Err(e) if e.kind == Exit::Unknown => {
            Err(e.hint("an objective is said in more than one word"))
        }
        Err(e) => Err(e),
    }
}

fn is_no_file(here: &Here, what: &str) -> bool {
    let root = &here.root;
    lookup::dropped(root, what).is_none() && lookup::rejected_like(root, what).is_none()
}

fn begin(here: &mut Here, wakes: &mut Wakes, draft: Draft, flags: &Flags) -> Result<Exit, Failure> {
    run::can_begin(here, flags)?;
    let job = submit::submit(here, draft, flags, true)?.job;
    here.out.note(&format!("job {job}"));
    seams::take(&here.root, &job)?;
    let mut tail = JournalTail::new(Runs::of(&here.root).folder(&job));
    run::tell_script(here, &tail);
    let end = run::work(here, wakes, &mut tail, run::tell_line)?;
    see_through(here, wakes, &mut tail, end)
}

/// What there is to say of a job that cannot go on any more.
fn has_ended(here: &mut Here, job: &JobId, phase: JobPhase) -> Result<Exit, Failure> {
    let exit = run::conclude(here, job, &End::Job(phase))?;
    let again = retry::again(&here.root, job, phase.as_str());
    here.out.note(&format!("{job} has ended; {again}"));
    Ok(exit)
}

fn go_on(here: &mut Here, wakes: &mut Wakes, job: &JobId) -> Result<Exit, Failure> {
    let mut tail = JournalTail::new(Runs::of(&here.root).folder(job));
    seams::see_taken(&here.root, tail.folder())?;
    tail.read()?;
    let (phase, pause) = (tail.state().phase, tail.state().pause);
    if phase.is_final() {
        return has_ended(here, job, phase);
    }
    if tail.folder().is_held().map_err(|e| Failure::system("look at the worker's lock", &e))? {
        return Err(Failure::new(Exit::Blocked, format!("{job} is being worked on already"))
            .hint(format!("numerus logs {job} --follow shows it")));
    }
    let end = if pause == Some(PauseReason::Approval) {
        run::tell_script(here, &tail);
        End::Paused(PauseReason::Approval, String::new())
    } else {
        seams::take(&here.root, job)?;
        tail.read()?;
        run::tell_script(here, &tail);
        seams::may_begin(&here.root, tail.folder(), tail.state())?;
        let was_paused = pause == Some(PauseReason::User) || tail.folder().wants(Want::Paused);
        if !seams::ask_first(tail.folder())? && !resume::needs_go(tail.folder(), tail.state()) {
            here.out.note(&format!("{job} has its plan already, and goes on with it"));
        }
        seams::unhold(tail.folder())?;
        if was_paused {
            here.out.note(&format!("{job} is paused no more"));
        }
        seams::lift_holds(&here.root, tail.folder())?;
        run::work(here, wakes, &mut tail, run::tell_line)?
    };
    see_through(here, wakes, &mut tail, end)
}

/// Says go to the plan of a number, which somebody has seen elsewhere; the answer says who goes on with the job.
pub(super) fn approve(root: &Root, prefix: &str, seen: u32) -> Result<String, Failure> {
    let job = lookup::find(root, prefix)?.job;
    let folder = Runs::of(root).folder(&job);
    let state = JobState::replay(&snapshot::replay(&folder)?.events);
    if state.pause != Some(PauseReason::Approval) {
        let why = format!("{job} has no plan that waits for a person");
        return Err(Failure::new(Exit::Blocked, why)
            .hint(format!("numerus status {job} says what it waits for")));
    }
    if !seams::say_go(root, &folder, seen)? {
        let why = format!("{job} has another plan by now: nothing was approved");
        return Err(
            Failure::new(Exit::Blocked, why).hint(format!("numerus start {job} shows it and asks"))
        );
    }
    Ok(resume::said(root, &job))
}

/// Asks at every rest for approval, and works on after every go.
fn see_through(
    here: &mut Here,
    wakes: &mut Wakes,
    tail: &mut JournalTail,
    mut end: End,
) -> Result<Exit, Failure> {
    let (job, mut left) = (tail.folder().job().clone(), None);
    while matches!(end, End::Paused(PauseReason::Approval, _)) {
        let plan = tail.state().plan();
        let shown = render::plan(&plan, &here.aside());
        here.out.note_text(&format!("\n{shown}\n"));
        match ask(here, wakes) {
            Err(signal) => {
                here.out.note_text(&format!("\n{job} waits; numerus start {job} goes on\n"));
                return Ok(Exit::Signal(signal));
            }
            Ok(Answer::Go) if seams::say_go(&here.root, tail.folder(), plan.number)? => {
                end = run::work(here, wakes, tail, run::tell_line)?;
            }
            Ok(Answer::Go) => {
                tail.read()?;
                end = overtaken(here, tail, "nothing was approved")?.unwrap_or(end);
            }
            Ok(Answer::Edit) => planedit::edit(here, wakes, tail, &mut left)?,
            Ok(Answer::Cancel) => {
                tail.read()?;
                match revise::go(tail.state(), plan.number) {
                    Go::Say => return cancel(here, tail.folder()),
                    Go::Said => return Err(waits_no_more(&job, "nothing was killed")),
                    Go::Void => end = overtaken(here, tail, "nothing was killed")?.unwrap_or(end),
                }
            }
            Ok(Answer::Later) => {
                here.out.note(&format!(
                    "nobody answered: {job} waits for a yes; numerus start {job} asks again, and takes one from a pipe"
                ));
                return Ok(Exit::Blocked);
            }
        }
    }
    run::conclude(here, &job, &end)
}

/// A word to a plan that is no longer the job's: how the job has ended, if it has. Else it has another plan, which is told and can be
/// asked about.
fn overtaken(here: &mut Here, tail: &JournalTail, nothing: &str) -> Result<Option<End>, Failure> {
    let state = tail.state();
    if state.phase.is_final() {
        return Ok(Some(End::Job(state.phase)));
    }
    if state.approved || state.pid.is_some() {
        return Err(waits_no_more(tail.folder().job(), nothing));
    }
    here.out.note(&format!("the plan has become another one meanwhile: {nothing}"));
    Ok(None)
}

fn waits_no_more(job: &JobId, nothing: &str) -> Failure {
    let message = format!("the plan of {job} does not wait for a word any more: {nothing}");
    Failure::new(Exit::Blocked, message).hint(format!("numerus kill {job} ends it"))
}

fn cancel(here: &mut Here, folder: &RunFolder) -> Result<Exit, Failure> {
    let said = kill::of_job(&here.root, folder)?;
    here.out.line(&said)?;
    here.out.note(&format!("numerus retry {} plans it once more", folder.job()));
    Ok(Exit::JobFailed)
}

fn ask(here: &mut Here, wakes: &mut Wakes) -> Result<Answer, u8> {
    loop {
        let line = wakes.ask(here, "start it? [y]es, [e]dit, [n]o: ")?;
        if let Some(answer) = understood(line.as_deref()) {
            return Ok(answer);
        }
        here.out.note(
            "y starts it, e opens the plan in your editor, n kills the job; Ctrl-C lets it wait",
        );
    }
}

/// What a typed line means; `None` if it means nothing. The end of input leaves the job where it is.
fn understood(line: Option<&str>) -> Option<Answer> {
    match line.map(|l| l.trim().to_lowercase()).as_deref() {
        None => Some(Answer::Later),
        Some("g" | "go" | "y" | "yes") => Some(Answer::Go),
        Some("e" | "edit") => Some(Answer::Edit),
        Some("c" | "cancel" | "n" | "no") => Some(Answer::Cancel),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_executed_without_a_clear_go() {
        for (line, answer) in [
            (Some("g\n"), Some(Answer::Go)),
            (Some(" GO \n"), Some(Answer::Go)),
            (Some("Yes"), Some(Answer::Go)),
            (Some("e\n"), Some(Answer::Edit)),
            (Some("n\n"), Some(Answer::Cancel)),
            (Some("c\n"), Some(Answer::Cancel)),
            (Some("\n"), None),
            (Some("later\n"), None),
            (None, Some(Answer::Later)),
        ] {
            assert_eq!(understood(line), answer, "{line:?}");
        }
    }
}
