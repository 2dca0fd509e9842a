//! Numerus: a file-system-driven job spooler for coding agents.

pub mod bus;
pub mod codex;
pub mod leases;
pub mod logic;
pub mod model;
pub mod os;
pub mod runs;
pub mod standin;
pub mod store;
pub mod trees;
