//! What the long runs have shown so far: one line a run in `docs/reliability.ndjson`, so that runs add up.
//!
//! A proof asks [`Bounds::of`] how far it is to go. Short (`cargo test`): a fixed number of cases from a fixed start. Long
//! (`NUMERUS_PROOF_MINUTES=N cargo test --release --test proof NAME`): on from where the ledger stopped, until the time is up,
//! and what was reached is appended.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The variable that asks for a long run, in minutes.
const MINUTES: &str = "NUMERUS_PROOF_MINUTES";

/// The variable that names the first case, to see one again.
const FIRST: &str = "NUMERUS_PROOF_FIRST";

/// How far a proof is to go.
pub(crate) struct Bounds {
    proof: &'static str,
    /// The first case: cases are numbered for ever, and a number always means the same case.
    pub(crate) first: u64,
    cases: u64,
    deadline: Option<Instant>,
    started: Instant,
}

impl Bounds {
    /// Bounds of a proof that makes `short` cases when it is to be short.
    pub(crate) fn of(proof: &'static str, short: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let minutes = number(MINUTES);
        let started = Instant::now();
        match minutes {
            None => Self {
                proof,
                first: number(FIRST).unwrap_or(0),
                cases: short,
                deadline: None,
                started,
            },
            Some(minutes) => {
                let deadline = Some(started + Duration::from_secs(60 * minutes));
                let first = number(FIRST).unwrap_or_else(|| cases_so_far(proof));
                Self { proof, first, cases: u64::MAX, deadline, started }
            }
        }
    }

    /// Whether a long run was asked for.
    pub(crate) fn is_long(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether one more case may begin after `done` of them.
    pub(crate) fn allow(&self, done: u64) -> bool {
        done < self.cases && self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Writes down what a long run has shown: how many cases, what was wrong, and figures of its own. A short one leaves
    /// nothing behind.
    pub(crate) fn record(&self, cases: u64, faults: u64, figures: &Value) {
        if !self.is_long() {
            return;
        }
        let line = json!({
            "proof": self.proof, "day": today(), "commit": commit(), "first": self.first, "cases": cases,
            "faults": faults, "seconds": self.started.elapsed().as_secs(), "figures": figures,
        });
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path()).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.ndjson")
}

fn cases_so_far(proof: &str) -> u64 {
    let text = fs::read_to_string(path()).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["proof"] == proof).filter_map(|line| line["cases"].as_u64()).sum()
}

fn today() -> String {
    jiff::Timestamp::now().to_string().chars().take(10).collect()
}

fn commit() -> String {
    let git = ["rev-parse", "--short", "HEAD"];
    let output = std::process::Command::new("git").args(git).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
