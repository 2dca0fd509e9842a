//! The one door to writing files. A file appears whole or not at all: written beside its name, flushed, named by a
//! rename, and the folder flushed. A move is a rename that replaces nothing, and both folders flushed.
//!
//! Diagnostics: every error carries its path. After a failed flush the kernel may have dropped what it could not write and
//! call the next flush good, so none is tried again on the same file: the temporary file is abandoned and a new one written,
//! once; a second failure is the caller's. A folder's flush that fails is the caller's at once.

#![expect(clippy::disallowed_methods, reason = "the one door to files")]

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};

pub use self::copying::{copy_new, is_same, put_new_by};
pub use self::moving::{
    begin_move, exchange, move_to, publish, rename_derived, rename_over, rename_spare,
};
pub use self::reading::{
    disk_bytes, is_at, list, list_os, open_hostile, open_own, read_at_most, read_bounded,
    read_head, read_optional, read_tail, refuse_irregular,
};
pub use self::temps::{clear_old_temps, clear_temps, is_older, is_temp};
pub use self::together::Flushing;
use self::together::put_together;
use super::{random, reserve, seeded};

mod copying;
mod moving;
mod reading;
mod temps;
mod together;

/// Adds the path to an error that has none.
pub fn at(path: &Path) -> impl FnOnce(Error) -> Error + '_ {
    move |e| Error::new(e.kind(), PathError { path: path.to_owned(), source: e })
}

/// An error with the path it is about; the kernel's number stays readable through [`raw_os_error`].
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct PathError {
    path: PathBuf,
    source: Error,
}

/// The kernel's error number below whatever was said around it.
pub fn raw_os_error(error: &Error) -> Option<i32> {
    if let Some(number) = error.raw_os_error() {
        return Some(number);
    }
    let mut next = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(inner) = next {
        if let Some(error) = inner.downcast_ref::<Error>() {
            return raw_os_error(error);
        }
        next = inner.source();
    }
    None
}

/// Whether a file replaces an older one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Onto {
    Free,
    Any,
}

/// Puts a new file in place, durably; `AlreadyExists` if the name is taken.
///
/// # Errors
/// Those of the system, with the path; then nothing has changed under the name.
pub fn put_new(path: &Path, bytes: &[u8]) -> Result<()> {
    put_unflushed_name(path, bytes)?;
    sync_dir(parent(path))
}

/// Puts a file in place, durably, replacing an older one.
///
/// # Errors
/// Those of the system, with the path; then the older one is still there.
pub fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    put_after(path, bytes, || Ok(()))
}

/// As [`put`]: the file gets its name once `settled` is done, which begins when its bytes are on disk.
///
/// # Errors
/// Those of [`put`] and of `settled`.
pub fn put_after(path: &Path, bytes: &[u8], settled: impl FnOnce() -> Result<()>) -> Result<()> {
    let temp = written_by(path, bytes, &mut flush_bytes)?;
    settled().inspect_err(|_| drop(remove_quietly(&temp)))?;
    give_name(&temp, path, Onto::Any)?;
    sync_dir(parent(path))
}

/// Puts an empty file in place, durably, whose name says it all; one that is there already will do. It is whole as soon as
/// it is there, so that nothing half made is left by whoever dies here, and the folder's flush is all that it takes.
///
/// # Errors
/// Those of the system, with the path.
pub fn put_mark(path: &Path) -> Result<()> {
    match create_new(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        created => drop(created?),
    }
    sync_dir(parent(path))
}

/// Puts a new file in place, its bytes flushed and its name not: whoever gives it its real name flushes that one.
///
/// # Errors
/// `AlreadyExists` if the name is taken; otherwise those of the system, with the path. Nothing has changed under the name then.
pub fn put_unflushed_name(path: &Path, bytes: &[u8]) -> Result<()> {
    put_without_dir(path, bytes, Onto::Free)
}

