//! One fresh repository ahead: made while an agent is at work, taken by the next job that names no workspace.
//!
//! Promises: it is taken as a whole, by one job, and only if it is what was made, byte for byte. It is made, and looked at, where
//! nobody but the holder of the job's lock has to do with it.
//!
//! Diagnostics: one that is something else is put aside; where there is none, whatever the reason, the job makes its own.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::fresh::{FOLDERS, begin, files};
use crate::os::fsx;
use crate::runs::RunFolder;

/// Largest file that is compared, in bytes: none that was made is larger.
const LARGEST: u64 = 4096;
/// Most names that are compared: twice as many as are made.
const MOST: usize = 64;

/// Makes it, unless there is one.
///
/// # Errors
/// Those of the system; there is none then.
pub fn provide(folder: &RunFolder) -> Result<()> {
    let (spare, ready) = (folder.spare_workspace(), folder.ready_workspace());
    clear(folder)?;
    if ready.symlink_metadata().is_ok() {
        return Ok(());
    }
    let made = begin(&spare, fsx::put_spares_as_git_does);
    match made.and_then(|()| fsx::rename_spare(&spare, &ready)) {
        Ok(()) => Ok(()),
        // Another job was quicker, or there is no room.
        Err(e) => fsx::remove_tree(&spare).and(match e.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            _ => Err(e),
        }),
    }
}

/// Clears away what somebody who has died had half made, or had in their hands. What else is among it stays: aside, or where it is.
fn clear(folder: &RunFolder) -> Result<()> {
    let spare = folder.spare_workspace();
    if spare.symlink_metadata().is_err() {
        return Ok(());
    }
    let expected = as_made();
    let is_made = |name: &Path, bytes: &Option<Vec<u8>>| {
        name.starts_with(".git") && fsx::is_temp(name) || expected.get(name) == Some(bytes)
    };
    match found(&spare) {
        Some(found) if found.iter().all(|(name, bytes)| is_made(name, bytes)) => {
            fsx::remove_tree(&spare)
        }
        _ => folder.put_spare_aside(),
    }
}

/// Takes it as the workspace of this job, which has none yet; whether it is that now.
pub(super) fn take(folder: &RunFolder) -> bool {
    let spare = folder.spare_workspace();
    if fsx::rename_spare(&folder.ready_workspace(), &spare).is_err() {
        return false;
    }
    let is_taken = is_as_made(&spare) && fsx::rename_spare(&spare, &folder.own_workspace()).is_ok();
    if !is_taken {
        // Cut short when the power went, or somebody has put something there that they may still want.
        let _stays_here = folder.put_spare_aside();
    }
    is_taken
}

/// Whether nothing is there but what was made.
fn is_as_made(top: &Path) -> bool {
    found(top).is_some_and(|found| found == as_made())
}

/// Each name below the top, the top among them: a file with its bytes, a folder without.
type Names = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What lies there; `None` if there is anything but folders and small files, or more than can be ours.
fn found(top: &Path) -> Option<Names> {
    let entries = WalkDir::new(top).follow_root_links(false).into_iter().take(MOST + 1);
    let found: Names = entries.map(|entry| look(top, &entry.ok()?)).collect::<Option<_>>()?;
    (found.len() <= MOST).then_some(found)
}

