//! What lies in the root's `hooks/`: which programs may be called, and what is wrong with the others.

use std::path::{Path, PathBuf};

use crate::logic::hooks::{ALL, Seen, is_hook, misnamed, refusal, unfit};
use crate::model::root::Root;
use crate::os::mount::Rights;
use crate::os::{env, fsx};

fn folder(root: &Root) -> PathBuf {
    root.path().join("hooks")
}

/// Whether there is anything that could be a hook.
pub(super) fn any(root: &Root) -> bool {
    fsx::list(&folder(root)).is_ok_and(|names| names.iter().any(|name| is_hook(name)))
}

/// The hooks for an event, its own one first: each with its name, its file and why it is refused, if it is.
pub(super) fn of(root: &Root, event: &str) -> Vec<(String, PathBuf, Option<String>)> {
    let found = [event, ALL].into_iter().map(|name| (name.to_owned(), folder(root).join(name)));
    let there = found.filter(|(_, path)| path.symlink_metadata().is_ok());
    there.map(|(name, path)| (name.clone(), path.clone(), why_not(root, &name, &path))).collect()
}

/// Why a hook is not called. A link is followed; what it leads to is what would run.
fn why_not(root: &Root, name: &str, path: &Path) -> Option<String> {
    let file = match path.canonicalize() {
        Ok(file) if file.is_file() => file,
        Ok(_) => return Some(format!("hooks/{name} is no file")),
        Err(e) => return Some(format!("hooks/{name} cannot be followed: {e}")),
    };
    let judged = |path: &Path, what: &str| match Rights::of(path) {
        Ok(rights) => refusal(Seen { uid: rights.uid, mode: rights.mode }, env::own_uid(), what),
        Err(e) => Some(e.to_string()),
    };
    let mode =
        || Rights::of(&file).ok().and_then(|rights| unfit(&format!("hooks/{name}"), rights.mode));
    let holder = |path: &Path| path.canonicalize().ok().and_then(|dir| judged(&dir, "hooks/"));
    holder(&folder(root)).or_else(|| judged(&file, &format!("hooks/{name}"))).or_else(mode)
}

/// What keeps programs in `hooks/` from being called, a line each.
pub fn problems(root: &Root) -> Vec<String> {
    let mut names = fsx::list(&folder(root)).unwrap_or_default();
    names.sort();
    let problem = |name: &String| {
        let path = folder(root).join(name);
        if is_hook(name) { why_not(root, name, &path) } else { misnamed(name) }
    };
    names.iter().filter_map(problem).map(|why| format!("a hook is not called: {why}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

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
}
