//! The worktree of one attempt: always a new one, detached and locked, kept when the attempt failed.
//!
//! Beside it lies the index as git wrote it with the tree: what an agent does to the one in use does not matter then.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::logic::claims::PathKind;
use crate::model::workspace::Oid;
use crate::os::fsx;
use crate::os::git::Call;
use crate::os::lock::FileLock;
use crate::runs::Place;

use super::copy::{self, Budget};
use super::{Trees, TreesError};

/// Longest wait for others who make worktrees in the same repository.
const LOCK_PATIENCE: Duration = Duration::from_secs(120);
/// Folders that codex's sandbox mounts over, and sometimes leaves behind, empty.
const RESIDUE: [&str; 4] = [".agents", ".aws", ".codex", ".git"];

/// The worktree of one attempt.
#[derive(Debug, Clone)]
pub struct Tree {
    dir: PathBuf,
    place: Place,
    attempt: u32,
    prefix: String,
    base: Oid,
    admin: PathBuf,
    /// What was copied into it, relative to the repository's top.
    carried: Vec<String>,
}

impl Tree {
    /// A tree that is there already.
    pub(super) fn known(
        place: &Place,
        attempt: u32,
        prefix: &str,
        base: Oid,
        admin: PathBuf,
    ) -> Self {
        let (dir, place, prefix) = (place.tree(attempt), place.clone(), prefix.to_owned());
        Self { dir, place, attempt, prefix, base, admin, carried: Vec::new() }
    }

    /// The same with these paths, relative to the workspace, known as copied into it.
    pub(super) fn with_carried(mut self, paths: &[String]) -> Self {
        for path in paths {
            let below = format!("{}/{path}", self.prefix);
            self.carried.push(below.trim_start_matches('/').to_owned());
        }
        self
    }

    /// The tree's top.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the agent works: the job's directory in the tree.
    pub fn cwd(&self) -> PathBuf {
        self.dir.join(&self.prefix)
    }

    /// The commit that the tree shows.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The attempt it was made for.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The task's folder.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The tree's own git directory inside the repository's: the agent's `git` writes there, if it may.
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// What was carried into the tree, relative to the repository's top.
    pub(super) fn carried(&self) -> &[String] {
        &self.carried
    }

    /// The directory of the job below the top.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The index as it was when the tree was made.
    pub(super) fn fresh_index(&self) -> PathBuf {
        self.place.dir().join(format!("tree-{}.index", self.attempt))
    }

    /// What a claimed path, relative to [`Tree::cwd`], names in the tree: for `logic::claims::normalise`.
    pub fn kind(&self, path: &str) -> PathKind {
        kind_below(&self.cwd(), path)
    }

    /// Removes the empty folders that the sandbox leaves where it mounted.
    pub fn clear_residue(&self) {
        for dir in [self.dir.clone(), self.cwd()] {
            for name in RESIDUE {
                // A file, or a folder with something in it, stays: this removes empty folders only.
                std::fs::remove_dir(dir.join(name)).ok();
            }
        }
    }
}

/// What a path names below a directory, links that leave it found.
pub fn kind_below(cwd: &Path, path: &str) -> PathKind {
    let Ok(cwd) = cwd.canonicalize() else { return PathKind::Missing };
    let mut at = cwd.clone();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        at.push(part);
        let Ok(meta) = at.symlink_metadata() else { return PathKind::Missing };
        if meta.is_symlink() {
            match at.canonicalize() {
                Ok(target) if target.starts_with(&cwd) => {}
                Ok(_) | Err(_) => return PathKind::LeadsOut,
            }
        }
    }
    if at.is_dir() { PathKind::Dir } else { PathKind::File }
}

impl Trees {
    /// Makes the tree of an attempt, showing `commit`. What is left of one that a dead worker was making or using for the same
    /// attempt is removed, never reused; the caller has made sure that nothing lives in it.
    ///
    /// # Errors
    /// When others hold the lock too long, or git fails.
    pub fn add(&self, place: &Place, attempt: u32, commit: &str) -> Result<Tree, TreesError> {
        self.make_room(place)?;
        let dir = place.tree(attempt);
        copy::remove_any(&dir)?;
        {
            let _lock = self.lock()?;
            self.clear_half_made()?;
            // Forced twice: a worktree that is locked but gone, of a git that was killed, gives way.
            let args = ["worktree", "add", "-q", "--force", "--force", "--detach", "--lock"];
            self.write(args).arg(&dir).arg(commit).run()?;
        }
        let tree = Tree {
            admin: read_admin(&dir)?,
            dir,
            place: place.clone(),
            attempt,
            prefix: self.workspace().prefix.clone(),
            base: commit.to_owned(),
            carried: Vec::new(),
        };
        // A directory that was never committed is not in the tree.
        if !tree.cwd().exists() {
            fsx::make_dirs(&tree.cwd())?;
            self.give(&tree.cwd())?;
        }
        self.keep_index(&tree)?;
        Ok(tree)
    }

