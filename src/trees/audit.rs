//! What an agent did to its tree, as one tree object and the difference to the base.
//!
//! Promises: nothing that an agent writes (ignore files, attributes, its index, nested repositories) can hide a change;
//! the agent's own git directory is not used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::logic::audit::{Change, Violation};
use crate::logic::claims::from_top;
use crate::model::claim::Claim;
use crate::model::workspace::Oid;
use crate::os::fsx;

use super::diff::{fields, garbled};
use super::ignores::Ignores;
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
}

/// The settings under which an index is compared with files: nothing is left to a repository's taste.
const STRICT: [&str; 12] = [
    "-c",
    "core.fileMode=true",
    "-c",
    "core.trustctime=true",
    "-c",
    "core.checkStat=default",
    "-c",
    "core.symlinks=true",
    "-c",
    "core.ignoreCase=false",
    "-c",
    "core.safecrlf=false",
];

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
        tree.clear_residue();
        let index = tree.place().dir().join(format!("tree-{}.audit.index", tree.attempt()));
        copy::remove_index(&index)?;
        copy::copy_index(&tree.fresh_index(), &index)?;
        self.give(&index)?;
        let audited = self.audit_with(tree, claim, &index);
        copy::remove_index(&index)?;
        audited
    }

    fn audit_with(&self, tree: &Tree, claim: &Claim, index: &Path) -> Result<Audited, TreesError> {
        let base = self.read_base(index)?;
        let ignores = self.read_ignores(&base.ignore_files)?;
        let claimed = from_top(claim, tree.prefix()).writes;
        let known = Known {
            tracked: &base.tracked,
            ignores: &ignores,
            claimed: &claimed,
            carried: tree.carried(),
            owner: self.git.owner(),
        };
        let mut seen = walk(tree.dir(), &known);
        let missing = seen.missing(&base.tracked);
        self.feed(tree, index, &["--force-remove"], &missing)?;
        self.feed(tree, index, &["--add", "--replace"], &seen.files)?;
        let object = self.write_durably(["write-tree"]).env("GIT_INDEX_FILE", index).line()?;
        let (changes, unnamed) = self.diff(tree.base(), &object)?;
        seen.violations.extend(unnamed);
        let violations = seen.violations;
        Ok(Audited { base: tree.base().to_owned(), tree: object, changes, violations })
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
        let args = STRICT.iter().chain(&["update-index"]).chain(how).chain(&["-z", "--stdin"]);
        let call = self.write_durably(args).env("GIT_INDEX_FILE", index).input(&input);
        call.env("GIT_WORK_TREE", tree.dir()).env("GIT_ATTR_SOURCE", tree.base()).run()?;
        Ok(())
    }

    /// Lists an index as `<mode> <id> <stage>\t<path>`.
    fn read_base(&self, index: &Path) -> Result<Base, TreesError> {
        let out = self.read(["ls-files", "-s", "-z"]).env("GIT_INDEX_FILE", index).run()?;
        let mut base = Base { tracked: BTreeMap::new(), ignore_files: Vec::new() };
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
    fn read_ignores(&self, files: &[(PathBuf, Oid)]) -> Result<Ignores, TreesError> {
        let exclude = Path::new(&self.workspace().git_dir).join("info/exclude");
        let own = fsx::read_optional(&exclude)?.unwrap_or_default();
        if files.is_empty() {
            return Ok(Ignores::new(&[], &own));
        }
        let wanted: Vec<&str> = files.iter().flat_map(|(_, id)| [id.as_str(), "\n"]).collect();
        let wanted = wanted.concat();
        let out = self.read(["cat-file", "--batch"]).input(wanted.as_bytes()).run()?;
        let texts = blobs(&out).ok_or_else(garbled)?;
        let paths = files.iter().map(|(path, _)| path.clone());
        Ok(Ignores::new(&paths.zip(texts).collect::<Vec<_>>(), &own))
    }
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
