//! The machine of one session: starting → running → stopping → draining → ended. A total function of what is seen and
//! what time it is; the effects are carried out by `codex::session`.
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

/// Why a session is being ended, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// Its sandbox helper is missing: nothing it does would work.
    BadStart,
    /// Nothing came from it for too long.
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
    /// Someone wants it ended.
    Stop(StopReason),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
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
    /// Without output.
    pub no_progress: Duration,
}

/// A session's machine. Times are since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    phase: Phase,
    limits: Limits,
    started: Duration,
    progressed: Duration,
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
            Phase::Starting | Phase::Running => Some(
                (self.started + self.limits.total).min(self.progressed + self.limits.no_progress),
            ),
            Phase::Stopping { until } | Phase::Draining { until, .. } => Some(until),
            Phase::Ended => None,
        }
    }

    /// Takes in what was seen; gives back what is to be done.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        match input {
            Input::Output | Input::Confirmed => self.progressed = now,
            Input::EndOfStream => self.stream_ended = true,
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
            Input::Confirmed | Input::Output | Input::EndOfStream | Input::Swept | Input::Tick => {
                match self.overdue(now) {
                    Some(reason) => self.begin_stop(reason, now),
                    None => Vec::new(),
                }
            }
        }
    }

    fn overdue(&self, now: Duration) -> Option<StopReason> {
        if now >= self.started + self.limits.total {
            return Some(StopReason::Total);
        }
        (now >= self.progressed + self.limits.no_progress).then_some(StopReason::NoProgress)
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
            Input::Confirmed | Input::Output | Input::EndOfStream | Input::Swept | Input::Tick
                if now >= until =>
            {
                self.phase = Phase::Stopping { until: now + GRACE };
                vec![Effect::KillFamily]
            }
            Input::Confirmed | Input::Output | Input::EndOfStream | Input::Swept | Input::Tick => {
                Vec::new()
            }
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
            Input::Tick if now < until => Vec::new(),
            Input::Confirmed | Input::Output | Input::Exited | Input::Swept | Input::Tick => {
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
        let silent = [(1, Input::Confirmed), (10, Input::Tick), (11, Input::Tick)];
        assert_eq!(play(&silent).1, Some(StopReason::NoProgress));
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

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Confirmed),
            Just(Input::Output),
            Just(Input::Exited),
            Just(Input::EndOfStream),
            Just(Input::Swept),
            Just(Input::Tick),
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
    }
}
