//! Which jobs start now, which can never start, and when to look again.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::state::JobState;
use crate::model::duration::was_ahead;
use crate::model::id::JobId;
use crate::model::job::{After, Job};
use crate::model::status::PauseReason;

/// How a job named in `after` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// It has not ended.
    Open,
    /// It ended well.
    Well,
    /// It failed, was killed or is unknown.
    Badly,
}

/// Why a job rests, as its journal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// The reason.
    pub reason: PauseReason,
    /// Since when; the earliest moment where that is not known.
    pub since: Timestamp,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
}

impl Rest {
    /// The rest that a job's journal tells of.
    pub fn of(state: &JobState) -> Option<Self> {
        let since = state.updated_at.unwrap_or(Timestamp::MIN);
        state.pause.map(|reason| Self { reason, since, until: state.standing.until })
    }
}

/// What the account of a resting job says about its rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Account {
    /// Nothing: the job rests as its own journal says.
    #[default]
    Unknown,
    /// It is held, until then or until somebody lifts it.
    Held(Option<Timestamp>),
    /// It is free since then: its time has come, or it was lifted.
    Free(Timestamp),
}

/// What several accounts of one job say together: it rests as long as any of them is held.
pub fn together(accounts: impl IntoIterator<Item = Account>) -> Account {
    accounts.into_iter().fold(Account::Unknown, |all, one| match (all, one) {
        (Account::Held(a), Account::Held(b)) => Account::Held(a.zip(b).map(|(a, b)| a.max(b))),
        (Account::Held(until), Account::Free(_) | Account::Unknown)
        | (Account::Free(_) | Account::Unknown, Account::Held(until)) => Account::Held(until),
        (Account::Free(a), Account::Free(b)) => Account::Free(a.max(b)),
        (Account::Unknown, other) | (other, Account::Unknown) => other,
    })
}

/// A job without a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub id: JobId,
    /// Higher starts first.
    pub priority: i64,
    /// Among equals the oldest starts first.
    pub created_at: Timestamp,
    /// Jobs that must have ended before.
    pub after: Vec<After>,
    /// Not started before this moment.
    pub not_before: Option<Timestamp>,
    /// Whether it has been started before: what had to come first is not asked again.
    pub is_begun: bool,
    /// Why it rests, if it does.
    pub rest: Option<Rest>,
    /// How codex's account stands that it rests for.
    pub account: Account,
    /// Whether someone wants it to rest.
    pub wants_paused: bool,
    /// Whether someone wants it ended.
    pub wants_killed: bool,
}

impl Waiting {
    /// A job as its journal has it; its wishes and its account are looked at by whoever decides.
    pub fn of(job: &Job, state: &JobState) -> Self {
        Self {
            id: job.id.clone(),
            priority: job.options.priority,
            created_at: job.created_at,
            after: job.options.after.clone(),
            not_before: job.options.not_before,
            is_begun: state.started_at.is_some(),
            rest: Rest::of(state),
            account: Account::Unknown,
            wants_paused: false,
            wants_killed: false,
        }
    }
}

/// Why a job does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Every worker is busy.
    Busy,
    /// Another job has to end first.
    After(JobId),
    /// Its time has not come.
    NotBefore(Timestamp),
    /// It rests, until something or someone changes that.
    Rests(Option<Timestamp>),
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Jobs to start, in that order.
    pub start: Vec<JobId>,
    /// Jobs that can never start, each with the one it waited for in vain.
    pub fail: Vec<(JobId, String)>,
    /// Jobs to end since someone wants that.
    pub kill: Vec<JobId>,
    /// Why the others do not start.
    pub hold: Vec<(JobId, Hold)>,
    /// When the first of them may.
    pub wake: Option<Timestamp>,
}

/// Where one job stands, looked at alone.
enum Standing {
    Kill,
    Fail(String),
    Hold(Hold),
    Ready,
}

/// Decides over all jobs without a worker. `lanes` is the number of workers that may be started.
pub fn decide<'a>(
    waiting: impl IntoIterator<Item = &'a Waiting>,
    other: &dyn Fn(&str) -> Other,
    lanes: usize,
    now: Timestamp,
) -> Schedule {
    let mut order: Vec<&Waiting> = waiting.into_iter().collect();
    order.sort_by(|a, b| (b.priority, a.created_at, &a.id).cmp(&(a.priority, b.created_at, &b.id)));
    let mut out = Schedule::default();
    let mut wakes = BTreeSet::new();
    for job in order {
        let id = job.id.clone();
        match standing(job, other, now) {
            Standing::Kill => out.kill.push(id),
            Standing::Fail(because) => out.fail.push((id, because)),
            Standing::Hold(hold) => {
                wakes.extend(hold.until());
                out.hold.push((id, hold));
            }
            Standing::Ready if out.start.len() < lanes => out.start.push(id),
            Standing::Ready => out.hold.push((id, Hold::Busy)),
        }
    }
    out.wake = wakes.first().copied();
    out
}

