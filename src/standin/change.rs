//! Changes to files, as an agent would make them: below the working directory and nowhere else.
//!
//! A script is data that may come from anywhere, so a path that is absolute, climbs, or passes
//! through a symlink is refused unless the operator opened the gate.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::door;
use super::policy::Policy;
use super::script::{Mode, Write};

/// Where changes may go.
#[derive(Debug)]
pub(super) struct Ground {
    /// The working directory, absolute.
    pub(super) cwd: PathBuf,
    /// What the sandbox allows.
    pub(super) policy: Policy,
    /// Whether the script is trusted with any path.
    pub(super) gate: bool,
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    /// The script's path is not one of a plain file below the working directory.
    #[error("touch {path}: {why}")]
    Improper {
        /// As the script has it.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The sandbox forbids it.
    #[error("write {}: Read-only file system", .0.display())]
    Sandboxed(PathBuf),
    /// The file system refused.
    #[error("change {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Shorthand.
type Changed<T = ()> = Result<T, ChangeError>;

impl Ground {
    /// The absolute path that the script means.
    pub(super) fn place(&self, path: &str) -> Changed<PathBuf> {
        if !self.gate
            && let Some(why) = self.improper(Path::new(path))
        {
            return Err(ChangeError::Improper { path: path.to_owned(), why });
        }
        Ok(self.cwd.join(path))
    }

    fn improper(&self, path: &Path) -> Option<&'static str> {
        if path.as_os_str().is_empty() {
            return Some("the path is empty");
        }
        let mut walked = self.cwd.clone();
        for part in path.components() {
            match part {
                Component::Normal(name) => walked.push(name),
                Component::CurDir => continue,
                Component::ParentDir => return Some("the path climbs with `..`"),
                Component::RootDir | Component::Prefix(_) => return Some("the path is absolute"),
            }
            if walked.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
                return Some("the path passes through a symlink");
            }
        }
        None
    }

    fn admitted(&self, path: &str) -> Changed<PathBuf> {
        let place = self.place(path)?;
        if self.policy.may_write(&place) { Ok(place) } else { Err(ChangeError::Sandboxed(place)) }
    }

    /// The place of what is removed or replaced.
    fn given_up(&self, path: &str) -> Changed<PathBuf> {
        let place = self.place(path)?;
        if self.policy.may_replace(&place) { Ok(place) } else { Err(ChangeError::Sandboxed(place)) }
    }

    /// Writes or appends, making the folders above.
    pub(super) fn write(&self, write: &Write) -> Changed {
        let place = self.admitted(&write.path)?;
        put(&place, write).map_err(|source| ChangeError::Io { path: place, source })
    }

    /// Deletes a file.
    pub(super) fn delete(&self, path: &str) -> Changed {
        let place = self.given_up(path)?;
        door::remove(&place).map_err(|source| ChangeError::Io { path: place, source })
    }

    /// Renames a file, making the folders above its new name.
    pub(super) fn rename(&self, from: &str, to: &str) -> Changed {
        let (from, to) = (self.given_up(from)?, self.given_up(to)?);
        let moved = make_parent(&to).and_then(|()| door::rename(&from, &to));
        moved.map_err(|source| ChangeError::Io { path: from, source })
    }
}

#[expect(clippy::disallowed_methods, reason = "an agent's write, not ours")]
fn put(place: &Path, write: &Write) -> io::Result<()> {
    make_parent(place)?;
    let mut open = OpenOptions::new();
    open.create(true).append(write.append).write(true).truncate(!write.append);
    let mut file = open.open(place)?;
    file.write_all(write.text.as_bytes())?;
    match write.mode {
        Some(Mode(bits)) => file.set_permissions(Permissions::from_mode(bits)),
        None => Ok(()),
    }
}

fn make_parent(place: &Path) -> io::Result<()> {
    place.parent().map_or(Ok(()), door::make_dirs)
}

/// Creates an empty file as a signal to whoever waits for it.
#[expect(clippy::disallowed_methods, reason = "an agent's write, not ours")]
pub(super) fn touch(place: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(place).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(cwd: &Path, policy: Policy, gate: bool) -> Ground {
        Ground { cwd: cwd.to_owned(), policy, gate }
    }

    fn write(path: &str, text: &str) -> Write {
        Write {
            path: path.to_owned(),
            text: text.to_owned(),
            append: true,
            mode: Some(Mode(0o750)),
        }
    }

    #[test]
    fn paths_that_leave_the_working_directory_are_refused_without_the_gate() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let (shut, open) =
            (ground(dir.path(), Policy::Full, false), ground(dir.path(), Policy::Full, true));
        for path in ["", "/etc/x", "../x", "a/../../x", "link", "link/tmp/x"] {
            assert!(matches!(shut.place(path), Err(ChangeError::Improper { .. })), "{path}");
            assert!(open.place(path).is_ok(), "{path}");
        }
        for path in ["a", "./a", "a/b/c", "a..b"] {
            assert_eq!(shut.place(path).unwrap(), dir.path().join(path), "{path}");
        }
    }

    #[test]
    fn the_gate_does_not_open_the_sandbox() {
        let dir = tempfile::tempdir().unwrap();
        for gate in [false, true] {
            let refused = ground(dir.path(), Policy::ReadOnly, gate).write(&write("a", "x"));
            assert!(matches!(refused, Err(ChangeError::Sandboxed(_))));
        }
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn files_are_written_moved_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let ground = ground(dir.path(), Policy::Full, false);
        ground.write(&write("d/a", "1")).unwrap();
        ground.write(&write("d/a", "2")).unwrap();
        ground.rename("d/a", "e/b").unwrap();
        let moved = dir.path().join("e/b");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "12");
        assert_eq!(moved.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        ground.delete("e/b").unwrap();
        assert!(matches!(ground.delete("e/b"), Err(ChangeError::Io { .. })));
    }
}
