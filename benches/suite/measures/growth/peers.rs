//! The same of peers that keep a history: the state file of pueue, and the job files of nq, each with one real job that is there many
//! times. The jobs that are added while it is measured really run.

use std::fs;
use std::io::{self, Error};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::span;
use crate::figures::{Row, millis, percentile};
use crate::marks::{Kind, now};
use crate::ours::PATIENCE;
use crate::scratch::{Scratch, find, quiet, until};
use crate::spoolers::{PEERS, Peer, Spooler};

/// Measures a peer with so many jobs of old, each command so many times.
type Measured = fn(usize, usize) -> io::Result<Row>;

/// Those of them that are installed, with so many jobs of old.
pub(super) fn rows(sizes: &[usize], times: usize) -> Vec<Row> {
    let rows: [(&str, Measured); 2] = [("pueue", pueue), ("nq", nq)];
    let mut all = Vec::new();
    for (name, row) in rows {
        let lacks = PEERS.iter().filter(|peer| peer.name == name).find_map(Peer::lacks);
        if let Some(why) = lacks {
            all.push(Row::not_run(name, &why));
            continue;
        }
        let row = |jobs: &usize| {
            let subject = format!("{name}, {jobs} jobs");
            row(*jobs, times).unwrap_or_else(|e| Row::not_run(&subject, &e.to_string()))
        };
        all.extend(sizes.iter().map(row));
    }
    all
}

fn start(name: &str, scratch: &Scratch) -> io::Result<Box<dyn Spooler>> {
    let peer = PEERS.iter().find(|peer| peer.name == name);
    peer.ok_or_else(|| Error::other(format!("no peer is called {name}")))?.start(scratch, 1)
}

/// Starts a peer and lets it do one job.
fn with_one_job(name: &str, scratch: &Scratch) -> io::Result<Box<dyn Spooler>> {
    let mut spooler = start(name, scratch)?;
    spooler.offer(0)?;
    scratch.marks.wait(Kind::End, PATIENCE)?;
    Ok(spooler)
}

/// How long giving a job takes, in ms, p50. It is done before the next is given.
fn giving(spooler: &mut dyn Spooler, scratch: &Scratch, times: usize) -> io::Result<f64> {
    let mut spans = Vec::new();
    for number in 1..=times {
        spans.push(millis(spooler.offer(number)?, now()));
        scratch.marks.wait(Kind::End, PATIENCE)?;
    }
    Ok(percentile(&mut spans, 0.5))
}

fn pueue(jobs: usize, times: usize) -> io::Result<Row> {
    let scratch = Scratch::new()?;
    let call = |words: &[&str]| {
        let mut command = quiet(find("pueue").unwrap_or_default(), &scratch.path(""));
        command.arg("-c").arg(scratch.path("pueue.yml")).args(words);
        command
    };
    let daemon = with_one_job("pueue", &scratch)?;
    let state = scratch.path("pueue/state.json");
    until("pueue has written that down", PATIENCE, || {
        Ok(fs::read_to_string(&state).unwrap_or_default().contains("\"Done\""))
    })?;
    drop(daemon);
    multiply_state(&state, jobs)?;
    let mut daemon = start("pueue", &scratch)?;
    let told = call(&["status", "--json"]).stdout(std::process::Stdio::piped()).output()?;
    let told: Value = serde_json::from_slice(&told.stdout).map_err(Error::other)?;
    let known = told["tasks"].as_object().map_or(0, serde_json::Map::len);
    if known != jobs {
        return Err(Error::other(format!("it knows {known} jobs and not {jobs}")));
    }
    let mut figures = Vec::new();
    for (column, words) in
        [("status", &["status"][..]), ("status --json", &["status", "--json"][..])]
    {
        let mut spans = (0..times).map(|_| span(call(words))).collect::<io::Result<Vec<f64>>>()?;
        figures.push((column, percentile(&mut spans, 0.5)));
    }
    figures.push(("submit", giving(daemon.as_mut(), &scratch, times)?));
    Ok(Row::new(&format!("pueue, {jobs} jobs"), &figures))
}

/// Writes the first task of a state under so many numbers.
fn multiply_state(path: &Path, jobs: usize) -> io::Result<()> {
    let mut state: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let tasks = state["tasks"].as_object_mut().ok_or_else(|| Error::other("no tasks"))?;
    let first = tasks.get("0").cloned().ok_or_else(|| Error::other("no task 0"))?;
    for number in 1..jobs {
        let mut task = first.clone();
        task["id"] = number.into();
        tasks.insert(number.to_string(), task);
    }
    fs::write(path, state.to_string())
}

fn nq(jobs: usize, times: usize) -> io::Result<Row> {
    let scratch = Scratch::new()?;
    let mut spooler = with_one_job("nq", &scratch)?;
    let queue = scratch.path("queues/0");
    let status = || {
        let mut command = quiet(find("nq").unwrap_or_default(), &scratch.path(""));
        command.env("NQDIR", &queue).arg("-t");
        command
    };
    // It says by its code that all have ended.
    until("nq is done", PATIENCE, || Ok(status().status()?.success()))?;
    let first: PathBuf = fs::read_dir(&queue)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b','))
        .ok_or_else(|| Error::other("no job file"))?;
    for number in 1..jobs {
        fs::copy(&first, queue.join(format!(",{:x}.1", 0x1000_0000 + number)))?;
    }
    let mut spans = (0..times).map(|_| span(status())).collect::<io::Result<Vec<f64>>>()?;
    let submit = giving(spooler.as_mut(), &scratch, times)?;
    let figures = [("status", percentile(&mut spans, 0.5)), ("submit", submit)];
    Ok(Row::new(&format!("nq, {jobs} jobs"), &figures))
}
