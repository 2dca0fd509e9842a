//! Making a root, and files that are written where somebody says.

use std::path::Path;

use super::unusable;
use crate::error::Failure;
use crate::model::root::Root;
use crate::os::fsx;

/// Makes a root with a commented `numerus.toml`; false if it has one already.
pub(in crate::cli) fn init(root: &Root) -> Result<bool, Failure> {
    crate::root::init(root).map_err(|e| unusable(&e))
}

/// Writes a page of the manual, over an older one of that name.
pub(in crate::cli) fn write_page(path: &Path, page: &str) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let written = fsx::make_dirs(dir).and_then(|()| fsx::put(path, page.as_bytes()));
    written.map_err(|e| Failure::usage(format!("cannot write the page: {e}")))
}
