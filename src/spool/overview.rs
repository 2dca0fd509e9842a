//! `spool/tmp/overview`: the mark that something has become of a job which the overview in `runs/` does not show yet. Whoever writes
//! that page takes the mark away before it reads; a daemon that leads is woken by it.

use std::io::Result;
use std::path::PathBuf;

use super::Spool;
use crate::os::fsx;

impl Spool {
    /// The mark; it lies in [`Spool::wake_folder`].
    pub fn overview_mark(&self) -> PathBuf {
        self.wake_folder().join("overview")
    }

    /// Says that something has become of a job.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn mark_overview(&self) -> Result<()> {
        if self.is_overview_behind() {
            return Ok(());
        }
        fsx::replace_spare(&self.overview_mark(), b"")
    }

    /// Whether something has become of a job since the page was written.
    pub fn is_overview_behind(&self) -> bool {
        self.overview_mark().symlink_metadata().is_ok()
    }

    /// Takes the mark away. What lies in its place and is no file stays.
    pub fn unmark_overview(&self) {
        let _is_no_file = fsx::remove(&self.overview_mark());
    }
}
