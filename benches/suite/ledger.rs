//! What was measured so far: one line a measure and run in `docs/benchmarks.ndjson`.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::figures::Row;
use crate::machine;
use crate::measures::Measure;

/// A file of the project's documentation.
pub(crate) fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// Adds what a measure has seen.
pub(crate) fn keep(measure: &Measure, rows: &[Row]) -> io::Result<()> {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let line = json!({
        "measure": measure.name, "day": day, "commit": commit(), "machine": machine::facts(), "rows": rows,
    });
    let mut file =
        fs::OpenOptions::new().create(true).append(true).open(docs("benchmarks.ndjson"))?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// The newest line of a measure.
pub(crate) fn newest(measure: &str) -> Option<Value> {
    let text = fs::read_to_string(docs("benchmarks.ndjson")).ok()?;
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().find(|line| line["measure"] == measure)
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let said = git.output().map(|o| o.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().to_owned()
}
