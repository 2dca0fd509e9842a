//! One run folder ahead: `runs/.next`, with the mark of a taking in it, made and flushed while an agent is at work, and given to
//! the next job by a rename. It spares whoever waits for that job's first agent a flush.
//!
//! Promises: it is one job's, as a whole. What is not as it was made, or cannot be had, is not used, and the job's folder is made.

use std::fs::Metadata;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::folder::TAKING;
use super::folders::move_aside;
use super::{RunFolder, Runs};
use crate::model::id::JobId;
use crate::os::{env, fsx};

/// Its name in `runs/`.
const READY: &str = ".next";

impl RunFolder {
    /// Whether a directory, whose path is real, is one of what is made ahead, or lies below: the next job takes it away.
    pub fn is_made_ahead(&self, dir: &Path) -> bool {
        let ready = [self.dir.with_file_name(READY), self.ready_workspace()];
        ready.iter().any(|ready| ready.canonicalize().is_ok_and(|ready| dir.starts_with(ready)))
    }

    /// Makes the run folder of the next job, unless there is one. It is made in this one, where nobody but the holder of the lock
    /// has to do with it.
    ///
    /// # Errors
    /// Those of the system; there is none then.
    pub fn provide_next(&self) -> Result<()> {
        let (spare, ready) = (self.spare(), self.dir.with_file_name(READY));
        if ready.symlink_metadata().is_ok() {
            return Ok(());
        }
        if look(&spare) == Look::Other {
            return Err(fsx::at(&spare)(Error::from(ErrorKind::AlreadyExists)));
        }
        let made = fsx::make_dir(&spare).and_then(|()| fsx::put_mark(&spare.join(TAKING)));
        if made.is_ok() && is_private(&spare) == Some(false) {
            // A file system that knows no modes: the next job would put it aside.
            return self.clear_spare();
        }
        match made.and_then(|()| fsx::rename_spare(&spare, &ready)) {
            Ok(()) => Ok(()),
            // Another job was quicker, or there is no room.
            Err(e) => self.clear_spare().and(match e.kind() {
                ErrorKind::AlreadyExists => Ok(()),
                _ => Err(e),
            }),
        }
    }

    /// Clears away one that nobody needs; what else is there stays.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub(super) fn clear_spare(&self) -> Result<()> {
        match look(&self.spare()) {
            Look::Half | Look::AsMade => fsx::remove_tree(&self.spare()),
            Look::Gone | Look::Other => Ok(()),
        }
    }

    fn spare(&self) -> PathBuf {
        self.dir.join("next.spare")
    }
}

impl Runs {
    /// Makes the run folder of a job that is about to be taken, durably, or gives it the one that was made ahead; whether it has
    /// the mark of a taking, durably, by that. Nothing in it is looked at once it has the job's name: others may have it locked.
    ///
    /// # Errors
    /// `AlreadyExists` if the job has one; otherwise those of the system.
    pub fn begin(&self, job: &JobId) -> Result<(RunFolder, bool)> {
        let folder = self.folder(job);
        if self.has_ready() {
            match fsx::rename_spare(&self.ready(), folder.dir()) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(e),
                // Somebody else has it by now, or it cannot be had: who makes one says what is wrong.
                Err(_) => {}
                Ok(()) => return fsx::sync_dir(self.dir()).map(|()| (folder, true)),
            }
        }
        self.create(job).map(|folder| (folder, false))
    }

    /// Whether one was made ahead. What is something else goes aside: somebody may have put something there that they still want.
    fn has_ready(&self) -> bool {
        let found = match look(&self.ready()) {
            Look::AsMade => is_private(&self.ready()).map_or(Look::Gone, as_made_if),
            found => found,
        };
        match found {
            Look::AsMade => true,
            Look::Gone => false,
            Look::Half | Look::Other => {
                let _stays_in_the_way = self.put_ready_aside();
                false
            }
        }
    }

    fn put_ready_aside(&self) -> Result<()> {
        move_aside(self.dir(), &self.ready(), "next")
    }

    fn ready(&self) -> PathBuf {
        self.dir().join(READY)
    }
}

