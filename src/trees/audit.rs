//! What an agent did to its tree, as one tree object and the difference to the base.
//!
//! Promises: nothing that an agent writes (ignore files, attributes, its index, nested repositories) can hide a change;
//! the agent's own git directory is not used, and what was kept before it began is used only if it is still the same.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::logic::audit::{Change, Violation};
use crate::logic::claims::from_top;
use crate::model::claim::Claim;
use crate::model::workspace::Oid;
use crate::os::fsx;
use crate::os::git::GitError;

use super::by_hand::EMPTY_INDEX;
use super::diff::{Diff, fields, garbled};
use super::ignores::Ignores;
use super::recall::SMALL_PATCH;
use super::walk::{Known, as_path, walk};
use super::{Tree, Trees, TreesError, copy};

/// What was found in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The commit that the tree showed.
    pub base: Oid,
    /// The tree object of what it holds now.
    pub tree: Oid,
    /// Every path that differs, relative to the repository's top.
    pub changes: Vec<Change>,
    /// What cannot land, whatever was claimed.
    pub violations: Vec<Violation>,
    /// All of it as a patch, where it was small enough to be made in the same call.
    pub(super) patch: Option<Vec<u8>>,
}

/// Most files that git does not take, by name; there may be more, and nothing lands in any case.
const MAX_REFUSED: usize = 20;

/// What the base holds.
struct Base {
    tracked: BTreeMap<Vec<u8>, bool>,
    ignore_files: Vec<(PathBuf, Oid)>,
}

impl Trees {
    /// Looks at what an agent did; call it when the session has ended and nothing of it lives. It may be called again.
    ///
    /// # Errors
    /// When git or the file system fails; the tree is as it was.
    pub fn audit(&self, tree: &Tree, claim: &Claim) -> Result<Audited, TreesError> {
        if !tree.is_itself() {
            return self.nothing_to_see(tree);
        }
        tree.clear_residue();
        let index = tree.place().dir().join(format!("tree-{}.audit.index", tree.attempt()));
        let audited =
            self.fresh_copy(tree, &index).and_then(|()| self.audit_with(tree, claim, &index));
        copy::remove_index(&index)?;
        audited
    }

    /// Whatever lies where the tree was is not looked at: it may be a link to the user's own files.
    fn nothing_to_see(&self, tree: &Tree) -> Result<Audited, TreesError> {
        let object = self.read(["rev-parse", "--verify", &format!("{}^{{tree}}", tree.base())]);
        let what = "the tree itself, moved or replaced".to_owned();
        let violations = vec![Violation { path: ".".to_owned(), what }];
        let base = tree.base().to_owned();
        let tree = object.line()?;
        Ok(Audited { base, tree, changes: Vec::new(), violations, patch: None })
    }

    /// The index as it was when the tree was made. One that somebody wrote in since is made again, without the times that
    /// spare git the reading of files.
    fn fresh_copy(&self, tree: &Tree, index: &Path) -> Result<(), TreesError> {
        copy::remove_index(index)?;
        let fresh = tree.fresh_index();
        if copy::digest(&fresh)? == tree.birth().index {
            copy::copy_index(&fresh, index)?;
            return self.give(index);
        }
        let args = self.pinned(&["read-tree", tree.base()])?;
        self.write_by(index, args).run()?;
        Ok(())
    }

    fn audit_with(&self, tree: &Tree, claim: &Claim, index: &Path) -> Result<Audited, TreesError> {
        let base = self.read_base(index)?;
        let ignores = self.read_ignores(&base.ignore_files, &tree.birth().ignores)?;
        let claimed = from_top(claim, tree.prefix()).writes;
        let known = Known {
            tracked: &base.tracked,
            ignores: &ignores,
            claimed: &claimed,
            carried: tree.carried(),
            since: tree.birth().at,
            owner: self.git.owner(),
        };
        let mut seen = walk(tree.dir(), &known);
        let missing = seen.missing(&base.tracked);
        self.feed(tree, index, &["--force-remove"], &missing)?;
        self.take_in(tree, index, &seen.files)?;
        let object = self.write_by(index, ["write-tree"]).line()?;
        // Where nothing was there before, the patch is about as large as what is there now.
        let is_small = base.tracked.is_empty() && seen.touched_bytes <= SMALL_PATCH as u64;
        let look = if is_small { Self::diff_with_patch } else { Self::diff };
        let Diff { mut changes, unnamed, patch } = look(self, tree.base(), &object)?;
        seen.violations.extend(passed_over(&seen.files, &base.tracked, &changes, &unnamed));
        seen.violations.extend(unnamed);
        // The walk lets none pass; this is for one that comes into being between the walk and git's own look.
        for link in changes.extract_if(.., is_new_submodule) {
            seen.violations.push(Violation { path: link.path, what: "a submodule".to_owned() });
        }
        let violations = seen.violations;
        Ok(Audited { base: tree.base().to_owned(), tree: object, changes, violations, patch })
    }

