//! Refs as their files say, and who commits.

use super::*;
use crate::os::git::GitError;
use crate::trees::land::commit_by;

#[test]
fn a_ref_is_what_git_says_however_it_is_kept() {
    let house = House::furnished();
    let trees = house.trees();
    let base = house.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let path = |name: &str| house.repo().join(".git").join(name);
    let folder = path("refs/numerus/other");
    fsx::make_dirs(&folder).expect("folder");
    house.git(&["update-ref", "refs/numerus/other/packed", &base]);
    house.git(&["pack-refs", "--all", "--prune"]);
    assert!(!path("refs/numerus/other/packed").exists());
    fsx::make_dirs(&folder).expect("folder, which went with its last ref");
    house.git(&["update-ref", "refs/numerus/other/loose", &base]);
    house.git(&["symbolic-ref", "refs/numerus/other/symbolic", "refs/numerus/other/loose"]);
    symlink("loose", folder.join("link")).expect("link");
    put(&folder.join("torn"), &base[..20]);
    put(&folder.join("empty"), "");
    put(&folder.join("nul"), &"\0".repeat(41));
    fsx::make_dirs(&folder.join("folder")).expect("folder");
    for (name, is_there) in [
        ("packed", true),
        ("loose", true),
        ("symbolic", true),
        ("link", true),
        ("torn", false),
        ("empty", false),
        ("nul", false),
        ("folder", false),
        ("none", false),
    ] {
        let found = trees.find_ref(&format!("refs/numerus/other/{name}")).expect(name);
        assert_eq!(found, is_there.then(|| base.clone()), "{name}");
    }
}

#[test]
fn a_call_that_failed_for_another_reason_is_no_sign_that_nobody_is_named() {
    let house = House::furnished();
    let trees = house.trees();
    let call = || trees.git.read(["no-such-command"]);
    let failed = commit_by(call, || Ok(true));
    assert!(matches!(failed, Err(GitError::Failed { .. })), "{failed:?}");
    let calls = std::cell::Cell::new(0);
    let call = || {
        calls.set(calls.get() + 1);
        trees.git.read(if calls.get() == 1 { ["no-such-command"] } else { ["version"] })
    };
    let (said, is_named) = commit_by(call, || Ok(false)).expect("in our own name");
    assert!(said.starts_with("git version") && !is_named, "{said}");
}
