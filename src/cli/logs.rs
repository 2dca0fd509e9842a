//! `numerus logs`: what the agents of a job said and did, from the transcripts in its run folder.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::follow::{self, End, JournalTail, Onlooker as _, Wake, Wakes};
use super::here::Here;
use super::ink::Tone;
use super::live::Live;
use super::tail::Tail;
use super::transcript::{self, Said};
use super::{idle, lookup, seams, snapshot, wait};
use crate::codex::log::Style;
use crate::error::{Exit, Failure};
use crate::logic::idle::Idle;
use crate::model::id::OF_JOB;
use crate::model::root::Root;
use crate::model::status::{PauseReason, TaskPhase};
use crate::os::console::{is_terminal, neutral_bytes, one_line};
use crate::os::fsx;
use crate::runs::{RunFolder, Runs};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The job, or one of its tasks (plan, roles, queen and verify count as tasks)
    #[arg(value_name = "JOB[/TASK]")]
    target: String,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Print the bytes of the terminals as they are
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print raw bytes even to a terminal, which obeys what an agent wrote
    #[arg(long, requires = "raw")]
    yes: bool,
    /// Print the parsed events as they are on disk, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// The place of the verify commands.
const VERIFY: &str = "verify";
/// Most bytes of what they printed that are shown, from the end.
const MAX_OUTPUT_BYTES: u64 = 16 * 1024 * 1024;

/// Pieces of a place that are told before the others are looked at again: a writer that is faster than its reader must not
/// keep it for ever.
const MAX_PIECES: u32 = 4096;

/// One place of a job, as it is read.
struct Voice {
    name: String,
    tail: Tail,
    session: Option<(u64, u64)>,
    /// Lines that have been read and not yet told, with their times.
    waiting: VecDeque<(Option<Timestamp>, String)>,
    /// The time of the last one: that of lines which have none.
    last: Option<Timestamp>,
    /// Whether anything of it was told.
    has_spoken: bool,
}

impl Voice {
    /// Reads on where nothing waits to be told; whether something does then.
    fn read_on(&mut self) -> std::io::Result<bool> {
        if self.waiting.is_empty() {
            for line in self.tail.new_lines()? {
                self.last = transcript::read(&line).at.or(self.last);
                self.waiting.push_back((self.last, line));
            }
        }
        Ok(!self.waiting.is_empty())
    }
}

/// Shows the transcripts.
pub(super) fn run(here: &mut Here, asked: &Logs) -> Result<Exit, Failure> {
    check_raw(asked.raw, asked.yes)?;
    let (prefix, place) = place_of(&asked.target);
    let job = lookup::find_job(&here.root, prefix)?.job;
    let folder = Runs::of(&here.root).folder(&job);
    if asked.follow {
        idle::tell_not_begun(here, &job);
    }
    if let Some(place) = place {
        known_place(&folder, place)?;
        if place == VERIFY {
            return output_of_commands(here, &folder);
        }
    }
    let mut journal = JournalTail::new(folder.clone());
    // Who does not wait watches nothing: the kernel takes ten milliseconds and more to forget a watch.
    let (mut wakes, mut voices) = (asked.follow.then(Wakes::new), BTreeMap::new());
    let mut told_left = false;
    let mut live = (asked.follow && !asked.raw).then(Live::below).filter(Live::is_on_screen);
    if let Some(wakes) = wakes.as_mut().filter(|_| live.is_some()) {
        wakes.catch_signals()?;
    }
    loop {
        if let Some(wakes) = &mut wakes {
            follow::watch(&here.root, wakes, &folder);
        }
        let (_, held) = journal.look()?;
        find_voices(&folder, place, asked.raw, &mut voices)?;
        if let Some(wakes) = &mut wakes {
            for name in voices.keys() {
                wakes.add(folder.place(name).dir());
            }
        }
        speak(here, asked, place.is_none(), &mut voices)?;
        let Some(wakes) = wakes.as_mut().filter(|_| !is_over(&here.root, &journal, held)) else {
            if !voices.values().any(|voice| voice.has_spoken) {
                let why = why_silent(&folder, place)?;
                here.out.note(&why);
            }
            if asked.follow && !held && !journal.state().phase.is_final() {
                tell_resting(here, &journal);
            }
            return Ok(Exit::Done);
        };
        if is_left(&journal, held) && !std::mem::replace(&mut told_left, true) {
            here.out.note(&format!("{job}: its worker has gone; the daemon starts the next one"));
        }
        if let Some(end) = follow::end_of_untaken(&here.root, &journal)? {
            here.out.note(&wait::said(&job, &end));
            return Ok(Exit::Done);
        }
        let time = live.as_mut().and_then(|l| l.looked(here, wakes, &journal, held));
        match wakes.next_within(time.unwrap_or(Duration::MAX)) {
            Wake::Signal(signal) => return Ok(Exit::Signal(signal)),
            Wake::Continued => here.out.forget(),
            _ => {}
        }
    }
}