impl Hold {
    fn until(&self) -> Option<Timestamp> {
        match self {
            Self::NotBefore(then) => Some(*then),
            Self::Rests(until) => *until,
            Self::Busy | Self::After(_) => None,
        }
    }

    /// The pause that it amounts to for people, and until when; `None` for a job that is merely queued or whose journal
    /// says it all.
    pub fn pause(&self) -> Option<(PauseReason, Option<Timestamp>)> {
        match self {
            Self::After(_) => Some((PauseReason::Dependency, None)),
            Self::NotBefore(then) => Some((PauseReason::NotBefore, Some(*then))),
            Self::Busy | Self::Rests(_) => None,
        }
    }
}

fn standing(job: &Waiting, other: &dyn Fn(&str) -> Other, now: Timestamp) -> Standing {
    if job.wants_killed {
        return Standing::Kill;
    }
    if !job.is_begun
        && let Some(standing) = before_the_start(job, other, now)
    {
        return standing;
    }
    if job.wants_paused {
        return Standing::Hold(Hold::Rests(None));
    }
    match job.rest {
        None => Standing::Ready,
        Some(rest) if has_rested(job, rest, now) => Standing::Ready,
        Some(rest) => Standing::Hold(Hold::Rests(until(job, rest))),
    }
}

/// Until when a job rests: the account's word is newer than its own.
fn until(job: &Waiting, rest: Rest) -> Option<Timestamp> {
    match (rest.reason, job.account) {
        (PauseReason::Limit | PauseReason::Auth, Account::Held(until)) => until,
        (_, Account::Held(_) | Account::Free(_) | Account::Unknown) => rest.until,
    }
}

/// What must hold before a job's first start; a dependency that failed is told before its time has come.
fn before_the_start(
    job: &Waiting,
    other: &dyn Fn(&str) -> Other,
    now: Timestamp,
) -> Option<Standing> {
    let states: Vec<(&After, Other)> = job.after.iter().map(|a| (a, other(&a.job))).collect();
    if let Some((after, _)) = states.iter().find(|(a, s)| *s == Other::Badly && !a.any) {
        return Some(Standing::Fail(after.job.clone()));
    }
    if let Some((after, _)) = states.iter().find(|(_, s)| *s == Other::Open) {
        let hold = JobId::parse(&after.job).map_or(Hold::Busy, Hold::After);
        return Some(Standing::Hold(hold));
    }
    let then = job.not_before.filter(|then| *then > now)?;
    Some(Standing::Hold(Hold::NotBefore(then)))
}

