//! Many short jobs, two at a time: how many a second. A job of Numerus is four sessions in terminals of their own, so
//! processes a second are shown beside jobs a second, and two floors: one that only starts the same processes in terminals, and one that
//! writes and flushes as many files for them as a job does. By default each job of Numerus has a repository of its own, which none of the
//! peers makes, so it is shown in plain directories, too.

use std::fs::File;
use std::io::{self, Error, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Size;
use crate::bare::Bare;
use crate::figures::{Row, millis};
use crate::marks::{self, Kind};
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::{Scratch, pause};
use crate::spoolers::{PEERS, Peer};

/// Sessions of a job with one task: plan, roles, claim, execution.
const SESSIONS: u16 = 4;
/// Files that a job in a plain directory makes for each of its sessions, and how often it flushes (`strace` of ten jobs: some 68 files
/// are made of a job, and 25 times flushed).
const FILES: usize = 17;
const FLUSHES: usize = 6;

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for peer in PEERS.iter().filter(|peer| peer.is_queue) {
        rows.push(match peer.lacks() {
            Some(why) => Row::not_run(peer.name, &why),
            None => of_peer(peer, size.of(20, 1000))
                .unwrap_or_else(|e| Row::not_run(peer.name, &e.to_string())),
        });
    }
    let jobs = size.of(6, 1000);
    rows.push(terminals(jobs, false)?);
    rows.push(terminals(jobs, true)?);
    // Below the project they would be a part of its repository.
    let plain = tempfile::tempdir()?;
    let places = (0..jobs).map(|number| plain.path().join(number.to_string()));
    let places: Vec<PathBuf> = places.collect();
    places.iter().try_for_each(std::fs::create_dir)?;
    let front = |number: usize| format!("workspace: {}", places[number].display());
    let in_plain = "Numerus, each in a plain directory of its own";
    let in_repository = "Numerus, each in a repository of its own";
    rows.push(ours(jobs, in_plain, front)?);
    rows.push(ours(jobs, in_repository, |_| String::new())?);
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

/// The sessions of so many jobs, each a process in a terminal that is read to its end, and then the files that are kept of it.
fn terminals(jobs: usize, keeps_files: bool) -> io::Result<Row> {
    let (bare, scratch) = (Bare::new(0)?, Scratch::new()?);
    let (before, left) = (marks::now(), AtomicUsize::new(jobs));
    let work = || -> io::Result<()> {
        let take = || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        while let Ok(job) = take() {
            for session in 0..SESSIONS {
                bare.session()?;
                if keeps_files {
                    keep_files(&scratch.dir(&format!("{job}-{session}"))?)?;
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(work), scope.spawn(work)];
        let broke = |_| Error::other("a thread broke off");
        both.into_iter().try_for_each(|one| one.join().map_err(broke)?)
    })?;
    let name = "floor: a terminal for each session";
    let name = if keeps_files { format!("{name}, and a job's files") } else { name.to_owned() };
    Ok(row(&name, a_second(jobs, before, marks::now())))
}

fn keep_files(dir: &Path) -> io::Result<()> {
    for number in 0..FILES {
        let mut file = File::create(dir.join(number.to_string()))?;
        file.write_all(
            b"What a session leaves, in a line that is as short as most of its files are.",
        )?;
        if number < FLUSHES {
            file.sync_data()?;
        }
    }
    Ok(())
}

/// Jobs of Numerus, with what each says at its head.
fn ours(jobs: usize, name: &str, front: impl Fn(usize) -> String) -> io::Result<Row> {
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.start(2)?;
    let before = marks::now();
    for number in 0..jobs {
        ours.drop_job(&format!("job{number}"), &front(number))?;
    }
    ours.wait_done(jobs, PATIENCE * 40)?;
    Ok(row(name, a_second(jobs, before, marks::now())))
}

fn row(name: &str, jobs: f64) -> Row {
    Row::new(name, &[("jobs", jobs), ("processes", f64::from(SESSIONS) * jobs)])
}
