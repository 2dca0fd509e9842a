//! Numerus beside what people would pick instead: each measure asks all of them in one run, so that ratios count, whatever
//! the machine.
//!
//! `cargo bench --bench suite -- [MEASURE…]` runs the named measures, all without a name, and puts what it has seen into
//! `docs/benchmarks.ndjson`, from which `docs/benchmarks.md` and its pictures are made. `--quick` runs few of each and
//! writes nothing. `benches/install-peers` installs the peers; one that is missing is told of and left out.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a benchmark watches programs from outside: it writes files, reads clocks and talks to whoever runs it"
)]

mod bare;
mod figures;
mod floor;
mod gitcalls;
mod goals;
mod heard;
mod ledger;
mod machine;
mod marks;
mod measures;
mod ours;
mod pictures;
mod scratch;
mod spoolers;
mod used;

#[path = "../../tests/it/codex_bin.rs"]
#[expect(clippy::panic, clippy::expect_used, reason = "shared with the tests")]
mod codex_bin;
#[path = "../../tests/it/model_server.rs"]
#[expect(dead_code, clippy::expect_used, clippy::unwrap_used, reason = "shared with the tests")]
mod model_server;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use measures::{MEASURES, Measure, Size};

fn main() -> ExitCode {
    let started = marks::now();
    let mut words = std::env::args_os();
    let own = words.next().unwrap_or_default();
    let role = Path::new(&own).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match role {
        marks::JOB => marks::be_a_job(&own, words, started),
        marks::AGENT => ours::be_the_agent(&own, words, started),
        floor::WATCHER => floor::be_the_watcher(words),
        _ => suite(words.collect()),
    }
}

fn suite(words: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = words.into_iter().filter_map(|w| w.into_string().ok()).collect();
    let size = if words.iter().any(|w| w == "--quick") { Size::Quick } else { Size::Full };
    let names: Vec<&String> = words.iter().filter(|w| !w.starts_with("--")).collect();
    if let Some(unknown) = names.iter().find(|n| !MEASURES.iter().any(|m| m.name == **n)) {
        let known: Vec<&str> = MEASURES.iter().map(|m| m.name).collect();
        eprintln!("no measure is called {unknown}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |m: &&Measure| names.is_empty() || names.iter().any(|n| **n == m.name);
    let mut failed = 0;
    for measure in MEASURES.iter().filter(wanted) {
        if let Err(error) = run(measure, size) {
            eprintln!("{}: {error}", measure.name);
            failed += 1;
        }
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Runs one measure, shows what it has seen and, when it was run in full, keeps it.
fn run(measure: &Measure, size: Size) -> io::Result<()> {
    eprintln!("\n== {}: {}", measure.name, measure.what);
    let rows = (measure.run)(size);
    scratch::clear();
    let rows = rows?;
    eprint!("{}", figures::table(measure, &rows));
    if size == Size::Full {
        ledger::keep(measure, &rows)?;
        pictures::renew()?;
    }
    Ok(())
}
