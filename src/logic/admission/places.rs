//! What the paths among a job's options must be: absolute or below the workspace, and in no folder of the system.

use super::Facts;
use crate::model::fields::quoted;
use crate::model::rejection::{Code, Reason};

/// Folders of the system: nobody works in them.
const SYSTEM: [&str; 10] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];

/// What a path is to be like.
const ABSOLUTE: &str = "name an absolute path without `..` or `~`";

fn path_reason(key: &str, path: &str, why: &str, hint: impl Into<String>) -> Reason {
    Reason::new(Code::Path, format!("`{key}` {} {why}", quoted(path)), hint)
}

/// What a path must be before anybody looks at the disk.
pub(super) fn lexical(key: &str, path: &str) -> Result<(), Reason> {
    if !path.starts_with('/') {
        return Err(path_reason(key, path, "is not absolute", ABSOLUTE));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(path_reason(key, path, "goes up with `..`", ABSOLUTE));
    }
    Ok(())
}

/// A workspace that may be used, as its path without links.
pub(super) fn usable(path: &str, facts: &Facts<'_>) -> Result<String, Reason> {
    lexical("workspace", path)?;
    refuse_system(path, path)?;
    let hint = "name a directory that is there, or leave `workspace` out";
    let resolved =
        (facts.resolve)(path).map_err(|why| path_reason("workspace", path, &why, hint))?;
    refuse_system(&resolved, path)?;
    Ok(resolved)
}

fn refuse_system(resolved: &str, path: &str) -> Result<(), Reason> {
    let inside = |folder: &&str| {
        resolved.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if resolved.trim_end_matches('/').is_empty() || SYSTEM.iter().any(inside) {
        let hint = format!(
            "name a directory elsewhere: nobody works in `/`, nor in or below {}",
            SYSTEM.join(", ")
        );
        return Err(path_reason("workspace", path, "is a folder of the system", hint));
    }
    Ok(())
}

/// Paths to carry stay below the workspace.
pub(super) fn check_carry(paths: &[String]) -> Result<(), Reason> {
    for path in paths {
        let leaves = path.starts_with(['/', '~']) || path.split('/').any(|p| p == "..");
        if leaves || path.trim().is_empty() {
            let hint = "name a path below the workspace, without `..` or `~`";
            return Err(path_reason("carry", path, "does not lie below the workspace", hint));
        }
    }
    Ok(())
}
