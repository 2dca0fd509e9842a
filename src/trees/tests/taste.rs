//! What a repository or a user prefers: an audit sees the same under every setting, and no program of anybody's runs.

use std::os::unix::fs::symlink;

use super::*;

/// Settings and what is done before the job, and that an attempt works as it should under them.
#[expect(clippy::disallowed_methods, reason = "an agent's write")]
fn works_with(what: &str, house: &House) {
    let before = house.user_view();
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    let none = trees.audit(&tree, &Claim::default()).expect(what);
    assert_eq!((letters(&none), none.violations), (Vec::new(), Vec::new()), "{what}: untouched");
    // Touched is not changed.
    for file in ["a.txt", "src/two.rs"] {
        let file = std::fs::OpenOptions::new().append(true).open(tree.cwd().join(file));
        file.and_then(|f| f.set_modified(std::time::SystemTime::UNIX_EPOCH)).expect("touched");
    }
    put(&tree.cwd().join("src/one.rs"), "ONE\n");
    put(&tree.cwd().join("docs/new.md"), "new\n");
    std::fs::set_permissions(tree.cwd().join("docs/x.md"), PermissionsExt::from_mode(0o755))
        .expect("mode");
    symlink("one.rs", tree.cwd().join("src/link")).expect("link");
    let audited = trees.audit(&tree, &claim(&["src/"], &[])).expect(what);
    assert_eq!(
        letters(&audited),
        ["A docs/new.md", "M docs/x.md", "A src/link", "M src/one.rs"],
        "{what}"
    );
    let audit = judge(&audited.changes, &claim(&["src/"], &[]), "");
    let patch = trees.patch_of(&audited, &audit.outside).expect(what);
    assert!(String::from_utf8_lossy(&patch).contains("+++ b/docs/new.md\n"), "{what}");
    fsx::remove(&tree.cwd().join("docs/new.md")).expect("gone");
    std::fs::set_permissions(tree.cwd().join("docs/x.md"), PermissionsExt::from_mode(0o644))
        .expect("mode");
    let landing = land(&trees, &tree, &claim(&["src/"], &[]), "t1");
    let Landing::Ready { commit, .. } = landing else { panic!("{what}: {landing:?}") };
    let names = ["diff-tree", "-r", "--no-renames", "--name-only", "main", &commit];
    assert_eq!(house.git(&names), "src/link\nsrc/one.rs", "{what}");
    let mut next = house.add(&trees, "t2");
    trees.move_to(&mut next, &trees.workspace().base.clone()).expect(what);
    assert_eq!(letters(&trees.audit(&next, &Claim::default()).expect(what)), [""; 0], "{what}");
    trees.remove(&tree).expect(what);
    trees.remove(&next).expect(what);
    assert_eq!(house.user_view(), before, "{what}");
}

#[test]
fn an_audit_is_the_same_under_every_setting() {
    // The settings of a furnished house are hostile too: no modes, no links, no times.
    let index: &[&str] = &[
        "core.splitIndex=true",
        "core.untrackedCache=true",
        "core.preloadIndex=true",
        "index.version=4",
        "index.sparse=true",
        "index.skipHash=true",
        "core.autocrlf=input",
        "core.safecrlf=true",
        "core.ignoreCase=true",
        "core.precomposeUnicode=true",
    ];
    let features: &[&str] = &[
        "feature.manyFiles=true",
        "feature.experimental=true",
        "core.autocrlf=true",
        "core.protectNTFS=false",
        "core.bigFileThreshold=1",
        "core.logAllRefUpdates=always",
        "core.fsmonitor=false",
        "checkout.workers=4",
    ];
    let words: &[&str] = &[
        "core.quotePath=false",
        "core.abbrev=4",
        "core.eol=crlf",
        "core.attributesFile=/nowhere",
        "core.excludesFile=/nowhere",
        "status.showUntrackedFiles=no",
        "status.renames=copies",
        "diff.renames=copies",
        "diff.external=false",
        "diff.noprefix=true",
        "diff.mnemonicPrefix=true",
        "diff.ignoreSubmodules=all",
        "diff.orderFile=/nowhere",
        "diff.relative=true",
        "color.ui=always",
        "submodule.recurse=true",
        "worktree.guessRemote=true",
        "worktree.useRelativePaths=true",
        "merge.renames=false",
        "commit.gpgSign=true",
        "safe.bareRepository=explicit",
        "i18n.commitEncoding=ISO-8859-1",
        "alias.diff-tree=!false",
    ];
    for settings in [index, features, words] {
        let house = House::furnished();
        for setting in settings {
            let (name, value) = setting.split_once('=').expect("a setting");
            house.git(&["config", name, value]);
        }
        works_with(settings[0], &house);
    }
}

#[test]
fn a_repository_of_another_format_works() {
    let formats: [&[&str]; 3] =
        [&["--object-format=sha256"], &["--ref-format=reftable"], &["--ref-format=files"]];
    for format in formats {
        let house = House::new();
        fsx::make_dirs(&house.repo()).expect("repo");
        let init = [&["init", "-q", "-b", "main"], format].concat();
        let known = Command::new("git").current_dir(house.repo()).args(&init).output();
        if !known.expect("git").status.success() {
            continue; // This git does not know the format, and so nobody has such a repository.
        }
        house.furnish();
        works_with(&format!("{format:?}"), &house);
    }
}

