//! What follows from a failure: another try, a rest, or the end. Every kind has its own bound.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::advice;
use super::task::{TaskState, Tries};
use crate::model::outcome::{Failure, FailureKind};
use crate::model::status::PauseReason;

/// Tries of one thing against a service that hiccups.
const MAX_TRANSIENT: u32 = 8;
/// Starts without a sandbox helper.
const MAX_STARTS: u32 = 5;
/// Deaths of the worker under one task.
const MAX_INTERRUPTED: u32 = 5;
/// Times that what a task built on may move under it.
const MAX_STALE: u32 = 10;
/// Times that a task may write what it did not claim.
const MAX_VIOLATIONS: u32 = 2;
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long a job rests when the service does not say until when.
const LIMIT_REST: Duration = Duration::from_secs(3600);
/// How long a job rests for a limit that should be over already.
const JUST_OVER: Duration = Duration::from_secs(60);
/// The longest rest over a limit: one look a day at least.
const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Try again, not before then.
    Retry(Timestamp),
    /// The whole job rests.
    Park(PauseReason, Option<Timestamp>),
    /// It has failed.
    GiveUp,
}

/// Whether the time of a next try has come. One that is further away than any try is ever put off was written under a clock
/// that has been set back since.
pub fn has_come(due: Timestamp, now: Timestamp) -> bool {
    let longest = SignedDuration::try_from(2 * LONGEST_WAIT).unwrap_or(SignedDuration::MAX);
    due <= now || due.duration_since(now) > longest
}

/// Decides on a failure after the given tries (this one not yet counted). `jitter` is from 0 to 1.
pub fn decide(
    failure: &Failure,
    tries: Tries,
    max_attempts: u32,
    now: Timestamp,
    jitter: f64,
) -> Next {
    let wait = |base: Duration, before: u32, most: u32| {
        if before + 1 >= most {
            Next::GiveUp
        } else {
            Next::Retry(later(now, backoff(base, before, jitter)))
        }
    };
    match failure.kind {
        FailureKind::Transient => wait(Duration::from_secs(1), tries.transient, MAX_TRANSIENT),
        FailureKind::Start => wait(Duration::from_millis(100), tries.starts, MAX_STARTS),
        FailureKind::Interrupted => wait(Duration::ZERO, tries.interrupted, MAX_INTERRUPTED + 1),
        FailureKind::Task => wait(Duration::ZERO, tries.charged, max_attempts),
        FailureKind::Stale => wait(Duration::ZERO, tries.stale, MAX_STALE),
        FailureKind::Left => Next::Retry(now),
        FailureKind::Limit | FailureKind::Auth | FailureKind::Stopped | FailureKind::Bug => {
            rest(failure, now).map_or(Next::GiveUp, |(why, until)| Next::Park(why, until))
        }
    }
}

/// Whether a failure may be the machine's although it is put down to something else: a full disk looks like many things.
pub fn may_be_machines(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Transient | FailureKind::Start | FailureKind::Task | FailureKind::Bug => true,
        FailureKind::Limit
        | FailureKind::Auth
        | FailureKind::Stopped
        | FailureKind::Interrupted
        | FailureKind::Left
        | FailureKind::Stale => false,
    }
}

/// Whether the whole job rests over a failure: why, and until when if that is known.
pub fn rest(failure: &Failure, now: Timestamp) -> Option<(PauseReason, Option<Timestamp>)> {
    match failure.kind {
        FailureKind::Limit => Some((PauseReason::Limit, Some(wake(failure.resets_at, now)))),
        FailureKind::Auth => Some((PauseReason::Auth, None)),
        FailureKind::Transient
        | FailureKind::Start
        | FailureKind::Task
        | FailureKind::Stopped
        | FailureKind::Interrupted
        | FailureKind::Left
        | FailureKind::Stale
        | FailureKind::Bug => None,
    }
}

/// What follows from an attempt of a task that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follows {
    /// Another attempt, not before then.
    Again(Timestamp),
    /// The whole job rests, and the attempt is followed by another or gone on with.
    Rest(PauseReason, Option<Timestamp>),
    /// It is out of attempts: the queen is asked.
    Ask,
    /// It has failed.
    Fail,
}

/// Decides on a failed attempt of a task. `jitter` is from 0 to 1.
pub fn after_attempt(
    task: &TaskState,
    failure: &Failure,
    max_attempts: u32,
    now: Timestamp,
    jitter: f64,
) -> Follows {
    let strays = failure.kind == FailureKind::Task && task.violations >= MAX_VIOLATIONS;
    let next = decide(failure, task.tries, max_attempts, now, jitter);
    match if strays { Next::GiveUp } else { next } {
        Next::Retry(due) => Follows::Again(due),
        Next::Park(why, until) => Follows::Rest(why, until),
        Next::GiveUp if advice::is_asked(failure.kind) => Follows::Ask,
        Next::GiveUp => Follows::Fail,
    }
}

