//! The ended jobs, as rows.

use std::io;

use super::render::Row;
use crate::error::Failure;
use crate::jobs;
use crate::model::root::Root;
use crate::model::status::Status;

/// The last `most` jobs that have ended, the newest first: costs what it prints.
pub(super) fn recent(root: &Root, most: u32) -> Result<Vec<Row>, Failure> {
    rows(jobs::recently_ended(root, most))
}

/// Every job that has ended, the newest first.
pub(super) fn all(root: &Root) -> Result<Vec<Row>, Failure> {
    rows(jobs::all_ended(root))
}

/// How many more have ended than these; a row that the index lacks is not counted.
pub(super) fn more(root: &Root, shown: &[Row]) -> u64 {
    jobs::count_ended(root).saturating_sub(shown.len() as u64)
}

fn rows(statuses: io::Result<Vec<Status>>) -> Result<Vec<Row>, Failure> {
    let statuses = statuses.map_err(|e| Failure::system("read the ended jobs", &e))?;
    Ok(statuses.into_iter().map(|status| Row { status, held: false }).collect())
}
