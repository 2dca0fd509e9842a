//! Between jobs of one repository: what others have landed, and one merge commit that takes it into our tip.
//!
//! Promises: nothing is taken in but tips of jobs; a merge that conflicts changes nothing; no attribute, merge driver or
//! directory rename has a say. Decision 12 says why every path has one line of history then.
//!
//! Costs: nothing where files tell that no other job has refs; else one `for-each-ref` over the tips that are not part of ours
//! already, for each of those two calls that list what its new commits touched, and a merge for each that is wanted and held by no
//! other that is. Tips that were applied or taken in cost nothing more; branches that nobody applies or deletes do, each time a task starts.

use std::ffi::OsStr;
use std::path::Path;

use crate::logic::audit::touches;
use crate::model::claim::ClaimPath;
use crate::model::id::JobId;
use crate::model::workspace::Oid;
use crate::os::fsx;
use crate::os::git::{Call, GitError};

use super::diff::{fields, garbled};
use super::own::own_branches;
use super::{Audited, PUBLISHED, Trees, TreesError};

/// Most commits of another tip that are looked at one by one; of more, everything counts as touched.
const MAX_COMMITS: usize = 5000;

/// How two histories are merged: git guesses that a new file belongs where the others of its directory went, and calls that
/// a conflict, although nobody touched what the other one did.
const PLAIN_MERGE: [&str; 10] = [
    "-c",
    "merge.renames=false",
    "-c",
    "merge.directoryRenames=false",
    "-c",
    "merge.renormalize=false",
    "-c",
    "merge.default=text",
    "-c",
    "core.attributesFile=/dev/null",
];

/// The tip of another job, with commits that ours does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// That job.
    pub job: JobId,
    /// Its newest commit.
    pub tip: Oid,
}

/// What became of taking a tip in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intake {
    /// It is part of our tip already.
    Contained,
    /// The commit exists, and is the tip as soon as [`Trees::advance`] says so.
    Ready {
        /// The commit.
        commit: Oid,
        /// The tip that it builds on.
        parent: Oid,
    },
    /// The two conflict at these paths.
    Diverged(Vec<String>),
}

impl Trees {
    /// The tips of other jobs that are not part of ours, oldest first, so that one which holds another comes after it.
    ///
    /// # Errors
    /// When git fails.
    pub fn foreign_tips(&self) -> Result<Vec<Foreign>, TreesError> {
        let unmerged = format!("--no-merged={}", self.tip()?);
        if self.is_alone() {
            return Ok(Vec::new());
        }
        let format = "--format=%(refname) %(objectname)";
        let args = ["for-each-ref", "--sort=committerdate", format, &unmerged];
        let out = self.read(args).arg("refs/numerus/*/tip").run()?;
        let text = String::from_utf8_lossy(&out);
        Ok(text.lines().filter_map(foreign).filter(|f| f.job != *self.folder.job()).collect())
    }

    /// Whether no other job has refs in the repository, as far as files tell: git need not be asked then.
    pub(super) fn is_alone(&self) -> bool {
        let git_dir = Path::new(&self.workspace().git_dir);
        let elsewhere = ["packed-refs", "reftable"].map(|name| git_dir.join(name));
        let own = OsStr::new(self.folder.job().as_str());
        let jobs = fsx::list_os(&git_dir.join("refs/numerus"));
        !elsewhere.iter().any(|path| path.symlink_metadata().is_ok())
            && jobs.is_ok_and(|jobs| jobs == [own])
    }

    /// The foreign tips to be taken in before these paths, from the repository's top, are written, oldest first: those that
    /// concern them when what comes before is taken in. Of two of which one holds the other, the one that holds it does
    /// for both. `is_apart` tells which cannot be taken in; to be asked again after one turned out to be.
    ///
    /// # Errors
    /// When git fails.
    pub fn wanted(
        &self,
        writes: &[ClaimPath],
        is_apart: impl Fn(&Oid) -> bool,
    ) -> Result<Vec<Foreign>, TreesError> {
        let mut wanted = Vec::new();
        for foreign in self.foreign_tips()? {
            if !is_apart(&foreign.tip) && self.concerns(&foreign, writes, &wanted)? {
                wanted.push(foreign);
            }
        }
        if wanted.len() > 1 {
            let tips = wanted.iter().map(|foreign| foreign.tip.as_str());
            let out = self.read(["merge-base", "--independent"].into_iter().chain(tips)).run()?;
            let text = String::from_utf8_lossy(&out);
            wanted.retain(|foreign| text.lines().any(|line| line == foreign.tip));
        }
        Ok(wanted)
    }

