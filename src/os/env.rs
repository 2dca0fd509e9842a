//! The one door to the environment and to what the process is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A variable, if it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the one door to the environment")]
pub fn var_os(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|v| !v.is_empty())
}

/// A variable as text, if it is set, not empty and UTF-8.
pub fn var(name: &str) -> Option<String> {
    var_os(name)?.into_string().ok()
}

/// A path under which this program's own file can be started: the very version that runs, even if an upgrade has
/// replaced or removed it meanwhile.
///
/// # Errors
/// When the system cannot tell.
pub fn own_binary() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    // A replaced file has no path any more, but whoever is forked from us still finds it here.
    Ok(if path.is_file() { path } else { PathBuf::from("/proc/self/exe") })
}

/// The user that this process acts as.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Finds a program as a shell would: a path as it is, a bare name on the search path.
pub fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let paths = var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|p| is_executable(p))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Says that this machine cannot set a case up, and what it lacks. Where every case has to run, that is a failure.
#[cfg(test)]
pub(crate) fn not_run(needs: &str) {
    assert!(var("CI").as_deref() != Some("true"), "not run: needs {needs}");
    eprintln!("not run: needs {needs}");
}

/// The names of all variables that start with `prefix`.
pub fn names_starting(prefix: &str) -> Vec<OsString> {
    let fits = |name: &OsString| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    std::env::vars_os().map(|(name, _)| name).filter(fits).collect()
}
