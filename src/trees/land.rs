//! Landing: from an audited tree to one commit on the job's tip, and from the tip to a branch.
//!
//! Promises: a landing is laid over the tip path by path, never merged; it happens whole or not at all; a ref moves only
//! from the value that it is known to have.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::logic::audit::{Change, Entry, moved};
use crate::model::claim::ClaimPath;
use crate::model::id::TaskId;
use crate::model::plan::Role;
use crate::model::workspace::Oid;
use crate::os::fsx;
use crate::os::git::{Call, GitError};

use super::by_hand::RefMove;
use super::own::{OWN_BRANCHES, own_branches};
use super::workspace::as_numerus;
use super::{Audited, OWN_REFS, PUBLISHED, Tree, Trees, TreesError, copy};

/// Longest subject of a commit, in characters.
const SUBJECT_CHARS: usize = 72;
/// Longest text of a commit, in characters.
const BODY_CHARS: usize = 8000;

/// What became of a task's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// It changed nothing that could land.
    Nothing,
    /// These paths changed under it since its base: it has to claim again.
    Moved(Vec<String>),
    /// The commit exists, and is the tip as soon as [`Trees::advance`] says so.
    Ready {
        /// The commit.
        commit: Oid,
        /// The tip that it builds on.
        parent: Oid,
    },
}

impl Landing {
    /// The commit, where there is one.
    pub fn commit(&self) -> Option<&Oid> {
        match self {
            Self::Ready { commit, .. } => Some(commit),
            Self::Nothing | Self::Moved(_) => None,
        }
    }
}

/// What was judged to land.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The changes.
    pub landing: &'a [Change],
    /// What the task claimed to read: who reads what has changed since has to claim again.
    pub reads: &'a [ClaimPath],
}

/// What the commit of a landing says.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// Its role.
    pub role: Role,
    /// What was done: a line, and more after it if there is more.
    pub summary: &'a str,
}

impl Trees {
    /// Makes the commit that lands the judged changes of a tree on `tip`, which is the job's, or is about to be. It is not the tip
    /// yet: the caller writes down what is about to happen, then calls [`Trees::advance`]. Landings of one job come one after the other.
    ///
    /// # Errors
    /// When git or the file system fails; nothing but loose objects has changed then, and it may be tried again.
    pub fn prepare(
        &self,
        tree: &Tree,
        audited: &Audited,
        Judged { landing, reads }: Judged<'_>,
        words: Words<'_>,
        tip: &str,
    ) -> Result<Landing, TreesError> {
        if landing.is_empty() {
            return Ok(Landing::Nothing);
        }
        let changed = self.changed_between(&audited.base, tip)?;
        let moved = moved(landing, reads, tree.prefix(), &changed);
        if !moved.is_empty() {
            return Ok(Landing::Moved(moved));
        }
        let whole = changed.is_empty() && landing.len() == audited.changes.len();
        let object = if whole { audited.tree.clone() } else { self.lay_over(tree, tip, landing)? };
        let commit = self.commit(&object, tip, words)?;
        if whole {
            let paths = landing.iter().map(|change| change.path.clone()).collect();
            self.recall.note(&commit, tip, paths);
            audited.patch.iter().for_each(|patch| self.recall.note_patch(&commit, patch));
        }
        Ok(Landing::Ready { commit, parent: tip.to_owned() })
    }

    /// The tree of `tip` with the new entries of `changes` in it.
    fn lay_over(&self, tree: &Tree, tip: &str, changes: &[Change]) -> Result<Oid, TreesError> {
        let index = tree.place().dir().join(format!("tree-{}.land.index", tree.attempt()));
        let object = self.lay_over_in(&index, tip, changes);
        copy::remove_index(&index)?;
        object
    }

