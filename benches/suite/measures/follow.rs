//! From a line that an agent prints to where a follower shows it: `numerus logs --follow`, and `tail -f` of the same log.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Error};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use super::Size;
use crate::figures::{Row, millis, spread};
use crate::marks::{Kind, now};
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::{Running, quiet};

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let lines = size.of(5, 100);
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.lets_agent_talk(lines)?;
    ours.start(1)?;
    ours.drop_job("job", "")?;
    // The first of a session's lines says that it has begun.
    ours.scratch.marks.wait(Kind::Start, PATIENCE)?;
    let runs = std::fs::read_dir(ours.path("runs"))?.flatten().map(|e| e.path());
    let run = runs
        .filter(|p| p.join("job.json").exists())
        .last()
        .ok_or_else(|| Error::other("no run"))?;
    let mut tail = quiet("tail", &ours.scratch.path(""));
    tail.args(["-n", "+1", "-F"]).arg(run.join("plan/stdout.log"));
    let followers = [follow(tail)?, follow(ours.command(&["logs", "job/plan", "--follow"]))?];
    ours.wait_done(1, PATIENCE * 2)?;
    let marks = ours.scratch.marks.drain();
    let said: BTreeMap<&str, u64> =
        marks.iter().filter(|m| m.kind == Kind::Said).map(|m| (m.name.as_str(), m.at)).collect();
    let names = ["tail -f", "Numerus, logs --follow"];
    Ok(names
        .into_iter()
        .zip(followers)
        .map(|(name, (shown, running))| {
            drop(running);
            let lag = |(at, line): (u64, String)| {
                let word =
                    line.split("said-plan-").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
                let name = format!("said-plan-{word}");
                said.get(name.as_str()).filter(|said| **said <= at).map(|said| millis(*said, at))
            };
            // The first lines were there before anybody followed.
            Row::new(name, &spread(shown.try_iter().filter_map(lag).skip(lines / 5).collect()))
        })
        .collect())
}

/// Starts a follower; its lines come with the moment at which each could be read.
fn follow(mut command: Command) -> io::Result<(mpsc::Receiver<(u64, String)>, Running)> {
    let mut running = Running::start(command.stdout(Stdio::piped()))?;
    let pipe = running.0.stdout.take().ok_or_else(|| Error::other("no pipe"))?;
    let (tell, shown) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if tell.send((now(), line)).is_err() {
                return;
            }
        }
    });
    Ok((shown, running))
}
