//! The folders in a run folder that sessions write in: which file has which name there.

use std::io::Result;
use std::path::{Path, PathBuf};

use crate::os::fsx;

/// The folder of a task or of a session that belongs to none.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    pub(super) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Raw PTY bytes of all its sessions, in order.
    pub fn stdout_log(&self) -> PathBuf {
        self.dir.join("stdout.log")
    }

    /// What its sessions wrote to stderr.
    pub fn stderr_log(&self) -> PathBuf {
        self.dir.join("stderr.log")
    }

    /// The same, parsed: one event a line.
    pub fn transcript(&self) -> PathBuf {
        self.dir.join("events.ndjson")
    }

    /// The lock that codex itself holds while it lives.
    pub fn session_lock(&self) -> PathBuf {
        self.dir.join("session.lock")
    }

    /// What session `number` was asked.
    pub fn prompt(&self, number: u32) -> PathBuf {
        self.dir.join(format!("prompt-{number}.md"))
    }

    /// What session `number` was to answer with.
    pub fn schema(&self, number: u32) -> PathBuf {
        self.dir.join(format!("schema-{number}.json"))
    }

    /// What session `number` said last: `result-N.json`.
    pub fn result(&self, number: u32) -> PathBuf {
        self.dir.join(format!("result-{number}.json"))
    }

    /// What its task landed.
    pub fn patch(&self) -> PathBuf {
        self.dir.join("diff.patch")
    }

    /// What the commands of this name wrote: `setup` or `verify`.
    pub fn command_log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// The worktree of an attempt.
    pub fn tree(&self, attempt: u32) -> PathBuf {
        self.dir.join(format!("tree-{attempt}"))
    }

    /// Its index as git made it.
    pub fn tree_index(&self, attempt: u32) -> PathBuf {
        self.dir.join(format!("tree-{attempt}.index"))
    }

    /// The folder for the temporary files of one attempt's tools, or of the commands of this name.
    pub fn temp(&self, of: impl std::fmt::Display) -> PathBuf {
        self.dir.join(format!("{TEMP}{of}"))
    }

    /// Every folder for temporary files that is there.
    ///
    /// # Errors
    /// Those of the system.
    pub fn temps(&self) -> Result<Vec<PathBuf>> {
        let names = fsx::list(&self.dir)?;
        Ok(names.iter().filter(|n| n.starts_with(TEMP)).map(|n| self.dir.join(n)).collect())
    }
}

/// How the folders for temporary files begin.
const TEMP: &str = "tmp-";
