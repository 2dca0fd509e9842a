//! A daemon that starts on so many jobs, half of which have ended and half of which wait for their time: how long until it
//! has looked at all of them, with the index to be made again.

use std::fs;
use std::io::{self, Error};

use super::Size;
use super::growth::{first_named, multiply};
use crate::figures::{Row, millis};
use crate::marks::now;
use crate::ours::{Ours, PATIENCE, one_task};

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let sizes: &[usize] = if size == Size::Quick { &[100] } else { &[10_000, 100_000] };
    sizes.iter().map(|&jobs| row(jobs)).collect()
}

fn row(jobs: usize) -> io::Result<Row> {
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.start(1)?;
    ours.drop_job("ended", "")?;
    ours.wait_done(1, PATIENCE)?;
    ours.drop_job("waits", "not_before: 2999-01-01T00:00:00Z")?;
    crate::scratch::until("it is taken", PATIENCE, || Ok(ours.count("spool/claimed") == 1))?;
    ours.stop();
    for (name, place) in [("ended-", "done"), ("waits-", "claimed")] {
        let id = first_named(&ours, name)?;
        multiply(&ours, (&id, place), 1..jobs / 2)?;
    }
    fs::remove_file(ours.path("store/tasks.db"))?;
    let before = now();
    let code = ours.command(&["daemon", "--once"]).status()?;
    let took = millis(before, now());
    // Jobs that wait for their time are left.
    if !matches!(code.code(), Some(0 | 4)) {
        return Err(Error::other(format!("daemon --once: {code}")));
    }
    Ok(Row::new(&format!("Numerus, {jobs} jobs"), &[("ms", took)]))
}
