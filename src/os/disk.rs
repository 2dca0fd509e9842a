//! The one door to `statvfs`: what room a file system has left.

use std::io::Result;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;

use super::fsx;

/// What a file system has left for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// All bytes that it has.
    pub bytes: u64,
    /// Files that may still be made.
    pub free_files: u64,
    /// All files that it can have; 0 where they are not counted.
    pub files: u64,
    /// Whether nothing can be written there.
    pub is_read_only: bool,
}

/// Looks at the file system that a path lies on.
///
/// # Errors
/// Those of the system, with the path.
pub fn room(path: &Path) -> Result<Room> {
    let stat = rustix::fs::statvfs(path).map_err(|e| fsx::at(path)(e.into()))?;
    Ok(Room {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_files: stat.f_favail,
        files: stat.f_files,
        is_read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Kinds of file systems, by the numbers that the kernel gives them, on which not everything holds that is relied on
/// elsewhere, and what does not.
const WEAK: [(u32, &str); 7] = [
    (0x0102_1994, "tmpfs: nothing of it survives a restart of the machine"),
    (0x6969, "NFS: locks and renames of other machines may be seen late"),
    (0x517b, "SMB: locks and renames of other machines may be seen late"),
    (0xff53_4d42, "CIFS: locks and renames of other machines may be seen late"),
    (0xfe53_4d42, "SMB2: locks and renames of other machines may be seen late"),
    (0x0102_1997, "9p: locks may not exclude, and changes may be seen late"),
    (0x4d44, "FAT: names and rights are not kept as they are given"),
];

/// What does not hold on the file system that a path lies on, if that is known of its kind.
///
/// # Errors
/// Those of the system, with the path.
pub fn weakness(path: &Path) -> Result<Option<&'static str>> {
    let stat = rustix::fs::statfs(path).map_err(|e| fsx::at(path)(e.into()))?;
    // The numbers have 32 bits, whatever the type of the field is on this machine.
    let kind = u32::try_from(i128::from(stat.f_type) & 0xffff_ffff).unwrap_or(0);
    Ok(WEAK.iter().find(|(number, _)| *number == kind).map(|(_, what)| *what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_survive_a_restart_is_known() {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            let what = weakness(memory).expect("there").unwrap_or_default();
            assert!(what.starts_with("tmpfs: "), "{what}");
        }
        assert_eq!(weakness(Path::new("/proc")).expect("there"), None);
    }

    #[test]
    fn a_file_system_says_what_it_has() {
        let d = tempfile::tempdir().expect("scratch");
        let room = room(d.path()).expect("there");
        assert!(room.free_bytes <= room.bytes && room.bytes > 0, "{room:?}");
        assert!(room.free_files <= room.files && !room.is_read_only, "{room:?}");
        let error = super::room(Path::new("/nonexistent/x")).expect_err("not there");
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }
}
