//! From asking for the end until the agent is gone, and until the command says so, with everything written down: `kill` of a
//! job whose agent works, and, as the floor, a signal to the same agent alone.

use std::fs;
use std::io::{self, Error};

use super::Size;
use crate::figures::{Row, millis, percentile};
use crate::marks::{Kind, now};
use crate::ours::{Ours, PATIENCE, hanging};
use crate::scratch::{Running, quiet};
use rustix::process::{Pid, Signal, kill_process};

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let times = size.of(3, 30);
    Ok(vec![floor(times)?, ours(times)?])
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
        let after = now();
        let gone = ours.scratch.marks.wait(Kind::End, PATIENCE)?.at;
        spans.push((millis(before, gone), millis(before, after)));
    }
    Ok(row("floor: a signal to the agent", &spans))
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
        let after = now();
        let gone = ours.scratch.marks.wait(Kind::End, PATIENCE)?.at;
        spans.push((millis(before, gone), millis(before, after)));
        if !code.success() {
            return Err(Error::other(format!("kill: {code}")));
        }
    }
    Ok(row("Numerus, kill", &spans))
}

fn row(name: &str, spans: &[(f64, f64)]) -> Row {
    let (mut gone, mut said): (Vec<f64>, Vec<f64>) = spans.iter().copied().unzip();
    let figures = [
        ("gone p50", percentile(&mut gone, 0.5)),
        ("gone p99", percentile(&mut gone, 0.99)),
        ("said p50", percentile(&mut said, 0.5)),
    ];
    Row::new(name, &figures)
}
