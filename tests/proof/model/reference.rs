//! What should be so, in its smallest form: the jobs, where each may lie, and what each step does to that. Values only.
//!
//! Where a step's outcome depends on when something died, a job has several places that it may be in; the next undisturbed
//! daemon leaves one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{BoxedStrategy, Just, Strategy as _};
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

use self::Place::{Claimed, Done, Failed, Incoming, Killed, Rejected};

/// Most jobs of a sequence.
const MOST_JOBS: usize = 6;

/// A folder of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Incoming,
    Claimed,
    Done,
    Failed,
    Killed,
    Rejected,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Incoming => "incoming",
            Claimed => "claimed",
            Done => "done",
            Failed => "failed",
            Killed => "killed",
            Rejected => "rejected",
        }
    }
}

/// How a job comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Rename,
    Link,
    Submit,
}

/// What a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To run now.
    Now,
    /// To wait for longer than any test takes.
    Far,
    /// Something that cannot be accepted.
    Bad,
    /// To wait, with a key.
    Keyed(u8),
    /// To wait until another job has ended, well or (`true`) in any way, and then run.
    After(usize, bool),
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Drop(Way, Ask, i8),
    Kill(usize),
    Pause(usize),
    Start(usize),
    Wait(usize),
    /// `daemon --once` to its end.
    Once,
    /// `daemon --once` that is killed after so many milliseconds; alone, or with all that it started.
    OnceKilled(u64, bool),
    /// Somebody moves the file of a job.
    Move(usize, Place),
    /// Somebody removes the file of a job.
    Unlink(usize),
    /// Somebody removes the run folder of a job.
    ForgetRun(usize),
    ForgetStatus(usize),
    ForgetIndex,
}

/// A key, as the spool knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Held,
    Unknown,
}

/// What somebody has done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hand {
    Moved(Place),
    Removed,
}

/// A job that was dropped.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) way: Way,
    pub(crate) ask: Ask,
    pub(crate) priority: i8,
    /// Where it may lie.
    pub(crate) may: BTreeSet<Place>,
    /// What somebody has done to its file.
    pub(crate) by_hand: Option<Hand>,
    pub(crate) is_paused: bool,
    /// Whether another job had its key before.
    is_second: bool,
    /// Whether a daemon died since somebody touched its file.
    pub(crate) is_stirred: bool,
    /// Whether its run folder was removed.
    pub(crate) is_lost: bool,
    /// Copies of it that were rejected since it is open.
    pub(crate) copies: usize,
}

impl Job {
    /// Its one place, if that is certain.
    pub(crate) fn at(&self) -> Option<Place> {
        (self.may.len() == 1).then(|| self.may.first().copied())?
    }

    /// Whether it is certain where it stands, it was taken, and nobody has touched it by hand.
    fn is_settled(&self) -> bool {
        let was_taken = self.at().is_some_and(|at| !matches!(at, Incoming | Rejected));
        was_taken && self.by_hand.is_none() && !self.is_lost
    }

    /// Whether it lies in `claimed/` for certain, and nobody has touched it by hand.
    pub(crate) fn is_open(&self) -> bool {
        self.at() == Some(Claimed) && self.is_settled()
    }
}

/// What should be so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) jobs: Vec<Job>,
    keys: BTreeMap<u8, Key>,
    /// What the step just done should have answered.
    pub(crate) code: Option<i32>,
    /// A mistake that every command is to make.
    pub(crate) bug: Option<&'static str>,
    /// Whether a world that is at fault is kept for a look.
    pub(crate) keeps: bool,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let steps = state.steps().into_iter().filter(|(_, step)| state.allows(step));
        let killed = (0_u64..160, proptest::bool::ANY);
        let killed = killed.prop_map(|(after, alone)| Step::OnceKilled(after, alone));
        let mut all: Vec<(u32, BoxedStrategy<Step>)> =
            steps.map(|(weight, step)| (weight, Just(step).boxed())).collect();
        all.push((6, killed.boxed()));
        Union::new_weighted(all).boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        state.allows(step)
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.code = None;
        state.take(step);
        state
    }
}

