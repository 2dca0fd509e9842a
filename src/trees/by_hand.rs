//! What is done without git in a fresh repository of our own: the first tree of a task, where there is nothing to check out, and its
//! refs. Each is a few small files in the layout that git documents (gitrepository-layout), written in the order in which git writes
//! them.
//!
//! Promises: only in a repository that we made, with the settings that we gave it, so that refs and worktrees are such files. What is
//! there already, or is otherwise than it is known to be, is left to git, which says what is wrong.

use std::ffi::OsStr;
use std::io::{Error, ErrorKind, Result as IoResult, Write as _};
use std::path::{Path, PathBuf};

use crate::os::fsx;

use super::fresh::{COMMIT, CONFIG};
use super::{Trees, TreesError};

/// An index without entries, as `git read-tree --empty` writes it.
pub(super) const EMPTY_INDEX: &[u8] = b"DIRC\0\0\0\x02\0\0\0\0TREE\0\0\0\x19\0\x30\x20\x30\x0a\x4b\x82\x5d\xc6\x42\xcb\x6e\
                                        \xb9\xa0\x60\xe5\x4b\xf8\xd6\x92\x88\xfb\xee\x49\x04\x72\xd5\x3f\
                                        \x78\x7d\x86\xa9\x32\xa2\x5a\x85\x37\xce\xe2\x36\xd8\x18\x46\xa8\xf1";
/// Most trees of one attempt's name that are looked at.
const MOST_ENTRIES: usize = 256;

impl Trees {
    /// Whether refs and worktrees are files here, as we know them.
    fn is_by_hand(&self) -> bool {
        let git_dir = Path::new(&self.workspace.git_dir);
        let settings = fsx::read_bounded(&git_dir.join("config"), CONFIG.len() as u64);
        self.git.owner().is_none()
            && self.folder.is_own(&self.workspace.top)
            && settings.is_ok_and(|settings| settings.as_deref() == Some(CONFIG))
            && git_dir.join("packed-refs").symlink_metadata().is_err()
    }

    /// Makes a tree, which lies nowhere yet, if it shows the commit without files; whether it did. The caller holds the lock of all
    /// trees, and has cleared away what was half made.
    pub(super) fn add_empty(&self, dir: &Path, commit: &str) -> Result<bool, TreesError> {
        if commit != COMMIT || !self.is_by_hand() {
            return Ok(false);
        }
        let entries = Path::new(&self.workspace.git_dir).join("worktrees");
        fsx::make_dirs(&entries)?;
        let Some(entry) = self.free_entry(&entries, dir)? else { return Ok(false) };
        fsx::make_dirs(&entry)?;
        fsx::make_dirs(dir)?;
        let line = |path: &Path| [path.as_os_str().as_encoded_bytes(), b"\n"].concat();
        let link = [&b"gitdir: "[..], &line(&entry)].concat();
        // Its entry is half made until its `HEAD` is there.
        for (file, bytes) in [
            (entry.join("locked"), b"numerus\n".to_vec()),
            (entry.join("commondir"), b"../..\n".to_vec()),
            (entry.join("gitdir"), line(&dir.join(".git"))),
            (entry.join("index"), EMPTY_INDEX.to_vec()),
            (dir.join(".git"), link),
            (entry.join("HEAD"), format!("{commit}\n").into_bytes()),
        ] {
            fsx::create_new(&file)?.write_all(&bytes).map_err(fsx::at(&file))?;
        }
        Ok(true)
    }

    /// A name for a tree's entry that none has yet; none where one says that it is this tree's already, of a worker that died.
    fn free_entry(&self, entries: &Path, dir: &Path) -> Result<Option<PathBuf>, TreesError> {
        let taken = fsx::list_os(entries)?;
        for name in &taken {
            if self.is_entry_of(&entries.join(name), dir)? {
                return Ok(None);
            }
        }
        let name = dir.file_name().unwrap_or(OsStr::new("tree"));
        let numbered = (1..MOST_ENTRIES).map(|n| {
            let mut numbered = name.to_owned();
            numbered.push(n.to_string());
            numbered
        });
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        Ok(names.find(|name| !taken.contains(name)).map(|name| entries.join(name)))
    }

    /// Sets refs, each of which has the value `old` at this moment, or none if that is `None`; whether it did, all of them. Where one
    /// is locked, even by one who died, it does not.
    pub(super) fn write_refs(&self, refs: &[Set<'_>]) -> bool {
        self.is_by_hand() && self.write_ref_files(refs).is_ok()
    }

    fn write_ref_files(&self, refs: &[Set<'_>]) -> IoResult<()> {
        let paths: Vec<PathBuf> =
            refs.iter().map(|set| Path::new(&self.workspace.git_dir).join(set.name)).collect();
        let locks: Vec<PathBuf> = paths.iter().map(|path| lock_of(path)).collect();
        let lines: Vec<String> = refs.iter().map(|set| format!("{}\n", set.new)).collect();
        for path in &paths {
            fsx::make_dirs(path.parent().unwrap_or(path))?;
        }
        let lines = lines.iter().map(String::as_bytes);
        let written: Vec<(PathBuf, &[u8])> = locks.iter().cloned().zip(lines).collect();
        fsx::put_as_git_does(&written)
            .and_then(|()| {
                refs.iter().zip(&paths).try_for_each(|(set, path)| self.is_at(set, path))
            })
            .and_then(|()| {
                let pairs = || locks.iter().zip(&paths);
                pairs().try_for_each(|(lock, path)| fsx::rename_derived(lock, path))
            })
            .inspect_err(|_| locks.iter().for_each(|lock| drop(fsx::remove(lock))))
    }

    /// Whether a ref has the value that it is thought to have.
    fn is_at(&self, set: &Set<'_>, path: &Path) -> IoResult<()> {
        let found = self.ref_file(set.name).map_err(Error::other)?;
        let is_free = set.old.is_some() || path.symlink_metadata().is_err();
        let is_as_thought = found.as_deref() == set.old && is_free;
        if is_as_thought { Ok(()) } else { Err(ErrorKind::AlreadyExists.into()) }
    }
}

/// A ref that is to have a new value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set<'a> {
    /// Its full name.
    pub(super) name: &'a str,
    /// The commit.
    pub(super) new: &'a str,
    /// What it leads to now.
    pub(super) old: Option<&'a str>,
}

/// The file by which git locks a ref.
fn lock_of(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}
