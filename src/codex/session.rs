//! One `codex exec` in one PTY, from the durable intent to start it to its fenced end.
//!
//! A thread reads the terminal and writes the logs; another waits for the process; this loop turns what they tell into
//! inputs of `logic::supervise` and carries out its effects. The order at the start: intent on disk, and beside that all
//! that codex will find, then codex. At the end: nothing of it lives, then the end on disk.

use std::io::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::conclusion::{conclude, never_started};
use super::enclosing::Enclosing;
use super::fence;
use super::log_budget::Budget;
use super::opening::{Ready, make_ready, order, prepare};
use super::program::Codex;
use super::pulse;
use super::reader::{self, Heard, Logs};
use crate::logic::classify::{Seen, Turn};
use crate::logic::enforce::Opened;
use crate::logic::supervise::{Effect, Input, Limits, Machine, Phase, StopReason};
use crate::logic::transcript::Line;
use crate::model::event::{Fact, SessionEnd, SessionKind, SessionStart};
use crate::model::id::JobId;
use crate::model::job::Sandbox;
use crate::model::outcome::Tokens;
use crate::os::bounds::Bounds;
use crate::os::cgroup::Cgroup;
use crate::os::child::NotStarted;
use crate::os::family::Born;
use crate::os::lock::FileLock;
use crate::os::process::Target;
use crate::os::pty::{PtyProcess, PtyTerminal};
use crate::os::{clock, process};
use crate::runs::Place;

/// Puts a fact into the job's journal; durable when it comes back.
pub type Record = dyn Fn(Fact) -> Result<()> + Send + Sync;

/// Pieces of what was heard that may wait for this loop; each may be as large as a line.
const HEARD_QUEUE: usize = 16;
/// What codex prints on stderr when its sandbox will not work.
pub(super) const HELPER_WARNING: &str = "could not create PATH aliases";
/// Folders that codex's sandbox leaves behind in the directory it worked in.
const RESIDUE: [&str; 4] = [".agents", ".aws", ".codex", ".git"];

/// What a session is to do.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// The job.
    pub job: JobId,
    /// Where its files go.
    pub place: Place,
    /// The place's name.
    pub place_name: String,
    /// Its number in that place.
    pub number: u32,
    /// What it is for.
    pub kind: SessionKind,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// The directory it works in.
    pub cwd: PathBuf,
    /// What it is asked.
    pub prompt: String,
    /// The schema of its answer.
    pub schema: Option<Value>,
    /// The thread to go on with, and what that thread has spent so far.
    pub resume: Option<(String, Tokens)>,
    /// What it may write.
    pub sandbox: Sandbox,
    /// All that it may write in its directory, where that is less than its sandbox would let it.
    pub opened: Option<Opened>,
    /// Whether its tools may use the network.
    pub network: bool,
    /// The model.
    pub model: Option<String>,
    /// The profile.
    pub profile: Option<String>,
    /// Its deadlines.
    pub limits: Limits,
    /// How much of what it prints is kept.
    pub logs: Arc<Budget>,
}

/// A session that has ended and is fenced.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What the journal says of it.
    pub end: SessionEnd,
    /// The agent's last words.
    pub message: Option<String>,
}

/// What a running session holds.
pub(super) struct Live {
    pub(super) machine: Machine,
    pub(super) seen: Seen,
    terminal: Option<PtyTerminal>,
    family: Family,
    /// How it gets into its group.
    enclosing: Option<Enclosing>,
    slot: Option<FileLock>,
    pub(super) logs: Logs,
    pub(super) survivors: Vec<u32>,
    pub(super) pulse: mpsc::WeakSender<Heard>,
}

/// What is known of a session's processes beside their marks: the first one, and their group.
type Family = (Arc<Target>, Option<Cgroup>);

/// A session that has begun.
struct Begun {
    process: PtyProcess,
    group: Option<Cgroup>,
    bounds: Bounds,
    slot: Option<FileLock>,
    logs: Logs,
}

