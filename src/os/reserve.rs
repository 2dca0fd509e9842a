//! Room kept for the end of work: a really allocated file in each folder that may be a volume of its own, given up when
//! work that is under way meets a full disk.
//!
//! Only a folder with an `.instance` file has one, so that no other `.reserve` above a path is ever touched. Only a process
//! that carries accepted work on spends it: new work must not use up what is to bring the old one to its end.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::fsx;

/// Its name.
pub const NAME: &str = ".reserve";
/// Its size in bytes.
pub const BYTES: u64 = 8 * 1024 * 1024;

/// Whether this process carries accepted work on.
static SPENDS: AtomicBool = AtomicBool::new(false);

/// Says that this process carries accepted work on: each of its writes may use the reserve from now on.
pub fn may_be_spent() {
    SPENDS.store(true, Ordering::Relaxed);
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
    SPENDS.load(Ordering::Relaxed) && is_for_want_of_room(error) && give_up_above(path)
}

/// Does what ends accepted work, in whichever process; where there is no room for it, gives up the reserve above the path
/// and does it once more.
///
/// # Errors
/// Those of the work.
pub fn spent_on<T>(path: &Path, mut work: impl FnMut() -> Result<T>) -> Result<T> {
    match work() {
        Err(e) if is_for_want_of_room(&e) && give_up_above(path) => work(),
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
    fn work_that_meets_a_full_disk_is_done_once_more_if_there_was_a_reserve() {
        let (d, below) = folder();
        for (has_reserve, tries) in [(false, 1), (true, 2), (false, 1)] {
            if has_reserve {
                make(d.path()).expect("room");
            }
            let mut count = 0;
            let done: Result<()> = spent_on(&below, || {
                count += 1;
                Err(full())
            });
            assert!(done.is_err());
            assert_eq!(count, tries);
        }
        make(d.path()).expect("room");
        let other: Result<()> = spent_on(&below, || Err(Error::other("no matter of room")));
        assert!(other.is_err() && is_whole(d.path()));
        assert!(!give_up_for(&full(), &below), "this process is no worker");
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
