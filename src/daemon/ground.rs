//! The ground that the daemon stands on: whether the root's folders are there and belong together, and whether `incoming/`
//! is still the folder that is watched. Whoever takes a folder away, puts another or a link in its place, or mounts
//! something over it, is noticed at once where that is heard, else at the next event or rescan.
//!
//! Diagnostics: a root whose folders do not belong together stops everything but what already runs, an `incoming/` that is
//! no folder stops taking; both are told once, looked at every 2 s, and over when the folder is there again. A folder of the
//! spool that is gone is made again and told of: what matters of it is in the run folders. `incoming/` is not, since whoever
//! took it away may be about to put another one there.

use std::io::ErrorKind;
use std::path::Path;

use super::log::{DaemonLog, Fact};
use super::looks::Looks;
use super::{Daemon, Stop};
use crate::error::Exit;
use crate::logic::rescan::WITHOUT_EVENTS;
use crate::logic::words::plural;
use crate::os::lock::FileLock;
use crate::os::{clock, fsx};
use crate::spool::Identity;

/// What is known of the ground.
#[derive(Debug, Default)]
pub(super) struct Ground {
    /// `incoming/` as it is watched.
    incoming: Option<Identity>,
    /// Why nothing may be done.
    lost: Option<String>,
    /// Why nothing may be taken.
    shut: Option<String>,
    /// Whether something happened to it since it was last looked at.
    is_doubted: bool,
    /// Whether that may have put other folders, or another file system, in the place of what we listen to.
    has_moved: bool,
}

impl Ground {
    /// Takes in that something happened to a folder.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// Takes in that a folder above was moved or removed, or something was mounted or unmounted.
    pub(super) fn moved(&mut self) {
        (self.is_doubted, self.has_moved) = (true, true);
    }

    /// Whether it is to be looked at.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Whether the root is whole.
    pub(super) fn is_firm(&self) -> bool {
        self.lost.is_none()
    }

    /// Whether files may be taken.
    pub(super) fn is_open(&self) -> bool {
        self.lost.is_none() && self.shut.is_none()
    }
}

impl Daemon {
    /// Looks at the ground if something happened to it.
    pub(super) fn check_ground_if_doubted(&mut self) {
        if self.ground.is_doubted() {
            if std::mem::take(&mut self.ground.has_moved) {
                // Before the look, so that no move falls in between.
                self.hear_moves_anew();
            }
            self.check_ground();
        }
    }

    /// Looks at the ground.
    pub(super) fn check_ground(&mut self) {
        self.ground.is_doubted = false;
        let lost = self.find_loss();
        if self.ground.lost != lost {
            let was_lost = std::mem::replace(&mut self.ground.lost, lost.clone()).is_some();
            self.tell_of_ground(lost, "the root is whole again: going on", was_lost);
        }
        if self.ground.is_firm() {
            self.check_incoming();
        }
        if !self.ground.is_open() {
            self.next_rescan = self.next_rescan.min(clock::since_boot() + WITHOUT_EVENTS);
        }
    }

    fn tell_of_ground(&mut self, loss: Option<String>, over: &str, was_lost: bool) {
        match loss {
            Some(message) => self.record(&Fact::Trouble { message }),
            None if was_lost => {
                // What could not be taken meanwhile is looked at like anything new.
                self.looks = Looks::new(&self.desk.settings);
                self.intake.has_more = false;
                // The journal may have been lost with its folder.
                if let Ok(log) = DaemonLog::open(&self.desk.root) {
                    self.log = log;
                }
                self.watch_folders();
                self.next_rescan = clock::since_boot();
                self.looks.come_back(self.next_rescan);
                self.record(&Fact::Trouble { message: over.to_owned() });
            }
            None => {}
        }
    }

