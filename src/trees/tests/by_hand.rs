//! What is done without git in a repository of our own is what git would have done, and what is otherwise is left to git.

use super::*;
use crate::trees::by_hand::{EMPTY_INDEX, RefMove};
use crate::trees::fresh::COMMIT;

const TIP: &str = "refs/numerus/job-abc234/tip";

/// A job with a repository of its own.
fn own() -> (House, Trees) {
    let house = House::new();
    let workspace = house.fix(None, Isolation::Worktree).expect("a repository");
    let trees = Trees::open(&workspace, &house.folder, &workspace.base).expect("trees");
    (house, trees)
}

fn git_dir(trees: &Trees) -> &Path {
    Path::new(&trees.workspace.git_dir)
}

/// What git says in the repository, or in a tree.
fn says(dir: &Path, args: &[&str]) -> String {
    let out = Git::at(dir).read(args).run().expect("git");
    String::from_utf8(out).expect("text").trim_end().to_owned()
}

fn entries(trees: &Trees) -> Vec<String> {
    fsx::list(&git_dir(trees).join("worktrees")).expect("entries")
}

/// A word after which `add_empty` and `move_refs` leave everything to git.
fn change_settings(trees: &Trees) {
    says(git_dir(trees), &["config", "core.abbrev", "12"]);
}

#[test]
fn a_tree_without_files_is_what_git_makes() {
    let (house, trees) = own();
    let ours = house.add(&trees, "t1");
    change_settings(&trees);
    let gits = house.add(&trees, "t2");
    for name in ["HEAD", "commondir", "gitdir", "index"] {
        let read = |tree: &Tree| std::fs::read(tree.admin().join(name)).expect(name);
        let of = |tree: &Tree| {
            let text = String::from_utf8_lossy(&read(tree)).into_owned();
            text.replace(&tree.dir().display().to_string(), "TREE")
        };
        assert_eq!(of(&ours), of(&gits), "{name}");
    }
    assert_eq!(std::fs::read(gits.admin().join("index")).expect("index"), EMPTY_INDEX);
    let list = says(git_dir(&trees), &["worktree", "list", "--porcelain"]);
    let told = |tree: &Tree, why: &str| {
        format!("worktree {}\nHEAD {COMMIT}\ndetached\nlocked {why}", tree.dir().display())
    };
    assert!(list.contains(&told(&ours, "numerus")), "{list}");
    assert!(list.contains(&told(&gits, "added with --lock")), "{list}");
    assert_eq!(says(ours.dir(), &["status", "--porcelain"]), "");
    assert_eq!(says(git_dir(&trees), &["fsck", "--strict", "--no-dangling"]), "");
    for tree in [ours, gits] {
        trees.remove(&tree).expect("removed");
    }
    assert!(!git_dir(&trees).join("worktrees").exists(), "nothing of them is left");
}

#[test]
fn an_agent_may_use_git_in_a_tree_without_files() {
    let (house, trees) = own();
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("a"), "a\n");
    says(tree.dir(), &["add", "a"]);
    let who = ["-c", "user.name=x", "-c", "user.email=x@localhost"];
    says(tree.dir(), &[&who[..], &["commit", "-q", "-m", "x"]].concat());
    assert_eq!(says(tree.dir(), &["ls-tree", "--name-only", "HEAD"]), "a");
    assert_eq!(says(tree.dir(), &["status", "--porcelain"]), "");
    assert_eq!(trees.tip().expect("tip"), COMMIT, "what it commits is its own");
    assert_eq!(letters(&trees.audit(&tree, &Claim::default()).expect("audit")), ["A a"]);
}

