//! Somebody who reads all the time what may be read at any time, and never finds half of it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::world::{PATIENCE, World};

/// Rounds between two questions by command.
const QUESTION_EVERY: u64 = 20;

/// What was read, and what was torn.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) files: u64,
    pub(super) torn: Vec<String>,
}

/// Reads until it is told to end.
pub(super) fn read_on(world: &World, ends: &AtomicBool) -> Read {
    let mut read = Read::default();
    for round in 0_u64.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        for job in world.jobs() {
            read_files(world, &job, &mut read);
        }
        if round % QUESTION_EVERY == 0 {
            ask(world, &mut read);
        }
        thread::park_timeout(Duration::from_millis(40));
    }
    read
}

fn read_files(world: &World, job: &str, read: &mut Read) {
    for name in ["status.json", "plan.json", "job.json", "plan-1.json"] {
        let path = world.root().join("runs").join(job).join(name);
        let Ok(bytes) = fs::read(&path) else { continue };
        read.files += 1;
        if serde_json::from_slice::<Value>(&bytes).is_err() {
            read.torn.push(format!("torn while read: {} of {} bytes", path.display(), bytes.len()));
        }
    }
}

/// The same by command. It is a process of this world, so the storm may end it.
fn ask(world: &World, read: &mut Read) {
    let ended = world.run(&mut world.numerus(&["status", "--all", "--json"]), PATIENCE);
    if ended.signal.is_some() {
        return;
    }
    read.files += 1;
    let is_whole = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    if ended.code != Some(0) || !ended.stdout.lines().all(is_whole) {
        read.torn.push(format!("status could not be read: {ended:?}"));
    }
}
