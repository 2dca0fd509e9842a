//! From end to end: the real codex binary, with a scripted model on loopback that answers at once. The bound is the same four
//! sessions called by hand, one after the other, without any terminal, journal or repository.

use std::io::{self, Error};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Size;
use crate::codex_bin::codex_bin;
use crate::figures::{Row, millis, percentile};
use crate::marks::now;
use crate::model_server::{Answer, ModelRequest, ModelServer};
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::{Scratch, quiet};

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let times = size.of(1, 10);
    Ok(vec![row("floor: codex by hand, four times", by_hand(times)?), row("Numerus", ours(times)?)])
}

fn row(subject: &str, mut spans: Vec<f64>) -> Row {
    let at = |part, spans: &mut Vec<f64>| percentile(spans, part) / 1e3;
    Row::new(subject, &[("s p50", at(0.5, &mut spans)), ("s p95", at(0.95, &mut spans))])
}

/// What the model says: a plan of one task, its role, its claim, and a patch.
fn answer(request: &ModelRequest) -> Answer {
    let task = json!({"id": "t1", "summary": "write", "description": "write t1.txt", "dependencies": [],
                      "resources": {"reads": [], "writes": ["t1.txt"]}});
    let role = json!({"id": "t1", "role": "executor", "notes": ""});
    match request.marker().split(' ').next().unwrap_or_default() {
        "NUMERUS_PLAN" => Answer::json(&json!({"objective": "o", "tasks": [task]})),
        "NUMERUS_ROLES" => Answer::json(&json!({"roles": [role], "strategy": "alone"})),
        "NUMERUS_CLAIM" => Answer::json(&json!({"task_id": "t1", "execution": {"commands": []},
                                                "resources": {"reads": [], "writes": ["t1.txt"]}})),
        _ if request.tool_outputs().is_empty() => {
            Answer::patch("*** Begin Patch\n*** Add File: t1.txt\n+x\n*** End Patch\n")
        }
        _ => Answer::say("done"),
    }
}

fn by_hand(times: usize) -> io::Result<Vec<f64>> {
    let (server, scratch) = (ModelServer::start(answer), Scratch::new()?);
    server.write_config(&scratch.dir("codex-home")?);
    let mut spans = Vec::new();
    for number in 0..times {
        // Below the project it would be a part of its repository.
        let dir = tempfile::tempdir()?;
        let before = now();
        for marker in ["NUMERUS_PLAN", "NUMERUS_ROLES", "NUMERUS_CLAIM", "NUMERUS_EXECUTE"] {
            let mut call = session(&scratch, dir.path());
            call.args(["-s", "workspace-write", "--json", "--skip-git-repo-check", marker]);
            let code = call.status()?;
            if !code.success() {
                return Err(Error::other(format!("codex {marker} of round {number}: {code}")));
            }
        }
        spans.push(millis(before, now()));
    }
    Ok(spans)
}

fn session(scratch: &Scratch, dir: &Path) -> Command {
    let mut command = quiet(codex_bin(), &scratch.path(""));
    command.current_dir(dir).env("CODEX_HOME", scratch.path("codex-home")).arg("exec");
    command
}

fn ours(times: usize) -> io::Result<Vec<f64>> {
    let server = ModelServer::start(answer);
    let mut ours = Ours::new(&one_task(0), "")?;
    server.write_config(&ours.scratch.path("codex-home"));
    ours.asks(codex_bin())?;
    ours.start(1)?;
    let mut spans = Vec::new();
    for number in 0..times {
        let before = ours.drop_job(&format!("job{number}"), "")?;
        ours.wait_done(number + 1, PATIENCE * 2)?;
        spans.push(millis(before, now()));
    }
    Ok(spans)
}
