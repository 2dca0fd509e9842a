//! What is measured for `numerus doctor`: plain values, as they were found.

use jiff::Timestamp;

use crate::logic::health::Volume;

/// Something that is missing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing or wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.hint)
    }
}

/// How codex would get at a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Its provider asks for none.
    NotNeeded {
        /// The provider in codex's settings.
        provider: String,
    },
    /// Its provider wants a key in a variable.
    Key {
        /// The provider in codex's settings.
        provider: String,
        /// The variable.
        variable: String,
        /// Whether codex gets one.
        is_set: bool,
    },
    /// What `codex login status` says.
    Status {
        /// Its first line.
        said: String,
        /// Whether that means yes.
        is_in: bool,
    },
    /// `codex login status` gave no answer, for this reason: neither yes nor no.
    Unknown(String),
}

/// What codex answers to `--version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// This line.
    Said(String),
    /// Nothing, or it failed.
    None,
    /// Nothing in time: within which, and what became of it.
    Late(String),
}

/// The codex that jobs use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A script plays its part.
    Played,
    /// There is none.
    Missing(Lack),
    /// There is one that does not answer.
    Hangs {
        /// Where.
        path: String,
        /// For how long it was waited, and what became of it.
        why: String,
    },
    /// There is one.
    Found {
        /// Where.
        path: String,
        /// What `--version` says; nothing where it does not answer.
        version: Option<String>,
        /// How it gets at a model.
        login: Login,
        /// Whether it was tried and confines; `false` where nobody is to be confined.
        sandbox: Result<bool, Lack>,
    },
}

/// What trying one folder has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The folder.
    pub place: String,
    /// What went wrong with writing, renaming or locking there.
    pub problem: Option<String>,
    /// Whether events arrive from there.
    pub has_events: bool,
    /// The time that the file system gave to what was just written.
    pub file_time: Option<Timestamp>,
}

/// What is kept of removed jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copies {
    /// Of how many jobs.
    pub jobs: usize,
    /// What it takes.
    pub bytes: u64,
}

/// The root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Root {
    /// Where.
    pub path: String,
    /// Whether it is there.
    pub is_there: bool,
    /// Why it is refused.
    pub refused: Option<(String, String)>,
    /// What its user should know.
    pub told: Vec<String>,
    /// What trying its folders has shown; where there are none, the folder that it would be made in.
    pub tried: Vec<Tried>,
    /// The room on what its folders lie on.
    pub volumes: Vec<Volume>,
    /// What should stay free, if it is set.
    pub min_free: Option<u64>,
    /// Whether a daemon is active.
    pub is_led: bool,
    /// What that daemon has to say.
    pub notice: Option<String>,
    /// Files that wait in `incoming/`.
    pub waiting: usize,
    /// Files in `rejected/`.
    pub rejected: usize,
    /// Edits that were cut off: each with what to do.
    pub edits: Vec<(String, String)>,
    /// What is kept of removed jobs.
    pub copies: Copies,
    /// What keeps hooks from being called, a line each.
    pub hooks: Vec<String>,
    /// Accounts that are held, in words.
    pub held: Vec<String>,
    /// When the newest record of its daemon was written.
    pub last_record: Option<Timestamp>,
}

/// What the kernel lets this user watch, and how much of it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inotify {
    /// Most instances.
    pub instances: u64,
    /// Instances in use, as far as they can be seen.
    pub used_instances: u64,
    /// Most watches.
    pub watches: u64,
    /// Watches in use, as far as they can be seen.
    pub used_watches: u64,
}

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What is wrong with the settings.
    pub settings: Option<String>,
    /// The codex.
    pub codex: Program,
    /// The root.
    pub root: Root,
    /// What `git --version` says; nothing where there is no git.
    pub git: Option<String>,
    /// What can be watched; nothing where the kernel does not say.
    pub inotify: Option<Inotify>,
    /// Open files of this process; `None` where there is no bound.
    pub open_files: Option<u64>,
    /// The wall clock.
    pub now: Timestamp,
}
