//! Floor 2b: owner of `store/`, and the only user of rusqlite: the index of ended jobs, the memory, the holds of accounts
//! and the slots for starting codex.
//!
//! Promise: no file here is the only place of a fact, but the holds. A damaged database is put aside
//! under another name, never deleted, and made anew; one that a newer program wrote is refused.

mod db;
pub mod holds;
pub mod index;
pub mod log_bytes;
pub mod memory;
pub mod starts;
mod truth;

use std::path::PathBuf;

pub use holds::{Hold, HoldKind, Holds};
pub use index::Index;
pub use memory::Memory;
pub use starts::StartSlots;

/// What goes wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database said no.
    #[error("use {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// A newer program wrote it: this one neither reads nor writes it.
    #[error("use {}: its version is {found}, this program knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: usize,
        /// The newest version known.
        known: usize,
    },
    /// A setting that the promises rest on did not take, as on file systems without shared memory.
    #[error("use {}: {pragma} stays {found} here", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting.
        pragma: &'static str,
        /// Its value.
        found: String,
    },
    /// The file is no database of ours, or a torn one.
    #[error("use {}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Someone sits on a lock of the store.
    #[error("lock {}: held for more than 10 s", .0.display())]
    Busy(PathBuf),
}
