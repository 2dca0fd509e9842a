//! Death at every point: a process, or all of them, are killed just before one call that changes something; then again in the
//! middle of the recovery; after the next recovery every promise holds.

use std::sync::OnceLock;

use libtest_mimic::{Failed, Trial};

use crate::ledger::Bounds;
use crate::scenarios::{ALL, Mishap, PRUNE, SCENARIOS, Scenario, Shown};
use crate::sweep::{Outcome, mixed, sweep};
use crate::tracer::{Fault, traced_trial};

/// Cases of the short form.
const SHORT: u64 = 96;
/// The same of a removal.
const SHORT_OF_A_REMOVAL: u64 = 24;
/// The scenarios of case numbers, over and over: long ones more often.
const TURNS: [usize; 16] = [2, 3, 1, 6, 0, 3, 2, 5, 10, 8, 2, 4, 3, 6, 7, 9];
/// What happens to a point in the first, second, … pass over the points of a scenario.
const MODES: [Fault; 3] = [Fault::KillAll, Fault::KillOne, Fault::Tear];

/// The crash proof.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        traced_trial("crash::every_point_can_be_the_last", every_point),
        traced_trial("crash::every_point_of_a_removal_can_be_the_last", every_point_of_a_removal),
    ]
}

fn every_point_of_a_removal() -> Result<(), Failed> {
    sweep(&Bounds::of("crash-prune", SHORT_OF_A_REMOVAL), &|number| {
        let scenario = &ALL[PRUNE];
        let points = points(scenario);
        // A stride of a prime number leads to every point, whatever their number is.
        let point = number * 61 % points + 1;
        let mode = MODES[usize::try_from((number + number / points) % 3).unwrap()];
        let second = MODES[usize::try_from(mixed(number, 1) % 3).unwrap()];
        let recovery = (!mixed(number, 2).is_multiple_of(3))
            .then(|| (mixed(number, 3) % (2 * points) + 1, second));
        played(scenario, Mishap { act: (point, mode), recovery, all_opens: false, may_hang: false })
    })
}

fn every_point() -> Result<(), Failed> {
    let bounds = Bounds::of("crash", SHORT);
    for scenario in &ALL {
        let points = points(scenario);
        eprintln!("{}: {points} points", scenario.name);
        if points >= scenario.reach || points < 5 {
            let name = scenario.name;
            return Err(format!("{name} has {points} points: is its reach still right?").into());
        }
    }
    sweep(&bounds, &play)
}

/// The points of a scenario, counted once.
fn points(scenario: &'static Scenario) -> u64 {
    static COUNTS: [OnceLock<u64>; SCENARIOS] = [const { OnceLock::new() }; SCENARIOS];
    let index = ALL.iter().position(|one| one.name == scenario.name).unwrap();
    *COUNTS[index].get_or_init(|| scenario.count(None, false))
}

/// What a case number means: always the same, but for how many points there are.
fn case(number: u64) -> (&'static Scenario, Mishap) {
    let turns = TURNS.len() as u64;
    let turn = usize::try_from(number % turns).unwrap();
    let index = TURNS[turn];
    let scenario = &ALL[index];
    let before = TURNS[..turn].iter().filter(|one| **one == index).count() as u64;
    let each = TURNS.iter().filter(|one| **one == index).count() as u64;
    // The how-many-th case of this scenario; its reach is prime, so every stride leads to every point.
    let nth = number / turns * each + before;
    let reach = scenario.reach;
    let slot = nth % reach * (reach * 5 / 8) % reach;
    let pass = nth / reach;
    let point = slot % points(scenario) + 1;
    let mode = MODES[usize::try_from((pass + nth) % 3).unwrap()];
    // Two of three also die in the recovery, within what was left to do and a little more.
    let left = points(scenario).saturating_sub(point) + 40;
    let second = MODES[usize::try_from(mixed(number, 1) % 3).unwrap()];
    let recovery =
        (!mixed(number, 2).is_multiple_of(3)).then(|| (mixed(number, 3) % left + 1, second));
    (scenario, Mishap { act: (point, mode), recovery, all_opens: false, may_hang: false })
}

fn play(number: u64) -> Outcome {
    let (scenario, mishap) = case(number);
    played(scenario, mishap)
}

fn played(scenario: &'static Scenario, mishap: Mishap) -> Outcome {
    let world = scenario.ready(None);
    let shown = scenario.play(&world, mishap, &["done"]);
    let mut counts = vec![scenario.name.to_owned()];
    counts.extend(["points", "nested"].iter().zip(&shown.hits).map(|(what, _)| (*what).to_owned()));
    let fault = (!shown.faults.is_empty()).then(|| told(scenario, mishap, &shown, &world.keep()));
    Outcome { counts, fault }
}

/// A fault with all that is needed to see it again.
pub(crate) fn told(
    scenario: &Scenario,
    mishap: Mishap,
    shown: &Shown,
    kept: &std::path::Path,
) -> String {
    let faults = shown.faults.join("\n  ");
    let hits = shown.hits.join("\n    ");
    let name = scenario.name;
    format!("{name}, {mishap:?}\n    {hits}\n  {faults}\n  its world is kept: {}", kept.display())
}
