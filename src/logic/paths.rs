//! When two paths of claims are the same place, or one lies in the other.
//!
//! Promise: paths that any common file system would treat as one (other case, other Unicode form) overlap, whatever the
//! file system at hand does; too much exclusion costs time, too little costs work.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use crate::model::claim::ClaimPath;

/// The form in which paths are compared: Unicode's canonical caseless form, composed (NFC).
pub fn conflict_key(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    // Decomposed first: folding a composed letter with an iota below would keep marks in another order.
    let apart = DecomposingNormalizerBorrowed::new_nfd().normalize(path);
    let folded = CaseMapper::new().fold_string(&apart);
    ComposingNormalizerBorrowed::new_nfc().normalize(&folded).into_owned()
}

/// Whether two paths cannot both be had: their keys are equal or one is an ancestor of the other. `is_dir` does not
/// count, since a file may become a directory.
pub fn overlaps(a: &ClaimPath, b: &ClaimPath) -> bool {
    keys_overlap(&conflict_key(&a.path), &conflict_key(&b.path))
}

/// [`overlaps`] for keys already made.
pub fn keys_overlap(a: &str, b: &str) -> bool {
    contains(a, b) || contains(b, a)
}

/// [`overlaps`] for a key and a path of which none was made: one in ASCII is compared as it stands.
pub fn key_overlaps(key: &str, path: &str) -> bool {
    if !path.is_ascii() {
        return keys_overlap(key, &conflict_key(path));
    }
    let (key, path) = (key.as_bytes(), path.as_bytes());
    let shared = key.len().min(path.len());
    // What is left of the longer one begins a new part, unless the shorter one contains everything.
    let ends = |bytes: &[u8]| shared == 0 || bytes.get(shared).is_none_or(|next| *next == b'/');
    let begins_alike = || key.iter().zip(path).all(|(a, b)| *a == b.to_ascii_lowercase());
    ends(key) && ends(path) && begins_alike()
}

/// Whether `path` is `dir` or lies below it, part by part and to the letter; an empty `dir` contains everything.
pub fn contains(dir: &str, path: &str) -> bool {
    let Some(rest) = path.strip_prefix(dir) else { return false };
    dir.is_empty() || rest.is_empty() || rest.starts_with('/')
}

/// A path as seen from a directory that it lies below; `None` for one that lies elsewhere, or is the directory.
pub fn below<'a>(dir: &str, path: &'a str) -> Option<&'a str> {
    if dir.is_empty() { Some(path) } else { path.strip_prefix(dir)?.strip_prefix('/') }
}

/// The inverse of [`below`]: a path that was named in a directory, as seen from where the directory is.
pub fn joined(dir: &str, path: &str) -> String {
    match (dir, path) {
        ("", path) => path.to_owned(),
        (dir, "") => dir.to_owned(),
        (dir, path) => format!("{dir}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ClaimPath {
        ClaimPath::file(text)
    }

    #[test]
    fn any_prefix_relation_overlaps_part_by_part() {
        for (a, b, expected) in [
            ("src/a.rs", "src/a.rs", true),
            ("src", "src/a.rs", true),
            ("", "src/a.rs", true),
            ("", "", true),
            ("src/a", "src/a.rs", false),
            ("src", "srcs", false),
            ("src/a", "src/b", false),
            ("a/b/c", "a/b", true),
        ] {
            assert_eq!(overlaps(&path(a), &path(b)), expected, "{a} {b}");
            assert_eq!(overlaps(&path(b), &path(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_path_below_a_directory_is_named_there_and_back() {
        for (dir, path, expected) in [
            ("sub", "sub/x", Some("x")),
            ("sub", "sub/x/y", Some("x/y")),
            ("sub", "subs/x", None),
            ("sub", "sub", None),
            ("sub", "x", None),
            ("", "sub/x", Some("sub/x")),
        ] {
            assert_eq!(below(dir, path), expected, "{dir} {path}");
            assert!(below(dir, path).is_none_or(|rest| joined(dir, rest) == path), "{dir} {path}");
        }
        assert_eq!(joined("sub", ""), "sub");
    }

    #[test]
    fn case_and_unicode_form_make_no_difference() {
        for (a, b) in [
            ("README.md", "Readme.MD"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("CAF\u{c9}/x", "cafe\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c3}", "\u{3c2}"),
            ("\u{1fb3}\u{301}", "\u{3b1}\u{301}\u{3b9}"),
            ("\u{212a}", "k"),
        ] {
            assert!(overlaps(&path(a), &path(b)), "{a} {b}");
        }
        assert!(!overlaps(&path("cafe"), &path("caf\u{e9}")));
    }

    #[test]
    fn a_path_overlaps_with_a_key_as_its_own_key_does() {
        let all = [
            "",
            "a",
            "A",
            "a/b",
            "A/B",
            "a/b/c",
            "ab",
            "a-",
            "a/",
            "b",
            "src/A.rs",
            "SRC",
            "src/a",
            "SRC/a.RS/x",
            "caf\u{e9}",
            "CAFE\u{301}",
            "caf\u{e9}/x",
            "cafe",
            "CAFE/x",
            "caf",
            "K",
            "k/x",
            "\u{212a}",
            "\u{212a}/X",
            "stra\u{df}e",
            "STRASSE/a",
            "strass",
            "\u{130}",
            "i",
        ];
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            let key = conflict_key(a);
            assert_eq!(key_overlaps(&key, b), keys_overlap(&key, &conflict_key(b)), "{a} {b}");
        }
    }

    #[test]
    fn a_key_is_its_own_key() {
        for text in ["Src/A.rs", "CAF\u{c9}", "cafe\u{301}", "\u{130}x", "\u{1e9e}"] {
            let key = conflict_key(text);
            assert_eq!(conflict_key(&key), key, "{text}");
        }
    }
}
