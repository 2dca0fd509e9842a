//! The machine of one session: starting → running → stopping → draining → ended. A total function of what is seen and
//! what time it is; the effects are carried out by `codex::session`.
//!
//! Silence alone is no stall: an agent whose command compiles for an hour says nothing. While nothing comes, the session's
//! vital signs are looked at every quarter of the longest silence. A sign that has changed is progress, just like output;
//! only when there was neither for the whole time, from the first look on, the session is ended.
//!
//! Reasons to stop only rise: a weaker one never replaces a stronger one. The first stop is polite, then everything under
//! codex is ended. Draining is a state of its own, since a grandchild can hold the terminal open after codex has gone.

use std::time::Duration;

/// How long codex has, after an interrupt, to end by itself.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long the stream may stay open and silent after everything under codex was ended. What was written before the end is
/// still on its way then, and a busy machine may take its time: only a terminal that somebody holds open costs this much.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How long the stream may stay open at all after codex has ended, whatever comes out of it.
pub const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// The least processor time between two looks that counts as work: two ticks of the kernel's accounting.
const LEAST_WORK: Duration = Duration::from_millis(20);
/// The least share of one processor that counts as work, as one part of this many. A codex that waits for its service was
/// measured to use one part in 800, for its timers; whatever computes or reads uses far more than one in 100.
const WORK_SHARE: u32 = 100;
/// Looks in the longest silence.
const LOOKS: u32 = 4;
/// Rest between two looks at the least.
const LEAST_REST: Duration = Duration::from_millis(10);

/// What can be seen of a silent session from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Processor time that its processes have used.
    pub worked: Duration,
    /// Entries in its directory.
    pub entries: u64,
    /// When the newest of them was changed.
    pub changed: Duration,
}

impl Vitals {
    /// Whether the session lived between an earlier look and this one. Less time than before means that a process has
    /// ended, which is life, too.
    fn show_life(&self, before: &Self, between: Duration) -> bool {
        let least = (between / WORK_SHARE).max(LEAST_WORK);
        let worked = self.worked.checked_sub(before.worked).is_none_or(|work| work >= least);
        worked || (self.entries, self.changed) != (before.entries, before.changed)
    }
}

/// What is known of a silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Silence {
    /// When a look was asked for that has not been answered.
    asked: Option<Duration>,
    /// When the last look was asked for, and what it showed.
    last: Option<(Duration, Vitals)>,
    /// When the first look was asked for since which nothing has changed.
    since: Option<Duration>,
}

/// Why a session is being ended, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// Its sandbox helper is missing: nothing it does would work.
    BadStart,
    /// Nothing came from it for too long, and nothing else showed that it lives.
    NoProgress,
    /// It took too long as a whole.
    Total,
    /// Its job rests or its worker is to leave.
    Leave,
    /// Its task or job is to be killed.
    Kill,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Spawned; codex has not said its thread yet.
    Starting,
    /// At work.
    Running,
    /// Interrupted; may end by itself until then.
    Stopping {
        /// When everything is ended.
        until: Duration,
    },
    /// Codex is gone; what it wrote last is still coming, until then.
    Draining {
        /// When the terminal is hung up, unless something comes.
        until: Duration,
        /// When it is hung up in any case.
        at_most: Duration,
    },
    /// Nothing more comes.
    Ended,
}

/// What is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Codex has told its thread.
    Confirmed,
    /// Something came out of it.
    Output,
    /// Codex has ended.
    Exited,
    /// The stream has ended.
    EndOfStream,
    /// Everything under codex was ended, which may have taken a while.
    Swept,
    /// Nothing but time has passed.
    Tick,
    /// Its vital signs were looked at.
    Looked(Vitals),
    /// Someone wants it ended.
    Stop(StopReason),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Look at the vital signs.
    Look,
    /// Ask codex to end.
    Interrupt,
    /// End everything under it.
    KillFamily,
    /// Hang up the terminal, so that the reader ends.
    HangUp,
}

/// Its deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// As a whole.
    pub total: Duration,
    /// Without output and any other sign of life.
    pub no_progress: Duration,
}

/// A session's machine. Times are since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    phase: Phase,
    limits: Limits,
    started: Duration,
    progressed: Duration,
    silence: Silence,
    stop: Option<StopReason>,
    stream_ended: bool,
}

