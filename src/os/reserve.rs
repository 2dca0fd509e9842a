//! Room kept for the end of work: a really allocated file in each folder that may be a volume of its own, given up when
//! work that is under way meets a full disk.
//!
//! Only a folder with an `.instance` file has one, so that no other `.reserve` above a path is ever touched. Only a process
//! that carries accepted work on, or ends it, spends it, and only meanwhile ([`spend`]): new work must not use up what is to
//! bring the old one to its end.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::fsx;

/// Its name.
pub const NAME: &str = ".reserve";
/// Its size in bytes.
pub const BYTES: u64 = 8 * 1024 * 1024;

/// How many of [`Spending`] there are in this process.
static SPENDING: AtomicUsize = AtomicUsize::new(0);

/// As long as it lives, writes of this process that meet a full disk may use the reserve above them.
#[derive(Debug)]
pub struct Spending(());

/// Says that this process carries accepted work on.
pub fn spend() -> Spending {
    SPENDING.fetch_add(1, Ordering::Relaxed);
    Spending(())
}

impl Drop for Spending {
    fn drop(&mut self) {
        SPENDING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the reserve of a folder is there as a whole.
pub fn is_whole(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir.join(NAME)).is_ok_and(|meta| allocated(&meta) >= BYTES)
}

fn allocated(meta: &std::fs::Metadata) -> u64 {
    meta.blocks() * 512
}

/// Makes the reserve of a folder, as a whole or not at all.
///
/// # Errors
/// Those of the system, with the path.
pub fn make(dir: &Path) -> Result<()> {
    let path = dir.join(NAME);
    let file = fsx::open_append(&path)?;
    let made = allocate(&file).and_then(|()| file.sync_all());
    if made.is_err() {
        let _nothing_is_kept = file.set_len(0);
    }
    made.map_err(fsx::at(&path))
}

fn allocate(file: &File) -> Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, BYTES) {
        Err(Errno::OPNOTSUPP) => fill(file),
        done => Ok(done?),
    }
}

/// For file systems that cannot allocate without writing.
fn fill(mut file: &File) -> Result<()> {
    file.set_len(0)?;
    std::io::copy(&mut std::io::repeat(0x55).take(BYTES), &mut file).map(drop)
}

/// Gives up the reserve above a path if an error says that there is no room and this process may spend it.
pub fn give_up_for(error: &Error, path: &Path) -> bool {
    SPENDING.load(Ordering::Relaxed) > 0 && is_for_want_of_room(error) && give_up_above(path)
}

/// Writes at a path; where there is no room and the reserve could be given up for it, once more.
///
/// # Errors
/// Those of the writing.
pub fn write_with<T>(path: &Path, mut write: impl FnMut() -> Result<T>) -> Result<T> {
    match write() {
        Err(e) if give_up_for(&e, path) => write(),
        done => done,
    }
}

/// Whether an error says that the disk, or the user's part of it, is full.
pub fn is_for_want_of_room(error: &Error) -> bool {
    let errno = fsx::raw_os_error(error).map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT))
}

fn give_up_above(path: &Path) -> bool {
    let Some(reserve) = above(path) else { return false };
    let emptied = fsx::open_in_place(&reserve).and_then(|file| {
        let had_some = allocated(&file.metadata()?) > 0;
        file.set_len(0).map(|()| had_some)
    });
    emptied.unwrap_or(false)
}

/// The reserve of the nearest folder above that can have one.
fn above(path: &Path) -> Option<PathBuf> {
    let dir = path.ancestors().find(|dir| dir.join(".instance").is_file())?;
    Some(dir.join(NAME)).filter(|reserve| reserve.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let d = tempfile::tempdir().expect("scratch");
        fsx::put(&d.path().join(".instance"), b"{}").expect("mark");
        let below = d.path().join("a/b");
        fsx::make_dirs(&below).expect("dirs");
        (d, below)
    }

    fn full() -> Error {
        fsx::at(Path::new("x"))(Error::from_raw_os_error(Errno::NOSPC.raw_os_error()))
    }

    #[test]
    fn a_reserve_is_really_there_and_can_be_made_again() {
        let (d, below) = folder();
        assert!(!is_whole(d.path()));
        for _ in 0..2 {
            make(d.path()).expect("room");
            assert!(is_whole(d.path()));
            assert!(give_up_above(&below) && !is_whole(d.path()));
            assert!(!give_up_above(&below), "there is nothing left to give up");
        }
        let file = fsx::create_new(&d.path().join("filled")).expect("file");
        fill(&file).expect("filled");
        assert_eq!(file.metadata().expect("meta").len(), BYTES);
    }

    #[test]
    fn what_is_written_for_accepted_work_and_meets_a_full_disk_is_written_once_more() {
        let (d, below) = folder();
        let tries = || {
            let mut count = 0;
            let done: Result<()> = write_with(&below, || {
                count += 1;
                Err(full())
            });
            assert!(done.is_err());
            count
        };
        make(d.path()).expect("room");
        assert_eq!(tries(), 1, "new work spends nothing");
        assert!(is_whole(d.path()));
        let spending = spend();
        assert_eq!((tries(), tries()), (2, 1), "it is there once");
        make(d.path()).expect("room");
        let other: Result<()> = write_with(&below, || Err(Error::other("no matter of room")));
        assert!(other.is_err() && is_whole(d.path()));
        drop(spending);
        assert_eq!(tries(), 1, "that work is over");
    }

    #[test]
    fn only_a_folder_of_ours_gives_up_a_reserve() {
        let (d, below) = folder();
        fsx::remove(&d.path().join(".instance")).expect("remove");
        fsx::put(&d.path().join(NAME), b"somebody's").expect("put");
        assert!(!give_up_above(&below));
        let kept = fsx::read_optional(&d.path().join(NAME)).expect("read");
        assert_eq!(kept.as_deref(), Some("somebody's"));
    }
}
