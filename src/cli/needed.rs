//! The jobs that others need which have not ended: they wait for them, or go on from what they landed. Those others are the taken
//! ones and the files that nobody has taken yet.
//!
//! Promise: a file in `incoming/` is read as anybody's: no more of it than a bound, and what is no job file names nobody.

use std::ffi::OsStr;
use std::io::{ErrorKind, Result};
use std::path::Path;

use super::snapshot;
use crate::error::Failure;
use crate::logic::admission::{self, Shape};
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::job::Options;
use crate::model::root::Root;
use crate::runs::{RunFolder, Runs};
use crate::spool::{Content, Format, Place, Spool};

/// Most bytes of a file that nobody has accepted yet.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Who needs which jobs.
#[derive(Debug, Default)]
pub(super) struct Needs(Vec<Need>);

#[derive(Debug)]
struct Need {
    /// A job, or the name of a file.
    by: String,
    /// The beginnings of the ids of what it needs.
    of: Vec<String>,
}

impl Needs {
    /// Looks at all jobs that have not ended.
    pub(super) fn of(root: &Root) -> std::result::Result<Self, Failure> {
        let (spool, runs) = (Spool::of(root), Runs::of(root));
        let all = look(&spool, &runs).map_err(|e| Failure::system("read the spool", &e))?;
        Ok(Self(all))
    }

    /// One that needs this job, if any does.
    pub(super) fn who(&self, job: &JobId) -> Option<String> {
        let needs = |need: &&Need| need.of.iter().any(|start| job.as_str().starts_with(start));
        self.0.iter().find(needs).map(|need| need.by.clone())
    }
}

fn look(spool: &Spool, runs: &Runs) -> Result<Vec<Need>> {
    let mut all = Vec::new();
    // First what is not taken: what is taken meanwhile is seen among the taken.
    for name in spool.incoming()? {
        let of = in_file(spool, &spool.folder(Place::Incoming).join(&name), &name)?;
        all.push(Need { by: name.to_string_lossy().into_owned(), of });
    }
    for (job, name) in spool.jobs_in(Place::Claimed)? {
        let folder = runs.folder(&job);
        let of = match folder.read_job() {
            Ok(Some(accepted)) => of_job(&folder, &accepted.options),
            Ok(None) => {
                in_file(spool, &spool.folder(Place::Claimed).join(&name), OsStr::new(&name))?
            }
            // It cannot go on before somebody mends it.
            Err(_) => Vec::new(),
        };
        all.push(Need { by: job.into(), of });
    }
    all.retain(|need| !need.of.is_empty());
    Ok(all)
}

/// What a taken job needs: that which it builds on only until it has begun.
fn of_job(folder: &RunFolder, options: &Options) -> Vec<String> {
    let mut of: Vec<String> = options.after.iter().map(|after| after.job.clone()).collect();
    let has_begun = || {
        let events = snapshot::replay(folder).map(|replay| replay.events);
        events.is_ok_and(|events| JobState::replay(&events).workspace.is_some())
    };
    of.extend(options.retry_of.iter().filter(|_| !has_begun()).map(|retry| retry.job.to_string()));
    of
}

fn in_file(spool: &Spool, path: &Path, name: &OsStr) -> Result<Vec<String>> {
    let shape = match Format::of(name) {
        Format::Markdown => Shape::Markdown,
        Format::Json => Shape::Json,
        Format::Text => return Ok(Vec::new()),
    };
    match spool.read(path, MAX_FILE_BYTES) {
        Ok(Content::Whole { bytes, .. }) => Ok(admission::named(&bytes, shape)),
        Ok(_) => Ok(Vec::new()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}
