//! What was seen of a landing while it was made. What a commit is to its parent never changes: whoever makes it need not ask git
//! what it changed, nor twice for the same patch.
//!
//! Promises: what is told is what git would say. It is bounded, and what is not remembered is asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::workspace::Oid;

/// Most landings that are remembered.
const MOST_LANDINGS: usize = 64;
/// Most paths that are remembered of one.
const MOST_PATHS: usize = 100;
/// Largest patch that is remembered, in bytes; only the first landing's is, which is all that most jobs land.
pub(super) const SMALL_PATCH: usize = 64 * 1024;

/// The landings of one job, by their commits.
#[derive(Debug, Default)]
pub(super) struct Recall(Mutex<BTreeMap<Oid, Step>>);

/// What a commit is to its parent.
#[derive(Debug)]
struct Step {
    parent: Oid,
    /// The paths that differ, sorted.
    paths: Vec<String>,
    /// The difference, where it was made already.
    patch: Option<Vec<u8>>,
}

impl Recall {
    fn steps(&self) -> MutexGuard<'_, BTreeMap<Oid, Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a commit that differs from its parent in these paths.
    pub(super) fn note(&self, commit: &str, parent: &str, paths: Vec<String>) {
        let mut steps = self.steps();
        if steps.len() < MOST_LANDINGS && paths.len() <= MOST_PATHS {
            let parent = parent.to_owned();
            steps.insert(commit.to_owned(), Step { parent, paths, patch: None });
        }
    }

    /// Remembers the patch of a commit, if that is the only one that is remembered, and its patch a small one.
    pub(super) fn note_patch(&self, commit: &str, patch: &[u8]) {
        let mut steps = self.steps();
        let is_kept = steps.len() == 1 && patch.len() <= SMALL_PATCH;
        if let Some(step) = steps.get_mut(commit).filter(|_| is_kept) {
            step.patch = Some(patch.to_vec());
        }
    }

    /// The patch of a commit, from the commit that it was made on, if that matters.
    pub(super) fn patch(&self, parent: Option<&str>, commit: &str) -> Option<Vec<u8>> {
        let is_meant = |step: &&Step| parent.is_none_or(|parent| parent == step.parent);
        self.steps().get(commit).filter(is_meant)?.patch.clone()
    }

    /// The paths that a commit changed.
    pub(super) fn paths(&self, commit: &str) -> Option<Vec<String>> {
        Some(self.steps().get(commit)?.paths.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_told_and_nothing_else() {
        let recall = Recall::default();
        assert_eq!((recall.paths("b"), recall.patch(None, "b")), (None, None));
        recall.note_patch("b", b"of nothing known");
        recall.note("b", "a", vec!["x".into()]);
        assert_eq!((recall.paths("b"), recall.patch(None, "b")), (Some(vec!["x".into()]), None));
        recall.note_patch("b", b"patch");
        assert_eq!(recall.patch(None, "b").as_deref(), Some(&b"patch"[..]));
        assert_eq!(recall.patch(Some("a"), "b").as_deref(), Some(&b"patch"[..]));
        assert_eq!(recall.patch(Some("0"), "b"), None, "it was made on another");
    }

    #[test]
    fn it_is_bounded() {
        let recall = Recall::default();
        recall.note("many", "a", vec![String::new(); MOST_PATHS + 1]);
        assert_eq!(recall.paths("many"), None);
        (0..=MOST_LANDINGS).for_each(|n| recall.note(&n.to_string(), "a", Vec::new()));
        assert_eq!(recall.paths(&MOST_LANDINGS.to_string()), None);
        recall.note_patch("0", b"of one of many");
        assert_eq!((recall.paths("0"), recall.patch(None, "0")), (Some(Vec::new()), None));
        let recall = Recall::default();
        recall.note("0", "a", Vec::new());
        recall.note_patch("0", &vec![0; SMALL_PATCH + 1]);
        assert_eq!(recall.patch(None, "0"), None);
    }
}
