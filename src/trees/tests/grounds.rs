//! What a job can work in, and as whom.

use super::*;

#[test]
fn a_job_in_a_subdirectory_claims_below_it() {
    let house = House::furnished();
    let workspace = house.fix(Some(&house.repo().join("src")), Isolation::Worktree).expect("fixed");
    assert_eq!(workspace.prefix, "src");
    let trees = Trees::open(&workspace, &house.folder, &workspace.base).expect("trees");
    let tree = house.add(&trees, "t1");
    assert!(tree.cwd().ends_with("tree-1/src"));
    put(&tree.cwd().join("one.rs"), "ONE\n");
    assert!(matches!(land(&trees, &tree, &claim(&["one.rs"], &[]), "t1"), Landing::Ready { .. }));
    assert_eq!(tree.kind("one.rs"), PathKind::File);
    assert_eq!(tree.kind(""), PathKind::Dir);
    symlink("..", tree.cwd().join("up")).expect("link");
    assert_eq!(tree.kind("up/a.txt"), PathKind::LeadsOut);
}

#[test]
fn a_job_without_a_workspace_gets_a_fresh_repository() {
    let house = House::new();
    let workspace = house.fix(None, Isolation::Worktree).expect("fixed");
    assert_eq!(workspace, house.fix(None, Isolation::Worktree).expect("the same after a crash"));
    let trees = Trees::open(&workspace, &house.folder, &workspace.base).expect("trees");
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("hello.txt"), "hello\n");
    let landing = land(&trees, &tree, &claim(&["hello.txt"], &[]), "t1");
    let Landing::Ready { commit, .. } = landing else { panic!("{landing:?}") };
    let checkout = Checkout::of(&workspace);
    let outlook = checkout.look(&commit).expect("look");
    assert_eq!(outlook, Outlook::Forward { to: commit });
    assert_eq!(checkout.bring(&outlook, "x").expect("git"), Ok(()));
    assert!(house.folder.own_workspace().join("hello.txt").exists());
}

#[test]
fn a_repository_without_a_commit_gets_an_empty_base() {
    let house = House::new();
    fsx::make_dirs(&house.repo()).expect("repo");
    house.git(&["init", "-q", "-b", "main"]);
    put(&house.repo().join("untracked"), "x");
    let trees = house.trees();
    assert!(trees.workspace().dirty);
    assert_eq!(house.trees().workspace(), trees.workspace(), "the same after a crash");
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("new"), "x\n");
    assert!(matches!(land(&trees, &tree, &claim(&["new"], &[]), "t1"), Landing::Ready { .. }));
    let head = house.git(&["for-each-ref", "refs/heads"]);
    assert_eq!(head, "", "the user's branch is still unborn");
}

#[test]
fn a_directory_no_job_can_work_in_is_refused_with_the_reason() {
    let house = House::furnished();
    let repo = house.repo();
    let refusal = |house: &House, path: &Path| {
        house.fix(Some(path), Isolation::Worktree).expect_err("refused").to_string()
    };
    crate::trees::provide(&house.folder).expect("made ahead");
    let next_ones = refusal(&house, &house.folder.ready_workspace().join(".git"));
    assert!(next_ones.contains("made for the next job"), "{next_ones}");
    assert!(refusal(&house, Path::new("relative")).contains("absolute"));
    assert!(refusal(&house, &repo.join(".git/objects")).contains("work tree"));
    let bare = house.scratch.path().join("bare.git");
    house.git(&["clone", "-q", "--bare", ".", bare.to_str().expect("utf-8")]);
    assert!(refusal(&house, &bare).contains("bare"));
    assert!(refusal(&house, &house.scratch.path().join("root/runs")).contains("root"));
    assert!(refusal(&house, house.scratch.path()).contains("root"), "it contains the root");
    let plain = house.scratch.path().join("plain");
    fsx::make_dirs(&plain).expect("plain");
    let workspace = house.fix(Some(&plain), Isolation::Worktree).expect("plain is fine");
    assert_eq!((workspace.isolation, workspace.base.as_str()), (Isolation::InPlace, ""));
    let strict = || Options { enforce: Enforce::Strict, ..Options::default() };
    let error = house.fix_with(Some(&plain), strict()).expect_err("nothing enforces it there");
    assert!(error.to_string().contains("`enforce`"), "{error}");
    assert!(house.fix_with(Some(&repo), strict()).is_ok());
    put(&repo.join("src/.gitattributes"), "*.bin filter=lfs\n");
    house.git(&["add", "-A"]);
    house.git(&["commit", "-q", "-m", "lfs"]);
    assert!(refusal(&house, &repo).contains("LFS"));
    put(&repo.join(".gitmodules"), "");
    house.git(&["add", "-A"]);
    house.git(&["commit", "-q", "-m", "modules"]);
    assert!(refusal(&house, &repo).contains("submodules"));
    house.git(&["config", "core.sparseCheckout", "true"]);
    assert!(refusal(&house, &repo).contains("sparse"));
    assert!(house.fix(Some(&repo), Isolation::InPlace).is_ok(), "in place nothing is missing");
}

#[test]
fn root_works_as_the_owner_of_the_repository() {
    let house = House::furnished();
    if !rustix::process::geteuid().is_root() {
        assert_eq!(Git::at(&house.repo()).owner(), None);
        return;
    }
    house.give_to(12345);
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("src/one.rs"), "by root\n");
    put(&tree.cwd().join("src/new/x"), "by root\n");
    let landing = land(&trees, &tree, &claim(&["src/"], &[]), "t1");
    assert!(matches!(landing, Landing::Ready { .. }));
    trees.remove(&tree).expect("remove");
    let is_theirs = |e: &walkdir::DirEntry| {
        e.metadata().is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 12345)
    };
    let all = walkdir::WalkDir::new(house.repo()).into_iter().flatten();
    let strange: Vec<_> = all.filter(|e| !is_theirs(e)).map(|e| e.path().to_owned()).collect();
    assert_eq!(strange, Vec::<PathBuf>::new());
}

#[test]
fn a_fresh_workspace_is_begun_anew_whatever_a_killed_git_left_of_it() {
    for left in [".git/refs/heads/main.lock", ".git/config.lock", ".git/HEAD.lock", ".git/HEAD"] {
        let house = House::new();
        let first = house.fix(None, Isolation::Worktree).expect("first");
        let dir = Path::new(&first.top);
        fsx::remove(&dir.join(".git/refs/heads/main")).expect("as if git had not come so far");
        put(&dir.join(left), "");
        let again = house.fix(None, Isolation::Worktree).expect("again");
        assert_eq!(again.base.len(), 40, "{left}");
        assert_eq!(house.fix(None, Isolation::Worktree).expect("kept").base, again.base);
    }
}

#[test]
fn a_repository_without_commits_gets_its_base_though_a_killed_git_left_a_lock() {
    let house = House::new();
    fsx::make_dirs(&house.repo()).expect("repo");
    house.git(&["init", "-q"]);
    put(&house.repo().join(".git/refs/numerus/job-abc234/base.lock"), "half");
    assert_eq!(house.fix(Some(&house.repo()), Isolation::Worktree).expect("base").base.len(), 40);
}
