//! The proofs: nothing lost, nothing twice, whatever is killed, fails or fills up, and whenever.
//!
//! Each proof is a module that gives its cases as trials, short by default; [`ledger`] says how long runs are asked for and
//! where they are written down. With the feature `seeded-bugs` further trials show that a proof sees a mistake.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "proofs watch the program from outside: they write files, read clocks and the environment, and fail by panicking"
)]

mod calls;
mod chaos;
mod crash;
mod dice;
mod errno;
mod ledger;
mod model;
mod order;
mod promises;
mod scale;
mod scenarios;
mod sweep;
mod tracer;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = tracer::become_traced() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // Each proof keeps both processors busy by itself, and is easier to read alone.
    arguments.test_threads = Some(1);
    let trials = [
        ledger::trials(),
        promises::trials(),
        order::trials(),
        crash::trials(),
        errno::trials(),
        chaos::trials(),
        model::trials(),
        scale::trials(),
    ];
    let trials: Vec<Trial> = trials.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
