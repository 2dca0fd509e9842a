//! From asking for the end until nothing is left: `kill` of a job whose agent works, and, as the floor, a signal to the same
//! agent alone.

use std::fs;
use std::io::{self, Error};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::Size;
use crate::figures::{Row, millis, spread};
use crate::marks::{Kind, now};
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::{Running, quiet};

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let times = size.of(3, 30);
    Ok(vec![floor(times)?, ours(times)?])
}

/// A script whose agents wait until they are told to end.
fn hanging() -> serde_json::Value {
    let mut script = one_task(0);
    if let Some(scenes) = script["scenes"].as_array_mut() {
        for scene in scenes {
            scene["play"] = json!([{"hang": true}]);
        }
    }
    script
}

/// Until the agent itself has ended, when it is interrupted as Numerus does it.
fn floor(times: usize) -> io::Result<Row> {
    let ours = Ours::new(&hanging(), "")?;
    let mut spans = Vec::new();
    for _ in 0..times {
        let mut command = quiet(ours.scratch.marks.agent(), &ours.scratch.path(""));
        command.args(["exec", "--json", "--skip-git-repo-check", "NUMERUS_PLAN"]);
        command.env("CODEX_HOME", ours.scratch.path("codex-home"));
        command.env("NUMERUS_STANDIN_SCRIPT", ours.scratch.path("script.json"));
        let mut agent = Running::start(&mut command)?;
        ours.scratch.marks.wait(Kind::Start, PATIENCE)?;
        crate::scratch::pause(std::time::Duration::from_millis(50));
        let before = now();
        kill_process(Pid::from_child(&agent.0), Signal::INT)?;
        agent.0.wait()?;
        spans.push(millis(before, now()));
    }
    Ok(Row::new("floor: a signal to the agent", &spread(spans)))
}

fn ours(times: usize) -> io::Result<Row> {
    let mut ours = Ours::new(&hanging(), "")?;
    ours.start(1)?;
    let mut spans = Vec::new();
    for number in 0..times {
        ours.drop_job(&format!("job{number}"), "")?;
        ours.scratch.marks.wait(Kind::Start, PATIENCE)?;
        crate::scratch::pause(std::time::Duration::from_millis(50));
        let job = fs::read_dir(ours.path("spool/claimed"))?.flatten().next();
        let job = job.and_then(|e| e.path().file_stem().map(|s| s.to_string_lossy().into_owned()));
        let job = job.ok_or_else(|| Error::other("no job is claimed"))?;
        let before = now();
        let code = ours.command(&["kill", &job]).status()?;
        spans.push(millis(before, now()));
        if !code.success() {
            return Err(Error::other(format!("kill: {code}")));
        }
    }
    Ok(Row::new("Numerus, kill", &spread(spans)))
}
