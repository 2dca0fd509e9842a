//! What the daemon watches, what it hears by that, and how it goes on where the kernel has no more watches to give: by looking,
//! until it has some again.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::UnboundedSender;

use super::log::Fact;
use super::workers::Live;
use super::{Daemon, Input, backlog};
use crate::logic::rescan::{self, Ears};
use crate::model::id::JobId;
use crate::os::moves::{Moves, News};
use crate::os::watch::{Change, Watch};
use crate::os::{clock, mount};
use crate::spool::{Place, Spool, may_be_taken};

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

    /// Tries once more what did not work.
    pub(super) fn watch_again(&mut self) {
        if self.moves.is_none() {
            self.listen_for_moves();
        }
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
        self.moves = Moves::listen(&parts, move |news| {
            drop(tell.send(match news {
                News::Moved => Input::Moved,
                News::Unheard => Input::MovesUnheard,
            }));
        })
        .ok();
    }

    /// Listens to what has come in the place of what was listened to, and looks as often as that allows.
    pub(super) fn hear_moves_anew(&mut self) {
        self.listen_for_moves();
        self.come_as_heard();
    }

    /// Takes in that nobody tells of moves any more; the next rescan tries it anew.
    pub(super) fn miss_moves(&mut self) {
        self.moves = None;
        self.come_as_heard();
    }

    /// When everything is looked at again, by what is heard now; never later than before.
    fn come_as_heard(&mut self) {
        let every = rescan::every(self.desk.settings.rescan, self.ears());
        self.next_rescan = self.next_rescan.min(clock::since_boot() + every);
    }

    /// Marks what a change of a path may concern.
    pub(super) fn hear_of(&mut self, path: &Path, change: Change) {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
        let spool = &self.desk.spool;
        if folder == spool.dir() {
            if !Spool::is_being_filled(name) {
                self.ground.doubt();
            }
        } else if folder == spool.folder(Place::Incoming) {
            if may_be_taken(name) && self.ground.is_open() {
                self.intake.has_more |= !self.looks.tell(name, change, clock::since_boot());
            }
        } else if folder == spool.wake_folder() {
            if path == spool.wake_file() {
                self.mark_changed();
            } else if path == spool.overview_mark() {
                self.look_after_overview();
            }
        } else if self.is_of_account(folder, name) {
            self.is_dirty = true;
        } else if name == OsStr::new("worker.lock") {
            self.unchecked.extend(job_named(folder.file_name()));
        } else {
            // Where somebody tidies up after one that has ended, their own end tells when there is something to do.
            let tidies_up = |live: &Live| live.works() && live.has_ended();
            let is_over = |job: &JobId| self.jobs.get(job).is_some_and(tidies_up);
            self.unchecked.extend(job_named(path.file_stem()).filter(|job| !is_over(job)));
        }
    }

    /// What is heard of changes: all, where the kernel tells of each in every folder that matters, and of what happens to the folders
    /// themselves.
    pub(super) fn ears(&self) -> Ears {
        let parts = [self.desk.root.runs(), self.desk.root.store()];
        let tell = || self.watched().iter().chain(&parts).all(|folder| mount::tells_all(folder));
        match (&self.watch, &self.moves) {
            (None, _) => Ears::Deaf,
            (Some(_), Some(_)) if tell() => Ears::All,
            (Some(_), _) => Ears::Partly,
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

fn job_named(name: Option<&OsStr>) -> Option<JobId> {
    JobId::parse(name?.to_str()?).ok()
}