/// What lies where one is made, or waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Nothing, or no more.
    Gone,
    /// A folder with nothing in it.
    Half,
    /// What was made, and nothing else.
    AsMade,
    /// Anything else.
    Other,
}

/// Whether a folder is its user's alone, as a run folder is made; `None` where it is gone.
fn is_private(dir: &Path) -> Option<bool> {
    let meta = dir.symlink_metadata().ok()?;
    Some(meta.mode() & 0o777 == 0o700 && meta.uid() == env::own_uid())
}

fn as_made_if(is_private: bool) -> Look {
    if is_private { Look::AsMade } else { Look::Other }
}

fn look(dir: &Path) -> Look {
    let is = |path: &Path, of_kind: fn(&Metadata) -> bool| match path.symlink_metadata() {
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        meta => Some(meta.is_ok_and(|meta| of_kind(&meta))),
    };
    let Some(is_folder) = is(dir, Metadata::is_dir) else { return Look::Gone };
    if !is_folder {
        return Look::Other;
    }
    match fsx::list_os(dir) {
        // One that is gone has no names, either.
        Ok(names) if names.is_empty() && is(dir, Metadata::is_dir).is_none() => Look::Gone,
        Ok(names) if names.is_empty() => Look::Half,
        Ok(names) if names == [TAKING] => match is(&dir.join(TAKING), is_empty) {
            Some(true) => Look::AsMade,
            Some(false) => Look::Other,
            None => Look::Gone,
        },
        Ok(_) | Err(_) => Look::Other,
    }
}

/// Whether it is the mark of a taking, with nothing in it.
pub(super) fn is_mark(path: &Path) -> bool {
    path.ends_with(TAKING) && path.symlink_metadata().is_ok_and(|meta| is_empty(&meta))
}