#[test]
fn whoever_dies_while_a_tree_is_made_leaves_room_for_the_next() {
    let made = |house: &House, trees: &Trees| {
        let tree = house.add(trees, "t1");
        assert_eq!(says(tree.dir(), &["status", "--porcelain"]), "");
        assert_eq!(entries(trees).len(), 1, "{:?}", entries(trees));
    };
    for missing in [&["HEAD"][..], &["HEAD", "gitdir"], &["HEAD", "gitdir", "commondir", "locked"]]
    {
        let (house, trees) = own();
        let half = house.add(&trees, "t1");
        for name in missing {
            fsx::remove(&half.admin().join(name)).expect("removed");
        }
        made(&house, &trees);
    }
    let (house, trees) = own();
    fsx::remove_tree(house.add(&trees, "t1").dir()).expect("the tree is gone, its entry is not");
    made(&house, &trees);
    let (house, trees) = own();
    house.add(&trees, "t1");
    made(&house, &trees);
}

#[test]
fn a_tree_below_a_link_is_known_by_its_real_path() {
    let d = tempfile::tempdir().expect("scratch");
    let real = d.path().canonicalize().expect("real").join("root");
    fsx::make_dirs(&real.join("runs")).expect("root");
    symlink(&real, d.path().join("link")).expect("link");
    let root = Root::new(d.path().join("link"));
    let folder = Runs::of(&root).create(&JobId::parse("job-abc234").expect("id")).expect("folder");
    let ground = Ground { root: root.path(), codex_home: None };
    let workspace = fix(&Options::default(), &folder, ground).expect("a repository");
    let trees = Trees::open(&workspace, &folder, &workspace.base).expect("trees");
    let tree = trees.add(&folder.place("t1"), 1, COMMIT).expect("tree");
    let lies_at = real.join("runs/job-abc234/t1").join(tree.dir().file_name().expect("name"));
    let list = says(git_dir(&trees), &["worktree", "list", "--porcelain"]);
    assert!(list.contains(&format!("worktree {}\n", lies_at.display())), "{list}");
    assert_eq!(says(tree.dir(), &["status", "--porcelain"]), "");
    trees.remove(&tree).expect("removed");
    assert!(!git_dir(&trees).join("worktrees").exists(), "nothing of it is left");
}

#[test]
fn what_is_no_entry_keeps_no_tree_from_being_made() {
    let (house, trees) = own();
    let entries = git_dir(&trees).join("worktrees");
    fsx::make_dirs(&entries.join("folder/gitdir")).expect("a folder");
    for name in ["file", "tree-0", "no-text/gitdir"] {
        fsx::make_dirs(entries.join(name).parent().expect("parent")).expect("dirs");
        fsx::put(&entries.join(name), b"\xff\n").expect("put");
    }
    symlink("file", entries.join("link")).expect("link");
    fsx::make_dirs(&entries.join("pipe")).expect("a folder");
    let pipe = Command::new("mkfifo").arg(entries.join("pipe/gitdir")).status();
    assert!(pipe.expect("mkfifo").success());
    let tree = house.add(&trees, "t1");
    assert_eq!(std::fs::read(tree.admin().join("index")).expect("index"), EMPTY_INDEX);
    assert!(trees.is_entry_of(tree.admin(), tree.dir()));
}

#[test]
fn trees_of_several_tasks_have_entries_of_their_own() {
    let (house, trees) = own();
    let made = ["t1", "t2", "t3"].map(|task| house.add(&trees, task));
    assert_eq!(entries(&trees).len(), 3);
    for tree in &made {
        assert!(trees.is_entry_of(tree.admin(), tree.dir()), "{tree:?}");
    }
}

