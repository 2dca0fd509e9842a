//! A job that takes the place of another one, whole on the disk before the other is withdrawn: `tmp/edit-OLD.NEW.json`. What
//! remains then is one rename, into `incoming/`, or into `claimed/` where the job's run folder is there already; whoever dies
//! before it leaves the file under a name that tells both jobs.

use std::io::Result;
use std::path::{Path, PathBuf};

use super::across::is_across;
use super::{Format, Place, Spool};
use crate::model::id::JobId;
use crate::os::fsx;

/// How the name of such a file begins.
const EDIT: &str = "edit-";
/// How it ends.
const ENDING: &str = ".json";

impl Spool {
    /// Puts the file of a job that is to take another one's place, whole and flushed, where nobody takes it yet.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn prepare(&self, old: &JobId, new: &JobId, json: &[u8]) -> Result<PathBuf> {
        let path = self.tmp().join(format!("{EDIT}{old}.{new}{ENDING}"));
        fsx::put_new(&path, json).map(|()| path)
    }

    /// Drops what was prepared, once the old job is withdrawn.
    ///
    /// # Errors
    /// Those of the system, with the path; then it is where it was prepared.
    pub fn submit_prepared(&self, prepared: &Path, new: &JobId, json: &[u8]) -> Result<()> {
        let target = self.folder(Place::Incoming).join(format!("{new}{ENDING}"));
        match fsx::move_to(prepared, &target) {
            Err(e) if is_across(&e) => {
                fsx::put_new(&target, json).and_then(|()| fsx::remove(prepared))
            }
            moved => moved,
        }
    }

    /// Makes the prepared file the claimed file of a job whose run folder is there and locked.
    ///
    /// # Errors
    /// As for [`Spool::take`].
    pub fn claim_prepared(&self, prepared: &Path, new: &JobId) -> Result<PathBuf> {
        let claimed = self.claimed_path(new, Format::Json);
        fsx::move_to(prepared, &claimed).map(|()| claimed)
    }

    fn successor_file(&self, old: &JobId) -> PathBuf {
        self.folder(Place::Killed).join(format!(".{old}.edited"))
    }

    /// Notes which job has taken the place of one that was withdrawn: the file of an untaken job tells nothing else.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn note_successor(&self, old: &JobId, new: &JobId) -> Result<()> {
        fsx::put(&self.successor_file(old), format!("{new}\n").as_bytes())
    }

    /// The job that an edit has put in the place of this one.
    pub fn successor(&self, old: &JobId) -> Option<JobId> {
        let noted = fsx::read_optional(&self.successor_file(old)).ok()??;
        JobId::parse(noted.trim()).ok()
    }

    /// Forgets it, when the old job is removed.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn forget_successor(&self, old: &JobId) -> Result<()> {
        fsx::remove(&self.successor_file(old))
    }

    /// What was prepared to take a job's place and was not dropped, with the job that it makes.
    fn prepared_for(&self, old: &JobId) -> Option<(JobId, PathBuf)> {
        let start = format!("{EDIT}{old}.");
        let new =
            |name: &String| JobId::parse(name.strip_prefix(&start)?.strip_suffix(ENDING)?).ok();
        // A run folder alone is that of a taking that was cut short before the file moved.
        let is_dropped = |new: &JobId| {
            let accepted = self.root.runs().join(new.as_str()).join("job.json");
            self.find(new).is_some() || accepted.exists()
        };
        let names = fsx::list(&self.tmp()).unwrap_or_default();
        let mut waiting = names.iter().filter_map(|name| Some((new(name)?, self.tmp().join(name))));
        waiting.find(|(new, _)| !is_dropped(new))
    }
}

/// An edit that ended between the two jobs: the old one is withdrawn, and the new one waits under the name that it was prepared
/// with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// The job that was withdrawn; it may have been removed since.
    pub old: JobId,
    /// The one that was to take its place.
    pub new: JobId,
    /// Where that one is.
    pub file: PathBuf,
}

impl CutOff {
    /// What is the matter, and what to do about it.
    pub fn told(&self) -> (String, String) {
        let file = self.file.display();
        let (old, new) = (&self.old, &self.new);
        (
            format!(
                "an edit of {old} was cut off: {new}, which was to take its place, was not submitted"
            ),
            format!("numerus edit {old} submits it, rm {file} drops it"),
        )
    }
}

impl Spool {
    /// The edits that were cut off. One whose old job is still open is under way, or has changed nothing; one whose old job has
    /// run to its end is not wanted any more. `was_killed` says of a job whose file is still claimed whether its journal ends so.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn cut_off(&self, was_killed: impl Fn(&JobId) -> bool) -> Result<Vec<CutOff>> {
        let old = |name: &String| {
            JobId::parse(name.strip_prefix(EDIT)?.strip_suffix(ENDING)?.split_once('.')?.0).ok()
        };
        let is_withdrawn = |old: &JobId| match self.find(old) {
            Some((Place::Killed, _)) => true,
            Some((Place::Claimed, _)) => self.held(old).is_none() && was_killed(old),
            Some(_) => false,
            None => self.held(old).is_none(),
        };
        let mut withdrawn: Vec<JobId> = fsx::list(&self.tmp())?.iter().filter_map(old).collect();
        withdrawn.sort();
        withdrawn.dedup();
        withdrawn.retain(is_withdrawn);
        let cut_off = |old: JobId| {
            let (new, file) = self.prepared_for(&old)?;
            Some(CutOff { old, new, file })
        };
        Ok(withdrawn.into_iter().filter_map(cut_off).collect())
    }
}
