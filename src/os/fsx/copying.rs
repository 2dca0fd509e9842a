//! Files whose bytes come from elsewhere, in pieces: however large they are, they take no memory. They appear as every file
//! does: whole or not at all.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

use super::{
    Onto, at, open_hostile, parent, remove_quietly, rename_onto, sync_dir, write_beside_by,
};
use crate::os::reserve;

/// What is compared at a time, in bytes.
const PIECE: u64 = 256 * 1024;

/// Puts a new file in place, durably, whose bytes are written by whoever is given it: once more where there was no room and the
/// reserve could be given up for it.
///
/// # Errors
/// Those of the system and of the writing, with the path; then nothing has changed under the name.
pub fn put_new_by(path: &Path, write: &mut dyn FnMut(&File) -> Result<()>) -> Result<()> {
    let mut fill = |file: &File| write(file).and_then(|()| file.sync_all());
    let temp = reserve::write_with(path, || write_beside_by(path, &mut fill))?;
    let named = rename_onto(&temp, path, Onto::Free);
    named.inspect_err(|_| drop(remove_quietly(&temp))).map_err(at(path))?;
    sync_dir(parent(path))
}

/// Copies a regular file to a new one, durably. Never follows a link or hangs on a FIFO.
///
/// # Errors
/// `InvalidInput` if it is no regular file; otherwise those of the system, with the path.
pub fn copy_new(from: &Path, to: &Path) -> Result<()> {
    put_new_by(to, &mut |mut file| std::io::copy(&mut regular(from)?, &mut file).map(drop))
}

/// Whether two regular files hold the same bytes.
///
/// # Errors
/// `InvalidInput` if one is no regular file; otherwise those of the system, with the path.
pub fn is_same(one: &Path, other: &Path) -> Result<bool> {
    is_same_by(one, other, PIECE)
}

fn is_same_by(one: &Path, other: &Path, piece: u64) -> Result<bool> {
    let (mut one_file, mut other_file) = (regular(one)?, regular(other)?);
    loop {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        one_file.by_ref().take(piece).read_to_end(&mut a).map_err(at(one))?;
        other_file.by_ref().take(piece).read_to_end(&mut b).map_err(at(other))?;
        if a != b || a.is_empty() {
            return Ok(a == b);
        }
    }
}

fn regular(path: &Path) -> Result<File> {
    let file = open_hostile(path)?;
    let is_file = file.metadata().map_err(at(path))?.is_file();
    let odd = || at(path)(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    if is_file { Ok(file) } else { Err(odd()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fsx::{list, put_new, read_optional};

    #[test]
    fn a_copy_is_whole_and_new_and_made_of_regular_files_alone() {
        let d = tempfile::tempdir().expect("scratch");
        let path = |name: &str| d.path().join(name);
        put_new(&path("a"), b"0123456789").expect("file");
        copy_new(&path("a"), &path("b")).expect("copied");
        assert_eq!(read_optional(&path("b")).expect("read").as_deref(), Some("0123456789"));
        let again = copy_new(&path("a"), &path("b"));
        assert_eq!(again.map_err(|e| e.kind()), Err(ErrorKind::AlreadyExists));
        std::os::unix::fs::symlink(path("a"), path("link")).expect("link");
        for odd in [path("link"), d.path().to_owned(), path("gone")] {
            assert!(copy_new(&odd, &path("c")).is_err(), "{}", odd.display());
            assert!(is_same(&path("a"), &odd).is_err(), "{}", odd.display());
        }
        let mut left = list(d.path()).expect("list");
        left.sort();
        assert_eq!(left, ["a", "b", "link"], "nothing unfinished is left");
    }

    #[test]
    fn files_are_the_same_if_every_piece_of_them_is() {
        let d = tempfile::tempdir().expect("scratch");
        let (a, b) = (d.path().join("a"), d.path().join("b"));
        for (one, other, same) in [
            ("", "", true),
            ("0123456789", "0123456789", true),
            ("0123456789", "012345678x", false),
            ("0123456789", "x123456789", false),
            ("012345678", "0123456789", false),
            ("012", "012345", false),
            ("", "0", false),
        ] {
            for (path, text) in [(&a, one), (&b, other)] {
                crate::os::fsx::put(path, text.as_bytes()).expect("file");
            }
            assert_eq!(is_same_by(&a, &b, 3).expect("read"), same, "{one} {other}");
            assert_eq!(is_same(&b, &a).expect("read"), same, "{other} {one}");
        }
    }
}
