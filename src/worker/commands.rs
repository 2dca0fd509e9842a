//! Commands of the job file, `verify` and `setup`: run inside codex's sandbox with the executor's limits, output kept in
//! the run folder, ended with everything they started.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Error, PipeWriter, Result};
use std::path::Path;

use tokio::task::spawn_blocking;

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
use crate::os::child::{self, Child, Given, Program};
use crate::os::family::{self, Born};
use crate::os::fsx;
use crate::trees::clear_temps;

/// Exit code of a command that could not be started, as a shell has it.
const NOT_STARTED: i32 = 127;

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
    // For people; the journal has the same.
    output.say(&format!("{COMMAND_MARK}{command}"));
    let temp = place.temp(at.name);
    fsx::make_dir(&temp).map_err(|e| bug(e.to_string()))?;
    let group = Cgroup::create(&format!("{}{}", fence::group_prefix(&desk.job.id), at.place));
    let program = program(desk, at, command, &temp, group.as_ref());
    let given = given(pipe).map_err(|e| bug(e.to_string()))?;
    let started = child::start(&program, &given).map_err(Error::from);
    drop(given);
    let mut stop = stop.clone();
    let status = tokio::select! {
        code = ended(started, &output) => Ok(code),
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

/// Waits until a command has ended; its code, or that of a shell which found nothing to run.
async fn ended(started: Result<Child>, output: &Capture) -> Option<i32> {
    match started {
        Ok(child) => spawn_blocking(move || child.wait()).await.ok()?.ok()?,
        Err(error) => {
            output.say(&format!("[cannot start it: {error}]"));
            Some(NOT_STARTED)
        }
    }
}

/// What a command gets of codex's environment: all but keys, tokens and secrets, as codex's own tools.
fn environment(codex: &[(OsString, OsString)]) -> impl Iterator<Item = (OsString, OsString)> {
    let is_secret = |name: &OsString| {
        let name = name.to_string_lossy().to_uppercase();
        ["KEY", "TOKEN", "SECRET"].iter().any(|word| name.contains(word))
    };
    codex.iter().filter(move |(name, _)| !is_secret(name)).cloned()
}

/// No input, and one output.
fn given(pipe: PipeWriter) -> Result<Given> {
    let standard = [File::open("/dev/null")?.into(), pipe.try_clone()?.into(), pipe.into()];
    Ok(Given { standard, is_terminal: false, kept: None })
}

fn program(
    desk: &Desk,
    at: Run<'_>,
    command: &str,
    temp: &Path,
    group: Option<&Cgroup>,
) -> Program {
    let codex = &desk.asker.codex;
    if let Some(group) = group {
        group.bound(codex.bounds);
    }
    let marks = [(JOB_MARK, desk.job.id.as_str()), (PLACE_MARK, at.place)];
    let ours = marks.map(|(name, value)| (name.into(), value.into()));
    let env = environment(&codex.env).chain(ours);
    Program {
        argv: words(desk, at.place, command, temp),
        env: env.chain([("TMPDIR".into(), temp.into())]).collect(),
        cwd: at.cwd.to_owned(),
        group: group.map(Cgroup::procs),
        limits: codex.bounds.limits(),
        seal: family::seal(&marks),
    }
}

/// `codex sandbox` takes the same settings as a session; it does not change the directory by itself.
fn words(desk: &Desk, place: &str, command: &str, temp: &Path) -> Vec<OsString> {
    if desk.settings.verify_unsandboxed {
        return ["/bin/sh", "-c", command].map(OsString::from).to_vec();
    }
    let options = &desk.job.options;
    let sandbox = options.sandbox.max(Sandbox::WorkspaceWrite);
    let mut words = desk.asker.codex.program.clone();
    words.push("sandbox".into());
    let marks = [(JOB_MARK, desk.job.id.to_string()), (PLACE_MARK, place.to_owned())];
    let settings = confinement(options.network, &marks, Some(temp));
    let mode = format!("sandbox_mode=\"{}\"", sandbox.as_str());
    for setting in std::iter::once(mode).chain(settings) {
        words.extend(["-c".into(), setting.into()]);
    }
    words.extend(["--", "sh", "-c", command].map(OsString::from));
    words
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codex::log_budget::Budget;

    #[tokio::test]
    async fn a_command_that_cannot_be_started_has_failed_and_its_log_says_why() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("verify.log");
        let log = Log::open(&path, Style::Text, &Arc::new(Budget::for_tests(1_000_000)));
        let (output, _pipe) = Capture::start(log.expect("log")).expect("pipe");
        let code = ended(Err(Error::other("/codex: busy")), &output).await;
        output.close();
        assert_eq!(code, Some(127));
        let said = fsx::read_optional(&path).expect("read").expect("there");
        assert_eq!(said, "[cannot start it: /codex: busy]\n");
    }
}
