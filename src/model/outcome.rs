//! How a session ended, in types: what follows from a failure depends on its kind alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The service or the network hiccuped: the same thread goes on after a short wait.
    Transient,
    /// The account is over its limit: the job parks until it is refilled.
    Limit,
    /// Codex cannot log in or is set up wrongly: nothing helps but a person.
    Auth,
    /// The session did not start right (its sandbox helper was missing): it is started again, nothing is charged.
    Start,
    /// The agent did not do it: an attempt is charged.
    Task,
    /// We ended it: a kill, a stop, or a deadline of the whole job.
    Stopped,
    /// The worker died under it: charged to nobody, bounded on its own.
    Interrupted,
    /// The worker was asked to leave, or may spend no more: whoever goes on starts it again, charged to nobody.
    Left,
    /// What the task had built on was changed by others: it claims again, charged to nobody.
    Stale,
    /// Numerus or the machine is at fault.
    Bug,
}

/// A failed session or step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it asks for.
    pub kind: FailureKind,
    /// What happened, in one line for people.
    pub message: String,
    /// When the account is refilled, if the service said so.
    pub resets_at: Option<Timestamp>,
}

impl Failure {
    /// A failure without a time to wait for.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), resets_at: None }
    }
}

/// Tokens, as codex counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// Tokens sent, cached ones included.
    #[serde(rename = "input_tokens")]
    pub input: u64,
    /// Of those, the cached ones.
    #[serde(rename = "cached_input_tokens")]
    pub cached: u64,
    /// Tokens received.
    #[serde(rename = "output_tokens")]
    pub output: u64,
}

impl Tokens {
    /// What was spent since `before`; a thread's count never sinks, so a smaller one counts as nothing.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            input: self.input.saturating_sub(before.input),
            cached: self.cached.saturating_sub(before.cached),
            output: self.output.saturating_sub(before.output),
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
        }
    }

    /// Sent and received together, for budgets and summaries.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
