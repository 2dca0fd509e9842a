//! What unfinished writes leave behind: names that [`temp_beside`](super::temp_beside) makes.

use std::ffi::OsStr;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{list, remove};

/// Clears away what an unfinished [`put`](super::put) left in a folder where nobody else writes.
///
/// # Errors
/// Those of the system, with the path.
pub fn clear_temps(dir: &Path) -> Result<()> {
    temps(dir)?.iter().try_for_each(|path| remove(path))
}

/// Clears away what an unfinished [`put`](super::put) left in a folder where others may just be writing: only what is older
/// than `age`.
///
/// # Errors
/// Those of the system, with the path.
pub fn clear_old_temps(dir: &Path, age: Duration) -> Result<()> {
    temps(dir)?.iter().filter(|path| is_older(path, age)).try_for_each(|path| remove(path))
}

/// Whether something was last written longer ago, by the clock that files are dated with.
pub fn is_older(path: &Path, age: Duration) -> bool {
    let written = std::fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
    written.and_then(|at| at.elapsed().ok()).is_some_and(|passed| passed >= age)
}

/// The names that [`temp_beside`] makes, in a folder.
fn temps(dir: &Path) -> Result<Vec<PathBuf>> {
    let paths = list(dir)?.into_iter().map(|name| dir.join(name));
    Ok(paths.filter(|path| is_temp(path)).collect())
}

/// Whether a name is one that [`temp_beside`](super::temp_beside) makes.
pub fn is_temp(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    is_hidden && path.extension() == Some(OsStr::new("tmp"))
}
