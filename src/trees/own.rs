//! What in a repository is a job's own: the repository itself, and the names that its branch may have. Known here alone: who
//! takes a job's own branch for another one thinks its work merged, and removes it.

use std::path::Path;

use crate::model::id::JobId;
use crate::model::workspace::Workspace;
use crate::runs::RunFolder;

/// Whether the repository of a job lies in its own run folder, made for it alone.
pub fn has_own_repository(workspace: &Workspace, folder: &RunFolder) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(Path::new(&workspace.git_dir)).starts_with(real(&folder.own_workspace()))
}

/// The refs that a job's branch may be, in the order in which they are tried. Where a branch is called `numerus` there is no
/// room for branches below it: the last one is beside it.
pub(super) fn own_branches(job: &JobId) -> Vec<String> {
    let numbered = (2..=9).map(|n| format!("refs/heads/numerus/{job}-{n}"));
    let first = format!("refs/heads/numerus/{job}");
    std::iter::once(first).chain(numbered).chain([format!("refs/heads/numerus-{job}")]).collect()
}
