//! The one door to notify. A watch only wakes: what has changed is found by looking, so a lost or merged event costs
//! time, never a file.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// What seems to have happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It came by a rename: whole.
    Renamed,
    /// A writer closed it.
    Closed,
    /// Someone writes to it.
    Written,
    /// Its name is gone, or was: another may have it by now.
    Removed,
    /// Anything else: made, touched.
    Other,
}

/// What a wake-up hints at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The paths that may have changed; empty when the kernel lost count and everything may have.
    pub paths: Vec<PathBuf>,
    /// What seems to have happened to them.
    pub change: Change,
}

impl Hint {
    /// The hint that everything may have changed.
    pub fn lost() -> Self {
        Self { paths: Vec::new(), change: Change::Other }
    }
}

/// Watches folders and files until it is dropped.
pub struct Watch {
    watcher: RecommendedWatcher,
}

impl Watch {
    /// Starts with nothing watched. `wake` is called from the watcher's own thread and must be quick.
    ///
    /// # Errors
    /// When the kernel has no more inotify instances to give.
    pub fn new(wake: impl Fn(Hint) + Send + 'static) -> notify::Result<Self> {
        let watcher =
            notify::recommended_watcher(move |event: notify::Result<Event>| match event {
                Ok(event) if event.need_rescan() => wake(Hint::lost()),
                Ok(event) => {
                    if let Some(change) = change(event.kind) {
                        wake(Hint { paths: event.paths, change });
                    }
                }
                Err(_) => wake(Hint::lost()),
            })?;
        Ok(Self { watcher })
    }

    /// Watches one folder's entries, or one file.
    ///
    /// # Errors
    /// When the path is not there or the kernel has no more watches to give.
    pub fn add(&mut self, path: &Path) -> notify::Result<()> {
        self.watcher.watch(path, RecursiveMode::NonRecursive)
    }

    /// Stops watching a path; one that is not watched is no error.
    pub fn remove(&mut self, path: &Path) {
        drop(self.watcher.unwatch(path));
    }
}

/// What an event can mean; `None` for mere looking: that opens a folder, and must not wake the looker.
fn change(kind: EventKind) -> Option<Change> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Change::Closed),
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Change::Renamed),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Change::Written),
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Some(Change::Removed)
        }
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => {
            Some(Change::Other)
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::os::{fsx, lock::FileLock};

    #[test]
    fn a_rename_wakes_and_looking_does_not() {
        let d = tempfile::tempdir().expect("scratch");
        let (tx, rx) = mpsc::channel();
        let mut watch = Watch::new(move |h| drop(tx.send(h))).expect("watch");
        watch.add(d.path()).expect("add");
        fsx::list(d.path()).expect("looking");
        fsx::put_new(&d.path().join("a"), b"x").expect("put");
        let first = rx.recv_timeout(Duration::from_secs(5)).expect("a hint");
        assert!(!first.paths.is_empty());
        while !rx
            .recv_timeout(Duration::from_secs(5))
            .expect("hint")
            .paths
            .contains(&d.path().join("a"))
        {}
    }

    #[test]
    fn a_name_that_goes_is_told_also_where_another_file_has_it_at_once() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("a");
        fsx::put_new(&path, b"x").expect("put");
        let (tx, rx) = mpsc::channel();
        let mut watch = Watch::new(move |h| drop(tx.send(h))).expect("watch");
        watch.add(d.path()).expect("add");
        fsx::remove(&path).expect("removed");
        fsx::put_new(&path, b"y").expect("put again");
        let hint = || rx.recv_timeout(Duration::from_secs(20)).expect("a hint");
        while hint() != (Hint { paths: vec![path.clone()], change: Change::Removed }) {}
    }

    #[test]
    fn the_end_of_a_lock_holder_wakes() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("l");
        let lock = FileLock::try_acquire(&path).expect("try").expect("free");
        let (tx, rx) = mpsc::channel();
        let mut watch = Watch::new(move |h| drop(tx.send(h))).expect("watch");
        watch.add(&path).expect("add");
        drop(lock);
        rx.recv_timeout(Duration::from_secs(5)).expect("a hint that the lock is free");
    }
}
