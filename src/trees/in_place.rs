//! Work without trees: one writing session at a time in the directory itself. What is claimed is copied aside before, so
//! that a retry starts from the same; what is written elsewhere is found by comparing two looks, and only reported.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::logic::claims::{PathKind, covers, names};
use crate::model::claim::ClaimPath;
use crate::os::fsx;
use crate::runs::Place;

use super::TreesError;
use super::copy::{Budget, copy};
use super::kind_below;

/// Most files that a look takes in.
const MAX_FILES: usize = 200_000;

/// The claimed paths of an attempt as they were before it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    dir: PathBuf,
    workspace: PathBuf,
    writes: Vec<ClaimPath>,
}

impl Snapshot {
    /// Copies the claimed paths of `workspace` into `<place>/attempt-N.before/`. One that is there already is older, from
    /// before an interruption, and stays as it is.
    ///
    /// # Errors
    /// When a path cannot be read, or all of them are too much.
    pub fn take(
        workspace: &Path,
        writes: &[ClaimPath],
        place: &Place,
        attempt: u32,
    ) -> Result<Self, TreesError> {
        let dir = place.dir().join(format!("attempt-{attempt}.before"));
        let snapshot = Self { dir, workspace: workspace.to_owned(), writes: writes.to_vec() };
        if snapshot.dir.exists() {
            return Ok(snapshot);
        }
        let fresh = place.dir().join(format!("attempt-{attempt}.before.part"));
        fsx::remove_tree(&fresh)?;
        fsx::make_dirs(&fresh)?;
        let mut budget = Budget::default();
        for claimed in writes {
            for path in present(workspace, claimed) {
                copy(&below(workspace, &path), &below(&fresh, &path), &mut budget)?;
            }
        }
        fsx::move_to(&fresh, &snapshot.dir)?;
        Ok(snapshot)
    }

    /// Makes the claimed paths what they were: changed files are put back, new ones removed.
    ///
    /// # Errors
    /// Those of the system, with the path; it may be called again.
    pub fn restore(&self) -> Result<(), TreesError> {
        let mut budget = Budget::default();
        for claimed in &self.writes {
            if kind_below(&self.workspace, &claimed.path) == PathKind::LeadsOut {
                // Somebody put a link in the way: what lies behind it is not ours to change.
                continue;
            }
            self.remove_new(claimed)?;
            for path in present(&self.dir, claimed) {
                copy(&below(&self.dir, &path), &below(&self.workspace, &path), &mut budget)?;
            }
        }
        Ok(())
    }

    /// Removes the claimed files that the snapshot does not have, or has as something else.
    fn remove_new(&self, claimed: &ClaimPath) -> Result<(), TreesError> {
        let walk = WalkDir::new(below(&self.workspace, &claimed.path))
            .follow_links(false)
            .follow_root_links(false)
            .contents_first(true)
            .into_iter();
        // With contents first nothing can be pruned on the way: git directories are passed over by name.
        for entry in walk.flatten() {
            let path = entry.path().strip_prefix(&self.workspace).unwrap_or(entry.path());
            let before = self.dir.join(path);
            let was = before.symlink_metadata().ok().map(|m| m.file_type());
            let is_beside = claimed.glob.is_some() && !names(claimed, &path.to_string_lossy());
            if is_in_git(path) || was == Some(entry.file_type()) || is_beside {
                continue;
            }
            if entry.file_type().is_dir() {
                // A directory that something unknown still lies in stays.
                std::fs::remove_dir(entry.path()).ok();
            } else {
                fsx::remove(entry.path())?;
            }
        }
        Ok(())
    }
}

/// What of a claimed path is there: the path itself, or each file that matches its pattern.
fn present(dir: &Path, claimed: &ClaimPath) -> Vec<String> {
    let from = below(dir, &claimed.path);
    if claimed.glob.is_none() {
        let is_there = from.symlink_metadata().is_ok();
        return is_there.then(|| claimed.path.clone()).into_iter().collect();
    }
    let files = WalkDir::new(from).follow_links(false).into_iter().flatten();
    let files = files.filter(|entry| !entry.file_type().is_dir());
    let inner = files.filter_map(|entry| Some(entry.path().strip_prefix(dir).ok()?.to_owned()));
    let paths = inner.filter(|path| !is_in_git(path)).filter_map(|p| p.to_str().map(str::to_owned));
    paths.filter(|path| names(claimed, path)).collect()
}

/// A path below a directory; the empty path is the directory itself.
fn below(dir: &Path, path: &str) -> PathBuf {
    if path.is_empty() { dir.to_owned() } else { dir.join(path) }
}

fn is_in_git(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == ".git")
}