/// Puts new files in place, named in this order, with their bytes flushed and their names not, as git puts its own: what is flushed
/// after them into the same file system carries the names along, where that keeps the order of names.
///
/// # Errors
/// Those of the system, with the path; some of the files may be there then.
pub fn put_as_git_does(files: &[(PathBuf, &[u8])]) -> Result<()> {
    put_together(files, written_by)
}

/// The same with files that nobody needs: never with the room that is kept for work.
///
/// # Errors
/// Those of [`put_as_git_does`].
pub fn put_spares_as_git_does(files: &[(PathBuf, &[u8])]) -> Result<()> {
    put_together(files, write_beside)
}

/// Replaces a file that can be derived again: whole for every reader, but without a flush.
///
/// # Errors
/// Those of the system, with the path.
pub fn replace_derived(path: &Path, bytes: &[u8]) -> Result<()> {
    if seeded::bug("status-in-place") {
        let mut file = File::options().write(true).create(true).truncate(true).open(path)?;
        return file.write_all(bytes);
    }
    put_flushed_by(path, bytes, Onto::Any, &mut |_| Ok(()))
}

/// As [`replace_derived`] for a file that nobody needs: never with the room that is kept for work.
///
/// # Errors
/// Those of the system, with the path.
pub fn replace_spare(path: &Path, bytes: &[u8]) -> Result<()> {
    let temp = write_beside(path, bytes, &mut |_| Ok(()))?;
    give_name(&temp, path, Onto::Any)
}

fn put_without_dir(path: &Path, bytes: &[u8], onto: Onto) -> Result<()> {
    put_flushed_by(path, bytes, onto, &mut flush_bytes)
}

fn flush_bytes(file: &File) -> Result<()> {
    if seeded::bug("no-file-flush") { Ok(()) } else { file.sync_all() }
}

fn put_flushed_by(
    path: &Path,
    bytes: &[u8],
    onto: Onto,
    flush: &mut dyn FnMut(&File) -> Result<()>,
) -> Result<()> {
    let temp = written_by(path, bytes, flush)?;
    give_name(&temp, path, onto)
}

/// Gives a whole file its name; none is left after an error.
fn give_name(temp: &Path, path: &Path, onto: Onto) -> Result<()> {
    let named = rename_onto(temp, path, onto);
    named.inspect_err(|_| drop(remove_quietly(temp))).map_err(at(path))
}

/// As [`write_beside`], once more where the first one failed.
fn written_by(
    path: &Path,
    bytes: &[u8],
    flush: &mut dyn FnMut(&File) -> Result<()>,
) -> Result<PathBuf> {
    match write_beside(path, bytes, flush) {
        Err(e) => {
            reserve::give_up_for(&e, path);
            write_beside(path, bytes, flush)
        }
        written => written,
    }
}

/// A new flushed file beside `path`; none is left after an error.
fn write_beside(
    path: &Path,
    bytes: &[u8],
    flush: &mut dyn FnMut(&File) -> Result<()>,
) -> Result<PathBuf> {
    write_beside_by(path, &mut |mut file| file.write_all(bytes).and_then(|()| flush(file)))
}

/// The same, whose bytes are written and flushed by whoever is given it.
fn write_beside_by(path: &Path, fill: &mut dyn FnMut(&File) -> Result<()>) -> Result<PathBuf> {
    let temp = temp_beside(path)?;
    let done = fill(&create_new(&temp)?);
    done.inspect_err(|_| drop(remove_quietly(&temp))).map(|()| temp).map_err(at(path))
}

/// A fresh name beside `path`, of the form that start-up clears away: `.<random>.tmp`.
///
/// # Errors
/// When the kernel gives no randomness.
pub fn temp_beside(path: &Path) -> Result<PathBuf> {
    Ok(parent(path).join(format!(".{}.tmp", random::base32(16)?)))
}

