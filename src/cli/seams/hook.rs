//! The seams to the hooks.

use super::open;
use crate::error::{Exit, Failure};
use crate::hooks;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::runs::RunFolder;

/// The loop of `numerus __hooks`.
pub(in crate::cli) fn run_hooks(root: &Root) -> Result<Exit, Failure> {
    let patience = open(root)?.hook_timeout;
    hooks::run(root, patience).map_err(|e| Failure::system("call hooks", &e))?;
    Ok(Exit::Done)
}

/// Waits until the hooks of one job, or of all that nobody works on, have been called, for a while: whoever ends a machine with this process would end them, too. Gives back the signal that came
/// instead.
pub(in crate::cli) fn drain(root: &Root, job: Option<&JobId>) -> Option<u8> {
    let settings = open(root).ok()?;
    let signal = hooks::drain(root, job, settings.hook_timeout * 2)?;
    u8::try_from(signal).ok()
}

/// What keeps hooks from being called, a line each.
pub(in crate::cli) fn hook_problems(root: &Root) -> Vec<String> {
    hooks::problems(root)
}

/// What went wrong with the hooks of a job.
pub(in crate::cli) fn hook_failures(folder: &RunFolder) -> Vec<hooks::Failure> {
    hooks::failures(folder)
}
