//! Hears what pulls the ground away: a folder, or one above it, that is moved or removed, and anything that is mounted or
//! unmounted. A watch of what lies in a folder tells of neither.
//!
//! Diagnostics: where the kernel has no means left for one of the two, or does not let us look at a folder above, there is none.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Error, ErrorKind, PipeReader, PipeWriter, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// Where the kernel tells of mounts to whoever polls it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Hears until it is dropped.
#[derive(Debug)]
pub struct Moves {
    /// Closed when this is dropped, which ends the one who hears.
    _open: PipeWriter,
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something was moved, removed or mounted.
    Moved,
    /// The kernel does not let us wait for more: this is the last that is told.
    Unheard,
}

/// What is heard.
struct Told {
    moves: OwnedFd,
    mounts: File,
    end: PipeReader,
}

impl Moves {
    /// Tells of each move, removal and mount that may concern one of these folders, from a thread of its own, and if no more
    /// will be told.
    ///
    /// # Errors
    /// When not all of it can be heard, or a path leads over a link.
    pub fn listen(folders: &[PathBuf], tell: impl Fn(News) + Send + 'static) -> Result<Self> {
        let moves = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        for folder in with_those_above(folders)? {
            let of_itself = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
            inotify::add_watch(&moves, folder, of_itself)?;
        }
        let mounts = File::open(MOUNTS)?;
        let (end, open) = std::io::pipe()?;
        let told = Told { moves, mounts, end };
        if told.wait(Some(&Timespec::default()))? != Some(false) {
            return Err(Error::other("it tells without a reason"));
        }
        std::thread::Builder::new().name("moves".to_owned()).spawn(move || {
            hear(|| told.wait(None), tell);
        })?;
        Ok(Self { _open: open })
    }
}

/// Tells of what each wait brings, until nobody wants to know or nothing can be waited for.
fn hear(wait: impl Fn() -> Result<Option<bool>>, tell: impl Fn(News)) {
    loop {
        match wait() {
            Ok(Some(true)) => tell(News::Moved),
            Ok(Some(false)) => {}
            Ok(None) => return,
            Err(_) => return tell(News::Unheard),
        }
    }
}

impl Told {
    /// Waits, at most so long; whether there was something, and `None` when nobody wants to know any more.
    fn wait(&self, patience: Option<&Timespec>) -> Result<Option<bool>> {
        let mut all = [
            PollFd::new(&self.end, PollFlags::empty()),
            PollFd::new(&self.moves, PollFlags::IN),
            PollFd::new(&self.mounts, PollFlags::PRI),
        ];
        match poll(&mut all, patience) {
            Err(Errno::INTR) => return Ok(Some(false)),
            told => told?,
        };
        let [is_over, has_moved, has_mounted] = all.map(|one| !one.revents().is_empty());
        // What is told is only that there is something.
        while has_moved && rustix::io::read(&self.moves, &mut [0_u8; 1024]).is_ok_and(|n| n > 0) {}
        Ok((!is_over).then_some(has_moved || has_mounted))
    }
}

/// The folders, and all above them. A link on the way could be put elsewhere without any of them being moved.
fn with_those_above(folders: &[PathBuf]) -> Result<BTreeSet<&Path>> {
    for folder in folders {
        if folder.canonicalize()? != *folder {
            return Err(Error::new(ErrorKind::InvalidInput, "it leads over a link"));
        }
    }
    Ok(folders.iter().flat_map(|folder| folder.ancestors()).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::os::fsx;

    #[test]
    fn a_move_of_a_folder_far_above_is_heard_until_nobody_wants_to_know() {
        let d = tempfile::tempdir().expect("scratch");
        let top = d.path().canonicalize().expect("real");
        let below = top.join("a/b");
        fsx::make_dirs(&below).expect("folders");
        let (tell, told) = channel();
        let listen = Moves::listen(std::slice::from_ref(&below), move |news| {
            let _nobody_listens = tell.send(news);
        });
        let moves = listen.expect("listens");
        fsx::move_to(&top.join("a"), &top.join("c")).expect("moved");
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(News::Moved));
        drop(moves);
        while told.recv_timeout(Duration::from_secs(10)) == Ok(News::Moved) {}
        assert!(told.recv().is_err(), "its thread has ended");
    }

    #[test]
    fn that_nothing_more_will_be_told_is_told_unless_nobody_wants_to_know() {
        use News::{Moved, Unheard};
        for (is_wanted, expected) in [(true, vec![Moved, Unheard]), (false, vec![Moved])] {
            let (waits, said) = (Cell::new(0), RefCell::new(Vec::new()));
            let wait = || match waits.replace(waits.get() + 1) {
                0 => Ok(Some(false)),
                1 => Ok(Some(true)),
                _ if is_wanted => Err(Error::other("no memory")),
                _ => Ok(None),
            };
            hear(wait, |news| said.borrow_mut().push(news));
            assert_eq!((said.into_inner(), waits.get()), (expected, 3));
        }
    }

    #[test]
    fn a_path_that_leads_over_a_link_is_not_listened_to() {
        let d = tempfile::tempdir().expect("scratch");
        let top = d.path().canonicalize().expect("real");
        std::os::unix::fs::symlink(&top, top.join("link")).expect("link");
        assert!(Moves::listen(&[top.join("link")], |_| ()).is_err());
        assert!(Moves::listen(&[top], |_| ()).is_ok());
    }
}
