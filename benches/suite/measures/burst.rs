//! Very many files at once: how many a second are taken, and what the daemon grows to. The jobs wait for a day that does not come, so
//! that nothing but taking is measured.

use std::io;
use std::time::Duration;

use super::Size;
use crate::figures::{Row, millis};
use crate::marks::now;
use crate::ours::{Ours, PATIENCE, one_task};
use crate::scratch::until_every;
use crate::used::used;

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let files = size.of(50, 20_000);
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.start(2)?;
    let before = now();
    for number in 0..files {
        ours.drop_job(&format!("job{number}"), "not_before: 2999-01-01T00:00:00Z")?;
    }
    // Each look reads a folder of thousands of names.
    let rest = Duration::from_millis(50);
    until_every(rest, "all are taken", PATIENCE * 20, || Ok(ours.count("spool/claimed") == files))?;
    let seconds = millis(before, now()) / 1e3;
    #[expect(clippy::cast_precision_loss, reason = "a number of files")]
    let rate = files as f64 / seconds;
    let memory = used(ours.pid()).map_or(f64::NAN, |used| used.memory);
    Ok(vec![Row::new(&format!("Numerus, {files} files"), &[("taken/s", rate), ("MB", memory)])])
}
