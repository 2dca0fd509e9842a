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
    let is_temp = |name: &String| {
        name.starts_with('.') && Path::new(name).extension() == Some(OsStr::new("tmp"))
    };
    Ok(list(dir)?.into_iter().filter(is_temp).map(|name| dir.join(name)).collect())
}
