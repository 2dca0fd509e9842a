//! The worktree of one attempt: always a new one, detached and locked, kept when the attempt failed.
//!
//! Beside it lies the index as it was made with the tree: what an agent does to the one in use does not matter then.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::logic::claims::PathKind;
use crate::logic::paths::joined;
use crate::model::workspace::Oid;
use crate::os::fsx;
use crate::os::git::Call;
use crate::os::lock::FileLock;
use crate::runs::Place;

use super::copy::{self, Budget};
use super::{Trees, TreesError};

/// Longest wait for others who make worktrees in the same repository.
const LOCK_PATIENCE: Duration = Duration::from_secs(120);
/// Most links on the way to one path, as the kernel has it.
const MAX_LINKS: u32 = 40;
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
    /// What no agent could touch yet when the tree was made.
    birth: Birth,
}

/// What a tree was like before an agent worked in it. It is kept in memory: who has no sandbox can write every file.
#[derive(Debug, Clone, Default)]
pub(super) struct Birth {
    /// Device and number of its directory.
    pub(super) identity: (u64, u64),
    /// When its files had been written, in seconds and nanoseconds.
    pub(super) at: (i64, i64),
    /// The digest of its index.
    pub(super) index: String,
    /// The ignore rules that are in no commit: the user's, then the repository's.
    pub(super) ignores: String,
}

impl Tree {
    /// A tree that is there already.
    pub(super) fn known(
        place: &Place,
        attempt: u32,
        prefix: &str,
        base: Oid,
        admin: PathBuf,
        birth: Birth,
    ) -> Self {
        let (dir, place, prefix) = (place.tree(attempt), place.clone(), prefix.to_owned());
        Self { dir, place, attempt, prefix, base, admin, carried: Vec::new(), birth }
    }

    /// The same with these paths, relative to the workspace, known as copied into it.
    pub(super) fn with_carried(mut self, paths: &[String]) -> Self {
        for path in paths {
            self.note_carried(path);
        }
        self
    }

    fn note_carried(&mut self, path: &str) {
        self.carried.push(joined(&self.prefix, path));
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

    /// What it was like before an agent worked in it.
    pub(super) fn birth(&self) -> &Birth {
        &self.birth
    }

    /// Whether its directory is still the one that was made, and no link to another.
    pub(super) fn is_itself(&self) -> bool {
        identity(&self.dir).is_ok_and(|found| found == self.birth.identity)
    }

    /// The directory of the job below the top.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The index as it was when the tree was made.
    pub(super) fn fresh_index(&self) -> PathBuf {
        self.place.tree_index(self.attempt)
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

/// Removes the folders for temporary files of a task or of a command, whatever was put into them.
///
/// # Errors
/// Those of the system; what could not be removed stays for the next call.
pub fn clear_temps(place: &Place) -> Result<(), TreesError> {
    place.temps()?.iter().try_for_each(|dir| copy::remove_any(dir))
}

/// What a path names below a directory, every link on the way followed: one that leaves the directory is found, and so is
/// the path that one inside leads to, whether something is there yet or not.
pub fn kind_below(cwd: &Path, path: &str) -> PathKind {
    let Ok(cwd) = cwd.canonicalize() else { return PathKind::Missing };
    let Some(way) = Way::to(&cwd, path) else { return PathKind::LeadsOut };
    let Some(real) = way.at.strip_prefix(&cwd).ok().and_then(Path::to_str) else {
        return PathKind::LeadsOut;
    };
    match way.at.symlink_metadata() {
        _ if way.links > 0 && real != path => PathKind::Elsewhere(real.to_owned()),
        Err(_) => PathKind::Missing,
        Ok(meta) if meta.is_dir() => PathKind::Dir,
        Ok(_) => PathKind::File,
    }
}

/// The way to a path as the kernel would go it, except that it goes on where nothing is.
struct Way {
    at: PathBuf,
    links: u32,
}

impl Way {
    /// `None` when the links lead round in circles.
    fn to(cwd: &Path, path: &str) -> Option<Self> {
        let mut way = Self { at: cwd.to_owned(), links: 0 };
        let mut ahead: Vec<OsString> = backwards(Path::new(path));
        while let Some(part) = ahead.pop() {
            if part == ".." {
                way.at.pop();
                continue;
            }
            match way.at.join(&part).read_link() {
                Ok(target) => {
                    way.links += 1;
                    if target.is_absolute() {
                        way.at = PathBuf::from("/");
                    }
                    ahead.extend(backwards(&target));
                }
                // No link, or nothing at all.
                Err(_) => way.at.push(&part),
            }
            if way.links > MAX_LINKS {
                return None;
            }
        }
        Some(way)
    }
}

/// The parts of a path, the first at the end.
fn backwards(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(part).collect()
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
            if !self.add_empty(&dir, commit)? {
                self.add_by_git(&dir, commit)?;
            }
        }
        let mut tree = Tree {
            birth: self.birth_of(&dir)?,
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
        self.keep_index(&mut tree)?;
        Ok(tree)
    }

    fn add_by_git(&self, dir: &Path, commit: &str) -> Result<(), TreesError> {
        // Forced twice: a worktree that is locked but gone, of a git that was killed, gives way. Nobody asks for what it was before.
        let logless = ["-c", "core.logAllRefUpdates=false"];
        let args = ["worktree", "add", "-q", "--force", "--force", "--detach", "--lock"];
        let args = self.pinned(&[&logless[..], &args].concat())?;
        self.write(args).arg(dir).arg(commit).run()?;
        Ok(())
    }

    /// What can still be told of a tree that an earlier worker made: nothing of its files is taken to be as it was. Not for
    /// agents without a sandbox, who may have replaced even what is asked here.
    pub(super) fn birth_of(&self, dir: &Path) -> Result<Birth, TreesError> {
        let identity = identity(dir).map_err(fsx::at(dir))?;
        Ok(Birth { identity, ignores: self.uncommitted_ignores()?, ..Birth::default() })
    }

    /// Moves a tree that nobody wrote in to a newer commit.
    ///
    /// # Errors
    /// When a changed file is in the way, or git fails; then a new tree is due.
    pub fn move_to(&self, tree: &mut Tree, tip: &str) -> Result<(), TreesError> {
        if tree.base == tip {
            return Ok(());
        }
        let call = self.git.write(self.pinned(&["checkout", "-q", "--detach", tip])?);
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
            let why = match kind_below(&from, path) {
                PathKind::LeadsOut => "what is carried may not lead out of the workspace",
                PathKind::Missing => "it is to be carried, and is not there",
                PathKind::Dir | PathKind::File | PathKind::Elsewhere(_) => "",
            };
            if !why.is_empty() {
                let path = from.join(path).display().to_string();
                return Err(TreesError::Refused { path, why: why.to_owned() });
            }
            copy::copy(&from.join(path), &tree.cwd().join(path), &mut budget)?;
            tree.note_carried(path);
        }
        Ok(())
    }

    /// Removes a tree with all that is in it; one that is gone already is no error.
    ///
    /// # Errors
    /// Those of git and of the system.
    pub fn remove(&self, tree: &Tree) -> Result<(), TreesError> {
        copy::remove_any(&tree.dir)?;
        self.unregister(tree)?;
        // What was put there is nobody's work; it is cleared again before the next attempt.
        clear_temps(&tree.place).ok();
        Ok(fsx::remove(&tree.fresh_index())?)
    }

    /// Takes the entry of a tree that is gone out of the repository, as `git worktree remove` does: all that is kept of it is one
    /// folder, and the folder of these goes with the last. What is not plainly that entry is left to git.
    fn unregister(&self, tree: &Tree) -> Result<(), TreesError> {
        if !tree.admin.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        if self.is_entry_of(&tree.admin, &tree.dir) {
            copy::remove_any(&tree.admin)?;
            // There are others.
            let _not_empty = tree.admin.parent().map(std::fs::remove_dir);
        } else {
            let args = ["worktree", "remove", "--force", "--force"];
            self.write(args).arg(&tree.dir).run()?;
        }
        Ok(())
    }

    fn write<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        self.git.write(args).env("GIT_DIR", &self.workspace().git_dir)
    }

