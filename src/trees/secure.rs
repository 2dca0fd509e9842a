//! Keeping what is about to land alive. `git gc --prune=now` deletes loose objects that nothing led to when it looked, and
//! may do so long after it looked: an object that a ref has come to need meanwhile goes all the same. What lies in a pack
//! is not deleted one by one, and a pack that is marked is not replaced either.
//!
//! Promise: when [`Trees::secure`] comes back, every object that a commit adds to its parent lies in a marked pack, until
//! [`Trees::release`]. The pack is made aside and moved in with its mark first, so that no collection ever sees it without. All of
//! it is on disk then, but for what the mark says.

use std::path::{Path, PathBuf};

use crate::os::fsx;
use crate::os::git::GitError;

use super::land::gone;
use super::{Trees, TreesError};

/// The ending of a mark.
const MARK: &str = "keep";
/// The ending of the file by which git knows a pack; it comes last.
const INDEX: &str = "idx";

impl Trees {
    /// Puts what `commit` adds to `parent` where no collection takes it away, until it is released.
    ///
    /// # Errors
    /// [`TreesError::Gone`] when something of it was collected already; those of git and of the file system.
    pub(super) fn secure(&self, commit: &str, parent: &str) -> Result<(), TreesError> {
        let aside = self.aside()?;
        fsx::remove_tree(&aside)?;
        fsx::make_dirs(&aside)?;
        for dir in [aside.parent(), Some(&*aside)].into_iter().flatten() {
            self.give(dir)?;
        }
        let wanted = format!("{commit}\n^{parent}\n");
        // Git makes the way back from place to object in memory where no file has it.
        let settings = ["-c", "pack.packSizeLimit=0", "-c", "pack.writeReverseIndex=false"];
        let args = [&settings[..], &["pack-objects", "-q", "--revs"]].concat();
        let made = self.write_durably(args).arg(aside.join("pack")).input(wanted.as_bytes()).run();
        let secured = match made {
            Ok(_) => self.move_in(&aside),
            Err(GitError::Failed { .. }) => Err(gone(commit)),
            Err(e) => Err(e.into()),
        };
        fsx::remove_tree(&aside)?;
        secured
    }

    /// Removes the marks, once a ref leads to what they kept; without any it does nothing.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn release(&self) -> Result<(), TreesError> {
        let list = self.list_of_marks()?;
        let Some(names) = fsx::read_optional(&list)? else { return Ok(()) };
        let is_mark = |name: &&str| name.starts_with("pack-") && !name.contains('/');
        for name in names.lines().filter(is_mark) {
            fsx::remove(&self.packs().join(name))?;
        }
        Ok(fsx::remove(&list)?)
    }

    fn aside(&self) -> Result<PathBuf, TreesError> {
        Ok(self.own_folder()?.join("packs").join(self.folder.job().as_str()))
    }

    /// The file that names the marks which are not removed yet, so that a worker's death leaves none for ever.
    fn list_of_marks(&self) -> Result<PathBuf, TreesError> {
        Ok(self.aside()?.with_extension("marks"))
    }

    fn packs(&self) -> PathBuf {
        Path::new(&self.workspace().git_dir).join("objects/pack")
    }

    fn move_in(&self, aside: &Path) -> Result<(), TreesError> {
        let packs = self.packs();
        fsx::make_dirs(&packs)?;
        let mut files: Vec<PathBuf> =
            fsx::list_os(aside)?.into_iter().map(|name| aside.join(name)).collect();
        files.sort_by_key(|file| has_ending(file, INDEX));
        let mut marks = Vec::new();
        for file in files.iter().filter(|file| has_ending(file, INDEX)) {
            let name = file.with_extension(MARK).file_name().unwrap_or_default().to_owned();
            marks.push(name.to_string_lossy().into_owned());
        }
        fsx::put(&self.list_of_marks()?, marks.join("\n").as_bytes())?;
        for mark in marks.iter().map(|name| packs.join(name)) {
            // By its name alone it keeps its pack.
            fsx::replace_derived(&mark, b"numerus: until the tip leads here\n")?;
            self.give(&mark)?;
        }
        for file in &files {
            fsx::rename_derived(file, &packs.join(file.file_name().unwrap_or_default()))?;
        }
        // Nothing relies on a pack before the tip moves, and git passes over an index without its pack: one flush for all names.
        Ok(fsx::sync_dir(&packs)?)
    }
}

fn has_ending(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|found| found == ending)
}
