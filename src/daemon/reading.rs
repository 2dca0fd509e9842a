//! What a taken file says: judged as a job, with what that needs other jobs for.

use std::ffi::OsStr;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::refusal::{duplicate, not_regular, unreadable};
use super::take::{Desk, stem};
use crate::ending::pruning;
use crate::logic::admission::{self, Admitted, Facts, Known, Shape};
use crate::model::PROTOCOL_VERSION;
use crate::model::fields::quoted;
use crate::model::id::JobId;
use crate::model::job::{Job, Origin};
use crate::model::rejection::Reason;
use crate::os::digest;
use crate::os::fsx::Flushing;
use crate::runs::RunFolder;
use crate::spool::{Content, Format, Kind, Place};

impl Desk {
    /// Judges what a file holds that was taken under this name, perhaps a moment ago.
    pub(super) fn read(
        &self,
        content: Content,
        (name, taking): (&OsStr, &mut Flushing),
        folder: &RunFolder,
        now: Timestamp,
    ) -> Result<std::result::Result<Job, Reason>> {
        let (bytes, uid) = match self.allowed(content) {
            Ok(allowed) => allowed,
            Err(reason) => return Ok(Err(reason)),
        };
        let admitted = match self.admit(&bytes, Format::of(name), (folder.job(), taking))? {
            Ok(admitted) => admitted,
            Err(reason) => return Ok(Err(reason)),
        };
        let origin = Origin {
            name: name.to_string_lossy().into_owned(),
            bytes: bytes.len() as u64,
            sha256: digest::sha256_hex(&bytes),
            uid,
        };
        Ok(Ok(Job {
            version: PROTOCOL_VERSION,
            id: folder.job().clone(),
            objective: admitted.objective,
            options: admitted.options,
            origin,
            created_at: now,
        }))
    }

    /// The bytes that may be read, and whose they are.
    fn allowed(&self, content: Content) -> std::result::Result<(Vec<u8>, u32), Reason> {
        match content {
            Content::Whole { bytes, uid, linked } => match self.refuse_owner(uid, linked) {
                Some(reason) => Err(reason),
                None => Ok((bytes, uid)),
            },
            Content::TooLarge(size) => {
                Err(admission::too_large(size, self.settings.max_objective_bytes))
            }
            Content::NotRegular => Err(not_regular(Kind::Special)),
            Content::Unreadable(why) => Err(unreadable(&why)),
        }
    }

    /// Reads a job file of the spool without taking it, and refuses what would not be taken: whoever may drop files could
    /// else have others read what he may not.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn look_into(&self, path: &Path) -> Result<std::result::Result<Vec<u8>, Reason>> {
        let stamp = self.spool.look_at(path)?;
        if let Some(kind) = stamp.map(|s| s.kind).filter(|kind| *kind != Kind::Regular) {
            return Ok(Err(not_regular(kind)));
        }
        let content = self.spool.read(path, self.settings.max_objective_bytes)?;
        Ok(self.allowed(content).map(|(bytes, _)| bytes))
    }

    /// Admission, and what it needs other jobs for: `after` and `key`.
    fn admit(
        &self,
        bytes: &[u8],
        format: Format,
        (job, taking): (&JobId, &mut Flushing),
    ) -> Result<std::result::Result<Admitted, Reason>> {
        let shape = match format {
            Format::Markdown => Shape::Markdown,
            Format::Json => Shape::Json,
            Format::Text => Shape::Text,
        };
        let facts = Facts { settings: &self.settings, resolve: &resolve };
        let mut admitted = match admission::admit(bytes, shape, &facts) {
            Ok(admitted) => admitted,
            Err(reason) => return Ok(Err(reason)),
        };
        if !admitted.options.after.is_empty() {
            let known = self.known_jobs(job)?;
            match admission::resolve_after(&admitted.options.after, &known) {
                Ok(after) => admitted.options.after = after,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        if let Some(key) = &admitted.options.key {
            // A key is a job's for ever: its file must be the job's by then.
            taking.end()?;
            self.keep_keys()?;
            let first = self.spool.claim_key(key, job)?;
            if first != *job {
                return Ok(Err(duplicate(
                    &format!("job {first} has the key {}", quoted(key)),
                    &first,
                )));
            }
        }
        Ok(Ok(admitted))
    }

    /// Makes the folder of the keys where there is none, from the jobs that have one, the oldest first; how many there were, and
    /// which copies of removed jobs were passed over.
    pub(super) fn keep_keys(&self) -> Result<(usize, Vec<String>)> {
        if self.spool.has_keys() {
            return Ok((0, Vec::new()));
        }
        let mut keyed = Vec::new();
        for id in self.runs.jobs()? {
            // One that cannot be read may have a key, too.
            keyed.extend(self.runs.folder(&id).read_job()?.filter(|job| job.options.key.is_some()));
        }
        // A key is used for ever, whether its job is still there or not.
        let (removed, damaged) = pruning::removed_jobs(&self.root)?;
        keyed.extend(removed.into_iter().filter(|job| job.options.key.is_some()));
        keyed.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let pairs = keyed.iter().filter_map(|job| Some((job.options.key.as_deref()?, &job.id)));
        Ok((if self.spool.fill_keys(pairs)? { keyed.len() } else { 0 }, damaged))
    }

    /// All jobs that `after` may name: taken ones, ended ones, those still in `incoming/` under their id, and those that were
    /// withdrawn from there.
    fn known_jobs(&self, but: &JobId) -> Result<Known> {
        let waiting = self.spool.incoming()?.filter_map(|name| JobId::from_stem(&stem(&name)));
        let mut known: Known = waiting.map(|job| (job, false)).collect();
        known.extend(self.runs.jobs()?.into_iter().map(|job| (job, false)));
        for place in [Place::Done, Place::Failed, Place::Killed] {
            for (job, _) in self.spool.jobs_in(place)? {
                if place == Place::Killed || known.contains_key(&job) {
                    known.insert(job, true);
                }
            }
        }
        known.remove(but);
        Ok(known)
    }
}

/// A workspace's real path.
///
/// # Errors
/// Why it cannot be one, in words that follow its name.
pub fn resolve(path: &str) -> std::result::Result<String, String> {
    let real: PathBuf = std::fs::canonicalize(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be used: {e}"),
    })?;
    if !real.is_dir() {
        return Err("is not a directory".to_owned());
    }
    real.into_os_string().into_string().map_err(|_| "is not UTF-8".to_owned())
}
