//! The end of a session: what was seen is judged, and its end is on disk before anybody acts on it.

use std::io::{Error, Result};

use serde_json::json;

use super::opening::last_message;
use super::program::Codex;
use super::rollout;
use super::session::{Ended, HELPER_WARNING, Live, Record, SessionSpec};
use crate::logic::classify::{self, Seen, Turn};
use crate::logic::reset;
use crate::logic::supervise::StopReason;
use crate::model::event::{Fact, SessionEnd, SessionExit, SessionKill, SessionTimeout};
use crate::model::outcome::{Failure, FailureKind, Tokens};
use crate::os::child::NotStarted;
use crate::os::{clock, fsx};

/// Writes down that nothing of codex has run.
///
/// # Errors
/// When the journal cannot be written.
pub(super) fn never_started(spec: &SessionSpec, why: NotStarted, record: &Record) -> Result<Ended> {
    let failure = Some(failure_of(why));
    let end = SessionEnd { failure, ..blank_end(spec) };
    record(Fact::SessionEnded(end.clone()))?;
    Ok(Ended { end, message: None })
}

/// A program that does not run is for a person to mend, as a login is; what the system did not let it have may be there the next time.
fn failure_of(why: NotStarted) -> Failure {
    let kind = match why {
        NotStarted::Program(_) => FailureKind::Auth,
        NotStarted::Settling(_) => FailureKind::Transient,
    };
    Failure::new(kind, format!("cannot start codex: {}", Error::from(why)))
}

fn blank_end(spec: &SessionSpec) -> SessionEnd {
    SessionEnd {
        place: spec.place_name.clone(),
        number: spec.number,
        kind: spec.kind,
        attempt: spec.attempt,
        failure: None,
        thread_id: None,
        tokens: Tokens::default(),
        thread_tokens: Tokens::default(),
    }
}

/// Judges the session and writes its end down.
pub(super) fn conclude(
    codex: &Codex,
    spec: &SessionSpec,
    mut live: Live,
    record: &Record,
) -> Result<Ended> {
    live.seen.stderr = live.logs.errors.tail();
    live.seen.helper_missing |= live.seen.stderr.contains(HELPER_WARNING);
    live.seen.stop = live.machine.stop_reason();
    tell_exit(spec, &live, record)?;
    let before = spec.resume.as_ref().map_or_else(Tokens::default, |(_, tokens)| *tokens);
    let own = live
        .seen
        .thread_id
        .as_deref()
        .map(|thread| rollout::read(&codex.home, thread))
        .unwrap_or_default();
    let total = match &live.seen.turn {
        Some(Turn::Completed(tokens)) => Some(*tokens),
        Some(Turn::Failed(_)) | None => None,
    };
    let tokens = rollout::turn_tokens(&own, total, before);
    let judged = classify::judge(&live.seen, &own).err().map(with_reset);
    let failure = outlived(&live.survivors).or(judged).or_else(|| strange_thread(spec, &live.seen));
    let end = SessionEnd {
        failure,
        thread_id: live.seen.thread_id.clone(),
        tokens,
        thread_tokens: total.unwrap_or_else(|| before.plus(tokens)),
        ..blank_end(spec)
    };
    let message =
        fsx::read_optional(&last_message(spec)).ok().flatten().filter(|m| !m.trim().is_empty());
    let message = message.or(live.seen.last_message);
    let result = json!({ "session": end, "message": message });
    fsx::replace_derived(&spec.place.result(spec.number), format!("{result:#}\n").as_bytes())?;
    record(Fact::SessionEnded(end.clone()))?;
    Ok(Ended { end, message })
}

/// Where the service sent no number, codex's words say when a limit is over.
fn with_reset(failure: Failure) -> Failure {
    if failure.kind != FailureKind::Limit || failure.resets_at.is_some() {
        return failure;
    }
    Failure { resets_at: reset::named_in(&failure.message, &clock::local()), ..failure }
}

/// Beside a process that would not die nothing may be audited or landed.
fn outlived(survivors: &[u32]) -> Option<Failure> {
    let message = || format!("processes of the session would not die: {survivors:?}");
    (!survivors.is_empty()).then(|| Failure::new(FailureKind::Bug, message()))
}

/// `resume` of a name that codex does not know starts a new thread without a word.
fn strange_thread(spec: &SessionSpec, seen: &Seen) -> Option<Failure> {
    let (wanted, _) = spec.resume.as_ref()?;
    let is_other = seen.thread_id.as_ref().is_some_and(|thread| thread != wanted);
    is_other.then(|| {
        Failure::new(FailureKind::Task, "codex did not go on with the thread of the claim")
    })
}

fn tell_exit(spec: &SessionSpec, live: &Live, record: &Record) -> Result<()> {
    let (place, number) = (spec.place_name.clone(), spec.number);
    let deadline = match live.machine.stop_reason() {
        Some(StopReason::Total) => Some("total"),
        Some(StopReason::NoProgress) => Some("no_progress"),
        Some(StopReason::BadStart | StopReason::Leave | StopReason::Kill) | None => None,
    };
    if let Some(deadline) = deadline {
        let (place, deadline) = (place.clone(), deadline.to_owned());
        record(Fact::SessionTimedOut(SessionTimeout { place, number, deadline }))?;
    }
    if live.machine.stop_reason() == Some(StopReason::Kill) || !live.survivors.is_empty() {
        let (place, survivors) = (place.clone(), live.survivors.clone());
        record(Fact::SessionKilled(SessionKill { place, number, survivors }))?;
    }
    record(Fact::SessionExited(SessionExit { place, number, code: live.seen.exit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_codex_from_being_run_is_for_a_person_and_what_it_lacks_is_tried_again() {
        let why = || Error::other("/x: no room");
        for (why, kind) in [
            (NotStarted::Program(why()), FailureKind::Auth),
            (NotStarted::Settling(why()), FailureKind::Transient),
        ] {
            let failure = failure_of(why);
            assert_eq!(failure.kind, kind);
            assert_eq!(failure.message, "cannot start codex: /x: no room");
        }
    }
}
