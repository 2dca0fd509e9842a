//! Calls that fail: a full disk, a broken one, one that can no longer be written, no descriptors left, a signal at the wrong
//! moment, half a write; once, or from some point on until the program is started anew.
//!
//! A job may end as failed then, if what it needed (git, its agent, its own files) failed, and it says so. It may not be lost,
//! run twice, be rejected or stay open once the machine is well again, and nobody may panic.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;

use crate::crash::told;
use crate::ledger::Bounds;
use crate::scenarios::{ALL, Ends, Mishap, Scenario};
use crate::sweep::{Outcome, mixed, sweep};
use crate::tracer::{Fault, traced_trial};
use crate::world::names;

/// Cases of the short form.
const SHORT: u64 = 60;
/// The scenarios of case numbers, over and over: long ones more often.
const TURNS: [usize; 8] = [2, 3, 1, 2, 0, 6, 3, 8];
/// The ends that a job may have which was to end well.
const ENDS: Ends = &["done", "failed"];

const FAULTS: [Fault; 11] = [
    Fault::Fail { errno: Errno::ENOSPC, lasts: false },
    Fault::Fail { errno: Errno::EIO, lasts: false },
    Fault::Fail { errno: Errno::EROFS, lasts: false },
    Fault::Fail { errno: Errno::EMFILE, lasts: false },
    Fault::Fail { errno: Errno::EINTR, lasts: false },
    Fault::Shorten { lasts: false },
    Fault::Fail { errno: Errno::ENOSPC, lasts: true },
    Fault::Fail { errno: Errno::EIO, lasts: true },
    Fault::Fail { errno: Errno::EROFS, lasts: true },
    Fault::Fail { errno: Errno::EMFILE, lasts: true },
    Fault::Shorten { lasts: true },
];

/// The errno proof.
pub(crate) fn trials() -> Vec<Trial> {
    vec![traced_trial("errno::every_call_can_fail", every_call)]
}

fn every_call() -> Result<(), Failed> {
    sweep(&Bounds::of("errno", SHORT), &play)
}

/// How many calls of a scenario a fault can happen to, counted once.
fn points(index: usize, fault: usize, all_opens: bool) -> u64 {
    static COUNTS: Mutex<Option<HashMap<(usize, usize), u64>>> = Mutex::new(None);
    let counted = || COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = counted().get_or_insert_default().get(&(index, fault)) {
        return *count;
    }
    let count = ALL[index].count(Some(FAULTS[fault]), all_opens);
    counted().get_or_insert_default().insert((index, fault), count);
    count
}

fn case(number: u64) -> (&'static Scenario, Mishap) {
    let index = TURNS[usize::try_from(number % TURNS.len() as u64).unwrap()];
    let kinds = FAULTS.len() as u64;
    let kind = usize::try_from((number / TURNS.len() as u64) % kinds).unwrap();
    let fault = FAULTS[kind];
    let all_opens = matches!(fault, Fault::Fail { errno: Errno::EMFILE, .. });
    let point = mixed(number, 1) % points(index, kind, all_opens).max(1) + 1;
    let may_hang = fault.lasts();
    (&ALL[index], Mishap { act: (point, fault), recovery: None, all_opens, may_hang })
}

fn play(number: u64) -> Outcome {
    let (scenario, mishap) = case(number);
    let world = scenario.ready(None);
    let shown = scenario.play(&world, mishap, ENDS);
    let mut counts = vec![scenario.name.to_owned(), kind(mishap.act.1)];
    counts.extend((!shown.hits.is_empty()).then(|| "points".to_owned()));
    let has_failed = !names(&world.folder("failed")).is_empty();
    counts.extend(has_failed.then(|| "failed honestly".to_owned()));
    if std::env::var_os("NUMERUS_PROOF_CASE").is_some() && has_failed {
        eprintln!("{mishap:?} at {:?}: kept at {}", shown.hits, world.path("").display());
        return Outcome { counts, fault: Some(told(scenario, mishap, &shown, &world.keep())) };
    }
    let fault = (!shown.faults.is_empty()).then(|| told(scenario, mishap, &shown, &world.keep()));
    Outcome { counts, fault }
}

fn kind(fault: Fault) -> String {
    let how = if fault.lasts() { "lasting" } else { "once" };
    match fault {
        Fault::Fail { errno, .. } => format!("{errno:?} {how}"),
        _ => format!("short {how}"),
    }
}
