//! The settings under which git makes, compares and changes trees: what a repository or a user prefers must not decide
//! what is seen of an agent's work, nor start a program on files that an agent wrote.
//!
//! Line ends (`core.autocrlf`, `core.eol`) stay as they are: they are the same when a tree is made and when it is audited.

use std::ffi::OsString;

use crate::os::git::Git;

use super::{Trees, TreesError};

/// A file as it is: its mode, its being a link, its name, its times. An index that is one file, with an entry a path.
const PINNED: [&str; 15] = [
    "core.fileMode=true",
    "core.symlinks=true",
    "core.ignoreCase=false",
    "core.precomposeUnicode=false",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "core.trustctime=true",
    "core.checkStat=default",
    "core.safecrlf=false",
    "core.sparseCheckout=false",
    "core.splitIndex=false",
    "core.untrackedCache=false",
    "index.sparse=false",
    "worktree.useRelativePaths=false",
    // Above this size a file goes past git's memory.
    "core.bigFileThreshold=16m",
];

impl Trees {
    /// The arguments of a call that makes, compares or changes a tree, `args` being the subcommand and what follows.
    pub(super) fn pinned(&self, args: &[&str]) -> Result<Vec<OsString>, TreesError> {
        let mut settings: Vec<String> = PINNED.iter().map(|&setting| setting.to_owned()).collect();
        for driver in filter_drivers(&self.git, &self.workspace.git_dir)? {
            if driver.contains(['=', '\n']) {
                let why = format!("its settings name a filter {driver:?}");
                return Err(TreesError::Refused { path: self.workspace.top.clone(), why });
            }
            // A driver that is empty is an error in some paths of git; one that copies is none.
            for program in ["clean=cat", "smudge=cat", "process=", "required=false"] {
                settings.push(format!("filter.{driver}.{program}"));
            }
        }
        let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        Ok(settings.chain(args.iter().map(|&arg| arg.to_owned())).map(OsString::from).collect())
    }
}

/// The filters that the repository's and the user's settings have a program for.
pub(super) fn filter_drivers(git: &Git, git_dir: &str) -> Result<Vec<String>, TreesError> {
    let args =
        ["config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.(clean|smudge|process)$"];
    let answer = git.read(args).env("GIT_DIR", git_dir).ask()?;
    let names = String::from_utf8_lossy(&answer.stdout).into_owned();
    let driver = |name: &str| Some(name.strip_prefix("filter.")?.rsplit_once('.')?.0.to_owned());
    let mut drivers: Vec<String> = names.split('\0').filter_map(driver).collect();
    drivers.sort_unstable();
    drivers.dedup();
    Ok(drivers)
}

/// A file of a commit that goes through a filter with a program, and that filter, if there is any.
pub(super) fn filtered(
    git: &Git,
    git_dir: &str,
    commit: &str,
) -> Result<Option<(String, String)>, TreesError> {
    let drivers = filter_drivers(git, git_dir)?;
    if drivers.is_empty() {
        return Ok(None);
    }
    let paths = git.read(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]).run()?;
    let check = ["check-attr", "-z", "--stdin", "--source", commit, "filter"];
    let out = git.read(check).input(&paths).run()?;
    let answers: Vec<&[u8]> = out.split(|byte| *byte == 0).collect();
    Ok(answers.chunks_exact(3).find_map(|answer| {
        let driver = drivers.iter().find(|driver| driver.as_bytes() == answer[2])?;
        Some((String::from_utf8_lossy(answer[0]).into_owned(), driver.clone()))
    }))
}
