//! Numerus: a file-system-driven job spooler for coding agents.

pub mod bus;
pub mod cli;
pub mod codex;
pub mod daemon;
pub mod ending;
pub mod error;
pub mod leases;
pub mod logic;
pub mod model;
pub mod os;
pub mod root;
pub mod runs;
pub mod spool;
pub mod standin;
pub mod store;
pub mod trees;
pub mod worker;
