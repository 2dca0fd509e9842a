//! Many short jobs, two at a time: how many a second. A job of Numerus is four sessions in terminals of their own, so
//! processes a second are shown beside jobs a second, and a floor that only starts the same processes in terminals.

use std::io;
use std::time::Duration;

use super::Size;
use crate::figures::{Row, millis};
use crate::marks::{self, Kind};
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::{Scratch, pause};
use crate::spoolers::{PEERS, Peer};

/// Sessions of a job with one task: plan, roles, claim, execution.
const SESSIONS: f64 = 4.0;

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for peer in PEERS.iter().filter(|peer| peer.is_queue) {
        rows.push(match peer.lacks() {
            Some(why) => Row::not_run(peer.name, &why),
            None => of_peer(peer, size.of(20, 1000))
                .unwrap_or_else(|e| Row::not_run(peer.name, &e.to_string())),
        });
    }
    rows.push(ours(size.of(6, 1000))?);
    Ok(rows)
}

#[expect(clippy::cast_precision_loss, reason = "a number of jobs")]
fn a_second(jobs: usize, from: u64, to: u64) -> f64 {
    jobs as f64 / (millis(from, to) / 1000.0)
}

fn of_peer(peer: &Peer, jobs: usize) -> io::Result<Row> {
    let scratch = Scratch::new()?;
    let mut spooler = peer.start(&scratch, 2)?;
    pause(Duration::from_millis(500));
    let mut first = None;
    for number in 0..jobs {
        let before = spooler.offer(number)?;
        first.get_or_insert(before);
    }
    let mut last = 0;
    for _ in 0..jobs {
        last = scratch.marks.wait(Kind::End, PATIENCE)?.at;
    }
    let jobs = a_second(jobs, first.unwrap_or_default(), last);
    Ok(Row::new(peer.name, &[("jobs", jobs), ("processes", jobs)]))
}

fn ours(jobs: usize) -> io::Result<Row> {
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.start(2)?;
    let before = marks::now();
    for number in 0..jobs {
        ours.drop_job(&format!("job{number}"), "")?;
    }
    ours.wait_done(jobs, PATIENCE * 40)?;
    let jobs = a_second(jobs, before, marks::now());
    Ok(Row::new("Numerus", &[("jobs", jobs), ("processes", SESSIONS * jobs)]))
}
