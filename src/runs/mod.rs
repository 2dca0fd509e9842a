//! Floor 2b: owner of `runs/`. Nobody else builds a path below it or opens a file there but the programs it was told to.
//!
//! A run folder belongs to whoever holds its `worker.lock`: only the holder appends to the journal, writes files or moves
//! the job file. Readers need no lock: every file is whole, append-only or derived.

mod ahead;
pub mod folder;
mod folders;
pub mod journal;
mod listing;
pub mod notes;
pub mod parts;
mod place;
mod wishes;
mod worker;

pub use folder::RunFolder;
pub use folders::Runs;
pub use journal::{Journal, JournalReader, Replay};
pub use listing::FilesOf;
pub use place::Place;
pub use wishes::Want;
