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

#[cfg(target_arch = "x86_64")]
mod calls;
mod chaos;
#[cfg(target_arch = "x86_64")]
mod crash;
mod dice;
#[cfg(target_arch = "x86_64")]
mod editing;
#[cfg(target_arch = "x86_64")]
mod errno;
mod ledger;
mod model;
#[cfg(target_arch = "x86_64")]
mod order;
mod promises;
mod scale;
#[cfg(target_arch = "x86_64")]
mod scenarios;
#[cfg(target_arch = "x86_64")]
mod sweep;
#[cfg(all(target_arch = "x86_64", feature = "seeded-bugs"))]
mod teeth;
#[cfg(target_arch = "x86_64")]
mod tracer;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    #[cfg(target_arch = "x86_64")]
    if let Some(code) = tracer::become_traced() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // Each proof keeps both processors busy by itself, and is easier to read alone.
    arguments.test_threads = Some(1);
    let all = [
        ledger::trials(),
        promises::trials(),
        of_traced(),
        chaos::trials(),
        model::trials(),
        scale::trials(),
    ];
    libtest_mimic::run(&arguments, all.into_iter().flatten().collect()).exit_code()
}

/// The proofs that look at single calls.
#[cfg(target_arch = "x86_64")]
fn of_traced() -> Vec<Trial> {
    let all = [
        order::trials(),
        crash::trials(),
        editing::trials(),
        errno::trials(),
        #[cfg(feature = "seeded-bugs")]
        teeth::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// The registers of other processors are not known here.
#[cfg(not(target_arch = "x86_64"))]
fn of_traced() -> Vec<Trial> {
    let missing = || -> Result<(), libtest_mimic::Failed> {
        world::not_run("x86_64");
        Ok(())
    };
    vec![Trial::test("crash::every_point_can_be_the_last", missing)]
}
