//! Commands: run in a session of their own, like the real one's tools, and killed by group.
//!
//! They are real processes without a sandbox, therefore played only where the operator opened the
//! gate. `codex sandbox` is the exception: its command comes from the caller, not from a script.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use toml::{Table, Value};

use super::args::SandboxArgs;
use super::output::complain;
use super::policy::lookup;
use super::signals::Event;

/// How much of a command's output is kept.
const OUTPUT_CAP: usize = 1 << 20;

/// How long the rest of the output may lag behind the end of its command.
const DRAIN: Duration = Duration::from_millis(100);

/// A command that runs, or whose group may still hold children.
#[derive(Debug)]
pub(super) struct Running {
    group: Option<Pid>,
    output: Receiver<Vec<u8>>,
}

impl Running {
    /// What it has printed, to be called once it has ended.
    pub(super) fn output(&self) -> String {
        let mut bytes = Vec::new();
        while let Ok(more) = self.output.recv_timeout(DRAIN) {
            bytes.extend(more);
        }
        bytes.truncate(OUTPUT_CAP);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills what is left of its process group.
    pub(super) fn kill(&self) {
        if let Some(group) = self.group {
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// The environment of tools, as the real one marks it.
pub(super) fn marks(thread: &str, item: &str, settings: &Table) -> Vec<(String, OsString)> {
    let fixed = [
        ("CODEX_THREAD_ID", thread),
        ("CODEX_SESSION_ID", thread),
        ("CODEX_TOOL_CALL_ID", item),
        ("CODEX_CI", "1"),
        ("CODEX_VERSION", super::CLI_VERSION),
        ("NO_COLOR", "1"),
        ("TERM", "dumb"),
        ("PAGER", "cat"),
        ("GIT_PAGER", "cat"),
    ];
    let set = lookup(settings, &["shell_environment_policy", "set"]).and_then(Value::as_table);
    let set = set
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    fixed.into_iter().chain(set).map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// How a command looks in its item.
pub(super) fn shown(text: &str) -> String {
    format!("/bin/sh -c '{}'", text.replace('\'', "'\\''"))
}

/// Starts a command; its end comes as an event.
pub(super) fn start(
    text: &str,
    cwd: &Path,
    marks: &[(String, OsString)],
    tell: &Sender<Event>,
) -> io::Result<Running> {
    let (reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    let mut child =
        spawn(text, cwd, marks, || Ok((writer.try_clone()?.into(), errors.try_clone()?.into())))?;
    drop((writer, errors));
    let group = group_of(&child);
    let (send, output) = channel();
    thread::spawn(move || forward(reader, &send));
    let tell = tell.clone();
    thread::spawn(move || tell.send(Event::CommandEnded(child.wait())).ok());
    Ok(Running { group, output })
}

/// Starts a command that is left behind.
pub(super) fn leave_behind(text: &str, cwd: &Path, marks: &[(String, OsString)]) -> io::Result<()> {
    spawn(text, cwd, marks, || Ok((Stdio::null(), Stdio::null()))).map(drop)
}

/// Spawns `sh -c text` in a session of its own, or at least a group, where there is no `setsid`.
fn spawn(
    text: &str,
    cwd: &Path,
    marks: &[(String, OsString)],
    streams: impl Fn() -> io::Result<(Stdio, Stdio)>,
) -> io::Result<Child> {
    let attempt = |command: &mut Command| {
        let (out, err) = streams()?;
        command.args(["-c", text]).current_dir(cwd).envs(marks.iter().cloned());
        command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()
    };
    match attempt(Command::new("setsid").arg("/bin/sh")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            attempt(Command::new("/bin/sh").process_group(0))
        }
        answer => answer,
    }
}

/// The group that the child leads, once `setsid` has made it a leader.
fn group_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn forward(mut reader: io::PipeReader, send: &Sender<Vec<u8>>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut kept = 0;
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        if kept < OUTPUT_CAP && send.send(buffer[..count].to_vec()).is_err() {
            return;
        }
        kept += count;
    }
}

/// The code a shell would report.
pub(super) fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Plays `codex sandbox`: runs the command here and answers with its code.
pub(super) fn run_in_place(sandbox: &SandboxArgs) -> u8 {
    let Some((program, args)) = sandbox.command.split_first() else { return 1 };
    let mut command = Command::new(program);
    command.args(args);
    if let Some(cd) = &sandbox.cd {
        command.current_dir(cd);
    }
    match command.status() {
        Ok(status) => u8::try_from(code_of(status)).unwrap_or(1),
        Err(error) => {
            complain(&format!("cannot run {}: {error}", program.to_string_lossy()));
            1
        }
    }
}

/// Kills a command at once, also in the moment before it leads its group.
pub(super) fn kill_now(running: &Running) {
    running.kill();
    if let Some(pid) = running.group {
        kill_process(pid, Signal::KILL).ok();
    }
}
