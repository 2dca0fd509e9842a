//! What waiting costs: daemons that have nothing to do, all at the same time, and a daemon with many jobs that wait.

use std::fs;
use std::io;
use std::time::Duration;

use super::Size;
use crate::figures::Row;
use crate::marks::Kind;
use crate::ours::{Ours, PATIENCE, hanging, one_task};
use crate::scratch::{Running, Scratch, find, pause, quiet, until};
use crate::used::{Used, used};

/// Jobs that wait.
const WAITING: usize = 1000;

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let seconds = size.of(5, 300);
    let mut idle = Ours::new(&one_task(0), "")?;
    idle.start(2)?;
    let mut laden = Ours::new(&one_task(0), "")?;
    laden.start(2)?;
    let waiting = if size == Size::Quick { 20 } else { WAITING };
    for number in 0..waiting {
        laden.drop_job(&format!("job{number}"), "not_before: 2999-01-01T00:00:00Z")?;
    }
    until("all are taken", PATIENCE * 4, || Ok(laden.count("spool/claimed") == waiting))?;
    let mut running = Ours::new(&hanging(), "")?;
    running.start(1)?;
    running.drop_job("job", "")?;
    running.scratch.marks.wait(Kind::Start, PATIENCE)?;
    let scratch = Scratch::new()?;
    let peers = peers(&scratch)?;
    let mut all: Vec<(String, u32)> =
        peers.iter().map(|(name, running)| ((*name).to_owned(), running.pid())).collect();
    all.push(("Numerus".to_owned(), idle.pid()));
    all.push((format!("Numerus, {waiting} jobs wait"), laden.pid()));
    all.push(("Numerus, a worker".to_owned(), running.worker()?));
    // Threads that have nothing more to do end after ten seconds, and take their wake-ups along.
    pause(Duration::from_secs(15));
    let before: Vec<Option<Used>> = all.iter().map(|(_, pid)| used(*pid)).collect();
    pause(Duration::from_secs(seconds as u64));
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let seconds = seconds as f64;
    let row = |((name, pid), before): (&(String, u32), Option<Used>)| {
        let Some((before, after)) = before.zip(used(*pid)) else {
            return Row::not_run(name, "it ended");
        };
        let wakes = (after.wakes - before.wakes) / seconds;
        let percent = (after.ticks - before.ticks) / seconds;
        Row::new(name, &[("MB", after.memory), ("wake-ups/s", wakes), ("processor %", percent)])
    };
    Ok(all.iter().zip(before).map(row).collect())
}

/// The daemons of peers that are one process.
fn peers(scratch: &Scratch) -> io::Result<Vec<(&'static str, Running)>> {
    let mut all = Vec::new();
    if let Some(pueued) = find("pueued") {
        let dir = scratch.dir("pueue")?;
        let settings = scratch.path("pueue.yml");
        let shared = format!("pueue_directory: {0}\n  runtime_directory: {0}", dir.display());
        fs::write(&settings, format!("shared:\n  {shared}\nclient: {{}}\ndaemon: {{}}\n"))?;
        let mut command = quiet(pueued, &scratch.path(""));
        all.push(("pueue", Running::start(command.arg("-c").arg(settings))?));
    }
    if let Some(inotifywait) = find("inotifywait") {
        let mut command = quiet(inotifywait, &scratch.path(""));
        let dir = scratch.dir("in")?;
        all.push(("inotifywait", Running::start(command.args(["-q", "-m"]).arg(dir))?));
    }
    if let Some(watchexec) = find("watchexec") {
        let mut command = quiet(watchexec, &scratch.path(""));
        command.args(["-q", "-p", "-w"]).arg(scratch.dir("in")?).args(["--", "true"]);
        all.push(("watchexec", Running::start(&mut command)?));
    }
    Ok(all)
}
