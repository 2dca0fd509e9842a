//! Floor 3b: the daemon.

pub mod log;
pub mod looks;
pub mod take;
