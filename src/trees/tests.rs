//! A task's tree and its audit, through a real repository.

mod blind;
mod by_hand;
mod grounds;
mod landing;
mod naming;
mod taste;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::logic::audit::judge;
use crate::logic::claims::{PathKind, normalise};
use crate::model::claim::{Claim, Resources};
use crate::model::id::{JobId, TaskId};
use crate::model::job::{Enforce, Options};
use crate::model::plan::Role;
use crate::model::root::Root;
use crate::model::workspace::Isolation;
use crate::runs::Runs;

/// A user's repository, a root beside it, and one job.
struct House {
    scratch: tempfile::TempDir,
    folder: RunFolder,
}

impl House {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("scratch");
        let root = Root::new(scratch.path().join("root"));
        fsx::make_dirs(&root.runs()).expect("runs");
        let job = JobId::parse("job-abc234").expect("id");
        let folder = Runs::of(&root).create(&job).expect("folder");
        Self { scratch, folder }
    }

    /// With a repository that holds a few files.
    fn furnished() -> Self {
        let house = Self::new();
        fsx::make_dirs(&house.repo()).expect("repo");
        house.git(&["init", "-q", "-b", "main"]);
        house.furnish();
        house
    }

    /// With a repository, and the first tree of a task in it.
    fn with_tree() -> (Self, Trees, Tree) {
        let house = Self::furnished();
        let trees = house.trees();
        let tree = house.add(&trees, "t1");
        (house, trees, tree)
    }

    /// Puts a few files into a fresh repository.
    fn furnish(&self) {
        let house = self;
        house.git(&["config", "user.name", "Someone"]);
        house.git(&["config", "user.email", "someone@localhost"]);
        // A repository's own taste must not blind an audit.
        for blind in ["core.trustctime", "core.fileMode", "core.symlinks"] {
            house.git(&["config", blind, "false"]);
        }
        house.git(&["config", "core.checkStat", "minimal"]);
        for (path, text) in [
            ("a.txt", "a\n"),
            ("src/one.rs", "one\n"),
            ("src/two.rs", "two\n"),
            ("docs/x.md", "x\n"),
            (".gitignore", "*.log\n/target/\n"),
        ] {
            put(&house.repo().join(path), text);
        }
        house.git(&["add", "-A"]);
        house.git(&["commit", "-q", "-m", "first"]);
    }

    fn repo(&self) -> PathBuf {
        self.scratch.path().join("repo")
    }

    fn git(&self, args: &[&str]) -> String {
        let out = Command::new("git")
            .current_dir(self.repo())
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .output()
            .expect("git");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    fn fix(&self, workspace: Option<&Path>, isolation: Isolation) -> Result<Workspace, TreesError> {
        self.fix_with(workspace, Options { isolation, ..Options::default() })
    }

    fn fix_with(&self, dir: Option<&Path>, options: Options) -> Result<Workspace, TreesError> {
        let workspace = dir.map(|w| w.display().to_string());
        let options = Options { workspace, ..options };
        let root = self.scratch.path().join("root");
        fix(&options, &self.folder, Ground { root: &root, codex_home: None })
    }

    fn trees(&self) -> Trees {
        let workspace = self.fix(Some(&self.repo()), Isolation::Worktree).expect("a repository");
        Trees::open(&workspace, &self.folder, &workspace.base).expect("trees")
    }

    fn add(&self, trees: &Trees, task: &str) -> Tree {
        trees.add(&self.folder.place(task), 1, &trees.tip().expect("tip")).expect("tree")
    }

    /// Gives the repository to another user, as root may, and lets that one reach it.
    fn give_to(&self, user: u32) {
        for dir in [self.scratch.path().to_owned(), self.scratch.path().join("root")] {
            std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).expect("reach");
        }
        for entry in walkdir::WalkDir::new(self.repo()).into_iter().flatten() {
            std::os::unix::fs::lchown(entry.path(), Some(user), Some(user)).expect("root may");
        }
    }

    /// What the user sees and what nobody may touch.
    fn user_view(&self) -> Vec<String> {
        let index = std::fs::read(self.repo().join(".git/index")).unwrap_or_default();
        vec![
            self.git(&["symbolic-ref", "HEAD"]),
            self.git(&["for-each-ref", "--exclude=refs/numerus/", "--exclude=refs/heads/numerus/"]),
            format!("{index:?}"),
            self.git(&["status", "--porcelain", "--ignored"]),
        ]
    }
}

