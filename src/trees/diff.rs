//! The difference between two trees, from git's raw output and nothing else: no attribute, ignore rule or rename
//! detection can blind it.

use std::collections::BTreeSet;

use crate::logic::audit::{Change, Violation};
use crate::model::workspace::Oid;
use crate::os::git::GitError;

use super::patch::PLAIN;
use super::recall::SMALL_PATCH;
use super::{Trees, TreesError};

/// Most bytes of a difference that is asked for with its patch.
const LARGE: u64 = 1024 * 1024;

impl Trees {
    /// The paths that differ between two commits or trees, relative to the repository's top, sorted.
    ///
    /// # Errors
    /// When git fails.
    pub fn changed_between(&self, old: &str, new: &str) -> Result<Vec<String>, TreesError> {
        if old == new {
            return Ok(Vec::new());
        }
        let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new];
        let out = self.read(args).run()?;
        Ok(fields(&out).map(|path| String::from_utf8_lossy(path).into_owned()).collect())
    }

    /// The paths that single commits changed, each against its parent, relative to the repository's top, sorted.
    ///
    /// # Errors
    /// When git fails.
    pub fn changed_by(&self, commits: &[Oid]) -> Result<Vec<String>, TreesError> {
        let (mut paths, mut unknown) = (BTreeSet::new(), Vec::new());
        for commit in commits {
            match self.recall.paths(commit) {
                Some(known) => paths.extend(known),
                None => unknown.push(commit.as_str()),
            }
        }
        if !unknown.is_empty() {
            let args = ["diff-tree", "--stdin", "-r", "-z", "--name-only", "--no-renames"];
            let call = self.read(args).arg("--no-commit-id");
            let out = call.input((unknown.join("\n") + "\n").as_bytes()).run()?;
            paths.extend(fields(&out).map(|path| String::from_utf8_lossy(path).into_owned()));
        }
        Ok(paths.into_iter().collect())
    }

    /// Every difference.
    pub(super) fn diff(&self, old: &str, new: &str) -> Result<Diff, TreesError> {
        let out = self.read(["diff-tree", "-r", "-z", "--raw", "--no-renames", old, new]).run()?;
        Diff::read(&out)
    }

    /// The same, with the patch of it all if that is a small one.
    pub(super) fn diff_with_patch(&self, old: &str, new: &str) -> Result<Diff, TreesError> {
        let call = self.read(PLAIN).arg("-r").arg("-z").arg("--raw").arg(old).arg(new);
        let out = match call.limit(LARGE).run() {
            Err(GitError::TooLarge { .. }) => return self.diff(old, new),
            out => out?,
        };
        let is_end = |pair: &[u8]| pair == b"\0\0";
        // An empty field lies between the two.
        let end = out.windows(2).position(is_end).map_or(out.len(), |at| at + 1);
        let patch = out.get(end + 1..).unwrap_or_default();
        let patch = (patch.len() <= SMALL_PATCH).then(|| patch.to_vec());
        Ok(Diff { patch, ..Diff::read(&out[..end])? })
    }
}

/// What differs between two trees.
#[derive(Debug, Default)]
pub(super) struct Diff {
    /// The paths, with what was there and what is.
    pub(super) changes: Vec<Change>,
    /// Names that are no UTF-8, so that no claim can name them.
    pub(super) unnamed: Vec<Violation>,
    /// The difference as a patch, where that was asked for.
    pub(super) patch: Option<Vec<u8>>,
}

impl Diff {
    /// From `:<old mode> <new mode> <old id> <new id> <letter>`, then the path, each ended by a NUL.
    fn read(out: &[u8]) -> Result<Self, TreesError> {
        let mut found = Self::default();
        let mut fields = fields(out);
        while let (Some(head), Some(path)) = (fields.next(), fields.next()) {
            match std::str::from_utf8(path) {
                Ok(path) => found.changes.push(change(head, path).ok_or_else(garbled)?),
                Err(_) => found.unnamed.push(Violation {
                    path: String::from_utf8_lossy(path).into_owned(),
                    what: "a name that is no UTF-8".to_owned(),
                }),
            }
        }
        Ok(found)
    }
}

/// The parts of NUL-terminated output.
pub(super) fn fields(out: &[u8]) -> impl Iterator<Item = &[u8]> {
    out.split(|b| *b == 0).filter(|field| !field.is_empty())
}

pub(super) fn garbled() -> TreesError {
    GitError::Garbled { command: "diff-tree".to_owned() }.into()
}

/// One `:<old mode> <new mode> <old id> <new id> <letter>` with its path.
fn change(head: &[u8], path: &str) -> Option<Change> {
    let head = std::str::from_utf8(head).ok()?.strip_prefix(':')?;
    let mut words = head.split(' ').map(str::to_owned);
    let (old_mode, new_mode) = (words.next()?, words.next()?);
    let (old_id, new_id) = (words.next()?, words.next()?);
    let entry = |mode: String, id: String| (mode != "000000").then_some((mode, id));
    Some(Change {
        path: path.to_owned(),
        old: entry(old_mode, old_id),
        new: entry(new_mode, new_id),
    })
}
