//! The stand-in's doors to the world: clock, environment, files.
//!
//! What it writes is an agent's scratch work or a transcript, so nothing here is made durable; a
//! supervisor that depends on it being so has a bug that the stand-in should show.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Milliseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in is an edge: its transcripts carry the wall clock"
)]
pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// One variable of the environment; empty counts as not set.
#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in plays a program of its own, with its own environment"
)]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Creates a folder and those above it.
#[expect(clippy::disallowed_methods, reason = "an agent's scratch work need not be durable")]
pub(super) fn make_dirs(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Removes one file.
#[expect(clippy::disallowed_methods, reason = "the script asked for exactly this file to go")]
pub(super) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

/// Renames, replacing what is there, as an agent's `mv` would.
#[expect(clippy::disallowed_methods, reason = "an agent's mv replaces; the stand-in must too")]
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Takes the lock on a transcript; `false` where another live process has it.
#[expect(
    clippy::disallowed_methods,
    reason = "the played program's own lock, on its own transcript"
)]
pub(super) fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}
