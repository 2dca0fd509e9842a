//! Floor 2b: owner of `spool/`. The folder that a job file lies in is the job's coarse state; a transition is one
//! rename that replaces nothing. Nobody else makes, moves or reads a file there.
//!
//! Diagnostics: files of other forms in our folders are left alone and not listed.

mod across;
mod entry;
mod keys;
mod lead;
mod overview;
mod rejected;
mod replacing;

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::across::{hold, is_across};
use self::entry::job_of;
pub use self::entry::{Content, Format, Kind, Place, Stamp, may_be_taken};
pub use self::lead::Notice;
pub use self::replacing::CutOff;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::os::fsx::{self, Flushing};
use crate::os::{lock, random};

/// How long what somebody wrote in an editor outlives the job that it was of.
const EDITS_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Which folder a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// A file that is a job's by its name, which may still be on its way to the disk.
#[derive(Debug)]
pub struct Taking {
    /// Where it lies now.
    pub path: PathBuf,
    /// The folders that it came from and went to: until they are flushed a power cut may put it back.
    pub flushing: Flushing,
}

impl Taking {
    /// One that has its name for good.
    pub fn flushed(path: PathBuf) -> Self {
        Self { path, flushing: Flushing::done() }
    }
}

/// `spool/` of a root.
#[derive(Debug, Clone)]
pub struct Spool {
    root: Root,
    dir: PathBuf,
}

impl Spool {
    /// Names the spool of a root.
    pub fn of(root: &Root) -> Self {
        Self { root: root.clone(), dir: root.spool() }
    }

    /// The root that it belongs to.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Makes what is missing of its folders, durably. Only `incoming/` may be opened to others, by the operator. That of the
    /// keys is never made empty: see [`Spool::fill_keys`].
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn create(&self) -> Result<()> {
        let of_jobs = Place::OF_JOBS.map(|place| self.folder(place));
        let others = [self.folder(Place::Rejected), self.tmp()];
        of_jobs.iter().chain(&others).try_for_each(|dir| fsx::make_kept_dirs(dir))
    }

    /// One of its folders.
    pub fn folder(&self, place: Place) -> PathBuf {
        self.dir.join(place.as_str())
    }

    fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// The folders that hold nothing which the run folders do not tell, too, but for that of the keys.
    pub fn own_folders(&self) -> Vec<PathBuf> {
        let places = [Place::Claimed, Place::Done, Place::Failed, Place::Killed, Place::Rejected];
        let of_jobs = places.into_iter().map(|place| self.folder(place));
        of_jobs.chain([self.tmp()]).collect()
    }

    /// `spool/` itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file whose replacement wakes the daemon; it lies in [`Spool::wake_folder`].
    pub fn wake_file(&self) -> PathBuf {
        self.wake_folder().join("wake")
    }

    /// The folder that the daemon watches for wake-ups.
    pub fn wake_folder(&self) -> PathBuf {
        self.tmp()
    }

