//! `numerus attach`: what the agent of a task says and does, as it does it, from one session to the next until the task has
//! ended; or the bytes that codex prints. It only looks: the agent does not notice.

use clap::Args;

use super::follow::{self, JournalTail, Wake, Wakes};
use super::here::Here;
use super::tail::Tail;
use super::{idle, logs, lookup, transcript, wait};
use crate::codex::log::Style;
use crate::error::{Exit, Failure};
use crate::logic::idle::Idle;
use crate::model::event::{Event, Fact};
use crate::model::id::OF_JOB;
use crate::model::status::{JobPhase, TaskPhase};
use crate::os::signals::INTERRUPT;
use crate::runs::{RunFolder, Runs};

/// Events, or bytes, of what was before that are shown.
const BEFORE_EVENTS: usize = 20;
const BEFORE_BYTES: usize = 4096;
/// Pieces that are shown before the job is looked at again.
const MAX_PIECES: u32 = 256;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Attach {
    /// The task (plan, roles and queen count as tasks); of a job with one running session, the job
    #[arg(value_name = "JOB[/TASK]")]
    target: String,
    /// Print the bytes of the terminal as they are
    #[arg(long)]
    raw: bool,
    /// Print raw bytes even to a terminal, which obeys what an agent wrote
    #[arg(long, requires = "raw")]
    yes: bool,
    /// Give the agent what is typed: refused, since no agent listens
    #[arg(long)]
    input: bool,
}

/// Shows.
pub(super) fn run(here: &mut Here, asked: &Attach) -> Result<Exit, Failure> {
    if asked.input {
        return Err(Failure::usage(
            "an agent gets its prompt once and takes no input while it works",
        )
        .hint(format!("numerus send {} TEXT tells it with its next prompt", asked.target)));
    }
    logs::check_raw(asked.raw, asked.yes)?;
    let (prefix, place) = logs::place_of(&asked.target);
    let job = lookup::find_job(&here.root, prefix)?.job;
    let folder = Runs::of(&here.root).folder(&job);
    let mut journal = JournalTail::new(folder.clone());
    journal.read()?;
    let place = chosen(&journal, place)?;
    idle::tell_not_begun(here, &job);
    show(here, asked.raw, &folder, &mut journal, &place)
}

/// The place to look at: the one that was named, or the only one where a session runs.
fn chosen(journal: &JournalTail, place: Option<&str>) -> Result<String, Failure> {
    let (job, state) = (journal.folder().job(), journal.state());
    let Some(place) = place else {
        let open: Vec<&String> = state.open_sessions.keys().collect();
        return match open.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(Failure::new(Exit::Blocked, format!("no session of {job} runs"))
                .hint(format!("numerus attach {job}/TASK waits for one of a task"))),
            several => {
                let names: Vec<&str> = several.iter().map(|p| p.as_str()).collect();
                Err(Failure::usage(format!("sessions of {job} run in {}", names.join(", ")))
                    .hint(format!("numerus attach {job}/{} looks at one", names[0])))
            }
        };
    };
    let is_task = state.tasks.iter().any(|t| t.task.id.as_str() == place);
    if is_task || OF_JOB.contains(&place) {
        return Ok(place.to_owned());
    }
    Err(Failure::new(Exit::Unknown, format!("{job} has no task {place:?}"))
        .hint(format!("numerus status {job} lists them")))
}

fn show(
    here: &mut Here,
    raw: bool,
    folder: &RunFolder,
    journal: &mut JournalTail,
    place: &str,
) -> Result<Exit, Failure> {
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let dir = folder.place(place);
    let mut talk = if raw {
        Talk { raw, tail: Tail::new(&dir.stdout_log(), Style::Text.marker()), session: None }
    } else {
        Talk { raw, tail: Tail::new(&dir.transcript(), Style::Events.marker()), session: None }
    };
    let name = format!("{}/{place}", folder.job());
    talk.skip(here)?;
    loop {
        follow::watch(&here.root, &mut wakes, folder);
        wakes.add(dir.dir());
        let (events, held) = journal.look()?;
        talk.show(here, MAX_PIECES)?;
        for event in &events {
            tell(here, &name, place, event);
        }
        if let Some(end) = ended(journal, place, held) {
            talk.show(here, u32::MAX)?;
            here.out.note(&format!("{name}: {}", end.0));
            return Ok(end.1);
        }
        if let Some(end) = follow::end_of_untaken(&here.root, journal)? {
            here.out.note(&wait::said(folder.job(), &end));
            return Ok(end.exit());
        }
        match wakes.next() {
            Wake::Signal(signal) if i32::from(signal) == INTERRUPT => {
                here.out.note(&format!("{name}: goes on without you"));
                return Ok(Exit::Done);
            }
            Wake::Signal(signal) => return Ok(Exit::Signal(signal)),
            _ => {}
        }
    }
}

