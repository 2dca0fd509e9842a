//! What the daemon watches, what it hears by that, and how it goes on where the kernel has no more watches to give: by looking,
//! until it has some again.

use std::path::PathBuf;

use tokio::sync::mpsc::UnboundedSender;

use super::log::Fact;
use super::{Daemon, Input, backlog};
use crate::logic::rescan::Ears;
use crate::os::mount;
use crate::os::moves::Moves;
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
        self.listen_for_moves();
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

    fn listen_for_moves(&mut self) {
        let (root, tell) = (&self.desk.root, self.inputs.clone());
        let parts = [root.spool(), root.runs(), root.store()];
        self.moves = Moves::listen(&parts, move || drop(tell.send(Input::Moved))).ok();
    }

    /// What is heard of changes: all, where the kernel tells of each in every folder that matters, and of what happens to the folders
    /// themselves.
    pub(super) fn ears(&self) -> Ears {
        let parts = [self.desk.root.runs(), self.desk.root.store()];
        let tell = || self.watched().iter().chain(&parts).all(|folder| mount::tells_all(folder));
        match (&self.watch, &self.moves) {
            (None, _) => Ears::Deaf,
            (Some(_), Some(_)) if tell() => Ears::All,
            (Some(_), _) => Ears::Some,
        }
    }

    /// The folders in which others make, move and remove what concerns us.
    fn watched(&self) -> Vec<PathBuf> {
        let spool = &self.desk.spool;
        let places = [Place::Incoming, Place::Claimed, Place::Done, Place::Failed, Place::Killed];
        let mut folders: Vec<PathBuf> = places.iter().map(|p| spool.folder(*p)).collect();
        folders.extend([spool.wake_folder(), spool.dir().to_owned()]);
        folders.extend(self.holds.as_ref().map(|holds| holds.dir().to_owned()));
        folders
    }

    /// The watch with all folders in it; `None` if one of them cannot be watched.
    fn watching(&self, mut watch: Watch) -> Option<Watch> {
        let folders = self.watched();
        let is_whole = folders.iter().all(|folder| {
            // Another folder may have come in its place.
            watch.remove(folder);
            watch.add(folder).is_ok() || !folder.is_dir()
        });
        for home in &self.homes {
            // Without it, the next round finds the login.
            let _unwatched = watch.add(home);
        }
        is_whole.then_some(watch)
    }
}