/// Why there is nothing to show.
fn why_silent(folder: &RunFolder, place: Option<&str>) -> Result<String, Failure> {
    let job = folder.job();
    let status = snapshot::status(folder)?;
    let is_over = status.as_ref().is_some_and(|s| s.state.is_final());
    let tasks = status.map(|s| s.tasks).unwrap_or_default();
    let task = tasks.iter().find(|task| place == Some(task.id.as_str()));
    Ok(match task.map(|task| (task, task.state)) {
        Some((task, TaskPhase::Skipped)) => {
            let why = Some(&task.message).filter(|m| !m.is_empty());
            let why = why.map(|message| format!(": {message}")).unwrap_or_default();
            one_line(&format!("{job}/{} was left undone, so no agent worked on it{why}", task.id))
        }
        Some((task, TaskPhase::Failed)) if task.attempt == 0 => {
            one_line(&format!("{job}/{} never began: {}", task.id, task.message))
        }
        Some((task, _)) if task.attempt == 0 && !is_over => {
            format!("{job}/{} has not begun yet", task.id)
        }
        _ => {
            let place = place.map(|place| format!("/{place}")).unwrap_or_default();
            let yet = if is_over { "" } else { " yet" };
            one_line(&format!("no agent of {job}{place} has said anything{yet}"))
        }
    })
}

/// What the verify commands printed: they are no agents, and say things as they come.
fn output_of_commands(here: &mut Here, folder: &RunFolder) -> Result<Exit, Failure> {
    let log = folder.place(VERIFY).command_log(VERIFY);
    if !log.is_file() {
        here.out.note(&format!("no verify command of {} has run yet", folder.job()));
        return Ok(Exit::Done);
    }
    let bytes = fsx::read_tail(&log, MAX_OUTPUT_BYTES);
    let bytes = bytes.map_err(|e| Failure::system("read the log", &e))?;
    here.out.text(&neutral_bytes(&bytes))?;
    Ok(Exit::Done)
}

/// Refuses the bytes of an agent to a terminal, which obeys them, unless the person wants just that.
pub(super) fn check_raw(raw: bool, yes: bool) -> Result<(), Failure> {
    if raw && !yes && is_terminal(&std::io::stdout()) {
        return Err(Failure::usage(
            "raw bytes of an agent can make this terminal do what they say",
        )
        .hint("send them to a file or through `less`, or say --yes"));
    }
    Ok(())
}

/// Splits `JOB/PLACE`; unlike a task's, a place's name may be a reserved one.
pub(super) fn place_of(target: &str) -> (&str, Option<&str>) {
    let target = target.trim_end_matches('/');
    target.split_once('/').map_or((target, None), |(job, place)| (job, Some(place)))
}

/// Whether the job has ended, rests, or has lost its worker without a daemon that starts another: nothing more is said then.
fn is_over(root: &Root, journal: &JournalTail, held: bool) -> bool {
    let state = journal.state();
    if is_left(journal, held) {
        let rests = snapshot::left_at_rest(journal.folder(), state.phase, held).is_some();
        return rests || !seams::has_daemon(root);
    }
    let idle = Idle::of(state.phase, state.pause, held);
    state.phase.is_final() || matches!(idle, Some(Idle::Rests(_)))
}

fn is_left(journal: &JournalTail, held: bool) -> bool {
    let state = journal.state();
    Idle::of(state.phase, state.pause, held) == Some(Idle::Left)
}

/// Why nothing more comes of a job that has not ended.
fn tell_resting(here: &mut Here, journal: &JournalTail) {
    let (job, state) = (journal.folder().job(), journal.state());
    let left = snapshot::left_at_rest(journal.folder(), state.phase, false);
    let end = match (state.pause, left) {
        (Some(reason), _) => End::Paused(reason, state.standing.message.clone()),
        (None, Some(message)) => End::Paused(PauseReason::User, message),
        (None, None) => End::NoWorker,
    };
    here.out.note(&wait::said(job, &end));
}

