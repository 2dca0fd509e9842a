//! What the storm does to the processes of a world: kills, stops, asks to leave. Each is looked up by its marks and hit
//! through a descriptor, so that nothing of another world ever is.

use std::fs;
use std::time::{Duration, Instant};

use numerus::os::process::{Target, start_time};
use rustix::process::{Pid, Signal, kill_process};

use super::Tally;
use crate::dice::Dice;
use crate::world::{World, command_line};

/// What a process of a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kin {
    Daemon,
    Worker,
    Session,
    Command,
    Git,
    Other,
}

impl Kin {
    const ALL: [Self; 6] =
        [Self::Daemon, Self::Worker, Self::Session, Self::Command, Self::Git, Self::Other];

    fn of(pid: u32) -> Self {
        let line = command_line(pid);
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let has = |word: &str| words.clone().any(|w| w == word);
        match program {
            "git" => Self::Git,
            "numerus" if has("daemon") => Self::Daemon,
            "numerus" if has("worker") => Self::Worker,
            "numerus" if has("__codex") => Self::Session,
            "numerus" => Self::Command,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Worker => "worker",
            Self::Session => "session",
            Self::Command => "command",
            Self::Git => "git",
            Self::Other => "other",
        }
    }
}

/// The processes that were stopped, and when each goes on.
#[derive(Debug, Default)]
pub(super) struct Stopped(Vec<(u32, Option<u64>, Instant)>);

impl Stopped {
    /// Lets go on whose time has come; `all` whatever the time.
    pub(super) fn go_on(&mut self, all: bool) {
        let now = Instant::now();
        self.0.retain(|(pid, started, until)| {
            let is_due = all || *until <= now;
            if is_due && start_time(*pid) == *started {
                signal(*pid, Signal::CONT);
            }
            !is_due
        });
    }
}

/// Does one thing to one process. Which kind is hit is decided first, so that few are hit as often as many.
pub(super) fn strike(world: &World, dice: &mut Dice, stopped: &mut Stopped, tally: &mut Tally) {
    let family: Vec<(u32, Kin)> =
        world.processes().into_iter().map(|pid| (pid, Kin::of(pid))).collect();
    let kinds: Vec<Kin> =
        Kin::ALL.into_iter().filter(|kind| family.iter().any(|(_, kin)| kin == kind)).collect();
    let Some(kind) = dice.pick(&kinds).copied() else { return };
    let pids: Vec<u32> =
        family.into_iter().filter(|(_, kin)| *kin == kind).map(|(pid, _)| pid).collect();
    let Some(pid) = dice.pick(&pids).copied() else { return };
    let deed = match dice.between(0, 100) {
        0..70 => {
            if let Some(target) = Target::open(pid, |pid| Kin::of(pid) == kind) {
                target.kill();
            }
            "killed"
        }
        70..92 => {
            let span = Duration::from_millis(dice.between(20, 800));
            signal(pid, Signal::STOP);
            stopped.0.push((pid, start_time(pid), Instant::now() + span));
            "stopped"
        }
        _ => {
            if let Some(target) = Target::open(pid, |pid| Kin::of(pid) == kind) {
                target.terminate();
            }
            "asked"
        }
    };
    tally.count(&format!("{deed} {}", kind.name()), 1);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone_already = kill_process(pid, signal);
    }
}

/// Processes that look like ours and are not; nothing may ever happen to them.
pub(super) struct Strangers(Vec<std::process::Child>);

impl Strangers {
    /// Starts some, with the names that ours have but for their marks.
    pub(super) fn new(world: &World) -> Self {
        use std::os::unix::process::CommandExt as _;
        let names = ["numerus worker j001-abcdef", "codex exec", "numerus daemon", "git"];
        let start = |name: &str| {
            let mut command = std::process::Command::new("sleep");
            command.arg0(name).arg("1000").env("NUMERUS_ROOT_OF", world.root());
            command.env("NUMERUS_JOB", "j001").current_dir("/").spawn().unwrap()
        };
        Self(names.into_iter().map(start).collect())
    }

    /// Which of them ended, though nobody may end them; ends the others.
    pub(super) fn hit(mut self) -> Vec<String> {
        let mut faults = Vec::new();
        for child in &mut self.0 {
            let state =
                fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            let is_stopped = state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            match child.try_wait().unwrap() {
                None if !is_stopped => {}
                end => faults.push(format!("a stranger was signalled: {end:?}")),
            }
            drop(child.kill());
            drop(child.wait());
        }
        faults
    }
}
