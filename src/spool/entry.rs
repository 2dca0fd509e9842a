//! What lies in the spool: its folders, the names and kinds of files in them.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::id::JobId;
use crate::model::status::JobPhase;

/// Longest name that a rejected file keeps, in bytes: `.reason.json` must still fit behind it.
pub(super) const MAX_REJECTED_NAME_BYTES: usize = 200;
/// Endings that writers use while a file is not whole.
const UNFINISHED: [&[u8]; 5] = [b".tmp", b".part", b".swp", b".crdownload", b"~"];

/// A folder of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Dropped, not taken yet.
    Incoming,
    /// Taken; whether it waits or runs is in its `status.json`.
    Claimed,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
    /// Ended by someone.
    Killed,
    /// Never accepted.
    Rejected,
}

impl Place {
    /// The folders that a job file passes through, in that order.
    pub(super) const OF_JOBS: [Self; 5] =
        [Self::Incoming, Self::Claimed, Self::Done, Self::Failed, Self::Killed];

    /// The folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Claimed => "claimed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Rejected => "rejected",
        }
    }

    /// Where the file of a job that has ended lies; one that has not lies in `claimed`.
    pub fn at_end(phase: JobPhase) -> Self {
        match phase {
            JobPhase::Succeeded => Self::Done,
            JobPhase::Failed => Self::Failed,
            JobPhase::Killed => Self::Killed,
            JobPhase::Queued | JobPhase::Planning | JobPhase::Running | JobPhase::Paused => {
                Self::Claimed
            }
        }
    }
}

/// How a job file is read, told by its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.md`: front matter, then the objective.
    Markdown,
    /// `.json`: an object.
    Json,
    /// Anything else: the objective alone.
    Text,
}

impl Format {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Json, Self::Markdown, Self::Text];

    /// The format that a name tells.
    pub fn of(name: &OsStr) -> Self {
        match Path::new(name).extension().map(OsStrExt::as_bytes) {
            Some(b"md") => Self::Markdown,
            Some(b"json") => Self::Json,
            _ => Self::Text,
        }
    }

    /// The ending that an accepted file gets.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Text => "txt",
        }
    }
}

/// What kind of thing lies in `incoming/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO, socket or device.
    Special,
}

/// What one look at an entry shows; two equal looks mean that it stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// The file system that it lies on.
    pub device: u64,
    /// Its number on the file system.
    pub inode: u64,
    /// When its content changed last: seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    /// When anything of it changed last, renames included.
    pub ctime: (i64, i64),
}

impl Stamp {
    /// What the system says of it.
    pub(super) fn of(meta: &Metadata) -> Self {
        let kind = match meta.file_type() {
            t if t.is_file() => Kind::Regular,
            t if t.is_dir() => Kind::Folder,
            t if t.is_symlink() => Kind::Link,
            _ => Kind::Special,
        };
        Self {
            kind,
            uid: meta.uid(),
            bytes: meta.len(),
            device: meta.dev(),
            inode: meta.ino(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Stamp {
    /// Whether two looks at one name show the same file with the same content: not another one that was renamed over it, and
    /// nothing written into it. Its owner, its mode and its other names may have changed.
    pub fn is_unchanged_from(&self, before: &Self) -> bool {
        let content = |s: &Self| (s.kind, s.device, s.inode, s.bytes, s.mtime);
        content(self) == content(before)
    }
}

/// A claimed file's content.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Whole {
        /// The bytes.
        bytes: Vec<u8>,
        /// The file's owner.
        uid: u32,
        /// Whether other names for the file may exist.
        linked: bool,
    },
    /// It has more bytes than the limit.
    TooLarge(u64),
    /// It is no regular file.
    NotRegular,
    /// The system does not let us read it.
    Unreadable(String),
}

/// Whether a name in `incoming/` is one that writers use for whole files.
pub fn may_be_taken(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.starts_with(b".") && !UNFINISHED.iter().any(|ending| name.ends_with(ending))
}

/// The job that a file's name tells, if it is one of our names.
pub(super) fn job_of(name: &str) -> Option<JobId> {
    let (stem, ending) = name.rsplit_once('.')?;
    Format::ALL.iter().any(|f| f.ending() == ending).then(|| JobId::parse(stem).ok())?
}

/// A rejected file's name: its own if it is short and first, else cut and numbered.
pub(super) fn numbered(name: &OsStr, number: u32) -> OsString {
    let bytes = name.as_bytes();
    if number == 1 && bytes.len() <= MAX_REJECTED_NAME_BYTES {
        return name.to_owned();
    }
    let tail = format!("-{number}");
    let mut cut = bytes.get(..MAX_REJECTED_NAME_BYTES - tail.len()).unwrap_or(bytes);
    // A name in UTF-8 stays so: never cut within a character.
    if let Err(e) = std::str::from_utf8(cut)
        && e.error_len().is_none()
    {
        cut = &cut[..e.valid_up_to()];
    }
    let mut out = OsStr::from_bytes(cut).to_owned();
    out.push(tail);
    out
}