/// The names of the folders that sessions have written in.
fn places(folder: &RunFolder) -> Result<Vec<String>, Failure> {
    let mut names = fsx::list(folder.dir()).map_err(|e| Failure::system("read the run", &e))?;
    let speaks = |name: &String| {
        let place = folder.place(name);
        place.transcript().is_file() || place.stdout_log().is_file()
    };
    names.retain(speaks);
    names.sort();
    Ok(names)
}

fn known_place(folder: &RunFolder, place: &str) -> Result<(), Failure> {
    let status = snapshot::status(folder)?;
    let is_task = status.is_some_and(|s| s.tasks.iter().any(|t| t.id.as_str() == place));
    let reserved = OF_JOB.contains(&place) || place == VERIFY;
    if is_task || reserved || places(folder)?.iter().any(|p| p == place) {
        return Ok(());
    }
    let job = folder.job();
    Err(Failure::new(Exit::Unknown, format!("{job} has no task {place:?}"))
        .hint(format!("numerus status {job} lists them")))
}

fn find_voices(
    folder: &RunFolder,
    only: Option<&str>,
    raw: bool,
    voices: &mut BTreeMap<String, Voice>,
) -> Result<(), Failure> {
    for name in places(folder)?.into_iter().filter(|n| only.is_none_or(|o| o == n)) {
        let place = folder.place(&name);
        let (path, style) = if raw {
            (place.stdout_log(), Style::Text)
        } else {
            (place.transcript(), Style::Events)
        };
        let tail = || Tail::new(&path, style.marker());
        let voice = || Voice {
            name: name.clone(),
            tail: tail(),
            session: None,
            waiting: VecDeque::new(),
            last: None,
            has_spoken: false,
        };
        voices.entry(name.clone()).or_insert_with(voice);
    }
    Ok(())
}

/// Prints what is new: bytes place by place, lines in the order of time.
fn speak(
    here: &mut Here,
    asked: &Logs,
    named: bool,
    voices: &mut BTreeMap<String, Voice>,
) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("read the log", &e);
    if asked.raw {
        for voice in voices.values_mut() {
            for _ in 0..MAX_PIECES {
                let bytes = voice.tail.new_bytes().map_err(cannot)?;
                if bytes.is_empty() {
                    break;
                }
                here.out.bytes(&bytes)?;
                voice.has_spoken = true;
            }
        }
        return Ok(());
    }
    // Each place is read piece by piece, and left for the next call once there is nothing new in it.
    let mut talking: Vec<&mut Voice> = voices.values_mut().collect();
    for _ in 0..MAX_PIECES {
        let mut further = Vec::new();
        for voice in talking {
            if voice.read_on().map_err(cannot)? {
                further.push(voice);
            }
        }
        talking = further;
        if talking.is_empty() {
            break;
        }
        tell(here, asked, named, &mut talking)?;
    }
    Ok(())
}

/// Tells what waits, in the order of time, until a place has nothing more that waits.
fn tell(
    here: &mut Here,
    asked: &Logs,
    named: bool,
    talking: &mut [&mut Voice],
) -> Result<(), Failure> {
    while talking.iter().all(|voice| !voice.waiting.is_empty()) {
        // The first of those that are equally old: within a place the order is that of its file.
        let oldest = talking.iter_mut().min_by_key(|v| v.waiting.front().and_then(|(at, _)| *at));
        let Some(voice) = oldest else { return Ok(()) };
        let Some((_, line)) = voice.waiting.pop_front() else { return Ok(()) };
        if asked.json {
            // No reader of JSON could read on after one that was cut off.
            if !transcript::is_cut_off(&line) {
                here.out.json(&line)?;
                voice.has_spoken = true;
            }
        } else {
            let text = shown(here, voice, &transcript::read(&line), named);
            here.out.text(&text)?;
            voice.has_spoken |= !text.is_empty();
        }
    }
    Ok(())
}

fn shown(here: &Here, voice: &mut Voice, said: &Said, named: bool) -> String {
    let name = format!("{} | ", voice.name);
    let lead = if named { here.view.ink.paint(Tone::Dim, &name) } else { String::new() };
    transcript::told(said, &mut voice.session, &lead, &here.view)
}
