//! Why a step of the git side or of the leases did not come to its end, and what that means for the attempt: what nobody can
//! work in is final, anything else may pass.

use crate::leases::LeaseError;
use crate::model::outcome::{Failure, FailureKind};
use crate::trees::TreesError;

/// Why a try did not come to its end.
pub(super) enum Stuck {
    /// The machine is at fault: try again. Fit to follow "cannot".
    Trouble(String),
    /// The attempt is.
    Judged(Failure),
}

impl From<TreesError> for Stuck {
    fn from(error: TreesError) -> Self {
        match error {
            TreesError::Refused { .. } => {
                Self::Judged(Failure::new(FailureKind::Bug, format!("cannot {error}")))
            }
            TreesError::Git(_)
            | TreesError::Io(_)
            | TreesError::Busy { .. }
            | TreesError::Gone { .. } => Self::Trouble(error.to_string()),
        }
    }
}

impl From<LeaseError> for Stuck {
    fn from(error: LeaseError) -> Self {
        Self::Trouble(error.to_string())
    }
}

impl From<Failure> for Stuck {
    fn from(failure: Failure) -> Self {
        Self::Judged(failure)
    }
}

impl From<Stuck> for Failure {
    /// For who does not try again.
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Judged(failure) => failure,
            Stuck::Trouble(trouble) => {
                Self::new(FailureKind::Transient, format!("cannot {trouble}"))
            }
        }
    }
}
