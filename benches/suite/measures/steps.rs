//! Where the time of a job goes: from one fact of its journal to the next, the sessions included.

use std::collections::BTreeMap;
use std::io::{self, Error};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Size;
use crate::figures::{Row, percentile};
use crate::ours::{Ours, PATIENCE, one_task};

/// How long a session thinks, in ms.
const THINK: u64 = 100;

/// Spans in ms by step; a step is the fact that ends it, with which of its kind it is.
type Steps = BTreeMap<String, Vec<f64>>;

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let jobs = size.of(2, 40);
    let (order, mut git) = steps(jobs, false)?;
    let (_, mut plain) = steps(jobs, true)?;
    let row = |name: &String| {
        let mut figures = Vec::new();
        for (column, steps) in [("git p50", &mut git), ("plain p50", &mut plain)] {
            figures.extend(steps.get_mut(name).map(|spans| (column, percentile(spans, 0.5))));
        }
        Row::new(name, &figures)
    };
    Ok(order.iter().map(row).collect())
}

/// Runs jobs one after the other; the steps of the first in their order, and the spans of all.
fn steps(jobs: usize, is_plain: bool) -> io::Result<(Vec<String>, Steps)> {
    // Below the project it would be a part of its repository.
    let plain = tempfile::tempdir()?;
    let mut ours = Ours::new(&one_task(THINK), "")?;
    // With a lane to spare: the worker of the job before may still be leaving.
    ours.start(2)?;
    let front =
        if is_plain { format!("workspace: {}", plain.path().display()) } else { String::new() };
    let (mut order, mut all) = (Vec::new(), Steps::new());
    for number in 0..jobs {
        let name = format!("job{number}");
        let dropped = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Error::other)?;
        ours.drop_job(&name, &front)?;
        ours.wait_done(number + 1, PATIENCE)?;
        let mut before = i64::try_from(dropped.as_micros()).map_err(Error::other)?;
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for (fact, at) in journal(&ours.path("runs"), &name)? {
            let count = seen.entry(fact.clone()).or_default();
            *count += 1;
            let step = if *count == 1 { fact } else { format!("{fact}, {count}.") };
            if number == 0 {
                order.push(step.clone());
            }
            #[expect(clippy::cast_precision_loss, reason = "spans of seconds")]
            all.entry(step).or_default().push((at - before) as f64 / 1e3);
            before = at;
        }
    }
    Ok((order, all))
}

/// The facts of a job, each with its moment in microseconds.
fn journal(runs: &Path, name: &str) -> io::Result<Vec<(String, i64)>> {
    let start = format!("{name}-");
    let mut folders = std::fs::read_dir(runs)?.filter_map(Result::ok);
    let run = folders
        .find(|folder| folder.file_name().to_string_lossy().starts_with(&start))
        .ok_or_else(|| Error::other(format!("no run of {name}")))?;
    let text = std::fs::read_to_string(run.path().join("events.ndjson"))?;
    let fact = |line: &str| -> Option<(String, i64)> {
        let event: Value = serde_json::from_str(line).ok()?;
        let at: jiff::Timestamp = event["ts"].as_str()?.parse().ok()?;
        Some((event["event"].as_str()?.to_owned(), at.as_microsecond()))
    };
    Ok(text.lines().filter_map(fact).collect())
}
