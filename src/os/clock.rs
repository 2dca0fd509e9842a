//! The one door to time. Wall time is for people and for wake times; durations are measured in boot time, which goes on
//! while the machine sleeps and never jumps.

use std::time::Duration;

use jiff::Timestamp;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one door to the wall clock")]
pub fn now() -> Timestamp {
    shifted(Timestamp::now())
}

/// Seconds by which tests let the wall clock run ahead, or behind where they are negative.
#[cfg(debug_assertions)]
pub const TEST_OFFSET: &str = "NUMERUS_TEST_CLOCK_OFFSET";

/// `SECONDS@SECONDS`: how far, and how long after the first look, tests let somebody set the wall clock.
#[cfg(debug_assertions)]
pub const TEST_JUMP: &str = "NUMERUS_TEST_CLOCK_JUMP";

#[cfg(debug_assertions)]
fn jumped() -> i64 {
    static JUMP: std::sync::OnceLock<Option<(i64, Duration)>> = std::sync::OnceLock::new();
    let named = || {
        let text = super::env::var(TEST_JUMP)?;
        let (by, after) = text.split_once('@')?;
        Some((by.parse().ok()?, since_boot() + Duration::from_secs(after.parse().ok()?)))
    };
    let jump = *JUMP.get_or_init(named);
    jump.filter(|(_, at)| *at <= since_boot()).map_or(0, |(by, _)| by)
}

#[cfg(debug_assertions)]
fn shifted(now: Timestamp) -> Timestamp {
    static OFFSET: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let named = || super::env::var(TEST_OFFSET)?.parse().ok();
    let offset = *OFFSET.get_or_init(|| named().unwrap_or_default());
    now.checked_add(jiff::SignedDuration::from_secs(offset + jumped())).unwrap_or(now)
}

#[cfg(not(debug_assertions))]
fn shifted(now: Timestamp) -> Timestamp {
    now
}

/// The wall clock in the zone of this machine, as its other programs show it.
pub fn local() -> jiff::ZonedDateTime {
    now().to_zoned_datetime(jiff::tz::TimeZone::system())
}

/// The wall clock as it would be if nobody had set it since this process first asked: for spans within one process.
pub fn steady() -> Timestamp {
    static FIRST: std::sync::OnceLock<(Timestamp, Duration)> = std::sync::OnceLock::new();
    let (wall, boot) = *FIRST.get_or_init(|| (now(), since_boot()));
    later(wall, since_boot().saturating_sub(boot))
}

/// Time since the machine booted, suspended time included.
pub fn since_boot() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// Rests the calling thread where no event can tell; every caller bounds the number of its rounds.
#[expect(clippy::disallowed_methods, reason = "the one door to sleeping")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The time from `now` until `then`, zero if it has passed.
pub fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// `now` and a duration later, clamped to the last moment that can be written.
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}
