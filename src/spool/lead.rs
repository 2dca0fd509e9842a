//! The lock file of the one active daemon, and its content: what that daemon has to say to every command, as long as the
//! lock is held.
//!
//! It lies there since it must be written when the disk is full or no file can be opened any more, and must not outlive
//! the daemon: its room is taken when the daemon starts, it is written over in place, through a file that stays open.

use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Spool;
use crate::os::fsx;
use crate::os::lock::{self, FileLock};

/// Room for it, in bytes.
const BYTES: usize = 1024;
/// How long others' probes of the daemon's lock may stand in the way of the one who takes it.
const PROBES: Duration = Duration::from_millis(50);

/// The daemon's hand on its notice.
#[derive(Debug)]
pub struct Notice {
    file: File,
}

impl Notice {
    /// Opens the notice of the daemon that leads, and takes room for it.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(spool: &Spool) -> Result<Self> {
        let path = spool.daemon_lock();
        let notice = Self { file: fsx::open_in_place(&path)? };
        notice.say("").map_err(fsx::at(&path))?;
        Ok(notice)
    }

    /// Says something, or with an empty text that there is nothing to be said.
    ///
    /// # Errors
    /// Those of the system.
    pub fn say(&self, text: &str) -> Result<()> {
        let mut whole = text.as_bytes().to_vec();
        whole.resize(BYTES - 1, b' ');
        whole.push(b'\n');
        self.file.write_all_at(&whole, 0)
    }
}

impl Spool {
    /// The lock that the one active daemon holds.
    pub fn daemon_lock(&self) -> PathBuf {
        self.dir.join(".lock")
    }

    /// Becomes the one active daemon; `None` if there is one. The probe before the try leaves no trace that would wake
    /// another waiting daemon.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn try_lead(&self) -> Result<Option<FileLock>> {
        let path = self.daemon_lock();
        if lock::is_held(&path)? { Ok(None) } else { FileLock::acquire(&path, PROBES) }
    }

    /// Whether there is an active daemon at this moment.
    pub fn is_led(&self) -> bool {
        lock::is_held(&self.daemon_lock()).unwrap_or(false)
    }

    /// What the active daemon has to say; nothing where there is none.
    pub fn notice(&self) -> Option<String> {
        let path = self.daemon_lock();
        if !lock::is_held(&path).ok()? {
            return None;
        }
        let bytes = fsx::read_bounded(&path, BYTES as u64).ok()??;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::root::Root;

    #[test]
    fn a_notice_is_heard_as_long_as_its_daemon_leads_and_takes_no_room_when_it_changes() {
        let d = tempfile::tempdir().expect("scratch");
        let spool = Spool::of(&Root::new(d.path()));
        spool.create().expect("folders");
        assert_eq!(spool.notice(), None, "nobody leads");
        let lead = spool.try_lead().expect("try").expect("free");
        assert_eq!(spool.notice(), None, "it has said nothing");
        let notice = Notice::open(&spool).expect("open");
        for text in ["the disk is full", "", &"lång ".repeat(1000)] {
            notice.say(text).expect("say");
            let heard = spool.notice().unwrap_or_default();
            assert!(text.starts_with(heard.trim_end_matches('\u{fffd}')), "{heard}");
            assert_eq!(heard.is_empty(), text.is_empty());
            assert_eq!(spool.daemon_lock().metadata().expect("there").len(), BYTES as u64);
        }
        drop(lead);
        assert_eq!(spool.notice(), None, "whoever said it has gone");
    }
}
