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

#[cfg(test)]
mod tests {
    use super::*;

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
