//! Commands of the job file, `verify` and `setup`: run inside codex's sandbox with the executor's limits, output kept in
//! the run folder, ended with everything they started.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::desk::{Desk, Outcome, Stop, aside, bug};
use crate::codex::ask::told_to_stop;
use crate::codex::capture::Capture;
use crate::codex::command::confinement;
use crate::codex::fence::{self, JOB_MARK, PLACE_MARK};
use crate::codex::log::{Log, Style};
use crate::logic::followups::COMMAND_MARK;
use crate::model::event::CommandResult;
use crate::model::job::Sandbox;
use crate::model::outcome::{Failure, FailureKind};
use crate::os::cgroup::Cgroup;
use crate::os::family::{self, Born};
use crate::os::{env, fsx};
use crate::trees::clear_temps;

/// Where a command runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    /// The folder of the run folder that keeps its output, also its mark.
    pub(super) place: &'a str,
    /// The beginning of the output file's name.
    pub(super) name: &'a str,
    /// The directory.
    pub(super) cwd: &'a Path,
}

/// Runs one command: how it went.
pub(super) async fn run(
    desk: &Desk,
    at: Run<'_>,
    command: &str,
    stop: &Stop,
) -> Outcome<CommandResult> {
    let place = desk.folder.place(at.place);
    fsx::make_dir(place.dir()).map_err(|e| bug(e.to_string()))?;
    let log = place.dir().join(format!("{}.log", at.name));
    let log = Log::open(&log, Style::Text, &desk.asker.logs).map_err(|e| bug(e.to_string()))?;
    let (output, pipe) = Capture::start(log).map_err(|e| bug(e.to_string()))?;
    let errors = pipe.try_clone().map_err(|e| bug(e.to_string()))?;
    // For people; the journal has the same.
    output.say(&format!("{COMMAND_MARK}{command}"));
    let temp = place.temp(at.name);
    fsx::make_dir(&temp).map_err(|e| bug(e.to_string()))?;
    let group = Cgroup::create(&format!("{}{}", fence::group_prefix(&desk.job.id), at.place));
    let mut process = words(desk, at.place, command, &temp, group.as_ref())?;
    process.current_dir(at.cwd).env_clear().envs(environment(&desk.asker.codex.env));
    process.env(JOB_MARK, desk.job.id.as_str()).env(PLACE_MARK, at.place).env("TMPDIR", &temp);
    process.stdin(Stdio::null()).stdout(pipe).stderr(errors).process_group(0).kill_on_drop(true);
    let child = family::spawn(|| process.spawn(), |child| child.id().unwrap_or(0));
    let mut child = child.map_err(|e| bug(format!("cannot run {command:?}: {e}")))?;
    let mut stop = stop.clone();
    let status = tokio::select! {
        status = child.wait() => Ok(status.ok().and_then(|s| s.code())),
        () = tokio::time::sleep(desk.job.options.timeouts.verify) => Ok(None),
        failure = told_to_stop(&mut stop) => Err(failure),
    };
    let ran = status.map(|code| CommandResult { command: command.to_owned(), code });
    let how = ran.as_ref().map_or_else(|_| "was stopped".to_owned(), CommandResult::how);
    let (job, name) = (desk.job.id.clone(), at.place.to_owned());
    aside(move || {
        fence::end_family(&job, &name, group.as_ref(), Born::WithUs);
        output.say(&format!("[{how}]"));
        output.close();
        // What stays is cleared before the next attempt, or goes with the job.
        clear_temps(&place).ok();
    })
    .await?;
    ran
}

/// What a command gets of codex's environment: all but keys, tokens and secrets, as codex's own tools.
fn environment(codex: &[(OsString, OsString)]) -> impl Iterator<Item = (OsString, OsString)> {
    let is_secret = |name: &OsString| {
        let name = name.to_string_lossy().to_uppercase();
        ["KEY", "TOKEN", "SECRET"].iter().any(|word| name.contains(word))
    };
    codex.iter().filter(move |(name, _)| !is_secret(name)).cloned()
}

/// `codex sandbox` takes the same settings as a session; it does not change the directory by itself.
fn words(
    desk: &Desk,
    place: &str,
    command: &str,
    temp: &Path,
    group: Option<&Cgroup>,
) -> Outcome<Command> {
    let own = env::own_binary().map_err(|e| bug(format!("cannot find this program: {e}")))?;
    let mut process = Command::new(own);
    process.args(["__session", "-", "-", "-"]);
    let bounds = desk.asker.codex.bounds;
    if let Some(group) = group {
        group.bound(bounds);
    }
    process.arg(group.map_or_else(|| "-".into(), Cgroup::procs)).arg(bounds.to_word()).arg("--");
    let shell = ["sh", "-c", command];
    if desk.settings.verify_unsandboxed {
        process.args(shell);
        return Ok(process);
    }
    let options = &desk.job.options;
    let sandbox = options.sandbox.max(Sandbox::WorkspaceWrite);
    process.args(&desk.asker.codex.program).arg("sandbox");
    process.args(["-c", &format!("sandbox_mode=\"{}\"", sandbox.as_str())]);
    let marks = [(JOB_MARK, desk.job.id.to_string()), (PLACE_MARK, place.to_owned())];
    for setting in confinement(options.network, &marks, Some(temp)) {
        process.args(["-c", &setting]);
    }
    process.arg("--").args(shell);
    Ok(process)
}

/// Runs a command that has to pass.
pub(super) async fn must_pass(desk: &Desk, at: Run<'_>, command: &str, stop: &Stop) -> Outcome<()> {
    let ran = run(desk, at, command, stop).await?;
    if ran.passed() {
        return Ok(());
    }
    let (Run { place, name, .. }, how) = (at, ran.how());
    let message = format!("{name} command {command:?} {how}: see {place}/{name}.log");
    Err(Failure::new(FailureKind::Task, message))
}
