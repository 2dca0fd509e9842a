//! Going on after a rest: what a worker before this one left of a task's attempt, and whether it still may be used.

use jiff::Timestamp;

use super::desk::Desk;
use crate::model::outcome::Failure;

/// Holds the account once more for refusals that a worker met as it died: it may not have come to telling the others.
pub(super) fn hold_again(desk: &Desk, refusals: Vec<(Failure, Timestamp)>) {
    let account = desk.asker.account();
    for (failure, at) in refusals {
        let known = desk.asker.holds.read(account.name()).ok().flatten();
        if known.is_none_or(|hold| hold.at < at) {
            account.refused(&desk.asker.holds, failure, at);
        }
    }
}