/// Every file of a directory with what tells whether it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    files: BTreeMap<String, Stamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl Look {
    /// Takes in a directory, git directories left out; `None` when it holds too many files to tell.
    pub fn take(workspace: &Path) -> Option<Self> {
        let mut files = BTreeMap::new();
        let walk = WalkDir::new(workspace).follow_links(false).into_iter();
        for entry in walk.filter_entry(|e| e.file_name() != ".git").flatten() {
            if entry.file_type().is_dir() {
                continue;
            }
            let (Ok(meta), Ok(path)) = (entry.metadata(), entry.path().strip_prefix(workspace))
            else {
                continue;
            };
            let stamp = Stamp {
                modified: (meta.mtime(), meta.mtime_nsec()),
                changed: (meta.ctime(), meta.ctime_nsec()),
                size: meta.len(),
                inode: meta.ino(),
            };
            files.insert(path.to_string_lossy().into_owned(), stamp);
            if files.len() > MAX_FILES {
                return None;
            }
        }
        Some(Self { files })
    }

    /// The paths that a claim does not cover and that are new, gone or written since this look.
    pub fn outside(&self, after: &Self, writes: &[ClaimPath]) -> Vec<String> {
        let all: BTreeSet<&String> = self.files.keys().chain(after.files.keys()).collect();
        let differs = |path: &&String| self.files.get(*path) != after.files.get(*path);
        let changed = all.into_iter().filter(differs);
        changed.filter(|path| !covers(writes, path)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_finds_what_the_attempt_found() {
        let d = tempfile::tempdir().expect("scratch");
        let workspace = d.path().join("w");
        fsx::make_dirs(&workspace.join("src/old")).expect("dirs");
        for (path, text) in [("src/a", "a"), ("src/old/b", "b"), ("other", "o")] {
            fsx::put(&workspace.join(path), text.as_bytes()).expect("file");
        }
        let root = crate::model::root::Root::new(d.path());
        let job = crate::model::id::JobId::parse("j-abc234").expect("id");
        let place = crate::runs::Runs::of(&root).folder(&job).place("t1");
        fsx::make_dirs(place.dir()).expect("place");
        let writes = [ClaimPath::dir("src"), ClaimPath::file("new")];
        let before = Look::take(&workspace).expect("small");
        let snapshot = Snapshot::take(&workspace, &writes, &place, 1).expect("snapshot");
        fsx::put(&workspace.join("src/a"), b"changed").expect("write");
        fsx::remove_tree(&workspace.join("src/old")).expect("remove");
        fsx::put(&workspace.join("src/old"), b"now a file").expect("write");
        fsx::put(&workspace.join("new"), b"new").expect("write");
        fsx::put(&workspace.join("other"), b"sneaky").expect("write");
        let after = Look::take(&workspace).expect("small");
        assert_eq!(before.outside(&after, &writes), ["other"]);
        let again = Snapshot::take(&workspace, &writes, &place, 1).expect("the older one");
        again.restore().expect("restore");
        snapshot.restore().expect("twice is as good");
        let text = |path: &str| std::fs::read_to_string(workspace.join(path)).ok();
        assert_eq!(text("src/a").as_deref(), Some("a"));
        assert_eq!(text("src/old/b").as_deref(), Some("b"));
        assert_eq!(text("new"), None);
        assert_eq!(text("other").as_deref(), Some("sneaky"), "it was not claimed");
    }

    #[test]
    fn a_pattern_puts_back_what_it_matches_and_nothing_else() {
        let d = tempfile::tempdir().expect("scratch");
        let workspace = d.path().join("w");
        fsx::make_dirs(&workspace.join("src/deep")).expect("dirs");
        for path in ["a.rs", "a.md", "src/b.rs", "src/deep/c.rs"] {
            fsx::put(&workspace.join(path), b"old").expect("file");
        }
        let root = crate::model::root::Root::new(d.path());
        let job = crate::model::id::JobId::parse("j-abc234").expect("id");
        let place = crate::runs::Runs::of(&root).folder(&job).place("t1");
        fsx::make_dirs(place.dir()).expect("place");
        let writes = [ClaimPath::matching("", "*.rs"), ClaimPath::matching("src", "**/c*")];
        let snapshot = Snapshot::take(&workspace, &writes, &place, 1).expect("snapshot");
        for path in ["a.rs", "a.md", "src/b.rs", "src/deep/c.rs", "new.rs", "src/cc", "new.md"] {
            fsx::put(&workspace.join(path), b"new").expect("file");
        }
        snapshot.restore().expect("restore");
        let text = |path: &str| std::fs::read_to_string(workspace.join(path)).ok();
        for (path, expected) in [
            ("a.rs", Some("old")),
            ("src/deep/c.rs", Some("old")),
            ("new.rs", None),
            ("src/cc", None),
            ("a.md", Some("new")),
            ("src/b.rs", Some("new")),
            ("new.md", Some("new")),
        ] {
            assert_eq!(text(path).as_deref(), expected, "{path}");
        }
    }
}