#[test]
fn own_settings_of_a_worktree_a_partial_clone_and_a_shallow_one_work() {
    let house = House::furnished();
    house.git(&["config", "extensions.worktreeConfig", "true"]);
    house.git(&["config", "--worktree", "core.autocrlf", "input"]);
    works_with("worktreeConfig", &house);
    for how in ["--filter=blob:none", "--depth=1"] {
        let far = House::furnished();
        far.git(&["config", "uploadpack.allowFilter", "true"]);
        far.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let house = House::new();
        fsx::make_dirs(&house.repo()).expect("repo");
        let url = format!("file://{}", far.repo().display());
        house.git(&["clone", "-q", how, &url, "."]);
        house.git(&["config", "user.name", "Someone"]);
        house.git(&["config", "user.email", "someone@localhost"]);
        works_with(how, &house);
    }
}

#[test]
fn a_checkout_that_is_a_worktree_itself_works() {
    let house = House::furnished();
    let side = house.scratch.path().join("side");
    house.git(&["worktree", "add", "-q", "-b", "side", side.to_str().expect("utf-8")]);
    let workspace = house.fix(Some(&side), Isolation::Worktree).expect("fixed");
    let trees = Trees::open(&workspace, &house.folder, &workspace.base).expect("trees");
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("src/one.rs"), "ONE\n");
    assert!(matches!(land(&trees, &tree, &claim(&["src/"], &[]), "t1"), Landing::Ready { .. }));
}

#[test]
fn links_and_line_ends_of_the_base_are_no_changes() {
    for setting in ["core.symlinks=false", "core.autocrlf=true", "core.eol=crlf"] {
        let house = House::furnished();
        symlink("a.txt", house.repo().join("link")).expect("link");
        put(&house.repo().join("crlf.txt"), "one\r\ntwo\r\n");
        put(&house.repo().join("wide.txt"), "\u{feff}wide\n");
        put(
            &house.repo().join(".gitattributes"),
            "*.rs text=auto ident\n*.md text eol=crlf\ncrlf.txt -text\n",
        );
        for args in [
            &["config", "core.symlinks", "true"][..],
            &["add", "-A"],
            &["commit", "-q", "-m", "more"],
        ] {
            house.git(args);
        }
        let (name, value) = setting.split_once('=').expect("a setting");
        house.git(&["config", name, value]);
        let trees = house.trees();
        let tree = house.add(&trees, "t1");
        for file in ["crlf.txt", "docs/x.md", "src/one.rs", "a.txt", "wide.txt"] {
            let text = std::fs::read(tree.cwd().join(file)).expect("file");
            fsx::put(&tree.cwd().join(file), &text).expect("written again");
        }
        assert!(tree.cwd().join("link").is_symlink(), "{setting}");
        fsx::remove(&tree.cwd().join("link")).expect("gone");
        symlink("a.txt", tree.cwd().join("link")).expect("made again");
        let audited = trees.audit(&tree, &Claim::default()).expect("audit");
        assert_eq!(letters(&audited), [""; 0], "{setting}");
    }
}

#[test]
fn a_filter_that_is_a_program_is_refused_and_one_that_comes_later_does_not_run() {
    let house = House::furnished();
    let ran = house.scratch.path().join("ran");
    let program = format!("sh -c 'echo $0 >> {}; cat' %f", ran.display());
    put(&house.repo().join(".gitattributes"), "*.rs filter=mine\n");
    house.git(&["add", "-A"]);
    house.git(&["commit", "-q", "-m", "a name without a program"]);
    works_with("a filter without a program", &house);
    for way in ["clean", "smudge", "process"] {
        house.git(&["config", &format!("filter.mine.{way}"), &program]);
        let refused = house.fix(Some(&house.repo()), Isolation::Worktree).expect_err("refused");
        let text = refused.to_string();
        assert!(text.contains("src/one.rs goes through the filter \"mine\""), "{text}");
        house.git(&["config", "--unset", &format!("filter.mine.{way}")]);
    }
    // One that nothing of the base goes through, and attributes that appear while an agent works.
    house.git(&["config", "filter.other.clean", &program]);
    let trees = house.trees();
    let tree = house.add(&trees, "t1");
    for way in ["clean", "smudge", "process"] {
        house.git(&["config", &format!("filter.mine.{way}"), &program]);
        house.git(&["config", &format!("filter.other.{way}"), &program]);
    }
    house.git(&["config", "filter.mine.required", "true"]);
    put(&house.repo().join(".git/info/attributes"), "* filter=other\n");
    put(&tree.cwd().join("src/one.rs"), "another\n");
    let audited = trees.audit(&tree, &Claim::default()).expect("audit");
    assert_eq!((letters(&audited), audited.violations), (vec!["M src/one.rs".to_owned()], vec![]));
    let patch = trees.patch(&audited.base, &audited.tree).expect("patch");
    assert!(String::from_utf8_lossy(&patch).contains("+another"));
    let next = house.add(&trees, "t2");
    trees.audit(&next, &Claim::default()).expect("audit");
    assert!(!ran.exists(), "{:?}", std::fs::read_to_string(ran));
}

#[test]
fn a_work_tree_elsewhere_is_refused() {
    let house = House::furnished();
    house.git(&["config", "core.worktree", "/nowhere"]);
    let refused = house.fix(Some(&house.repo()), Isolation::Worktree);
    assert!(matches!(refused, Err(TreesError::Refused { .. })), "{refused:?}");
}