    /// Tells the daemon, if there is one, that something changed which no watched folder shows.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn wake(&self) -> Result<()> {
        fsx::replace_derived(&self.wake_file(), b"")
    }

    /// Drops a job: whole, flushed and named `<job>.json`, or not at all. Where `incoming/` is a mount of its own it is
    /// written there, under a name that is never taken.
    ///
    /// # Errors
    /// `AlreadyExists` if a file of that name waits already; otherwise those of the system.
    pub fn submit(&self, job: &JobId, json: &[u8]) -> Result<()> {
        let temp = self.tmp().join(format!(".{}.tmp", random::base32(16)?));
        fsx::put_unflushed_name(&temp, json)?;
        let target = self.folder(Place::Incoming).join(format!("{job}.json"));
        let moved = fsx::publish(&temp, &target).inspect_err(|_| drop(fsx::remove(&temp)));
        match moved {
            Err(e) if is_across(&e) => fsx::put_new(&target, json),
            moved => moved,
        }
    }

    /// The names in `incoming/` that are not marked as unfinished, as the folder is read.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn incoming(&self) -> Result<impl Iterator<Item = OsString> + use<>> {
        let dir = self.folder(Place::Incoming);
        let entries = std::fs::read_dir(&dir).map_err(fsx::at(&dir))?;
        Ok(entries.filter_map(|e| e.ok().map(|e| e.file_name())).filter(|n| may_be_taken(n)))
    }

    /// Whether nothing is in it that is a job which has not ended, or that may become one.
    pub fn is_drained(&self) -> bool {
        let none_is_claimed = || self.jobs_in(Place::Claimed).is_ok_and(|jobs| jobs.is_empty());
        // Such as what may not be moved: it was looked at, and left where it is.
        let none_waits = || self.incoming().is_ok_and(|mut names| names.next().is_none());
        none_is_claimed() && none_waits()
    }

    /// Looks at one entry of `incoming/` without opening it; `None` if it is gone.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn look(&self, name: &OsStr) -> Result<Option<Stamp>> {
        self.look_at(&self.folder(Place::Incoming).join(name))
    }

    /// As [`Spool::look`], in any of its folders.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn look_at(&self, path: &Path) -> Result<Option<Stamp>> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(Stamp::of(&meta))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(fsx::at(path)(e)),
        }
    }

    /// Whether someone holds a lock on a regular file in `incoming/`; one that cannot be opened is held by nobody.
    pub fn is_locked(&self, name: &OsStr) -> bool {
        lock::is_held(&self.folder(Place::Incoming).join(name)).unwrap_or(false)
    }

    /// Makes a file of `incoming/` this job's: from here on it is `claimed/<job>.<ending>`, or still in `incoming/` where
    /// that is a mount of its own, to be brought over by [`Spool::bring`].
    ///
    /// # Errors
    /// `NotFound` if it is gone, `AlreadyExists` if that job has a file; otherwise those of the system.
    pub fn take(&self, name: &OsStr, job: &JobId, format: Format) -> Result<Taking> {
        let (from, to) = (self.folder(Place::Incoming).join(name), self.claimed_path(job, format));
        match fsx::begin_move(&from, &to) {
            Err(e) if is_across(&e) => hold(&from, job, format).map(Taking::flushed),
            moved => moved.map(|flushing| Taking { path: to, flushing }),
        }
    }

    fn claimed_path(&self, job: &JobId, format: Format) -> PathBuf {
        self.folder(Place::Claimed).join(format!("{job}.{}", format.ending()))
    }

    /// Reads a file that someone else wrote, at most `limit` bytes of it, without following or waiting for anything.
    ///
    /// # Errors
    /// Those of the system that are not about the file itself.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Content> {
        let file = match fsx::open_hostile(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                return Ok(Content::Unreadable(owner_and_mode(path)));
            }
            Err(e) if !is_regular(path) && e.kind() != ErrorKind::NotFound => {
                return Ok(Content::NotRegular);
            }
            Err(e) => return Err(e),
        };
        let meta = file.metadata().map_err(fsx::at(path))?;
        if !meta.is_file() {
            return Ok(Content::NotRegular);
        }
        if meta.len() > limit {
            return Ok(Content::TooLarge(meta.len()));
        }
        let linked = meta.nlink() > 1;
        Ok(match fsx::read_at_most(file, path, limit)? {
            Some(bytes) => Content::Whole { bytes, uid: meta.uid(), linked },
            None => Content::TooLarge(limit + 1),
        })
    }

    /// The jobs whose files lie in `claimed/`, each with the owner of its file: a file keeps that wherever it is moved, but
    /// not where it is copied.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn owners_of_claimed(&self) -> Result<Vec<(JobId, u32)>> {
        let claimed = self.folder(Place::Claimed);
        let owner = |name: &str| Some(claimed.join(name).symlink_metadata().ok()?.uid());
        let files = self.jobs_in(Place::Claimed)?.into_iter();
        Ok(files.filter_map(|(job, name)| Some((job, owner(&name)?))).collect())
    }

    /// Moves a job's file to where it belongs in `phase`; one that lies there already stays, and one that is nowhere
    /// is left so.
    ///
    /// # Errors
    /// `AlreadyExists` if another file has the name there; otherwise those of the system.
    pub fn end(&self, job: &JobId, phase: JobPhase) -> Result<()> {
        let to = Place::at_end(phase);
        for place in [Place::Claimed, Place::Killed, Place::Failed, Place::Done] {
            if let Some(path) = self.file_of(place, job).filter(|_| place != to) {
                let name = path.file_name().unwrap_or_default();
                return fsx::move_to(&path, &self.folder(to).join(name));
            }
        }
        Ok(())
    }

    /// Has a daemon hear at once that a job has ended, by its file where it was claimed: what is left to do needs no lane. Best effort:
    /// it hears of the move, too.
    pub fn tell_ended(&self, job: &JobId) {
        let _heard_later = self.file_of(Place::Claimed, job).map(|path| fsx::nudge(&path));
    }

    /// Where a job's file lies; `incoming/` only finds names that are the id and one of our endings.
    pub fn find(&self, job: &JobId) -> Option<(Place, PathBuf)> {
        Place::OF_JOBS.into_iter().find_map(|place| Some((place, self.file_of(place, job)?)))
    }

    /// A job's file in the folders for jobs that were taken.
    pub fn taken(&self, job: &JobId) -> Option<PathBuf> {
        let places = [Place::Claimed, Place::Done, Place::Failed, Place::Killed];
        places.into_iter().find_map(|place| self.file_of(place, job))
    }

    /// Whether a job's file lies in a folder.
    pub fn has(&self, place: Place, job: &JobId) -> bool {
        self.file_of(place, job).is_some()
    }

    /// Whether a job's file lies in one of the folders for jobs that were taken, or is being taken.
    pub fn has_taken(&self, job: &JobId) -> bool {
        self.taken(job).is_some() || self.held(job).is_some()
    }

    /// A job's file in one folder.
    pub fn file_of(&self, place: Place, job: &JobId) -> Option<PathBuf> {
        let dir = self.folder(place);
        let paths = Format::ALL.map(|f| dir.join(format!("{job}.{}", f.ending())));
        paths.into_iter().find(|p| std::fs::symlink_metadata(p).is_ok())
    }

    /// The jobs whose files lie in a folder, with the files' names, unsorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn jobs_in(&self, place: Place) -> Result<Vec<(JobId, String)>> {
        let names = fsx::list(&self.folder(place))?;
        Ok(names.into_iter().filter_map(|n| Some((job_of(&n)?, n))).collect())
    }

    /// Writes a claimed file that vanished again, from what the run folder holds.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one; otherwise those of the system.
    pub fn restore(&self, file: &str, bytes: &[u8]) -> Result<()> {
        fsx::put_new(&self.folder(Place::Claimed).join(file), bytes)
    }

    /// Clears away what unfinished writes left in our own folders longer than `age` ago, and what edits left and nobody needs, never in `incoming/`: others may just be
    /// writing there.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn clear_temps(&self, age: Duration) -> Result<()> {
        let places = [Place::Claimed, Place::Done, Place::Failed, Place::Killed, Place::Rejected];
        let of_spool =
            [self.tmp(), self.dir.clone(), self.keys(), self.root.runs(), self.root.store()];
        let folders = of_spool.into_iter().chain(places.map(|place| self.folder(place)));
        folders.into_iter().try_for_each(|dir| fsx::clear_old_temps(&dir, age))?;
        self.clear_edits(EDITS_AGE)?;
        self.clear_filled(age)
    }
}

