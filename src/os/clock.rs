//! The one door to time. Wall time is for people and for wake times; durations are measured in boot time, which goes on
//! while the machine sleeps and never jumps.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{env, fsx};

/// Where the rules of this machine's zone lie, see localtime(5), and the most bytes that they may have.
const LOCAL_RULES: (&str, u64) = ("/etc/localtime", 1024 * 1024);

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
    static JUMP: OnceLock<Option<(i64, Duration)>> = OnceLock::new();
    let named = || {
        let text = env::var(TEST_JUMP)?;
        let (by, after) = text.split_once('@')?;
        Some((by.parse().ok()?, since_boot() + Duration::from_secs(after.parse().ok()?)))
    };
    let jump = *JUMP.get_or_init(named);
    jump.filter(|(_, at)| *at <= since_boot()).map_or(0, |(by, _)| by)
}

#[cfg(debug_assertions)]
fn shifted(now: Timestamp) -> Timestamp {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    let named = || env::var(TEST_OFFSET)?.parse().ok();
    let offset = *OFFSET.get_or_init(|| named().unwrap_or_default());
    now.checked_add(jiff::SignedDuration::from_secs(offset + jumped())).unwrap_or(now)
}

#[cfg(not(debug_assertions))]
fn shifted(now: Timestamp) -> Timestamp {
    now
}

/// The wall clock in the zone of this machine, as its other programs show it.
pub fn local() -> jiff::ZonedDateTime {
    now().to_zoned_datetime(zone())
}

/// The zone of this machine, or of `TZ`. The rules are read where they lie; the library would look for their name first, in
/// hundreds of folders.
pub fn zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let of_machine = || {
        let path = Path::new(LOCAL_RULES.0).canonicalize().ok()?;
        TimeZone::tzif("", &fsx::read_bounded(&path, LOCAL_RULES.1).ok()??).ok()
    };
    let named = env::var_os("TZ").is_some();
    let found = || if named { None } else { of_machine() };
    ZONE.get_or_init(|| found().unwrap_or_else(TimeZone::system)).clone()
}

/// The wall clock as it would be if nobody had set it since this process first asked: for spans within one process.
pub fn steady() -> Timestamp {
    static FIRST: OnceLock<(Timestamp, Duration)> = OnceLock::new();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_of_this_machine_is_as_the_library_finds_it() {
        for at in ["2026-01-02T03:04:05Z", "2026-07-02T03:04:05Z"] {
            let at: Timestamp = at.parse().expect("time");
            let offset = |zone: TimeZone| at.to_zoned_datetime(zone).offset();
            assert_eq!(offset(zone()), offset(TimeZone::system()), "{at}");
        }
    }
}