/// The folder a path lies in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Creates a file that did not exist, for its owner alone.
///
/// # Errors
/// `AlreadyExists` if the name is taken; otherwise those of the system.
pub fn create_new(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(nofollow());
    options.open(path).map_err(at(path))
}

/// Puts a new file in place, its bytes flushed and its name not, that has its name from the beginning: whose name is a lock.
///
/// # Errors
/// `AlreadyExists` if the name is taken; otherwise those of the system, with the path, and then it is gone again.
pub fn put_lock(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create_new(path)?;
    let written = file.write_all(bytes).and_then(|()| flush_bytes(&file));
    written.inspect_err(|_| drop(remove_quietly(path))).map_err(at(path))
}

/// Opens a file that is there for writing over what it holds, at its place: where it is long enough already, that needs no
/// room on the disk.
///
/// # Errors
/// Those of the system, with the path.
pub fn open_in_place(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).custom_flags(nofollow()).open(path).map_err(at(path))
}

/// Opens a file for appending, creating it for its owner alone.
///
/// # Errors
/// Those of the system, with the path.
pub fn open_append(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600).custom_flags(nofollow());
    options.open(path).map_err(at(path))
}

fn nofollow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed()
}

fn rename_onto(from: &Path, to: &Path, onto: Onto) -> Result<()> {
    let flags = match onto {
        Onto::Free => RenameFlags::NOREPLACE,
        Onto::Any => RenameFlags::empty(),
    };
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

/// Flushes a folder, so that the names in it survive a power cut.
///
/// # Errors
/// Those of the system, with the path.
pub fn sync_dir(dir: &Path) -> Result<()> {
    if seeded::bug("no-folder-flush") {
        return Ok(());
    }
    File::open(dir).and_then(|d| d.sync_all()).map_err(at(dir))
}

/// Has whoever watches a file look at it: it is opened to be written, and closed as it is.
///
/// # Errors
/// Those of the system, with the path.
pub fn nudge(path: &Path) -> Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flags).open(path).map(drop).map_err(at(path))
}

/// Makes a folder and those above it, for the owner alone; what is there already stays as it is.
///
/// # Errors
/// Those of the system, with the path.
pub fn make_dirs(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))
}

/// Makes one folder for the owner alone, in one that is there; one that is there already stays as it is.
///
/// # Errors
/// `NotFound` if the folder above is gone; otherwise those of the system, with the path.
pub fn make_dir(dir: &Path) -> Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists || !dir.is_dir() => Err(at(dir)(e)),
        _ => Ok(()),
    }
}

/// Makes a folder and those above it, as [`make_dirs`] does, and flushes each folder that one was made in.
///
/// # Errors
/// Those of the system, with the path.
pub fn make_kept_dirs(dir: &Path) -> Result<()> {
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    make_dirs(dir)?;
    missing.into_iter().rev().try_for_each(|made| sync_dir(parent(made)))
}

/// Makes one folder that did not exist, and flushes the folder it lies in.
///
/// # Errors
/// `AlreadyExists` if it is there; otherwise those of the system.
pub fn make_new_dir(dir: &Path) -> Result<()> {
    make_free_dir(dir)?;
    sync_dir(parent(dir))
}

/// Makes one folder that did not exist, without a flush.
///
/// # Errors
/// `AlreadyExists` if it is there; otherwise those of the system, with the path.
pub fn make_free_dir(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(dir).map_err(at(dir))
}

/// Writes to a file of the kernel's, in one piece.
///
/// # Errors
/// Those of the system, with the path.
pub fn tell_kernel(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path).map_err(at(path))?;
    file.write_all(bytes).map_err(at(path))
}

/// Removes one file; one that is gone is no error.
///
/// # Errors
/// Those of the system, with the path.
pub fn remove(path: &Path) -> Result<()> {
    match remove_quietly(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(at(path)(e)),
        _ => Ok(()),
    }
}

fn remove_quietly(path: &Path) -> Result<()> {
    std::fs::remove_file(path)
}