    fn lay_over_in(&self, index: &Path, tip: &str, changes: &[Change]) -> Result<Oid, TreesError> {
        copy::remove_index(index)?;
        self.write_by(index, self.pinned(&["read-tree", tip])?).run()?;
        let entries = index_info(changes, &self.zero());
        let args = ["update-index", "--add", "--replace", "-z", "--index-info"];
        let args = self.pinned(&args)?;
        self.write_by(index, args).input(entries.as_bytes()).run()?;
        Ok(self.write_by(index, ["write-tree"]).line()?)
    }

    fn commit(&self, object: &str, parent: &str, words: Words<'_>) -> Result<Oid, TreesError> {
        self.commit_with(object, &[parent], &self.message(words))
    }

    /// Makes a commit in the name of whoever commits in the repository.
    pub(super) fn commit_with(
        &self,
        object: &str,
        parents: &[&str],
        message: &str,
    ) -> Result<Oid, TreesError> {
        let mut args = NO_GUESS.to_vec();
        args.extend(["-c", "i18n.commitEncoding=UTF-8", "commit-tree", object]);
        args.extend(parents.iter().flat_map(|parent| ["-p", parent]));
        let call = || self.write_durably(&args).input(message.as_bytes());
        if self.is_nameless.load(Ordering::Relaxed) {
            return Ok(as_numerus(call()).line()?);
        }
        let (commit, is_named) = commit_by(call, || has_identity(|args| self.read(args)))?;
        self.is_nameless.store(!is_named, Ordering::Relaxed);
        Ok(commit)
    }

    fn message(&self, words: Words<'_>) -> String {
        let keep = |c: &char| !c.is_control() || *c == '\n';
        let clean: String = words.summary.chars().filter(keep).collect();
        let (first, rest) = clean.trim().split_once('\n').unwrap_or((clean.trim(), ""));
        let subject: String = first.trim().chars().take(SUBJECT_CHARS).collect();
        let subject = if subject.is_empty() { words.task.to_string() } else { subject };
        let body = if first.chars().count() > SUBJECT_CHARS { clean.trim() } else { rest.trim() };
        let body: String = body.chars().take(BODY_CHARS).collect();
        let gap = if body.is_empty() { "" } else { "\n\n" };
        let (job, task, role) = (self.folder.job(), words.task, words.role.as_str());
        format!(
            "{subject}{gap}{body}\n\nNumerus-Job: {job}\nNumerus-Task: {task}\nNumerus-Role: {role}\n"
        )
    }

    /// Makes a prepared commit the tip; `false` when the tip is no longer its parent. Done before is done well.
    ///
    /// # Errors
    /// [`TreesError::Gone`] when objects of the commit were collected since it was prepared: then it is to be made again
    /// from the audit on. Otherwise when git fails while the tip still is the parent; it may be tried again.
    pub fn advance(&self, commit: &str, parent: &str) -> Result<bool, TreesError> {
        let found = self.tip()?;
        if found != parent {
            return Ok(found == commit);
        }
        self.secure(commit, parent)?;
        let moved = self.set_tip(commit, parent);
        self.release()?;
        match moved {
            Ok(()) => Ok(true),
            Err(e) => match self.tip()? {
                tip if tip == commit => Ok(true),
                tip if tip == parent => Err(e),
                _ => Ok(false),
            },
        }
    }

    /// Whether a commit is part of the job's tip.
    ///
    /// # Errors
    /// When git fails; a commit that does not exist is not landed.
    pub fn is_landed(&self, commit: &str) -> Result<bool, TreesError> {
        let tip = self.tip()?;
        let answer = self.read(["merge-base", "--is-ancestor", commit, &tip]).ask()?;
        Ok(tip == commit || answer.code == 0)
    }

    /// Removes the job's own refs, when the job itself is removed; its branch stays.
    ///
    /// # Errors
    /// When git fails.
    pub fn forget(&self) -> Result<(), TreesError> {
        for name in OWN_REFS {
            let name = self.own_ref(name);
            if self.update_ref(&name, &["-d", &name]).is_err() {
                // One that is broken can be changed by nobody: it goes as the file that it is.
                fsx::remove(&Path::new(&self.workspace().git_dir).join(&name))?;
                self.update_ref(&name, &["-d", &name])?;
            }
        }
        Ok(())
    }

