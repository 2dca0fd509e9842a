//! What is done without git in a fresh repository of our own: the first tree of a task, where there is nothing to check out, and its
//! refs. Each is a few small files in the layout that git documents (gitrepository-layout).
//!
//! Promises: only in a repository that we made, with the settings that we gave it, so that refs and worktrees are such files. What is
//! there already, or is otherwise than it is known to be, is left to git, which says what is wrong.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{Error, ErrorKind, Result as IoResult, Write as _};
use std::path::{Path, PathBuf};

use crate::os::fsx;

use super::fresh::{COMMIT, CONFIG, object};
use super::{Trees, TreesError};

/// An index without entries, as `git read-tree --empty` writes it.
pub(super) const EMPTY_INDEX: &[u8] = b"DIRC\0\0\0\x02\0\0\0\0TREE\0\0\0\x19\0\x30\x20\x30\x0a\x4b\x82\x5d\xc6\x42\xcb\x6e\
                                        \xb9\xa0\x60\xe5\x4b\xf8\xd6\x92\x88\xfb\xee\x49\x04\x72\xd5\x3f\
                                        \x78\x7d\x86\xa9\x32\xa2\x5a\x85\x37\xce\xe2\x36\xd8\x18\x46\xa8\xf1";
/// Most trees of one attempt's name that are looked at.
const MOST_ENTRIES: usize = 256;

/// A ref that is to lead elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefMove<'a> {
    /// Its full name.
    pub(super) name: &'a str,
    /// The commit that it is to lead to.
    pub(super) new: &'a str,
    /// What it leads to now; `None` if it is not there.
    pub(super) old: Option<&'a str>,
}

impl Trees {
    /// Whether refs and worktrees are files here, as we know them.
    fn is_by_hand(&self) -> bool {
        let git_dir = Path::new(&self.workspace.git_dir);
        let settings = fsx::read_bounded(&git_dir.join("config"), CONFIG.len() as u64);
        self.git.owner().is_none()
            && self.folder.is_own(&self.workspace.top)
            && !leads_elsewhere(git_dir)
            && settings.is_ok_and(|settings| settings.as_deref() == Some(CONFIG))
    }

    /// Makes a tree, which lies nowhere yet, if it shows the commit without files; whether it did. The caller holds the lock of all
    /// trees, and has cleared away what was half made.
    pub(super) fn add_empty(&self, dir: &Path, commit: &str) -> Result<bool, TreesError> {
        if commit != COMMIT || !self.is_by_hand() {
            return Ok(false);
        }
        fsx::make_dirs(dir)?;
        // As git does: links on the way to it are none of its path.
        let dir = dir.canonicalize().map_err(fsx::at(dir))?;
        let entries = Path::new(&self.workspace.git_dir).join("worktrees");
        fsx::make_dirs(&entries)?;
        let Some(entry) = self.new_entry(&entries, &dir)? else { return Ok(false) };
        fill(&entry, &dir).inspect_err(|_| drop(fsx::remove_tree(&entry)))?;
        Ok(true)
    }

    /// Makes the folder of a tree's entry, under a name that none has; `None` where one says that it is this tree's already, of a
    /// worker that died.
    fn new_entry(&self, entries: &Path, dir: &Path) -> Result<Option<PathBuf>, TreesError> {
        for name in fsx::list_os(entries)? {
            if self.is_entry_of(&entries.join(name), dir) {
                return Ok(None);
            }
        }
        let name = dir.file_name().unwrap_or(OsStr::new("tree"));
        let numbers = (1..MOST_ENTRIES).map(|number| number.to_string());
        for number in std::iter::once(String::new()).chain(numbers) {
            let mut name = name.to_owned();
            name.push(number);
            match fsx::make_free_dir(&entries.join(&name)) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                made => return Ok(Some(made.map(|()| entries.join(name))?)),
            }
        }
        Ok(None)
    }

    /// Moves refs; whether it did. Each is locked and looked at before the first one moves, and where one is locked already, even by
    /// one who died, or leads elsewhere than it is thought to, none does. Where the disk fails in the middle, git goes on from there.
    pub(super) fn move_refs(&self, moves: &[RefMove<'_>]) -> bool {
        let mut locks = VecDeque::new();
        let moved = self.is_by_hand()
            && moves.iter().all(|it| self.lock_ref(it, &mut locks).is_ok())
            && give_names(&mut locks).is_ok();
        for (lock, _path) in &locks {
            let _left_to_git = fsx::remove(lock);
        }
        moved
    }

    /// Locks a ref and looks whether it may move: the lock, and where it is to be moved, are among these then, whatever was found.
    fn lock_ref(&self, it: &RefMove<'_>, locks: &mut Locks) -> IoResult<()> {
        let path = Path::new(&self.workspace.git_dir).join(it.name);
        fsx::make_dirs(path.parent().unwrap_or(&path))?;
        let lock = lock_of(&path);
        fsx::put_lock(&lock, format!("{}\n", it.new).as_bytes())?;
        locks.push_back((lock, path.clone()));
        self.is_at(it, &path)
    }

    /// Whether a ref, which is locked, leads to what it is thought to, and what it is to lead to is there. One of those that git packs
    /// may have no file.
    fn is_at(&self, it: &RefMove<'_>, path: &Path) -> IoResult<()> {
        let git_dir = Path::new(&self.workspace.git_dir);
        let (packed, commit) = (git_dir.join("packed-refs"), git_dir.join(object(it.new)));
        let found = self.ref_file(it.name).map_err(Error::other)?;
        let is_free = it.old.is_some() || path.symlink_metadata().is_err();
        let is_as_thought = found.as_deref() == it.old && is_free;
        if is_as_thought && packed.symlink_metadata().is_err() && commit.is_file() {
            Ok(())
        } else {
            Err(ErrorKind::AlreadyExists.into())
        }
    }
}

/// Locks that are held, each with the ref that it is of.
type Locks = VecDeque<(PathBuf, PathBuf)>;

/// Moves each ref by giving its name to its lock, which is held no more then.
fn give_names(locks: &mut Locks) -> IoResult<()> {
    while let Some((lock, path)) = locks.front() {
        fsx::rename_derived(lock, path)?;
        locks.pop_front();
    }
    Ok(())
}

/// Fills the entry of a tree and puts its link there. The entry is half made until its `HEAD` is there.
fn fill(entry: &Path, dir: &Path) -> IoResult<()> {
    let line = |path: &Path| [path.as_os_str().as_encoded_bytes(), b"\n"].concat();
    let link = [&b"gitdir: "[..], &line(entry)].concat();
    for (file, bytes) in [
        (entry.join("locked"), b"numerus\n".to_vec()),
        (entry.join("commondir"), b"../..\n".to_vec()),
        (entry.join("gitdir"), line(&dir.join(".git"))),
        (entry.join("index"), EMPTY_INDEX.to_vec()),
        (dir.join(".git"), link),
        (entry.join("HEAD"), format!("{COMMIT}\n").into_bytes()),
    ] {
        fsx::create_new(&file)?.write_all(&bytes).map_err(fsx::at(&file))?;
    }
    Ok(())
}

/// Whether git takes refs, objects and settings from another place than this.
pub(super) fn leads_elsewhere(git_dir: &Path) -> bool {
    git_dir.join("commondir").symlink_metadata().is_ok()
}

/// The file by which git locks a ref.
fn lock_of(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}
