//! The reasons for not taking a file that only whoever touches it can know: what it is, and whose.

use std::ffi::OsStr;
use std::io::Result;

use super::take::{Desk, stem};
use crate::logic::words::plural;
use crate::model::id::JobId;
use crate::model::rejection::{Code, Reason};
use crate::os::env;
use crate::os::mount::Rights;
use crate::spool::{Kind, Place, Stamp};

impl Desk {
    /// What can be refused without opening the file.
    pub(super) fn refuse_unread(&self, name: &OsStr, stamp: Stamp) -> Option<Reason> {
        if stamp.kind != Kind::Regular {
            return Some(not_regular(stamp.kind));
        }
        let job = JobId::from_stem(&stem(name))?;
        let is_open = self.runs.folder(&job).read_job().ok()?.is_some()
            && !self.runs.folder(&job).read_status().is_some_and(|s| s.state.is_final());
        is_open.then(|| duplicate(&format!("job {job} is not finished"), &job))
    }

    /// The users whose files are taken.
    fn droppers(&self) -> Vec<u32> {
        let incoming = Rights::of(&self.spool.folder(Place::Incoming));
        let own = env::own_uid();
        self.settings.droppers(own, incoming.map_or(own, |rights| rights.uid))
    }

    /// Why a file's owner, if that is somebody else, may not have one more job now.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn has_no_room(&self, stamp: Stamp) -> Result<Option<String>> {
        let most = self.settings.max_open_per_user;
        if is_ours(stamp.uid) || self.count_open_of(stamp.uid)? < most {
            return Ok(None);
        }
        let (uid, wait) = (stamp.uid, "it is taken after some have");
        Ok(Some(format!("user {uid} has {} that have not ended; {wait}", plural(most, "job"))))
    }

    /// How many jobs that have not ended somebody dropped: what was moved is still theirs, of a copy the record tells.
    fn count_open_of(&self, uid: u32) -> Result<usize> {
        let is_copied = self.spool.is_copied_from();
        let origin = |job: &JobId| Some(self.runs.folder(job).read_job().ok()??.origin.uid);
        let is_theirs = |(job, owner): &(JobId, u32)| {
            *owner == uid || (is_copied && is_ours(*owner) && origin(job) == Some(uid))
        };
        Ok(self.spool.owners_of_claimed()?.iter().filter(|file| is_theirs(file)).count())
    }

    /// Why a file of this owner is not taken; `linked` is one that may have other names.
    pub(super) fn refuse_owner(&self, uid: u32, linked: bool) -> Option<Reason> {
        let users = self.droppers();
        let is_shared = users.iter().any(|user| *user != 0 && !is_ours(*user));
        if !users.contains(&uid) {
            return Some(foreign_owner(uid));
        }
        (linked && (!is_ours(uid) || is_shared)).then(|| foreign_link(uid))
    }
}

fn is_ours(uid: u32) -> bool {
    env::own_uid() == uid
}

/// It is no file.
pub(super) fn not_regular(kind: Kind) -> Reason {
    let what = match kind {
        Kind::Folder => "a folder",
        Kind::Link => "a symbolic link",
        Kind::Special | Kind::Regular => "a FIFO, socket or device",
    };
    Reason::new(
        Code::NotRegular,
        format!("it is {what}, not a regular file"),
        "drop the objective itself, as a file",
    )
}

/// Its owner is nobody whose jobs are run here.
fn foreign_owner(uid: u32) -> Reason {
    Reason::new(
        Code::Owner,
        format!("it belongs to user {uid}, whose files are not taken here"),
        "the operator may name that user in `allowed_uids` in numerus.toml",
    )
}

/// It is a link to what belongs to someone else: reading it might tell what its owner keeps.
fn foreign_link(uid: u32) -> Reason {
    Reason::new(
        Code::Owner,
        format!("it is a further name of a file that belongs to user {uid}"),
        "copy the file instead of linking it",
    )
}

/// We have no right to read it.
pub(super) fn unreadable(why: &str) -> Reason {
    Reason::new(
        Code::Unreadable,
        format!("it may not be read ({why})"),
        "give the daemon's user the right to read it and drop it again",
    )
}

/// It, or its key, is there already.
pub(super) fn duplicate(message: &str, first: &JobId) -> Reason {
    Reason::new(Code::Duplicate, message, format!("`numerus status {first}` shows the first one"))
}
