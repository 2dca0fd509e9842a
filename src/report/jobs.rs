//! The jobs of a root, as their files tell: those that have not ended from `claimed/`, the others from the index where there is
//! one, and from the run folders where there is none. A row is written at each job's end, as well as that goes; one that is
//! missing is missed by the short list, found by the whole one, and made again once the index was deleted.

use std::collections::BTreeSet;
use std::io::Result;

use jiff::Timestamp;

use super::overview::Jobs;
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::{JobPhase, Status};
use crate::os::clock;
use crate::runs::{JournalReader, RunFolder, Runs};
use crate::spool::{Place, Spool};
use crate::store::index::Index;

/// Most jobs of each kind that the overview names.
const MOST_LIVE: usize = 200;
const MOST_ENDED: u32 = 200;
/// Most live jobs that are looked at for the newest.
const MOST_LOOKED_AT: usize = 2000;

/// The last `most` jobs that have ended, the newest first: costs what it gives.
///
/// # Errors
/// When there is no index, and a folder or file of a job cannot be read.
pub fn recently_ended(root: &Root, most: u32) -> Result<Vec<Status>> {
    let from_index = || Index::open_reader(&root.store()).ok()??.recent(most).ok();
    match from_index() {
        Some(statuses) => Ok(statuses),
        None => Ok(rebuilt(root)?.into_iter().take(most as usize).collect()),
    }
}

/// How many jobs have ended, as the index knows; where there is none, as the spool does.
pub fn count_ended(root: &Root) -> u64 {
    let counts = || Index::open_reader(&root.store()).ok()??.counts().ok();
    match counts() {
        Some(counts) => counts.values().sum(),
        None => ended(root).map_or(0, |jobs| jobs.len() as u64),
    }
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

/// What the overview shows. One that cannot be read hides no other.
pub(super) fn gather(root: &Root, now: Timestamp) -> Result<Jobs> {
    let runs = Runs::of(root);
    let claimed = Spool::of(root).jobs_in(Place::Claimed)?;
    let mut ended = recently_ended(root, MOST_ENDED + 1).unwrap_or_default();
    let has_more = ended.len() > MOST_ENDED as usize;
    ended.truncate(MOST_ENDED as usize);
    // One that ended between the two looks is in both.
    let over: BTreeSet<&JobId> = ended.iter().map(|s| &s.job_id).collect();
    let mut ids: Vec<JobId> =
        claimed.into_iter().map(|(job, _)| job).filter(|job| !over.contains(job)).collect();
    let all_live = ids.len();
    ids.truncate(MOST_LOOKED_AT);
    ids.sort_by_cached_key(|job| std::cmp::Reverse(runs.folder(job).last_told()));
    ids.truncate(MOST_LIVE);
    let live: Vec<Status> =
        ids.iter().filter_map(|job| status(&runs.folder(job)).ok().flatten()).collect();
    let more_live = all_live.saturating_sub(live.len());
    Ok(Jobs { live, more_live, ended, has_more, now, zone: clock::zone() })
}
