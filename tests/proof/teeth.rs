//! Mistakes made on purpose, each of which a proof has to see: what never finds anything proves nothing. In programs built with
//! the feature `seeded-bugs` only.

use std::thread;

use libtest_mimic::{Failed, Trial};

use crate::calls::Call;
use crate::order::faults_of;
use crate::promises::{Accepted, broken};
use crate::scenarios::{Mishap, named};
use crate::tracer::{Fault, traced_trial};
use crate::world::{PATIENCE, World};

/// Most cases that are played until a mistake is seen.
const TRIES: usize = 40;
/// Most rounds of two daemons at once.
const ROUNDS: usize = 10;

/// A mistake that shows in the order of calls: its name, where it shows, and what is said of it.
const BY_ORDER: [(&str, &str, &str); 8] = [
    ("copy-instead-of-rename", "claim", "in place"),
    ("status-in-place", "claim", "in place"),
    ("no-file-flush", "claim", "before its bytes are flushed"),
    ("no-folder-flush", "claim", "job.claimed before"),
    ("no-journal-flush", "run", "a session starts before"),
    ("done-before-finished", "run", "before job.finished is on disk"),
    ("no-intent", "run", "before its intent is on disk"),
    ("acknowledged-early", "submit", "what submit prints before"),
];

/// Shows that a mistake is seen.
type Bites = fn() -> Result<(), Failed>;

/// The teeth of the proofs.
pub(crate) fn trials() -> Vec<Trial> {
    let by_order = BY_ORDER.iter().map(|(bug, scenario, says)| {
        traced_trial(name(bug), move || by_order(bug, scenario, says))
    });
    let others: [(&str, Bites); 5] = [
        ("torn-line-open", || {
            by_crash("torn-line-open", "run", Fault::Tear, |call, _| {
                call.is_write() && call.path.ends_with("events.ndjson")
            })
        }),
        ("copy-instead-of-rename, killed", || at_removals("copy-instead-of-rename", "run")),
        ("completed-again", || {
            by_crash("completed-again", "plan", Fault::KillAll, |call, before| {
                call.number % 16 == 0 && before.contains("job.task_completed")
            })
        }),
        ("no-fence", no_fence),
        ("no-lock", no_lock),
    ];
    by_order.chain(others.map(|(bug, run)| traced_trial(name(bug), run))).collect()
}

fn name(bug: &str) -> &'static str {
    format!("teeth::{}", bug.replace(", ", "_").replace('-', "_")).leak()
}

fn by_order(bug: &str, scenario: &str, says: &str) -> Result<(), Failed> {
    let faults = faults_of(named(scenario), Some(bug));
    if faults.iter().any(|fault| fault.contains(says)) {
        return Ok(());
    }
    Err(format!("{bug} was not seen; what was: {faults:?}").into())
}

/// Strikes at one call after the other that is chosen, given what was written into journals so far, until something is wrong.
fn by_crash(
    bug: &str,
    scenario: &str,
    fault: Fault,
    is_chosen: fn(&Call, &str) -> bool,
) -> Result<(), Failed> {
    let scenario = named(scenario);
    let record = scenario.record(&scenario.ready(Some(bug))).record;
    let mut written = String::new();
    let mut points = Vec::new();
    for call in &record {
        if is_chosen(call, &written) {
            points.push(call.number);
        }
        if call.path.ends_with("events.ndjson") {
            written.push_str(&call.head);
        }
    }
    for point in points.iter().take(TRIES) {
        let (act, recovery) = ((*point, fault), None);
        let mishap = Mishap { act, recovery, all_opens: false, may_hang: false };
        let shown = scenario.play(&scenario.ready(Some(bug)), mishap, &["done"]);
        if !shown.faults.is_empty() {
            return Ok(());
        }
    }
    Err(format!("{bug} was not seen in {} cases", points.len().min(TRIES)).into())
}

/// Strikes just before a file of the spool goes, at one after the other, until something is wrong.
fn at_removals(bug: &str, scenario: &str) -> Result<(), Failed> {
    let scenario = named(scenario);
    for number in 1..=TRIES {
        let (act, recovery) = ((number as u64, Fault::KillAtRemoval), None);
        let mishap = Mishap { act, recovery, all_opens: false, may_hang: false };
        let shown = scenario.play(&scenario.ready(Some(bug)), mishap, &["done"]);
        if !shown.faults.is_empty() {
            return Ok(());
        }
        if shown.hits.is_empty() {
            return Err(format!("{bug} was not seen at {} removals", number - 1).into());
        }
    }
    Err(format!("{bug} was not seen at {TRIES} removals").into())
}

fn no_fence() -> Result<(), Failed> {
    let scenario = named("orphan");
    let world = scenario.ready(Some("no-fence"));
    drop(world.run(&mut world.numerus(&["daemon", "--once"]), PATIENCE));
    let faults = broken(&world, &[Accepted { slug: "job".into(), ends: &["done"] }]);
    if faults.is_empty() { Err("no-fence was not seen".into()) } else { Ok(()) }
}

fn no_lock() -> Result<(), Failed> {
    let sound = of_two_daemons(None);
    assert!(sound.is_empty(), "{sound:?}");
    let is_seen = (0..ROUNDS).any(|_| !of_two_daemons(Some("no-lock")).is_empty());
    if is_seen { Ok(()) } else { Err("no-lock was not seen".into()) }
}

/// What is wrong after two daemons were at work on one spool at once.
fn of_two_daemons(bug: Option<&str>) -> Vec<String> {
    let mut world = World::new();
    if let Some(bug) = bug {
        world.seed(bug);
    }
    let names: Vec<String> = (1..=4).map(|number| format!("job{number}")).collect();
    for name in &names {
        world.drop_job(&format!("{name}.md"), name, "");
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| drop(world.run(&mut world.numerus(&["daemon", "--once"]), PATIENCE)));
        }
    });
    let accepted: Vec<Accepted> =
        names.iter().map(|name| Accepted { slug: name.clone(), ends: &["done"] }).collect();
    broken(&world, &accepted)
}
