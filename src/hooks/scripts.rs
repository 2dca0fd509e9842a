//! What lies in the root's `hooks/`: which programs may be called, and what is wrong with the others.

use std::ffi::OsString;
use std::io::Error;
use std::path::{Component, Path, PathBuf};

use crate::logic::hooks::{ALL, Kind, Seen, is_hook, misnamed, refusal, unfit};
use crate::model::root::Root;
use crate::os::mount::Rights;
use crate::os::{env, fsx};

/// Most links that are followed, as the kernel does.
const MAX_LINKS: usize = 40;

fn folder(root: &Root) -> PathBuf {
    root.path().join("hooks")
}

/// Whether there is anything that could be a hook.
pub(super) fn any(root: &Root) -> bool {
    fsx::list(&folder(root)).is_ok_and(|names| names.iter().any(|name| is_hook(name)))
}

/// The hooks for an event, its own one first: each with its name, the file that is started and why it is refused, if it is.
pub(super) fn of(root: &Root, event: &str) -> Vec<(String, PathBuf, Option<String>)> {
    let named = [event, ALL].into_iter().map(|name| (name.to_owned(), folder(root).join(name)));
    let there = named.filter(|(_, path)| path.symlink_metadata().is_ok());
    let seen = |(name, path): (String, PathBuf)| match judged(&name, &path) {
        Ok(file) => (name, file, None),
        Err(why) => (name, path, Some(why)),
    };
    there.map(seen).collect()
}

/// The file that a hook is, with no link on the way to it any more: what was judged is what is started.
///
/// # Errors
/// Why it is not called.
fn judged(name: &str, path: &Path) -> Result<PathBuf, String> {
    let what = format!("hooks/{name}");
    let cannot = |e: Error| format!("{what} cannot be followed: {e}");
    let absolute = std::path::absolute(path).map_err(cannot)?;
    let file = trusted(&absolute, &what)?;
    if !file.is_file() {
        return Err(format!("{what} is no file"));
    }
    let rights = Rights::of(&file).map_err(cannot)?;
    unfit(&what, rights.mode).map_or(Ok(file), Err)
}

/// Follows a path from `/` on: whoever may change a name on the way, be it that of a folder or of a link, decides what is
/// started at its end.
///
/// # Errors
/// Who else may do so, or why it cannot be followed.
fn trusted(path: &Path, what: &str) -> Result<PathBuf, String> {
    let mut left: Vec<OsString> = names(path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    loop {
        let rights = Rights::of(&at).map_err(|e| format!("{what} cannot be followed: {e}"))?;
        let link = std::fs::read_link(&at).ok();
        let kind = match link {
            Some(_) => Kind::Link,
            None if rights.is_folder => Kind::Folder,
            None => Kind::Program,
        };
        let is_it = left.is_empty() && kind == Kind::Program;
        let shown = if is_it { what.to_owned() } else { at.display().to_string() };
        let seen = Seen { uid: rights.uid, mode: rights.mode, kind };
        if let Some(why) = refusal(seen, env::own_uid(), &shown) {
            return Err(if is_it { why } else { format!("{what}: {why}") });
        }
        if let Some(target) = link {
            links += 1;
            if links > MAX_LINKS {
                return Err(format!("{what} cannot be followed: it leads through too many links"));
            }
            at = if target.is_absolute() { PathBuf::from("/") } else { above(&at) };
            left.extend(names(&target));
        }
        match left.pop() {
            None => return Ok(at),
            Some(name) if name == ".." => at = above(&at),
            Some(name) => at.push(name),
        }
    }
}

fn above(path: &Path) -> PathBuf {
    path.parent().unwrap_or_else(|| Path::new("/")).to_owned()
}

/// The names in a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let meant = path.components().rev();
    let meant = meant.filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    meant.map(|part| part.as_os_str().to_owned()).collect()
}

/// What keeps programs in `hooks/` from being called, a line each.
pub fn problems(root: &Root) -> Vec<String> {
    let mut names = fsx::list(&folder(root)).unwrap_or_default();
    names.sort();
    let problem = |name: &String| {
        let path = folder(root).join(name);
        if is_hook(name) { judged(name, &path).err() } else { misnamed(name) }
    };
    names.iter().filter_map(problem).map(|why| format!("a hook is not called: {why}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_not_called_is_told_with_the_reason() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        assert!(!any(&root) && problems(&root).is_empty(), "no folder");
        let hooks = folder(&root);
        fsx::make_dirs(&hooks).expect("folder");
        let put = |name: &str, mode: u32| {
            let path = hooks.join(name);
            fsx::put_new(&path, b"#!/bin/sh\n").expect("file");
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("mode");
        };
        put("README", 0o644);
        assert!(!any(&root) && problems(&root).is_empty());
        put("job.finished", 0o700);
        put("all", 0o777);
        put("job.claimed", 0o600);
        put("job.klaimed", 0o700);
        assert!(any(&root));
        let told = problems(&root).join("\n");
        for piece in [
            "in hooks/all (mode 0777)",
            "hooks/job.claimed is no program",
            "\"job.klaimed\" is no event",
        ] {
            assert!(told.contains(piece), "{piece}: {told}");
        }
        assert!(!told.contains("job.finished"), "{told}");
        let called = |event| {
            of(&root, event)
                .into_iter()
                .map(|(name, _, no)| (name, no.is_none()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            called("job.finished"),
            [("job.finished".to_owned(), true), ("all".to_owned(), false)]
        );
        std::fs::set_permissions(&hooks, Permissions::from_mode(0o770)).expect("mode");
        assert!(
            called("job.finished").iter().all(|(_, is_called)| !is_called),
            "others may put one there"
        );
        std::fs::set_permissions(&hooks, Permissions::from_mode(0o700)).expect("mode");
    }

    #[test]
    fn a_link_leads_only_where_nobody_else_can_turn_it() {
        let dir = tempfile::tempdir().expect("scratch");
        let (root, open) = (Root::new(dir.path()), dir.path().join("open"));
        let (hooks, safe) = (folder(&root), dir.path().join("safe"));
        for made in [&hooks, &safe, &open.join("in")] {
            fsx::make_dirs(made).expect("folder");
        }
        for program in [safe.join("program"), open.join("in/program")] {
            fsx::put_new(&program, b"#!/bin/sh\n").expect("file");
            std::fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("mode");
        }
        symlink("../safe/program", open.join("link")).expect("link");
        symlink("open", dir.path().join("way")).expect("link");
        std::fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("mode");
        let seen = |target: &str| {
            let hook = hooks.join("all");
            symlink(target, &hook).expect("link");
            let seen = of(&root, "job.finished").remove(0);
            fsx::remove(&hook).expect("away");
            assert_eq!(seen.0, "all");
            (seen.1, seen.2)
        };
        let program = safe.join("program").canonicalize().expect("there");
        assert_eq!(seen("../safe/../safe/program"), (program, None), "what it leads to is started");
        let turned =
            ["../open/in/program", "../open/link", "../way/in/program", "../open/../safe/program"];
        for target in turned {
            let why = seen(target).1.unwrap_or_default();
            assert!(why.contains("/open (mode 0777)"), "{target}: {why}");
        }
        std::fs::set_permissions(&open, Permissions::from_mode(0o1777)).expect("mode");
        assert!(turned.iter().all(|target| seen(target).1.is_none()), "nobody renames there");
        assert!(seen("all").1.is_some_and(|why| why.contains("too many links")));
        assert!(seen("../safe").1.is_some_and(|why| why.contains("no file")));
        assert!(seen("gone").1.is_some_and(|why| why.contains("cannot be followed")));
    }
}
