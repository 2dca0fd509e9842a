//! Numerus: a file-system-driven job spooler for coding agents.
//!
//! Three folders under one root hold everything: `spool/` is the queue (the folder a job file lies in is its state),
//! `runs/` has one folder a job (its journal is the truth), `store/` holds what can be made again, and the memory.
//!
//! The modules lie on floors, and each imports only from those below its own: the code map in `docs/ARCHITECTURE.md` has them
//! all, with what each owns.

pub mod bus;
pub mod cli;
pub mod codex;
pub mod daemon;
pub mod doctor;
pub mod ending;
pub mod error;
pub mod health;
pub mod hooks;
pub mod jobs;
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
