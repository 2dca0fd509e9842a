//! One fresh repository ahead: made while an agent is at work, taken by the next job that names no workspace.
//!
//! Promises: it is taken as a whole, by one job, and only if it is what was made, byte for byte.
//!
//! Diagnostics: one that is something else is put aside; where there is none, the job makes its own.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::fresh::{FOLDERS, begin, files};
use crate::os::fsx;
use crate::runs::RunFolder;

/// Largest file that is compared, in bytes: none that was made is larger.
const LARGEST: u64 = 4096;

/// Makes it, unless there is one. It is made in this job's folder and gets its name as a whole.
///
/// # Errors
/// Those of the system; there is none then, and what there is of it is made anew the next time.
pub fn provide(folder: &RunFolder) -> Result<()> {
    let (making, ready) = (folder.making_workspace(), folder.ready_workspace());
    if ready.exists() {
        return Ok(());
    }
    fsx::remove_tree(&making)?;
    begin(&making, fsx::put_spares_as_git_does)?;
    match fsx::move_unflushed(&making, &ready) {
        // Another job was quicker.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => fsx::remove_tree(&making),
        moved => moved,
    }
}

/// Takes it as the workspace of this job, which has none yet; whether there was one.
pub(super) fn take(folder: &RunFolder) -> Result<bool> {
    let ready = folder.ready_workspace();
    if !ready.exists() {
        return Ok(false);
    }
    if !is_as_made(&ready) {
        // Cut short when the power went, or somebody has put something there that they may still want.
        folder.put_ready_aside()?;
        return Ok(false);
    }
    match fsx::move_unflushed(&ready, &folder.own_workspace()) {
        // Another job was quicker.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        moved => moved.map(|()| true),
    }
}

/// Whether nothing is there but what was made.
fn is_as_made(top: &Path) -> bool {
    let expected = as_made();
    let found = WalkDir::new(top).into_iter().take(expected.len() + 1);
    let found = found.map(|entry| look(top, &entry.ok()?));
    found.collect::<Option<BTreeMap<_, _>>>().is_some_and(|found| found == expected)
}

/// What was made: each name below the top, a file with its bytes.
fn as_made() -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let git_dir = Path::new(".git");
    let files = files().map(|(name, bytes)| (git_dir.join(name), Some(bytes.to_vec())));
    let leaves = FOLDERS.map(|name| (git_dir.join(name), None)).into_iter().chain(files);
    let mut made = BTreeMap::new();
    for (path, bytes) in leaves {
        path.ancestors().skip(1).for_each(|dir| drop(made.insert(dir.to_owned(), None)));
        made.insert(path, bytes);
    }
    made
}

/// The same of what lies there; `None` if it is neither a folder nor a small file.
fn look(top: &Path, entry: &DirEntry) -> Option<(PathBuf, Option<Vec<u8>>)> {
    let name = entry.path().strip_prefix(top).ok()?.to_owned();
    if entry.file_type().is_dir() {
        return Some((name, None));
    }
    let bytes = fsx::read_bounded(entry.path(), LARGEST).ok()??;
    Some((name, Some(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;
    use crate::model::root::Root;
    use crate::runs::Runs;

    fn folder(root: &Path, job: &str) -> RunFolder {
        let runs = Runs::of(&Root::new(root));
        fsx::make_dirs(runs.dir()).expect("runs");
        runs.create(&JobId::parse(job).expect("id")).expect("folder")
    }

    #[test]
    fn one_is_made_and_taken_once() {
        let d = tempfile::tempdir().expect("tempdir");
        let (one, two) = (folder(d.path(), "a-abc234"), folder(d.path(), "b-abc234"));
        assert!(!take(&one).expect("none yet"));
        provide(&one).expect("made");
        provide(&two).expect("there is one");
        assert!(!one.making_workspace().exists() && !two.making_workspace().exists());
        assert!(take(&two).expect("taken") && two.own_workspace().join(".git/HEAD").exists());
        assert!(!take(&one).expect("only once"));
    }

    #[test]
    fn what_was_changed_is_put_aside_and_not_taken() {
        let d = tempfile::tempdir().expect("tempdir");
        let one = folder(d.path(), "a-abc234");
        let git = |name: &str| one.ready_workspace().join(".git").join(name);
        let changes: [(&str, &dyn Fn()); 5] = [
            ("a hook", &|| fsx::put(&git("hooks"), b"#!/bin/sh\n").expect("put")),
            ("a setting", &|| fsx::put(&git("config"), b"[core]\n\tpager = x\n").expect("put")),
            ("a cut", &|| fsx::put(&git("refs/heads/main"), b"").expect("put")),
            ("a loss", &|| fsx::remove_tree(&git("objects/pack")).expect("remove")),
            ("a link", &|| {
                fsx::remove(&git("HEAD")).expect("remove");
                std::os::unix::fs::symlink("refs/heads/main", git("HEAD")).expect("link");
            }),
        ];
        for (number, (what, change)) in (1..).zip(changes) {
            provide(&one).expect("made");
            change();
            assert!(!take(&one).expect("looked at"), "{what}");
            assert!(!one.ready_workspace().exists() && !one.own_workspace().exists(), "{what}");
            let aside = fsx::list(&d.path().join("runs/.aside")).expect("aside");
            assert_eq!(aside.len(), number, "{what}: {aside:?}");
        }
    }
}
