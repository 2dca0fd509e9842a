//! Death at every point of `numerus edit`: whoever dies leaves one job, the old or the new one, or one whose file `status` of
//! the old one names, and which the same command makes a job. Each point is hit in its turn, until an edit comes to its end.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::tracer::{Fault, Traced, Tracing, traced_trial};
use crate::world::{World, names};

/// More calls that change something than an edit makes.
const REACH: u64 = 1000;
/// How long one edit may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The deaths of edits.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        traced_trial("crash::every_point_of_an_edit_can_be_the_last", || every_point(|_, _| ())),
        traced_trial("crash::every_point_of_an_edit_of_a_resting_job_can_be_the_last", || {
            every_point(|world, old| {
                assert_eq!(world.ask(&["pause", old]).code, Some(0));
            })
        }),
    ]
}

/// What a death has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Old,
    New,
    Prepared,
}

fn every_point(prepare: fn(&World, &str)) -> Result<(), Failed> {
    let mut seen = Vec::new();
    for point in 1..REACH {
        let world = World::new();
        let old = world.ask(&["submit", "first words"]).stdout.trim_end().to_owned();
        prepare(&world, &old);
        let traced = die_at(&world, &old, point);
        let at = traced.hit.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
        let left = left(&world, &old).map_err(|e| {
            Failed::from(format!("died at point {point}, {at}: {e}: {}", world.keep().display()))
        })?;
        seen.push(left);
        if traced.hit.is_none() {
            eprintln!("{} points: {seen:?}", point - 1);
            return judged(&traced, &seen);
        }
    }
    Err(format!("no edit came to its end in {REACH} points").into())
}

fn die_at(world: &World, old: &str, point: u64) -> Traced {
    let tracing = Tracing {
        below: world.folder_path(),
        fault: Some((point, Fault::KillAll)),
        records: false,
        all_opens: false,
        patience: PATIENCE,
        logs: world.logs(),
    };
    tracing.run(&world.numerus(&["edit", old, "--priority", "7"]))
}

/// The job that there is, whichever; an error where there is none, or more than one.
fn left(world: &World, old: &str) -> Result<Left, String> {
    let alive = [names(&world.folder("incoming")), names(&world.folder("claimed"))].concat();
    let is_told = world.ask(&["status", old]).stderr.contains("submits it");
    match alive.as_slice() {
        [one] if one.starts_with(old) && !is_told => Ok(Left::Old),
        [one] if !one.starts_with(old) => Ok(Left::New),
        [] | [_] if is_told => finished(world, old),
        other => Err(format!("there are {other:?}, and an edit is told of: {is_told}")),
    }
}

/// Asked once more, an edit that was cut off comes to its end.
fn finished(world: &World, old: &str) -> Result<Left, String> {
    let ended = world.ask(&["edit", old]);
    let alive = [names(&world.folder("incoming")), names(&world.folder("claimed"))].concat();
    let is_done = ended.code == Some(0) && alive == [format!("{}.json", ended.stdout.trim_end())];
    is_done.then_some(Left::Prepared).ok_or(format!("there are {alive:?} after {ended:?}"))
}

/// The last edit did what it was to, and those before it died on both sides of each turn.
fn judged(last: &Traced, seen: &[Left]) -> Result<(), Failed> {
    let all = [Left::Old, Left::Prepared, Left::New];
    let has_turned = all.iter().all(|left| seen.contains(left));
    if last.code == Some(0) && seen.last() == Some(&Left::New) && has_turned {
        return Ok(());
    }
    Err(format!("the sweep shows nothing: {seen:?}, {last:?}").into())
}
