//! Whether the machine lets new work begin on a root: looked at through the folders that may each be a volume of its own,
//! tested by writing, and the room that is kept there for the end of work.

use std::io::Error;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::logic::health::{self, Fault, Volume};
use crate::model::root::Root;
use crate::os::{disk, fsx, reserve};

/// The file that a test puts into each folder and removes.
const PROBE: &str = ".probe";
/// Its size: more than what fits beside a file's name on any file system.
const PROBE_BYTES: usize = 4096;

fn folders(root: &Root) -> [PathBuf; 3] {
    [root.spool(), root.runs(), root.store()]
}

/// What is left of the file system that a folder lies on; `None` for a folder that is not there.
pub fn volume(dir: &Path) -> Option<Volume> {
    let room = disk::room(dir).ok()?;
    Some(Volume {
        place: dir.display().to_string(),
        free_bytes: room.free_bytes,
        bytes: room.bytes,
        free_files: room.free_files,
        files: room.files,
        is_read_only: room.is_read_only,
        owed_bytes: if reserve::is_whole(dir) { 0 } else { reserve::BYTES },
    })
}

/// Why no new work may begin, as far as looking shows; `min_free` is what the settings say.
pub fn short_of(root: &Root, min_free: Option<u64>) -> Option<String> {
    let volumes: Vec<Volume> = folders(root).iter().filter_map(|dir| volume(dir)).collect();
    health::short_of(&volumes, min_free)
}

/// Why nothing can be written, found by writing a whole file into each folder.
pub fn cannot_write(root: &Root) -> Option<String> {
    folders(root).iter().find_map(|dir| {
        let probe = dir.join(PROBE);
        let put = fsx::put(&probe, &[b' '; PROBE_BYTES]).and_then(|()| fsx::remove(&probe));
        put.err().map(|e| problem(&dir.display().to_string(), &e))
    })
}

/// Both: whether new work may begin again after it could not.
pub fn test(root: &Root, min_free: Option<u64>) -> Option<String> {
    short_of(root, min_free).or_else(|| cannot_write(root))
}

/// What is wrong with the machine, if that is what an error says.
pub fn fault(error: &Error) -> Option<Fault> {
    match Errno::from_raw_os_error(fsx::raw_os_error(error)?) {
        Errno::NOSPC | Errno::DQUOT => Some(Fault::Full),
        Errno::IO => Some(Fault::Broken),
        Errno::ROFS => Some(Fault::ReadOnly),
        Errno::MFILE | Errno::NFILE => Some(Fault::Handles),
        _ => None,
    }
}

/// An error as a reason; one that is no fault of the machine stops a test all the same.
pub fn problem(what: &str, error: &Error) -> String {
    match fault(error) {
        Some(fault) => health::told(what, &error.to_string(), fault),
        None => format!("{what}: {error}"),
    }
}

/// Makes the reserves that are missing, where that leaves enough for new work.
pub fn keep_reserves(root: &Root, min_free: Option<u64>) {
    for dir in folders(root) {
        let has_room = |v: &Volume| {
            v.owed_bytes > 0 && v.free_bytes >= v.kept_free(min_free).max(v.owed_bytes)
        };
        if volume(&dir).as_ref().is_some_and(has_room) {
            // Without it work ends as well as it can.
            let _as_well_as_it_goes = reserve::make(&dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_errors_are_the_machines() {
        for (errno, expected) in [
            (Errno::NOSPC, Some(Fault::Full)),
            (Errno::DQUOT, Some(Fault::Full)),
            (Errno::IO, Some(Fault::Broken)),
            (Errno::ROFS, Some(Fault::ReadOnly)),
            (Errno::MFILE, Some(Fault::Handles)),
            (Errno::NFILE, Some(Fault::Handles)),
            (Errno::NOENT, None),
            (Errno::ACCESS, None),
        ] {
            let error = Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(fault(&fsx::at(Path::new("x"))(error)), expected, "{errno:?}");
        }
        assert_eq!(fault(&Error::other("x")), None);
    }

    #[test]
    fn a_root_with_room_passes_every_test_and_gets_its_reserves() {
        let d = tempfile::tempdir().expect("scratch");
        let root = Root::new(d.path());
        for dir in folders(&root) {
            fsx::make_dirs(&dir).expect("dir");
        }
        keep_reserves(&root, Some(u64::MAX / 2));
        assert!(!reserve::is_whole(&root.spool()), "it would leave too little for new work");
        assert!(short_of(&root, Some(u64::MAX / 2)).is_some());
        keep_reserves(&root, Some(0));
        assert!(folders(&root).iter().all(|dir| reserve::is_whole(dir)));
        assert_eq!(test(&root, Some(0)), None);
        let left = fsx::list(&root.spool()).expect("list");
        assert_eq!(left, [reserve::NAME], "the probe is gone");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let d = tempfile::tempdir().expect("scratch");
        let why = cannot_write(&Root::new(d.path())).expect("there are no folders");
        assert!(why.contains("/spool: "), "{why}");
    }
}