/// What was made.
fn as_made() -> Names {
    let git_dir = Path::new(".git");
    let files = files().map(|(name, bytes)| (git_dir.join(name), Some(bytes)));
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
        assert!(!take(&one), "none yet");
        provide(&one).expect("made");
        provide(&two).expect("there is one");
        assert!(!one.spare_workspace().exists() && !two.spare_workspace().exists());
        assert!(take(&two) && two.own_workspace().join(".git/HEAD").exists());
        assert!(!take(&one) && !one.own_workspace().exists(), "only once");
    }

    #[test]
    fn whoever_comes_too_late_makes_its_own_and_nobody_fails() {
        const JOBS: usize = 8;
        let d = tempfile::tempdir().expect("tempdir");
        let folders: Vec<_> = (0..JOBS).map(|n| folder(d.path(), &format!("{n}-abc234"))).collect();
        for round in 0..20 {
            provide(&folders[0]).expect("made");
            let made = fs_id(&folders[0].ready_workspace()).expect("there");
            let start = std::sync::Barrier::new(JOBS);
            std::thread::scope(|scope| {
                for folder in &folders {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        crate::trees::fresh::own(folder).expect("a workspace");
                    });
                }
            });
            let has_it = |folder: &&RunFolder| fs_id(&folder.own_workspace()) == Some(made);
            assert_eq!(folders.iter().filter(has_it).count(), 1, "round {round}");
            for folder in &folders {
                fsx::remove_tree(&folder.own_workspace()).expect("for the next round");
            }
        }
        assert!(!d.path().join("runs/.aside").exists(), "nothing was taken for changed");
    }

    fn fs_id(path: &Path) -> Option<u64> {
        std::os::unix::fs::MetadataExt::ino(&path.symlink_metadata().ok()?).into()
    }

    #[test]
    fn what_was_left_half_made_is_made_anew() {
        let d = tempfile::tempdir().expect("tempdir");
        let one = folder(d.path(), "a-abc234");
        let half = one.spare_workspace().join(".git");
        fsx::make_dirs(&half.join("objects")).expect("half");
        fsx::put(&fsx::temp_beside(&half.join("HEAD")).expect("name"), b"re").expect("half");
        assert!(!take(&one), "there is none");
        provide(&one).expect("made");
        assert!(take(&one) && !one.spare_workspace().exists());
        assert!(!d.path().join("runs/.aside").exists(), "nothing of it was anybody's");
    }

    #[test]
    fn what_cannot_be_put_aside_stays_where_it_is() {
        let d = tempfile::tempdir().expect("tempdir");
        let one = folder(d.path(), "a-abc234");
        let aside = d.path().join("runs/.aside");
        provide(&one).expect("made");
        fsx::put(&one.ready_workspace().join("thesis.txt"), b"kept").expect("put");
        fsx::put(&aside, b"no folder").expect("in the way");
        assert!(!take(&one) && provide(&one).is_err(), "there is no room for another");
        let here = one.spare_workspace().join("thesis.txt");
        assert_eq!(fsx::read_optional(&here).expect("read").as_deref(), Some("kept"));
        fsx::remove(&aside).expect("out of the way");
        provide(&one).expect("made");
        let kept = fsx::list(&aside).expect("aside");
        let there = aside.join(&kept[0]).join("thesis.txt");
        assert_eq!(fsx::read_optional(&there).expect("read").as_deref(), Some("kept"));
        assert!(take(&one));
    }

    #[test]
    fn what_was_changed_is_put_aside_and_not_taken() {
        let d = tempfile::tempdir().expect("tempdir");
        let one = folder(d.path(), "a-abc234");
        let ready = one.ready_workspace();
        let git = |name: &str| ready.join(".git").join(name);
        let link = |to: &Path, at: &Path| std::os::unix::fs::symlink(to, at).expect("link");
        let elsewhere = d.path().join("elsewhere");
        let changes: [(&str, &dyn Fn()); 8] = [
            ("a hook", &|| fsx::put(&git("hooks"), b"#!/bin/sh\n").expect("put")),
            ("a file", &|| fsx::put(&ready.join("x"), b"x").expect("put")),
            ("a setting", &|| fsx::put(&git("config"), b"[core]\n\tpager = x\n").expect("put")),
            ("a cut", &|| fsx::put(&git("refs/heads/main"), b"").expect("put")),
            ("a loss", &|| fsx::remove_tree(&git("objects/pack")).expect("remove")),
            ("a link", &|| {
                fsx::remove(&git("HEAD")).expect("remove");
                link(Path::new("refs/heads/main"), &git("HEAD"));
            }),
            ("no folder", &|| {
                fsx::remove_tree(&ready).expect("remove");
                fsx::put(&ready, b"x").expect("put");
            }),
            ("somewhere else", &|| {
                fsx::rename_spare(&ready, &elsewhere).expect("moved");
                link(&elsewhere, &ready);
            }),
        ];
        for (number, (what, change)) in (1..).zip(changes) {
            provide(&one).expect("made");
            change();
            assert!(!take(&one), "{what}");
            let own = [ready.as_path(), &one.spare_workspace(), &one.own_workspace()];
            assert!(own.iter().all(|path| path.symlink_metadata().is_err()), "{what}");
            let aside = fsx::list(&d.path().join("runs/.aside")).expect("aside");
            assert_eq!(aside.len(), number, "{what}: {aside:?}");
        }
        assert!(elsewhere.join(".git/HEAD").exists(), "what it led to is as it was");
    }
}