impl Model {
    /// The steps that there are, with how often each is wanted.
    fn steps(&self) -> Vec<(u32, Step)> {
        let mut steps = vec![(12, Step::Once), (2, Step::ForgetIndex)];
        let asks = [(3, Ask::Now), (6, Ask::Far), (2, Ask::Bad)];
        let keyed = [(4, Ask::Keyed(0)), (2, Ask::Keyed(1))];
        for (weight, ask) in asks.into_iter().chain(keyed) {
            for way in [Way::Rename, Way::Link, Way::Submit] {
                steps.push((weight, Step::Drop(way, ask, 0)));
            }
            steps.push((1, Step::Drop(Way::Submit, ask, -7)));
        }
        for at in 0..self.jobs.len() {
            steps.push((2, Step::Drop(Way::Submit, Ask::After(at, false), 5)));
            steps.push((2, Step::Drop(Way::Rename, Ask::After(at, true), 5)));
            let of_one = [Step::Kill(at), Step::Pause(at), Step::Start(at), Step::Wait(at)];
            steps.extend(of_one.map(|step| (4, step)));
            let places = [Incoming, Claimed, Done, Failed, Killed];
            steps.extend(places.map(|place| (1, Step::Move(at, place))));
            let removed = [Step::Unlink(at), Step::ForgetRun(at), Step::ForgetStatus(at)];
            steps.extend(removed.map(|step| (1, step)));
        }
        steps
    }

    /// Whether a step makes sense, and has an outcome that this model can tell.
    fn allows(&self, step: &Step) -> bool {
        let job = |at: &usize| self.jobs.get(*at);
        match step {
            Step::Once | Step::ForgetIndex => true,
            // One that dies while it writes down a loss leaves a failed job without a record.
            Step::OnceKilled(..) => self.jobs.iter().all(|job| !job.is_lost),
            Step::Drop(_, ask, _) => {
                self.jobs.len() < MOST_JOBS
                    && match ask {
                        Ask::Keyed(key) => self.is_clear(*key),
                        Ask::After(at, _) => job(at).is_some_and(Job::is_settled),
                        Ask::Now | Ask::Far | Ask::Bad => true,
                    }
            }
            Step::Kill(at) => job(at).is_some_and(|j| j.by_hand.is_none() && !j.is_lost),
            Step::Pause(at) | Step::Unlink(at) | Step::ForgetRun(at) => {
                job(at).is_some_and(Job::is_open)
            }
            Step::Start(at) => job(at).is_some_and(|j| match j.ask {
                Ask::After(other, _) => j.is_open() && self.jobs[other].is_settled(),
                _ => j.is_open(),
            }),
            Step::Wait(at) => job(at).is_some_and(|j| {
                matches!(j.at(), Some(Done | Failed | Killed)) && j.by_hand.is_none() && !j.is_lost
            }),
            Step::ForgetStatus(at) => {
                job(at).is_some_and(|j| j.is_settled() && j.at() != Some(Killed))
            }
            Step::Move(at, to) => job(at).is_some_and(|j| match j.at() {
                Some(Claimed) => j.is_open() && *to != Claimed,
                Some(from @ (Done | Failed)) => {
                    j.by_hand.is_none() && !j.is_lost && *to != from && *to != Incoming
                }
                _ => false,
            }),
        }
    }

