//! What unfinished writes leave behind: names that [`temp_beside`](super::temp_beside) makes.

use std::ffi::OsStr;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use super::{list, remove};

/// Clears away what an unfinished [`put`] left in a folder where nobody else writes.
///
/// # Errors
/// Those of the system, with the path.
pub fn clear_temps(dir: &Path) -> Result<()> {
    temps(dir)?.iter().try_for_each(|path| remove(path))
}

/// Clears away what an unfinished [`put`] left in a folder where others may just be writing: only what was last written
/// before `then`.
///
/// # Errors
/// Those of the system, with the path.
pub fn clear_old_temps(dir: &Path, then: Timestamp) -> Result<()> {
    for path in temps(dir)? {
        let written = std::fs::symlink_metadata(&path).and_then(|meta| meta.modified());
        let is_old = |at: SystemTime| Timestamp::try_from(at).is_ok_and(|at| at < then);
        if written.is_ok_and(is_old) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The names that [`temp_beside`] makes, in a folder.
fn temps(dir: &Path) -> Result<Vec<PathBuf>> {
    let is_temp = |name: &String| {
        name.starts_with('.') && Path::new(name).extension() == Some(OsStr::new("tmp"))
    };
    Ok(list(dir)?.into_iter().filter(is_temp).map(|name| dir.join(name)).collect())
}
