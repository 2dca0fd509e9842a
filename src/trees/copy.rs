//! Copying and removing what others wrote: never through a link, never without a bound.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use walkdir::WalkDir;

use crate::os::{digest, fsx};

use super::TreesError;

/// Largest index that is read, in bytes.
const INDEX_LIMIT: u64 = 4 * 1024 * 1024 * 1024;

/// What may still be copied.
#[derive(Debug)]
pub(super) struct Budget {
    files: u64,
    bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { files: 100_000, bytes: 4 * 1024 * 1024 * 1024 }
    }
}

impl Budget {
    fn charge(&mut self, bytes: u64) -> Result<(), Error> {
        let left = (self.files.checked_sub(1), self.bytes.checked_sub(bytes));
        let (Some(files), Some(bytes)) = left else {
            return Err(Error::new(ErrorKind::FileTooLarge, "too much to copy"));
        };
        (self.files, self.bytes) = (files, bytes);
        Ok(())
    }
}

/// Removes an index of ours, with the lock that a killed git may have left beside it.
pub(super) fn remove_index(index: &Path) -> Result<(), TreesError> {
    let mut lock = index.as_os_str().to_owned();
    lock.push(".lock");
    fsx::remove(Path::new(&lock))?;
    Ok(fsx::remove(index)?)
}

/// Copies a file or a directory with all that is in it: regular files, directories, and links that stay inside. Git
/// directories and special files are left out.
pub(super) fn copy(from: &Path, to: &Path, budget: &mut Budget) -> Result<(), TreesError> {
    let walk = WalkDir::new(from).follow_links(false).follow_root_links(false).into_iter();
    for entry in walk.filter_entry(|e| e.file_name() != ".git") {
        let entry = entry.map_err(|e| fsx::at(from)(e.into()))?;
        let below = entry.path().strip_prefix(from).unwrap_or(Path::new(""));
        // Joining an empty path would add a slash, and a file has none.
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        copy_one(&entry, &target, budget).map_err(fsx::at(entry.path()))?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what is copied can be copied again")]
fn copy_one(entry: &walkdir::DirEntry, to: &Path, budget: &mut Budget) -> Result<(), Error> {
    let kind = entry.file_type();
    if kind.is_dir() {
        fsx::make_dirs(to)
    } else if kind.is_file() {
        budget.charge(entry.metadata()?.len())?;
        fsx::make_dirs(to.parent().unwrap_or(to))?;
        if to.symlink_metadata().is_ok_and(|m| m.is_symlink()) {
            fsx::remove(to)?;
        }
        std::fs::copy(entry.path(), to).map(drop)
    } else if kind.is_symlink() {
        budget.charge(0)?;
        let target = std::fs::read_link(entry.path())?;
        if stays_inside(&target, entry.depth()) {
            fsx::make_dirs(to.parent().unwrap_or(to))?;
            fsx::remove(to)?;
            return std::os::unix::fs::symlink(target, to);
        }
        Ok(())
    } else {
        Ok(())
    }
}

/// Whether a link at this depth below the copied directory leads to something below that directory.
fn stays_inside(target: &Path, depth: usize) -> bool {
    let mut level = depth.saturating_sub(1).cast_signed();
    for part in target.components() {
        match part {
            Component::Normal(_) => level += 1,
            Component::ParentDir => level -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if level < 0 {
            return false;
        }
    }
    true
}

/// Copies an index with its time stamp: git tells by it which files may have changed since within one tick of the clock.
#[expect(clippy::disallowed_methods, reason = "a lost index is made again")]
pub(super) fn copy_index(from: &Path, to: &Path) -> Result<(), TreesError> {
    fsx::remove(to)?;
    std::fs::copy(from, to).map_err(fsx::at(from))?;
    let time = from.metadata().and_then(|m| m.modified()).map_err(fsx::at(from))?;
    let file = fsx::open_append(to)?;
    Ok(file.set_modified(time).map_err(fsx::at(to))?)
}

/// The digest of a file.
pub(super) fn digest(path: &Path) -> Result<String, TreesError> {
    let bytes = fsx::read_bounded(path, INDEX_LIMIT)?.unwrap_or_default();
    Ok(digest::sha256_hex(&bytes))
}

/// Removes a tree even where its folders were made read-only.
pub(super) fn remove_any(dir: &Path) -> Result<(), TreesError> {
    // A closed folder in a closed folder is seen only when the outer one was opened.
    for _ in 0..8 {
        match fsx::remove_tree(dir) {
            Err(e) if e.kind() == ErrorKind::PermissionDenied => make_writable(dir),
            result => return Ok(result?),
        }
    }
    Ok(fsx::remove_tree(dir)?)
}

fn make_writable(dir: &Path) {
    for entry in WalkDir::new(dir).follow_links(false).into_iter().flatten() {
        if entry.file_type().is_dir() {
            // What stays closed is named by the removal that follows.
            std::fs::set_permissions(entry.path(), PermissionsExt::from_mode(0o700)).ok();
        }
    }
}
