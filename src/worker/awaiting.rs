//! A worker before its job: what it has ready by then, and how one that was started before it was known is told, on its standard
//! input.

use std::io::{BufRead, Read, Result, StdinLock};

use tokio::runtime::{Builder, Runtime};

use super::foreseeing::Foreseen;
use crate::model::job::Job;
use crate::model::order::{LONGEST_LINE, Order};
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::{clock, fsx, process, signals};
use crate::runs::Runs;

/// What takes long and is the same whatever the job is.
pub struct Ready {
    /// What the worker's loop runs on.
    pub(super) runtime: Runtime,
    /// What is known of the job that was foretold, if one was.
    pub(super) foreseen: Option<Foreseen>,
}

impl Ready {
    /// Makes it, from here on as a process of its own session.
    ///
    /// # Errors
    /// Those of the system.
    pub fn make() -> Result<Self> {
        process::leave_session();
        process::keep_no_dumps()?;
        signals::hand_down_none_ignored()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // Kept from now on: the first session's record is looked for by it.
        let _kept = clock::zone();
        crate::codex::get_ready();
        Ok(Self { runtime, foreseen: None })
    }

    /// Finds out what there is to know of a job that may come.
    #[must_use]
    pub fn foresee(self, root: &Root, settings: &Settings, job: Job) -> Self {
        Self { foreseen: Foreseen::of(root, settings, job), ..self }
    }
}

/// Where a worker that was started before its job was known is told what it is: its standard input.
#[derive(Debug)]
pub struct Orders(StdinLock<'static>);

impl Orders {
    /// Those on standard input.
    pub fn of_input() -> Self {
        Self(std::io::stdin().lock())
    }

    /// Waits for the next. With that to begin, what there is to say is said in the job's log. `None` when there is none: whoever
    /// started this process needs no worker now, or is gone.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn hear(&mut self, root: &Root) -> Result<Option<Order>> {
        let mut line = Vec::new();
        self.0.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
        let told = Order::of_line(&line);
        if let Some(Order::Begin(job)) = &told {
            let log = fsx::open_append(&Runs::of(root).folder(job).worker_log())?;
            rustix::stdio::dup2_stderr(log)?;
        }
        Ok(told)
    }
}
