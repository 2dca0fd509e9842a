//! What only a daemon does, told where nobody does it: one line on stderr.

use super::here::Here;
use super::render::Row;
use crate::model::id::JobId;
use crate::model::status::{JobPhase, PauseReason};
use crate::spool::{Place, Spool};

/// Whether a job waits for a daemon: to be started, or to be gone on with when its time has come.
pub(super) fn waits(row: &Row) -> bool {
    let for_person = [PauseReason::User, PauseReason::Approval].map(PauseReason::as_str);
    let is_persons =
        row.status.reason.as_deref().is_some_and(|reason| for_person.contains(&reason));
    match row.status.state {
        JobPhase::Queued | JobPhase::Planning | JobPhase::Running => !row.held,
        JobPhase::Paused => !row.held && !is_persons,
        JobPhase::Succeeded | JobPhase::Failed | JobPhase::Killed => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::state::JobState;
    use crate::model::job::{Job, Options, Origin};

    #[test]
    fn what_waits_for_a_person_waits_for_no_daemon() {
        let origin = Origin { name: String::new(), bytes: 0, sha256: String::new(), uid: 0 };
        let (id, created_at) = (JobId::parse("a-abc234").expect("id"), jiff::Timestamp::UNIX_EPOCH);
        let job = Job {
            version: 1,
            id,
            objective: "x".into(),
            options: Options::default(),
            origin,
            created_at,
        };
        for (state, reason, held, expected) in [
            (JobPhase::Queued, None, false, true),
            (JobPhase::Running, None, false, true),
            (JobPhase::Running, None, true, false),
            (JobPhase::Paused, Some("limit"), false, true),
            (JobPhase::Paused, Some("dependency"), false, true),
            (JobPhase::Paused, Some("user"), false, false),
            (JobPhase::Paused, Some("approval"), false, false),
            (JobPhase::Failed, Some("done"), false, false),
        ] {
            let mut status = JobState::default().status(&job);
            (status.state, status.reason) = (state, reason.map(str::to_owned));
            assert_eq!(waits(&Row { status, held }), expected, "{state:?} {reason:?} {held}");
        }
    }
}
