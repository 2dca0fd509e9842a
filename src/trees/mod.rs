//! Floor 3a: owner of worktrees, of what lands from them, and of `refs/numerus/` in a workspace's repository.
//!
//! Promises: the user's checkout, index, `HEAD` and branches are never touched; an agent works in a tree of its own;
//! what it did is found by our own walk and judged against its claim; a landing is one commit, laid over the tip by
//! paths and never merged; what other jobs have landed is taken in by a merge commit of its own. Everything here is
//! synchronous and made of few git calls.
//!
//! The order of a task: [`Trees::add`], [`Trees::carry`] (or [`Trees::find`] for one that rested), then for each of
//! [`Trees::foreign_tips`] that is [`Trees::wanted`] for the task [`Trees::prepare_intake`], [`Trees::move_to`],
//! [`Trees::audit`], `logic::audit::judge`, [`Trees::prepare`], journal, [`Trees::advance`], journal,
//! [`Trees::remove`].

mod again;
mod ahead;
mod apply;
mod audit;
mod by_hand;
mod copy;
mod diff;
mod fresh;
mod ignores;
pub mod in_place;
mod land;
mod own;
mod patch;
mod pinned;
mod recall;
mod removal;
mod retried;
mod secure;
mod take_in;
mod tree;
mod walk;
mod workspace;

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use crate::model::id::JobId;
use crate::model::workspace::{Oid, Workspace};
use crate::os::fsx;
use crate::os::git::{Call, Git, GitError};
use crate::runs::{Place, RunFolder};

pub use ahead::provide;
pub use apply::{Checkout, Outlook};
pub use audit::Audited;
use by_hand::RefMove;
pub use land::{Judged, Landing, Words};
use pinned::Settings;
use recall::Recall;
pub use removal::{bundle, clear_unused, remove_run, remove_traces, standing};
pub use retried::built_on;
pub use take_in::{Foreign, Intake};
pub use tree::{Tree, clear_temps, kind_below};
pub use workspace::{Ground, fix};
use workspace::{RESOLVE, resolved};

/// Why something with a workspace or its trees did not work.
#[derive(Debug, thiserror::Error)]
pub enum TreesError {
    /// No job can work there; nothing but a person helps.
    #[error("use the workspace {path}: {why}")]
    Refused {
        /// The directory.
        path: String,
        /// Why.
        why: String,
    },
    /// A git call failed; the repository is as it was before.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The file system is in the way.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Objects that no ref leads to yet were collected by somebody: they have to be made again.
    #[error("land {commit}: objects of it are gone")]
    Gone {
        /// The commit.
        commit: Oid,
    },
    /// Someone else has been making worktrees for too long.
    #[error("lock {path}: it stays held by another process")]
    Busy {
        /// The lock file.
        path: String,
    },
}

/// Most bytes of the file of a ref: an id, or the name of another ref.
const MOST_REF_BYTES: u64 = 4096;
/// The newest commit of a job.
const TIP: &str = "tip";
/// Says that the job has, or had, a branch.
const PUBLISHED: &str = "published";
/// The refs of a job, below `refs/numerus/JOB/`.
const OWN_REFS: [&str; 3] = [TIP, "base", PUBLISHED];

/// A ref of a job's own.
fn own_ref(job: &JobId, name: &str) -> String {
    format!("refs/numerus/{job}/{name}")
}

/// The git side of one job: its repository, its tip, its trees.
#[derive(Debug)]
pub struct Trees {
    workspace: Workspace,
    folder: RunFolder,
    git: Git,
    /// Set once git has said that nobody is named who commits.
    is_nameless: AtomicBool,
    /// Where the user's own ignore rules lie, asked once: who changes the setting meanwhile does not change what is seen.
    own_ignores: OnceLock<PathBuf>,
    /// What the settings said, and the files that they lay in.
    settings: Settings,
    /// What was seen of the landings that were made here.
    recall: Recall,
}

impl Trees {
    /// Takes up a job's repository. `tip` is the newest commit that the job's journal knows of; a ref that is not there
    /// yet, or that somebody deleted, is set to it.
    ///
    /// # Errors
    /// When the workspace has no repository, or git fails.
    pub fn open(workspace: &Workspace, folder: &RunFolder, tip: &str) -> Result<Self, TreesError> {
        if workspace.git_dir.is_empty() {
            let why = "it is no git repository".to_owned();
            return Err(TreesError::Refused { path: workspace.top.clone(), why });
        }
        let trees = Self::new(workspace, folder);
        trees.release()?;
        // Most often the job is new: the tip is made without asking git first, which makes none where there is one.
        if trees.tip_file()?.is_none()
            && let Err(e) = trees.set_tip(tip, &trees.zero())
            && trees.find_tip()?.is_none()
        {
            return Err(e);
        }
        Ok(trees)
    }

    /// Sets nothing: where nobody holds the job's lock, it is to be read only.
    fn new(workspace: &Workspace, folder: &RunFolder) -> Self {
        Self {
            workspace: workspace.clone(),
            folder: folder.clone(),
            git: Git::at(Path::new(&workspace.git_dir)),
            is_nameless: AtomicBool::new(false),
            own_ignores: OnceLock::new(),
            settings: Settings::default(),
            recall: Recall::default(),
        }
    }

