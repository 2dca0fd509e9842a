//! Wishes: what somebody wants of a job or a task, a file each, made without any lock and never replaced. Whoever holds the
//! job's lock looks at them; those of tasks that are fulfilled once are taken back by it.

use std::io::Result;
use std::path::PathBuf;

use super::RunFolder;
use crate::model::id::TaskId;
use crate::os::fsx;

/// What someone wants of a worker; the file is created, never replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The job, or the task, should end.
    Killed,
    /// The job should rest.
    Paused,
    /// The task should be tried again now.
    Retried,
    /// A person should be shown the job's plan, and asked, before anything of it is executed.
    Asked,
}

impl Want {
    fn file(self) -> &'static str {
        match self {
            Self::Killed => "want.killed",
            Self::Paused => "want.paused",
            Self::Retried => "want.retried",
            Self::Asked => "want.asked",
        }
    }
}

impl RunFolder {
    /// Writes a wish, durably; one that is there already is enough.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wish(&self, want: Want) -> Result<()> {
        fsx::put_mark(&self.dir.join(want.file()))
    }

    /// Whether a wish is there.
    pub fn wants(&self, want: Want) -> bool {
        self.dir.join(want.file()).exists()
    }

    /// Takes a wish back.
    ///
    /// # Errors
    /// Those of the system.
    pub fn unwish(&self, want: Want) -> Result<()> {
        fsx::remove(&self.dir.join(want.file()))
    }

    /// Wishes something of one task: `<task>/want.killed` and the like.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wish_of_task(&self, task: &TaskId, want: Want) -> Result<()> {
        fsx::make_dirs(self.place(task.as_str()).dir())?;
        fsx::put_mark(&self.of_task(task, want))
    }

    /// Whether someone wishes that of one task.
    pub fn wants_of_task(&self, task: &TaskId, want: Want) -> bool {
        self.of_task(task, want).exists()
    }

    /// Takes a wish about one task back.
    ///
    /// # Errors
    /// Those of the system.
    pub fn unwish_of_task(&self, task: &TaskId, want: Want) -> Result<()> {
        fsx::remove(&self.of_task(task, want))
    }

    fn of_task(&self, task: &TaskId, want: Want) -> PathBuf {
        self.place(task.as_str()).dir().join(want.file())
    }
}