fn is_regular(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| m.is_file())
}

fn owner_and_mode(path: &Path) -> String {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => format!("owner {}, mode {:04o}", meta.uid(), meta.mode() & 0o7777),
        Err(_) => "owner unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use jiff::Timestamp;

    use super::entry::MAX_REJECTED_NAME_BYTES;
    use super::entry::numbered;
    use super::*;
    use crate::model::rejection::{Code, Reason, Rejection};

    fn spool() -> (tempfile::TempDir, Spool) {
        let d = tempfile::tempdir().expect("scratch");
        let spool = Spool::of(&Root::new(d.path()));
        spool.create().expect("folders");
        (d, spool)
    }

    fn id(text: &str) -> JobId {
        JobId::parse(text).expect("id")
    }

    fn reason() -> Reason {
        Reason::new(Code::Empty, "it is\nempty", "write something")
    }

    #[test]
    fn a_job_goes_from_folder_to_folder() {
        let (_d, spool) = spool();
        let job = id("fix-abc234");
        spool.submit(&job, b"{}").expect("submit");
        assert_eq!(spool.find(&job).expect("found").0, Place::Incoming);
        let again = spool.submit(&job, b"{}");
        assert_eq!(again.map_err(|e| e.kind()), Err(ErrorKind::AlreadyExists));
        assert!(fsx::list(&spool.tmp()).expect("tmp").is_empty(), "nothing stays in tmp");
        let name = OsStr::new("fix-abc234.json");
        spool.take(name, &job, Format::of(name)).expect("take");
        assert_eq!(spool.jobs_in(Place::Claimed).expect("list").len(), 1);
        spool.end(&job, JobPhase::Failed).expect("end");
        assert_eq!(spool.find(&job).expect("found").0, Place::Failed);
        spool.end(&job, JobPhase::Failed).expect("ending twice is ending once");
        let gone = spool.take(name, &job, Format::Json);
        assert_eq!(gone.map(|taking| taking.path).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    }

    #[test]
    fn names_of_unfinished_files_are_not_offered() {
        let (_d, spool) = spool();
        for name in [".a.md", "b.tmp", "c.part", "d.swp", "e.crdownload", "f~", "g.md", "-rf"] {
            fsx::put_new(&spool.folder(Place::Incoming).join(name), b"x").expect("drop");
        }
        let mut names: Vec<_> = spool.incoming().expect("scan").collect();
        names.sort();
        assert_eq!(names, ["-rf", "g.md"]);
    }

    #[test]
    fn a_rejected_file_replaces_nothing_and_has_its_reason_beside_it() {
        let (_d, spool) = spool();
        let from = spool.folder(Place::Incoming).join("a.md");
        for expected in ["a.md", "a.md-2", "a.md-3"] {
            fsx::put_new(&from, expected.as_bytes()).expect("drop");
            let name = spool
                .reject(&from, OsStr::new("a.md"), &reason(), Timestamp::UNIX_EPOCH)
                .expect("reject");
            assert_eq!(name, expected);
            let kept = fsx::read_optional(&spool.folder(Place::Rejected).join(expected));
            assert_eq!(kept.expect("read").as_deref(), Some(expected));
        }
        let beside = spool.folder(Place::Rejected).join("a.md-2.reason.json");
        let text = fsx::read_optional(&beside).expect("read").expect("there");
        let read: Rejection = serde_json::from_str(&text).expect("json");
        assert_eq!((read.code, read.message.as_str()), (Code::Empty, "it is empty"));
        assert_eq!(read.original_name, "a.md");
    }

    #[test]
    fn a_long_or_undecodable_name_is_cut_and_kept_apart() {
        let (_d, spool) = spool();
        let long = "ä".repeat(127);
        for name in [OsStr::new(&long), OsStr::from_bytes(b"\xff\xfe")] {
            let from = spool.folder(Place::Incoming).join(name);
            fsx::put_new(&from, b"x").expect("drop");
            let put = spool.reject(&from, name, &reason(), Timestamp::UNIX_EPOCH).expect("reject");
            assert!(put.len() <= MAX_REJECTED_NAME_BYTES, "{put:?}");
        }
        assert_eq!(numbered(OsStr::new(&long), 1).len(), 200);
        let odd = format!("x{long}");
        assert!(numbered(OsStr::new(&odd), 12).into_string().is_ok(), "cut between characters");
    }

    #[test]
    fn only_one_daemon_leads() {
        let (_d, spool) = spool();
        let lead = spool.try_lead().expect("try").expect("free");
        assert!(spool.try_lead().expect("try").is_none());
        drop(lead);
        assert!(spool.try_lead().expect("try").is_some());
    }
}
