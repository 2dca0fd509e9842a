//! What the paths among a job's options must be: absolute or below the workspace, and in no folder of the system.

use super::Facts;
use crate::model::fields::quoted;
use crate::model::rejection::{Code, Reason};

/// Folders of the system: nobody works in them.
const SYSTEM: [&str; 10] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];

fn path_reason(key: &str, path: &str, why: &str) -> Reason {
    let message = format!("`{key}` {} {why}", quoted(path));
    Reason::new(Code::Path, message, "name an absolute path without `..` or `~`")
}

/// What a path must be before anybody looks at the disk.
pub(super) fn lexical(key: &str, path: &str) -> Result<(), Reason> {
    if !path.starts_with('/') {
        return Err(path_reason(key, path, "is not absolute"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(path_reason(key, path, "goes up with `..`"));
    }
    Ok(())
}

/// A workspace that may be used, as its path without links.
pub(super) fn usable(path: &str, facts: &Facts<'_>) -> Result<String, Reason> {
    lexical("workspace", path)?;
    refuse_system(path, path)?;
    let resolved = (facts.resolve)(path).map_err(|why| path_reason("workspace", path, &why))?;
    refuse_system(&resolved, path)?;
    Ok(resolved)
}

fn refuse_system(resolved: &str, path: &str) -> Result<(), Reason> {
    let inside = |folder: &&str| {
        resolved.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if resolved.trim_end_matches('/').is_empty() || SYSTEM.iter().any(inside) {
        return Err(path_reason("workspace", path, "is a folder of the system"));
    }
    Ok(())
}

/// Paths to carry stay below the workspace.
pub(super) fn check_carry(paths: &[String]) -> Result<(), Reason> {
    for path in paths {
        let leaves = path.starts_with(['/', '~']) || path.split('/').any(|p| p == "..");
        if leaves || path.trim().is_empty() {
            return Err(path_reason("carry", path, "does not lie below the workspace"));
        }
    }
    Ok(())
}
