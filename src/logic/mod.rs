//! Floor 1: decisions. Functions of values; time is an argument; no file, no clock, no process.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod admission;
pub mod advice;
pub mod amend;
pub mod arbiter;
pub mod attempts;
pub mod audit;
pub mod base;
pub mod claims;
pub mod classify;
pub mod enforce;
pub mod followups;
pub mod frontmatter;
pub mod globs;
pub mod health;
pub mod keep;
pub mod layers;
pub mod lifecycle;
pub mod parked;
pub mod patch;
pub mod paths;
pub mod planning;
pub mod quality;
pub mod recover;
pub mod report;
pub mod reset;
pub mod retry;
pub mod schedule;
mod sessions;
pub mod state;
pub mod summary;
pub mod supervise;
pub mod syntax;
pub mod task;
pub mod timeline;
pub mod timescale;
pub mod transcript;