/// Removes a folder with all that is in it; one that is gone is no error. The caller has made sure that a copy of what
/// matters is kept.
///
/// # Errors
/// Those of the system, with the path.
pub fn remove_tree(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(at(dir)(e)),
        _ => Ok(()),
    }
}

/// Removes whatever lies there, as [`remove`] and [`remove_tree`] do.
///
/// # Errors
/// Those of the system, with the path.
pub fn remove_any(path: &Path) -> Result<()> {
    let is_dir = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if is_dir { remove_tree(path) } else { remove(path) }
}

#[cfg(test)]
mod edges;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().expect("scratch folder")
    }

    #[test]
    fn a_nudge_is_heard_changes_nothing_and_waits_for_nobody() {
        let d = dir();
        let path = d.path().join("a");
        put_new(&path, b"x").expect("put");
        let before = path.metadata().expect("there").modified().expect("a time");
        let (tell, told) = std::sync::mpsc::channel();
        let mut watch =
            crate::os::watch::Watch::new(move |hint| tell.send(hint.change).unwrap_or_default());
        watch.as_mut().expect("watch").add(d.path()).expect("watched");
        nudge(&path).expect("nudged");
        let change = told.recv_timeout(Duration::from_secs(20)).expect("a hint");
        assert_eq!(change, crate::os::watch::Change::Closed);
        assert_eq!(std::fs::read(&path).expect("there"), b"x");
        assert_eq!(path.metadata().expect("there").modified().expect("a time"), before);
        let pipe = d.path().join("pipe");
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("pipe");
        nudge(&pipe).expect_err("nobody reads it");
        std::os::unix::fs::symlink(&path, d.path().join("link")).expect("link");
        nudge(&d.path().join("link")).expect_err("a link");
        nudge(&d.path().join("b")).expect_err("nothing is there");
        assert!(!d.path().join("b").exists());
    }

    #[test]
    fn put_new_never_replaces_and_put_does() {
        let d = dir();
        let path = d.path().join("a");
        put_new(&path, b"one").expect("free name");
        assert_eq!(put_new(&path, b"two").map_err(|e| e.kind()), Err(ErrorKind::AlreadyExists));
        assert_eq!(read_optional(&path).expect("read").as_deref(), Some("one"));
        put(&path, b"three").expect("replace");
        assert_eq!(read_optional(&path).expect("read").as_deref(), Some("three"));
        assert_eq!(list(d.path()).expect("list"), ["a"], "no temporary file is left");
    }

    #[test]
    fn a_failed_flush_is_tried_once_more_on_a_new_file_and_never_on_the_same() {
        use std::os::unix::fs::MetadataExt;
        let d = dir();
        let path = d.path().join("a");
        put(&path, b"old").expect("put");
        for (failures, works) in [(1, true), (2, false)] {
            let mut seen = Vec::new();
            let mut flush = |file: &File| {
                seen.push(file.metadata()?.ino());
                // A second name keeps the number from being given to the next file.
                let kept = d.path().join(format!("kept-{}", seen.len()));
                let temp = list(d.path())?.into_iter().find(|n| n.starts_with('.'));
                std::fs::hard_link(d.path().join(temp.unwrap_or_default()), kept)?;
                if seen.len() <= failures { Err(Error::other("flush")) } else { Ok(()) }
            };
            let done = put_flushed_by(&path, b"new", Onto::Any, &mut flush);
            assert_eq!(done.is_ok(), works);
            assert_eq!(seen.len(), 2, "tried once more, no more");
            assert_ne!(seen[0], seen[1], "on another file");
            let expected = if works { "new" } else { "old" };
            assert_eq!(read_optional(&path).expect("read").as_deref(), Some(expected));
            put(&path, b"old").expect("put");
            let mut left = list(d.path()).expect("list");
            left.sort();
            assert_eq!(left, ["a", "kept-1", "kept-2"], "no temporary file is left");
            for name in ["kept-1", "kept-2"] {
                remove(&d.path().join(name)).expect("removed");
            }
        }
    }

    #[test]
    fn an_empty_file_is_put_once_and_stays_as_it_is() {
        let d = dir();
        let path = d.path().join("a");
        put_mark(&path).expect("new");
        put(&path, b"mine").expect("content");
        put_mark(&path).expect("there");
        assert_eq!(read_optional(&path).expect("read").as_deref(), Some("mine"));
        assert_eq!(list(d.path()).expect("list"), ["a"]);
    }

    #[test]
    fn an_unfinished_file_of_others_is_cleared_away_once_it_is_old() {
        let d = dir();
        for name in [".a.tmp", "b.tmp", ".c"] {
            put_new(&d.path().join(name), b"half").expect("file");
        }
        clear_old_temps(d.path(), Duration::from_secs(60)).expect("clear");
        assert_eq!(list(d.path()).expect("list").len(), 3, "somebody may be writing it");
        clear_old_temps(d.path(), Duration::ZERO).expect("clear");
        let mut left = list(d.path()).expect("list");
        left.sort();
        assert_eq!(left, [".c", "b.tmp"]);
    }

    #[test]
    fn a_folder_is_made_only_where_the_one_above_it_is_there() {
        let d = dir();
        let (deep, one) = (d.path().join("gone/one"), d.path().join("one"));
        assert_eq!(make_dir(&deep).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
        for _ in 0..2 {
            make_dir(&one).expect("one that is there will do");
        }
        put_new(&d.path().join("file"), b"").expect("file");
        assert!(make_dir(&d.path().join("file")).is_err(), "a file is no folder");
        make_kept_dirs(&deep).expect("with those above it");
        for path in [deep, d.path().join("file"), d.path().join("file")] {
            remove_any(&path).expect("of any kind, there or not");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_move_replaces_nothing_and_says_who_was_first() {
        let d = dir();
        let (a, b) = (d.path().join("a"), d.path().join("b"));
        put_new(&a, b"1").expect("a");
        put_new(&b, b"2").expect("b");
        assert_eq!(move_to(&a, &b).map_err(|e| e.kind()), Err(ErrorKind::AlreadyExists));
        remove(&b).expect("gone");
        move_to(&a, &b).expect("free");
        assert_eq!(move_to(&a, &b).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    }

    #[test]
    fn a_link_a_fifo_and_a_big_file_are_not_read() {
        let d = dir();
        let file = d.path().join("file");
        put_new(&file, b"12345").expect("file");
        std::os::unix::fs::symlink(&file, d.path().join("link")).expect("link");
        rustix::fs::mknodat(
            CWD,
            d.path().join("fifo"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .expect("fifo");
        assert!(read_bounded(&d.path().join("link"), 10).is_err());
        assert!(read_bounded(&d.path().join("fifo"), 10).is_err());
        for waits in [
            read_optional(&d.path().join("fifo")).map(drop),
            refuse_irregular(&d.path().join("fifo")),
        ] {
            assert_eq!(waits.map_err(|e| e.kind()), Err(ErrorKind::InvalidInput));
        }
        assert_eq!(read_optional(&d.path().join("link")).expect("read").as_deref(), Some("12345"));
        refuse_irregular(&d.path().join("link")).expect("a file");
        refuse_irregular(&d.path().join("gone")).expect("nothing");
        assert_eq!(read_bounded(&file, 4).expect("read"), None);
        assert_eq!(read_bounded(&file, 5).expect("read"), Some(b"12345".to_vec()));
    }

    #[test]
    fn an_error_names_its_path_and_keeps_its_number() {
        let error = read_bounded(Path::new("/nonexistent/x"), 1).expect_err("not there");
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
        assert_eq!(raw_os_error(&error), Some(rustix::io::Errno::NOENT.raw_os_error()));
    }
}
