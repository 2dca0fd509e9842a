//! One `codex exec` in one PTY, from the durable intent to start it to its fenced end.
//!
//! A thread reads the terminal and writes the logs; another waits for the process; this loop turns what they tell into
//! inputs of `logic::supervise` and carries out its effects. The order at the start: intent on disk, then the spawn. At
//! the end: nothing of it lives, then the end on disk.

use std::ffi::OsString;
use std::io::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::command::{Call, arguments};
use super::fence::{self, JOB_MARK, PLACE_MARK};
use super::program::Codex;
use super::reader::{self, Heard};
use super::rollout;
use crate::logic::classify::{self, Seen, Turn};
use crate::logic::supervise::{Effect, Input, Limits, Machine, Phase, StopReason};
use crate::logic::transcript::Line;
use crate::model::event::{Fact, SessionEnd, SessionKind, SessionStart};
use crate::model::id::JobId;
use crate::model::job::Sandbox;
use crate::model::outcome::Tokens;
use crate::os::cgroup::Cgroup;
use crate::os::lock::FileLock;
use crate::os::pty::{PtyCommand, PtyTerminal, Spawner};
use crate::os::{clock, env, fsx, process};
use crate::runs::Place;

/// Puts a fact into the job's journal; durable when it comes back.
pub type Record = dyn Fn(Fact) -> Result<()> + Send + Sync;

/// Pieces of what was heard that may wait for this loop.
const HEARD_QUEUE: usize = 256;
/// What codex prints on stderr when its sandbox will not work.
const HELPER_WARNING: &str = "could not create PATH aliases";
/// Folders that codex's sandbox leaves behind in the directory it worked in.
const RESIDUE: [&str; 4] = [".agents", ".aws", ".codex", ".git"];
/// How much of stderr is kept for messages, in bytes.
const STDERR_TAIL_BYTES: u64 = 16 * 1024;

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
    /// Whether its tools may use the network.
    pub network: bool,
    /// The model.
    pub model: Option<String>,
    /// The profile.
    pub profile: Option<String>,
    /// Its deadlines.
    pub limits: Limits,
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
struct Live {
    machine: Machine,
    seen: Seen,
    terminal: Option<PtyTerminal>,
    group: Option<Cgroup>,
    slot: Option<FileLock>,
    stderr_from: u64,
    survivors: Vec<u32>,
}

/// Runs one session. `slot` bounds the starts at a time and is let go once codex has confirmed its start.
///
/// # Errors
/// Those of the system: files that cannot be written, processes that cannot be started. How codex fared is in [`Ended`].
pub async fn run(
    codex: &Codex,
    spawner: &Spawner,
    spec: &SessionSpec,
    slot: Option<FileLock>,
    record: &Record,
    mut stop: watch::Receiver<Option<StopReason>>,
) -> Result<Ended> {
    prepare(spec)?;
    let residue_before = residue(spec);
    let group = Cgroup::create(&format!("{}-{}-{}", spec.job, spec.place_name, spec.number));
    let stderr_from = spec.place.stderr_log().metadata().map_or(0, |m| m.len());
    record(Fact::SessionStarting(starting(spec, group.as_ref())))?;
    let command = command(codex, spec, group.as_ref())?;
    let spawner = spawner.clone();
    let spawned =
        tokio::task::spawn_blocking(move || spawner.spawn(command)).await.map_err(Error::other)?;
    let process = match spawned {
        Ok(process) => process,
        Err(error) => return never_started(spec, &error, record),
    };
    let (place, number) = (spec.place_name.clone(), spec.number);
    record(Fact::SessionOpened { place, number, pid: process.pid })?;
    let (tell, mut heard) = mpsc::channel(HEARD_QUEUE);
    reader::start(process.output, process.child, spec, tell)?;
    let machine = Machine::new(spec.limits, clock::since_boot());
    let terminal = Some(process.terminal);
    let survivors = Vec::new();
    let mut live =
        Live { machine, seen: Seen::default(), terminal, group, slot, stderr_from, survivors };
    while live.machine.phase() != Phase::Ended {
        let input = next_input(&mut live, spec, &mut heard, &mut stop, record).await?;
        for effect in live.machine.step(input, clock::since_boot()) {
            carry_out(effect, &mut live, spec, process.pid).await?;
        }
    }
    remove_residue(spec, &residue_before);
    conclude(codex, spec, live, record)
}

