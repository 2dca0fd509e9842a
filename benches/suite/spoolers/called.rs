//! Those that a command gives a job to.

use std::fs;
use std::io::{self, Error, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Spooler;
use crate::marks;
use crate::scratch::{Running, Scratch, find, quiet, until};

type Started = io::Result<Box<dyn Spooler>>;

/// Makes the command that gives a job of this number.
type Offer = Box<dyn Fn(usize) -> Command>;

/// A spooler with a command line.
struct Called {
    offer: Offer,
    /// What the command is to read, for a job of this number.
    input: Option<Box<dyn Fn(usize) -> String>>,
    _daemon: Option<Running>,
    /// What ends a server that the command had started by itself.
    end: Option<Command>,
}

impl Spooler for Called {
    fn offer(&mut self, number: usize) -> io::Result<u64> {
        let mut command = (self.offer)(number);
        let input = self.input.as_ref().map(|input| input(number));
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let before = marks::now();
        let mut child = command.spawn()?;
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            pipe.write_all(text.as_bytes())?;
        }
        let code = child.wait()?;
        if code.success() {
            return Ok(before);
        }
        Err(Error::other(format!("{}: {code}", command.get_program().display())))
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(end) = &mut self.end {
            let _gone = end.status();
        }
    }
}

fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| PathBuf::from(name))
}

fn called(offer: Offer, daemon: Option<Running>, end: Option<Command>) -> Box<dyn Spooler> {
    Box::new(Called { offer, input: None, _daemon: daemon, end })
}

pub(super) fn task_spooler(scratch: &Scratch, jobs: usize) -> Started {
    let (home, job) = (scratch.path(""), scratch.marks.job());
    let command = move || {
        let mut command = quiet(program("tsp"), &home);
        command.env("TS_SOCKET", home.join("tsp")).env("TMPDIR", &home);
        command
    };
    command().args(["-S", &jobs.to_string()]).status()?;
    let mut end = command();
    end.arg("-K");
    let offer = move |number: usize| {
        let mut command = command();
        command.arg("-n").arg(&job).arg(number.to_string());
        command
    };
    Ok(called(Box::new(offer), None, Some(end)))
}

/// One queue for each job at a time, filled in turn, as its users do.
pub(super) fn nq(scratch: &Scratch, jobs: usize) -> Started {
    let (home, job) = (scratch.path(""), scratch.marks.job());
    let queues = scratch.dir("queues")?;
    let offer = move |number: usize| {
        let mut command = quiet(program("nq"), &home);
        command.env("NQDIR", queues.join((number % jobs).to_string()));
        command.arg("-q").arg(&job).arg(number.to_string());
        command
    };
    Ok(called(Box::new(offer), None, None))
}

pub(super) fn at(scratch: &Scratch, _jobs: usize) -> Started {
    let (home, job) = (scratch.path(""), scratch.marks.job());
    let daemon = Running::start(quiet(program("atd"), &home).arg("-f"))?;
    until("atd runs", Duration::from_secs(5), || Ok(Path::new("/run/atd.pid").exists()))?;
    let offer = move |_number: usize| {
        let mut command = quiet(program("at"), &home);
        command.args(["-M", "now"]);
        command
    };
    let input = move |number: usize| format!("{} {number}\n", job.display());
    Ok(Box::new(Called {
        offer: Box::new(offer),
        input: Some(Box::new(input)),
        _daemon: Some(daemon),
        end: None,
    }))
}

pub(super) fn pueue(scratch: &Scratch, jobs: usize) -> Started {
    start_pueue(scratch, jobs, &[])
}

pub(super) fn pueue_immediate(scratch: &Scratch, jobs: usize) -> Started {
    start_pueue(scratch, jobs, &["--immediate"])
}

fn start_pueue(scratch: &Scratch, jobs: usize, how: &'static [&'static str]) -> Started {
    let (home, job) = (scratch.path(""), scratch.marks.job());
    let settings = scratch.path("pueue.yml");
    let dir = scratch.dir("pueue")?;
    let text = format!(
        "shared:\n  pueue_directory: {0}\n  runtime_directory: {0}\n  use_unix_socket: true\nclient: {{}}\ndaemon: {{}}\n",
        dir.display()
    );
    fs::write(&settings, text)?;
    let call = move |name: &str| {
        let mut command = quiet(program(name), &home);
        command.arg("-c").arg(&settings);
        command
    };
    let daemon = Running::start(&mut call("pueued"))?;
    until("pueued answers", Duration::from_secs(10), || {
        Ok(call("pueue").args(["parallel", &jobs.to_string()]).status()?.success())
    })?;
    let offer = move |number: usize| {
        let mut command = call("pueue");
        command.arg("add").args(how).arg("--").arg(&job).arg(number.to_string());
        command
    };
    Ok(called(Box::new(offer), Some(daemon), None))
}
