//! The ignore rules of a commit, and those that are in none: what an agent writes into an ignore file has no say in what is seen
//! of its work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{Trees, TreesError};
use crate::os::{env, fsx};

/// Most bytes that are read of one file of ignore rules.
const MAX_RULES_BYTES: u64 = 1024 * 1024;

/// Rules by the directory of their file, and the repository's own ones, which are the weakest.
#[derive(Debug)]
pub(super) struct Ignores {
    by_dir: BTreeMap<PathBuf, Gitignore>,
    own: Gitignore,
}

impl Ignores {
    /// Reads the rules: `files` are the paths of `.gitignore` files with their content, `own` is `info/exclude`. A line that
    /// is no rule is passed over, as git does.
    pub(super) fn new(files: &[(PathBuf, String)], own: &str) -> Self {
        let parent = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
        let by_dir =
            files.iter().map(|(path, text)| (parent(path), rules(&parent(path), text))).collect();
        Self { by_dir, own: rules(Path::new(""), own) }
    }

    /// Whether a path is ignored by a rule of its own; those of its parents are the walk's business.
    pub(super) fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        let asked = virtual_top().join(path);
        let nearest = path.ancestors().skip(1).filter_map(|dir| self.by_dir.get(dir));
        for rules in nearest.chain([&self.own]) {
            match rules.matched(&asked, is_dir) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

/// Rules and paths are hung below one made-up top, so that a bare name is never taken for a path.
fn virtual_top() -> PathBuf {
    PathBuf::from("/top")
}

fn rules(dir: &Path, text: &str) -> Gitignore {
    let mut builder = GitignoreBuilder::new(virtual_top().join(dir));
    for line in text.trim_start_matches('\u{feff}').lines() {
        builder.add_line(None, line).ok();
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

impl Trees {
    /// The user's own ignore rules, then those of `info/exclude`, which are the stronger ones.
    pub(super) fn uncommitted_ignores(&self) -> Result<String, TreesError> {
        let of_user = self.own_ignores()?;
        let exclude = Path::new(&self.workspace().git_dir).join("info/exclude");
        let read = |path: &Path| {
            // Rules that cannot be read ignore nothing: more is seen then, not less.
            let bytes = fsx::read_bounded(path, MAX_RULES_BYTES).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(format!("{}\n{}", read(of_user), read(&exclude)))
    }

    /// Where the user's own ignore rules lie, as gitignore(5) says.
    fn own_ignores(&self) -> Result<&Path, TreesError> {
        if let Some(known) = self.own_ignores.get() {
            return Ok(known);
        }
        self.ask_settings()?;
        if let Some(known) = self.own_ignores.get() {
            return Ok(known);
        }
        let named = self.read(["config", "--type=path", "--get", "core.excludesFile"]).ask()?;
        let named = String::from_utf8_lossy(&named.stdout).trim_end_matches('\n').to_owned();
        Ok(self.own_ignores.get_or_init(|| ignores_at(&named)))
    }

    /// The same from what the settings say, if that is a path as it stands; git knows others.
    pub(super) fn note_own_ignores(&self, named: &str) {
        if named.is_empty() || named.starts_with('/') {
            self.own_ignores.get_or_init(|| ignores_at(named));
        }
    }
}

/// Where the user's own ignore rules lie, given what the settings say of it.
fn ignores_at(named: &str) -> PathBuf {
    match (named, env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME")) {
        ("", Some(dir), _) => PathBuf::from(dir).join("git/ignore"),
        ("", None, Some(home)) => PathBuf::from(home).join(".config/git/ignore"),
        (path, _, _) => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nearer_file_wins_and_can_take_back() {
        let files = [
            (PathBuf::from(".gitignore"), "*.log\n/build/\n".to_owned()),
            (PathBuf::from("sub/.gitignore"), "!keep.log\ntmp\n".to_owned()),
        ];
        let ignores = Ignores::new(&files, "*.log\nown\n");
        for (path, is_dir, expected) in [
            ("a.log", false, true),
            ("sub/a.log", false, true),
            ("sub/keep.log", false, false),
            ("keep.log", false, true),
            ("build", true, true),
            ("build", false, false),
            ("sub/build", true, false),
            ("sub/tmp", true, true),
            ("tmp", true, false),
            ("deep/own", false, true),
            ("src/main.rs", false, false),
        ] {
            assert_eq!(ignores.ignores(Path::new(path), is_dir), expected, "{path}");
        }
    }
}