fn prepare(spec: &SessionSpec) -> Result<()> {
    fsx::make_dirs(spec.place.dir())?;
    fsx::replace_derived(&spec.place.prompt(spec.number), spec.prompt.as_bytes())?;
    if let Some(schema) = &spec.schema {
        fsx::replace_derived(&spec.place.schema(spec.number), schema.to_string().as_bytes())?;
    }
    Ok(())
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
    }
}

/// The fresh file that codex writes its last message into.
fn last_message(spec: &SessionSpec) -> PathBuf {
    spec.place.dir().join(format!("last-{}.txt", spec.number))
}

fn command(codex: &Codex, spec: &SessionSpec, group: Option<&Cgroup>) -> Result<PtyCommand> {
    let marks = [(JOB_MARK, spec.job.to_string()), (PLACE_MARK, spec.place_name.clone())];
    let schema = spec.schema.as_ref().map(|_| spec.place.schema(spec.number));
    let last = last_message(spec);
    fsx::remove(&last)?;
    let call = Call {
        sandbox: spec.sandbox,
        network: spec.network,
        model: spec.model.as_deref(),
        profile: spec.profile.as_deref(),
        last_message: &last,
        schema: schema.as_deref(),
        resume: spec.resume.as_ref().map(|(thread, _)| thread.as_str()),
        marks: &marks,
    };
    let mut argv: Vec<OsString> = vec![env::own_binary()?.into(), "__session".into()];
    argv.push(spec.place.session_lock().into());
    argv.push(spec.place.prompt(spec.number).into());
    argv.push(spec.place.stderr_log().into());
    argv.push(group.map_or_else(|| "-".into(), |g| g.procs().into()));
    argv.push("--".into());
    argv.extend(codex.program.iter().cloned());
    argv.extend(arguments(&call));
    let mut env = codex.env.clone();
    env.extend(marks.map(|(name, value)| (name.into(), value.into())));
    Ok(PtyCommand { argv, env, cwd: spec.cwd.clone() })
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
    live.seen.helper_missing = stderr(live, spec).contains(HELPER_WARNING);
    Ok(if live.seen.helper_missing { Input::Stop(StopReason::BadStart) } else { Input::Confirmed })
}

