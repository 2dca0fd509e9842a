//! The jobs that others need which have not ended: they wait for them, or go on from what they landed. Those others are the taken
//! ones, the files that nobody has taken yet, and what an edit has left that was cut off.
//!
//! Promises: a file in `incoming/` is read as anybody's: no more of it than a bound, and what is no job file names nobody. Who
//! asks again is told of whatever has come meanwhile; nothing is read twice where nothing has.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
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
use crate::spool::{Content, Format, Place, Spool, Stamp};

/// Most bytes of a file that nobody has accepted yet.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Who needs which jobs.
#[derive(Debug)]
pub(super) struct Needs {
    all: Vec<Need>,
    seen: Seen,
}

/// What lay there when it was read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    incoming: BTreeMap<OsString, Option<Stamp>>,
    claimed: BTreeSet<(JobId, String)>,
}

impl Seen {
    fn now(spool: &Spool) -> Result<Self> {
        let stamped = |name: OsString| Ok((name.clone(), spool.look(&name)?));
        let incoming = spool.incoming()?.map(stamped).collect::<Result<_>>()?;
        let claimed = spool.jobs_in(Place::Claimed)?.into_iter().collect();
        Ok(Self { incoming, claimed })
    }
}

#[derive(Debug)]
struct Need {
    /// A job, the name of a file, or what else it is.
    by: String,
    /// The beginnings of the ids of what it needs.
    of: Vec<String>,
}

impl Needs {
    /// Looks at all jobs that have not ended.
    pub(super) fn of(root: &Root) -> std::result::Result<Self, Failure> {
        let (spool, runs) = (Spool::of(root), Runs::of(root));
        let cannot = |e| Failure::system("read the spool", &e);
        // Seen before it is read: what comes in between is found new the next time.
        let seen = Seen::now(&spool).map_err(cannot)?;
        let all = look(&spool, &runs).map_err(cannot)?;
        Ok(Self { all, seen })
    }

    /// Reads again if anything has come, gone or changed since.
    pub(super) fn refresh(&mut self, root: &Root) -> std::result::Result<(), Failure> {
        let seen = Seen::now(&Spool::of(root));
        if seen.map_err(|e| Failure::system("read the spool", &e))? != self.seen {
            *self = Self::of(root)?;
        }
        Ok(())
    }

    /// One that needs this job, if any does.
    pub(super) fn who(&self, job: &JobId) -> Option<String> {
        self.who_names(|start| job.as_str().starts_with(start))
    }

    /// One that names, as what it needs, the beginning of an id that is such.
    pub(super) fn who_names(&self, is_such: impl Fn(&str) -> bool) -> Option<String> {
        let needs = |need: &&Need| need.of.iter().any(|start| is_such(start));
        self.all.iter().find(needs).map(|need| need.by.clone())
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
    for edit in spool.cut_off(|old| runs.was_killed(old))? {
        let by =
            format!("an edit of it that was cut off (numerus status {} says what to do)", edit.old);
        all.push(Need { by, of: vec![edit.old.into()] });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fsx;

    #[test]
    fn what_comes_meanwhile_is_seen_and_what_was_read_is_not_read_again() {
        let d = tempfile::tempdir().expect("scratch");
        let root = Root::new(d.path());
        for folder in ["incoming", "claimed", "done", "failed", "killed", "rejected"] {
            fsx::make_dirs(&root.spool().join(folder)).expect("spool");
        }
        let needed = JobId::parse("old-abc234").expect("id");
        let after = |job: &str| format!("{{\"objective\": \"x\", \"after\": [\"{job}\"]}}");
        let put = |path: &str, job: &str| {
            fsx::put(&root.spool().join(path), after(job).as_bytes()).expect("file");
        };
        put("claimed/a-abc234.json", "old-abc234");
        let mut needs = Needs::of(&root).expect("read");
        let mut who = || {
            needs.refresh(&root).expect("read");
            needs.who(&needed)
        };
        assert_eq!(who().as_deref(), Some("a-abc234"));
        // What was taken never changes, so it is not read a second time.
        put("claimed/a-abc234.json", "other-abc234");
        assert_eq!(who().as_deref(), Some("a-abc234"));
        put("incoming/b.json", "other-abc234");
        assert_eq!(who(), None);
        // One that was still being written, under the name that it had before.
        put("incoming/b.json", "old-abc234");
        assert_eq!(who().as_deref(), Some("b.json"));
    }
}