/// Runs one session. `slot` bounds the starts at a time and is let go once codex has confirmed its start.
///
/// # Errors
/// Those of the system: files that cannot be written, processes that cannot be started. Nothing of the session lives then,
/// either. How codex fared is in [`Ended`].
pub async fn run(
    codex: &Codex,
    spec: &SessionSpec,
    slot: Option<FileLock>,
    record: &Record,
    stop: watch::Receiver<Option<StopReason>>,
) -> Result<Ended> {
    prepare(spec)?;
    // Without links on the way: the kernel is told where things are. One that is gone is found at the start.
    let home = spec.cwd.canonicalize().ok();
    let residue_before = residue(spec);
    let (logs, stderr) = Logs::open(spec)?;
    let order = order(codex, spec, home.as_deref())?;
    let ready = spawn_blocking(move || make_ready(order, stderr.into()));
    let group = fence::plan_group(&spec.job);
    record(Fact::SessionStarting(starting(spec, group.as_ref())))?;
    let ready = ready.await.map_err(Error::other)?;
    let process = ready.map_err(NotStarted::Settling).and_then(Ready::begin);
    let process = match process {
        Ok(process) => process,
        Err(why) => return never_started(spec, why, record),
    };
    let left = (process.target.clone(), group.clone());
    let begun = Begun { process, group, bounds: codex.bounds, slot, logs: logs.clone() };
    let watched = supervise(begun, spec, record, stop).await;
    if watched.is_err() {
        let _what_is_left = end_family(spec, left).await;
    }
    if !logs.close_at_once() {
        spawn_blocking(move || logs.close()).await.map_err(Error::other)?;
    }
    let live = watched?;
    remove_residue(spec, (home, residue_before));
    conclude(codex, spec, live, record)
}

/// Watches over a session that has begun until it has ended.
async fn supervise(
    Begun { process, group, bounds, slot, logs }: Begun,
    spec: &SessionSpec,
    record: &Record,
    mut stop: watch::Receiver<Option<StopReason>>,
) -> Result<Live> {
    let PtyProcess { pid, target: leader, output, child, terminal } = process;
    let (place, number) = (spec.place_name.clone(), spec.number);
    record(Fact::SessionOpened { place, number, pid })?;
    let (tell, mut heard) = mpsc::channel(HEARD_QUEUE);
    let pulse = tell.downgrade();
    reader::start(output, child, logs.clone(), tell)?;
    let machine = Machine::new(spec.limits, clock::since_boot());
    let (seen, terminal, survivors) = (Seen::default(), Some(terminal), Vec::new());
    let enclosing = group.clone().map(|group| enclose(spec, pid, (group, bounds)));
    let family = (leader, group);
    let mut live =
        Live { machine, seen, terminal, family, enclosing, slot, logs, survivors, pulse };
    while live.machine.phase() != Phase::Ended {
        let input = next_input(&mut live, spec, &mut heard, &mut stop, record).await?;
        for effect in live.machine.step(input, clock::since_boot()) {
            carry_out(effect, &mut live, spec).await?;
            if effect == Effect::KillFamily {
                // Only tells how late it is: anything asked for now was just done.
                live.machine.step(Input::Swept, clock::since_boot());
            }
        }
    }
    Ok(live)
}

/// Ends all that is left of the session, apart from the loop; gives back what would not die. The first process goes first.
async fn end_family(spec: &SessionSpec, (leader, group): Family) -> Result<Vec<u32>> {
    let (job, place, lock) = (spec.job.clone(), spec.place_name.clone(), spec.place.session_lock());
    // Who could write may have had somebody else on the machine start something (`at`), and is looked for everywhere.
    let is_below = spec.sandbox == Sandbox::ReadOnly;
    if is_below && fence::has_ended(&job, group.as_ref(), &lock, leader.pid()) {
        return Ok(Vec::new());
    }
    let born = if is_below { Born::Below(leader.pid()) } else { Born::WithUs };
    let end = move || {
        leader.kill();
        fence::end_session(&job, &place, group.as_ref(), &lock, born)
    };
    spawn_blocking(end).await.map_err(Error::other)
}

/// Makes the session's control group and puts it there, beside the loop, with all that it has started by then.
fn enclose(spec: &SessionSpec, leader: u32, (group, bounds): (Cgroup, Bounds)) -> Enclosing {
    let (job, place) = (spec.job.clone(), spec.place_name.clone());
    Enclosing::in_a_moment(move || {
        if group.make() {
            group.bound(bounds);
            fence::enclose(&job, &place, leader, &group);
        }
    })
}

fn starting(spec: &SessionSpec, group: Option<&Cgroup>) -> SessionStart {
    SessionStart {
        place: spec.place_name.clone(),
        number: spec.number,
        kind: spec.kind,
        attempt: spec.attempt,
        boot_id: process::boot_id(),
        cgroup: group.map(|g| g.path().to_string_lossy().into_owned()),
        resumes: spec.resume.as_ref().map(|(thread, _)| thread.clone()),
        writable: spec.opened.as_ref().map(Opened::writable).unwrap_or_default(),
        shut: spec.opened.as_ref().map(|opened| opened.shut.clone()).unwrap_or_default(),
    }
}