fn has_rested(job: &Waiting, rest: Rest, now: Timestamp) -> bool {
    match rest.reason {
        // Whoever says go to its plan ends the rest by that.
        PauseReason::Approval => false,
        PauseReason::Limit | PauseReason::Auth => match job.account {
            Account::Held(_) => false,
            Account::Free(since) if since >= rest.since || was_ahead(rest.since, now) => true,
            Account::Free(_) | Account::Unknown => {
                rest.until.is_some_and(|until| until <= now || was_ahead(rest.since, now))
            }
        },
        // What these wait for is looked at before: a wish taken back, another job, the time.
        PauseReason::User | PauseReason::Dependency | PauseReason::NotBefore => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("time")
    }

    fn id(text: &str) -> JobId {
        JobId::parse(text).expect("id")
    }

    fn job(name: &str) -> Waiting {
        Waiting {
            id: id(name),
            priority: 0,
            created_at: at(1),
            after: Vec::new(),
            not_before: None,
            is_begun: false,
            rest: None,
            account: Account::Unknown,
            wants_paused: false,
            wants_killed: false,
        }
    }

    fn after(name: &str, any: bool) -> Vec<After> {
        vec![After { job: name.into(), any }]
    }

    fn others(name: &str) -> Other {
        match name {
            "open" => Other::Open,
            "well" => Other::Well,
            _ => Other::Badly,
        }
    }

    fn one(job: Waiting) -> Schedule {
        decide(&[job], &others, 1, at(100))
    }

    #[test]
    fn the_highest_then_the_oldest_starts_first_within_the_lanes() {
        let jobs = [
            Waiting { created_at: at(5), ..job("c") },
            Waiting { created_at: at(3), ..job("b") },
            Waiting { priority: 7, created_at: at(9), ..job("a") },
        ];
        let s = decide(&jobs, &others, 2, at(100));
        assert_eq!(s.start, [id("a"), id("b")]);
        assert_eq!(s.hold, [(id("c"), Hold::Busy)]);
        assert_eq!(decide(&jobs, &others, 0, at(100)).start, []);
    }

    #[test]
    fn a_dependency_holds_frees_or_fails() {
        for (name, any, starts, fails) in [
            ("open", false, false, false),
            ("open", true, false, false),
            ("well", false, true, false),
            ("well", true, true, false),
            ("badly", false, false, true),
            ("badly", true, true, false),
        ] {
            let s = one(Waiting { after: after(name, any), ..job("a") });
            assert_eq!((!s.start.is_empty(), !s.fail.is_empty()), (starts, fails), "{name} {any}");
        }
        let begun = Waiting { after: after("badly", false), is_begun: true, ..job("a") };
        assert_eq!(one(begun).start, [id("a")], "what has begun is not asked again");
    }

    #[test]
    fn time_that_has_not_come_says_when_to_wake() {
        let s = one(Waiting { not_before: Some(at(200)), ..job("a") });
        assert_eq!((s.start.len(), s.wake), (0, Some(at(200))));
        assert_eq!(one(Waiting { not_before: Some(at(100)), ..job("a") }).start, [id("a")]);
        let late = Waiting { not_before: Some(at(300)), ..job("b") };
        let soon = Waiting { not_before: Some(at(200)), ..job("a") };
        assert_eq!(decide(&[late, soon], &others, 1, at(100)).wake, Some(at(200)));
    }

    #[test]
    fn a_rest_ends_as_its_reason_says() {
        use PauseReason::{Approval, Auth, Limit, User};
        for (reason, until, starts) in [
            (Limit, Some(99), true),
            (Limit, Some(101), false),
            (Limit, None, false),
            (Auth, None, false),
            (Auth, Some(100), true),
            (Approval, None, false),
            (User, None, true),
        ] {
            let rest = Some(Rest { reason, since: at(50), until: until.map(at) });
            let s = one(Waiting { rest, is_begun: true, ..job("a") });
            assert_eq!(!s.start.is_empty(), starts, "{reason:?} {until:?}");
        }
        let (unknown, login) = (Account::Unknown, Account::Free(at(99)));
        for (reason, since, until, account, starts) in [
            (Limit, 160, Some(900), unknown, false),
            (Limit, 161, Some(900), unknown, true),
            (Auth, 160, None, login, false),
            (Auth, 161, None, login, true),
        ] {
            let rest = Some(Rest { reason, since: at(since), until: until.map(at) });
            let s = one(Waiting { rest, account, is_begun: true, ..job("a") });
            assert_eq!(!s.start.is_empty(), starts, "the clock was set back from {since} to 100");
        }
    }

    #[test]
    fn the_account_says_when_a_rest_over_it_ends() {
        use PauseReason::{Approval, Auth, Limit};
        for (reason, until, account, starts, wake) in [
            (Limit, Some(99), Account::Held(Some(at(200))), false, Some(200)),
            (Limit, Some(101), Account::Free(at(60)), true, None),
            (Limit, Some(101), Account::Free(at(40)), false, Some(101)),
            (Limit, Some(99), Account::Free(at(40)), true, None),
            (Auth, None, Account::Held(None), false, None),
            (Auth, None, Account::Free(at(50)), true, None),
            (Auth, None, Account::Free(at(49)), false, None),
            (Limit, None, Account::Free(at(49)), false, None),
            (Approval, None, Account::Free(at(60)), false, None),
        ] {
            let rest = Some(Rest { reason, since: at(50), until: until.map(at) });
            let s = one(Waiting { rest, account, is_begun: true, ..job("a") });
            let told = (!s.start.is_empty(), s.wake.map(Timestamp::as_second));
            assert_eq!(told, (starts, wake), "{reason:?} {until:?} {account:?}");
        }
    }

    #[test]
    fn a_job_with_several_accounts_rests_for_the_last_of_them() {
        use Account::{Free, Held, Unknown};
        for (accounts, expected) in [
            (vec![], Unknown),
            (vec![Unknown, Free(at(5)), Free(at(3))], Free(at(5))),
            (vec![Held(Some(at(3))), Free(at(5)), Held(Some(at(9)))], Held(Some(at(9)))),
            (vec![Held(Some(at(3))), Held(None)], Held(None)),
            (vec![Free(at(5)), Held(None), Unknown], Held(None)),
        ] {
            assert_eq!(together(accounts.clone()), expected, "{accounts:?}");
        }
    }

    #[test]
    fn wishes_come_first() {
        let both = Waiting { wants_killed: true, wants_paused: true, ..job("a") };
        assert_eq!(one(both).kill, [id("a")]);
        let paused = one(Waiting { wants_paused: true, ..job("a") });
        assert_eq!((paused.start.len(), paused.wake), (0, None));
    }
}
