//! The ended jobs: from the index where there is one, from the run folders where there is none. A row is written at each
//! job's end, as well as that goes; one that is missing is missed by the short list, found by the whole one, and made
//! again once the index was deleted.

use std::collections::BTreeSet;

use super::lookup::FINALS;
use super::render::Row;
use super::snapshot;
use crate::error::Failure;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::Status;
use crate::os::clock;
use crate::runs::Runs;
use crate::spool::{Place, Spool};
use crate::store::index::Index;

/// The last `most` jobs that have ended, the newest first: costs what it prints.
pub(super) fn recent(root: &Root, most: u32) -> Result<Vec<Row>, Failure> {
    let from_index = || Index::open_reader(&root.store()).ok()??.recent(most).ok();
    let statuses = match from_index() {
        Some(statuses) => statuses,
        None => rebuilt(root)?.into_iter().take(most as usize).collect(),
    };
    Ok(rows(statuses))
}

/// Every job that has ended, the newest first: the index, and what it lacks from the run folders.
pub(super) fn all(root: &Root) -> Result<Vec<Row>, Failure> {
    let from_index = || Index::open_reader(&root.store()).ok()??.all().ok();
    let Some(mut statuses) = from_index() else { return Ok(rows(rebuilt(root)?)) };
    let known: BTreeSet<JobId> = statuses.iter().map(|s| s.job_id.clone()).collect();
    for job in ended(root)?.difference(&known) {
        statuses.extend(status(root, job)?);
    }
    newest_first(&mut statuses);
    Ok(rows(statuses))
}

/// Reads every run folder of an ended job, and leaves the index behind for the next time if it can.
fn rebuilt(root: &Root) -> Result<Vec<Status>, Failure> {
    let mut statuses = Vec::new();
    for job in ended(root)? {
        statuses.extend(status(root, &job)?);
    }
    newest_first(&mut statuses);
    let copy = statuses.clone();
    // A store that cannot be written costs the next reader the same walk, nothing else.
    let _index = Index::open(&root.store()).and_then(|mut index| index.rebuild(copy, clock::now()));
    Ok(statuses)
}

fn status(root: &Root, job: &JobId) -> Result<Option<Status>, Failure> {
    let status = snapshot::status(&Runs::of(root).folder(job))?;
    Ok(status.filter(|s| s.state.is_final()))
}

fn newest_first(statuses: &mut [Status]) {
    statuses.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| a.job_id.cmp(&b.job_id)));
}

fn rows(statuses: Vec<Status>) -> Vec<Row> {
    statuses.into_iter().map(|status| Row { status, held: false }).collect()
}

/// The jobs whose files lie in the final folders.
fn ended(root: &Root) -> Result<BTreeSet<JobId>, Failure> {
    let mut jobs = BTreeSet::new();
    for phase in FINALS {
        let files = Spool::of(root).jobs_in(Place::at_end(phase));
        let files = files.map_err(|e| Failure::system("read the spool", &e))?;
        jobs.extend(files.into_iter().map(|(job, _)| job));
    }
    Ok(jobs)
}
