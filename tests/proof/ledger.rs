//! What the long runs have shown so far: one line a run in `docs/reliability.ndjson`, so that runs add up.
//!
//! A proof asks [`Bounds::of`] how far it is to go. Short (`cargo test`): a fixed number of cases from a fixed start. Long
//! (`NUMERUS_PROOF_MINUTES=N cargo test --profile proof --test proof NAME`): on from where the ledger stopped, until the time is up,
//! and what was reached is appended. The table in `docs/reliability.md` is made from the ledger; a trial holds that it is
//! the newest.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

/// The variable that asks for a long run, in minutes.
const MINUTES: &str = "NUMERUS_PROOF_MINUTES";
/// The variable that asks for the table in the docs to be written anew.
const WRITE: &str = "NUMERUS_PROOF_WRITE_FIGURES";
/// Where the table stands.
const TABLE: [&str; 2] = ["<!-- figures -->\n", "<!-- end of figures -->\n"];

/// Each proof of the ledger: what a case of it is, and what is the goal.
const PROOFS: &[(&str, &str, &str)] = &[
    (
        "crash",
        "one process, or all, killed at a call that changes files, and again in the recovery",
        "10,000 points",
    ),
    (
        "crash-prune",
        "the same while jobs that have ended are removed, and again while the removal is finished",
        "every point, in three ways",
    ),
    ("errno", "one call that changes files fails, once or from then on", "5,000"),
    ("chaos", "a job in a storm of kills, stops and clock jumps", "20,000"),
    ("chaos-full", "the same on a disk that fills up and is freed again", "2,000"),
    ("model", "a random sequence of commands, compared with a model", "20,000"),
    (
        "scale",
        "a job of a flood of a million files, run once, in the promised time and memory",
        "20,000",
    ),
    ("fuzz-claims", "any bytes as the paths of claims", TEN_MINUTES),
    ("fuzz-escape", "any bytes on their way to a terminal", TEN_MINUTES),
    ("fuzz-front_matter", "any bytes as front matter", TEN_MINUTES),
    ("fuzz-job", "any bytes as a job file", TEN_MINUTES),
    ("fuzz-journal", "any bytes as a journal", TEN_MINUTES),
    ("fuzz-settings", "any bytes as settings", TEN_MINUTES),
    ("fuzz-status", "any bytes as a status", TEN_MINUTES),
    ("fuzz-transcript", "any bytes as what codex prints", TEN_MINUTES),
    (
        "mutants",
        "one place of the deciding or writing code changed, and the unit tests run",
        "none unexplained",
    ),
];

/// How long each reader is to be fuzzed.
const TEN_MINUTES: &str = "10 minutes";

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
                assert!(
                    PROOFS.iter().any(|(name, ..)| *name == proof),
                    "{proof} is not in the table"
                );
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
    /// nothing behind, and neither does one whose first case was named.
    pub(crate) fn record(&self, cases: u64, faults: u64, figures: &Value) {
        if !self.is_long() || std::env::var_os(FIRST).is_some() {
            return;
        }
        let line = json!({
            "proof": self.proof, "day": today(), "commit": commit(), "first": self.first, "cases": cases,
            "faults": faults, "seconds": self.started.elapsed().as_secs(), "figures": figures,
        });
        let path = docs("reliability.ndjson");
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
        write_table();
    }
}

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

fn entries() -> Vec<Value> {
    let text = fs::read_to_string(docs("reliability.ndjson")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn cases_so_far(proof: &str) -> u64 {
    entries().iter().filter(|e| e["proof"] == proof).filter_map(|e| e["cases"].as_u64()).sum()
}

/// The table: for each proof what all of its long runs add up to.
fn table(entries: &[Value]) -> String {
    let mut text = "| proof | a case is | goal | cases | faults found and mended | faults in the newest run | hours |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for (proof, what, goal) in PROOFS {
        let runs: Vec<&Value> = entries.iter().filter(|e| e["proof"] == *proof).collect();
        let sum = |at: &str| -> u64 { runs.iter().filter_map(|e| e.pointer(at)?.as_u64()).sum() };
        let points = sum("/figures/points") + sum("/figures/nested");
        let points = if points > 0 { format!(", {points} points") } else { String::new() };
        let newest = runs.last().and_then(|e| e["faults"].as_u64()).unwrap_or_default();
        let (cases, mended) = (sum("/cases"), sum("/faults") - newest);
        let (hours, minutes) = (sum("/seconds") / 3600, sum("/seconds") / 60 % 60);
        writeln!(
            text,
            "| {proof} | {what} | {goal} | {cases}{points} | {mended} | {newest} | {hours}:{minutes:02} |"
        )
        .unwrap();
    }
    text
}

/// The page before the table, the table, and the page after it.
fn page() -> [String; 3] {
    let text = fs::read_to_string(docs("reliability.md")).unwrap();
    let (before, rest) = text.split_once(TABLE[0]).unwrap();
    let (table, after) = rest.split_once(TABLE[1]).unwrap();
    [before, table, after].map(str::to_owned)
}

fn write_table() {
    let [before, _, after] = page();
    let text = [&before, TABLE[0], &table(&entries()), TABLE[1], &after].concat();
    fs::write(docs("reliability.md"), text).unwrap();
}

/// Holds that the table in the docs is the one that the ledger gives, and that every proof in the ledger is in it.
pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("ledger::the_figures_in_the_docs_are_those_of_the_ledger", || {
        if std::env::var_os(WRITE).is_some() {
            write_table();
        }
        let expected = table(&entries());
        assert_eq!(
            page()[1],
            expected,
            "write them anew: {WRITE}=1 cargo test --test proof ledger"
        );
        for entry in entries() {
            assert!(PROOFS.iter().any(|(proof, ..)| entry["proof"] == *proof), "{entry}");
        }
        Ok(())
    })]
}

fn today() -> String {
    jiff::Timestamp::now().to_string().chars().take(10).collect()
}

fn commit() -> String {
    let git = ["rev-parse", "--short", "HEAD"];
    let output = std::process::Command::new("git").args(git).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
