//! From the paths that a model names to a claim: every path is checked here, once, so that nobody downstream meets an
//! absolute, escaping or ambiguous one.
//!
//! Two paths conflict when one contains the other after Unicode normalisation and case folding, since some file systems
//! know no difference. What an audit lets land is compared exactly.

use super::paths::contains;
use crate::model::claim::{Claim, ClaimPath, Resources};

/// Most paths that a claim may name, reads and writes together.
pub const MAX_PATHS: usize = 256;
/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// What a path names in the task's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing yet.
    Missing,
    /// Something that is no directory.
    File,
    /// A directory.
    Dir,
    /// A link on the way, or the path itself, points out of the workspace.
    LeadsOut,
}

/// Checks and normalises what a task says it will touch. `kind` tells what a normalised path names in its tree.
///
/// # Errors
/// Every problem, in words that an agent can act on.
pub fn normalise(
    resources: &Resources,
    kind: &dyn Fn(&str) -> PathKind,
) -> Result<Claim, Vec<String>> {
    let count = resources.reads.len() + resources.writes.len();
    if count > MAX_PATHS {
        return Err(vec![format!(
            "{count} paths are claimed, at most {MAX_PATHS} may be: name directories"
        )]);
    }
    let mut problems = Vec::new();
    let reads = all(&resources.reads, kind, &mut problems);
    let writes = all(&resources.writes, kind, &mut problems);
    if problems.is_empty() { Ok(Claim { reads, writes }) } else { Err(problems) }
}

/// Normalises each path; sorted, each once, and none below a directory that is named as well.
fn all(
    texts: &[String],
    kind: &dyn Fn(&str) -> PathKind,
    problems: &mut Vec<String>,
) -> Vec<ClaimPath> {
    let mut paths = Vec::new();
    for text in texts {
        match one(text, kind) {
            Ok(path) => paths.push(path),
            Err(problem) => problems.push(problem),
        }
    }
    paths.sort();
    paths.dedup();
    let dirs: Vec<ClaimPath> = paths.iter().filter(|p| p.is_dir).cloned().collect();
    paths.retain(|p| !dirs.iter().any(|d| d != p && contains(&d.path, &p.path)));
    paths
}

fn one(text: &str, kind: &dyn Fn(&str) -> PathKind) -> Result<ClaimPath, String> {
    let refuse = |why: &str| Err(format!("the path {:?} {why}", shortened(text)));
    if let Some(why) = flaw(text) {
        return refuse(why);
    }
    let Some(parts) = parts(text) else {
        return refuse("leads out of the workspace");
    };
    if parts.iter().any(|part| is_git_name(part)) {
        return refuse("lies in a git directory, which no task may touch");
    }
    let path = parts.join("/");
    let ends_as_dir = ["/", "/.", "/.."].iter().any(|end| text.ends_with(end)) || path.is_empty();
    match kind(&path) {
        PathKind::LeadsOut => refuse("goes through a link that leads out of the workspace"),
        PathKind::Dir => Ok(ClaimPath { path, is_dir: true }),
        PathKind::File if ends_as_dir => refuse("ends in a slash but is a file"),
        // A file that exists may well be called `[id].tsx`.
        PathKind::Missing if path.contains(['*', '?', '[']) => {
            refuse("is a pattern: name the files, or the directory that they lie in")
        }
        PathKind::File | PathKind::Missing => Ok(ClaimPath { path, is_dir: ends_as_dir }),
    }
}

/// What is wrong with a text before it is taken apart.
fn flaw(text: &str) -> Option<&'static str> {
    let first = text.split('/').next().unwrap_or_default();
    match text {
        _ if text.trim().is_empty() => Some("is empty: name a file, a directory or \".\""),
        _ if text.len() > MAX_PATH_BYTES => Some("is longer than 4096 bytes"),
        _ if text.starts_with('/') => Some("is absolute: name it relative to the workspace"),
        _ if first.starts_with('~') => Some("starts with a ~: name it relative to the workspace"),
        _ if text.contains('\\') => Some("has a backslash: parts are separated by /"),
        _ if text.contains(char::is_control) => Some("has a control character"),
        _ => None,
    }
}

