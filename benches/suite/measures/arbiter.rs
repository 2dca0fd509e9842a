//! Decisions of the arbiter a second, beside so many leases that are held, none of which is in the way.

use std::io;

use ::numerus::logic::arbiter::judge;
use ::numerus::model::claim::LeaseFile;
use serde_json::{Value, json};

use super::Size;
use crate::figures::{Row, millis};
use crate::marks::now;

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    [100, size.of(1000, 10_000)].into_iter().map(|leases| row(leases, size.of(10, 500))).collect()
}

fn row(leases: usize, decisions: usize) -> io::Result<Row> {
    let held: Vec<LeaseFile> = (0..leases)
        .map(|n| lease(n, "held"))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let claim = lease(leases, "waiting").map_err(io::Error::other)?;
    let before = now();
    let granted = (0..decisions).filter(|_| judge(&claim, &held).is_empty()).count();
    let took = millis(before, now());
    if granted < decisions {
        return Err(io::Error::other("a claim was in the way of another path"));
    }
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let rate = decisions as f64 / (took / 1e3);
    Ok(Row::new(&format!("Numerus, {leases} leases held"), &[("decisions/s", rate)]))
}

fn lease(number: usize, state: &str) -> Result<LeaseFile, serde_json::Error> {
    let path = |kind: &str| json!({"path": format!("{kind}/dir{}/file{number}.rs", number % 100), "is_dir": false});
    let value: Value = json!({
        "version": 1, "holder": {"job": format!("job{number}-abcdef"), "task": "t1"}, "attempt": 1,
        "ticket": number, "state": state, "root": "/root",
        "claim": {"reads": [path("docs")], "writes": [path("src")]},
    });
    serde_json::from_value(value)
}
