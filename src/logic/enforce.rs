//! From a granted claim to what the kernel lets its agent write: which paths codex's sandbox opens, and which it keeps
//! shut in between. Help for the agent, who hears at once of a write that would not land; the judge is the audit.
//!
//! Promises: whatever is claimed can be written, and nothing outside the workspace is opened. What would not pay, or
//! cannot be said to codex, is opened wider, in the end as far as the whole workspace, and can be seen in the result.

use std::collections::BTreeSet;

use super::claims::{PathKind, covers, is_git_name, leads_into};
use super::globs::is_pattern;
use super::paths::contains;
use crate::model::claim::ClaimPath;

/// Most files that are opened one by one: each costs five mounts with every command that the agent runs.
pub const MAX_FILES: usize = 8;
/// Most directories that are opened.
pub const MAX_DIRS: usize = 20;
/// Most paths that are kept shut inside opened directories.
pub const MAX_SHUT: usize = 100;
/// Longest path that is opened or shut by its own name, in bytes; all of them have to fit into one argument.
const MAX_SAID_BYTES: usize = 256;
/// Names that codex keeps shut itself wherever it opens a directory.
const GUARDED: [&str; 4] = [".git", ".codex", ".agents", ".aws"];

/// What may be written in the workspace; each path relative to it, the empty one is the workspace itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Files that can be changed in place, but neither removed nor replaced.
    pub files: Vec<String>,
    /// Directories with what is in them.
    pub dirs: Vec<String>,
    /// What stays shut inside them, unless it is opened by a longer path.
    pub shut: Vec<String>,
}

impl Opened {
    /// The whole workspace, as without a claim.
    pub fn everything() -> Self {
        Self { dirs: vec![String::new()], ..Self::default() }
    }

    /// Whether nothing in the workspace is shut.
    pub fn is_everything(&self) -> bool {
        self.shut.is_empty() && self.dirs.iter().any(String::is_empty)
    }

    /// What is open, as claims are written.
    pub fn writable(&self) -> Vec<String> {
        let dirs = self.dirs.iter().map(|dir| ClaimPath::dir(dir.as_str()).to_string());
        self.files.iter().cloned().chain(dirs).collect()
    }
}

/// What the workspace is like.
pub struct Look<'a> {
    /// What a path names.
    pub kind: &'a dyn Fn(&str) -> PathKind,
    /// The names in a directory, links left out: codex refuses to shut what leads elsewhere.
    pub names: &'a dyn Fn(&str) -> Vec<String>,
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").finish_non_exhaustive()
    }
}

/// Compiles the claimed writes. What exists is opened by itself: a file has to exist for that. For everything else the
/// nearest directory is opened, and what is in it and was not claimed is shut.
pub fn compile(writes: &[ClaimPath], look: &Look<'_>) -> Opened {
    let (mut whole, mut partly, mut files) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for claimed in writes {
        let path = claimed.path.as_str();
        match claimed {
            ClaimPath { glob: Some(_), .. } => drop(partly.insert(nearest(path, look))),
            ClaimPath { is_dir: true, .. } if is_plain_dir(path, look) => {
                whole.insert(path.to_owned());
            }
            ClaimPath { is_dir: false, .. } if can_say(path) && is_file(path, look) => {
                files.push(path.to_owned());
            }
            ClaimPath { .. } => drop(partly.insert(nearest(parent(path), look))),
        }
    }
    files.retain(|file| !partly.contains(parent(file)));
    if files.len() > MAX_FILES {
        partly.extend(files.drain(..).map(|file| nearest(parent(&file), look)));
    }
    partly.retain(|dir| !whole.iter().any(|whole| contains(whole, dir)));
    if whole.contains("") || whole.len() + partly.len() > MAX_DIRS {
        return Opened::everything();
    }
    let shut = shut(writes, &whole, &partly, look);
    Opened { files, dirs: whole.into_iter().chain(partly).collect(), shut }
}

