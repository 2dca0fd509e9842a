//! What reviewers and the queen may answer: judgements that code checks before anything follows from them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the queen may decide. Which of it she may say depends on what she is asked; see `logic::advice`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The task gets one more attempt, with her advice.
    Retry,
    /// What is left is planned anew.
    Replan,
    /// The objective can be reached without the task: it is left out.
    Skip,
    /// The task has failed.
    GiveUp,
    /// The result meets the objective.
    Accept,
    /// It does not: her advice becomes a further task.
    Reject,
}

impl Decision {
    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Replan => "replan",
            Self::Skip => "skip",
            Self::GiveUp => "give_up",
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}

/// Whose word made further tasks necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Because {
    /// A reviewer's.
    Review,
    /// That of a verify command.
    Verify,
    /// The queen's.
    Queen,
}

impl Because {
    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Verify => "verify",
            Self::Queen => "queen",
        }
    }
}

/// A codex session's answer to `NUMERUS_QUEEN`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueenAnswer {
    /// What is to be done.
    pub decision: Decision,
    /// Why, and how.
    pub advice: String,
}

/// What a reviewer thinks of a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// It is good as it is.
    Approve,
    /// Something must change.
    Changes,
}

/// One remark on a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comment {
    /// The file that it is about; empty for the whole.
    pub path: String,
    /// What is to be done.
    pub text: String,
}

impl fmt::Display for Comment {
    /// On one line where the text is: what it is about, then what is to be done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.trim();
        if self.path.is_empty() { f.write_str(text) } else { write!(f, "{}: {text}", self.path) }
    }
}

/// A codex session's answer to `NUMERUS_REVIEW`, where there is a diff to judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewAnswer {
    /// The judgement.
    pub verdict: Judgement,
    /// What it rests on.
    pub comments: Vec<Comment>,
}
