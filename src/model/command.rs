//! How one command of the job file went, as the journal keeps it.

use serde::{Deserialize, Serialize};

/// One command of `verify` or `setup`, as it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The command.
    pub command: String,
    /// Its exit code; `None` when it was ended by a signal or a deadline.
    pub code: Option<i32>,
}

impl CommandResult {
    /// Whether it did what it should.
    pub fn passed(&self) -> bool {
        self.code == Some(0)
    }

    /// How it ended, fit to follow the command.
    pub fn how(&self) -> String {
        self.code.map_or_else(
            || "was ended before it was done".to_owned(),
            |code| format!("ended with {code}"),
        )
    }
}
