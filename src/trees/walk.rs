//! Our own look at a tree an agent worked in: every file that could be a change, and everything that git cannot hold.
//!
//! Nothing is followed and nothing is opened but what has to be; directories that the base ignores, without a tracked or
//! claimed path in them, are passed over whole.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use crate::logic::audit::Violation;
use crate::logic::claims::{covers, is_git_name, leads_into, names};
use crate::logic::paths::contains;
use crate::model::claim::ClaimPath;
use crate::os::fsx;

use super::ignores::Ignores;

/// Most files in a tree.
const MAX_FILES: usize = 1_000_000;
/// Most bytes of touched files that git is asked to take in.
const MAX_TOUCHED_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Most violations that are named.
const MAX_VIOLATIONS: usize = 1000;
/// Most files outside the claim that are kept as objects; what is more is left in the tree.
const MAX_OUTSIDE_FILES: usize = 5000;
/// Largest file outside the claim that is kept as an object, in bytes.
const MAX_OUTSIDE_BYTES: u64 = 64 * 1024 * 1024;

/// What the walk compares with.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// The base's paths, with whether each is a submodule.
    pub tracked: &'a BTreeMap<Vec<u8>, bool>,
    /// The base's ignore rules.
    pub ignores: &'a Ignores,
    /// The claimed writes, from the top.
    pub claimed: &'a [ClaimPath],
    /// What we put there ourselves, from the top.
    pub carried: &'a [String],
    /// When the tree was made; what has changed its state since was touched.
    pub since: (i64, i64),
    /// Who must be able to read what is found, when that is not us.
    pub owner: Option<(u32, u32)>,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Paths of files and links that count, relative to the top, in the walk's order.
    pub files: Vec<Vec<u8>>,
    /// What can never land.
    pub violations: Vec<Violation>,
    /// How large the files are that were touched, together.
    pub touched_bytes: u64,
    outside: usize,
}

impl Seen {
    fn violate(&mut self, path: &Path, what: &str) {
        let what = match self.violations.len() {
            MAX_VIOLATIONS => "and more that cannot land",
            count if count > MAX_VIOLATIONS => return,
            _ => what,
        };
        let path = path.to_string_lossy().into_owned();
        self.violations.push(Violation { path, what: what.to_owned() });
    }

    /// The base's paths that are no longer there.
    pub(super) fn missing(&self, tracked: &BTreeMap<Vec<u8>, bool>) -> Vec<Vec<u8>> {
        let seen: std::collections::HashSet<&[u8]> = self.files.iter().map(Vec::as_slice).collect();
        let is_hidden = |path: &[u8]| {
            let path = String::from_utf8_lossy(path);
            self.violations.iter().any(|v| contains(&v.path, &path))
        };
        let files = tracked.iter().filter(|(_, is_module)| !**is_module).map(|(path, _)| path);
        files.filter(|path| !seen.contains(path.as_slice()) && !is_hidden(path)).cloned().collect()
    }
}

/// What a walk does after an entry.
#[derive(PartialEq, Eq)]
enum Next {
    Into,
    Past,
}

/// Walks a tree from its top.
pub(super) fn walk(top: &Path, known: &Known<'_>) -> Seen {
    let mut seen = Seen::default();
    // For each depth, whether the directory there is ignored: then so is all that is in it.
    let mut ignored = vec![false];
    let mut entries = WalkDir::new(top).follow_links(false).min_depth(1).into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                let path = e.path().and_then(|p| p.strip_prefix(top).ok()).unwrap_or(Path::new(""));
                seen.violate(path, "cannot be read");
                continue;
            }
        };
        ignored.truncate(entry.depth());
        let path = entry.path().strip_prefix(top).unwrap_or(Path::new("")).to_owned();
        let is_dir = entry.file_type().is_dir();
        let is_ignored = ignored.last() == Some(&true) || known.ignores.ignores(&path, is_dir);
        let next = known.look(&entry, &path, is_ignored, &mut seen);
        if is_dir && next == Next::Past {
            entries.skip_current_dir();
        }
        if is_dir {
            ignored.push(is_ignored);
        }
    }
    seen
}

