//! The ended jobs, as rows.

use std::io;

use super::render::Row;
use crate::error::Failure;
use crate::jobs;
use crate::model::root::Root;
use crate::model::status::Status;

/// The last `most` jobs that have ended, the newest first, and how many more have: costs what it prints.
pub(super) fn recent(root: &Root, most: u32) -> Result<(Vec<Row>, u64), Failure> {
    let ended = jobs::recently_ended(root, most).map_err(|e| cannot(&e))?;
    let more = ended.count.saturating_sub(ended.newest.len() as u64);
    Ok((rows(ended.newest), more))
}

/// Every job that has ended, the newest first.
pub(super) fn all(root: &Root) -> Result<Vec<Row>, Failure> {
    Ok(rows(jobs::all_ended(root).map_err(|e| cannot(&e))?))
}

fn cannot(error: &io::Error) -> Failure {
    Failure::system("read the ended jobs", error)
}

fn rows(statuses: Vec<Status>) -> Vec<Row> {
    statuses.into_iter().map(|status| Row { status, held: false }).collect()
}