/// What is in partly opened directories, and is neither claimed nor on the way to something that a pattern means. A
/// directory with too much in it stays open.
fn shut(
    writes: &[ClaimPath],
    whole: &BTreeSet<String>,
    partly: &BTreeSet<String>,
    look: &Look<'_>,
) -> Vec<String> {
    let is_opened = |path: &String| whole.contains(path) || partly.contains(path);
    let is_meant = |path: &String| {
        is_opened(path)
            || covers(writes, path)
            || ((look.kind)(path) == PathKind::Dir
                && writes.iter().any(|claimed| leads_into(claimed, path)))
    };
    let mut all: Vec<String> = Vec::new();
    for dir in partly {
        let inside = (look.names)(dir).into_iter();
        let named = inside.filter(|name| !GUARDED.contains(&name.as_str()) && !is_git_name(name));
        let paths = named.map(|name| joined(dir, &name));
        let found: Vec<String> = paths.filter(|path| can_say(path) && !is_meant(path)).collect();
        if all.len() + found.len() <= MAX_SHUT {
            all.extend(found);
        }
    }
    all.sort();
    all
}

/// The nearest directory at or above a path that is there and can be opened by its name.
fn nearest(path: &str, look: &Look<'_>) -> String {
    let mut path = path;
    while !path.is_empty() && !is_plain_dir(path, look) {
        path = parent(path);
    }
    path.to_owned()
}

fn is_plain_dir(path: &str, look: &Look<'_>) -> bool {
    path.is_empty() || (can_say(path) && (look.kind)(path) == PathKind::Dir)
}

fn is_file(path: &str, look: &Look<'_>) -> bool {
    (look.kind)(path) == PathKind::File
}

