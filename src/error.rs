//! How a command ends: the one table of exit codes, and the failure that a person reads.
//!
//! Every command answers with an [`Exit`] or a [`Failure`]; nobody else knows a number.

use std::fmt::Write as _;
use std::io;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and if it was about a job: that ended well.
    Done,
    /// The job failed or was killed.
    JobFailed,
    /// Wrong usage or bad input.
    Usage,
    /// No such job or task.
    Unknown,
    /// Blocked, waiting for a person or for time, already running, or detached from while it runs.
    Blocked,
    /// The root is damaged, cannot be used, or is newer than this program.
    Root,
    /// Codex cannot be used: not found or not logged in.
    Codex,
    /// The machine keeps a worker from going on; the job is not to blame.
    Unfit,
    /// Ended by this signal.
    Signal(u8),
    /// The code of a hidden command, which has a contract of its own.
    Own(u8),
}

/// The codes that a command may end with and their meaning, as the README, the protocol and the manual pages tell them.
pub const CODES: [(&str, &str); 8] = [
    ("0", "done; if it was about a job: that ended well"),
    ("1", "the job failed or was killed"),
    ("2", "wrong usage or bad input"),
    ("3", "no such job or task"),
    (
        "4",
        "blocked, waiting for a person or for time, already running, or detached from while it runs",
    ),
    ("5", "the root is damaged, cannot be used, or was written by a later version"),
    ("6", "codex cannot be used: not found or not logged in"),
    ("130, 143", "ended by a signal"),
];

impl Exit {
    /// The code that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::JobFailed => 1,
            Self::Usage => 2,
            Self::Unknown => 3,
            Self::Blocked => 4,
            Self::Root => 5,
            Self::Codex => 6,
            Self::Unfit => 75,
            Self::Signal(number) => 128u8.saturating_add(number),
            Self::Own(code) => code,
        }
    }

    /// The worse of two ends.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if other.code() > self.code() { other } else { self }
    }
}

/// A command that could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What follows from it.
    pub kind: Exit,
    /// What went wrong, lower case, without full stop; empty when there is nobody left to read it.
    pub message: String,
    /// What the person may do about it.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure without hints.
    pub fn new(kind: Exit, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// Bad usage or input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The system refused something under the root; `doing` follows "cannot".
    pub fn system(doing: &str, error: &io::Error) -> Self {
        Self::new(Exit::Root, format!("cannot {doing}: {error}"))
    }

    /// Whoever read our output has gone: a good end.
    pub fn reader_gone() -> Self {
        Self::new(Exit::Done, "")
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What is printed on stderr; empty for a reader that has gone.
    pub fn render(&self) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let mut text = format!("numerus: error: {}\n", self.message);
        for (n, hint) in self.hints.iter().enumerate() {
            let gap = if n == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}hint: {hint}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_documented_code() {
        for (exit, code) in [
            (Exit::Done, 0),
            (Exit::JobFailed, 1),
            (Exit::Usage, 2),
            (Exit::Unknown, 3),
            (Exit::Blocked, 4),
            (Exit::Root, 5),
            (Exit::Codex, 6),
            (Exit::Signal(2), 130),
            (Exit::Signal(15), 143),
            (Failure::reader_gone().kind, 0),
        ] {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn hints_follow_the_error_after_a_blank_line() {
        let failure = Failure::usage("no objective").hint("give one").hint("or a file");
        let shown = "numerus: error: no objective\n\nhint: give one\nhint: or a file\n";
        assert_eq!(failure.render(), shown);
        assert_eq!(Failure::reader_gone().render(), "");
    }

    #[test]
    fn the_worst_of_several_ends_counts() {
        assert_eq!(Exit::Done.worst(Exit::JobFailed), Exit::JobFailed);
        assert_eq!(Exit::Blocked.worst(Exit::JobFailed), Exit::Blocked);
    }
}
