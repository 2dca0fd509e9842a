//! What the facts about other jobs' work add up to: what is being taken in, and what could not be.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use crate::model::event::Fact;
use crate::model::id::JobId;
use crate::model::workspace::{Divergence, Oid};

/// A commit that takes in another job's work and may or may not have become the tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advancing {
    /// The commit.
    pub commit: Oid,
    /// The tip before it.
    pub parent: Oid,
    /// The job whose work it takes in.
    pub from: JobId,
}

/// A job among the others of its repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// An advance of the tip under way.
    pub advancing: Option<Advancing>,
    /// The jobs whose work was taken in, each once.
    pub taken_in: Vec<JobId>,
    /// What could not be taken in.
    pub diverged: Vec<Divergence>,
}

impl Base {
    /// Takes in one more fact; gives back the new tip if it moved.
    pub(super) fn apply(&mut self, fact: &Fact) -> Option<Oid> {
        match fact {
            Fact::BaseAdvancing { commit, parent, from } => {
                let (commit, parent, from) = (commit.clone(), parent.clone(), from.clone());
                self.advancing = Some(Advancing { commit, parent, from });
                None
            }
            Fact::BaseAdvanced { commit, from } => {
                self.advancing = None;
                if !self.taken_in.contains(from) {
                    self.taken_in.push(from.clone());
                }
                Some(commit.clone())
            }
            Fact::BaseDiverged(divergence) => {
                self.diverged.push(divergence.clone());
                None
            }
            _ => None,
        }
    }

    /// Whether this tip of another job is known to conflict.
    pub fn is_apart_from(&self, tip: &str) -> bool {
        self.diverged.iter().any(|d| d.commit == tip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tip_moves_when_the_advance_is_done_and_not_before() {
        let from = JobId::parse("other-abc234").expect("id");
        let (commit, parent) = ("c".repeat(40), "p".repeat(40));
        let mut base = Base::default();
        let begun = Fact::BaseAdvancing {
            commit: commit.clone(),
            parent: parent.clone(),
            from: from.clone(),
        };
        assert_eq!(base.apply(&begun), None);
        let advancing = Advancing { commit: commit.clone(), parent, from: from.clone() };
        assert_eq!(base.advancing, Some(advancing));
        let done = Fact::BaseAdvanced { commit: commit.clone(), from: from.clone() };
        assert_eq!(base.apply(&done), Some(commit.clone()));
        assert_eq!(base.advancing, None);
        base.apply(&done);
        assert_eq!(base.taken_in, vec![from.clone()], "each once");
        let tip = "d".repeat(40);
        let apart = Divergence { from, commit: tip.clone(), paths: vec!["a".to_owned()] };
        assert_eq!(base.apply(&Fact::BaseDiverged(apart)), None);
        assert!(base.is_apart_from(&tip) && !base.is_apart_from(&commit));
    }
}
