//! `store/starts/`: who may start codex right now. A start is unconfirmed until codex names its thread; more than a few at
//! once, over all processes, and they starve each other's start-up.

use std::path::{Path, PathBuf};

use super::StoreError;
use crate::os::fsx;
use crate::os::lock::FileLock;

/// Most starts that are unconfirmed at a time.
pub const SLOTS: u32 = 4;

/// The slots; each is a lock file that whoever starts codex holds until the start is confirmed.
#[derive(Debug, Clone)]
pub struct StartSlots {
    dir: PathBuf,
}

impl StartSlots {
    /// Opens the folder of slots, making it if need be.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(store: &Path) -> Result<Self, StoreError> {
        let dir = store.join("starts");
        fsx::make_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The folder, to be watched by who waits for a slot: one that is let go shows as a close after writing.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A free slot, if there is one; it is free again when dropped or when its process dies.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn try_take(&self) -> Result<Option<FileLock>, StoreError> {
        for slot in 0..SLOTS {
            if let Some(lock) = FileLock::try_acquire(&self.dir.join(format!("{slot}.lock")))? {
                return Ok(Some(lock));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_slots_over_all_handles_and_a_dropped_one_is_free() {
        let dir = tempfile::tempdir().expect("scratch");
        let (one, two) = (StartSlots::open(dir.path()), StartSlots::open(dir.path()));
        let (one, two) = (one.expect("open"), two.expect("open"));
        let take = |slots: &StartSlots| slots.try_take().expect("take");
        let mut held: Vec<_> = [&one, &two, &one, &two].map(take).into();
        assert!(held.iter().all(Option::is_some));
        assert!(take(&one).is_none() && take(&two).is_none());
        held.remove(1);
        assert!(take(&two).is_some());
    }
}
