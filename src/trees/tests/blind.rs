//! What an agent does to blind an audit: none of it hides a change, and none of it stops the audit.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

fn audited(trees: &Trees, tree: &Tree, claim: &Claim) -> (Vec<String>, Vec<String>) {
    let audited = trees.audit(tree, claim).expect("audit");
    let mut strange: Vec<String> =
        audited.violations.iter().map(|v| format!("{}: {}", v.path, v.what)).collect();
    strange.sort_unstable();
    (letters(&audited), strange)
}

fn sparse(path: &Path, length: u64) {
    fsx::create_new(path).and_then(|file| file.set_len(length)).expect("a sparse file");
}

fn open_dir(at: impl std::os::fd::AsFd, path: &Path) -> std::os::fd::OwnedFd {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
    rustix::fs::openat(at, path, flags, rustix::fs::Mode::empty()).expect("a directory")
}

#[test]
fn rules_that_are_in_no_commit_are_those_from_before_the_agent_began() {
    let house = House::furnished();
    let exclude = house.repo().join(".git/info/exclude");
    put(&exclude, "/known\n");
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    put(&exclude, "*\n");
    put(&tree.cwd().join("known"), "ignored from the start");
    put(&tree.cwd().join("hidden"), "not");
    assert_eq!(audited(&trees, &tree, &Claim::default()).0, ["A hidden"]);
}

#[test]
fn the_users_own_ignore_file_counts_and_the_repositorys_is_stronger() {
    let house = House::furnished();
    let file = house.scratch.path().join("ignores");
    put(&file, "*.swp\n*.keep\n");
    house.git(&["config", "core.excludesFile", file.to_str().expect("utf-8")]);
    put(&house.repo().join(".git/info/exclude"), "!*.keep\n");
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("a.swp"), "x");
    put(&tree.cwd().join("a.keep"), "x");
    assert_eq!(audited(&trees, &tree, &Claim::default()).0, ["A a.keep"]);
}

#[test]
fn an_index_that_an_agent_wrote_in_is_not_believed() {
    let (_house, trees, tree) = House::with_tree();
    put(&tree.cwd().join("a.txt"), "changed\n");
    for index in [tree.fresh_index(), tree.admin().join("index")] {
        // An index that says that the file is as it should be.
        let lie = |args: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(tree.cwd()).env("GIT_INDEX_FILE", &index).args(args);
            assert!(git.status().expect("git").success(), "{args:?}");
        };
        lie(&["update-index", "--assume-unchanged", "a.txt"]);
        lie(&["update-index", "--skip-worktree", "src/one.rs"]);
        lie(&["update-index", "--force-remove", "docs/x.md"]);
    }
    fsx::remove(&tree.cwd().join("src/one.rs")).expect("gone");
    assert_eq!(audited(&trees, &tree, &Claim::default()).0, ["M a.txt", "D src/one.rs"]);
    put(&tree.fresh_index(), "garbage");
    assert_eq!(audited(&trees, &tree, &Claim::default()).0, ["M a.txt", "D src/one.rs"]);
}

#[test]
fn a_tree_that_was_moved_or_replaced_is_not_looked_at() {
    let house = House::furnished();
    let before = house.user_view();
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    let aside = tree.dir().with_extension("moved");
    fsx::move_to(tree.dir(), &aside).expect("moved");
    let expected = vec![".: the tree itself, moved or replaced".to_owned()];
    assert_eq!(audited(&trees, &tree, &claim(&["."], &[])), (Vec::new(), expected.clone()));
    symlink(house.repo(), tree.dir()).expect("replaced");
    put(&house.repo().join(".codex/keep"), "");
    fsx::remove(&house.repo().join(".codex/keep")).expect("an empty folder of the user");
    assert_eq!(audited(&trees, &tree, &claim(&["."], &[])), (Vec::new(), expected));
    assert!(house.repo().join(".codex").exists(), "nothing is tidied up there");
    fs::remove_dir(house.repo().join(".codex")).expect("as before");
    trees.remove(&tree).expect("the link goes, not what it leads to");
    assert_eq!(house.user_view(), before);
}