    /// Keeps the index that was just made.
    fn keep_index(&self, tree: &mut Tree) -> Result<(), TreesError> {
        let fresh = tree.fresh_index();
        copy::copy_index(&tree.admin.join("index"), &fresh)?;
        tree.birth.index = copy::digest(&fresh)?;
        let meta = fresh.metadata().map_err(fsx::at(&fresh))?;
        tree.birth.at = (meta.mtime(), meta.mtime_nsec());
        self.give(&fresh)
    }

    /// Removes what a killed `worktree add` of ours left half made: one such entry stops every later call of git that looks
    /// at the worktrees, the user's own ones included. Only under the lock: nobody else is making one.
    fn clear_half_made(&self) -> Result<(), TreesError> {
        let entries = Path::new(&self.workspace().git_dir).join("worktrees");
        for name in fsx::list(&entries)?.into_iter().filter(|n| n.starts_with("tree-")) {
            let entry = entries.join(name);
            let is_missing = |file| entry.join(file).metadata().map_or(true, |m| m.len() == 0);
            let is_folder = entry.symlink_metadata().is_ok_and(|found| found.is_dir());
            if is_folder && ["commondir", "gitdir", "HEAD"].into_iter().any(is_missing) {
                fsx::remove_tree(&entry)?;
            }
        }
        Ok(())
    }

    /// Serialises the making of worktrees over all processes: git picks names for them by looking.
    pub(super) fn lock(&self) -> Result<FileLock, TreesError> {
        let path = self.own_folder()?.join("trees.lock");
        let lock = FileLock::acquire(&path, LOCK_PATIENCE)?;
        self.give(&path)?;
        lock.ok_or_else(|| TreesError::Busy { path: path.display().to_string() })
    }
}

/// Device and number of a directory that is no link.
fn identity(dir: &Path) -> std::io::Result<(u64, u64)> {
    let meta = dir.symlink_metadata()?;
    if meta.is_dir() { Ok((meta.dev(), meta.ino())) } else { Err(ErrorKind::NotADirectory.into()) }
}

/// The tree's own git directory, from the file that was made with it.
pub(super) fn read_admin(dir: &Path) -> Result<PathBuf, TreesError> {
    let text = fsx::read_optional(&dir.join(".git"))?.unwrap_or_default();
    let path = text.trim_end().strip_prefix("gitdir: ").unwrap_or_default();
    if path.is_empty() { Err(super::diff::garbled()) } else { Ok(PathBuf::from(path)) }
}
