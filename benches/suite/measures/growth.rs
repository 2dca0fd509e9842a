//! What history costs: commands of Numerus, and of peers that keep one, with so many jobs that have ended, each a copy of a real one
//! under another name.

mod peers;

use std::fs;
use std::io::{self, Error};
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use super::Size;
use crate::figures::{Row, millis, percentile};
use crate::marks::now;
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::{pause, until};
use crate::used::used;

/// What is measured of giving a job.
const SUBMIT: [&str; 4] = ["submit", "x", "--not-before", "2999-01-01T00:00:00Z"];
/// Files of a run folder that its commands need.
const FILES: [&str; 5] =
    ["job.json", "objective.md", "events.ndjson", "status.json", "worker.lock"];

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let sizes: &[usize] = if size == Size::Quick { &[10, 100] } else { &[100, 10_000, 100_000] };
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.start(1)?;
    ours.drop_job("old", "")?;
    ours.wait_done(1, PATIENCE)?;
    ours.stop();
    let id = first_named(&ours, "old-")?;
    let mut made = 1;
    let mut rows = Vec::new();
    for &jobs in sizes {
        multiply(&ours, (&id, "done"), made..jobs)?;
        made = jobs;
        rows.push(row(&mut ours, (&id, jobs), size.of(3, 30))?);
    }
    for &files in &[0, *sizes.last().unwrap_or(&0)] {
        rows.push(waiting(files, size.of(3, 30))?);
    }
    let sizes: &[usize] = if size == Size::Quick { &[10, 100] } else { &[100, 10_000] };
    rows.extend(peers::rows(sizes, size.of(3, 10)));
    Ok(rows)
}

/// The same with so many files that nobody has taken.
fn waiting(files: usize, times: usize) -> io::Result<Row> {
    let ours = Ours::new(&one_task(0), "")?;
    // The first makes what every root has.
    span(ours.command(&SUBMIT))?;
    for number in 0..files {
        fs::write(ours.path("spool/incoming").join(format!("file{number}.md")), "x\n")?;
    }
    rustix::fs::sync();
    let mut spans =
        (0..times).map(|_| span(ours.command(&SUBMIT))).collect::<io::Result<Vec<f64>>>()?;
    Ok(Row::new(
        &format!("Numerus, {files} files waiting"),
        &[("submit", percentile(&mut spans, 0.5))],
    ))
}

/// The id of the job whose id begins so.
pub(super) fn first_named(ours: &Ours, start: &str) -> io::Result<String> {
    let names = fs::read_dir(ours.path("runs"))?.flatten().map(|e| e.file_name());
    let mut names = names.filter_map(|name| name.into_string().ok());
    names.find(|name| name.starts_with(start)).ok_or_else(|| Error::other("no such job"))
}

/// Copies a job, whose file lies in that folder of the spool, under other names.
pub(super) fn multiply(
    ours: &Ours,
    (id, place): (&str, &str),
    numbers: Range<usize>,
) -> io::Result<()> {
    let runs = ours.path("runs");
    let read = |name| Ok((name, fs::read_to_string(runs.join(id).join(name))?));
    let texts: Vec<(&str, String)> = FILES.into_iter().map(read).collect::<io::Result<_>>()?;
    let folder = ours.path("spool").join(place);
    let stem = id.split('-').next().unwrap_or_default();
    for number in numbers {
        let new = format!("{stem}-{number}-abcdef");
        fs::create_dir(runs.join(&new))?;
        for (name, text) in &texts {
            fs::write(runs.join(&new).join(name), text.replace(id, &new))?;
        }
        fs::write(folder.join(format!("{new}.md")), "x\n")?;
    }
    Ok(())
}

fn row(ours: &mut Ours, (id, jobs): (&str, usize), times: usize) -> io::Result<Row> {
    // The index has them all, as it would have had they ended here: it is made anew, of every run folder.
    for name in ["tasks.db", "tasks.db-wal", "tasks.db-shm"] {
        match fs::remove_file(ours.path("store").join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    span(ours.command(&["status"]))?;
    // What was made in a minute here was made in months there: it is on the disk, and nothing writes it beside the commands.
    rustix::fs::sync();
    ours.start(1)?;
    until_it_rests(ours)?;
    let words: [(&'static str, &[&str]); 4] = [
        ("status", &["status"]),
        ("status --json", &["status", "--json"]),
        ("logs", &["logs", id]),
        ("submit", &SUBMIT),
    ];
    let mut figures = Vec::new();
    for (column, words) in words {
        let mut spans =
            (0..times).map(|_| span(ours.command(words))).collect::<io::Result<Vec<f64>>>()?;
        figures.push((column, percentile(&mut spans, 0.5)));
    }
    ours.stop();
    Ok(Row::new(&format!("Numerus, {jobs} jobs"), &figures))
}

/// Waits until the daemon has looked at what it found, which takes seconds of one processor: it would be measured beside it.
fn until_it_rests(ours: &Ours) -> io::Result<()> {
    let mut before = f64::NAN;
    until("the daemon to rest", PATIENCE * 10, || {
        pause(Duration::from_millis(500));
        let now = used(ours.pid()).ok_or_else(|| Error::other("the daemon is gone"))?.ticks;
        Ok(now <= std::mem::replace(&mut before, now))
    })
}

fn span(mut command: Command) -> io::Result<f64> {
    let before = now();
    let code = command.status()?;
    if code.success() { Ok(millis(before, now())) } else { Err(Error::other(code.to_string())) }
}
