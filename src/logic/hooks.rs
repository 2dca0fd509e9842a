//! Which programs in `hooks/` are called for an event, and which are not called at all.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::event;

/// The name of the hook that is called for every event.
pub const ALL: &str = "all";
/// How old a fact may be that a hook is still called for: after longer, nobody waits for it any more.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// What something on the way to a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file itself.
    Program,
    /// A folder; where it is sticky, nobody renames what is another's.
    Folder,
    /// A link, which its owner alone can turn.
    Link,
}

/// What is known of a program in `hooks/`, or of something on the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its owner.
    pub uid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

/// Whether a file of this name is meant to be called.
pub fn is_hook(name: &str) -> bool {
    name == ALL || event::NAMES.contains(&name)
}

/// Why a hook is not called, if it is not: what others can change runs as somebody else's program.
pub fn refusal(seen: Seen, own_uid: u32, what: &str) -> Option<String> {
    if seen.uid != own_uid && seen.uid != 0 {
        return Some(format!("{what} belongs to user {}, not to {own_uid} or root", seen.uid));
    }
    let is_open = match seen.kind {
        Kind::Program => seen.mode & 0o022 != 0,
        Kind::Folder => seen.mode & 0o022 != 0 && seen.mode & 0o1000 == 0,
        Kind::Link => false,
    };
    if is_open {
        let mode = seen.mode & 0o7777;
        return Some(format!(
            "others may write in {what} (mode {mode:04o}); chmod go-w makes it safe"
        ));
    }
    None
}

/// Why a file of a hook's name cannot be called; `chmod +x` was forgotten, as a rule.
pub fn unfit(name: &str, mode: u32) -> Option<String> {
    (mode & 0o111 == 0).then(|| format!("{name} is no program; chmod u+x makes it one"))
}

/// What is wrong with the name of a program that is never called; `None` of one that is, or that looks like no event.
pub fn misnamed(name: &str) -> Option<String> {
    let families = ["job.", "terminal.", "memory."];
    let is_meant = families.iter().any(|family| name.starts_with(family));
    (is_meant && !is_hook(name)).then(|| format!("{name:?} is no event"))
}

/// Whether a hook is still called for a fact of this age.
pub fn is_current(at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).unwrap_or_default() <= MAX_AGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_others_can_change_is_refused() {
        use Kind::{Folder, Link, Program};
        for (uid, mode, kind, is_good) in [
            (7, 0o700, Program, true),
            (0, 0o755, Program, true),
            (7, 0o777, Program, false),
            (7, 0o1777, Program, false),
            (7, 0o720, Program, false),
            (0, 0o702, Folder, false),
            (0, 0o1777, Folder, true),
            (8, 0o1777, Folder, false),
            (7, 0o777, Link, true),
            (8, 0o777, Link, false),
            (8, 0o700, Program, false),
        ] {
            let is = refusal(Seen { uid, mode, kind }, 7, "x").is_none();
            assert_eq!(is, is_good, "{uid} {mode:o} {kind:?}");
        }
        let seen = Seen { uid: 7, mode: 0o757, kind: Program };
        let why = refusal(seen, 7, "hooks/all").expect("refused");
        assert_eq!(why, "others may write in hooks/all (mode 0757); chmod go-w makes it safe");
    }

    #[test]
    fn hooks_are_called_like_events_and_what_nearly_is_one_is_told_of() {
        for (name, is_one, is_told) in [
            ("job.finished", true, false),
            ("terminal.exit", true, false),
            ("all", true, false),
            ("job.finishd", false, true),
            ("terminal.*", false, true),
            ("README", false, false),
            ("webhook.url", false, false),
        ] {
            assert_eq!((is_hook(name), misnamed(name).is_some()), (is_one, is_told), "{name}");
        }
        assert!(unfit("all", 0o644).is_some() && unfit("all", 0o100).is_none());
    }

    #[test]
    fn what_is_older_than_a_day_is_passed_over() {
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().expect("time");
        for (at, is) in [
            ("2026-03-04T05:06:07Z", true),
            ("2026-03-03T05:06:07Z", true),
            ("2026-03-03T05:06:06Z", false),
            ("2027-01-01T00:00:00Z", true),
        ] {
            assert_eq!(is_current(at.parse().expect("time"), now), is, "{at}");
        }
    }
}
