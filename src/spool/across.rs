//! Where `incoming/` is a mount of its own, nothing can be renamed out of it. A file is then renamed within it first, so
//! that nobody else takes it; copied, whole and flushed; and only then removed.
//!
//! | name in `incoming/` | is |
//! |---|---|
//! | `.claim-JOB.ENDING` | a file that is being taken: copied to `claimed/` next, and removed |
//! | `.rejected-NAME` | what was rejected and is not copied: no file, too large, or not to be read |
//! | `.withdrawn-NAME` | a file that `kill` withdrew, until it is copied to `killed/` |
//!
//! Diagnostics: a copy that cannot be made leaves the file under its new name; taking it is tried again.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::entry::{Content, Format, Place};
use super::{Identity, Spool, job_of};
use crate::model::id::JobId;
use crate::os::{env, fsx, mount};

/// How a file that is being taken is called.
const CLAIM: &str = ".claim-";
/// How what was rejected is called where it stays.
const REJECTED: &str = ".rejected-";
/// How a withdrawn file is called until it is copied.
const WITHDRAWN: &str = ".withdrawn-";
/// Largest withdrawn file that is copied; a larger one stays as it is.
const MAX_WITHDRAWN_BYTES: u64 = 16 * 1024 * 1024;

/// Whether a rename failed since the two folders are two mounts.
pub(super) fn is_across(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::CrossesDevices
}

/// Makes a file of `incoming/` ours within it.
pub(super) fn hold(from: &Path, job: &JobId, format: Format) -> Result<PathBuf> {
    let held = from.with_file_name(format!("{CLAIM}{job}.{}", format.ending()));
    fsx::move_to(from, &held)?;
    Ok(held)
}

impl Spool {
    /// Which folder `incoming/` is at this moment. Nothing is taken through a link: whoever can set one could make any
    /// folder's files jobs.
    ///
    /// # Errors
    /// When it is gone or no folder.
    pub fn incoming_identity(&self) -> Result<Identity> {
        let path = self.folder(Place::Incoming);
        let meta = std::fs::symlink_metadata(&path).map_err(fsx::at(&path))?;
        if meta.is_dir() {
            return Ok(Identity { device: meta.dev(), inode: meta.ino() });
        }
        let what = if meta.is_symlink() { "it is a link" } else { "it is no folder" };
        Err(fsx::at(&path)(Error::new(ErrorKind::NotADirectory, what)))
    }

    /// Whether `incoming/` is a mount of its own, from which files are copied, or may be one.
    pub fn is_copied_from(&self) -> bool {
        let mount = |place| mount::id(&self.folder(place));
        let both = mount(Place::Incoming).zip(mount(Place::Claimed));
        both.is_none_or(|(incoming, claimed)| incoming != claimed)
    }

    /// The file in `incoming/` that is being taken as this job. Where files are not copied, nothing of that name is ours:
    /// whoever drops files may have made it.
    pub fn held(&self, job: &JobId) -> Option<PathBuf> {
        let dir = self.folder(Place::Incoming);
        let paths = Format::ALL.map(|f| dir.join(format!("{CLAIM}{job}.{}", f.ending())));
        let is_file = |p: &PathBuf| std::fs::symlink_metadata(p).is_ok_and(|meta| meta.is_file());
        paths.into_iter().find(is_file).filter(|_| self.is_copied_from())
    }

    /// Reads a file that was taken, and brings it over to `claimed/` if it is still in `incoming/`: the answer is where it
    /// lies now. What is no readable file within the limit stays where it is, and so does what is not to be copied: a copy
    /// is ours, whoever the file belongs to.
    ///
    /// # Errors
    /// `AlreadyExists` if the job has a file in `claimed/`; otherwise those of the system.
    pub fn bring(
        &self,
        path: &Path,
        limit: u64,
        may_be_copied: impl Fn(u32, bool) -> bool,
    ) -> Result<(PathBuf, Content)> {
        let content = self.read(path, limit)?;
        match (self.target_of(path), &content) {
            (Some(target), Content::Whole { bytes, uid, linked })
                if may_be_copied(*uid, *linked) =>
            {
                fsx::put_new(&target, bytes)?;
                self.remove_held(path)?;
                Ok((target, content))
            }
            _ => Ok((path.to_owned(), content)),
        }
    }

