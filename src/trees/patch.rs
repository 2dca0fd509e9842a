//! Patches for people: what changed, whole, as bytes that `git apply` takes.

use crate::logic::audit::Change;

use super::{Audited, Trees, TreesError};

/// Most paths that one call is given.
const CHUNK: usize = 200;
/// Largest patch, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Options that no attribute and no setting of a repository can bend.
const PLAIN: [&str; 11] = [
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

impl Trees {
    /// The difference between two commits or trees: of a whole job from its base to its tip, of a task from its parent
    /// to its commit, of an attempt from its base to its audited tree.
    ///
    /// # Errors
    /// When git fails, or the patch is larger than 64 MiB.
    pub fn patch(&self, old: &str, new: &str) -> Result<Vec<u8>, TreesError> {
        Ok(self.read(PLAIN).arg(old).arg(new).limit(LIMIT).run()?)
    }

    /// The part of an attempt that lies at the given paths, such as what its claim does not cover.
    ///
    /// # Errors
    /// When git fails, or a part of the patch is larger than 64 MiB.
    pub fn patch_of(&self, audited: &Audited, changes: &[Change]) -> Result<Vec<u8>, TreesError> {
        let mut patch = Vec::new();
        for chunk in changes.chunks(CHUNK) {
            let mut call = self.read(PLAIN).env("GIT_LITERAL_PATHSPECS", "1").limit(LIMIT);
            call = call.arg(&audited.base).arg(&audited.tree).arg("--");
            for change in chunk {
                call = call.arg(&change.path);
            }
            patch.extend(call.run()?);
        }
        Ok(patch)
    }
}
