//! A folder for each thread that runs properties: gone with the thread, never shared.

use std::path::Path;

use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a scratch folder");
}

/// Lets a property use the folder; what it left there is there again the next time.
pub fn folder<T>(act: impl FnOnce(&Path) -> T) -> T {
    FOLDER.with(|folder| act(folder.path()))
}
