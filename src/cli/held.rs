//! Accounts of codex that are held, in words: which one, what codex said, and what to do.

use jiff::{Timestamp, Unit};

use crate::model::root::Root;
use crate::model::status::PauseReason;
use crate::os::clock;
use crate::os::console::one_line;
use crate::store::holds::{Hold, Holds};

/// One held account, for who can do something about it.
pub(super) fn held(
    account: &str,
    reason: PauseReason,
    until: Option<Timestamp>,
    message: &str,
) -> String {
    let message = message.trim().trim_end_matches('.');
    match (reason, until) {
        (PauseReason::Limit, Some(until)) => {
            let until = until.round(Unit::Second).unwrap_or(until);
            format!(
                "codex is over its limit ({account}): {message}. Its jobs wait until {until}; \
                 `numerus start JOB` tries at once"
            )
        }
        (_, Some(until)) => format!("codex is held ({account}) until {until}: {message}"),
        (_, None) => format!(
            "codex cannot be used ({account}): {message}. Its jobs wait: log in with `codex login`. A daemon goes on by \
             itself then; without one, `numerus start JOB`"
        ),
    }
}

/// A line for each account that is held now.
pub(super) fn lines(root: &Root) -> Vec<String> {
    let now = clock::now();
    // A store that is not there, or cannot be read, is no reason to show nothing else.
    let all =
        root.store().join("holds").is_dir().then(|| Holds::open(&root.store()).ok()).flatten();
    let all = all.and_then(|holds| holds.all().ok()).unwrap_or_default();
    let active = all.into_iter().filter(|hold| hold.is_active(now));
    let line = |hold: Hold| {
        one_line(&held(&hold.account, hold.kind.pauses_for(), hold.until, &hold.message))
    };
    active.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_which_account_what_codex_said_and_what_to_do() {
        let auth = held("/h provider=p", PauseReason::Auth, None, "401 Unauthorized.\n");
        for piece in ["/h provider=p", "401 Unauthorized. ", "`codex login`", "`numerus start JOB`"]
        {
            assert!(auth.contains(piece), "{auth}");
        }
        let limit = held("/h", PauseReason::Limit, Some(Timestamp::UNIX_EPOCH), "limit");
        assert!(limit.contains("wait until 1970-01-01T00:00:00Z; `numerus start JOB`"), "{limit}");
    }
}
