//! The ignore rules of a commit: what an agent writes into an ignore file has no say in what is seen of its work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

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
