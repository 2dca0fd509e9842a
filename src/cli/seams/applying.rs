//! The seam to the user's checkout.

use super::{Exit, Failure};
use crate::trees::{Checkout, Outlook, TreesError};

/// Brings into a checkout what was looked at before.
pub(in crate::cli) fn bring(
    checkout: &Checkout,
    outlook: &Outlook,
    message: &str,
) -> Result<Result<(), String>, TreesError> {
    checkout.bring(outlook, message)
}

/// A failure of the git side as a command tells it.
pub(in crate::cli) fn of_trees<T>(answer: Result<T, TreesError>) -> Result<T, Failure> {
    answer.map_err(|e| Failure::new(Exit::Root, format!("cannot {e}")))
}
