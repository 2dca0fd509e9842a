//! What lands, in which order, and whatever happens to the repository meanwhile.

use std::collections::BTreeSet;

use super::*;

#[test]
fn two_disjoint_tasks_land_one_after_the_other() {
    let house = House::furnished();
    put(&house.repo().join("a.txt"), "the user is at work\n");
    let before = house.user_view();
    let trees = house.trees();
    assert!(trees.workspace().dirty);
    let (one, two) = (house.add(&trees, "t1"), house.add(&trees, "t2"));
    put(&one.cwd().join("src/one.rs"), "ONE\n");
    put(&two.cwd().join("docs/new.md"), "NEW\n");
    fsx::remove(&two.cwd().join("docs/x.md")).expect("gone");
    let first = land(&trees, &one, &claim(&["src/one.rs"], &["docs/y.md"]), "t1");
    let second = land(&trees, &two, &claim(&["docs/"], &["src/two.rs"]), "t2");
    let (Landing::Ready { commit: a, parent: base }, Landing::Ready { commit: b, parent }) =
        (&first, &second)
    else {
        panic!("both land: {first:?} {second:?}");
    };
    assert_eq!((base, parent), (&trees.workspace().base, a));
    assert!(trees.is_landed(a).expect("landed") && trees.is_landed(b).expect("landed"));
    assert!(!trees.is_landed(&"1".repeat(40)).expect("not landed"));
    assert_eq!(
        house.git(&["ls-tree", "-r", "--name-only", b]),
        ".gitignore\na.txt\ndocs/new.md\nsrc/one.rs\nsrc/two.rs"
    );
    assert_eq!(house.git(&["show", &format!("{b}:src/one.rs")]), "ONE");
    let log = house.git(&["log", "-1", "--format=%an%n%B", b]);
    assert_eq!(
        log.trim(),
        "Someone\ndo it\n\nwith care\n\nNumerus-Job: job-abc234\nNumerus-Task: t2\nNumerus-Role: executor"
    );
    let branch = trees.create_branch(b).expect("branch");
    assert_eq!(branch, "numerus/job-abc234");
    assert_eq!(trees.create_branch(b).expect("again"), branch);
    assert_eq!(trees.create_branch(a).expect("other work"), "numerus/job-abc234-2");
    trees.remove(&one).expect("remove");
    trees.remove(&two).expect("remove");
    assert!(!one.dir().exists() && !one.admin().exists());
    assert_eq!(house.user_view(), before);
    assert_eq!(house.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
}

#[test]
fn a_ref_that_a_killed_git_left_locked_is_set_all_the_same() {
    let (house, trees, _tree) = House::with_tree();
    let tip = trees.tip().expect("tip");
    let own = ["tip", "published"].map(|name| format!("refs/numerus/job-abc234/{name}.lock"));
    for lock in own.iter().map(String::as_str).chain(["refs/heads/numerus/job-abc234.lock"]) {
        put(&house.repo().join(".git").join(lock), "half a name");
    }
    let branch = house.trees().create_branch(&tip).expect("branch");
    assert_eq!(branch, "numerus/job-abc234");
    assert_eq!(house.git(&["rev-parse", "refs/numerus/job-abc234/published"]).trim(), tip);
}

#[test]
fn a_tree_takes_no_entry_with_it_but_its_own() {
    let (house, trees, tree) = House::with_tree();
    let worktrees = house.repo().join(".git/worktrees");
    let theirs = house.scratch.path().join("theirs");
    house.git(&["worktree", "add", "-q", "--detach", &theirs.display().to_string()]);
    let stranger = house.scratch.path().join("stranger");
    put(&stranger.join("gitdir"), &tree.dir().join(".git").display().to_string());
    for admin in [worktrees.join("theirs"), stranger.clone()] {
        let place = house.folder.place("t1");
        let (base, birth) = (tree.base().to_owned(), tree.birth().clone());
        let lying = Tree::known(&place, 1, "", base, admin.clone(), birth);
        // Git judges, and finds by the folder what the entry is.
        let _found_or_not = trees.remove(&lying);
        assert!(admin.join("gitdir").exists(), "{}", admin.display());
    }
    assert!(!tree.admin().exists() && theirs.join("a.txt").exists());
    house.git(&["worktree", "remove", &theirs.display().to_string()]);
    let alone = house.add(&trees, "t2");
    trees.remove(&alone).expect("remove");
    assert!(!worktrees.exists(), "the last one takes the folder along");
}

#[test]
fn what_lands_lies_in_a_pack_that_git_can_use_without_its_mark() {
    let (house, trees, tree) = House::with_tree();
    put(&tree.cwd().join("src/one.rs"), "ONE\n");
    let landed = land(&trees, &tree, &claim(&["src/one.rs"], &[]), "t1");
    let Landing::Ready { commit, .. } = landed else { panic!("it lands: {landed:?}") };
    let packs = fsx::list(&house.repo().join(".git/objects/pack")).expect("packs");
    let endings: BTreeSet<&str> = packs.iter().filter_map(|p| p.rsplit('.').next()).collect();
    assert_eq!(endings, BTreeSet::from(["idx", "pack"]));
    let loose = house.repo().join(".git/objects").join(&commit[..2]).join(&commit[2..]);
    fsx::remove(&loose).expect("the loose one");
    assert_eq!(house.git(&["cat-file", "-t", &commit]), "commit");
    house.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_path_that_moved_under_a_task_lets_nothing_land() {
    let house = House::furnished();
    let trees = house.trees();
    let (one, two) = (house.add(&trees, "t1"), house.add(&trees, "t2"));
    put(&one.cwd().join("src/one.rs"), "ONE\n");
    put(&two.cwd().join("src/two.rs"), "TWO\n");
    land(&trees, &one, &claim(&["src/one.rs"], &[]), "t1");
    let tip = trees.tip().expect("tip");
    let landing = land(&trees, &two, &claim(&["src/two.rs"], &["src/one.rs"]), "t2");
    assert_eq!(landing, Landing::Moved(vec!["src/one.rs".to_owned()]));
    assert_eq!(trees.tip().expect("tip"), tip);
    let base = &trees.workspace().base;
    assert!(!trees.advance(base, base).expect("the tip is elsewhere"));
    assert!(trees.advance(&tip, base).expect("done before is done"));
}

/// What `git gc --prune=now` takes away: every object that nothing leads to.
fn collect(house: &House) {
    house.git(&["prune", "--expire=now"]);
}

#[test]
fn what_a_collection_took_away_between_audit_and_landing_is_made_again() {
    let (house, trees, tree) = House::with_tree();
    put(&tree.cwd().join("src/deep/new.rs"), "NEW\n");
    let claim = claim(&["src/"], &[]);
    let task = task("t1");
    let prepare = |audited: &Audited| {
        let audit = judge(&audited.changes, &claim, "");
        let judged = Judged { landing: &audit.landing, reads: &[] };
        trees.prepare(&tree, audited, judged, words(&task), &trees.tip().expect("tip"))
    };
    let audited = trees.audit(&tree, &claim).expect("audit");
    collect(&house);
    let landing = prepare(&audited);
    // Git may take a tree that is gone for granted; then the tip must not move to it.
    if let Ok(Landing::Ready { commit, parent }) = &landing {
        assert!(matches!(trees.advance(commit, parent), Err(TreesError::Gone { .. })));
    }
    let audited = trees.audit(&tree, &claim).expect("again");
    let Landing::Ready { commit, parent } = prepare(&audited).expect("prepared") else {
        panic!("it lands")
    };
    let blob = house.git(&["rev-parse", &format!("{commit}:src/deep/new.rs")]);
    let object = house.repo().join(".git/objects").join(&blob[..2]).join(&blob[2..]);
    fsx::remove(&object).expect("one object of the commit");
    let gone = trees.advance(&commit, &parent);
    assert!(matches!(gone, Err(TreesError::Gone { .. })), "{gone:?}");
    assert_eq!(trees.tip().expect("tip"), parent);
    let landed = land(&trees, &tree, &claim, "t1");
    assert!(matches!(landed, Landing::Ready { .. }), "{landed:?}");
    collect(&house);
    house.git(&["fsck", "--connectivity-only"]);
}

#[test]
fn a_collection_that_looked_before_a_landing_and_deletes_after_it_takes_nothing_of_it() {
    let house = House::furnished();
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("src/deep/new.rs"), "NEW\n");
    let loose = |id: &str| house.repo().join(".git/objects").join(&id[..2]).join(&id[2..]);
    let Landing::Ready { commit, .. } = land(&trees, &tree, &claim(&["src/"], &[]), "t1") else {
        panic!("it lands")
    };
    let added = house.git(&["rev-list", "--objects", &format!("{commit}^..{commit}")]);
    for line in added.lines() {
        fsx::remove(&loose(line.split(' ').next().unwrap_or_default())).expect("a late deletion");
    }
    house.git(&["fsck", "--connectivity-only"]);
    house.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(house.git(&["show", &format!("{commit}:src/deep/new.rs")]), "NEW");
    let packs = fsx::list(&house.repo().join(".git/objects/pack")).expect("packs");
    assert!(
        packs.iter().all(|name| Path::new(name).extension().is_none_or(|end| end != "keep")),
        "{packs:?}"
    );
    assert_eq!(fsx::list(&house.repo().join(".git/numerus/packs")).expect("aside"), [""; 0]);
}

#[test]
fn a_tree_nobody_wrote_in_moves_to_the_tip() {
    let house = House::furnished();
    let trees = house.trees();
    let (one, mut two) = (house.add(&trees, "t1"), house.add(&trees, "t2"));
    put(&one.cwd().join("src/one.rs"), "ONE\n");
    land(&trees, &one, &claim(&["src/one.rs"], &[]), "t1");
    let tip = trees.tip().expect("tip");
    assert_eq!(trees.changed_between(two.base(), &tip).expect("paths"), ["src/one.rs"]);
    trees.move_to(&mut two, &tip).expect("untouched");
    assert_eq!(two.base(), tip);
    assert_eq!(std::fs::read_to_string(two.cwd().join("src/one.rs")).expect("file"), "ONE\n");
    assert_eq!(
        letters(&trees.audit(&two, &Claim::default()).expect("audit")),
        Vec::<String>::new()
    );
    put(&two.cwd().join("src/one.rs"), "mine\n");
    assert!(trees.move_to(&mut two, &trees.workspace().base.clone()).is_err());
}

#[test]
fn a_patch_of_the_job_applies_to_its_base() {
    let (house, trees, tree) = House::with_tree();
    put(&tree.cwd().join("src/one.rs"), "ONE\n");
    std::fs::set_permissions(tree.cwd().join("a.txt"), PermissionsExt::from_mode(0o755))
        .expect("m");
    land(&trees, &tree, &claim(&["."], &[]), "t1");
    let tip = trees.tip().expect("tip");
    let patch = trees.patch(&trees.workspace().base, &tip).expect("patch");
    let file = house.scratch.path().join("p");
    fsx::put(&file, &patch).expect("file");
    house.git(&["apply", "--index", file.to_str().expect("utf-8")]);
    assert_eq!(house.git(&["write-tree"]), house.git(&["rev-parse", &format!("{tip}^{{tree}}")]));
}

#[test]
fn six_tasks_side_by_side_all_land() {
    let house = House::furnished();
    let trees = house.trees();
    let names = ["t1", "t2", "t3", "t4", "t5", "t6"];
    let turn = std::sync::Mutex::new(());
    std::thread::scope(|threads| {
        for name in names {
            let (house, trees, turn) = (&house, &trees, &turn);
            threads.spawn(move || {
                let tree = house.add(trees, name);
                put(&tree.cwd().join(name), name);
                let claim = claim(&[name], &[]);
                let _turn = turn.lock().expect("turn");
                let landing = land(trees, &tree, &claim, name);
                assert!(matches!(landing, Landing::Ready { .. }), "{landing:?}");
                trees.remove(&tree).expect("remove");
            });
        }
    });
    let files = house.git(&["ls-tree", "--name-only", &trees.tip().expect("tip")]);
    assert!(names.iter().all(|name| files.lines().any(|f| f == *name)), "{files}");
    let line = house.git(&["rev-list", "--count", &trees.tip().expect("tip")]);
    assert_eq!(line, "7", "one commit a task, and the first");
}