    /// Makes durable what lies in `claimed/`.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn flush_claimed(&self) -> Result<()> {
        fsx::sync_dir(&self.folder(Place::Claimed))
    }

    /// Removes a file in `incoming/` that was brought over; one that was changed since is not what was brought over, and
    /// stays. The answer is whether it is gone.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn drop_held(&self, held: &Path, copy: &Path, limit: u64) -> Result<bool> {
        let is_same = match (self.read(held, limit)?, self.read(copy, limit)?) {
            (Content::Whole { bytes: a, .. }, Content::Whole { bytes: b, .. }) => a == b,
            _ => false,
        };
        if is_same {
            self.remove_held(held)?;
        }
        Ok(is_same)
    }

    fn remove_held(&self, held: &Path) -> Result<()> {
        fsx::remove(held)?;
        fsx::sync_dir(&self.folder(Place::Incoming))
    }

    /// Where a file that is being taken belongs; `None` if it is none.
    fn target_of(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name()?.to_str()?.strip_prefix(CLAIM)?;
        job_of(name).map(|_| self.folder(Place::Claimed).join(name))
    }

    /// The name under which something rejected stays in `incoming/`.
    pub(super) fn kept_in_incoming(&self, name: &OsStr) -> PathBuf {
        self.folder(Place::Incoming).join(marked(REJECTED, name))
    }

    /// Moves a file that nobody has taken yet from `incoming/` to `killed/`, as the file of this job.
    ///
    /// # Errors
    /// `NotFound` if someone took it, `AlreadyExists` if the job has a file in `killed/`; otherwise those of the system.
    pub fn withdraw(&self, file: &Path, job: &JobId) -> Result<()> {
        let format = Format::of(file.file_name().unwrap_or_default());
        let name = OsString::from(format!("{job}.{}", format.ending()));
        let target = self.folder(Place::Killed).join(&name);
        match fsx::move_to(file, &target) {
            Err(e) if is_across(&e) => {}
            moved => return moved,
        }
        if std::fs::symlink_metadata(&target).is_ok() {
            return Err(fsx::at(&target)(ErrorKind::AlreadyExists.into()));
        }
        let held = file.with_file_name(marked(WITHDRAWN, &name));
        fsx::move_to(file, &held)?;
        self.bring_withdrawn(&held, &target)
    }

    /// Brings to `killed/` what was withdrawn by somebody who died over it.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn finish_withdrawn(&self) -> Result<()> {
        let incoming = self.folder(Place::Incoming);
        for name in fsx::list_os(&incoming)? {
            if let Some(of) = name.as_bytes().strip_prefix(WITHDRAWN.as_bytes()) {
                let target = self.folder(Place::Killed).join(OsStr::from_bytes(of));
                self.bring_withdrawn(&incoming.join(&name), &target)?;
            }
        }
        Ok(())
    }

    /// Copies a withdrawn file, and removes it. What is not to be copied stays, and so does what is not what lies there.
    fn bring_withdrawn(&self, held: &Path, target: &Path) -> Result<()> {
        let content = self.read(held, MAX_WITHDRAWN_BYTES)?;
        let Some(bytes) = content.ours() else { return Ok(()) };
        match fsx::put_new(target, bytes) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                self.drop_held(held, target, MAX_WITHDRAWN_BYTES).map(drop)
            }
            put => put.and_then(|()| self.remove_held(held)),
        }
    }
}

impl Content {
    /// The bytes, if they may be copied: another user's file by a further name may not, since the copy would be readable
    /// to whom the file is not.
    fn ours(&self) -> Option<&[u8]> {
        match self {
            Self::Whole { linked: true, uid, .. } if *uid != env::own_uid() => None,
            Self::Whole { bytes, .. } => Some(bytes),
            Self::TooLarge(_) | Self::NotRegular | Self::Unreadable(_) => None,
        }
    }
}

fn marked(mark: &str, name: &OsStr) -> OsString {
    let mut out = OsString::from(mark);
    out.push(name);
    out
}
