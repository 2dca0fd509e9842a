//! What only a daemon does, told where nobody does it: one line on stderr.

use jiff::Timestamp;
use serde_json::Value;

use super::here::Here;
use super::render::Row;
use super::snapshot;
use crate::error::Failure;
use crate::logic::idle::Idle;
use crate::model::id::JobId;
use crate::runs::Runs;
use crate::spool::{Content, Place, Spool};

/// Most bytes of a job's file that are looked at.
const MOST_BYTES: u64 = 1024 * 1024;

/// Whether a job waits for a daemon: to be started, or to be gone on with when its time has come.
pub(super) fn waits(row: &Row) -> bool {
    row.idle().is_some_and(Idle::is_daemons)
}

/// Says that no daemon is running, if so, to whoever has something that waits for one, with the command that a person has
/// for it now, if there is one.
pub(super) fn tell(here: &mut Here, command: Option<&str>) {
    if Spool::of(&here.root).is_led() {
        return;
    }
    let now = command.map(|command| format!(", or work on it now with {command}"));
    let now = now.unwrap_or_default();
    here.out.note(&format!("no daemon is running: start one with numerus daemon{now}"));
}

/// The same of jobs that are listed, some of which wait; `untaken` of them have not been taken yet.
pub(super) fn tell_listed(here: &mut Here, live: &[Row], untaken: usize) {
    let waiting: Vec<&Row> = live.iter().filter(|row| waits(row)).collect();
    let commands = waiting.iter().filter_map(|row| row.idle()?.command(&row.status.job_id));
    let command = match (waiting.len() + untaken, commands.collect::<Vec<_>>().as_slice()) {
        (0, _) => return,
        (1, [only]) => Some(only.clone()),
        (_, []) if untaken == 0 => None,
        _ => Some("numerus start JOB".to_owned()),
    };
    tell(here, command.as_deref());
}

/// The same to whoever asks for a job of which nothing has begun: false if it has been taken.
pub(super) fn tell_untaken(here: &mut Here, job: &JobId) -> bool {
    let spool = Spool::of(&here.root);
    let Some(file) = spool.file_of(Place::Incoming, job) else { return false };
    // What `submit` has written is JSON; one that cannot be read is judged when it is taken.
    let has_to_wait = match spool.read(&file, MOST_BYTES) {
        Ok(Content::Whole { bytes, .. }) => {
            serde_json::from_slice(&bytes).is_ok_and(|options| has_to_wait(&options, here.view.now))
        }
        _ => false,
    };
    let command = Idle::NotBegun.command(job).filter(|_| !has_to_wait);
    tell(here, command.as_deref());
    true
}

/// The same to whoever waits for a job that nobody works on, though a daemon would: false if there is none to be told of.
pub(super) fn tell_left(here: &mut Here, job: &JobId) -> Result<bool, Failure> {
    let row = snapshot::row(&Runs::of(&here.root).folder(job))?;
    let Some(row) = row.filter(waits) else { return Ok(false) };
    let command = row.idle().and_then(|idle| idle.command(job));
    tell(here, command.as_deref());
    Ok(true)
}

/// Whether another job or a time has to come first.
fn has_to_wait(options: &Value, now: Timestamp) -> bool {
    let time = options["not_before"].as_str().and_then(|time| time.parse().ok());
    options["after"].as_array().is_some_and(|jobs| !jobs.is_empty())
        || time.is_some_and(|time: Timestamp| time > now)
}

/// As [`tell_untaken`], to whoever looks on while nothing is there to be seen.
pub(super) fn tell_not_begun(here: &mut Here, job: &JobId) {
    if Spool::of(&here.root).file_of(Place::Incoming, job).is_some() {
        here.out.note(&format!("{job} has not begun yet"));
        tell_untaken(here, job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_another_job_or_a_time_holds_back_is_told_from_its_file() {
        let now = "2026-03-04T05:06:07Z".parse().expect("time");
        for (options, expected) in [
            (json!({}), false),
            (json!({"after": []}), false),
            (json!({"after": ["a"]}), true),
            (json!({"not_before": null}), false),
            (json!({"not_before": "2026-03-04T05:06:07Z"}), false),
            (json!({"not_before": "2026-03-04T05:06:08Z"}), true),
            (json!({"not_before": "soon"}), false),
        ] {
            assert_eq!(has_to_wait(&options, now), expected, "{options}");
        }
    }
}
