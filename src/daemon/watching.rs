//! What the daemon watches, and how it goes on where the kernel has no more watches to give: by looking, until it has some
//! again.

use std::path::PathBuf;

use tokio::sync::mpsc::UnboundedSender;

use super::log::Fact;
use super::{Daemon, Input, backlog};
use crate::os::watch::Watch;
use crate::spool::Place;

/// What is told where there are no watches.
const WITHOUT: &str = "the kernel has no more watches to give: looking every 2 s";

/// A watch whose hints become inputs; `None` where the kernel has none to give.
pub(super) fn open(inputs: &UnboundedSender<Input>) -> Option<Watch> {
    Watch::new(backlog::into(inputs.clone())).ok()
}

impl Daemon {
    /// Watches the folders that people and workers move files in, whatever was watched under their names before.
    pub(super) fn watch_folders(&mut self) {
        let watch = self.watch.take();
        self.watch = watch.and_then(|watch| self.watching(watch));
        if self.watch.is_none() {
            self.record(&Fact::Trouble { message: WITHOUT.to_owned() });
        }
    }

    /// Tries it once more where it did not work.
    pub(super) fn watch_again(&mut self) {
        if self.watch.is_some() {
            return;
        }
        self.watch = open(&self.inputs).and_then(|watch| self.watching(watch));
        if self.watch.is_some() {
            self.record(&Fact::Recovered { reason: WITHOUT.to_owned() });
        }
    }

    /// The watch with all folders in it; `None` if one of them cannot be watched.
    fn watching(&self, mut watch: Watch) -> Option<Watch> {
        let spool = &self.desk.spool;
        let places = [Place::Incoming, Place::Claimed, Place::Done, Place::Failed, Place::Killed];
        let mut folders: Vec<PathBuf> = places.iter().map(|p| spool.folder(*p)).collect();
        folders.extend([spool.wake_folder(), spool.dir().to_owned()]);
        folders.extend(self.holds.as_ref().map(|holds| holds.dir().to_owned()));
        let is_whole = folders.iter().all(|folder| {
            // Another folder may have come in its place.
            watch.remove(folder);
            watch.add(folder).is_ok() || !folder.is_dir()
        });
        for home in &self.homes {
            // Without it, the next rescan finds the login.
            let _unwatched = watch.add(home);
        }
        is_whole.then_some(watch)
    }
}
