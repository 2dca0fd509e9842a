//! From the paths that a model names to a claim: every path is checked here, once, so that nobody downstream meets an
//! absolute, escaping or ambiguous one.
//!
//! Two paths conflict when one contains the other after Unicode normalisation and case folding, since some file systems
//! know no difference. What an audit lets land is compared exactly. A pattern is leased as the directory that its first
//! parts name, and lands as what it matches; links inside the workspace are resolved, so that two ways to one file are one
//! claim.

use super::globs;
use super::paths::{below, contains, joined};
use crate::model::claim::{Claim, ClaimPath, Resources};

/// Most paths that a claim may name, reads and writes together.
pub const MAX_PATHS: usize = 256;
/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// What a path names in the task's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing yet.
    Missing,
    /// Something that is no directory.
    File,
    /// A directory.
    Dir,
    /// A link on the way, or the path itself, points elsewhere in the workspace: this is the path without links.
    Elsewhere(String),
    /// A link on the way, or the path itself, points out of the workspace.
    LeadsOut,
}

/// Tells what a normalised path names.
type Kind<'a> = dyn Fn(&str) -> PathKind + 'a;

/// Checks and normalises what a task says it will touch. `kind` tells what a normalised path names in its tree.
///
/// # Errors
/// Every problem, in words that an agent can act on.
pub fn normalise(resources: &Resources, kind: &Kind<'_>) -> Result<Claim, Vec<String>> {
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
fn all(texts: &[String], kind: &Kind<'_>, problems: &mut Vec<String>) -> Vec<ClaimPath> {
    let mut paths = Vec::new();
    for text in texts {
        match one(text, kind) {
            Ok(found) => paths.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    paths.sort();
    paths.dedup();
    let dirs: Vec<ClaimPath> =
        paths.iter().filter(|p| p.is_dir && p.glob.is_none()).cloned().collect();
    paths.retain(|p| !dirs.iter().any(|d| d != p && contains(&d.path, &p.path)));
    paths
}

/// What one text claims: mostly one path; a link that is named itself, and what it leads to.
fn one(text: &str, kind: &Kind<'_>) -> Result<Vec<ClaimPath>, String> {
    let refuse = |why: &str| format!("the path {:?} {why}", shortened(text));
    if let Some(why) = flaw(text) {
        return Err(refuse(why));
    }
    let parts = parts(text, kind).ok_or_else(|| refuse("leads out of the workspace"))?;
    let ends_as_dir = ["/", "/.", "/.."].iter().any(|end| text.ends_with(end)) || parts.is_empty();
    let literal = literal_parts(&parts, kind);
    if let Some(why) = parts[literal..].iter().find_map(|part| globs::flaw(part)) {
        return Err(refuse(why));
    }
    let named = parts[..literal].join("/");
    let (path, kind_there) = resolved(&named, kind);
    if parts.iter().map(String::as_str).chain(path.split('/')).any(is_git_name) {
        return Err(refuse("lies in a git directory, which no task may touch"));
    }
    let is_below = ends_as_dir || literal < parts.len();
    let is_dir = match kind_there {
        PathKind::LeadsOut | PathKind::Elsewhere(_) => {
            return Err(refuse("goes through a link that leads out of the workspace"));
        }
        PathKind::File if is_below => return Err(refuse("goes on behind a file")),
        PathKind::Dir => true,
        PathKind::File | PathKind::Missing => ends_as_dir,
    };
    if literal < parts.len() {
        let end = if ends_as_dir { "/**" } else { "" };
        return Ok(vec![ClaimPath::matching(path, parts[literal..].join("/") + end)]);
    }
    let link = link_itself(&named, kind).filter(|_| !ends_as_dir).map(ClaimPath::file);
    Ok(link.into_iter().chain([ClaimPath { path, is_dir, glob: None }]).collect())
}

/// How many parts name something to the letter; a pattern begins behind them. What exists is never a pattern: a file may
/// well be called `[id].tsx`.
fn literal_parts(parts: &[String], kind: &Kind<'_>) -> usize {
    let exists = |end: usize| resolved(&parts[..end].join("/"), kind).1 != PathKind::Missing;
    let is_literal = |at: &usize| !globs::is_pattern(&parts[*at]) || exists(at + 1);
    (0..parts.len()).take_while(is_literal).count()
}

/// A path without links, and what it names.
fn resolved(path: &str, kind: &Kind<'_>) -> (String, PathKind) {
    match kind(path) {
        PathKind::Elsewhere(real) => {
            let found = kind(&real);
            (real, found)
        }
        found @ (PathKind::Missing | PathKind::File | PathKind::Dir | PathKind::LeadsOut) => {
            (path.to_owned(), found)
        }
    }
}

/// The path of a link that is named in the last place: it can be written through, and it can be replaced.
fn link_itself(path: &str, kind: &Kind<'_>) -> Option<String> {
    let PathKind::Elsewhere(_) = kind(path) else { return None };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let own = joined(&resolved(parent, kind).0, name);
    matches!(kind(&own), PathKind::Elsewhere(_)).then_some(own)
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

/// The parts of a path without `.` and `..`; `None` when it leads above its start. Behind a link, `..` is the parent of
/// what the link leads to.
fn parts(text: &str, kind: &Kind<'_>) -> Option<Vec<String>> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                let (path, found) = resolved(&parts.join("/"), kind);
                if found == PathKind::LeadsOut {
                    return None;
                }
                parts = path.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
                parts.pop()?;
            }
            part => parts.push(part.to_owned()),
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

/// Whether a claim allows writing exactly this path.
pub fn covers(writes: &[ClaimPath], path: &str) -> bool {
    writes.iter().any(|claimed| names(claimed, path))
}

/// Whether a claimed path means this one: it is the same, lies in a claimed directory, or matches the pattern. A pattern
/// also means the file that is called like it.
pub fn names(claimed: &ClaimPath, path: &str) -> bool {
    match &claimed.glob {
        Some(glob) => below(&claimed.path, path)
            .is_some_and(|rest| rest == glob.as_str() || globs::matches(glob, rest)),
        None => claimed.path == path || (claimed.is_dir && contains(&claimed.path, path)),
    }
}

/// Whether a claimed pattern may mean something in this directory.
pub fn leads_into(claimed: &ClaimPath, dir: &str) -> bool {
    let rest = below(&claimed.path, dir);
    claimed.glob.as_ref().is_some_and(|glob| rest.is_some_and(|rest| globs::leads_into(glob, rest)))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with a few files, `app/[id]/`, and links: `link` and `src/up` lead inside, `out` leads out.
    fn kind(path: &str) -> PathKind {
        let through = |link: &str, real: &str| {
            let rest = path.strip_prefix(link).filter(|r| r.is_empty() || r.starts_with('/'));
            rest.map(|rest| PathKind::Elsewhere(format!("{real}{rest}")))
        };
        match path {
            "" | "src" | "docs" | "app" | "app/[id]" | "docs/deep" => PathKind::Dir,
            "README.md" | "[id].tsx" | "src/a.rs" => PathKind::File,
            _ if path.starts_with("out") => PathKind::LeadsOut,
            _ => through("link/readme", "README.md")
                .or_else(|| through("link", "src"))
                .or_else(|| through("readme", "README.md"))
                .or_else(|| through("src/readme", "README.md"))
                .or_else(|| through("deep", "docs/deep"))
                .or_else(|| through("hidden", ".git"))
                .unwrap_or(PathKind::Missing),
        }
    }

    fn claimed(texts: &[&str]) -> Result<Vec<ClaimPath>, Vec<String>> {
        let writes = texts.iter().map(|t| (*t).to_owned()).collect();
        Ok(normalise(&Resources { reads: vec![], writes }, &kind)?.writes)
    }

    fn writes(texts: &[&str]) -> Result<Vec<(String, bool)>, Vec<String>> {
        Ok(claimed(texts)?.into_iter().map(|p| (p.path, p.is_dir)).collect())
    }

    fn path(text: &str, is_dir: bool) -> ClaimPath {
        ClaimPath { path: text.to_owned(), is_dir, glob: None }
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
            ("src/a**", "has **"),
            ("src/[ab", "begins no set"),
            ("README.md/*", "behind a file"),
            ("out/*", "leads out of the workspace"),
            ("out/../x", "leads out of the workspace"),
            (".git/*", "git directory"),
            ("hidden", "git directory"),
            ("hidden/config", "git directory"),
            ("hidden/*", "git directory"),
            (".git/hooks/x", "git directory"),
            ("a/.GIT/x", "git directory"),
            ("a/git~1/x", "git directory"),
            ("out/x", "leads out of the workspace"),
            ("README.md/", "behind a file"),
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
    fn a_pattern_is_leased_as_its_directory_and_lands_as_what_it_matches() {
        for (text, dir, glob, inside, outside) in [
            ("src/*.rs", "src", "*.rs", "src/b.rs", "src/x/b.rs"),
            ("./src//**/*.rs", "src", "**/*.rs", "src/x/y/b.rs", "src/b.md"),
            ("*", "", "*", "a", "a/b"),
            ("new/**", "new", "**", "new/a/b", "new"),
            ("src/*/", "src", "*/**", "src/x/y", "src/y"),
            ("link/*.rs", "src", "*.rs", "src/b.rs", "link/b.rs"),
            ("app/[id]/*.tsx", "app/[id]", "*.tsx", "app/[id]/a.tsx", "app/i/a.tsx"),
            ("app/[slug]/a", "app", "[slug]/a", "app/[slug]/a", "app/slug/a"),
            ("a{b,c}/?", "a{b,c}", "?", "a{b,c}/d", "ab/d"),
        ] {
            let claim = claimed(&[text]).expect(text);
            assert_eq!(claim, [ClaimPath::matching(dir, glob)], "{text}");
            assert!(covers(&claim, inside), "{text} {inside}");
            assert!(!covers(&claim, outside), "{text} {outside}");
        }
    }

    #[test]
    fn a_directory_says_more_than_a_pattern_in_it_and_a_pattern_says_no_more_than_it_matches() {
        assert_eq!(claimed(&["src/*.rs", "src/"]), Ok(vec![path("src", true)]));
        let both = claimed(&["src/*.rs", "src/a.md"]).expect("fine");
        assert_eq!(both, [ClaimPath::matching("src", "*.rs"), path("src/a.md", false)]);
    }

    #[test]
    fn a_link_inside_and_what_it_leads_to_are_one_claim() {
        for (text, expected) in [
            ("link/a.rs", vec![path("src/a.rs", false)]),
            ("link/new", vec![path("src/new", false)]),
            ("link/", vec![path("src", true)]),
            ("link", vec![path("link", false), path("src", true)]),
            ("link/readme", vec![path("README.md", false), path("src/readme", false)]),
            ("readme", vec![path("README.md", false), path("readme", false)]),
            ("deep/../x", vec![path("docs/x", false)]),
        ] {
            assert_eq!(claimed(&[text]), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_claimed_path_is_shown_as_it_would_be_written() {
        for (claimed, shown) in [
            (path("a", false), "a"),
            (path("src", true), "src/"),
            (path("", true), "./"),
            (ClaimPath::matching("src", "*.rs"), "src/*.rs"),
            (ClaimPath::matching("", "**"), "**"),
        ] {
            assert_eq!(claimed.to_string(), shown);
        }
        let old: ClaimPath = serde_json::from_str(r#"{"path":"a","is_dir":false}"#).expect("old");
        assert_eq!(old, path("a", false));
        let same = serde_json::to_string(&old).expect("json");
        assert_eq!(same, r#"{"path":"a","is_dir":false}"#);
    }

    #[test]
    fn a_claim_in_a_subdirectory_is_seen_from_the_top() {
        let claim = Claim { reads: vec![path("", true)], writes: vec![path("a", false)] };
        let lifted = from_top(&claim, "sub/dir");
        assert_eq!(lifted.reads, [path("sub/dir", true)]);
        assert_eq!(lifted.writes, [path("sub/dir/a", false)]);
        assert_eq!(from_top(&claim, ""), claim);
        let all = Claim { reads: vec![], writes: vec![ClaimPath::matching("", "*.rs")] };
        assert_eq!(from_top(&all, "[x]").writes, [ClaimPath::matching("[x]", "*.rs")]);
    }
}
