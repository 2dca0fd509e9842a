//! Floor 0: values. Every word of the protocol is one type here; no file, clock, process or async below this line.
//!
//! The types are what lies on disk: their serde form is the protocol of `docs/protocol.md`, so a renamed field is a
//! change of the protocol.

pub mod advice;
pub mod claim;
pub mod command;
pub mod duration;
pub mod event;
pub mod fact;
pub mod fields;
pub mod id;
pub mod job;
pub mod memory;
pub mod order;
pub mod outcome;
pub mod plan;
pub mod rejection;
pub mod root;
pub mod session;
pub mod settings;
pub mod status;
pub mod tally;
pub mod workspace;

/// The version of everything this program writes under a root; a root with a newer one is read, not written.
pub const PROTOCOL_VERSION: u32 = 1;
