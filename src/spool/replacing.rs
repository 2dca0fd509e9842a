//! A job that takes the place of another one, whole on the disk before the other is withdrawn: `tmp/edit-OLD.NEW.json`. What
//! remains then is one rename, into `incoming/`, or into `claimed/` where the job's run folder is there already; whoever dies
//! before it leaves the file under a name that tells both jobs.

use std::io::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::across::is_across;
use super::{Format, Place, Spool, Taking};
use crate::model::id::JobId;
use crate::os::fsx;

/// How the name of such a file begins.
const EDIT: &str = "edit-";
/// How it ends.
const ENDING: &str = ".json";
/// How the name of a plan begins that is in somebody's editor.
const PLAN: &str = "plan-";

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
    pub fn claim_prepared(&self, prepared: &Path, new: &JobId) -> Result<Taking> {
        let claimed = self.claimed_path(new, Format::Json);
        fsx::move_to(prepared, &claimed).map(|()| Taking::flushed(claimed))
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
    pub fn prepared_for(&self, old: &JobId) -> Option<(JobId, PathBuf)> {
        let new = |name: &String| match Edited::of(name)? {
            Edited::Prepared(of, new) => (of == *old).then_some(new),
            Edited::Draft(_) => None,
        };
        let names = fsx::list(&self.tmp()).unwrap_or_default();
        let mut waiting = names.iter().filter_map(|name| Some((new(name)?, self.tmp().join(name))));
        waiting.find(|(new, _)| !self.is_dropped(new))
    }

    /// Whether a prepared job has become one. A run folder alone is that of a taking that was cut short before the file moved.
    fn is_dropped(&self, new: &JobId) -> bool {
        let accepted = self.root.runs().join(new.as_str()).join("job.json");
        self.find(new).is_some() || accepted.exists()
    }

    /// Clears away what edits left longer than `age` ago and nobody needs any more: drafts of jobs that have ended or are gone, and
    /// prepared jobs that have become jobs, or whose old job has run to its end. What was to take a killed job's place stays.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub(super) fn clear_edits(&self, age: Duration) -> Result<()> {
        let is_open = |job: &JobId| {
            matches!(self.find(job), Some((Place::Incoming | Place::Claimed, _)))
                || self.held(job).is_some()
        };
        let is_needed = |name: &str| match Edited::of(name) {
            None => true,
            Some(Edited::Draft(job)) => is_open(&job),
            Some(Edited::Prepared(old, new)) => {
                let has_run = matches!(self.find(&old), Some((Place::Done | Place::Failed, _)));
                !has_run && !self.is_dropped(&new)
            }
        };
        for name in fsx::list(&self.tmp())? {
            let path = self.tmp().join(&name);
            if fsx::is_older(&path, age) && !is_needed(&name) {
                fsx::remove(&path)?;
            }
        }
        Ok(())
    }
}

/// What a name in `tmp/` says, if it is that of something to be edited.
#[derive(Debug, PartialEq, Eq)]
enum Edited {
    /// A text in somebody's editor, and the job that it is of.
    Draft(JobId),
    /// A job that is to take the place of another one: the old and the new one.
    Prepared(JobId, JobId),
}

impl Edited {
    fn of(name: &str) -> Option<Self> {
        let (stem, ending) = name.rsplit_once('.')?;
        let job = |text: &str| JobId::parse(text).ok();
        let edit = stem.strip_prefix(EDIT);
        if let Some((old, new)) = edit.and_then(|jobs| jobs.split_once('.')) {
            let is_prepared = format!(".{ending}") == ENDING;
            return is_prepared.then_some(Self::Prepared(job(old)?, job(new)?));
        }
        let (draft_of, _random) = edit.or_else(|| stem.strip_prefix(PLAN))?.rsplit_once('-')?;
        job(draft_of).map(Self::Draft)
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
        let old = |name: &String| match Edited::of(name)? {
            Edited::Prepared(old, _) => Some(old),
            Edited::Draft(_) => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::root::Root;

    #[test]
    fn what_edits_leave_goes_with_its_job_and_never_while_it_is_needed() {
        let dir = tempfile::tempdir().expect("scratch");
        let spool = Spool::of(&Root::new(dir.path()));
        spool.create().expect("folders");
        for (place, job) in [
            (Place::Incoming, "new-abc234"),
            (Place::Claimed, "live-abc234"),
            (Place::Done, "done-abc234"),
            (Place::Killed, "kill-abc234"),
        ] {
            fsx::put(&spool.folder(place).join(format!("{job}.json")), b"{}").expect("file");
        }
        let needed = [
            "edit-gone-abc234.x-abc234.json",
            "edit-kill-abc234.x-abc234.json",
            "edit-live-abc234-zzzzzz.md",
            "edit-live-abc234.x-abc234.json",
            "other.json",
            "plan-live-abc234-zzzzzz.json",
            "wake",
        ];
        let left = [
            "edit-done-abc234.x-abc234.json",
            "edit-gone-abc234-zzzzzz.md",
            "edit-kill-abc234-zzzzzz.json",
            "edit-kill-abc234.new-abc234.json",
            "plan-done-abc234-zzzzzz.json",
        ];
        for name in needed.iter().chain(&left) {
            fsx::put(&spool.tmp().join(name), b"").expect("file");
        }
        spool.clear_edits(Duration::from_secs(60)).expect("clear");
        assert_eq!(fsx::list(&spool.tmp()).expect("list").len(), needed.len() + left.len());
        spool.clear_edits(Duration::ZERO).expect("clear");
        let mut names = fsx::list(&spool.tmp()).expect("list");
        names.sort();
        assert_eq!(names, needed);
    }
}