/// What this session has written to stderr, its end.
fn stderr(live: &Live, spec: &SessionSpec) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let Ok(mut file) = fsx::open_hostile(&spec.place.stderr_log()) else { return String::new() };
    let length = file.metadata().map_or(0, |m| m.len());
    let from = live.stderr_from.max(length.saturating_sub(STDERR_TAIL_BYTES));
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::Start(from))
        .and_then(|_| file.take(STDERR_TAIL_BYTES).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

async fn carry_out(effect: Effect, live: &mut Live, spec: &SessionSpec, pid: u32) -> Result<()> {
    match effect {
        Effect::Interrupt => {
            let marks = [(JOB_MARK, spec.job.as_str()), (PLACE_MARK, spec.place_name.as_str())];
            if let Some(codex) = process::Target::open(pid, |pid| process::carries(pid, &marks)) {
                codex.interrupt();
            }
        }
        Effect::KillFamily => {
            let (job, place, group) =
                (spec.job.clone(), spec.place_name.clone(), live.group.clone());
            let end = move || fence::end_family(&job, &place, group.as_ref());
            live.survivors = tokio::task::spawn_blocking(end).await.map_err(Error::other)?;
        }
        Effect::HangUp => live.terminal = None,
    }
    Ok(())
}

fn residue(spec: &SessionSpec) -> Vec<PathBuf> {
    RESIDUE.iter().map(|name| spec.cwd.join(name)).filter(|path| path.exists()).collect()
}

/// Removes what codex's sandbox left: only what is empty and was not there before.
fn remove_residue(spec: &SessionSpec, before: &[PathBuf]) {
    for path in residue(spec).iter().filter(|path| !before.contains(path)) {
        let _not_empty = rustix::fs::rmdir(path.as_path());
    }
}

fn never_started(spec: &SessionSpec, error: &Error, record: &Record) -> Result<Ended> {
    use crate::model::outcome::{Failure, FailureKind};
    let failure =
        Some(Failure::new(FailureKind::Transient, format!("cannot start codex: {error}")));
    let end = SessionEnd { failure, ..blank_end(spec) };
    record(Fact::SessionEnded(end.clone()))?;
    Ok(Ended { end, message: None })
}

fn blank_end(spec: &SessionSpec) -> SessionEnd {
    SessionEnd {
        place: spec.place_name.clone(),
        number: spec.number,
        kind: spec.kind,
        attempt: spec.attempt,
        failure: None,
        thread_id: None,
        tokens: Tokens::default(),
        thread_tokens: Tokens::default(),
    }
}

/// Judges the session and writes its end down.
fn conclude(codex: &Codex, spec: &SessionSpec, mut live: Live, record: &Record) -> Result<Ended> {
    live.seen.stderr = stderr(&live, spec);
    live.seen.helper_missing |= live.seen.stderr.contains(HELPER_WARNING);
    live.seen.stop = live.machine.stop_reason();
    tell_exit(spec, &live, record)?;
    let before = spec.resume.as_ref().map_or_else(Tokens::default, |(_, tokens)| *tokens);
    let own = live
        .seen
        .thread_id
        .as_deref()
        .map(|thread| rollout::read(&codex.home, thread))
        .unwrap_or_default();
    let total = match &live.seen.turn {
        Some(Turn::Completed(tokens)) => Some(*tokens),
        Some(Turn::Failed(_)) | None => None,
    };
    let tokens = rollout::turn_tokens(&own, total, before);
    let failure =
        classify::judge(&live.seen, &own).err().or_else(|| strange_thread(spec, &live.seen));
    let end = SessionEnd {
        failure,
        thread_id: live.seen.thread_id.clone(),
        tokens,
        thread_tokens: total.unwrap_or_else(|| before.plus(tokens)),
        ..blank_end(spec)
    };
    let message =
        fsx::read_optional(&last_message(spec)).ok().flatten().filter(|m| !m.trim().is_empty());
    let message = message.or(live.seen.last_message);
    let result = json!({ "session": end, "message": message });
    fsx::replace_derived(&spec.place.result(spec.number), format!("{result:#}\n").as_bytes())?;
    record(Fact::SessionEnded(end.clone()))?;
    Ok(Ended { end, message })
}

/// `resume` of a name that codex does not know starts a new thread without a word.
fn strange_thread(spec: &SessionSpec, seen: &Seen) -> Option<crate::model::outcome::Failure> {
    use crate::model::outcome::{Failure, FailureKind};
    let (wanted, _) = spec.resume.as_ref()?;
    let is_other = seen.thread_id.as_ref().is_some_and(|thread| thread != wanted);
    is_other.then(|| {
        Failure::new(FailureKind::Task, "codex did not go on with the thread of the claim")
    })
}

fn tell_exit(spec: &SessionSpec, live: &Live, record: &Record) -> Result<()> {
    let (place, number) = (spec.place_name.clone(), spec.number);
    let deadline = match live.machine.stop_reason() {
        Some(StopReason::Total) => Some("total"),
        Some(StopReason::NoProgress) => Some("no_progress"),
        Some(StopReason::BadStart | StopReason::Leave | StopReason::Kill) | None => None,
    };
    if let Some(deadline) = deadline {
        record(Fact::SessionTimedOut {
            place: place.clone(),
            number,
            deadline: deadline.to_owned(),
        })?;
    }
    if live.machine.stop_reason() == Some(StopReason::Kill) || !live.survivors.is_empty() {
        record(Fact::SessionKilled {
            place: place.clone(),
            number,
            survivors: live.survivors.clone(),
        })?;
    }
    record(Fact::SessionExited { place, number, code: live.seen.exit })
}
