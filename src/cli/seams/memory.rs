//! The seams to the memory.

use std::path::Path;

use super::{git, open};
use crate::error::{Exit, Failure};
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::os::clock;
use crate::store::StoreError;
use crate::store::memory::Memory;

/// Asks the memory, without its database where that cannot be used; nothing where nothing was ever remembered.
pub(in crate::cli) fn memory<T: Default>(
    root: &Root,
    asked: impl Fn(&Memory) -> Result<T, StoreError>,
) -> Result<T, Failure> {
    let store = root.store();
    if ["memory.ndjson", "memory.db"].iter().all(|name| !store.join(name).exists()) {
        return Ok(T::default());
    }
    Memory::ask(&store, asked).map_err(|error| {
        Failure::new(Exit::Root, format!("cannot read the memory: {error}"))
            .hint("memory.db may be removed: it is made again from memory.ndjson")
    })
}

/// The bank of a directory: the top of its repository, else the directory itself.
pub(in crate::cli) fn bank_of(dir: &Path) -> Result<String, Failure> {
    let dir = dir.canonicalize().map_err(|e| {
        Failure::usage(format!("cannot use the workspace {}: {e}", dir.display()))
            .hint("name a directory that is there")
    })?;
    match git(&dir, &["rev-parse", "--show-toplevel"]) {
        Ok(top) if !top.trim().is_empty() => Ok(top.trim_end_matches('\n').to_owned()),
        _no_repository => Ok(dir.display().to_string()),
    }
}

/// Takes a job out of the memory for good; false if nothing is remembered of it.
pub(in crate::cli) fn forget(root: &Root, job: &JobId) -> Result<bool, Failure> {
    open(root)?;
    let forgotten = Memory::open(&root.store()).and_then(|mut m| m.forget(job, clock::now()));
    forgotten.map_err(|e| Failure::new(Exit::Root, format!("cannot change the memory: {e}")))
}
