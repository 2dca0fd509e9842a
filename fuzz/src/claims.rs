//! Paths that a model names: what is claimed lies in the workspace, is the same claim when it is named again, and is
//! judged alike from both sides; what two claims both allow to be written is a conflict.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use numerus::logic::arbiter::judge;
use numerus::logic::claims::{MAX_PATH_BYTES, MAX_PATHS, covers, leads_into, names, normalise};
use numerus::logic::paths::{below, conflict_key, contains};
use numerus::model::claim::{Claim, ClaimPath, Holder, LeaseFile, LeaseState, Resources};
use numerus::model::id::{JobId, TaskId};
use numerus::trees::kind_below;

use super::scratch;

thread_local! {
    static TREE: OnceCell<PathBuf> = const { OnceCell::new() };
}

/// A path a line: one with a `<` before it is read, the others are written. A line `--` begins a second claim.
pub fn holds(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut claims = text.splitn(2, "\n--\n").map(resources);
    let (one, other) = (claims.next().unwrap_or_default(), claims.next().unwrap_or_default());
    scratch::folder(|dir| {
        TREE.with(|tree| {
            let tree = tree.get_or_init(|| plant(&dir.join("tree")));
            let one = claimed(&one, tree);
            let other = claimed(&other, tree);
            if let (Some(one), Some(other)) = (one, other) {
                is_judged_alike(&one, &other);
            }
        });
    });
    for line in text.lines() {
        let key = conflict_key(line);
        assert_eq!(conflict_key(&key), key, "the key of {line:?}");
    }
}

fn resources(text: &str) -> Resources {
    let mut resources = Resources::default();
    for line in text.lines() {
        match line.strip_prefix('<') {
            Some(path) => resources.reads.push(path.to_owned()),
            None => resources.writes.push(line.to_owned()),
        }
    }
    resources
}

/// A tree with what a path can meet: names like patterns, links inside, around, out, to nothing and to git's own folder.
fn plant(tree: &Path) -> PathBuf {
    for dir in ["src/deep", "docs", "app/[id]", ".git/hooks", "../beside"] {
        fs::create_dir_all(tree.join(dir)).expect("a folder");
    }
    for file in ["README.md", "src/a.rs", "[id].tsx", "app/[id]/page.tsx", "*.odd"] {
        fs::write(tree.join(file), "").expect("a file");
    }
    for (link, target) in [
        ("link", "src"),
        ("src/up", "../docs"),
        ("readme", "README.md"),
        ("deep", "src/deep"),
        ("chain", "link/up"),
        ("dangling", "gone/away"),
        ("around", "around"),
        ("hidden", ".git"),
        ("out", "../beside"),
        ("root", "/"),
        ("src/out", "../../beside/x"),
    ] {
        symlink(target, tree.join(link)).expect("a link");
    }
    tree.canonicalize().expect("the tree")
}

fn claimed(resources: &Resources, tree: &Path) -> Option<Claim> {
    let kind = |path: &str| kind_below(tree, path);
    let claim = match normalise(resources, &kind) {
        Ok(claim) => claim,
        Err(problems) => {
            let is_shown = |p: &String| !p.is_empty() && p.len() <= 4096 && !p.contains('\n');
            assert!(!problems.is_empty() && problems.iter().all(is_shown), "{problems:?}");
            return None;
        }
    };
    for path in claim.reads.iter().chain(&claim.writes) {
        lies_inside(path, tree);
    }
    is_the_same_again(&claim, &kind);
    Some(claim)
}

/// Every part is a name, and going there, as the kernel goes, never leaves the tree nor enters git's folder.
fn lies_inside(claimed: &ClaimPath, tree: &Path) {
    let path = &claimed.path;
    let is_name = |part: &str| !part.is_empty() && part != "." && part != "..";
    assert!(path.is_empty() || path.split('/').all(is_name), "{claimed:?}");
    assert!(!path.contains(|c: char| c.is_control() || c == '\\'), "{claimed:?}");
    let folds_to_git = |part: &str| conflict_key(part) == ".git";
    assert!(!claimed.text().split('/').any(folds_to_git), "{claimed:?}");
    let place = tree.join(path);
    // A link that is named in the last place is claimed as itself; what it leads to is a claim of its own.
    let is_link = place.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    let start = if is_link { place.parent().expect("a parent") } else { &place };
    let there = start.ancestors().find_map(|at| at.canonicalize().ok()).expect("an ancestor");
    assert!(there.starts_with(tree), "{claimed:?} leads to {}", there.display());
    assert!(!there.starts_with(tree.join(".git")), "{claimed:?} leads to {}", there.display());
}

fn is_the_same_again(claim: &Claim, kind: &dyn Fn(&str) -> numerus::logic::claims::PathKind) {
    // Named from the top, since a bare `~` or blank is refused at the start of a text.
    let texts = |paths: &[ClaimPath]| paths.iter().map(|p| format!("./{p}")).collect::<Vec<_>>();
    let named = Resources { reads: texts(&claim.reads), writes: texts(&claim.writes) };
    let all = || named.reads.iter().chain(&named.writes);
    // A link adds what it leads to, which may pass the bounds.
    if all().count() <= MAX_PATHS && all().all(|text| text.len() <= MAX_PATH_BYTES) {
        assert_eq!(normalise(&named, kind).as_ref(), Ok(claim), "{named:?}");
    }
}

fn is_judged_alike(one: &Claim, other: &Claim) {
    let (first, second) = (lease("one", one), lease("other", other));
    let conflicts = judge(&first, std::slice::from_ref(&second));
    let back = judge(&second, std::slice::from_ref(&first));
    assert_eq!(conflicts.is_empty(), back.is_empty(), "{conflicts:?} {back:?}");
    for path in one.writes.iter().chain(&other.writes).map(ClaimPath::text) {
        let both = covers(&one.writes, &path) && covers(&other.writes, &path);
        assert!(!both || !conflicts.is_empty(), "both may write {path:?}");
        for claimed in one.writes.iter().filter(|claimed| names(claimed, &path)) {
            is_reached(claimed, &path);
        }
    }
    assert!(!judge(&first, &[lease("other", one)]).is_empty() || one.writes.is_empty());
}

/// What a claim names lies where it is leased, and no folder on the way is left out.
fn is_reached(claimed: &ClaimPath, path: &str) {
    assert!(contains(&claimed.path, path), "{claimed:?} names {path:?}");
    let Some(glob) = claimed.glob.as_ref().filter(|_| !path.contains(['*', '?', '['])) else {
        return;
    };
    let way = path.rmatch_indices('/').map(|(at, _)| &path[..at]);
    for dir in way.filter(|dir| below(&claimed.path, dir).is_some_and(|rest| !rest.is_empty())) {
        assert!(leads_into(claimed, dir), "{glob:?} names {path:?} and not {dir:?}");
    }
}

fn lease(task: &str, claim: &Claim) -> LeaseFile {
    let job = JobId::parse("job-abc234").expect("an id");
    LeaseFile {
        version: 1,
        holder: Holder { job, task: TaskId::parse(task).expect("an id") },
        attempt: 1,
        ticket: 1,
        state: LeaseState::Held,
        claim: claim.clone(),
        root: String::new(),
    }
}
