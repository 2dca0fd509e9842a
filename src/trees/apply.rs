//! The result of a job in the user's own checkout, because they ask for it: the one place where a checkout is written to.
//!
//! Promises: nothing is written where anything is not committed, under way or in conflict, and nothing that git does not know,
//! ignored files among it, is replaced; what is not a fast forward is
//! merged beside the checkout, by the rules of decision 12, and only then brought in by a fast forward, which git does
//! whole or not at all. No hook, merge driver or filter runs: what decides on them may be what an agent wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::model::id::JobId;
use crate::model::workspace::{Oid, Workspace};
use crate::os::git::{Call, Git};

use super::TreesError;
use super::land::{NO_GUESS, commit_by, has_identity};
use super::pinned::filtered;
use super::take_in::merge;

/// What git leaves in its directory while something is under way, and what that is.
const UNDER_WAY: [(&str, &str); 6] = [
    ("MERGE_HEAD", "a merge"),
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("BISECT_LOG", "a bisection"),
];

/// The paths of a tree that a commit does not have.
const NEW_PATHS: [&str; 6] =
    ["diff-tree", "-r", "-z", "--no-renames", "--name-only", "--diff-filter=A"];
/// Most paths that one call of git is asked about.
const MOST_AT_ONCE: usize = 500;

/// What would come of bringing a commit into a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It is part of it already.
    Contained,
    /// The checkout's branch only has to follow.
    Forward {
        /// The commit.
        to: Oid,
    },
    /// Both have something that the other has not, and they fit together.
    Merge {
        /// Where the checkout is.
        head: Oid,
        /// The commit.
        with: Oid,
        /// The tree that holds both.
        tree: Oid,
    },
    /// They do not fit together at these paths.
    Conflicts(Vec<String>),
    /// These paths are not committed.
    Dirty(Vec<String>),
    /// Something is under way there: what.
    UnderWay(&'static str),
    /// No branch is checked out.
    Detached,
    /// Files lie there that git does not know, and that would be replaced.
    InTheWay(Vec<String>),
    /// Bringing it there would run a program on a file: the path and the filter.
    Filtered(String, String),
}

/// A checkout of the user's.
#[derive(Debug)]
pub struct Checkout {
    git: Git,
    git_dir: String,
    top: PathBuf,
}

impl Checkout {
    /// The one that a job was given to work on.
    pub fn of(workspace: &Workspace) -> Self {
        let top = PathBuf::from(&workspace.top);
        Self { git: Git::at(&top), git_dir: workspace.git_dir.clone(), top }
    }

    /// Its directory.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The branch that is checked out.
    ///
    /// # Errors
    /// When git fails.
    pub fn branch(&self) -> Result<Option<String>, TreesError> {
        let answer = self.git.read(["symbolic-ref", "-q", "--short", "HEAD"]).ask()?;
        let name = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Ok((answer.code == 0 && !name.is_empty()).then_some(name))
    }

    /// The commit that a name stands for.
    ///
    /// # Errors
    /// When git fails.
    pub fn commit(&self, name: &str) -> Result<Option<Oid>, TreesError> {
        let name = format!("{name}^{{commit}}");
        let answer =
            self.git.read(["rev-parse", "-q", "--verify", "--end-of-options", &name]).ask()?;
        let id = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Ok((answer.code == 0 && !id.is_empty()).then_some(id))
    }

    /// How many commits of each job would come with a commit, by what they say of themselves.
    ///
    /// # Errors
    /// When git fails.
    pub fn brings(&self, commit: &str) -> Result<BTreeMap<JobId, usize>, TreesError> {
        let says = "--format=%(trailers:key=Numerus-Job,valueonly)";
        let mut call = self.git.read(["rev-list", "--no-merges", says, commit]);
        if let Some(head) = self.commit("HEAD")? {
            call = call.arg(format!("^{head}"));
        }
        let out = call.run()?;
        let mut counts = BTreeMap::new();
        for job in String::from_utf8_lossy(&out).lines().filter_map(|l| JobId::parse(l).ok()) {
            *counts.entry(job).or_default() += 1;
        }
        Ok(counts)
    }

    /// What would come of bringing a commit in. Changes nothing but loose objects.
    ///
    /// # Errors
    /// When git fails.
    pub fn look(&self, commit: &str) -> Result<Outlook, TreesError> {
        if let Some(what) = self.under_way()? {
            return Ok(Outlook::UnderWay(what));
        }
        if self.branch()?.is_none() {
            return Ok(Outlook::Detached);
        }
        let head = self.commit("HEAD")?;
        if let Some(head) = &head
            && self.is_ancestor(commit, head)?
        {
            return Ok(Outlook::Contained);
        }
        let dirty = self.dirty()?;
        if !dirty.is_empty() {
            return Ok(Outlook::Dirty(dirty));
        }
        match head {
            Some(head) if !self.is_ancestor(&head, commit)? => self.look_at_merge(&head, commit),
            head => {
                let to = Outlook::Forward { to: commit.to_owned() };
                self.unless_held_up(head.as_deref(), commit, to)
            }
        }
    }

    /// What was found possible, unless a filter or a file that git does not know stands against it.
    fn unless_held_up(
        &self,
        head: Option<&str>,
        tree: &str,
        possible: Outlook,
    ) -> Result<Outlook, TreesError> {
        if let Some((path, filter)) = filtered(&self.git, &self.git_dir, tree)? {
            return Ok(Outlook::Filtered(path, filter));
        }
        let in_the_way = self.in_the_way(head, tree)?;
        Ok(if in_the_way.is_empty() { possible } else { Outlook::InTheWay(in_the_way) })
    }