impl Known<'_> {
    fn look(&self, entry: &DirEntry, path: &Path, is_ignored: bool, seen: &mut Seen) -> Next {
        let text = path.to_string_lossy();
        let is_carried = self.carried.iter().any(|c| contains(c, &text));
        let is_own = entry.depth() == 1 && entry.file_name() == ".git";
        if is_own || ((is_ignored || is_carried) && !self.counts(path, entry.file_type().is_dir()))
        {
            return Next::Past;
        }
        if is_git_name(&entry.file_name().to_string_lossy()) {
            seen.violate(path, "a name that is git's own");
            return Next::Past;
        }
        if entry.file_type().is_dir() {
            self.look_at_dir(entry, path, seen)
        } else {
            self.look_at_file(entry, path, seen);
            Next::Past
        }
    }

    /// Whether a path that is ignored or carried counts all the same: it, or something below, is tracked or claimed by a
    /// path that is ignored or carried itself. A claim of everything around it does not make build output worth landing.
    fn counts(&self, path: &Path, is_dir: bool) -> bool {
        let bytes = path.as_os_str().as_bytes();
        let below = [bytes, b"/"].concat();
        let first = self.tracked.range(below.clone()..).next();
        let text = path.to_string_lossy();
        self.tracked.contains_key(bytes)
            || first.is_some_and(|(tracked, _)| tracked.starts_with(&below))
            || self.claimed.iter().any(|claimed| {
                let is_meant = match claimed.glob {
                    Some(_) if is_dir => leads_into(claimed, &text),
                    Some(_) | None => names(claimed, &text),
                };
                (is_meant || contains(&text, &claimed.path)) && self.is_set_aside(&claimed.path)
            })
    }

    /// Whether a claimed path is ignored or carried, by itself or by a directory that it lies in.
    fn is_set_aside(&self, claimed: &str) -> bool {
        let is_dir = |path: &Path| path != Path::new(claimed);
        self.carried.iter().any(|carried| contains(carried, claimed))
            || Path::new(claimed).ancestors().any(|path| {
                self.ignores.ignores(path, is_dir(path)) || self.ignores.ignores(path, true)
            })
    }

    fn look_at_dir(&self, entry: &DirEntry, path: &Path, seen: &mut Seen) -> Next {
        let is_module = self.tracked.get(path.as_os_str().as_bytes()) == Some(&true);
        if is_module {
            if fsx::list_os(entry.path()).is_ok_and(|names| !names.is_empty()) {
                seen.violate(path, "files in a submodule");
            }
            return Next::Past;
        }
        if entry.path().join(".git").symlink_metadata().is_ok() {
            seen.violate(path, "a repository of its own");
            return Next::Past;
        }
        if let Ok(meta) = entry.metadata() {
            self.hand_over(entry.path(), &meta);
        }
        Next::Into
    }

    fn look_at_file(&self, entry: &DirEntry, path: &Path, seen: &mut Seen) {
        let Ok(meta) = entry.metadata() else {
            return seen.violate(path, "cannot be read");
        };
        if let Some(what) = special(&meta) {
            return seen.violate(path, what);
        }
        if meta.is_file() && !self.is_readable(entry.path(), &meta) {
            return seen.violate(path, "cannot be read");
        }
        let bytes = path.as_os_str().as_bytes();
        if meta.is_file() && (meta.ctime(), meta.ctime_nsec()) >= self.since {
            seen.touched_bytes = seen.touched_bytes.saturating_add(meta.len());
            if seen.touched_bytes > MAX_TOUCHED_BYTES {
                seen.touched_bytes = seen.touched_bytes.saturating_sub(meta.len());
                return seen.violate(path, "too large to land");
            }
        }
        if !self.tracked.contains_key(bytes) && !covers(self.claimed, &path.to_string_lossy()) {
            seen.outside += 1;
            match seen.outside {
                _ if meta.len() > MAX_OUTSIDE_BYTES => {
                    return seen.violate(path, "too large to keep, and not claimed");
                }
                count if count == MAX_OUTSIDE_FILES + 1 => {
                    return seen.violate(path, "one of more unclaimed files than are kept");
                }
                count if count > MAX_OUTSIDE_FILES => return,
                _ => {}
            }
        }
        if seen.files.len() < MAX_FILES {
            seen.files.push(bytes.to_vec());
        } else {
            seen.violate(path, "one of more files than a tree may have");
        }
    }

    /// Whether git will be able to read a file; the kernel is asked only where the owner's bit is not set.
    fn is_readable(&self, path: &Path, meta: &Metadata) -> bool {
        self.hand_over(path, meta);
        meta.mode() & 0o400 != 0 || fsx::open_hostile(path).is_ok()
    }

    /// Gives what root's agents made to the user that git runs as; a file with several names may belong elsewhere.
    fn hand_over(&self, path: &Path, meta: &Metadata) {
        let Some((uid, gid)) = self.owner else { return };
        if meta.uid() != uid && (meta.is_dir() || meta.nlink() == 1) {
            // If this fails, git says which file it cannot read.
            std::os::unix::fs::lchown(path, Some(uid), Some(gid)).ok();
        }
    }
}

fn special(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() || kind.is_symlink() => None,
        () if kind.is_fifo() => Some("a named pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

/// The path of bytes.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