/// The next thing that the machine should hear of; what codex said is noted on the way.
async fn next_input(
    live: &mut Live,
    spec: &SessionSpec,
    heard: &mut mpsc::Receiver<Heard>,
    stop: &mut watch::Receiver<Option<StopReason>>,
    record: &Record,
) -> Result<Input> {
    let wake = live.machine.wake_at().unwrap_or_default().saturating_sub(clock::since_boot());
    let wanted = live.machine.stop_reason();
    tokio::select! {
        biased;
        Some(reason) = stronger(stop, wanted) => Ok(Input::Stop(reason)),
        said = heard.recv() => match said {
            Some(Heard::Line(line)) => take_line(live, spec, line, record),
            Some(Heard::Exited(code)) => {
                live.seen.exit = code;
                Ok(Input::Exited)
            }
            Some(Heard::Output) => Ok(Input::Output),
            Some(Heard::Vitals(vitals)) => Ok(Input::Looked(vitals)),
            Some(Heard::EndOfStream) | None => Ok(Input::EndOfStream),
        },
        () = tokio::time::sleep(wake.max(Duration::from_millis(1))) => Ok(Input::Tick),
    }
}

/// Resolves when someone wants the session ended for a better reason than the one it already ends for.
async fn stronger(
    stop: &mut watch::Receiver<Option<StopReason>>,
    wanted: Option<StopReason>,
) -> Option<StopReason> {
    let result = stop.wait_for(|reason| *reason > wanted).await.map(|r| *r);
    match result {
        Ok(reason) => reason,
        Err(_) => std::future::pending().await,
    }
}

fn take_line(live: &mut Live, spec: &SessionSpec, line: Line, record: &Record) -> Result<Input> {
    match line {
        Line::ThreadStarted(thread_id) => return confirmed(live, spec, thread_id, record),
        Line::TurnCompleted(tokens) => live.seen.turn = Some(Turn::Completed(tokens)),
        Line::TurnFailed(message) => live.seen.turn = Some(Turn::Failed(message)),
        Line::Error(message) => live.seen.last_error = Some(message),
        Line::Message(text) => live.seen.last_message = Some(text),
        Line::Other | Line::Text => {}
    }
    Ok(Input::Output)
}

/// Codex has said its thread: it must be the one that was asked for, and its sandbox must work.
fn confirmed(
    live: &mut Live,
    spec: &SessionSpec,
    thread_id: String,
    record: &Record,
) -> Result<Input> {
    live.slot = None;
    live.seen.thread_id = Some(thread_id.clone());
    let (place, number) = (spec.place_name.clone(), spec.number);
    record(Fact::SessionConfirmed { place, number, thread_id })?;
    live.seen.helper_missing = live.logs.errors.tail().contains(HELPER_WARNING);
    Ok(if live.seen.helper_missing { Input::Stop(StopReason::BadStart) } else { Input::Confirmed })
}

async fn carry_out(effect: Effect, live: &mut Live, spec: &SessionSpec) -> Result<()> {
    match effect {
        Effect::Look => pulse::look(spec, &live.pulse),
        Effect::Interrupt => {
            live.family.0.interrupt();
        }
        Effect::KillFamily => {
            if let Some(enclosing) = live.enclosing.take() {
                enclosing.end().await;
            }
            live.survivors = end_family(spec, live.family.clone()).await?;
        }
        Effect::HangUp => live.terminal = None,
    }
    Ok(())
}

/// What may be left of the sandbox, in the directory and in each one that was opened by itself.
fn residue(spec: &SessionSpec) -> Vec<PathBuf> {
    let opened = spec.opened.iter().flat_map(|opened| &opened.dirs).map(|dir| spec.cwd.join(dir));
    let dirs = std::iter::once(spec.cwd.clone()).chain(opened);
    let paths = dirs.flat_map(|dir| RESIDUE.map(|name| dir.join(name)));
    paths.filter(|path| path.exists()).collect()
}

/// Removes what codex's sandbox left: only what is empty and was not there before, and only where the session began: who
/// has no sandbox can put a link to somebody else's folder in its place.
fn remove_residue(spec: &SessionSpec, (home, before): (Option<PathBuf>, Vec<PathBuf>)) {
    if spec.cwd.canonicalize().ok() != home {
        return;
    }
    for path in residue(spec).iter().filter(|path| !before.contains(path)) {
        let _not_empty = rustix::fs::rmdir(path.as_path());
    }
}