fn is_empty(meta: &Metadata) -> bool {
    meta.is_file() && meta.len() == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, symlink_metadata};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::model::root::Root;

    /// What somebody does to the folder made ahead.
    type Spoil<'a> = (&'a str, &'a dyn Fn(&Path));

    fn runs() -> (tempfile::TempDir, Runs) {
        let dir = tempfile::tempdir().expect("scratch");
        let runs = Runs::of(&Root::new(dir.path()));
        fsx::make_dirs(runs.dir()).expect("runs");
        (dir, runs)
    }

    fn id(text: &str) -> JobId {
        JobId::parse(text).expect("id")
    }

    fn number(path: &Path) -> u64 {
        symlink_metadata(path).expect("there").ino()
    }

    #[test]
    fn the_folder_made_ahead_is_the_next_jobs_and_only_once() {
        let (_kept, runs) = runs();
        let (one, is_marked) = runs.begin(&id("a-abc234")).expect("made");
        assert!(!is_marked && !one.is_being_taken(), "none was made ahead");
        one.provide_next().expect("made ahead");
        let made = number(&runs.ready());
        one.provide_next().expect("there is one");
        assert_eq!(number(&runs.ready()), made);
        assert!(!one.dir().join("next.spare").exists());
        let (two, is_marked) = runs.begin(&id("b-abc234")).expect("given");
        assert!(is_marked && two.is_being_taken() && number(two.dir()) == made);
        let (three, is_marked) = runs.begin(&id("c-abc234")).expect("made");
        assert!(!is_marked && !three.is_being_taken());
    }

    #[test]
    fn of_many_that_want_it_one_has_it_and_all_have_a_folder_of_their_own() {
        const JOBS: usize = 8;
        let (_kept, runs) = runs();
        let first = runs.create(&id("first-abc234")).expect("made");
        for round in 0..20 {
            first.provide_next().expect("made ahead");
            let start = std::sync::Barrier::new(JOBS);
            let had = std::thread::scope(|scope| {
                let begin = |n: usize| {
                    let (start, runs) = (&start, &runs);
                    scope.spawn(move || {
                        start.wait();
                        // Two and two want a folder for the same job.
                        runs.begin(&id(&format!("r{round}-{}-abc234", n / 2)))
                    })
                };
                let all: Vec<_> = (0..JOBS).map(begin).collect();
                let ended = all.into_iter().map(|one| one.join().expect("no panic"));
                ended.collect::<Vec<_>>()
            });
            let made: Vec<_> = had.iter().filter_map(|begun| begun.as_ref().ok()).collect();
            assert_eq!(made.len(), JOBS / 2, "one of each two: {had:?}");
            assert_eq!(made.iter().filter(|(_, is_marked)| *is_marked).count(), 1, "{had:?}");
            for (folder, is_marked) in made {
                assert_eq!(folder.is_being_taken(), *is_marked);
            }
        }
        assert!(!runs.dir().join(".aside").exists(), "nothing was taken for changed");
    }

    #[test]
    fn a_job_that_has_a_folder_keeps_it() {
        let (_kept, runs) = runs();
        let one = runs.create(&id("a-abc234")).expect("made");
        one.provide_next().expect("made ahead");
        let again = runs.begin(&id("a-abc234")).expect_err("there is one");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert!(runs.ready().is_dir() && !one.is_being_taken());
    }

    #[test]
    fn what_is_not_as_it_was_made_goes_aside_and_the_job_has_its_own() {
        let (_kept, runs) = runs();
        let one = runs.create(&id("a-abc234")).expect("made");
        let aside = runs.dir().join(".aside");
        let spoil: [Spoil; 6] = [
            ("a further file", &|dir| fsx::put(&dir.join("job.json"), b"{}").expect("put")),
            ("a mark that says something", &|dir| fsx::put(&dir.join(TAKING), b"x").expect("put")),
            ("a folder that others may read", &|dir| {
                std::fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("opened");
            }),
            ("no mark", &|dir| fsx::remove(&dir.join(TAKING)).expect("removed")),
            ("a file", &|dir| {
                fsx::remove_tree(dir).expect("removed");
                fsx::put(dir, b"").expect("put");
            }),
            ("a link to a folder of that form", &|dir| {
                let real = dir.with_file_name(".real");
                fsx::rename_derived(dir, &real).expect("moved");
                symlink(&real, dir).expect("link");
            }),
        ];
        for (n, (what, spoil)) in spoil.iter().enumerate() {
            one.provide_next().expect("made ahead");
            spoil(&runs.ready());
            let (next, is_marked) = runs.begin(&id(&format!("b{n}-abc234"))).expect(what);
            let made = symlink_metadata(next.dir()).expect(what);
            assert!(!is_marked && made.is_dir(), "{what}");
            assert!(fsx::list(next.dir()).expect(what).is_empty(), "{what}");
            assert_eq!(fsx::list(&aside).expect(what).len(), n + 1, "{what}");
        }
    }

    #[test]
    fn what_a_dead_worker_left_half_made_goes_and_what_is_not_ours_stays() {
        let (_kept, runs) = runs();
        let one = runs.create(&id("a-abc234")).expect("made");
        let spare = one.dir().join("next.spare");
        fsx::make_dirs(&spare).expect("half made");
        one.provide_next().expect("made ahead");
        assert!(runs.begin(&id("b-abc234")).expect("given").1);
        one.provide_next().expect("made ahead");
        fsx::make_dirs(&spare).expect("half made");
        let lock = one.try_lock().expect("lock").expect("free");
        one.clear_temps(&lock).expect("cleared");
        assert!(!spare.exists(), "the next holder clears it away");
        runs.begin(&id("c-abc234")).expect("given");
        let elsewhere = runs.dir().with_file_name("elsewhere");
        fsx::make_dirs(&elsewhere).expect("somebody's");
        symlink(&elsewhere, &spare).expect("link");
        assert!(one.provide_next().is_err() && spare.is_symlink());
        assert!(fsx::list(&elsewhere).expect("list").is_empty(), "nothing is put into it");
    }
}