#[test]
fn a_ref_moves_from_the_value_that_it_is_known_to_have() {
    let (house, trees) = own();
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("a"), "a\n");
    let Landing::Ready { commit, parent } = land(&trees, &tree, &claim(&["a"], &[]), "t1") else {
        panic!("it lands");
    };
    let now = || says(git_dir(&trees), &["rev-parse", TIP]);
    assert_eq!((now(), parent.as_str()), (commit.clone(), COMMIT));
    let set = |old| trees.move_refs(&[RefMove { name: TIP, new: COMMIT, old }]);
    assert!(!set(Some(COMMIT)) && !set(None), "it is not where it was thought to be");
    assert_eq!(now(), commit);
    assert!(set(Some(&commit)));
    assert_eq!(now(), COMMIT);
    let refs = fsx::list(&git_dir(&trees).join("refs/numerus/job-abc234")).expect("refs");
    assert_eq!(refs, ["tip"], "no lock is left");
    let other = RefMove { name: "refs/numerus/job-abc234/published", new: COMMIT, old: None };
    assert!(!trees.move_refs(&[other, RefMove { name: TIP, new: &commit, old: None }]));
    assert!(trees.find_ref(other.name).expect("git").is_none(), "all of them or none");
    assert!(trees.move_refs(&[other, RefMove { name: TIP, new: &commit, old: Some(COMMIT) }]));
    assert_eq!(now(), commit);
    assert_eq!(says(git_dir(&trees), &["rev-parse", other.name]), COMMIT);
}