/// Doubles with every try, capped, ± 20 %.
fn backoff(base: Duration, before: u32, jitter: f64) -> Duration {
    let doubled = base.saturating_mul(1u32.checked_shl(before).unwrap_or(u32::MAX));
    doubled.min(LONGEST_WAIT).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
}

fn wake(resets_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let asked = match resets_at {
        Some(at) if at > now => at,
        // Over by now, or clocks differ a little.
        Some(_) => later(now, JUST_OVER),
        None => later(now, LIMIT_REST),
    };
    asked.min(later(now, LONGEST_REST))
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::lifecycle::stories::{Story, task};

    fn next(kind: FailureKind, tries: Tries) -> Next {
        decide(&Failure::new(kind, "x"), tries, 3, Timestamp::UNIX_EPOCH, 0.5)
    }

    #[test]
    fn every_kind_has_its_bound() {
        let at = |ms| Next::Retry(Timestamp::from_millisecond(ms).expect("time"));
        let tries = |charged, transient, starts, interrupted| Tries {
            charged,
            transient,
            starts,
            interrupted,
            stale: 0,
        };
        for (kind, before, expected) in [
            (FailureKind::Task, tries(0, 9, 9, 9), at(0)),
            (FailureKind::Task, tries(2, 0, 0, 0), Next::GiveUp),
            (FailureKind::Transient, tries(9, 0, 9, 9), at(1000)),
            (FailureKind::Transient, tries(0, 3, 0, 0), at(8000)),
            (FailureKind::Transient, tries(0, 7, 0, 0), Next::GiveUp),
            (FailureKind::Start, tries(0, 0, 1, 0), at(200)),
            (FailureKind::Interrupted, tries(9, 9, 9, 4), at(0)),
            (FailureKind::Interrupted, tries(0, 0, 0, 5), Next::GiveUp),
            (FailureKind::Auth, tries(0, 0, 0, 0), Next::Park(PauseReason::Auth, None)),
            (FailureKind::Bug, tries(0, 0, 0, 0), Next::GiveUp),
            (FailureKind::Stale, Tries { stale: 8, ..tries(9, 9, 9, 9) }, at(0)),
            (FailureKind::Stale, Tries { stale: 9, ..Tries::default() }, Next::GiveUp),
        ] {
            assert_eq!(next(kind, before), expected, "{kind:?} {before:?}");
        }
    }

    #[test]
    fn a_clock_that_is_set_puts_no_try_off_for_longer_than_one_ever_waits() {
        let day = 24 * 3600;
        for (due, now, expected) in [
            (0, 0, true),
            (300, 0, false),
            (360, 0, false),
            (0, 400 * day, true),
            (400 * day, 0, true),
            (2 * day, -50 * 365 * day, true),
            (-50 * 365 * day, 0, true),
        ] {
            let at = |second| Timestamp::from_second(second).expect("time");
            assert_eq!(has_come(at(due), at(now)), expected, "{due} {now}");
        }
        assert!(
            has_come(Timestamp::MAX, Timestamp::MIN) && has_come(Timestamp::MIN, Timestamp::MAX)
        );
    }

    #[test]
    fn who_has_no_attempts_left_is_put_before_the_queen_unless_somebody_ended_it() {
        let story = Story::planned(&[task("a", &[])]);
        let fresh = story.state.tasks[0].clone();
        let strays = TaskState { violations: MAX_VIOLATIONS, ..fresh.clone() };
        let now = Timestamp::UNIX_EPOCH;
        for (task, kind, most, expected) in [
            (&fresh, FailureKind::Task, 2, Follows::Again(now)),
            (&fresh, FailureKind::Task, 1, Follows::Ask),
            (&strays, FailureKind::Task, 9, Follows::Ask),
            (&strays, FailureKind::Stale, 9, Follows::Again(now)),
            (&strays, FailureKind::Auth, 9, Follows::Rest(PauseReason::Auth, None)),
            (&fresh, FailureKind::Stopped, 9, Follows::Fail),
            (&fresh, FailureKind::Bug, 9, Follows::Fail),
        ] {
            let follows = after_attempt(task, &Failure::new(kind, "x"), most, now, 0.5);
            assert_eq!(follows, expected, "{kind:?} of {most}");
        }
    }

    #[test]
    fn a_limit_parks_until_the_service_says_but_a_day_at_most() {
        let until = |resets_at: Option<i64>| {
            let resets_at = resets_at.map(|s| Timestamp::from_second(s).expect("time"));
            let failure = Failure { resets_at, ..Failure::new(FailureKind::Limit, "x") };
            match decide(&failure, Tries::default(), 3, Timestamp::UNIX_EPOCH, 0.5) {
                Next::Park(PauseReason::Limit, Some(until)) => until.as_second(),
                Next::Park(..) | Next::Retry(_) | Next::GiveUp => unreachable!("a limit parks"),
            }
        };
        assert_eq!([until(None), until(Some(90)), until(Some(1_000_000))], [3600, 90, 86_400]);
        assert_eq!(until(Some(-5)), 60, "over already");
    }
}
