//! Many cases, two at a time for each processor, since a case waits more than it computes, with a line now and then of how
//! far they are.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::ledger::Bounds;

/// After this many cases with faults a sweep ends.
const FAULTS: usize = 8;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(30);
/// Plays one case instead of many: its number.
const CASE: &str = "NUMERUS_PROOF_CASE";

/// What one case has shown.
pub(crate) struct Outcome {
    /// What is counted, such as the scenario and whether something happened in its recovery, too.
    pub(crate) counts: Vec<String>,
    /// What is wrong, with all that is needed to see it again.
    pub(crate) fault: Option<String>,
}

#[derive(Default)]
struct Tally {
    done: u64,
    counts: BTreeMap<String, u64>,
    faults: Vec<String>,
    told: Duration,
}

/// Plays cases from where the ledger stopped, and says what is wrong.
pub(crate) fn sweep(bounds: &Bounds, play: &(dyn Fn(u64) -> Outcome + Sync)) -> Result<(), Failed> {
    if let Some(case) = std::env::var(CASE).ok().and_then(|text| text.parse().ok()) {
        let outcome = play(case);
        eprintln!("case {case}: {:?}", outcome.counts);
        return outcome.fault.map_or(Ok(()), |fault| Err(fault.into()));
    }
    let (started, next, tally) = (Instant::now(), AtomicU64::new(0), Mutex::new(Tally::default()));
    let lanes = 2 * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if !bounds.allow(index) || tally.lock().unwrap().faults.len() >= FAULTS {
                        break;
                    }
                    let case = bounds.first + index;
                    let outcome = play(case);
                    tally.lock().unwrap().take(case, outcome, started.elapsed());
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    let figures = tally.figures(started.elapsed());
    eprintln!("{} cases: {figures}", tally.done);
    bounds.record(tally.done, tally.faults.len() as u64, &figures);
    if tally.faults.is_empty() { Ok(()) } else { Err(tally.faults.join("\n\n").into()) }
}

impl Tally {
    fn take(&mut self, case: u64, outcome: Outcome, elapsed: Duration) {
        self.done += 1;
        for count in outcome.counts {
            *self.counts.entry(count).or_default() += 1;
        }
        if let Some(fault) = outcome.fault {
            eprintln!("case {case}: {fault}");
            self.faults.push(format!("case {case} ({CASE}={case} plays it again): {fault}"));
        }
        if elapsed > self.told + PROGRESS {
            self.told = elapsed;
            eprintln!("{} cases so far, {} of them with faults", self.done, self.faults.len());
        }
    }

    fn figures(&self, elapsed: Duration) -> Value {
        let each = elapsed.as_millis() / u128::from(self.done.max(1));
        let mut figures = json!({"ms_a_case": u64::try_from(each).unwrap_or(u64::MAX)});
        for (what, count) in &self.counts {
            figures[what] = json!(count);
        }
        figures
    }
}

/// A number without a pattern, always the same for the same two.
pub(crate) fn mixed(case: u64, salt: u64) -> u64 {
    let mut x = case.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(1);
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9_u64), (27, 0x94d0_49bb_1331_11eb)] {
        x = (x ^ (x >> shift)).wrapping_mul(factor);
    }
    x ^ (x >> 31)
}
