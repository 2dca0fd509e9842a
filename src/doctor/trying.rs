//! Tries a folder: writes, renames, locks and listens in a scratch folder of it, which is gone afterwards.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use jiff::Timestamp;

use crate::logic::doctor::{Lack, Tried};
use crate::os::lock::FileLock;
use crate::os::watch::Watch;
use crate::os::{fsx, random};

/// How the scratch folder's name begins.
const SCRATCH: &str = ".doctor-";
/// How old one has to be that somebody who was ended has left.
const LEFT_OVER: Duration = Duration::from_secs(3600);
/// How long a word of a change may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tries one.
pub(super) fn try_folder(dir: &Path) -> Tried {
    let tried = scratch(dir).and_then(|scratch| {
        let tried = try_in(&scratch);
        fsx::remove_tree(&scratch)?;
        tried
    });
    let place = dir.display().to_string();
    match tried {
        Ok((has_events, file_time)) => Tried { place, problem: None, has_events, file_time },
        Err(e) => Tried { place, problem: Some(e.to_string()), has_events: false, file_time: None },
    }
}

/// Lets something be tried in a scratch folder.
pub(super) fn in_scratch<T>(
    dir: &Path,
    work: impl FnOnce(&Path) -> std::result::Result<T, Lack>,
) -> std::result::Result<T, Lack> {
    let scratch = scratch(dir).map_err(|e| Lack {
        what: format!("codex's sandbox could not be tried: {e}"),
        hint: "let your user write there, or name another root with --root".to_owned(),
    })?;
    let done = work(&scratch);
    let _left_for_the_next_one = fsx::remove_tree(&scratch);
    done
}

fn scratch(dir: &Path) -> Result<PathBuf> {
    for name in fsx::list(dir)?.into_iter().filter(|name| name.starts_with(SCRATCH)) {
        let left = dir.join(name);
        if fsx::is_older(&left, LEFT_OVER) {
            fsx::remove_tree(&left)?;
        }
    }
    let scratch = dir.join(format!("{SCRATCH}{}", random::base32(8)?));
    fsx::make_new_dir(&scratch)?;
    Ok(scratch)
}

/// Whether word of a change came, and the time that the file system gave it.
fn try_in(scratch: &Path) -> Result<(bool, Option<Timestamp>)> {
    let (tell, heard) = channel();
    let mut watch = Watch::new(move |hint| drop(tell.send(hint))).ok();
    let is_watched = watch.as_mut().is_some_and(|watch| watch.add(scratch).is_ok());
    let (written, renamed) = (scratch.join("written"), scratch.join("renamed"));
    fsx::put(&written, b"x")?;
    fsx::move_to(&written, &renamed)?;
    let lock = scratch.join("lock");
    let first = FileLock::try_acquire(&lock)?;
    if first.is_none() || FileLock::try_acquire(&lock)?.is_some() {
        let what = format!("{}: locks (flock) exclude nobody there", scratch.display());
        return Err(Error::new(ErrorKind::Unsupported, what));
    }
    let has_events = is_watched && heard.recv_timeout(PATIENCE).is_ok();
    let time = renamed.metadata()?.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
    Ok((has_events, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_folder_passes_and_nothing_is_left_in_it() {
        let d = tempfile::tempdir().expect("scratch");
        let tried = try_folder(d.path());
        assert_eq!(tried.problem, None);
        assert!(tried.has_events && tried.file_time.is_some(), "{tried:?}");
        assert_eq!(in_scratch(d.path(), |dir| Ok(dir.is_dir())), Ok(true));
        assert_eq!(fsx::list(d.path()).expect("list"), [""; 0]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let tried = try_folder(Path::new("/proc/self"));
        assert!(tried.problem.as_ref().is_some_and(|why| why.contains("/proc/self/")), "{tried:?}");
        assert!(in_scratch(Path::new("/nonexistent"), |_| Ok(())).is_err());
    }
}