    /// Brings the files of a tree into an index, all that git takes: one that it fails on is found by halves and left out.
    fn take_in(&self, tree: &Tree, index: &Path, files: &[Vec<u8>]) -> Result<(), TreesError> {
        let (mut refused, mut parts) = (0, vec![files]);
        while let Some(part) = parts.pop().filter(|_| refused < MAX_REFUSED) {
            match self.feed(tree, index, &["--add", "--replace"], part) {
                Err(TreesError::Git(GitError::Failed { stderr, .. })) if is_refusal(&stderr) => {
                    if part.len() == 1 {
                        refused += 1;
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                }
                fed => fed?,
            }
        }
        Ok(())
    }

    /// Brings paths of a tree into an index.
    fn feed(
        &self,
        tree: &Tree,
        index: &Path,
        how: &[&str],
        paths: &[Vec<u8>],
    ) -> Result<(), TreesError> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut input = paths.join(&0u8);
        input.push(0);
        let args = self.pinned(&[&["update-index"], how, &["-z", "--stdin"]].concat())?;
        let call = self.write_by(index, args).input(&input);
        call.env("GIT_WORK_TREE", tree.dir()).env("GIT_ATTR_SOURCE", tree.base()).run()?;
        Ok(())
    }

    /// Lists an index as `<mode> <id> <stage>\t<path>`.
    fn read_base(&self, index: &Path) -> Result<Base, TreesError> {
        let mut base = Base { tracked: BTreeMap::new(), ignore_files: Vec::new() };
        let found = fsx::read_bounded(index, EMPTY_INDEX.len() as u64);
        if found.is_ok_and(|found| found.as_deref() == Some(EMPTY_INDEX)) {
            return Ok(base);
        }
        let out = self.read(["ls-files", "-s", "-z"]).env("GIT_INDEX_FILE", index).run()?;
        for line in fields(&out) {
            let tab = line.iter().position(|b| *b == b'\t').ok_or_else(garbled)?;
            let head = String::from_utf8_lossy(&line[..tab]);
            let mut words = head.split(' ');
            let (mode, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let path = &line[tab + 1..];
            if as_path(path).file_name() == Some(".gitignore".as_ref()) && mode.starts_with("100") {
                base.ignore_files.push((as_path(path).to_owned(), id.to_owned()));
            }
            base.tracked.insert(path.to_vec(), mode == "160000");
        }
        Ok(base)
    }

    /// Reads the base's ignore files, all in one call.
    fn read_ignores(&self, files: &[(PathBuf, Oid)], own: &str) -> Result<Ignores, TreesError> {
        if files.is_empty() {
            return Ok(Ignores::new(&[], own));
        }
        let wanted: Vec<&str> = files.iter().flat_map(|(_, id)| [id.as_str(), "\n"]).collect();
        let wanted = wanted.concat();
        let out = self.read(["cat-file", "--batch"]).input(wanted.as_bytes()).run()?;
        let texts = blobs(&out).ok_or_else(garbled)?;
        let paths = files.iter().map(|(path, _)| path.clone());
        Ok(Ignores::new(&paths.zip(texts).collect::<Vec<_>>(), own))
    }
}

/// What git did not take: a name that means something to another file system, a file that it cannot read. What it took is in
/// the base or differs from it.
fn passed_over(
    files: &[Vec<u8>],
    tracked: &BTreeMap<Vec<u8>, bool>,
    changes: &[Change],
    unnamed: &[Violation],
) -> Vec<Violation> {
    let is_there = |change: &&Change| change.new.is_some();
    let mut taken: HashSet<&str> =
        changes.iter().filter(is_there).map(|change| change.path.as_str()).collect();
    taken.extend(unnamed.iter().map(|violation| violation.path.as_str()));
    let new = files.iter().filter(|path| !tracked.contains_key(*path));
    let names = new.map(|path| String::from_utf8_lossy(path));
    let left = names.filter(|name| !taken.contains(name.as_ref())).take(MAX_REFUSED);
    let what = "git does not take it";
    left.map(|name| Violation { path: name.into_owned(), what: what.to_owned() }).collect()
}

fn is_new_submodule(change: &mut Change) -> bool {
    change.new.as_ref().is_some_and(|(mode, _)| mode == "160000")
}

/// Whether git means one path by its refusal, and not the disk or the repository.
fn is_refusal(stderr: &str) -> bool {
    ["Invalid path", "Permission denied", "beyond a symbolic link", "File name too long"]
        .iter()
        .any(|reason| stderr.contains(reason))
}

/// The contents in the output of `cat-file --batch`: `<id> blob <size>\n<content>\n` each.
fn blobs(mut out: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while !out.is_empty() {
        let end = out.iter().position(|b| *b == b'\n')?;
        let head = std::str::from_utf8(&out[..end]).ok()?;
        let size: usize = head.rsplit(' ').next()?.parse().ok()?;
        let rest = &out[end + 1..];
        texts.push(String::from_utf8_lossy(rest.get(..size)?).into_owned());
        out = rest.get(size + 1..)?;
    }
    Some(texts)
}