fn put(path: &Path, text: &str) {
    fsx::make_dirs(path.parent().expect("parent")).expect("dirs");
    fsx::put(path, text.as_bytes()).expect("file");
}

fn claim(writes: &[&str], reads: &[&str]) -> Claim {
    let texts = |paths: &[&str]| paths.iter().map(|p| (*p).to_owned()).collect();
    let resources = Resources { reads: texts(reads), writes: texts(writes) };
    normalise(&resources, &|_| PathKind::Missing).expect("claim")
}

fn words(task: &TaskId) -> Words<'_> {
    Words { task, role: Role::Executor, summary: "do it\n\nwith care" }
}

fn task(name: &str) -> TaskId {
    TaskId::parse(name).expect("task")
}

/// The changes as `<letter> <path>`.
fn letters(audited: &Audited) -> Vec<String> {
    let letter = |c: &crate::logic::audit::Change| match (&c.old, &c.new) {
        (None, _) => 'A',
        (_, None) => 'D',
        _ => 'M',
    };
    audited.changes.iter().map(|c| format!("{} {}", letter(c), c.path)).collect()
}

/// Audits, judges and lands.
fn land(trees: &Trees, tree: &Tree, claim: &Claim, name: &str) -> Landing {
    let audited = trees.audit(tree, claim).expect("audit");
    assert_eq!(audited.violations, []);
    let audit = judge(&audited.changes, claim, tree.prefix());
    assert_eq!(audit.outside, []);
    let task = task(name);
    let judged = Judged { landing: &audit.landing, reads: &claim.reads };
    let tip = trees.tip().expect("tip");
    let landing = trees.prepare(tree, &audited, judged, words(&task), &tip).expect("prepare");
    if let Landing::Ready { commit, parent } = &landing {
        assert!(trees.advance(commit, parent).expect("advance"));
    }
    landing
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an agent's copy")]
fn an_audit_sees_every_kind_of_change() {
    let (_house, trees, tree) = House::with_tree();
    let at = |path: &str| tree.cwd().join(path);
    std::fs::copy(at("src/one.rs"), at("src/moved.rs")).expect("rename, first half");
    fsx::remove(&at("src/one.rs")).expect("rename, second half");
    put(&at("src/two.rs"), "TWO\n");
    std::fs::set_permissions(at("a.txt"), PermissionsExt::from_mode(0o755)).expect("mode");
    symlink("/etc/passwd", at("link")).expect("link");
    put(&at("deep/new/file"), "new");
    fsx::remove(&at("docs/x.md")).expect("gone");
    fsx::make_dirs(&at(".codex")).expect("what a sandbox leaves");
    let audited = trees.audit(&tree, &Claim::default()).expect("audit");
    assert_eq!(
        letters(&audited),
        [
            "M a.txt",
            "A deep/new/file",
            "D docs/x.md",
            "A link",
            "A src/moved.rs",
            "D src/one.rs",
            "M src/two.rs"
        ]
    );
    assert_eq!(audited.violations, []);
    assert!(!at(".codex").exists());
    assert_eq!(trees.audit(&tree, &Claim::default()).expect("again"), audited);
}

#[test]
fn an_agent_cannot_hide_what_it_wrote() {
    let (_house, trees, tree) = House::with_tree();
    let at = |path: &str| tree.cwd().join(path);
    put(&at(".gitignore"), "*\n");
    put(&at("sub/.gitignore"), "*\n");
    put(&at("sub/hidden"), "hidden\n");
    put(&at(".gitattributes"), "* text eol=crlf filter=evil -diff\n");
    put(&at("src/one.rs"), "one\r\n");
    let claim = claim(&["src/one.rs"], &[]);
    let audited = trees.audit(&tree, &claim).expect("audit");
    assert_eq!(
        letters(&audited),
        ["A .gitattributes", "M .gitignore", "M src/one.rs", "A sub/.gitignore", "A sub/hidden"]
    );
    let audit = judge(&audited.changes, &claim, "");
    assert_eq!(audit.landing.len(), 1);
    let patch = trees.patch_of(&audited, &audit.outside).expect("patch");
    let patch = String::from_utf8_lossy(&patch);
    assert!(patch.contains("+++ b/sub/hidden") && patch.contains("+hidden"), "{patch}");
    assert!(!patch.contains("src/one.rs"), "{patch}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an agent's write")]
fn a_file_of_the_same_size_and_time_is_still_seen() {
    let (_house, trees, tree) = House::with_tree();
    let path = tree.cwd().join("a.txt");
    let time = path.metadata().and_then(|m| m.modified()).expect("time");
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("file");
    std::io::Write::write_all(&mut file, b"b\n").expect("same size");
    file.set_modified(time).expect("same time");
    let git = |args: &[&str]| Command::new("git").current_dir(tree.cwd()).args(args).output();
    git(&["update-index", "--assume-unchanged", "a.txt"]).expect("the agent's own index");
    assert_eq!(letters(&trees.audit(&tree, &Claim::default()).expect("audit")), ["M a.txt"]);
}

#[test]
fn build_output_is_no_change_but_a_claimed_path_lands_although_ignored() {
    let (_house, trees, tree) = House::with_tree();
    for path in ["target/debug/x", "a.log", "src/b.log", "target/dep/.git/HEAD"] {
        put(&tree.cwd().join(path), "built\n");
    }
    let audited = trees.audit(&tree, &claim(&["src/b.log"], &[])).expect("audit");
    assert_eq!(letters(&audited), ["A src/b.log"]);
    assert_eq!(audited.violations, []);
    let all = trees.audit(&tree, &claim(&["target/debug/"], &[])).expect("audit");
    assert_eq!(letters(&all), ["A target/debug/x"]);
    let around = trees.audit(&tree, &claim(&["."], &[])).expect("audit");
    assert_eq!(letters(&around), Vec::<String>::new(), "nobody asked for build output");
}

#[test]
fn a_pattern_lands_what_it_matches_and_build_output_only_where_it_begins_in_it() {
    let (_house, trees, tree) = House::with_tree();
    let files = ["src/x.c", "src/deep/x.c", "src/x.log", "target/a/x", "target/y", "target/r/.git"];
    for path in files {
        put(&tree.cwd().join(path), "written\n");
    }
    for (text, landing, outside) in [
        ("src/*.c", vec!["src/x.c"], vec!["src/deep/x.c"]),
        ("src/**", vec!["src/deep/x.c", "src/x.c"], vec![]),
        ("target/a/*", vec!["target/a/x"], vec!["src/deep/x.c", "src/x.c"]),
        ("target/*", vec!["target/y"], vec!["src/deep/x.c", "src/x.c"]),
        ("**", vec!["src/deep/x.c", "src/x.c"], vec![]),
    ] {
        let claim = claim(&[text], &[]);
        let audited = trees.audit(&tree, &claim).expect("audit");
        let judged = judge(&audited.changes, &claim, "");
        let paths = |list: &[crate::logic::audit::Change]| -> Vec<String> {
            list.iter().map(|c| c.path.clone()).collect()
        };
        assert_eq!(paths(&judged.landing), landing, "{text}");
        assert_eq!(paths(&judged.outside), outside, "{text}");
        assert_eq!(audited.violations, [], "{text}");
    }
}

#[test]
fn what_git_cannot_hold_is_a_violation() {
    let (_house, trees, tree) = House::with_tree();
    let at = |path: &str| tree.cwd().join(path);
    put(&at("nested/.git/HEAD"), "ref: refs/heads/main\n");
    put(&at("nested/file"), "x");
    put(&at("src/.GIT"), "x");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, 0o600.into(), 0).expect("pipe");
    let audited = trees.audit(&tree, &claim(&["."], &[])).expect("audit");
    let mut paths: Vec<&str> = audited.violations.iter().map(|v| v.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["nested", "pipe", "src/.GIT"]);
    assert_eq!(letters(&audited), Vec::<String>::new());
}

