//! The one door to `flock` (fs2). A lock lives exactly as long as the process that holds it: held means alive.
//!
//! Lock order: *spool → run → overview → store → leases*, never two of a kind at once. Lock files are never unlinked or replaced
//! while in use; who locks one that may be, re-checks with [`FileLock::is_current`].

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{clock, fsx, seeded};

/// Longest rest between two tries for a lock that is held for milliseconds at a time.
const LONGEST_REST: Duration = Duration::from_millis(20);

/// An exclusive lock, free again when this is dropped or its process ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
    /// Whether it is free again when this is dropped.
    is_ours: bool,
}

impl FileLock {
    /// Takes the lock if it is free, creating its file.
    ///
    /// # Errors
    /// Those of the system, with the path. A held lock is `None`, not an error.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        let file = fsx::open_append(path)?;
        Ok(try_exclusive(&file).map_err(fsx::at(path))?.then(|| Self::of(file, path)))
    }

    fn of(file: File, path: &Path) -> Self {
        Self { file, path: path.to_owned(), is_ours: true }
    }

    /// Takes the lock, trying again for as long as `patience`.
    ///
    /// # Errors
    /// Those of the system, with the path. A lock that stays held is `None`.
    pub fn acquire(path: &Path, patience: Duration) -> Result<Option<Self>> {
        let deadline = clock::since_boot() + patience;
        let mut rest = Duration::from_micros(500);
        let mut file = fsx::open_append(path)?;
        // Opened once: each closing is an event for whoever watches the folder.
        while !try_exclusive(&file).map_err(fsx::at(path))? {
            if clock::since_boot() >= deadline {
                return Ok(None);
            }
            clock::pause(rest);
            rest = (rest * 2).min(LONGEST_REST);
            if !fsx::is_at(&file, path) {
                file = fsx::open_append(path)?;
            }
        }
        Ok(Some(Self::of(file, path)))
    }

    /// Locks a file that is already open for writing, before it gets its name; `None` if someone holds it.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn adopt(file: File, path: &Path) -> Result<Option<Self>> {
        Ok(try_exclusive(&file).map_err(fsx::at(path))?.then(|| Self::of(file, path)))
    }

    /// Whether the locked file is still the one that its path names.
    pub fn is_current(&self) -> bool {
        fsx::is_at(&self.file, &self.path)
    }

    /// Hands the lock down: it stays held until whoever inherits this descriptor, and all who do from them, are gone.
    ///
    /// # Errors
    /// When the system has no more descriptors to give.
    pub fn hand_down(mut self) -> Result<OwnedFd> {
        let heir = self.file.try_clone()?;
        self.is_ours = false;
        Ok(heir.into())
    }

    /// The path it was taken under.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.is_ours {
            let_go(&self.file);
        }
    }
}

/// Whether someone holds the lock at this moment. Looks through a shared lock that is let go at once; a file that is not
/// there is held by nobody.
///
/// # Errors
/// Those of the system, with the path.
pub fn is_held(path: &Path) -> Result<bool> {
    let file = match fsx::open_hostile(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let is_free = try_shared(&file).map_err(fsx::at(path))?;
    if is_free {
        let_go(&file);
    }
    Ok(!is_free)
}

/// Lets go of a lock at once. Closing the file would do so as well, but not while a program that another thread starts still has
/// it, from its fork to its exec: for milliseconds the lock would seem to be held by nobody.
#[expect(clippy::disallowed_methods, reason = "the one door to locks")]
fn let_go(file: &File) {
    let _closed_anyway = fs2::FileExt::unlock(file);
}

#[expect(clippy::disallowed_methods, reason = "the one door to locks")]
fn try_exclusive(file: &File) -> Result<bool> {
    if seeded::bug("no-lock") {
        return Ok(true);
    }
    granted(fs2::FileExt::try_lock_exclusive(file))
}

#[expect(clippy::disallowed_methods, reason = "the one door to locks")]
fn try_shared(file: &File) -> Result<bool> {
    granted(fs2::FileExt::try_lock_shared(file))
}

fn granted(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_dies_with_it() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("l");
        assert!(!is_held(&path).expect("probe"));
        let lock = FileLock::try_acquire(&path).expect("try").expect("free");
        assert!(is_held(&path).expect("probe"));
        assert!(FileLock::try_acquire(&path).expect("try").is_none());
        assert!(lock.is_current());
        drop(lock);
        assert!(!is_held(&path).expect("probe"));
    }

    #[test]
    fn a_lock_that_was_let_go_is_free_though_a_program_that_just_starts_still_has_the_file() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("l");
        let lock = FileLock::try_acquire(&path).expect("try").expect("free");
        // As a child has it between its fork and its exec.
        let inherited = lock.file.try_clone().expect("twice");
        drop(lock);
        assert!(!is_held(&path).expect("probe"));
        drop(inherited);
    }

    #[test]
    fn a_replaced_lock_file_is_noticed() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("l");
        let lock = FileLock::try_acquire(&path).expect("try").expect("free");
        fsx::put(&path, b"").expect("replace");
        assert!(!lock.is_current());
    }

    #[test]
    fn a_lock_that_stays_held_is_given_up_after_the_patience_and_not_before() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("l");
        let lock = FileLock::try_acquire(&path).expect("try").expect("free");
        assert_eq!(lock.path(), path);
        let (patience, since) = (Duration::from_millis(60), clock::since_boot());
        assert!(FileLock::acquire(&path, patience).expect("try").is_none());
        let waited = clock::since_boot().saturating_sub(since);
        assert!(waited >= patience && waited < patience * 500, "{waited:?}");
        // Let go at some moment of the wait.
        let holder = std::thread::spawn(move || drop(lock));
        assert!(FileLock::acquire(&path, Duration::from_secs(60)).expect("try").is_some());
        holder.join().expect("let go");
    }

    #[test]
    fn a_file_is_locked_before_it_has_its_name_and_by_one_alone() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("l");
        let open = || fsx::open_append(&path).expect("open");
        let lock = FileLock::adopt(open(), &path).expect("try").expect("free");
        assert!(FileLock::adopt(open(), &path).expect("try").is_none());
        assert!(lock.is_current() && is_held(&path).expect("probe"));
        fsx::remove(&path).expect("remove");
        assert!(!lock.is_current(), "its path names nothing");
        fsx::make_new_dir(&path).expect("folder");
        assert!(FileLock::try_acquire(&path).is_err(), "a folder is no lock");
    }

    #[test]
    fn a_lock_that_was_handed_down_stays_held() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("l");
        let lock = FileLock::try_acquire(&path).expect("try").expect("free");
        let heir = lock.hand_down().expect("hand down");
        assert!(is_held(&path).expect("probe"));
        drop(heir);
        assert!(!is_held(&path).expect("probe"));
    }

    #[test]
    fn a_lock_that_cannot_be_looked_at_is_an_error_and_not_free() {
        let d = tempfile::tempdir().expect("scratch");
        std::os::unix::fs::symlink("/nowhere", d.path().join("l")).expect("link");
        assert!(is_held(&d.path().join("l")).is_err());
        assert!(granted(Err(ErrorKind::PermissionDenied.into())).is_err());
        assert!(granted(Err(ErrorKind::WouldBlock.into())).is_ok_and(|granted| !granted));
    }
}