    /// Whether it is known who has a key, and nobody waits for it.
    fn is_clear(&self, key: u8) -> bool {
        let waits = |job: &Job| job.ask == Ask::Keyed(key) && job.may.contains(&Incoming);
        self.keys.get(&key) != Some(&Key::Unknown) && !self.jobs.iter().any(waits)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Drop(way, ask, priority) => self.drop(way, ask, priority),
            Step::Kill(at) => self.kill(at),
            Step::Pause(at) => self.jobs[at].is_paused = true,
            Step::Start(at) => self.start(at),
            Step::Wait(at) => self.code = Some(i32::from(self.jobs[at].at() != Some(Done))),
            Step::Once => self.once(),
            Step::OnceKilled(..) => self.once_killed(),
            Step::Move(at, to) => self.jobs[at].by_hand = Some(Hand::Moved(to)),
            Step::Unlink(at) => self.jobs[at].by_hand = Some(Hand::Removed),
            Step::ForgetRun(at) => self.jobs[at].is_lost = true,
            Step::ForgetStatus(_) | Step::ForgetIndex => {}
        }
    }

    fn drop(&mut self, way: Way, ask: Ask, priority: i8) {
        let is_second = matches!(ask, Ask::Keyed(key) if self.keys.get(&key) == Some(&Key::Held));
        if way == Way::Submit {
            self.code = Some(if ask == Ask::Bad || is_second { 2 } else { 0 });
        }
        if self.code != Some(2) {
            self.jobs.push(Job {
                way,
                ask,
                priority,
                may: BTreeSet::from([Incoming]),
                by_hand: None,
                is_paused: false,
                is_second,
                is_stirred: false,
                is_lost: false,
                copies: 0,
            });
        }
    }

    fn kill(&mut self, at: usize) {
        let job = &mut self.jobs[at];
        let before = std::mem::take(&mut job.may);
        let is_certain = before.len() == 1;
        let is_named = job.way == Way::Submit || !before.contains(&Incoming);
        // What was rejected under the name that its dropper gave it has no id, unless it was rejected late.
        if is_certain && (job.way == Way::Submit || !before.contains(&Rejected)) {
            // A dropped file is no job yet, and is withdrawn by its whole name alone.
            self.code = Some(if is_named { 0 } else { 4 });
        }
        for place in &before {
            let is_open = matches!(place, Incoming | Claimed);
            job.may.insert(if is_open && is_named { Killed } else { *place });
        }
        if !is_certain {
            // Somebody who died had half taken it: then the wish is seen by who takes it again.
            job.may.extend([Claimed, Killed]);
            if let Ask::Keyed(key) = job.ask {
                self.keys.insert(key, Key::Unknown);
            }
        }
    }

    fn start(&mut self, at: usize) {
        let is_ready = match self.jobs[at].ask {
            Ask::After(other, any) => match self.jobs[other].at() {
                Some(Done) => true,
                Some(Failed | Killed) => any,
                _ => false,
            },
            Ask::Now => true,
            Ask::Far | Ask::Keyed(_) | Ask::Bad => false,
        };
        self.code = Some(if is_ready { 0 } else { 4 });
        if is_ready {
            self.jobs[at].is_paused = false;
            self.jobs[at].may = BTreeSet::from([Done]);
        }
    }

    /// Where a job may lie after an undisturbed daemon, whatever lies where now.
    fn rests(&self, at: usize) -> BTreeSet<Place> {
        let job = &self.jobs[at];
        let rest_of = |place: &Place| match place {
            Incoming | Claimed if job.is_lost => BTreeSet::from([Failed]),
            Incoming | Claimed if job.by_hand == Some(Hand::Moved(Killed)) => {
                BTreeSet::from([Killed])
            }
            Incoming | Claimed => self.comes_to(job),
            ended => BTreeSet::from([*ended]),
        };
        job.may.iter().flat_map(rest_of).collect()
    }

    fn comes_to(&self, job: &Job) -> BTreeSet<Place> {
        let unless_paused = if job.is_paused { Claimed } else { Done };
        match job.ask {
            Ask::Bad => BTreeSet::from([Rejected]),
            Ask::Keyed(_) if job.is_second => BTreeSet::from([Rejected]),
            Ask::Far | Ask::Keyed(_) => BTreeSet::from([Claimed]),
            Ask::Now => BTreeSet::from([unless_paused]),
            Ask::After(other, any) => {
                let follows = |place: Place| match place {
                    Done => unless_paused,
                    Incoming | Claimed => Claimed,
                    Failed | Killed | Rejected if any => unless_paused,
                    Failed | Killed | Rejected => Failed,
                };
                self.rests(other).into_iter().map(follows).collect()
            }
        }
    }

    fn once(&mut self) {
        let is_plain = self.jobs.iter().all(|job| job.by_hand.is_none() && !job.is_lost);
        let was_certain = self.jobs.iter().all(|job| job.may.len() < 2);
        let rests: Vec<BTreeSet<Place>> = (0..self.jobs.len()).map(|at| self.rests(at)).collect();
        if is_plain && was_certain && rests.iter().all(|may| may.len() < 2) {
            let goes_to = |place: Place| {
                let mut both = self.jobs.iter().zip(&rests);
                both.any(|(job, rests)| rests.contains(&place) && !job.may.contains(&place))
            };
            let (has_failed, has_rejected) = (goes_to(Failed), goes_to(Rejected));
            let has_open = rests.iter().any(|may| may.contains(&Claimed));
            self.code = Some(if has_failed {
                1
            } else if has_open {
                4
            } else if has_rejected {
                2
            } else {
                0
            });
        }
        for (job, rests) in self.jobs.iter_mut().zip(rests) {
            if let Ask::Keyed(key) = job.ask
                && rests.iter().eq([&Claimed])
            {
                self.keys.insert(key, Key::Held);
            }
            job.copies += usize::from(job.by_hand == Some(Hand::Moved(Incoming)));
            (job.may, job.by_hand, job.is_stirred) = (rests, None, false);
        }
    }

    /// Anything between now and where an undisturbed daemon comes to.
    fn once_killed(&mut self) {
        let rests: Vec<BTreeSet<Place>> = (0..self.jobs.len()).map(|at| self.rests(at)).collect();
        for (job, rests) in self.jobs.iter_mut().zip(rests) {
            if job.may.contains(&Incoming) {
                job.may.insert(Claimed);
            }
            job.may.extend(rests);
            job.is_stirred = job.by_hand.is_some();
        }
    }
}
