//! One call of a hook: the event on its standard input, an environment without keys, a deadline, and the end of all that it
//! started.

use std::ffi::OsString;
use std::io::{PipeReader, Read as _, Result, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::record::{self, Failure, MAX_OUTPUT};
use crate::logic::words::bound;
use crate::model::event::Event;
use crate::os::process::{Target, start_time};
use crate::os::{clock, digest, env, family, random};
use crate::runs::RunFolder;

/// Variables that hooks get from our own environment: what a program of the user's session needs, and no key.
const PASSED: [&str; 16] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// The variable that tells the processes of one call.
pub(super) const MARK: &str = "NUMERUS_HOOK";
/// How long output is waited for when everything that could write it has been ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// A hook that is to be called for an event.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The job's folder.
    pub(super) run: RunFolder,
    /// The root.
    pub(super) root: PathBuf,
    /// The hook's name.
    pub(super) hook: String,
    /// Its file.
    pub(super) program: PathBuf,
    /// Why it is refused, if it is.
    pub(super) refused: Option<String>,
    /// How long it may take.
    pub(super) patience: Duration,
}

/// Makes a call, and takes down what came of it. Nothing that goes wrong is fatal.
pub(super) fn call(call: &Call, event: &Event) {
    let (output, why) = match &call.refused {
        Some(why) => (Vec::new(), Some(why.clone())),
        None => {
            run(call, event).unwrap_or_else(|e| (Vec::new(), Some(format!("it cannot run: {e}"))))
        }
    };
    let log = record::keep_output(&call.run, &call.hook, event.seq, &output).ok().flatten();
    if let Some(why) = why {
        let (hook, name) = (call.hook.clone(), event.fact.name());
        let failure = Failure { at: clock::now(), hook, event: name, seq: event.seq, why, log };
        let _nobody_is_told = record::fail(&call.run, &failure);
    }
}

/// How the marks of all calls for a root begin.
fn mark_of(root: &Path) -> String {
    let path = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let digest = digest::sha256_hex(path.as_os_str().as_bytes());
    format!("{}-", digest.get(..16).unwrap_or_default())
}

/// Ends what a runner that died has left running of its calls: nobody counts their time any more. The caller is the runner.
pub(super) fn end_left(root: &Path) {
    family::sweep_begun(MARK, &mark_of(root));
}

/// Runs the program to its end: what it printed, and what went wrong.
fn run(call: &Call, event: &Event) -> Result<(Vec<u8>, Option<String>)> {
    let (root, nonce) = (mark_of(&call.root), random::base32(8)?);
    let mark = format!("{root}{}-{}-{nonce}", call.run.job(), event.seq);
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(&call.program);
    command.env_clear().envs(environment(call, event)).env(MARK, &mark).process_group(0);
    command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.current_dir(call.run.dir()).spawn()?;
    // The writing ends in there would keep the pipe open.
    drop(command);
    let (pid, started) = (child.id(), start_time(child.id()));
    tell(child.stdin.take(), serde_json::to_vec(event)?);
    let output = Output::read(reader);
    let (ended, end) = channel();
    std::thread::spawn(move || drop(ended.send(child.wait())));
    let status = end.recv_timeout(call.patience);
    // What it left behind goes with it; a hook that wants to last longer starts a service.
    if status.is_err()
        && let Some(first) = Target::open(pid, |pid| start_time(pid) == started)
    {
        first.kill();
    }
    family::sweep(&[(MARK, &mark)]);
    let why = match status {
        Ok(status) => judged(status?),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Some(format!("it took longer than {} and was ended", bound(call.patience)))
        }
    };
    Ok((output.take(), why))
}

fn judged(status: ExitStatus) -> Option<String> {
    (!status.success()).then(|| match status.code() {
        Some(code) => format!("it ended with code {code}"),
        None => "it was ended by a signal".to_owned(),
    })
}

fn environment(call: &Call, event: &Event) -> Vec<(OsString, OsString)> {
    let passed = PASSED.into_iter().filter_map(|name| Some((name.into(), env::var_os(name)?)));
    let own: [(&str, OsString); 5] = [
        ("NUMERUS_ROOT", call.root.clone().into()),
        ("NUMERUS_EVENT", event.fact.name().into()),
        ("NUMERUS_EVENT_JOB", event.job_id.to_string().into()),
        ("NUMERUS_EVENT_SEQ", event.seq.to_string().into()),
        ("NUMERUS_RUN", call.run.dir().into()),
    ];
    passed.chain(own.map(|(name, value)| (name.into(), value))).collect()
}

/// Writes the event for the hook, which need not read it.
fn tell(stdin: Option<ChildStdin>, mut line: Vec<u8>) {
    line.push(b'\n');
    if let Some(mut stdin) = stdin {
        std::thread::spawn(move || drop(stdin.write_all(&line)));
    }
}

/// What a hook prints, read as it comes: the beginning is kept, and nobody who prints waits.
struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    end: std::sync::mpsc::Receiver<()>,
}

impl Output {
    fn read(mut pipe: PipeReader) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (ended, end) = channel();
        let keep = kept.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_OUTPUT.saturating_sub(kept.len()).min(length);
                kept.extend_from_slice(&chunk[..room]);
            }
            let _gave_up_waiting = ended.send(());
        });
        Self { kept, end }
    }

    /// All of it, or what there is if somebody still has the pipe.
    fn take(self) -> Vec<u8> {
        let _still_open = self.end.recv_timeout(LAST_OUTPUT);
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