#[test]
fn a_directory_turned_into_a_link_or_a_file_is_seen_whole() {
    let (_house, trees, tree) = House::with_tree();
    let at = |path: &str| tree.cwd().join(path);
    fsx::remove_tree(&at("src")).expect("gone");
    symlink("docs", at("src")).expect("link");
    fsx::remove(&at("a.txt")).expect("gone");
    put(&at("a.txt/inner"), "x");
    let audited = trees.audit(&tree, &Claim::default()).expect("audit");
    assert_eq!(
        letters(&audited),
        ["D a.txt", "A a.txt/inner", "A src", "D src/one.rs", "D src/two.rs"]
    );
}

#[test]
fn links_are_followed_as_the_kernel_does_and_further() {
    let scratch = tempfile::tempdir().expect("scratch");
    let cwd = scratch.path().join("w");
    for path in ["src/deep/a", "b"] {
        put(&cwd.join(path), "x");
    }
    put(&scratch.path().join("outside"), "x");
    for (target, link) in [
        ("src", "link"),
        ("link/deep", "twice"),
        ("deep/../../b", "src/back"),
        ("../w/src", "round"),
        ("nowhere/yet", "dangling"),
        ("../outside", "out"),
        ("../gone", "gone"),
        ("/etc", "etc"),
        ("loop", "loop"),
    ] {
        symlink(target, cwd.join(link)).expect("link");
    }
    symlink(cwd.join("src"), cwd.join("absolute")).expect("link");
    let elsewhere = |path: &str| PathKind::Elsewhere(path.to_owned());
    for (path, kind) in [
        ("src/deep", PathKind::Dir),
        ("b", PathKind::File),
        ("b/c", PathKind::Missing),
        ("new/x", PathKind::Missing),
        ("link", elsewhere("src")),
        ("link/deep/a", elsewhere("src/deep/a")),
        ("link/new/x", elsewhere("src/new/x")),
        ("twice/a", elsewhere("src/deep/a")),
        ("src/back", elsewhere("b")),
        ("round/deep", elsewhere("src/deep")),
        ("absolute/deep", elsewhere("src/deep")),
        ("dangling/x", elsewhere("nowhere/yet/x")),
        ("out", PathKind::LeadsOut),
        ("gone", PathKind::LeadsOut),
        ("etc/passwd", PathKind::LeadsOut),
        ("loop", PathKind::LeadsOut),
    ] {
        assert_eq!(kind_below(&cwd, path), kind, "{path}");
    }
}

