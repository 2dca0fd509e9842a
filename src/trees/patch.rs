//! Patches for people: what changed, whole, as bytes that `git apply` takes.

use crate::logic::audit::Change;
use crate::os::git::GitError;

use super::{Audited, Trees, TreesError};

/// Most paths that one call is given.
const CHUNK: usize = 50;
/// Largest patch, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Options that no attribute and no setting of a repository can bend.
pub(super) const PLAIN: [&str; 11] = [
    "diff-tree",
    "-p",
    "--binary",
    "--text",
    "--full-index",
    "--no-textconv",
    "--no-ext-diff",
    "--no-renames",
    "--no-color",
    "--src-prefix=a/",
    "--dst-prefix=b/",
];

/// The same for all parts of a patch.
const LIMIT_OF_ALL: usize = 64 * 1024 * 1024;

/// Names what a patch has no room for.
fn left_out(patch: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        let line = format!("numerus: too large for a patch, see the tree: {:?}\n", change.path);
        patch.extend(line.into_bytes());
    }
}

impl Trees {
    /// The difference between two commits or trees: of a whole job from its base to its tip, of an attempt from its base to its
    /// audited tree.
    ///
    /// # Errors
    /// When git fails, or the patch is larger than 64 MiB.
    pub fn patch(&self, old: &str, new: &str) -> Result<Vec<u8>, TreesError> {
        if let Some(patch) = self.recall.patch(Some(old), new) {
            return Ok(patch);
        }
        self.asked_for(old, new)
    }

    fn asked_for(&self, old: &str, new: &str) -> Result<Vec<u8>, TreesError> {
        Ok(self.read(PLAIN).arg(old).arg(new).limit(LIMIT).run()?)
    }

    /// The difference between a commit of a task and its parent.
    ///
    /// # Errors
    /// Those of [`Trees::patch`].
    pub fn patch_of_commit(&self, commit: &str) -> Result<Vec<u8>, TreesError> {
        if let Some(patch) = self.recall.patch(None, commit) {
            return Ok(patch);
        }
        let patch = self.asked_for(&format!("{commit}^"), commit)?;
        self.recall.note_patch(commit, &patch);
        Ok(patch)
    }

    /// Everything that an attempt did, for a person to save; what a patch cannot hold is named in it.
    ///
    /// # Errors
    /// When git fails.
    pub fn patch_of_attempt(&self, audited: &Audited) -> Result<Vec<u8>, TreesError> {
        let mut patch = self.patch_of(audited, &audited.changes)?;
        for found in &audited.violations {
            let line = format!(
                "numerus: no patch holds it, see the tree: {:?} ({})\n",
                found.path, found.what
            );
            patch.extend(line.into_bytes());
        }
        Ok(patch)
    }

    /// The part of an attempt that lies at the given paths, such as what its claim does not cover. Paths with which it
    /// would be larger than 64 MiB are named instead, in a line that `git apply` passes over: the tree has them.
    ///
    /// # Errors
    /// When git fails.
    pub fn patch_of(&self, audited: &Audited, changes: &[Change]) -> Result<Vec<u8>, TreesError> {
        let mut patch = Vec::new();
        for chunk in changes.chunks(CHUNK) {
            let mut call = self.read(PLAIN).env("GIT_LITERAL_PATHSPECS", "1").limit(LIMIT);
            call = call.arg(&audited.base).arg(&audited.tree).arg("--");
            for change in chunk {
                call = call.arg(&change.path);
            }
            match call.run() {
                Err(GitError::TooLarge { .. }) => left_out(&mut patch, chunk),
                part => {
                    let part = part?;
                    let is_too_much = patch.len() + part.len() > LIMIT_OF_ALL;
                    if is_too_much { left_out(&mut patch, chunk) } else { patch.extend(part) }
                }
            }
        }
        Ok(patch)
    }
}
