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

/// Each proof of the ledger: what a case of it is, and how many are the goal.
const PROOFS: &[(&str, &str, u64)] = &[
    ("crash", "a process, or all of them, killed just before one mutating system call", 10_000),
    ("errno", "one mutating system call that fails, once or from then on", 5_000),
    ("chaos", "a job in a storm of kills, stops and clock jumps", 20_000),
    ("chaos-full", "the same on a disk that fills up and is freed again", 2_000),
    (
        "scale",
        "a job of a flood of a million files, run once within the promised time and memory",
        20_000,
    ),
    ("model", "a random sequence of commands, compared with a model", 20_000),
];

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
        let of_proof = |key: &str| -> Vec<u64> {
            entries
                .iter()
                .filter(|e| e["proof"] == *proof)
                .filter_map(|e| e[key].as_u64())
                .collect()
        };
        let (cases, faults) = (of_proof("cases").iter().sum::<u64>(), of_proof("faults"));
        let newest = faults.last().copied().unwrap_or_default();
        let mended = faults.iter().sum::<u64>() - newest;
        let minutes = of_proof("seconds").iter().sum::<u64>() / 60;
        let (hours, minutes) = (minutes / 60, minutes % 60);
        writeln!(
            text,
            "| {proof} | {what} | {goal} | {cases} | {mended} | {newest} | {hours}:{minutes:02} |"
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
