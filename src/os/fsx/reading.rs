//! Reading, of what is ours and of what is not: bounded, never through a link, never waiting for a FIFO's writer.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::at;

/// Opens a file that someone else named: never through a link, never waiting for a FIFO's writer.
///
/// # Errors
/// Those of the system, with the path.
pub fn open_hostile(path: &Path) -> Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(at(path))
}

/// Whether an open file is still the one that a path names.
pub fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

/// Reads a regular file of at most `limit` bytes; `None` if it is larger. Never follows a link or hangs on a FIFO.
///
/// # Errors
/// `InvalidInput` if it is no regular file; otherwise those of the system.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = open_hostile(path)?;
    let meta = file.metadata().map_err(at(path))?;
    if !meta.is_file() {
        return Err(at(path)(Error::new(ErrorKind::InvalidInput, "not a regular file")));
    }
    read_at_most(file, path, limit)
}

/// Reads a file that is open, at most `limit` bytes; `None` if it is larger. `path` is for errors.
///
/// # Errors
/// Those of the system, with the path.
pub fn read_at_most(file: File, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(at(path))?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Reads the first `limit` bytes of a regular file, and says how many it has. Never follows a link or hangs on a FIFO.
///
/// # Errors
/// `InvalidInput` if it is no regular file; otherwise those of the system.
pub fn read_head(path: &Path, limit: u64) -> Result<(Vec<u8>, u64)> {
    let file = open_hostile(path)?;
    let meta = file.metadata().map_err(at(path))?;
    if !meta.is_file() {
        return Err(at(path)(Error::new(ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(at(path))?;
    Ok((bytes, meta.len()))
}

/// Reads the last `limit` bytes of a regular file. Never follows a link or hangs on a FIFO.
///
/// # Errors
/// Those of the system, with the path.
pub fn read_tail(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut file = open_hostile(path)?;
    let length = file.metadata().map_err(at(path))?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit))).map_err(at(path))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(at(path))?;
    Ok(bytes)
}

/// Opens a file of our own, which a link may lead to; nobody waits for a FIFO's writer.
///
/// # Errors
/// `InvalidInput` if it is a FIFO; otherwise those of the system, with the path.
pub fn open_own(path: &Path) -> Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(at(path))?;
    if file.metadata().map_err(at(path))?.file_type().is_fifo() {
        return Err(at(path)(Error::new(ErrorKind::InvalidInput, "it is a FIFO, not a file")));
    }
    Ok(file)
}

/// Refuses what is there and no regular file, before somebody opens it who would wait for it.
///
/// # Errors
/// `InvalidInput` if it is something else; otherwise those of the system, with the path.
pub fn refuse_irregular(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            let why = "it is no regular file: move it elsewhere, and it is made anew";
            Err(at(path)(Error::new(ErrorKind::InvalidInput, why)))
        }
        Err(e) if e.kind() != ErrorKind::NotFound => Err(at(path)(e)),
        _ => Ok(()),
    }
}

/// Reads a file of our own as text; `None` if it is not there. Never hangs on a FIFO.
///
/// # Errors
/// `InvalidInput` if it is a FIFO; otherwise those of the system, with the path.
pub fn read_optional(path: &Path) -> Result<Option<String>> {
    let mut text = String::new();
    match open_own(path) {
        Ok(mut file) => {
            file.read_to_string(&mut text).map_err(at(path))?;
            Ok(Some(text))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names in a folder, unsorted; none if the folder is not there. Names that are no UTF-8 are left out.
///
/// # Errors
/// Those of the system, with the path.
pub fn list(dir: &Path) -> Result<Vec<String>> {
    Ok(list_os(dir)?.into_iter().filter_map(|n| n.into_string().ok()).collect())
}

/// What a folder with all that is in it takes on disk, in bytes; what vanishes meanwhile, or cannot be looked at, does not count.
///
/// # Errors
/// When the folder itself cannot be looked at.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    std::fs::symlink_metadata(dir).map_err(at(dir))?;
    let entries = walkdir::WalkDir::new(dir).follow_links(false).into_iter().flatten();
    Ok(entries.filter_map(|e| Some(e.metadata().ok()?.blocks() * 512)).sum())
}

/// The names in a folder as the system has them, unsorted; none if the folder is not there.
///
/// # Errors
/// Those of the system, with the path.
pub fn list_os(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at(dir))?,
    };
    entries.map(|entry| entry.map(|e| e.file_name()).map_err(at(dir))).collect()
}
