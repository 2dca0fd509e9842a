//! Floor 3a: the jobs of a root, as their files tell: those that have not ended from `claimed/`, the others from the index where there is
//! one, and from the run folders where there is none. A row is written at each job's end, as well as that goes; one that is
//! missing is missed by the short list, found by the whole one, and made again once the index was deleted.

use std::collections::BTreeSet;
use std::io::Result;

use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::{JobPhase, Status};
use crate::os::clock;
use crate::runs::{JournalReader, RunFolder, Runs};
use crate::spool::{Place, Spool};
use crate::store::index::Index;

/// What has ended of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The last ones, the newest first.
    pub newest: Vec<Status>,
    /// How many there are: without a row that the index lacks.
    pub count: u64,
}

/// The last `most` jobs that have ended, and how many have: costs what it gives.
///
/// # Errors
/// When there is no index, and a folder or file of a job cannot be read.
pub fn recently_ended(root: &Root, most: u32) -> Result<Ended> {
    let from_index = || {
        let index = Index::open_reader(&root.store()).ok()??;
        let newest = index.recent(most).ok()?;
        Some(Ended { newest, count: index.counts().ok()?.values().sum() })
    };
    if let Some(ended) = from_index() {
        return Ok(ended);
    }
    let mut newest = rebuilt(root)?;
    let count = newest.len() as u64;
    newest.truncate(most as usize);
    Ok(Ended { newest, count })
}

/// Every job that has ended, the newest first: the index, and what it lacks from the run folders.
///
/// # Errors
/// When a folder or file of a job cannot be read.
pub fn all_ended(root: &Root) -> Result<Vec<Status>> {
    let from_index = || Index::open_reader(&root.store()).ok()??.all().ok();
    let Some(mut statuses) = from_index() else { return rebuilt(root) };
    let known: BTreeSet<JobId> = statuses.iter().map(|s| s.job_id.clone()).collect();
    for job in ended(root)?.difference(&known) {
        statuses.extend(ended_status(root, job)?);
    }
    newest_first(&mut statuses);
    Ok(statuses)
}

/// Reads every run folder of an ended job, and leaves the index behind for the next time if it can.
fn rebuilt(root: &Root) -> Result<Vec<Status>> {
    let mut statuses = Vec::new();
    for job in ended(root)? {
        statuses.extend(ended_status(root, &job)?);
    }
    newest_first(&mut statuses);
    let copy = statuses.clone();
    // A store that cannot be written costs the next reader the same walk, nothing else.
    let _index = Index::open(&root.store()).and_then(|mut index| index.rebuild(copy, clock::now()));
    Ok(statuses)
}

fn ended_status(root: &Root, job: &JobId) -> Result<Option<Status>> {
    let status = status(&Runs::of(root).folder(job))?;
    Ok(status.filter(|s| s.state.is_final()))
}

/// A job's state, from `status.json`, or from the journal where that is missing or broken; `None` where there is no whole job.
///
/// # Errors
/// When it has to be made of other files, and one of these cannot be read.
pub fn status(folder: &RunFolder) -> Result<Option<Status>> {
    folder.read_status().map_or_else(|| derived(folder), |status| Ok(Some(status)))
}

/// What the journal adds up to; `None` where there is no whole job yet.
///
/// # Errors
/// When `job.json` or the journal cannot be read.
pub fn derived(folder: &RunFolder) -> Result<Option<Status>> {
    let Some(job) = folder.read_job()? else { return Ok(None) };
    Ok(Some(JobState::replay(&JournalReader::read_any(&folder.journal())?.events).status(&job)))
}

fn newest_first(statuses: &mut [Status]) {
    statuses.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| a.job_id.cmp(&b.job_id)));
}

/// The jobs whose files lie in the final folders.
fn ended(root: &Root) -> Result<BTreeSet<JobId>> {
    let mut jobs = BTreeSet::new();
    for phase in JobPhase::FINALS {
        jobs.extend(Spool::of(root).jobs_in(Place::at_end(phase))?.into_iter().map(|(job, _)| job));
    }
    Ok(jobs)
}