#[test]
fn a_name_that_git_does_not_take_is_a_violation_and_no_trouble() {
    let (_house, trees, tree) = House::with_tree();
    let at = |path: &str| tree.cwd().join(path);
    put(&at("docs/fine.md"), "fine");
    put(&at("docs/.git\\config"), "another system's separator");
    put(&at("docs/.g\u{200c}it/config"), "another system's blank");
    symlink("x.md", at("docs/.gitmodules")).expect("link");
    put(&at("docs/.git::$INDEX_ALLOCATION"), "another system's stream");
    let (changes, strange) = audited(&trees, &tree, &claim(&["docs/"], &[]));
    assert_eq!(changes, ["A docs/fine.md"]);
    assert_eq!(strange.len(), 4, "{strange:?}");
}

#[test]
fn a_folder_with_more_odd_names_than_anybody_counts_ends_the_search() {
    let (_house, trees, tree) = House::with_tree();
    for n in 0..60 {
        symlink("x", tree.cwd().join(format!("docs/.gitmodules{}", " ".repeat(n)))).expect("link");
    }
    let (_, strange) = audited(&trees, &tree, &claim(&["docs/"], &[]));
    assert!((20..=60).contains(&strange.len()), "{strange:?}");
}

#[test]
fn deep_long_and_nameless_paths_do_not_stop_an_audit() {
    let (_house, trees, tree) = House::with_tree();
    let long = "n".repeat(255);
    put(&tree.cwd().join(format!("docs/{long}/{long}/{long}/file")), "deep");
    let bytes = std::ffi::OsStr::from_bytes(b"docs/\xff\xfe");
    fsx::put(&tree.cwd().join(bytes), b"x").expect("a name that is no text");
    put(&tree.cwd().join("docs/-f"), "x");
    put(&tree.cwd().join("docs/line\nbreak"), "x");
    put(&tree.cwd().join("docs/:(top)x"), "x");
    // Longer than the system takes in one piece: made step by step.
    let mut at = open_dir(rustix::fs::CWD, &tree.cwd().join("docs"));
    for _ in 0..18 {
        let name = PathBuf::from("d".repeat(250));
        rustix::fs::mkdirat(&at, &name, 0o700.into()).expect("dir");
        at = open_dir(&at, &name);
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    rustix::fs::openat(&at, "file", flags, 0o600.into()).expect("file");
    let (changes, strange) = audited(&trees, &tree, &claim(&["docs/"], &[]));
    assert_eq!(changes.len(), 4, "{changes:?}");
    assert_eq!(strange.len(), 2, "what is too deep, and what has no name: {strange:?}");
    trees.remove(&tree).expect("it goes all the same");
    assert!(!tree.dir().exists());
}

#[test]
fn a_huge_file_is_named_and_not_read() {
    let (_house, trees, tree) = House::with_tree();
    sparse(&tree.cwd().join("docs/huge"), 1 << 40);
    put(&tree.cwd().join("docs/new.md"), "x");
    let (changes, strange) = audited(&trees, &tree, &claim(&["docs/"], &[]));
    assert_eq!(changes, ["A docs/new.md"]);
    assert_eq!(strange, ["docs/huge: too large to land"]);
    sparse(&tree.cwd().join("large"), 65 << 20);
    fsx::remove(&tree.cwd().join("docs/huge")).expect("gone");
    let (_, strange) = audited(&trees, &tree, &claim(&["docs/"], &[]));
    assert_eq!(strange, ["large: too large to keep, and not claimed"]);
}

#[test]
fn more_files_than_anybody_keeps_are_named_once() {
    let (_house, trees, tree) = House::with_tree();
    fsx::make_dirs(&tree.cwd().join("many")).expect("dir");
    for n in 0..5100 {
        sparse(&tree.cwd().join(format!("many/{n}")), 0);
    }
    let (changes, strange) = audited(&trees, &tree, &Claim::default());
    assert_eq!((changes.len(), strange.len()), (5000, 1), "{strange:?}");
    assert!(strange[0].contains("one of more unclaimed files than are kept"), "{strange:?}");
}

#[test]
fn a_submodule_neither_appears_nor_changes() {
    let house = House::furnished();
    let commit = house.git(&["rev-parse", "HEAD"]);
    house.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},old")]);
    house.git(&["commit", "-q", "-m", "a link without .gitmodules"]);
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    assert_eq!(audited(&trees, &tree, &claim(&["."], &[])), (Vec::new(), Vec::new()));
    put(&tree.cwd().join("old/file"), "x");
    put(&tree.cwd().join("new/.git"), "gitdir: /nowhere\n");
    let (changes, strange) = audited(&trees, &tree, &claim(&["."], &[]));
    assert_eq!(changes, [""; 0]);
    assert_eq!(strange, ["new: a repository of its own", "old: files in a submodule"]);
    fsx::remove_tree(&tree.cwd().join("old")).expect("gone");
    fsx::remove_tree(&tree.cwd().join("new")).expect("gone");
    put(&tree.cwd().join("old"), "a file in its place");
    assert_eq!(audited(&trees, &tree, &Claim::default()).0, ["M old"]);
}

