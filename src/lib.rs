//! Numerus: a file-system-driven job spooler for coding agents.

pub mod codex;
pub mod bus;
pub mod leases;
pub mod logic;
pub mod model;
pub mod os;
pub mod runs;
pub mod standin;
pub mod store;
