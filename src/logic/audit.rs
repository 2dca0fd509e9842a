//! What a task changed, against what it claimed: the judgement that decides whether anything lands.

use crate::model::claim::{Claim, ClaimPath};
use crate::model::workspace::Oid;

use super::claims::{covers, from_top, names};
use super::paths::{conflict_key, contains, keys_overlap};

/// A file's mode and content, as git writes them.
pub type Entry = (String, Oid);

/// One path that differs between two trees; paths are relative to the repository's top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: String,
    /// What it was; `None` when it was not there.
    pub old: Option<Entry>,
    /// What it is; `None` when it is gone.
    pub new: Option<Entry>,
}

/// Something in a tree that git cannot hold as a file: never lands, whatever was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path, relative to the repository's top; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// What it is.
    pub what: String,
}

/// The judgement on a task's changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// What the claim allows.
    pub landing: Vec<Change>,
    /// What it does not.
    pub outside: Vec<Change>,
}

/// Parts the changes into what a claim allows and what it does not. The claim's paths are relative to the directory
/// `prefix` of the repository.
pub fn judge(changes: &[Change], claim: &Claim, prefix: &str) -> Audit {
    let writes = from_top(claim, prefix).writes;
    let (landing, outside) =
        changes.iter().cloned().partition(|change| covers(&writes, &change.path));
    Audit { landing, outside }
}

/// Which paths of a task someone else changed since its base: none may be, or nothing lands. `changed` are all paths
/// that differ between the task's base and the tip; `reads` are the claimed ones, relative to `prefix`.
pub fn moved(
    landing: &[Change],
    reads: &[ClaimPath],
    prefix: &str,
    changed: &[String],
) -> Vec<String> {
    let reads = Claim { reads: reads.to_vec(), writes: Vec::new() };
    let reads = from_top(&reads, prefix).reads;
    let meets = |a: &str, b: &str| contains(a, b) || contains(b, a);
    let is_read = |r: &ClaimPath, path: &str| match r.glob {
        Some(_) => names(r, path) || contains(path, &r.path),
        None => meets(&r.path, path),
    };
    let is_touched = |path: &str| {
        landing.iter().any(|l| meets(&l.path, path)) || reads.iter().any(|r| is_read(r, path))
    };
    changed.iter().filter(|path| is_touched(path)).cloned().collect()
}

/// Whether a claim wants to write where others have: one path is the other or contains it, as the arbiter compares them.
/// Both are relative to the repository's top.
pub fn touches(writes: &[ClaimPath], changed: &[String]) -> bool {
    let wanted: Vec<String> = writes.iter().map(|w| conflict_key(&w.path)).collect();
    changed.iter().any(|path| {
        let key = conflict_key(path);
        wanted.iter().any(|wanted| keys_overlap(wanted, &key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str) -> Change {
        let entry = Some(("100644".to_owned(), "0".repeat(40)));
        Change { path: path.to_owned(), old: None, new: entry }
    }

    fn claimed(path: &str, is_dir: bool) -> ClaimPath {
        ClaimPath { path: path.to_owned(), is_dir, glob: None }
    }

    #[test]
    fn only_what_was_claimed_for_writing_lands() {
        let claim =
            Claim { reads: vec![claimed("docs", true)], writes: vec![claimed("src", true)] };
        let changes = ["src/a", "docs/x", "srcs/b"].map(change);
        let audit = judge(&changes, &claim, "");
        assert_eq!(audit.landing, [change("src/a")]);
        assert_eq!(audit.outside, [change("docs/x"), change("srcs/b")]);
        let below = judge(&["src/a", "sub/src/a"].map(change), &claim, "sub");
        assert_eq!(below.landing, [change("sub/src/a")]);
    }

    #[test]
    fn a_path_that_someone_else_changed_is_named() {
        let changed = ["a/b", "docs/new", "other"].map(String::from);
        let reads = [claimed("docs", true)];
        assert_eq!(moved(&[change("a")], &reads, "", &changed), ["a/b", "docs/new"]);
        assert_eq!(moved(&[change("a/b/c")], &[], "", &changed), ["a/b"]);
        assert!(moved(&[change("ab")], &reads, "sub", &changed).is_empty());
        let exact = ["A/B", "Docs/new"].map(String::from);
        assert!(moved(&[change("a")], &reads, "", &exact).is_empty(), "git knows them apart");
        let amended = [change("claimed"), change("amended/x")];
        assert_eq!(moved(&amended, &[], "", &["amended".to_owned()]), ["amended"]);
    }

    #[test]
    fn what_others_wrote_is_compared_as_the_arbiter_does() {
        let writes = [claimed("src", true), claimed("README.md", false)];
        for (path, expected) in [
            ("src/a", true),
            ("SRC/a", true),
            ("src", true),
            ("readme.MD", true),
            ("README.md/x", true),
            ("srcs/a", false),
            ("docs/src", false),
            ("", true),
        ] {
            assert_eq!(touches(&writes, &[path.to_owned()]), expected, "{path}");
        }
        assert!(!touches(&[], &["src".to_owned()]) && !touches(&writes, &[]));
        assert!(touches(&[claimed("a/b/c", false)], &["A/b".to_owned()]));
    }

    #[test]
    fn a_pattern_that_is_read_looks_at_what_it_matches_alone() {
        let reads = [ClaimPath::matching("docs", "*.md")];
        let changed = ["docs/a.md", "docs/a.rs", "docs/deep/a.md"].map(String::from);
        assert_eq!(moved(&[], &reads, "", &changed), ["docs/a.md"]);
        assert_eq!(moved(&[], &reads, "", &["docs".to_owned()]), ["docs"], "no longer a directory");
        assert_eq!(moved(&[], &reads, "sub", &["sub/docs/a.md".to_owned()]), ["sub/docs/a.md"]);
    }
}
