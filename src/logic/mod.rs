//! Floor 1: decisions. Functions of values; time is an argument; no file, no clock, no process.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod arbiter;
pub mod paths;
pub mod state;