    /// The workspace it was opened with.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The newest commit of the job.
    ///
    /// # Errors
    /// When the ref is gone or git fails.
    pub fn tip(&self) -> Result<Oid, TreesError> {
        let gone = || TreesError::Refused {
            path: self.workspace.top.clone(),
            why: format!("{} is gone", self.tip_ref()),
        };
        self.find_tip()?.ok_or_else(gone)
    }

    fn find_tip(&self) -> Result<Option<Oid>, TreesError> {
        self.find_ref(&self.tip_ref())
    }

    fn tip_file(&self) -> Result<Option<Oid>, TreesError> {
        self.ref_file(&self.tip_ref())
    }

    /// What a ref of ours leads to: as its file says, else as git does, where refs are kept otherwise.
    fn find_ref(&self, name: &str) -> Result<Option<Oid>, TreesError> {
        match self.ref_file(name)? {
            None => resolved(self.read(RESOLVE).arg(name)),
            found => Ok(found),
        }
    }

    /// What the file of a ref says; one that has none may be kept otherwise.
    fn ref_file(&self, name: &str) -> Result<Option<Oid>, TreesError> {
        let path = Path::new(&self.workspace.git_dir).join(name);
        let bytes = fsx::read_bounded(&path, MOST_REF_BYTES).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        let is_id = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        if text.len() == self.workspace.base.len() && is_id(&text) {
            return Ok(Some(text));
        }
        if text.starts_with("ref:") {
            let why = format!("somebody has made {name} lead to another ref");
            return Err(TreesError::Refused { path: self.workspace.top.clone(), why });
        }
        Ok(None)
    }

    fn tip_ref(&self) -> String {
        self.own_ref(TIP)
    }

    /// A ref that only the holder of the job's lock writes.
    fn own_ref(&self, name: &str) -> String {
        own_ref(self.folder.job(), name)
    }

    /// The id that stands for "no object", as long as the repository's ids are.
    fn zero(&self) -> Oid {
        "0".repeat(self.workspace.base.len())
    }

    /// Sets the job's tip, which is `old` at this moment.
    fn set_tip(&self, new: &str, old: &str) -> Result<(), TreesError> {
        self.set_ref(&self.tip_ref(), new, old)
    }

    /// Sets a ref of the job, its branch included, that has the value `old` at this moment.
    fn set_ref(&self, name: &str, new: &str, old: &str) -> Result<(), TreesError> {
        let known = (old != self.zero()).then_some(old);
        if self.move_refs(&[RefMove { name, new, old: known }]) {
            return Ok(());
        }
        self.update_ref(name, &[name, new, old])
    }

    /// Calls `update-ref` about a ref of the job. One that somebody made lead to another ref is changed itself, and never the
    /// other: that may be a branch of the user's.
    fn update_ref(&self, name: &str, words: &[&str]) -> Result<(), TreesError> {
        self.clear_ref_lock(name)?;
        self.write_durably([&["update-ref", "--no-deref"], words].concat()).run()?;
        Ok(())
    }

    /// The same about several new ones at once, all or none, as `update-ref --stdin` is told.
    fn update_refs(&self, names: &[&str], told: &str) -> Result<(), TreesError> {
        names.iter().try_for_each(|name| self.clear_ref_lock(name))?;
        // They are new: nobody asks what they were before.
        let args = ["-c", "core.logAllRefUpdates=false", "update-ref", "--no-deref", "--stdin"];
        self.write_durably(args).input(told.as_bytes()).run()?;
        Ok(())
    }

    /// Only the holder of the job's lock writes its refs, and its branch as long as the job has not ended, one git at a time: a
    /// lock beside one is what a killed git left.
    fn clear_ref_lock(&self, name: &str) -> Result<(), TreesError> {
        match fsx::remove(&Path::new(&self.workspace.git_dir).join(format!("{name}.lock"))) {
            // Refs that are kept otherwise have no files, and a file where their folders would be.
            Err(e) if e.kind() != ErrorKind::NotADirectory => Err(e.into()),
            _ => Ok(()),
        }
    }

    fn read<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        self.git.read(args).env("GIT_DIR", &self.workspace.git_dir)
    }

    fn write_durably<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        self.git.write_durably(args).env("GIT_DIR", &self.workspace.git_dir)
    }

    /// Makes objects by an index of ours that is thrown away.
    fn write_by<S: AsRef<OsStr>>(
        &self,
        index: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Call<'_> {
        let call = self.git.write_objects(args).env("GIT_DIR", &self.workspace.git_dir);
        call.env("GIT_INDEX_FILE", index)
    }

    /// Makes the folder of a task, within reach of the user that git runs as.
    fn make_room(&self, place: &Place) -> Result<(), TreesError> {
        fsx::make_dir(place.dir())?;
        if self.git.owner().is_some() {
            self.give(place.dir())?;
            let runs = self.folder.dir().parent();
            for dir in [Some(self.folder.dir()), runs].into_iter().flatten() {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
                std::fs::set_permissions(dir, mode).map_err(fsx::at(dir))?;
            }
        }
        Ok(())
    }

    /// Our own folder in the repository's git directory, made if need be.
    fn own_folder(&self) -> Result<PathBuf, TreesError> {
        let dir = Path::new(&self.workspace.git_dir).join("numerus");
        if !dir.exists() {
            fsx::make_dirs(&dir)?;
            self.give(&dir)?;
        }
        Ok(dir)
    }

    /// Gives what root made to the user that git runs as.
    fn give(&self, path: &Path) -> Result<(), TreesError> {
        if let Some((uid, gid)) = self.git.owner() {
            std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(fsx::at(path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
