//! Floor 1: decisions. Functions of values; time is an argument; no file, no clock, no process.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod admission;
pub mod arbiter;
pub mod audit;
pub mod claims;
pub mod classify;
pub mod frontmatter;
pub mod globs;
pub mod lifecycle;
pub mod paths;
pub mod planning;
pub mod quality;
pub mod recover;
pub mod retry;
pub mod schedule;
pub mod state;
pub mod summary;
pub mod supervise;
pub mod task;
pub mod transcript;
