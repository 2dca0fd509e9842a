//! When a daemon's work is over, and its exit code then.

use super::workers::Live;
use super::{Daemon, Stop};

/// Exit code when a job failed.
const JOB_FAILED: u8 = 1;
/// Exit code when only resting jobs are left, or those that the machine keeps from starting.
const ONLY_RESTING: u8 = 4;
/// Exit code when the root cannot be used any more.
pub(super) const ROOT_DAMAGED: u8 = 5;
/// Exit code when jobs rest since codex cannot be used.
const CODEX_UNUSABLE: u8 = 6;

impl Daemon {
    /// The exit code, once there is nothing left to do.
    pub(super) fn end_of_work(&self) -> Option<u8> {
        let works = self.jobs.values().any(Live::works);
        if let Some(code) = self.code_without_ground() {
            return Some(code);
        }
        match self.stop {
            Stop::Leave(signal) => Some(self.code_of(signal)),
            Stop::Workers(signal) if !works => Some(self.code_of(signal)),
            Stop::Workers(_) => None,
            Stop::No => {
                // What an unfit machine keeps from starting is waited for by whoever stays.
                let is_over = !works && (self.is_idle() || !self.is_fit());
                (self.options.once && is_over).then(|| self.code_once())
            }
        }
    }

    /// Whether nothing is to be looked at, taken or started.
    fn is_idle(&self) -> bool {
        !self.is_dirty
            && !self.has_more
            && self.unchecked.is_empty()
            && self.jobs.values().all(|live| live.retry_at().is_none())
            && self.looks.is_drained()
    }

    /// A daemon that is told to end has done its work; one that was to drain the spool has not.
    fn code_of(&self, signal: i32) -> u8 {
        if self.options.once { 128 + u8::try_from(signal).unwrap_or(0) } else { 0 }
    }

    fn code_once(&self) -> u8 {
        if !self.ground.is_open() {
            ROOT_DAMAGED
        } else if self.has_failed {
            JOB_FAILED
        } else if self.jobs.is_empty() && self.is_idle() {
            0
        } else if self.jobs.values().any(Live::lacks_codex) {
            CODEX_UNUSABLE
        } else {
            ONLY_RESTING
        }
    }
}
