//! What must hold after the storm.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::Storm;
use super::drops::{Kind, Way};
use crate::promises::{Accepted, broken, lines};
use crate::world::{World, names};

/// How long the one start after the storm may take for what is left.
const LAST_START: Duration = Duration::from_secs(120);
/// How long processes may live after the end.
const AFTER_THE_END: Duration = Duration::from_secs(5);
/// Deaths, of its sessions or its workers, after which a job may have failed honestly.
const DEADLY: usize = 3;

/// The one start after the storm.
pub(super) fn settle(storm: &mut Storm) {
    let world = storm.world;
    let last = world.run(&mut world.numerus(&["daemon", "--once"]), LAST_START);
    let is_over = names(&world.folder("incoming")).is_empty();
    if last.hung || !is_over || !matches!(last.code, Some(0..=2)) {
        let left: Vec<String> =
            ["incoming", "claimed"].iter().flat_map(|p| names(&world.folder(p))).collect();
        storm.faults.push(format!("stuck after one start: {left:?}: {last:?}"));
    }
    let deadline = Instant::now() + AFTER_THE_END;
    while Instant::now() < deadline && !world.processes().is_empty() {
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Looks at everything.
pub(super) fn judge(storm: &mut Storm) {
    let accepted = accepted(storm);
    storm.tally.count("accepted", u64::try_from(accepted.len()).unwrap_or(0));
    storm.faults.extend(broken(storm.world, &accepted));
    storm.faults.extend(of_keys(storm));
    let failed = of_failed(storm);
    storm.faults.extend(failed);
    storm.faults.extend(of_words(storm.world));
}

/// Where each accepted job may end.
fn accepted(storm: &mut Storm) -> Vec<Accepted> {
    let mut ends: BTreeMap<String, &'static [&'static str]> = BTreeMap::new();
    for one in &storm.drops[..storm.dropped] {
        if one.is_accepted_by_lying_there() {
            let may = match (one.kind, one.way) {
                (Kind::Bad, _) => &["rejected"][..],
                // Whoever starts while a file is being written in place sees no more than that it stands still.
                (Kind::Keyed(_), _) | (_, Way::InPlace) => &["done", "failed", "rejected"][..],
                _ => &["done", "failed"][..],
            };
            ends.insert(one.slug.clone(), may);
        }
    }
    for told in &storm.told {
        let one = storm.drops.iter().find(|one| one.slug == told.slug);
        let is_keyed = one.is_some_and(|one| matches!(one.kind, Kind::Keyed(_)));
        match (told.is_kill, told.status.code()) {
            (false, Some(0)) if is_keyed => {
                ends.insert(told.slug.clone(), &["done", "failed", "rejected"]);
            }
            (false, Some(0)) => {
                ends.entry(told.slug.clone()).or_insert(&["done", "failed"]);
            }
            (true, code) => {
                if let Some(may) = ends.get_mut(&told.slug) {
                    *may = after_kill(code, &told.words, may);
                }
            }
            // One that was killed has told nothing; whether its file lies there or not, it is whole.
            (false, None) => {}
            // Nothing was accepted: there was no room, or another job had the key.
            (false, Some(_)) if storm.filler.is_some() => {}
            (false, Some(2)) if is_keyed && told.words.contains("nothing was submitted") => {}
            (false, Some(code)) => {
                storm.faults.push(format!("submit ended with {code}: {}", told.words));
            }
        }
    }
    ends.into_iter().map(|(slug, ends)| Accepted { slug, ends }).collect()
}

/// Where a job may end that somebody has killed: what was told is what is.
fn after_kill(
    code: Option<i32>,
    words: &str,
    before: &'static [&'static str],
) -> &'static [&'static str] {
    match code {
        Some(0) if words.contains("withdrawn") || words.contains(": killed") => &["killed"],
        Some(0) if words.contains("succeeded") => &["done"],
        Some(0) if words.contains("failed") => &["failed"],
        Some(0) if words.contains("rejected") => &["rejected"],
        // Nobody had taken it, so that it had no id to be named by.
        Some(2 | 3) => before,
        _ => &["done", "failed", "killed", "rejected"],
    }
}

/// Of the jobs with one key exactly one ran.
fn of_keys(storm: &Storm) -> Vec<String> {
    let mut by_key: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for one in &storm.drops[..storm.dropped] {
        if let Kind::Keyed(key) = one.kind {
            by_key.entry(key).or_default().push(&one.slug);
        }
    }
    let ran = |slug: &str| {
        let of_slug = |place| {
            let lies = names(&storm.world.folder(place));
            lies.into_iter().filter(|name| name.starts_with(slug)).count()
        };
        of_slug("done") + of_slug("failed")
    };
    let times = by_key.into_iter().map(|(key, slugs)| (key, slugs.iter().map(|s| ran(s)).sum()));
    times
        .filter(|(_, n): &(u64, usize)| *n > 1)
        .map(|(key, n)| format!("key {key} ran {n} times"))
        .collect()
}

/// A job fails only if its processes were killed often enough.
fn of_failed(storm: &mut Storm) -> Vec<String> {
    let mut faults = Vec::new();
    for name in names(&storm.world.folder("failed")) {
        let job = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
        let journal = lines(&storm.world.root().join("runs").join(job).join("events.ndjson"));
        let deaths = journal
            .iter()
            .filter(|line| match line["event"].as_str() {
                Some("terminal.session_ended") => !line["payload"]["failure"].is_null(),
                Some("job.worker_started") => true,
                _ => false,
            })
            .count();
        storm.tally.count("failed", 1);
        if deaths < DEADLY {
            faults.push(format!("{job} failed after {deaths} deaths"));
        }
    }
    faults
}

/// No process said that it panicked.
fn of_words(world: &World) -> Vec<String> {
    let logs = walkdir::WalkDir::new(world.logs()).into_iter().filter_map(Result::ok);
    let mut faults = Vec::new();
    for log in logs.filter(|entry| entry.file_type().is_file()) {
        let text = String::from_utf8_lossy(&fs::read(log.path()).unwrap_or_default()).into_owned();
        if text.contains("panicked at") {
            faults.push(format!("a panic: {text}"));
        }
    }
    faults
}