    /// Moves a tree that nobody wrote in to a newer commit.
    ///
    /// # Errors
    /// When a changed file is in the way, or git fails; then a new tree is due.
    pub fn move_to(&self, tree: &mut Tree, tip: &str) -> Result<(), TreesError> {
        if tree.base == tip {
            return Ok(());
        }
        let call = self.git.write(["checkout", "-q", "--detach", tip]);
        call.env("GIT_DIR", &tree.admin).env("GIT_WORK_TREE", &tree.dir).run()?;
        tip.clone_into(&mut tree.base);
        self.keep_index(tree)
    }

    /// Copies paths of the user's checkout, which git ignores, into a tree. The paths are relative to the workspace and
    /// were normalised; what is carried does not count as written by the agent.
    ///
    /// # Errors
    /// When a path is not there, or all of them are too much.
    pub fn carry(&self, tree: &mut Tree, paths: &[String]) -> Result<(), TreesError> {
        let from = Path::new(&self.workspace().top).join(&tree.prefix);
        let mut budget = Budget::default();
        for path in paths {
            if kind_below(&from, path) == PathKind::LeadsOut {
                return Err(TreesError::Refused {
                    path: path.clone(),
                    why: "what is carried may not lead out of the workspace".to_owned(),
                });
            }
            copy::copy(&from.join(path), &tree.cwd().join(path), &mut budget)?;
            let below = format!("{}/{path}", tree.prefix);
            tree.carried.push(below.trim_start_matches('/').to_owned());
        }
        Ok(())
    }

    /// Removes a tree with all that is in it; one that is gone already is no error.
    ///
    /// # Errors
    /// Those of git and of the system.
    pub fn remove(&self, tree: &Tree) -> Result<(), TreesError> {
        copy::remove_any(&tree.dir)?;
        if tree.admin.exists() {
            let _lock = self.lock()?;
            let args = ["worktree", "remove", "--force", "--force"];
            self.write(args).arg(&tree.dir).run()?;
        }
        Ok(fsx::remove(&tree.fresh_index())?)
    }

    fn write<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        self.git.write(args).env("GIT_DIR", &self.workspace().git_dir)
    }

    /// Keeps the index that git has just written.
    fn keep_index(&self, tree: &Tree) -> Result<(), TreesError> {
        copy::copy_index(&tree.admin.join("index"), &tree.fresh_index())?;
        self.give(&tree.fresh_index())
    }

    /// Removes what a killed `worktree add` of ours left half made: one such entry stops every later call of git that looks
    /// at the worktrees, the user's own ones included. Only under the lock: nobody else is making one.
    fn clear_half_made(&self) -> Result<(), TreesError> {
        let entries = Path::new(&self.workspace().git_dir).join("worktrees");
        for name in fsx::list(&entries)?.into_iter().filter(|n| n.starts_with("tree-")) {
            let entry = entries.join(name);
            let is_missing = |file| entry.join(file).metadata().map_or(true, |m| m.len() == 0);
            if ["commondir", "gitdir", "HEAD"].into_iter().any(is_missing) {
                fsx::remove_tree(&entry)?;
            }
        }
        Ok(())
    }

    /// Serialises the making of worktrees over all processes: git picks names for them by looking.
    fn lock(&self) -> Result<FileLock, TreesError> {
        let path = self.own_folder()?.join("trees.lock");
        let lock = FileLock::acquire(&path, LOCK_PATIENCE)?;
        self.give(&path)?;
        lock.ok_or_else(|| TreesError::Busy { path: path.display().to_string() })
    }
}

/// The tree's own git directory, from the file that git has just written.
pub(super) fn read_admin(dir: &Path) -> Result<PathBuf, TreesError> {
    let text = fsx::read_optional(&dir.join(".git"))?.unwrap_or_default();
    let path = text.trim_end().strip_prefix("gitdir: ").unwrap_or_default();
    if path.is_empty() { Err(super::diff::garbled()) } else { Ok(PathBuf::from(path)) }
}
