//! What goes from an execution to its landing.

use super::leasing::HeldLease;
use crate::logic::task::TaskState;
use crate::model::claim::Claim;
use crate::trees::Tree;

/// What is to be landed.
#[derive(Clone)]
pub(super) struct Parcel {
    /// The task.
    pub(super) task: TaskState,
    /// Its attempt.
    pub(super) attempt: u32,
    /// The tree that its agent wrote in.
    pub(super) tree: Tree,
    /// What was granted.
    pub(super) claim: Claim,
    /// The lease of it.
    pub(super) lease: HeldLease,
    /// The agent's last words.
    pub(super) summary: String,
}
