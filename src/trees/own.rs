//! The names that a job's own branch may have. Known here alone: who takes it for another's thinks the work
//! merged, and removes it.

use crate::model::id::JobId;

/// What the ref of a job's branch begins with, where its name is free.
pub(super) const OWN_BRANCHES: &str = "refs/heads/numerus/";

/// The refs that a job's branch may be, in the order in which they are tried. Where a branch is called `numerus` there is no
/// room for branches below it: the last one is beside it.
pub(super) fn own_branches(job: &JobId) -> Vec<String> {
    let numbered = (2..=9).map(|n| format!("{OWN_BRANCHES}{job}-{n}"));
    let first = format!("{OWN_BRANCHES}{job}");
    std::iter::once(first).chain(numbered).chain([format!("refs/heads/numerus-{job}")]).collect()
}
