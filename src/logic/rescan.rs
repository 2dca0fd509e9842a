//! How often a daemon looks at everything without being told to: as rarely as what it hears allows.

use std::time::Duration;

/// How often where some changes may not be told of, and how long at most anything waits that no event tells of.
pub const SOON: Duration = Duration::from_secs(300);
/// How often where the kernel tells of every change: then a look finds nothing, unless we are mistaken.
pub const RARE: Duration = Duration::from_secs(3600);
/// How often where nothing is told.
pub const WITHOUT_EVENTS: Duration = Duration::from_secs(2);

/// What a daemon hears of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ears {
    /// Nothing: the kernel gives no watches.
    Deaf,
    /// Those that are made on this machine, and perhaps not all of them.
    Partly,
    /// All.
    All,
}

/// The time between two looks at everything; `set` is what the operator wants.
pub fn every(set: Option<Duration>, ears: Ears) -> Duration {
    match ears {
        Ears::Deaf => WITHOUT_EVENTS,
        Ears::Partly => set.unwrap_or(SOON),
        Ears::All => set.unwrap_or(RARE),
    }
}

/// How long what is left to be tried again waits, and what no event tells of is not looked at.
pub fn soon(set: Option<Duration>) -> Duration {
    set.map_or(SOON, |set| set.min(SOON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_heard_is_looked_for_and_what_is_set_rules_where_anything_is_heard() {
        let second = Duration::from_secs;
        for (set, ears, every_then, soon_then) in [
            (None, Ears::Deaf, 2, 300),
            (None, Ears::Partly, 300, 300),
            (None, Ears::All, 3600, 300),
            (Some(1), Ears::Deaf, 2, 1),
            (Some(1), Ears::Partly, 1, 1),
            (Some(1), Ears::All, 1, 1),
            (Some(86_400), Ears::Deaf, 2, 300),
            (Some(86_400), Ears::Partly, 86_400, 300),
            (Some(86_400), Ears::All, 86_400, 300),
        ] {
            let set = set.map(second);
            let found = (every(set, ears), soon(set));
            assert_eq!(found, (second(every_then), second(soon_then)), "{set:?} {ears:?}");
        }
    }
}
