//! Floor 1: decisions. Functions of values; time is an argument; no file, no clock, no process.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod admission;
pub mod advice;
pub mod amend;
pub mod arbiter;
pub mod audit;
pub mod base;
pub mod claims;
pub mod classify;
pub mod doctor;
pub mod earlier;
pub mod enforce;
pub mod followups;
pub mod frontmatter;
pub mod globs;
pub mod health;
pub mod keep;
pub mod lifecycle;
pub mod notes;
pub mod parked;
pub mod paths;
pub mod planning;
pub mod quality;
pub mod recover;
pub mod reopen;
pub mod report;
pub mod reset;
pub mod retry;
pub mod revise;
pub mod schedule;
mod sessions;
pub mod state;
pub mod summary;
pub mod supervise;
pub mod task;
pub mod timeline;
pub mod transcript;