impl Machine {
    /// A session spawned at that time.
    pub fn new(limits: Limits, now: Duration) -> Self {
        Self {
            phase: Phase::Starting,
            limits,
            started: now,
            progressed: now,
            silence: Silence::default(),
            stop: None,
            stream_ended: false,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it was ended, if we did.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.stop
    }

    /// When the machine wants to be asked again, whatever happens.
    pub fn wake_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Starting | Phase::Running => {
                let look =
                    self.silence.asked.map_or_else(|| self.next_look(), |_| self.blind_end());
                Some((self.started + self.limits.total).min(look))
            }
            Phase::Stopping { until } | Phase::Draining { until, .. } => Some(until),
            Phase::Ended => None,
        }
    }

    /// Takes in what was seen; gives back what is to be done.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        match input {
            Input::Output | Input::Confirmed => {
                self.progressed = now;
                self.silence = Silence::default();
            }
            Input::EndOfStream => self.stream_ended = true,
            Input::Looked(vitals) => self.looked(vitals, now),
            Input::Exited | Input::Swept | Input::Tick | Input::Stop(_) => {}
        }
        match self.phase {
            Phase::Starting => self.working(input, now, true),
            Phase::Running => self.working(input, now, false),
            Phase::Stopping { until } => self.stopping(input, now, until),
            Phase::Draining { until, at_most } => self.draining(input, now, until, at_most),
            Phase::Ended => Vec::new(),
        }
    }

    fn working(&mut self, input: Input, now: Duration, starting: bool) -> Vec<Effect> {
        match input {
            Input::Confirmed if starting => {
                self.phase = Phase::Running;
                Vec::new()
            }
            Input::Exited => self.exited(now),
            Input::Stop(reason) => self.begin_stop(reason, now),
            Input::Confirmed
            | Input::Output
            | Input::EndOfStream
            | Input::Swept
            | Input::Tick
            | Input::Looked(_) => match self.overdue(now) {
                Some(reason) => self.begin_stop(reason, now),
                None if self.silence.asked.is_none() && now >= self.next_look() => {
                    self.silence.asked = Some(now);
                    vec![Effect::Look]
                }
                None => Vec::new(),
            },
        }
    }

    fn overdue(&self, now: Duration) -> Option<StopReason> {
        if now >= self.started + self.limits.total {
            return Some(StopReason::Total);
        }
        let last = self.silence.last.map(|(asked, _)| asked);
        let is_still = match (self.silence.since, last) {
            (Some(since), Some(last)) => last >= since + self.limits.no_progress,
            (_, _) => false,
        };
        (is_still || now >= self.blind_end()).then_some(StopReason::NoProgress)
    }

    /// When the vital signs are to be looked at again.
    fn next_look(&self) -> Duration {
        let last = self.silence.last.map_or(self.progressed, |(asked, _)| asked);
        last.max(self.progressed) + self.quarter()
    }

    /// When a session is ended of which nothing can be seen: a look that is not answered must not keep it for ever.
    fn blind_end(&self) -> Duration {
        let still = self.silence.since.unwrap_or(self.progressed).max(self.progressed);
        still + self.limits.no_progress + 2 * self.quarter()
    }

    fn quarter(&self) -> Duration {
        (self.limits.no_progress / LOOKS).max(LEAST_REST)
    }

    /// Compares with the last look. The first one of a silence only shows what to compare with.
    fn looked(&mut self, vitals: Vitals, now: Duration) {
        let at = self.silence.asked.take().unwrap_or(now);
        match self.silence.last.replace((at, vitals)) {
            Some((before, last)) if vitals.show_life(&last, at.saturating_sub(before)) => {
                self.progressed = at;
                self.silence.since = Some(at);
            }
            Some(_) => {}
            None => self.silence.since = Some(at),
        }
    }

    fn begin_stop(&mut self, reason: StopReason, now: Duration) -> Vec<Effect> {
        self.stop = self.stop.max(Some(reason));
        self.phase = Phase::Stopping { until: now + GRACE };
        vec![Effect::Interrupt]
    }

    fn stopping(&mut self, input: Input, now: Duration, until: Duration) -> Vec<Effect> {
        match input {
            Input::Exited => self.exited(now),
            Input::Stop(reason) => {
                self.stop = self.stop.max(Some(reason));
                Vec::new()
            }
            Input::Confirmed
            | Input::Output
            | Input::EndOfStream
            | Input::Swept
            | Input::Tick
            | Input::Looked(_)
                if now >= until =>
            {
                self.phase = Phase::Stopping { until: now + GRACE };
                vec![Effect::KillFamily]
            }
            Input::Confirmed
            | Input::Output
            | Input::EndOfStream
            | Input::Swept
            | Input::Tick
            | Input::Looked(_) => Vec::new(),
        }
    }

    /// Whatever codex left behind ends with it.
    fn exited(&mut self, now: Duration) -> Vec<Effect> {
        self.phase = if self.stream_ended {
            Phase::Ended
        } else {
            Phase::Draining { until: now + DRAIN, at_most: now + LONGEST_DRAIN }
        };
        vec![Effect::KillFamily]
    }

    fn draining(
        &mut self,
        input: Input,
        now: Duration,
        until: Duration,
        at_most: Duration,
    ) -> Vec<Effect> {
        match input {
            Input::EndOfStream => {
                self.phase = Phase::Ended;
                Vec::new()
            }
            Input::Stop(reason) => {
                self.stop = self.stop.max(Some(reason));
                Vec::new()
            }
            Input::Confirmed | Input::Output | Input::Exited | Input::Swept if now < at_most => {
                self.phase = Phase::Draining { until: (now + DRAIN).min(at_most), at_most };
                Vec::new()
            }
            Input::Tick | Input::Looked(_) if now < until => Vec::new(),
            Input::Confirmed
            | Input::Output
            | Input::Exited
            | Input::Swept
            | Input::Tick
            | Input::Looked(_) => {
                self.phase = Phase::Ended;
                vec![Effect::HangUp]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { total: Duration::from_secs(100), no_progress: Duration::from_secs(10) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn play(inputs: &[(u64, Input)]) -> (Phase, Option<StopReason>, Vec<(u64, Effect)>) {
        let mut machine = Machine::new(LIMITS, at(0));
        let mut effects = Vec::new();
        for (time, input) in inputs {
            effects.extend(machine.step(*input, at(*time)).into_iter().map(|e| (*time, e)));
        }
        (machine.phase(), machine.stop_reason(), effects)
    }

    #[test]
    fn a_good_session_ends_with_its_family_and_its_stream() {
        let inputs = [
            (1, Input::Confirmed),
            (5, Input::Output),
            (6, Input::Exited),
            (6, Input::EndOfStream),
        ];
        assert_eq!(play(&inputs), (Phase::Ended, None, vec![(6, Effect::KillFamily)]));
    }

    #[test]
    fn a_terminal_held_open_is_hung_up() {
        let silent = vec![(1, Input::Exited), (2, Input::Tick), (6, Input::Tick)];
        let noisy = (2..=61).map(|s| (s, Input::Output));
        let noisy = std::iter::once((1, Input::Exited)).chain(noisy).collect();
        for (inputs, end) in [(silent, 6), (noisy, 61)] {
            let effects = vec![(1, Effect::KillFamily), (end, Effect::HangUp)];
            assert_eq!(play(&inputs), (Phase::Ended, None, effects));
        }
    }

    #[test]
    fn last_words_are_heard_however_long_the_sweep_takes() {
        let inputs = [
            (1, Input::Exited),
            (20, Input::Swept),
            (21, Input::Output),
            (22, Input::Output),
            (22, Input::EndOfStream),
        ];
        assert_eq!(play(&inputs), (Phase::Ended, None, vec![(1, Effect::KillFamily)]));
    }

    #[test]
    fn silence_and_length_each_have_their_deadline() {
        let blind =
            [(1, Input::Confirmed), (10, Input::Tick), (15, Input::Tick), (16, Input::Tick)];
        assert_eq!(play(&blind).1, Some(StopReason::NoProgress), "no look is answered");
        let long: Vec<_> = (0..=20).map(|n| (n * 5, Input::Output)).collect();
        assert_eq!(play(&long).1, Some(StopReason::Total));
    }

    #[test]
    fn an_interrupt_that_is_ignored_becomes_a_kill() {
        let inputs = [
            (1, Input::Stop(StopReason::Kill)),
            (2, Input::Output),
            (3, Input::Tick),
            (3, Input::Exited),
        ];
        let effects = [(1, Effect::Interrupt), (3, Effect::KillFamily), (3, Effect::KillFamily)];
        assert_eq!(play(&inputs).2, effects);
    }

    /// Lets a session be silent from 0 on, with these signs at each look; when it was ended, if it was.
    fn silent(signs: impl Fn(u64) -> Vitals) -> Option<u64> {
        let limits = Limits { total: at(1000), no_progress: at(40) };
        let mut machine = Machine::new(limits, at(0));
        for second in 0..200 {
            let effects = machine.step(Input::Tick, at(second));
            let looked = if effects == [Effect::Look] {
                machine.step(Input::Looked(signs(second)), at(second))
            } else {
                effects
            };
            if looked == [Effect::Interrupt] {
                assert_eq!(machine.stop_reason(), Some(StopReason::NoProgress));
                return Some(second);
            }
            assert!(looked.is_empty(), "{looked:?}");
        }
        None
    }

    #[test]
    fn a_silent_session_is_ended_only_if_nothing_else_shows_that_it_lives() {
        let worked = |worked| Vitals { worked, ..Vitals::default() };
        assert_eq!(silent(|_| Vitals::default()), Some(50), "a quarter to compare with");
        assert_eq!(silent(|s| worked(at(s))), None, "it computes");
        assert_eq!(silent(|s| worked(at(s) / 50)), None, "with a part of a processor");
        assert_eq!(silent(|s| worked(at(s) / 800)), Some(50), "only its timers tick");
        assert_eq!(silent(|s| worked(at(1000 - s))), None, "processes end");
        assert_eq!(silent(|s| Vitals { entries: s, ..Vitals::default() }), None, "it makes files");
        assert_eq!(silent(|s| Vitals { changed: at(s), ..Vitals::default() }), None, "it writes");
        assert_eq!(silent(|s| worked(at(s.min(60)))), Some(100), "it has stopped computing");
    }

    #[test]
    fn output_begins_the_silence_anew() {
        let looked = || Input::Looked(Vitals::default());
        let mut inputs = vec![(0, Input::Confirmed)];
        for second in [3, 6, 9] {
            inputs.extend([(second, Input::Tick), (second, looked())]);
        }
        inputs.push((10, Input::Output));
        for second in [13, 16, 19, 22] {
            inputs.extend([(second, Input::Tick), (second, looked())]);
        }
        assert_eq!(play(&inputs).1, None);
        inputs.extend([(25, Input::Tick), (25, looked())]);
        assert_eq!(
            play(&inputs).1,
            Some(StopReason::NoProgress),
            "ten seconds after the look at 13"
        );
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Confirmed),
            Just(Input::Output),
            Just(Input::Exited),
            Just(Input::EndOfStream),
            Just(Input::Swept),
            Just(Input::Tick),
            (0u64..3, 0u64..2).prop_map(|(worked, entries)| {
                Input::Looked(Vitals { worked: at(worked), entries, ..Vitals::default() })
            }),
            Just(Input::Stop(StopReason::NoProgress)),
            Just(Input::Stop(StopReason::Leave)),
            Just(Input::Stop(StopReason::Kill)),
        ]
    }

    proptest! {
        #[test]
        fn reasons_only_rise_and_the_end_is_the_end(inputs in prop::collection::vec((0u64..5, input()), 0..60)) {
            let mut machine = Machine::new(LIMITS, at(0));
            let (mut now, mut reason, mut ended) = (at(0), None, false);
            for (passed, input) in inputs {
                now += at(passed);
                let effects = machine.step(input, now);
                prop_assert!(machine.stop_reason() >= reason);
                prop_assert!(!ended || effects.is_empty());
                reason = machine.stop_reason();
                ended = machine.phase() == Phase::Ended;
                prop_assert!(ended == machine.wake_at().is_none());
            }
        }

        /// Against the definition: a session at which every look is answered at once is ended for want of progress exactly
        /// when no look of the last ten seconds, and nothing else, showed life.
        #[test]
        fn no_session_is_ended_that_lives_and_none_is_kept_that_does_not(lives in prop::collection::vec(any::<bool>(), 1..60)) {
            let quarter = Duration::from_millis(2500);
            let mut machine = Machine::new(LIMITS, at(0));
            let (mut now, mut worked, mut still) = (at(0), at(0), None);
            for life in lives {
                now += quarter;
                if now >= at(100) {
                    break;
                }
                prop_assert_eq!(machine.step(Input::Tick, now), [Effect::Look]);
                worked += if life { at(1) } else { at(0) };
                still = if life || still.is_none() { Some(now) } else { still };
                let is_over = still.is_some_and(|since| now >= since + at(10));
                let effects = machine.step(Input::Looked(Vitals { worked, ..Vitals::default() }), now);
                prop_assert_eq!(!effects.is_empty(), is_over);
                if is_over {
                    break;
                }
            }
        }
    }
}
