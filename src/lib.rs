//! Numerus: a file-system-driven job spooler for coding agents.
//!
//! Three folders under one root hold everything: `spool/` is the queue (the folder a job file lies in is its state),
//! `runs/` has one folder a job (its journal is the truth), `store/` holds what can be made again, and the memory.
//!
//! The floors, each of which imports only from those above it in this list:
//!
//! - `model`: values; `logic`: decisions, pure functions of values, time being an argument
//! - `os`: the outside world, one concern a file
//! - `spool`, `runs`, `store`, `leases`, `bus`: one owner for each folder of state
//! - `root`, `health`, `trees`, `codex`, `standin`, `hooks`, `report`, `doctor`, `ending`: a root, the machine below it,
//!   worktrees, sessions, the played codex, programs that are told of events, pages for people, whether all of it works,
//!   the end of a job
//! - `daemon`, `worker`: the two loops; they meet in files, locks and signals alone
//! - `cli`, `error`: words in, words and an exit code out

pub mod bus;
pub mod cli;
pub mod codex;
pub mod daemon;
pub mod doctor;
pub mod ending;
pub mod error;
pub mod health;
pub mod hooks;
pub mod leases;
pub mod logic;
pub mod model;
pub mod os;
pub mod report;
pub mod root;
pub mod runs;
pub mod spool;
pub mod standin;
pub mod store;
pub mod trees;
pub mod worker;