#[test]
fn objects_that_stand_for_others_do_not_bend_a_base() {
    let (house, trees, tree) = House::with_tree();
    put(&tree.cwd().join("a.txt"), "not claimed\n");
    // A base that seems to hold the change already.
    let blob = house.git(&["hash-object", "-w", tree.cwd().join("a.txt").to_str().expect("utf-8")]);
    let old = house.git(&["rev-parse", "HEAD:a.txt"]);
    house.git(&["replace", &old, &blob]);
    house.git(&["read-tree", "HEAD"]);
    house.git(&["update-index", "--cacheinfo", &format!("100644,{blob},a.txt")]);
    let object = house.git(&["write-tree"]);
    let lie = house.git(&["commit-tree", "-m", "lie", &object]);
    house.git(&["replace", "HEAD", &lie]);
    assert_eq!(audited(&trees, &tree, &Claim::default()).0, ["M a.txt"]);
}

#[test]
fn what_is_too_large_for_a_patch_is_named_in_it() {
    let (_house, trees, tree) = House::with_tree();
    // Text that does not shrink, and a small file in another part of the patch.
    for n in 0..60 {
        put(&tree.cwd().join(format!("a{n:02}")), "small\n");
    }
    let large = "0123456789abcde\n".repeat(40 << 16);
    for n in 0..2 {
        put(&tree.cwd().join(format!("z{n}")), &large);
    }
    let found = trees.audit(&tree, &Claim::default()).expect("audit");
    put(&tree.cwd().join("nested/.git/HEAD"), "x");
    let found = Audited {
        violations: trees.audit(&tree, &Claim::default()).expect("audit").violations,
        ..found
    };
    let patch = trees.patch_of_attempt(&found).expect("no trouble");
    let patch = String::from_utf8_lossy(&patch);
    assert!(patch.contains("+++ b/a00") && patch.len() < 64 << 20);
    assert!(patch.contains("numerus: too large for a patch, see the tree: \"z0\""));
    assert!(
        patch.contains("no patch holds it, see the tree: \"nested\" (a repository of its own)")
    );
}

#[test]
fn a_file_that_git_cannot_read_is_a_violation_and_no_trouble() {
    let house = House::furnished();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // Git runs as the owner of the repository, and a file with a second name is not given to that one.
        house.give_to(12345);
    }
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    let secret = house.scratch.path().join("secret");
    put(&secret, "for one alone");
    let mode = if is_root { 0o600 } else { 0o000 };
    fs::set_permissions(&secret, PermissionsExt::from_mode(mode)).expect("closed");
    fs::hard_link(&secret, tree.cwd().join("docs/secret")).expect("a second name");
    put(&tree.cwd().join("docs/new.md"), "new");
    let (changes, strange) = audited(&trees, &tree, &claim(&["docs/"], &[]));
    assert_eq!(changes, ["A docs/new.md"]);
    assert!(strange.len() == 1 && strange[0].starts_with("docs/secret: "), "{strange:?}");
}
