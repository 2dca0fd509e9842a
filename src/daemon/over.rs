//! When a daemon's work is over, and how it ends then.

use super::workers::Live;
use super::{Daemon, Stop};
use crate::error::Exit;

impl Daemon {
    /// How it ends, once there is nothing left to do.
    pub(super) fn end_of_work(&self) -> Option<Exit> {
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
            && !self.intake.is_behind()
            && self.unchecked.is_empty()
            && self.jobs.values().all(|live| live.retry_at().is_none())
            && self.looks.is_drained()
    }

    /// A daemon that is told to end has done its work; one that was to drain the spool has not.
    fn code_of(&self, signal: i32) -> Exit {
        if self.options.once { Exit::Signal(u8::try_from(signal).unwrap_or(0)) } else { Exit::Done }
    }

    /// Whether no accepted job is left, not even one that cannot be looked after, and no file that could become one.
    fn has_finished_all(&self) -> bool {
        self.jobs.is_empty() && self.is_idle() && self.desk.spool.is_drained()
    }

    fn code_once(&self) -> Exit {
        if !self.ground.is_open() {
            Exit::Root
        } else if self.has_failed {
            Exit::JobFailed
        } else if self.has_finished_all() {
            if self.has_rejected { Exit::Usage } else { Exit::Done }
        } else if self.jobs.values().any(Live::lacks_codex) {
            Exit::Codex
        } else {
            Exit::Blocked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::rounds::tests::daemon;
    use crate::os::fsx;
    use crate::spool::Place;

    #[test]
    fn once_has_not_done_all_while_a_file_is_left_where_it_is() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        daemon.go_round();
        daemon.check_marked();
        daemon.schedule();
        assert_eq!(daemon.code_once(), Exit::Done);
        let file = daemon.desk.spool.folder(Place::Incoming).join("x.md");
        fsx::put_new(&file, b"x").expect("drop");
        assert!(daemon.looks.is_drained());
        assert_eq!(daemon.code_once(), Exit::Blocked);
    }
}
