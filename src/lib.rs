//! Numerus: a file-system-driven job spooler for coding agents.

pub mod model;