    /// Whether a foreign tip is to be taken in before these paths are written, once those `before` it are: it touched one of
    /// them, holds a landing of its own job that ours does not, and was not thrown away.
    ///
    /// One that only began later than ours holds what the user has committed meanwhile, and one that only took others in holds what these
    /// landed: their own tips, and the user's word on them, decide about that.
    fn concerns(
        &self,
        foreign: &Foreign,
        writes: &[ClaimPath],
        before: &[Foreign],
    ) -> Result<bool, TreesError> {
        Ok(touches(writes, &self.touched_by(foreign, before)?)
            && self.holds_own(&foreign.job, &foreign.tip, Some(&self.tip()?))?
            && !self.is_discarded(foreign)?)
    }

    /// Every path that a commit of a foreign tip touched that neither ours nor those `before` it have. A directory that vanished counts, too:
    /// git would follow it. A path that was changed back counts as well, since somebody may have built on the change.
    ///
    /// # Errors
    /// When git fails.
    fn touched_by(&self, foreign: &Foreign, before: &[Foreign]) -> Result<Vec<String>, TreesError> {
        let most = format!("--max-count={MAX_COMMITS}");
        let ours = self.tip()?;
        let words = ["rev-list", &most, &foreign.tip, "--not", &ours].into_iter();
        let commits = self.read(words.chain(before.iter().map(|f| f.tip.as_str()))).run()?;
        if commits.split(|b| *b == b'\n').count() > MAX_COMMITS {
            return Ok(vec![String::new()]);
        }
        let args = ["diff-tree", "--stdin", "--root", "-r", "-t", "-c", "--raw", "-z"];
        let call = self.read(args).arg("--no-renames").arg("--no-commit-id");
        let mut paths = entries(&call.input(&commits).run()?)?;
        paths.retain(|(kind, _)| *kind != Touched::DirChanged);
        let mut paths: Vec<String> = paths.into_iter().map(|(_, path)| path).collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// The directories that a task left nothing of. Git follows a directory that went elsewhere, so what others have put
    /// into one has to be known before it is gone.
    ///
    /// # Errors
    /// When git fails.
    pub fn vanished(&self, audited: &Audited) -> Result<Vec<String>, TreesError> {
        if audited.changes.iter().all(|c| c.new.is_some()) {
            return Ok(Vec::new());
        }
        let args = ["diff-tree", "-r", "-t", "--raw", "-z", "--no-renames"];
        let out = self.read(args).arg(&audited.base).arg(&audited.tree).run()?;
        let mut paths = entries(&out)?;
        paths.retain(|(kind, _)| *kind == Touched::DirGone);
        Ok(paths.into_iter().map(|(_, path)| path).collect())
    }

    /// Whether the user threw away what a job has done: its branch existed, and now no branch leads there any more.
    ///
    /// # Errors
    /// When git fails.
    pub fn is_discarded(&self, foreign: &Foreign) -> Result<bool, TreesError> {
        let job = &foreign.job;
        let published = format!("refs/numerus/{job}/{PUBLISHED}");
        let mut call = self.read(["for-each-ref", "--format=%(refname)", &published]);
        for name in own_branches(job) {
            call = call.arg(name);
        }
        let found = call.line()?;
        if found != published {
            return Ok(false);
        }
        // Renamed, or merged into another one: it is still wanted.
        let holds = format!("--contains={}", foreign.tip);
        let args = ["for-each-ref", "--count=1", &holds, "refs/heads", "refs/remotes"];
        Ok(self.read(args).line()?.is_empty())
    }

    /// Makes the commit that takes a foreign tip in. It is not the tip yet, just as after [`Trees::prepare`].
    ///
    /// # Errors
    /// When git fails; nothing but loose objects has changed then, and it may be tried again.
    pub fn prepare_intake(&self, foreign: &Foreign) -> Result<Intake, TreesError> {
        let tip = self.tip()?;
        if self.is_landed(&foreign.tip)? {
            return Ok(Intake::Contained);
        }
        let (object, conflicts) = self.merge(&tip, &foreign.tip)?;
        if !conflicts.is_empty() {
            return Ok(Intake::Diverged(conflicts));
        }
        let (own, from) = (self.folder.job(), &foreign.job);
        let message = format!(
            "Take in what {from} has landed\n\nNumerus-Job: {own}\nNumerus-Takes-In: {from}\n"
        );
        let commit = self.commit_with(&object, &[&tip, &foreign.tip], &message)?;
        Ok(Intake::Ready { commit, parent: tip })
    }

    /// The paths at which a merge with another commit would conflict.
    ///
    /// # Errors
    /// When git fails.
    pub fn conflicts_with(&self, commit: &str) -> Result<Vec<String>, TreesError> {
        Ok(self.merge(&self.tip()?, commit)?.1)
    }

    /// Where the user's checkout stands now; `None` before the first commit.
    ///
    /// # Errors
    /// When git fails.
    pub fn head(&self) -> Result<Option<Oid>, TreesError> {
        let answer = self.read(["rev-parse", "-q", "--verify", "HEAD^{commit}"]).ask()?;
        let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Ok((answer.code == 0).then_some(text))
    }

    fn merge(&self, ours: &str, theirs: &str) -> Result<(Oid, Vec<String>), TreesError> {
        let call = |args: &[&str]| self.write_durably(args);
        merge(&call, ours, theirs)
    }
}

/// The tree that holds both, and the paths that conflict. `call` makes a call of git in their repository.
pub(super) fn merge<'a>(
    call: &dyn Fn(&[&str]) -> Call<'a>,
    ours: &str,
    theirs: &str,
) -> Result<(Oid, Vec<String>), TreesError> {
    let empty = call(&["mktree"]).input(b"").line()?;
    let how = ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z"];
    let words =
        [&PLAIN_MERGE[..], &how[..], &["--allow-unrelated-histories", ours, theirs]].concat();
    let answer = call(&words).env("GIT_ATTR_SOURCE", &empty).ask()?;
    if !matches!(answer.code, 0 | 1) {
        let (command, code) = ("merge-tree".to_owned(), Some(answer.code));
        let stderr = answer.stderr;
        return Err(GitError::Failed { command, code, stderr }.into());
    }
    let mut lines = fields(&answer.stdout).map(|field| String::from_utf8_lossy(field).into_owned());
    let object = lines.next().ok_or_else(garbled)?;
    let mut conflicts: Vec<String> = lines.collect();
    conflicts.dedup();
    if answer.code == 1 && conflicts.is_empty() {
        // Some conflicts have no path of their own.
        conflicts.push("(the whole)".to_owned());
    }
    Ok((object, conflicts))
}

