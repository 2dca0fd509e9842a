//! Taking up the tree of an attempt that rests: only if it still is what it was made as, whatever its agent did in it.

use std::path::Path;

use crate::model::workspace::Oid;
use crate::os::fsx;
use crate::runs::Place;

use super::tree::read_admin;
use super::walk::as_path;
use super::{Tree, Trees, TreesError};

/// Longest path that leads back from an entry to its tree, in bytes, with its line end.
const MOST_LINK_BYTES: u64 = 4097;

impl Trees {
    /// Finds the tree that an earlier worker made for an attempt, with what its agent has written in it. `None` when it is
    /// gone, or is no longer at the commit that it was made for: then a new one is due. `carried` is what was copied into
    /// it, as for [`Trees::carry`].
    ///
    /// # Errors
    /// When git fails.
    pub fn find(
        &self,
        place: &Place,
        attempt: u32,
        carried: &[String],
    ) -> Result<Option<Tree>, TreesError> {
        let Ok(admin) = read_admin(&place.tree(attempt)) else { return Ok(None) };
        if !self.is_entry_of(&admin, &place.tree(attempt)) {
            return Ok(None);
        }
        let head = self.git.read(["rev-parse", "-q", "--verify", "HEAD^{commit}"]);
        let head = head.env("GIT_DIR", &admin).ask()?;
        let base: Oid = String::from_utf8_lossy(&head.stdout).trim().to_owned();
        if head.code != 0 || base.is_empty() {
            return Ok(None);
        }
        let birth = self.birth_of(&place.tree(attempt))?;
        let tree = Tree::known(place, attempt, &self.workspace().prefix, base, admin, birth);
        let is_whole = tree.cwd().is_dir() && tree.fresh_index().is_file();
        if !is_whole || !self.is_landed(tree.base())? || !self.is_as_made(&tree)? {
            return Ok(None);
        }
        Ok(Some(tree.with_carried(carried)))
    }

    /// Whether a folder is the entry of a tree among those that the repository keeps of its worktrees: the tree alone, in which an
    /// agent may have written, does not say so.
    /// What cannot be read says so neither.
    pub(super) fn is_entry_of(&self, admin: &Path, tree: &Path) -> bool {
        let worktrees = Path::new(&self.workspace().git_dir).join("worktrees");
        let back = fsx::read_bounded(&admin.join("gitdir"), MOST_LINK_BYTES).ok().flatten();
        let back = back.unwrap_or_default();
        let is_its_own = as_path(back.trim_ascii_end()) == tree.join(".git");
        admin.parent() == Some(&worktrees) && is_its_own
    }

    /// Whether the index that was made with the tree, which no agent can reach, shows the commit that the tree says it is at.
    fn is_as_made(&self, tree: &Tree) -> Result<bool, TreesError> {
        let args = ["diff-index", "--cached", "--quiet", tree.base(), "--"];
        let call = self.read(args).env("GIT_INDEX_FILE", tree.fresh_index());
        Ok(call.ask()?.code == 0)
    }
}