    fn look_at_merge(&self, head: &Oid, commit: &str) -> Result<Outlook, TreesError> {
        let (tree, conflicts) = merge(&|args| self.write(args), head, commit)?;
        if !conflicts.is_empty() {
            return Ok(Outlook::Conflicts(conflicts));
        }
        let merge =
            Outlook::Merge { head: head.clone(), with: commit.to_owned(), tree: tree.clone() };
        self.unless_held_up(Some(head), &tree, merge)
    }

    /// Brings in what [`Checkout::look`] found possible; a merge commit says `message`. The inner error is git's word on why the
    /// checkout does not take it, which leaves it as it was.
    ///
    /// # Errors
    /// When git fails otherwise.
    pub fn bring(
        &self,
        outlook: &Outlook,
        message: &str,
    ) -> Result<Result<(), String>, TreesError> {
        let to = match outlook {
            Outlook::Forward { to } => to.clone(),
            Outlook::Merge { head, with, tree } => {
                let args = [NO_GUESS, &["commit-tree", tree, "-p", head, "-p", with]].concat();
                let call = || self.write(&args).input(message.as_bytes());
                commit_by(call, || has_identity(|args| self.git.read(args)))?.0
            }
            Outlook::Contained
            | Outlook::Conflicts(_)
            | Outlook::Dirty(_)
            | Outlook::UnderWay(_)
            | Outlook::Detached
            | Outlook::InTheWay(_)
            | Outlook::Filtered(..) => return Ok(Err("it cannot be brought there".to_owned())),
        };
        // Options that the user gave the branch would make something else of it.
        let options = format!("branch.{}.mergeOptions=", self.branch()?.unwrap_or_default());
        let how = ["-c", "merge.autoStash=false", "-c", "submodule.recurse=false", "-c", &options];
        let merge = ["merge", "-q", "--ff-only", "--no-edit", "--no-overwrite-ignore", &to];
        let answer = self.write(&[&how[..], &merge[..]].concat()).ask()?;
        if answer.code != 0 {
            return Ok(Err(answer.stderr));
        }
        let is_there = self.commit("HEAD")?.is_some_and(|head| head == to);
        let elsewhere = "HEAD is not there afterwards";
        Ok(if is_there { Ok(()) } else { Err(elsewhere.to_owned()) })
    }

    fn write(&self, args: &[&str]) -> Call<'_> {
        self.git.write_durably(args)
    }

    fn is_ancestor(&self, one: &str, other: &str) -> Result<bool, TreesError> {
        Ok(self.git.read(["merge-base", "--is-ancestor", one, other]).ask()?.code == 0)
    }

    /// What lies where the tree puts a new path, or in the place of a folder above it, and is in no commit. Git refuses to
    /// replace such files unless they are ignored: those it takes for worthless, and replaces, whole folders included.
    fn in_the_way(&self, head: Option<&str>, tree: &str) -> Result<Vec<String>, TreesError> {
        let call = match head {
            Some(head) => self.git.read(NEW_PATHS).arg(head),
            None => self.git.read(["ls-tree", "-r", "-z", "--name-only", "--full-tree"]),
        };
        let new = paths_of(&call.arg(tree).run()?);
        let places: BTreeSet<PathBuf> = new.iter().filter_map(|path| self.taken(path)).collect();
        let places: Vec<PathBuf> = places.into_iter().collect();
        let mut found = Vec::new();
        for some in places.chunks(MOST_AT_ONCE) {
            let mut call =
                self.git.read(["--literal-pathspecs", "ls-files", "--others", "-z", "--"]);
            for place in some {
                call = call.arg(place);
            }
            found.extend(paths_of(&call.run()?).iter().map(|path| path.display().to_string()));
        }
        Ok(found)
    }

    /// What lies at a new path, or the file in the place of the first folder above it.
    fn taken(&self, path: &Path) -> Option<PathBuf> {
        let lies = |part: &Path| self.top.join(part).symlink_metadata();
        let above = path.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty());
        let file = above.filter(|part| lies(part).is_ok_and(|found| !found.is_dir())).last();
        file.or_else(|| lies(path).is_ok().then_some(path)).map(Path::to_owned)
    }

    /// The paths with changes to what git knows; files that it does not know are in nobody's way until git says so.
    fn dirty(&self) -> Result<Vec<String>, TreesError> {
        let how = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=no"];
        let out = self.git.read(how).run()?;
        let entries = out.split(|byte| *byte == 0).filter_map(|entry| entry.get(3..));
        Ok(entries.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
    }

    /// What is under way, as git's own directory tells.
    fn under_way(&self) -> Result<Option<&'static str>, TreesError> {
        let mut call = self.git.read(["rev-parse", "--path-format=absolute"]);
        for (name, _) in UNDER_WAY {
            call = call.arg("--git-path").arg(name);
        }
        let out = call.run()?;
        let paths = String::from_utf8_lossy(&out).into_owned();
        let found = paths.lines().zip(UNDER_WAY).find(|(path, _)| Path::new(path).exists());
        Ok(found.map(|(_, (_, what))| what))
    }
}

/// The paths in an answer of git that ends each with a NUL.
fn paths_of(out: &[u8]) -> Vec<PathBuf> {
    let paths = out.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
}
