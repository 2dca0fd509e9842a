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
    symlink("loose", folder.join("link")).expect("link");
    put(&folder.join("torn"), &base[..20]);
    put(&folder.join("empty"), "");
    put(&folder.join("nul"), &"\0".repeat(41));
    fsx::make_dirs(&folder.join("folder")).expect("folder");
    for (name, is_there) in [
        ("packed", true),
        ("loose", true),
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
fn a_tip_that_somebody_packed_is_kept() {
    let house = House::furnished();
    let (first, base) = (house.trees(), house.git(&["rev-parse", "HEAD"]));
    let newer = house.git(&["commit-tree", "-m", "x", "-p", &base, "HEAD^{tree}"]);
    first.set_tip(&newer, &base).expect("the job has landed something");
    house.git(&["pack-refs", "--all", "--prune"]);
    assert_eq!(first.tip_file().expect("look"), None, "no file of its own");
    assert_eq!(house.trees().tip().expect("tip"), newer);
}

#[test]
fn nobody_else_is_there_only_where_files_say_so() {
    let house = House::furnished();
    let (trees, base) = (house.trees(), house.git(&["rev-parse", "HEAD"]));
    let newer = house.git(&["commit-tree", "-m", "x", "-p", &base, "HEAD^{tree}"]);
    let (other, seen) = ("refs/numerus/other-abc234/tip", |trees: &Trees| {
        let found = trees.foreign_tips().expect("tips");
        (trees.is_alone(), found.into_iter().map(|f| f.tip).collect::<Vec<_>>())
    });
    assert_eq!(seen(&trees), (true, vec![]));
    house.git(&["update-ref", other, &newer]);
    assert_eq!(seen(&trees), (false, vec![newer.clone()]));
    house.git(&["pack-refs", "--all", "--prune"]);
    fsx::make_dirs(&house.repo().join(".git/refs/numerus/job-abc234")).expect("a folder alone");
    assert_eq!(seen(&trees), (false, vec![newer]), "what is packed has no file");
}

#[test]
fn nobody_is_named_where_settings_have_no_address() {
    let house = House::furnished();
    let trees = house.trees();
    let is_nameless = |trees: &Trees| {
        trees.pinned(&["version"]).expect("settings");
        trees.is_nameless.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert!(!is_nameless(&trees));
    house.git(&["config", "--unset", "user.email"]);
    // The user's own settings may name somebody, and then they count.
    let others = trees.read(["config", "--get-regexp", r"^(user|author|committer)\.email$"]);
    let is_named_there = others.ask().expect("git").code == 0;
    assert_eq!(is_nameless(&trees), !is_named_there);
}

#[test]
fn a_ref_that_leads_to_a_branch_moves_nothing_and_takes_nothing_with_it() {
    let (house, trees, _tree) = House::with_tree();
    let main = house.git(&["rev-parse", "main"]);
    house.git(&["symbolic-ref", "refs/numerus/job-abc234/tip", "refs/heads/main"]);
    let refused = trees.tip().expect_err("it is no commit").to_string();
    assert!(refused.contains("lead to another ref"), "{refused}");
    let object = house.git(&["commit-tree", "-m", "x", "HEAD^{tree}"]).trim().to_owned();
    trees.set_tip(&object, main.trim()).ok();
    assert_eq!(house.git(&["rev-parse", "main"]), main);
    house.git(&["symbolic-ref", "refs/numerus/job-abc234/tip", "refs/heads/main"]);
    trees.forget().expect("forget");
    assert_eq!(house.git(&["rev-parse", "main"]), main);
    assert!(!house.repo().join(".git/refs/numerus/job-abc234/tip").exists());
    put(&house.repo().join(".git/refs/numerus/job-abc234/tip"), "broken\n");
    trees.forget().expect("one that is broken goes, too");
    assert!(!house.repo().join(".git/refs/numerus/job-abc234/tip").exists());
}

#[test]
fn a_job_ends_where_refs_have_no_files() {
    let house = House::new();
    fsx::make_dirs(&house.repo()).expect("repo");
    house.git(&["init", "-q", "-b", "main", "--ref-format=reftable"]);
    house.furnish();
    let (trees, base) = (house.trees(), house.git(&["rev-parse", "HEAD"]));
    let name = trees.create_branch(base.trim()).expect("branch");
    assert_eq!(house.git(&["rev-parse", &name]), base);
    trees.forget().expect("forget");
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
