//! Why a dropped file was not accepted: a code for programs, a message and a hint for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The code of a rejection; the word on disk is part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Code {
    /// Nothing to do in it.
    #[serde(rename = "E_EMPTY")]
    Empty,
    /// Not UTF-8.
    #[serde(rename = "E_UTF8")]
    Utf8,
    /// A NUL byte.
    #[serde(rename = "E_NUL")]
    Nul,
    /// Over the limit.
    #[serde(rename = "E_TOO_LARGE")]
    TooLarge,
    /// Its options cannot be read.
    #[serde(rename = "E_SYNTAX")]
    Syntax,
    /// An unknown option or a wrong value.
    #[serde(rename = "E_FIELD")]
    Field,
    /// A path that may not be used.
    #[serde(rename = "E_PATH")]
    Path,
    /// More rights than the operator grants.
    #[serde(rename = "E_POLICY")]
    Policy,
    /// A folder, link, FIFO, socket or device.
    #[serde(rename = "E_NOT_REGULAR")]
    NotRegular,
    /// Someone else's file, linked.
    #[serde(rename = "E_OWNER")]
    Owner,
    /// It may not be read.
    #[serde(rename = "E_UNREADABLE")]
    Unreadable,
    /// The same job, or the same key, again.
    #[serde(rename = "E_DUP")]
    Duplicate,
    /// It waits for a job that nobody knows.
    #[serde(rename = "E_AFTER")]
    After,
    /// A claimed file whose run folder is gone.
    #[serde(rename = "E_RUN_LOST")]
    RunLost,
    /// A job whose journal or `job.json` is destroyed.
    #[serde(rename = "E_CORRUPT")]
    Corrupt,
}

impl Code {
    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "E_EMPTY",
            Self::Utf8 => "E_UTF8",
            Self::Nul => "E_NUL",
            Self::TooLarge => "E_TOO_LARGE",
            Self::Syntax => "E_SYNTAX",
            Self::Field => "E_FIELD",
            Self::Path => "E_PATH",
            Self::Policy => "E_POLICY",
            Self::NotRegular => "E_NOT_REGULAR",
            Self::Owner => "E_OWNER",
            Self::Unreadable => "E_UNREADABLE",
            Self::Duplicate => "E_DUP",
            Self::After => "E_AFTER",
            Self::RunLost => "E_RUN_LOST",
            Self::Corrupt => "E_CORRUPT",
        }
    }
}

/// Why a file was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For programs.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it, in one line.
    pub hint: String,
}

impl Reason {
    /// A reason; line breaks in its texts become spaces, and a long text is cut.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: one_line(&message.into()), hint: one_line(&hint.into()) }
    }
}

/// Longest text of a reason, in characters: what somebody dropped may be repeated in it.
const MAX_TEXT_CHARS: usize = 2000;

fn one_line(text: &str) -> String {
    let mut letters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = letters.by_ref().take(MAX_TEXT_CHARS).collect();
    if letters.next().is_some() {
        line.push('…');
    }
    line
}

/// `<name>.reason.json` beside a rejected file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// As in [`Reason`].
    pub code: Code,
    /// As in [`Reason`].
    pub message: String,
    /// As in [`Reason`].
    pub hint: String,
    /// When it was rejected.
    pub at: Timestamp,
    /// Its name in `incoming/`, undecodable bytes replaced.
    pub original_name: String,
    /// Where it lies, if that is not beside this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_as: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_on_one_line() {
        let long =
            Reason::new(Code::Field, "a\n".repeat(MAX_TEXT_CHARS), "é".repeat(MAX_TEXT_CHARS));
        assert_eq!(long.message, "a ".repeat(MAX_TEXT_CHARS / 2) + "…");
        assert_eq!(long.hint, "é".repeat(MAX_TEXT_CHARS), "not cut");
    }

    #[test]
    fn the_code_on_disk_is_the_word_on_screen() {
        for code in [Code::Empty, Code::TooLarge, Code::NotRegular, Code::RunLost, Code::After] {
            let json = serde_json::to_string(&code).expect("json");
            assert_eq!(json, format!("{:?}", code.as_str()));
        }
    }
}
