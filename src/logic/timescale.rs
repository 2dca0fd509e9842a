//! Where a moment lies on a line of a fixed length, when what happened is seconds of work between days of rest: stretches in
//! which nothing was under way are cut short. Pure.

use jiff::{SignedDuration, Timestamp};

/// Rests up to this long are drawn as they are.
const SHORT: SignedDuration = SignedDuration::from_mins(1);
/// How much of the line a rest that is cut short may take, and how much all of them together may.
const CUT_SHARE: (f64, f64) = (0.05, 0.4);
/// The steps of a scale, in seconds; longer ones are whole days.
const STEPS: [i64; 17] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200];
const DAY: i64 = 86_400;

/// A stretch of time and the part of the line that it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// When it begins.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Where it begins, from 0 to 1.
    pub left: f64,
    /// Where it ends.
    pub right: f64,
    /// Whether it is a rest that is cut short.
    pub is_cut: bool,
}

impl Stretch {
    fn length(&self) -> f64 {
        self.until.duration_since(self.since).as_secs_f64()
    }
}

/// A line of time from 0 to 1, without gaps; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Timescale(Vec<Stretch>);

impl Timescale {
    /// A line from `since` to `until` on which what is busy has its true lengths. Busy times may overlap and reach beyond.
    pub fn new(since: Timestamp, until: Timestamp, busy: &[(Timestamp, Timestamp)]) -> Self {
        let until = until.max(since);
        let mut stretches = Vec::new();
        let mut at = since;
        for (from, to) in merged(since, until, busy) {
            rest(&mut stretches, at, from);
            push(&mut stretches, from, to, false);
            at = to;
        }
        rest(&mut stretches, at, until);
        if stretches.is_empty() {
            push(&mut stretches, since, until, false);
        }
        Self(placed(stretches))
    }

    /// Where a moment lies, from 0 to 1; what is before or after the line lies at its ends.
    pub fn at(&self, moment: Timestamp) -> f64 {
        let Some(stretch) = self.0.iter().find(|s| moment < s.until) else { return 1.0 };
        let length = stretch.length();
        let into = moment.duration_since(stretch.since).as_secs_f64().max(0.0);
        let share = if length > 0.0 { into / length } else { 0.0 };
        stretch.left + share * (stretch.right - stretch.left)
    }

    /// The rests that are cut short.
    pub fn cuts(&self) -> impl Iterator<Item = &Stretch> {
        self.0.iter().filter(|s| s.is_cut)
    }

    /// Where to write times, as the time since the beginning: about `most` of them.
    pub fn ticks(&self, most: u16) -> Vec<(f64, SignedDuration)> {
        let since = self.0.first().map_or(Timestamp::UNIX_EPOCH, |s| s.since);
        let shown: f64 = self.0.iter().filter(|s| !s.is_cut).map(Stretch::length).sum();
        let step = step(shown / f64::from(most.max(1)));
        let mut ticks = Vec::new();
        for stretch in self.0.iter().filter(|s| !s.is_cut) {
            let from = stretch.since.duration_since(since).as_secs();
            let to = stretch.until.duration_since(since).as_secs();
            let first = from.div_euclid(step) + i64::from(from.rem_euclid(step) != 0);
            for number in first..=to.div_euclid(step) {
                let after = SignedDuration::from_secs(number * step);
                ticks.push((self.at(since + after), after));
            }
        }
        ticks
    }
}

