//! A look at the vital signs of a session that says nothing, apart from its loop: walking a large directory takes a while.

use tokio::sync::mpsc;

use super::fence::{JOB_MARK, PLACE_MARK};
use super::reader::Heard;
use super::session::SessionSpec;
use crate::logic::supervise::Vitals;
use crate::os::vitals;

/// Most entries of the directory that are looked at.
const MAX_ENTRIES: u64 = 50_000;

/// Looks, and tells the session's loop, if it is still there by then.
pub(super) fn look(spec: &SessionSpec, tell: &mpsc::WeakSender<Heard>) {
    let (job, place, cwd) = (spec.job.clone(), spec.place_name.clone(), spec.cwd.clone());
    let tell = tell.clone();
    tokio::task::spawn_blocking(move || {
        let marks = [(JOB_MARK, job.as_str()), (PLACE_MARK, place.as_str())];
        let worked = vitals::processor_time(&marks);
        let (entries, changed) = vitals::files(&cwd, MAX_ENTRIES);
        if let Some(tell) = tell.upgrade() {
            drop(tell.blocking_send(Heard::Vitals(Vitals { worked, entries, changed })));
        }
    });
}
