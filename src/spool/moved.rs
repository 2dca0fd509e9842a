//! A job's file under its new name, before and after that is on disk.

use std::io::Result;
use std::path::{Path, PathBuf};

use super::{Place, Spool};
use crate::os::fsx;

/// A file that was taken. Nothing may rely on where it lies now before [`Moved::flush`].
#[derive(Debug)]
pub struct Moved {
    /// Where it lies.
    to: PathBuf,
    /// Where it lay, if its old or its new name may not be on disk yet.
    from: Option<PathBuf>,
}

impl Moved {
    /// One that was renamed and not flushed.
    pub(super) fn renamed(from: PathBuf, to: PathBuf) -> Self {
        Self { to, from: Some(from) }
    }

    /// One that is on disk under its new name.
    pub(super) fn flushed(to: PathBuf) -> Self {
        Self { to, from: None }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.to
    }

    /// Makes its new name durable, and its old one gone.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn flush(&self) -> Result<()> {
        self.from.as_ref().map_or(Ok(()), |from| fsx::sync_moved(from, &self.to))
    }
}

impl Spool {
    /// A file whose taker has died: whether it had been flushed nobody knows.
    pub fn found(&self, path: PathBuf) -> Moved {
        let from = self.folder(Place::Incoming).join(path.file_name().unwrap_or_default());
        Moved::renamed(from, path)
    }
}