#[test]
fn what_is_carried_is_not_the_agents_work() {
    let house = House::furnished();
    put(&house.repo().join("target/cache/x"), "cached");
    put(&house.repo().join("secret.env"), "not even ignored");
    symlink("x", house.repo().join("target/cache/inside")).expect("link");
    symlink("/etc/passwd", house.repo().join("target/cache/outside")).expect("link");
    let trees = house.trees();
    let mut tree = house.add(&trees, "t1");
    let paths = ["target".to_owned(), "secret.env".to_owned()];
    trees.carry(&mut tree, &paths).expect("carry");
    assert!(tree.cwd().join("target/cache/inside").exists());
    assert!(tree.cwd().join("target/cache/outside").symlink_metadata().is_err());
    assert!(tree.cwd().join("secret.env").exists());
    let audited = trees.audit(&tree, &claim(&["."], &[])).expect("audit");
    assert_eq!(letters(&audited), Vec::<String>::new());
    let named = trees.audit(&tree, &claim(&["secret.env"], &[])).expect("audit");
    assert_eq!(letters(&named), ["A secret.env"]);
    let missing = trees.carry(&mut tree, &["nothing".to_owned()]).expect_err("it is not there");
    assert!(matches!(missing, TreesError::Refused { .. }), "nobody is to try again: {missing}");
}

#[test]
fn the_locks_that_a_killed_git_left_keep_no_job_from_its_own_refs() {
    let house = House::furnished();
    let trees = house.trees();
    let tip = trees.tip().expect("tip");
    let tree = house.add(&trees, "t1");
    put(&tree.cwd().join("new"), "x");
    for name in ["tip", "published"] {
        put(&house.repo().join(format!(".git/refs/numerus/job-abc234/{name}.lock")), "half");
    }
    let landing = land(&trees, &tree, &claim(&["new"], &[]), "t1");
    assert!(matches!(landing, Landing::Ready { .. }));
    let landed = trees.tip().expect("tip");
    assert_ne!(landed, tip);
    trees.create_branch(&landed).expect("branch");
}

#[test]
fn what_a_dead_worker_left_of_a_tree_gives_way() {
    let house = House::furnished();
    let trees = house.trees();
    let left = house.add(&trees, "t1");
    put(&left.cwd().join("half"), "done");
    let fresh = house.add(&trees, "t1");
    assert!(!fresh.cwd().join("half").exists());
    fsx::remove_tree(fresh.dir()).expect("as if git had been killed on its way");
    let again = house.add(&trees, "t1");
    assert_eq!(letters(&trees.audit(&again, &Claim::default()).expect("audit")), [""; 0]);
    trees.remove(&again).expect("remove");
    trees.remove(&again).expect("gone already");
    trees.forget().expect("forget");
    assert_eq!(house.git(&["for-each-ref", "refs/numerus"]), "");
    assert_eq!(house.git(&["worktree", "list"]).lines().count(), 1);
}