    /// Why nothing may be done; what may be made again is.
    fn find_loss(&mut self) -> Option<String> {
        let rest = "nothing is taken or started until it is there again";
        match crate::root::check(&self.desk.root) {
            Err(e) => return Some(format!("{e}; {rest}")),
            Ok(id) if id != self.root_id => {
                let root = self.desk.root.path().display();
                return Some(format!("{root} is gone, or another root than before; {rest}"));
            }
            Ok(_) => {}
        }
        for folder in self.desk.spool.own_folders() {
            match std::fs::symlink_metadata(&folder) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => {
                    let what = "is no folder; nothing is taken or started until it is one again";
                    return Some(format!("{} {what}", folder.display()));
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    if let Err(e) = self.make_again(&folder) {
                        return Some(format!("cannot make a folder again: {e}"));
                    }
                }
                Err(e) => return Some(format!("{}: {e}", folder.display())),
            }
        }
        match self.desk.keep_keys() {
            Ok((jobs, damaged)) => {
                self.tell_of_keys(jobs, &damaged);
                None
            }
            Err(e) => Some(format!("cannot make spool/keys again: {e}")),
        }
    }

    fn tell_of_keys(&mut self, jobs: usize, damaged: &[String]) {
        for why in damaged {
            let message = format!(
                "a copy of a removed job is passed over, and its key, if it had one, is free: {why}"
            );
            self.record(&Fact::Trouble { message });
        }
        if jobs > 0 {
            let jobs = plural(jobs, "job");
            let message = format!("spool/keys was gone; it is made again from {jobs}");
            self.record(&Fact::Trouble { message });
        }
    }

    fn make_again(&mut self, folder: &Path) -> std::io::Result<()> {
        fsx::make_kept_dirs(folder)?;
        let message =
            format!("{} was gone; it is made again, what lay there is not", folder.display());
        self.record(&Fact::Trouble { message });
        self.watch_folders();
        self.next_rescan = clock::since_boot();
        Ok(())
    }

    /// Whether `incoming/` is the folder that is watched; another one is watched from now on, and looked through.
    fn check_incoming(&mut self) {
        let (shut, seen) = match self.desk.spool.incoming_identity() {
            Ok(identity) => (None, Some(identity)),
            Err(e) => (Some(format!("{e}; nothing is taken until it is a folder again")), None),
        };
        let (was_shut, before) = (self.ground.shut.take(), self.ground.incoming);
        self.ground.shut.clone_from(&shut);
        self.ground.incoming = seen;
        let has_changed =
            seen.is_some() && (before.is_some() || was_shut.is_some()) && seen != before;
        if shut != was_shut || has_changed {
            self.looks = Looks::new(&self.desk.settings);
            self.intake.has_more = false;
        }
        if shut.is_some() && shut != was_shut {
            self.tell_of_ground(shut, "", false);
        } else if has_changed {
            let over = "spool/incoming is another folder than before: watched and looked through";
            self.tell_of_ground(None, over, true);
        }
    }

    /// Whether nobody else may lead. A lock that went with the whole root is no other one: the root may come back.
    pub(super) fn still_leads(&mut self, lock: &FileLock) -> bool {
        if self.ground.is_firm() && !lock.is_current() {
            // It may have gone since it was looked at, and be back by now.
            self.check_ground();
        }
        !self.ground.is_firm() || lock.is_current()
    }

    /// Ends since the lock is another file now: whoever holds that one leads, too.
    pub(super) fn yield_lead(&mut self, lock: &FileLock) -> Exit {
        let path = lock.path().display();
        let message =
            format!("{path} was removed or replaced: another daemon may lead, so this one ends");
        self.record(&Fact::Trouble { message });
        self.record(&Fact::DaemonStopped { reason: "its lock was replaced".to_owned() });
        Exit::Root
    }

    /// The end of a daemon that was to drain a spool whose ground is gone.
    pub(super) fn code_without_ground(&self) -> Option<Exit> {
        let is_stuck = self.options.once && self.stop == Stop::No && !self.ground.is_firm();
        is_stuck.then_some(Exit::Root)
    }
}