/// What comes of a place, as it is shown.
struct Talk {
    /// Whether the bytes of the terminal are wanted, and not what `logs` tells.
    raw: bool,
    tail: Tail,
    /// The session, with its attempt, that was told last.
    session: Option<(u64, u64)>,
}

impl Talk {
    /// Passes over what was before, but for its end.
    fn skip(&mut self, here: &mut Here) -> Result<(), Failure> {
        if self.raw {
            let mut last = Vec::new();
            loop {
                let bytes = read(self.tail.new_bytes())?;
                if bytes.is_empty() {
                    return here.out.bytes(&last);
                }
                last.extend(bytes);
                last.drain(..last.len().saturating_sub(BEFORE_BYTES));
            }
        }
        let mut last = Vec::new();
        loop {
            let lines = read(self.tail.new_lines())?;
            if lines.is_empty() {
                return self.tell(here, &last);
            }
            last.extend(lines);
            last.drain(..last.len().saturating_sub(BEFORE_EVENTS));
        }
    }

    /// Shows what is new.
    fn show(&mut self, here: &mut Here, most: u32) -> Result<(), Failure> {
        for _ in 0..most {
            if self.raw {
                let bytes = read(self.tail.new_bytes())?;
                if bytes.is_empty() {
                    break;
                }
                here.out.bytes(&bytes)?;
            } else {
                let lines = read(self.tail.new_lines())?;
                if lines.is_empty() {
                    break;
                }
                self.tell(here, &lines)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, here: &mut Here, lines: &[String]) -> Result<(), Failure> {
        lines.iter().try_for_each(|line| {
            let text = transcript::told(&transcript::read(line), &mut self.session, "", &here.view);
            here.out.text(&text)
        })
    }
}

fn read<T>(new: std::io::Result<T>) -> Result<T, Failure> {
    new.map_err(|e| Failure::system("read the log", &e))
}

/// A session that begins or ends, on stderr.
fn tell(here: &mut Here, name: &str, place: &str, event: &Event) {
    match &event.fact {
        Fact::SessionStarting(start) if start.place == place => {
            let (number, kind) = (start.number, start.kind.as_str());
            here.out.note(&format!("{name}: session {number} ({kind}) begins"));
        }
        Fact::SessionEnded(end) if end.place == place => {
            here.out.note(&format!("{name}: session {} has ended", end.number));
        }
        _ => {}
    }
}

/// Whether nothing more will be printed: why, and the code for it.
fn ended(journal: &JournalTail, place: &str, held: bool) -> Option<(String, Exit)> {
    let state = journal.state();
    let task = state.tasks.iter().find(|t| t.task.id.as_str() == place);
    if let Some(phase) = task.map(|t| t.phase).filter(|p| p.is_final()) {
        let code = if phase == TaskPhase::Succeeded { Exit::Done } else { Exit::JobFailed };
        return Some((phase.as_str().to_owned(), code));
    }
    let job = state.phase.as_str();
    match state.phase {
        JobPhase::Succeeded => Some((format!("the job has ended ({job})"), Exit::Done)),
        JobPhase::Failed | JobPhase::Killed => {
            Some((format!("the job has ended ({job})"), Exit::JobFailed))
        }
        // It has just been taken up, or is about to be let go.
        JobPhase::Paused if held => None,
        JobPhase::Queued => None,
        JobPhase::Paused | JobPhase::Planning | JobPhase::Running => {
            let idle = Idle::of(state.phase, state.pause, held)?;
            Some((idle.told(&state.standing.message).to_owned(), Exit::Blocked))
        }
    }
}
