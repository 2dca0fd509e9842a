//! From giving a job to its first instruction: for Numerus the first process of the agent, for a peer its job.

use std::io;
use std::time::Duration;

use super::Size;
use crate::figures::{Row, millis, spread};
use crate::marks::Kind;
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::{Scratch, pause};
use crate::spoolers::{PEERS, Peer};

/// Jobs that are run before any is measured.
const WARM_UP: usize = 3;
/// What lies between a job's end and the next one.
const GAP: Duration = Duration::from_millis(20);

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let jobs = size.of(10, 100);
    let mut rows = Vec::new();
    for peer in PEERS {
        rows.push(match peer.lacks() {
            Some(why) => Row::not_run(peer.name, &why),
            None => of_peer(peer, jobs).unwrap_or_else(|e| Row::not_run(peer.name, &e.to_string())),
        });
    }
    rows.push(ours(jobs)?);
    rows.push(after_a_rest(size.of(3, 30))?);
    Ok(rows)
}

fn of_peer(peer: &Peer, jobs: usize) -> io::Result<Row> {
    let scratch = Scratch::new()?;
    let mut spooler = peer.start(&scratch, 2)?;
    pause(Duration::from_millis(500));
    for number in 0..WARM_UP {
        spooler.offer(number)?;
        pause(Duration::from_millis(300));
    }
    scratch.marks.drain();
    let mut spans = Vec::new();
    for number in WARM_UP..WARM_UP + jobs {
        let before = spooler.offer(number)?;
        let mark = scratch.marks.wait(Kind::Start, PATIENCE)?;
        spans.push(millis(before, mark.at));
        scratch.marks.wait(Kind::End, PATIENCE)?;
        pause(GAP);
    }
    Ok(Row::new(peer.name, &spread(spans)))
}

fn ours(jobs: usize) -> io::Result<Row> {
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.start(2)?;
    let mut spans = Vec::new();
    for number in 0..WARM_UP + jobs {
        spans.push(span(&ours, number)?);
    }
    spans.drain(..WARM_UP);
    Ok(Row::new("Numerus", &spread(spans)))
}

/// Each file is the first of its daemon, so that no worker waits for it, as after a rest.
fn after_a_rest(jobs: usize) -> io::Result<Row> {
    let mut ours = Ours::new(&one_task(0), "")?;
    let mut spans = Vec::new();
    for number in 0..=jobs {
        ours.start(2)?;
        // What it does at its start is over by then.
        pause(GAP * 10);
        spans.push(span(&ours, number)?);
        ours.stop();
    }
    // The first one makes what later ones find.
    spans.remove(0);
    Ok(Row::new("Numerus, after a rest", &spread(spans)))
}

/// From dropping a job to its agent, in milliseconds; comes back when the job is over.
fn span(ours: &Ours, number: usize) -> io::Result<f64> {
    ours.scratch.marks.drain();
    let before = ours.drop_job(&format!("job{number}"), "")?;
    let mark = ours.scratch.marks.wait(Kind::Start, PATIENCE)?;
    ours.wait_done(number + 1, PATIENCE)?;
    pause(GAP);
    Ok(millis(before, mark.at))
}