    /// Makes the job's branch, `numerus/<job>`, and returns its name; where the name is taken by other work, a numbered one.
    /// `HEAD` stays where it is. A ref of our own says from then on that there was a branch: if it is gone one day, the
    /// user did not want the work.
    ///
    /// # Errors
    /// When no name is free, or git fails.
    pub fn create_branch(&self, commit: &str) -> Result<String, TreesError> {
        let (full, published) =
            (format!("{OWN_BRANCHES}{}", self.folder.job()), self.own_ref(PUBLISHED));
        // Most often the name is free: both at once.
        let refs = [full.as_str(), &published].map(|name| RefMove { name, new: commit, old: None });
        if self.move_refs(&refs) {
            return Ok(shortened(&full));
        }
        let both = format!("create {full} {commit}\nupdate {published} {commit}\n");
        if self.update_refs(&[&full, &published], &both).is_ok() {
            return Ok(shortened(&full));
        }
        let name = self.name_branch(commit)?;
        self.update_ref(&published, &[&published, commit])?;
        Ok(name)
    }

    fn name_branch(&self, commit: &str) -> Result<String, TreesError> {
        let mut last = None;
        for full in own_branches(self.folder.job()) {
            match self.set_ref(&full, commit, &self.zero()) {
                Ok(()) => return Ok(shortened(&full)),
                Err(_) if self.points_at(&full, commit)? => return Ok(shortened(&full)),
                Err(e) => last = Some(e),
            }
        }
        last.map_or_else(|| Ok(String::new()), Err)
    }

    fn points_at(&self, name: &str, commit: &str) -> Result<bool, TreesError> {
        Ok(self.find_ref(name)?.as_deref() == Some(commit))
    }
}

/// The name of a branch as people use it.
fn shortened(full: &str) -> String {
    full.trim_start_matches("refs/heads/").to_owned()
}

/// Lets git fail where nobody is named who commits; it would guess else.
pub(super) const NO_GUESS: &[&str] = &["-c", "user.useConfigOnly=true"];

/// Makes a commit by a call with [`NO_GUESS`], in our own name where nobody is named who commits: its id, and whether somebody is.
/// That is only asked when the call has failed, and what failed for another reason stays a failure.
pub(super) fn commit_by<'a>(
    call: impl Fn() -> Call<'a>,
    is_named: impl FnOnce() -> Result<bool, GitError>,
) -> Result<(Oid, bool), GitError> {
    match call().line() {
        Err(failed @ GitError::Failed { .. }) => {
            if is_named()? {
                Err(failed)
            } else {
                Ok((as_numerus(call()).line()?, false))
            }
        }
        made => Ok((made?, true)),
    }
}

/// Whether the repository or the user's settings say who commits.
pub(super) fn has_identity<'a>(call: impl Fn(&[&str]) -> Call<'a>) -> Result<bool, GitError> {
    let says = |who| call(&[NO_GUESS, &["var", who]].concat()).ask().map(|a| a.code == 0);
    Ok(says("GIT_AUTHOR_IDENT")? && says("GIT_COMMITTER_IDENT")?)
}

pub(super) fn gone(commit: &str) -> TreesError {
    TreesError::Gone { commit: commit.to_owned() }
}

/// Entries as `update-index --index-info` reads them, removals first.
fn index_info(changes: &[Change], zero: &str) -> String {
    let line = |entry: &Entry, path: &str| format!("{} {}\t{path}\0", entry.0, entry.1);
    let gone = ("0".to_owned(), zero.to_owned());
    let removed = changes.iter().filter(|c| c.new.is_none()).map(|c| line(&gone, &c.path));
    let put = changes.iter().filter_map(|c| Some(line(c.new.as_ref()?, &c.path)));
    removed.chain(put).collect()
}
