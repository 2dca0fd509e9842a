//! Reads a growing file from where it last stopped. A file that is not there yet is empty so far.

use std::fs::File;
use std::io::{Read, Result};
use std::path::{Path, PathBuf};

use crate::os::fsx;

/// A file being followed.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Tail {
    /// Starts at the file's beginning.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, partial: Vec::new() }
    }

    /// The bytes since the last call.
    pub(super) fn new_bytes(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.file.is_none() && self.path.exists() {
            self.file = Some(fsx::open_hostile(&self.path)?);
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes).map_err(fsx::at(&self.path))?;
        }
        Ok(bytes)
    }

    /// The whole lines since the last call; a line without its newline is waited for.
    pub(super) fn new_lines(&mut self) -> Result<Vec<String>> {
        let bytes = self.new_bytes()?;
        self.partial.extend(bytes);
        let Some(end) = self.partial.iter().rposition(|b| *b == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_torn_line_is_waited_for_and_nothing_is_read_twice() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("log");
        let mut tail = Tail::new(&path);
        assert_eq!(tail.new_lines().expect("not there"), Vec::<String>::new());
        let mut file = fsx::open_append(&path).expect("open");
        file.write_all(b"one\ntw").expect("write");
        assert_eq!(tail.new_lines().expect("read"), ["one"]);
        file.write_all(b"o\nthree\n").expect("write");
        assert_eq!(tail.new_lines().expect("read"), ["two", "three"]);
        assert_eq!(tail.new_lines().expect("read"), Vec::<String>::new());
    }
}