/// The busy times inside the line, in order and without overlaps.
fn merged(
    since: Timestamp,
    until: Timestamp,
    busy: &[(Timestamp, Timestamp)],
) -> Vec<(Timestamp, Timestamp)> {
    let clamped = |(from, to): &(Timestamp, Timestamp)| {
        let from = (*from).clamp(since, until);
        (from, (*to).clamp(from, until))
    };
    let mut busy: Vec<_> = busy.iter().map(clamped).collect();
    busy.sort();
    let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (from, to) in busy {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn rest(stretches: &mut Vec<Stretch>, from: Timestamp, to: Timestamp) {
    push(stretches, from, to, to.duration_since(from) > SHORT);
}

fn push(stretches: &mut Vec<Stretch>, since: Timestamp, until: Timestamp, is_cut: bool) {
    if since < until {
        stretches.push(Stretch { since, until, left: 0.0, right: 0.0, is_cut });
    }
}

/// Gives each stretch its part of the line.
fn placed(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    let shown: f64 = stretches.iter().filter(|s| !s.is_cut).map(Stretch::length).sum();
    let longest = |s: &&Stretch| s.is_cut && s.length() > shown * CUT_SHARE.0;
    let cuts = stretches.iter().filter(longest).count();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    let share = CUT_SHARE.0.min(CUT_SHARE.1 / cuts.max(1) as f64);
    // With nothing but rests there is nothing to be cut for.
    let cut_length = if shown > 0.0 { shown * share } else { 1.0 };
    let mut at = 0.0;
    for stretch in &mut stretches {
        let true_length = stretch.length();
        stretch.is_cut = stretch.is_cut && true_length > cut_length;
        stretch.left = at;
        at += if stretch.is_cut { cut_length } else { true_length };
        stretch.right = at;
    }
    let whole = if at > 0.0 { at } else { 1.0 };
    for stretch in &mut stretches {
        stretch.left /= whole;
        stretch.right /= whole;
    }
    stretches
}

/// The smallest step that is not shorter, in seconds.
fn step(least: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "no span of time is that long")]
    let least = least.ceil() as i64;
    let days = || (least / DAY + i64::from(least % DAY > 0)).max(1).saturating_mul(DAY);
    STEPS.into_iter().find(|step| *step >= least).unwrap_or_else(days)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(at: i64) -> Timestamp {
        Timestamp::from_second(at).expect("time")
    }

    fn scale(since: i64, until: i64, busy: &[(i64, i64)]) -> Timescale {
        let busy: Vec<_> = busy.iter().map(|(a, b)| (second(*a), second(*b))).collect();
        Timescale::new(second(since), second(until), &busy)
    }

    #[test]
    fn work_has_its_true_length_and_a_long_rest_is_cut_short() {
        let scale = scale(0, 86_500, &[(0, 40), (30, 50), (86_450, 86_500)]);
        let cuts: Vec<i64> =
            scale.cuts().map(|c| c.until.duration_since(c.since).as_secs()).collect();
        assert_eq!(cuts, [86_400]);
        let at = |s| scale.at(second(s));
        assert!((at(50) - 50.0 / 105.0).abs() < 1e-9, "{}", at(50));
        assert!((at(86_500) - 1.0).abs() < 1e-9 && at(0) == 0.0 && at(-9) == 0.0);
        assert!((at(86_475) - 80.0 / 105.0).abs() < 1e-9);
    }

    #[test]
    fn a_short_rest_is_drawn_as_it_is() {
        let scale = scale(0, 100, &[(0, 10), (60, 100)]);
        assert_eq!(scale.cuts().count(), 0);
        assert!((scale.at(second(50)) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_few() {
        let of = |scale: &Timescale| -> Vec<i64> {
            scale.ticks(6).iter().map(|(_, after)| after.as_secs()).collect()
        };
        assert_eq!(of(&scale(100, 150, &[(100, 150)])), [0, 10, 20, 30, 40, 50]);
        let cut = scale(0, 1_000_000, &[(0, 30), (999_970, 1_000_000)]);
        assert_eq!(of(&cut), [0, 10, 20, 30, 999_970, 999_980, 999_990, 1_000_000]);
        assert_eq!(of(&scale(5, 5, &[])), [0; 0], "no time, nothing to mark");
        assert_eq!(of(&scale(0, 86_400 * 60, &[(0, 86_400 * 60)])).len(), 7);
    }

    proptest! {
        #[test]
        fn whatever_was_busy_moments_keep_their_order_on_the_line(
            busy in prop::collection::vec((-100i64..5000, 0i64..3000), 0..30),
            until in 0i64..10_000,
        ) {
            let busy: Vec<(i64, i64)> = busy.iter().map(|(a, b)| (*a, a + b)).collect();
            let scale = scale(0, until, &busy);
            let mut before = 0.0;
            for moment in -10..until + 10 {
                let at = scale.at(second(moment));
                prop_assert!((0.0..=1.0 + 1e-9).contains(&at) && at + 1e-9 >= before, "{moment}: {at}");
                before = at;
            }
        }
    }
}
