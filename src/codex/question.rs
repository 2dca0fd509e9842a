//! What codex can be asked, and what comes back.

use std::path::PathBuf;

use serde_json::Value;

use crate::logic::enforce::Opened;
use crate::model::event::SessionKind;
use crate::model::id::TaskId;
use crate::model::outcome::Tokens;
use crate::model::plan::Role;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The task it is for, if any.
    pub task: Option<TaskId>,
    /// The folder of its files.
    pub place: String,
    /// What it is for.
    pub kind: SessionKind,
    /// Whose work it is.
    pub role: Role,
    /// The attempt.
    pub attempt: u32,
    /// Where codex works.
    pub cwd: PathBuf,
    /// The words.
    pub prompt: String,
    /// The schema of the answer, if it is structured.
    pub schema: Option<Value>,
    /// The thread to go on with, and what it has spent.
    pub resume: Option<(String, Tokens)>,
    /// All that it may write in its directory, where that is less than its sandbox would let it.
    pub opened: Option<Opened>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The agent's last words.
    pub message: String,
    /// The thread, and what it has spent.
    pub thread: (String, Tokens),
}

impl Question {
    /// A question for the whole job, for free text, on a new thread.
    pub fn new(
        kind: SessionKind,
        role: Role,
        place: &str,
        attempt: u32,
        cwd: PathBuf,
        prompt: String,
    ) -> Self {
        let (place, task, schema, resume, opened) = (place.to_owned(), None, None, None, None);
        Self { task, place, kind, role, attempt, cwd, prompt, schema, resume, opened }
    }

    /// The same for a task, if any.
    #[must_use]
    pub fn with_task(self, task: Option<&TaskId>) -> Self {
        Self { task: task.cloned(), ..self }
    }

    /// The same on a thread that is there, with what it has spent.
    #[must_use]
    pub fn with_thread(self, thread: (String, Tokens)) -> Self {
        Self { resume: Some(thread), ..self }
    }

    /// The same with no more of its directory open than this, if anything is said.
    #[must_use]
    pub fn with_opened(self, opened: Option<Opened>) -> Self {
        Self { opened, ..self }
    }
}
