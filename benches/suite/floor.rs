//! The floor: the least that a spooler of files can do. It watches a folder and starts one process for each file that is
//! renamed into it; with `sync` it first moves the file to where nothing takes it again, and flushes both file and folder.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Error};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::inotify;

/// What this program is called when it plays the floor.
pub(crate) const WATCHER: &str = "floor";

/// `floor INCOMING JOB none|sync`, until it is killed.
pub(crate) fn be_the_watcher(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.collect();
    let [incoming, job, sync] = words.as_slice() else { return ExitCode::from(2) };
    match watch(Path::new(incoming), Path::new(job), sync == "sync") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn watch(incoming: &Path, job: &Path, sync: bool) -> io::Result<()> {
    let taken = incoming.with_file_name("taken");
    std::fs::create_dir_all(&taken)?;
    let events: OwnedFd = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&events, incoming, inotify::WatchFlags::MOVED_TO)?;
    let mut buffer = [MaybeUninit::uninit(); 4 * 1024];
    let mut reader = inotify::Reader::new(&events, &mut buffer);
    loop {
        let event = reader.next()?;
        let Some(name) = event.file_name() else { continue };
        let name = name.to_str().map_err(Error::other)?;
        if sync {
            take(incoming.join(name), &taken, name)?;
        }
        let mut command = Command::new(job);
        command.arg(name).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn()?;
        // One thread a child, so that none is left behind; it costs the floor nothing that is measured.
        std::thread::spawn(move || {
            let mut child = child;
            child.wait()
        });
    }
}

fn take(file: PathBuf, taken: &Path, name: &str) -> io::Result<()> {
    File::open(&file)?.sync_all()?;
    std::fs::rename(file, taken.join(name))?;
    File::open(taken)?.sync_all()
}
