//! Who has a file open for writing, as far as the kernel lets this user see it.
//!
//! Diagnostics: processes that cannot be looked into are not counted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::process;

/// The bits of a file's flags that tell how it was opened; 0 is for reading alone.
const ACCESS: u32 = 0o3;

/// Whether some process that can be looked into has a file open for writing.
pub fn has_writer(path: &Path) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else { return false };
    let file = (meta.dev(), meta.ino());
    process::pids().into_iter().any(|pid| writes(pid, file))
}

fn writes(pid: u32, file: (u64, u64)) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().any(|entry| {
        // What has no path is no file: it is not looked at.
        let is_path = fs::read_link(entry.path()).is_ok_and(|to| to.is_absolute());
        let is_it = |m: fs::Metadata| (m.dev(), m.ino()) == file;
        is_path
            && fs::metadata(entry.path()).is_ok_and(is_it)
            && is_for_writing(pid, &entry.file_name().to_string_lossy())
    })
}

fn is_for_writing(pid: u32, descriptor: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok())
        .is_some_and(|flags| flags & ACCESS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fsx;

    #[test]
    fn a_writer_is_seen_as_long_as_it_has_the_file_open_and_a_reader_is_none() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("a");
        let writer = fsx::create_new(&path).expect("made");
        assert!(has_writer(&path));
        drop(writer);
        let _reader = fsx::open_hostile(&path).expect("read");
        assert!(!has_writer(&path) && !has_writer(&d.path().join("b")));
    }
}