/// The parts of a path without `.` and `..`; `None` when it leads above its start.
fn parts(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Whether some system takes this name for git's own directory.
pub fn is_git_name(part: &str) -> bool {
    let name = part.to_lowercase();
    let name = name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name == ".git" || name == "git~1"
}

/// Whether a claim allows writing exactly this path: it is claimed, or lies in a claimed directory.
pub fn covers(writes: &[ClaimPath], path: &str) -> bool {
    writes.iter().any(|w| w.path == path || (w.is_dir && contains(&w.path, path)))
}

/// The claim as seen from the top of a repository, for a job that works in the directory `prefix` of it.
#[must_use]
pub fn from_top(claim: &Claim, prefix: &str) -> Claim {
    let lift = |paths: &[ClaimPath]| {
        let lifted = paths.iter().map(|p| ClaimPath { path: joined(prefix, &p.path), ..p.clone() });
        lifted.collect()
    };
    Claim { reads: lift(&claim.reads), writes: lift(&claim.writes) }
}

fn joined(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, path) => format!("{prefix}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str) -> PathKind {
        match path {
            "" | "src" | "docs" => PathKind::Dir,
            "README.md" | "[id].tsx" => PathKind::File,
            _ if path.starts_with("out") => PathKind::LeadsOut,
            _ => PathKind::Missing,
        }
    }

    fn writes(texts: &[&str]) -> Result<Vec<(String, bool)>, Vec<String>> {
        let writes = texts.iter().map(|t| (*t).to_owned()).collect();
        let claim = normalise(&Resources { reads: vec![], writes }, &kind)?;
        Ok(claim.writes.into_iter().map(|p| (p.path, p.is_dir)).collect())
    }

    fn path(text: &str, is_dir: bool) -> ClaimPath {
        ClaimPath { path: text.to_owned(), is_dir }
    }

    #[test]
    fn every_spelling_of_a_path_becomes_the_same() {
        for (text, expected, is_dir) in [
            ("a/b", "a/b", false),
            ("./a//b", "a/b", false),
            ("a/./b", "a/b", false),
            ("x/../a/b", "a/b", false),
            ("a/b/", "a/b", true),
            ("a/b/.", "a/b", true),
            ("a/b/c/..", "a/b", true),
            ("src", "src", true),
            (".", "", true),
            ("./", "", true),
            (".gitignore", ".gitignore", false),
            ("README.md", "README.md", false),
            ("[id].tsx", "[id].tsx", false),
        ] {
            assert_eq!(writes(&[text]), Ok(vec![(expected.to_owned(), is_dir)]), "{text:?}");
        }
    }

    #[test]
    fn a_path_that_is_not_safely_inside_is_refused() {
        let long = "x/".repeat(2500);
        for (text, why) in [
            ("", "is empty"),
            (" ", "is empty"),
            ("/etc/passwd", "is absolute"),
            ("~/x", "starts with a ~"),
            ("..", "leads out"),
            ("a/../../b", "leads out"),
            ("a\0b", "control character"),
            ("a\nb", "control character"),
            ("a\\b", "backslash"),
            ("src/*.rs", "is a pattern"),
            ("src/[ab]", "is a pattern"),
            (".git/hooks/x", "git directory"),
            ("a/.GIT/x", "git directory"),
            ("a/git~1/x", "git directory"),
            ("out/x", "leads out of the workspace"),
            ("README.md/", "is a file"),
            (long.as_str(), "longer than"),
        ] {
            let problems = writes(&[text]).expect_err(text);
            assert!(problems[0].contains(why), "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn all_problems_come_at_once_and_too_many_paths_are_one() {
        assert_eq!(writes(&["/a", "ok", ".."]).map_err(|p| p.len()), Err(2));
        let many = vec!["a"; MAX_PATHS + 1];
        assert_eq!(writes(&many).map_err(|p| p.len()), Err(1));
    }

    #[test]
    fn a_path_below_a_claimed_directory_is_said_already() {
        let kept = writes(&["src/a.rs", "src", "srcs", "src/"]).expect("fine");
        assert_eq!(kept, [("src".to_owned(), true), ("srcs".to_owned(), false)]);
    }

    #[test]
    fn only_a_claimed_directory_covers_what_is_below() {
        let claim = [path("src", true), path("a", false)];
        for (text, expected) in
            [("src/x", true), ("src", true), ("a", true), ("a/b", false), ("SRC/x", false)]
        {
            assert_eq!(covers(&claim, text), expected, "{text}");
        }
        assert!(covers(&[path("", true)], "anything/at/all"));
    }

    #[test]
    fn a_claim_in_a_subdirectory_is_seen_from_the_top() {
        let claim = Claim { reads: vec![path("", true)], writes: vec![path("a", false)] };
        let lifted = from_top(&claim, "sub/dir");
        assert_eq!(lifted.reads, [path("sub/dir", true)]);
        assert_eq!(lifted.writes, [path("sub/dir/a", false)]);
        assert_eq!(from_top(&claim, ""), claim);
    }
}
