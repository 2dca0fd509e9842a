//! A worker before its job: what it has ready by then, and how one that was started before it was known is told, on its standard
//! input.

use std::io::{BufRead, Read, Result};

use tokio::runtime::{Builder, Runtime};

use crate::codex::Launchers;
use crate::model::id::{JobId, MAX_ID_BYTES};
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::pty::Spawner;
use crate::os::{clock, fsx, process};
use crate::runs::Runs;

/// What takes long and is the same whatever the job is. Where there turns out to be none, dropping it ends what was begun.
pub struct Ready {
    /// With one that stands by; a sentence where there can be none.
    pub(super) launchers: std::result::Result<Launchers, String>,
    /// Its end waits for one that is just being started.
    pub(super) runtime: Runtime,
}

impl Ready {
    /// Makes it, from here on as a process of its own session.
    ///
    /// # Errors
    /// Those of the system.
    pub fn make(settings: &Settings) -> Result<Self> {
        process::leave_session();
        process::keep_no_dumps()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let launchers = begin(settings);
        drop(inside);
        // Kept from now on: the first session's record is looked for by it.
        let _kept = clock::zone();
        Ok(Self { launchers, runtime })
    }
}

/// Has the first one stand by.
fn begin(settings: &Settings) -> std::result::Result<Launchers, String> {
    let spawner = Spawner::start().map_err(|e| format!("cannot start the spawning thread: {e}"))?;
    let launchers = Launchers::new(spawner, settings)
        .map_err(|e| format!("cannot find this program's own file: {e}"))?;
    launchers.prepare();
    Ok(launchers)
}

/// Waits for the name of a job, and says from then on what there is to say in that job's log. `None` when there is none: whoever
/// started this process needs no worker now, or is gone.
///
/// # Errors
/// Those of the system, with the path.
pub fn job_of_input(root: &Root) -> Result<Option<JobId>> {
    let mut line = String::new();
    let bound = u64::try_from(MAX_ID_BYTES + 1).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(bound).read_line(&mut line)?;
    // A name that was cut off is nobody's.
    let Some(job) = line.strip_suffix('\n').and_then(|name| JobId::parse(name).ok()) else {
        return Ok(None);
    };
    let log = fsx::open_append(&Runs::of(root).folder(&job).worker_log())?;
    rustix::stdio::dup2_stderr(log)?;
    Ok(Some(job))
}
