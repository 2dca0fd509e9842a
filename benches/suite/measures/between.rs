//! From the end of one process to the start of the next: between two jobs of a peer that runs one at a time, between two
//! sessions of one job of Numerus, and between two jobs of it.

use std::io;

use super::Size;
use crate::figures::{Row, millis, spread};
use crate::marks::{Kind, Mark};
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::Scratch;
use crate::spoolers::{PEERS, Peer};

/// How long a session thinks that does, in ms: no model answers at once.
const THINK: u64 = 100;

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for peer in PEERS.iter().filter(|peer| peer.is_queue) {
        rows.push(match peer.lacks() {
            Some(why) => Row::not_run(peer.name, &why),
            None => of_peer(peer, size.of(10, 100))
                .unwrap_or_else(|e| Row::not_run(peer.name, &e.to_string())),
        });
    }
    for (is_plain, think) in [(true, 0), (false, 0), (true, THINK), (false, THINK)] {
        rows.extend(ours(size.of(3, 40), is_plain, think)?);
    }
    Ok(rows)
}

fn of_peer(peer: &Peer, jobs: usize) -> io::Result<Row> {
    let scratch = Scratch::new()?;
    let mut spooler = peer.start(&scratch, 1)?;
    crate::scratch::pause(std::time::Duration::from_millis(500));
    for number in 0..jobs {
        spooler.offer(number)?;
    }
    let mut marks = Vec::new();
    while marks.len() < 2 * jobs {
        marks.push(scratch.marks.next(PATIENCE)?);
    }
    marks.sort_by_key(|mark: &Mark| mark.at);
    let gap = |pair: &[Mark]| match pair {
        [before, after] if before.kind == Kind::End && after.kind == Kind::Start => {
            Some(millis(before.at, after.at))
        }
        _ => None,
    };
    Ok(Row::new(peer.name, &spread(marks.windows(2).filter_map(gap).collect())))
}

/// Jobs of four sessions, in a directory of their own or in a fresh repository each.
fn ours(jobs: usize, is_plain: bool, think: u64) -> io::Result<Vec<Row>> {
    // Below the project it would be a part of its repository.
    let plain = tempfile::tempdir()?;
    let mut ours = Ours::new(&one_task(think), "")?;
    ours.start(1)?;
    let front =
        if is_plain { format!("workspace: {}", plain.path().display()) } else { String::new() };
    for number in 0..jobs {
        ours.drop_job(&format!("job{number}"), &front)?;
    }
    ours.wait_done(jobs, PATIENCE * 10)?;
    let mut marks = ours.scratch.marks.drain();
    marks.sort_by_key(|mark| mark.at);
    let (mut within, mut across) = (Vec::new(), Vec::new());
    for pair in marks.windows(2) {
        let [before, after] = pair else { continue };
        if before.kind != Kind::End || after.kind != Kind::Start {
            continue;
        }
        let job = |mark: &Mark| mark.name.split('/').next().map(ToOwned::to_owned);
        let gaps = if job(before) == job(after) { &mut within } else { &mut across };
        gaps.push(millis(before.at, after.at));
    }
    let place = if is_plain { "plain directory" } else { "git" };
    let thinks = if think == 0 { String::new() } else { format!(", sessions of {think} ms") };
    Ok(vec![
        Row::new(&format!("Numerus, session to session, {place}{thinks}"), &spread(within)),
        Row::new(&format!("Numerus, job to job, {place}{thinks}"), &spread(across)),
    ])
}