#[test]
fn what_is_otherwise_than_we_made_it_is_left_to_git() {
    type Change<'a> = &'a dyn Fn(&Trees);
    let locked = |trees: &Trees| put(&git_dir(trees).join(format!("{TIP}.lock")), "");
    let packed = |trees: &Trees| drop(says(git_dir(trees), &["pack-refs", "--all", "--prune"]));
    let lost = |trees: &Trees| {
        let object = git_dir(trees).join(crate::trees::fresh::object(COMMIT));
        let pack = git_dir(trees).join("objects/pack/pack");
        let args = ["pack-objects", "-q", pack.to_str().expect("text")];
        Git::at(git_dir(trees)).write(args).input(COMMIT.as_bytes()).run().expect("packed");
        fsx::remove(&object).expect("removed");
    };
    let elsewhere = |trees: &Trees| put(&git_dir(trees).join("commondir"), ".\n");
    let changes: [(&str, Change<'_>); 5] = [
        ("settings", &change_settings),
        ("a lock", &locked),
        ("packed refs", &packed),
        ("a commit that has no file", &lost),
        ("refs that are elsewhere", &elsewhere),
    ];
    for (what, change) in changes {
        let (house, trees) = own();
        let tree = house.add(&trees, "t1");
        put(&tree.cwd().join("a"), "a\n");
        let set = RefMove { name: TIP, new: COMMIT, old: Some(COMMIT) };
        assert!(trees.move_refs(&[set]), "{what}");
        change(&trees);
        let is_locked = || git_dir(&trees).join(format!("{TIP}.lock")).exists();
        let was_locked = is_locked();
        assert!(!trees.move_refs(&[set]), "{what}");
        assert_eq!(is_locked(), was_locked, "{what}: a lock is its maker's");
        let landing = land(&trees, &tree, &claim(&["a"], &[]), "t1");
        let commit = landing.commit().expect(what).clone();
        assert_eq!(says(git_dir(&trees), &["rev-parse", TIP]), commit, "{what}");
        assert_eq!(trees.create_branch(&commit).expect(what), "numerus/job-abc234");
        let branch = says(git_dir(&trees), &["rev-parse", "refs/heads/numerus/job-abc234"]);
        assert_eq!(branch, commit, "{what}");
    }
}

#[test]
fn a_branch_of_that_name_stays_and_ours_gets_another() {
    for is_packed in [false, true] {
        let (_house, trees) = own();
        let branch = "refs/heads/numerus/job-abc234";
        let other = as_numerus_commit(&trees);
        says(git_dir(&trees), &["update-ref", branch, &other]);
        if is_packed {
            says(git_dir(&trees), &["pack-refs", "--all", "--prune"]);
        }
        assert_eq!(trees.create_branch(COMMIT).expect("another"), "numerus/job-abc234-2");
        assert_eq!(says(git_dir(&trees), &["rev-parse", branch]), other);
        let published = "refs/numerus/job-abc234/published";
        assert_eq!(says(git_dir(&trees), &["rev-parse", published]), COMMIT);
    }
}

fn as_numerus_commit(trees: &Trees) -> String {
    let call = trees.write_durably(["commit-tree", "-m", "x", "HEAD^{tree}"]);
    crate::trees::workspace::as_numerus(call).line().expect("commit")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an agent's files")]
fn what_is_remembered_of_a_landing_is_what_git_says() {
    let (house, trees) = own();
    let tree = house.add(&trees, "t1");
    for (name, bytes) in [
        ("a", &b"no line end"[..]),
        ("b/c \"quoted\"\tand\nbroken", b"x\n"),
        ("\u{fc}ml\u{e4}ut", b"\r\n"),
        ("empty", b""),
        ("binary", b"\0\x01\0\0\xff\n\0"),
        (".gitattributes", b"* -diff\n"),
    ] {
        fsx::make_dirs(tree.cwd().join(name).parent().expect("parent")).expect("dirs");
        std::fs::write(tree.cwd().join(name), bytes).expect("file");
    }
    std::fs::set_permissions(tree.cwd().join("a"), PermissionsExt::from_mode(0o755)).expect("mode");
    symlink("elsewhere", tree.cwd().join("link")).expect("link");
    let landing = land(&trees, &tree, &claim(&["."], &[]), "t1");
    let commit = landing.commit().expect("it lands").clone();
    let anew = Trees::open(trees.workspace(), &house.folder, &commit).expect("without memory");
    assert!(
        trees.recall.patch(None, &commit).is_some() && anew.recall.patch(None, &commit).is_none()
    );
    let patches = [&trees, &anew].map(|trees| trees.patch(COMMIT, &commit).expect("patch"));
    assert_eq!(String::from_utf8_lossy(&patches[0]), String::from_utf8_lossy(&patches[1]));
    let patches = [&trees, &anew].map(|trees| trees.patch_of_commit(&commit).expect("patch"));
    assert_eq!(patches[0], patches[1]);
    let paths = [&trees, &anew]
        .map(|trees| trees.changed_by(std::slice::from_ref(&commit)).expect("paths"));
    assert_eq!(paths[0], paths[1]);
    assert_eq!(paths[0].len(), 7);
    // A second landing is another's patch, and both their paths.
    let two = house.add(&trees, "t2");
    put(&two.cwd().join("a"), "changed\n");
    let landing = land(&trees, &two, &claim(&["a"], &[]), "t2");
    let second = landing.commit().expect("it lands").clone();
    let patches = [&trees, &anew].map(|trees| trees.patch(COMMIT, &second).expect("patch"));
    assert_eq!(patches[0], patches[1]);
    let patches = [&trees, &anew].map(|trees| trees.patch_of_commit(&second).expect("patch"));
    assert_eq!(patches[0], patches[1]);
    let both = [commit, second];
    let paths = [&trees, &anew].map(|trees| trees.changed_by(&both).expect("paths"));
    assert_eq!(paths[0], paths[1]);
}

#[test]
fn a_large_file_is_no_patch_that_is_made_in_passing() {
    let (house, trees) = own();
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("a"), &"x".repeat(64 * 1024 + 1));
    let audited = trees.audit(&tree, &Claim::default()).expect("audit");
    assert_eq!((letters(&audited), audited.patch), (vec!["A a".to_owned()], None));
    fsx::remove(&tree.cwd().join("a")).expect("removed");
    let audited = trees.audit(&tree, &Claim::default()).expect("audit");
    assert_eq!((letters(&audited), audited.patch), (vec![], Some(vec![])), "nothing is small");
}

#[test]
fn many_empty_files_are_no_patch_that_is_made_in_passing() {
    let (house, trees) = own();
    let tree = house.add(&trees, "t1");
    for number in 0..2000 {
        let name = format!("{}{number}", "x".repeat(200));
        drop(fsx::create_new(&tree.cwd().join(name)).expect("file"));
    }
    let audited = trees.audit(&tree, &Claim::default()).expect("audit");
    assert_eq!((audited.changes.len(), audited.patch), (2000, None));
}
