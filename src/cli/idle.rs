//! What only a daemon does, told where nobody does it: one line on stderr.

use super::here::Here;
use super::render::Row;
use crate::logic::idle::Idle;
use crate::model::id::JobId;
use crate::spool::{Place, Spool};

/// Whether a job waits for a daemon: to be started, or to be gone on with when its time has come.
pub(super) fn waits(row: &Row) -> bool {
    Idle::of_status(&row.status, row.held).is_some_and(Idle::is_daemons)
}

/// Whether a job has not been taken yet, so that without a daemon nothing of it begins.
pub(super) fn is_not_taken(here: &Here, job: &JobId) -> bool {
    Spool::of(&here.root).file_of(Place::Incoming, job).is_some()
}

/// Says that no daemon is running, if so, to whoever has something that waits for one: `job`, or several.
pub(super) fn tell(here: &mut Here, job: Option<&str>) {
    if Spool::of(&here.root).is_led() {
        return;
    }
    let job = job.unwrap_or("JOB");
    here.out.note(&format!(
        "no daemon is running: start one with numerus daemon, or work on it now with numerus start {job}"
    ));
}