/// One line of `<ref> <commit>`; a job's id that is none is nothing of ours.
fn foreign(line: &str) -> Option<Foreign> {
    let (name, tip) = line.split_once(' ')?;
    let job = name.strip_prefix("refs/numerus/")?.strip_suffix("/tip")?;
    Some(Foreign { job: JobId::parse(job).ok()?, tip: tip.to_owned() })
}

/// What a line of a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touched {
    /// A file.
    File,
    /// A directory of which something is left, or that is new: its files follow.
    DirChanged,
    /// A directory of which nothing is left.
    DirGone,
}

/// The lines of `diff-tree --raw -t`: `:<old mode> <new mode> …` with a colon for each parent, then the path.
fn entries(out: &[u8]) -> Result<Vec<(Touched, String)>, TreesError> {
    let mut entries = Vec::new();
    let mut fields = fields(out);
    while let Some(head) = fields.next() {
        let path = fields.next().ok_or_else(garbled)?;
        let head = std::str::from_utf8(head).map_err(|_| garbled())?;
        let parents = head.bytes().take_while(|b| *b == b':').count();
        let new_mode = head.split(' ').nth(parents).ok_or_else(garbled)?;
        let was_dir = head.trim_start_matches(':').starts_with("040000");
        let kind = match (was_dir, new_mode) {
            (true, "000000") => Touched::DirGone,
            (_, "040000") => Touched::DirChanged,
            _ => Touched::File,
        };
        entries.push((kind, String::from_utf8_lossy(path).into_owned()));
    }
    Ok(entries)
}