/// Whether codex takes a path for itself, since it reads patterns into names, and at the length it has here.
pub fn can_say(path: &str) -> bool {
    path.len() <= MAX_SAID_BYTES
        && !is_pattern(path)
        && !path.contains([']', '"', '\\'])
        && !path.contains(char::is_control)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn joined(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::claims::normalise;
    use crate::model::claim::Resources;

    /// A workspace of these paths; a directory ends in `/`, a link is `name>target`.
    struct World(Vec<&'static str>);

    impl World {
        fn kind(&self, path: &str) -> PathKind {
            for entry in &self.0 {
                match entry.split_once('>') {
                    Some((link, target)) if link == path => {
                        return PathKind::Elsewhere(target.to_owned());
                    }
                    _ if *entry == path => return PathKind::File,
                    _ if entry.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) => {
                        return PathKind::Dir;
                    }
                    _ => {}
                }
            }
            PathKind::Missing
        }

        fn names(&self, dir: &str) -> Vec<String> {
            let below = if dir.is_empty() { String::new() } else { format!("{dir}/") };
            let inside = self.0.iter().filter(|entry| !entry.contains('>'));
            let rests = inside.filter_map(|entry| entry.strip_prefix(&below));
            let names: BTreeSet<String> = rests
                .filter_map(|rest| rest.split('/').next())
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            names.into_iter().collect()
        }

        fn opened(&self, claim: &[&str]) -> Opened {
            let kind = |path: &str| self.kind(path);
            let resources = Resources {
                reads: Vec::new(),
                writes: claim.iter().map(|&path| path.to_owned()).collect(),
            };
            let claim = normalise(&resources, &kind).expect("a claim");
            compile(&claim.writes, &Look { kind: &kind, names: &|dir| self.names(dir) })
        }
    }

    fn opened(files: &[&str], dirs: &[&str], shut: &[&str]) -> Opened {
        let owned = |list: &[&str]| list.iter().map(|&path| path.to_owned()).collect();
        Opened { files: owned(files), dirs: owned(dirs), shut: owned(shut) }
    }

    #[test]
    fn a_claim_opens_what_it_names_and_little_else() {
        let world = World(vec![
            ".git/x",
            ".aws/x",
            "README",
            "src/a.rs",
            "src/b.rs",
            "src/api/x.rs",
            "src/[id]/page.rs",
            "docs/one.md",
            "link>src/a.rs",
        ]);
        for (claim, files, dirs, shut) in [
            (vec!["src/a.rs"], vec!["src/a.rs"], vec![], vec![]),
            (vec!["src/api/"], vec![], vec!["src/api"], vec![]),
            (vec!["src/a.rs", "src/api/"], vec!["src/a.rs"], vec!["src/api"], vec![]),
            // A new file: its directory, without what is there already.
            (vec!["docs/two.md"], vec![], vec!["docs"], vec!["docs/one.md"]),
            (vec!["two.md"], vec![], vec![""], vec!["README", "docs", "src"]),
            (vec!["new/deep/x"], vec![], vec![""], vec!["README", "docs", "src"]),
            (vec!["docs/new/"], vec![], vec!["docs"], vec!["docs/one.md"]),
            // A claimed file beside it can be replaced then; one further down is opened in what is shut.
            (vec!["docs/two.md", "docs/one.md"], vec![], vec!["docs"], vec![]),
            (vec!["two.md", "src/a.rs"], vec!["src/a.rs"], vec![""], vec!["README", "docs", "src"]),
            (
                vec!["two.md", "docs/x"],
                vec![],
                vec!["", "docs"],
                vec!["README", "docs/one.md", "src"],
            ),
            (vec!["docs/", "docs/one.md"], vec![], vec!["docs"], vec![]),
            // Patterns: what they cannot mean is shut.
            (vec!["src/*.rs"], vec![], vec!["src"], vec!["src/api"]),
            (vec!["src/**/x.rs"], vec![], vec!["src"], vec!["src/a.rs", "src/b.rs"]),
            (vec!["*.md"], vec![], vec![""], vec!["README", "docs", "src"]),
            // What codex would read as a pattern is opened by the directory above.
            (
                vec!["src/[id]/page.rs"],
                vec![],
                vec!["src"],
                vec!["src/a.rs", "src/api", "src/b.rs"],
            ),
            // A link can be written through, and be replaced.
            (vec!["link"], vec!["src/a.rs"], vec![""], vec!["README", "docs", "src"]),
            (vec![], vec![], vec![], vec![]),
            (vec!["./"], vec![], vec![""], vec![]),
        ] {
            assert_eq!(world.opened(&claim), opened(&files, &dirs, &shut), "{claim:?}");
        }
    }

    #[test]
    fn what_does_not_pay_is_opened_wider() {
        let names = |dir: &str, count: usize| -> Vec<&'static str> {
            (0..count).map(|n| &*format!("{dir}/f{n}").leak()).collect()
        };
        let many = World(names("src", MAX_SHUT + MAX_FILES + 1));
        let claimed = |count| -> Vec<&str> { many.0[..count].to_vec() };
        assert_eq!(many.opened(&claimed(MAX_FILES)).files.len(), MAX_FILES);
        let more = many.opened(&claimed(MAX_FILES + 1));
        assert_eq!(
            (more.files.len(), more.dirs, more.shut.len()),
            (0, vec!["src".into()], MAX_SHUT)
        );
        assert_eq!(many.opened(&["src/new"]), opened(&[], &["src"], &[]), "too much to shut");
        let dirs: Vec<&'static str> = (0..=MAX_DIRS).map(|n| &*format!("d{n}/x").leak()).collect();
        let wide = World(dirs.clone());
        let claim: Vec<&str> = dirs.iter().map(|path| path.trim_end_matches('x')).collect();
        assert_eq!(wide.opened(&claim[1..]).dirs.len(), MAX_DIRS);
        assert!(wide.opened(&claim).is_everything());
    }

    #[test]
    fn what_is_claimed_is_always_open() {
        let world = World(vec!["a/b/c", "a/b/d", "a/e", "f", "g/[x]/h", "g/i"]);
        let texts = ["a/b/c", "a/new", "a/b/", "a/*/c", "f", "new/x", "g/[x]/h", "g/[x]/k", "*"];
        for one in texts {
            for two in texts {
                let opened = world.opened(&[one, two]);
                for path in [one, two].map(|text| text.trim_end_matches('/').replace('*', "f")) {
                    let rules = opened.dirs.iter().map(|dir| (dir, true));
                    let rules = rules.chain(opened.files.iter().map(|file| (file, true)));
                    let rules = rules.chain(opened.shut.iter().map(|shut| (shut, false)));
                    let longest = rules
                        .filter(|(rule, _)| contains(rule, &path))
                        .max_by_key(|(r, _)| r.len());
                    assert!(
                        longest.is_some_and(|(_, open)| open),
                        "{path} of {one} {two}: {opened:?}"
                    );
                }
            }
        }
    }
}
