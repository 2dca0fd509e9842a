//! Where jobs work: repositories of every kind, directories that are none, and what a job file says about trees.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part};
use crate::site::Site;

/// A directory that is no repository and lies in none, unlike everything below the target folder.
fn plain(name: &str, script: &Script) -> (Stage, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("here.txt"), "old\n").unwrap();
    (Stage::at(Site::new(name), dir.path().to_owned(), script), dir)
}

fn file(stage: &Stage, name: &str) -> Option<String> {
    fs::read_to_string(stage.workspace.join(name)).ok()
}

/// From the grant to the last thing done under it, as places in the journal.
fn held(job: &Job<'_>, task: &str) -> (u64, u64) {
    (job.at("job.claim_approved", task), job.at("job.task_completed", task))
}

#[test]
fn in_a_directory_that_is_no_repository_one_writes_at_a_time() {
    let (stage, _dir) = plain("plain", &Script::of([part("t1"), part("t2")]));
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.stands(), ("succeeded".to_owned(), "done".to_owned()));
    assert_eq!(
        (file(&stage, "t1.txt"), file(&stage, "t2.txt")),
        (Some("t1\n".into()), Some("t2\n".into()))
    );
    let (one, two) = (held(&job, "t1"), held(&job, "t2"));
    assert!(one.1 < two.0 || two.1 < one.0, "{one:?} {two:?}");
    job.is_clean();
}

#[test]
fn a_second_attempt_in_place_starts_from_what_the_first_found() {
    let broken = json!([
        {"write": {"path": "here.txt", "text": "half\n"}}, {"write": {"path": "new.txt", "text": "half\n"}},
        {"fail": {"message": "no", "info": "context_window_exceeded"}}]);
    let script = Script::of([part("t1").writes(&["here.txt", "new.txt"])])
        .with(on_calls(execute("t1"), &[1]), broken);
    let (stage, _dir) = plain("restore", &script);
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.charged("t1"), 1);
    assert_eq!(
        (file(&stage, "here.txt"), file(&stage, "new.txt")),
        (Some("old\nt1\n".into()), Some("t1\n".into()))
    );
}

#[test]
fn what_was_written_in_place_without_a_claim_is_reported() {
    let script = Script::of([part("t1")])
        .working("t1", &[json!({"write": {"path": "here.txt", "text": "stray\n"}})]);
    let (stage, _dir) = plain("reported", &script);
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.all("job.claim_violated", "t1")[0]["payload"]["paths"], json!(["here.txt"]));
}

#[test]
fn a_repository_can_be_worked_on_in_place() {
    let stage = Stage::new("in-place", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &["--isolation", "in-place"]);
    assert_eq!(file(&stage, "t1.txt").as_deref(), Some("t1\n"));
    assert_eq!(stage.git(&["branch", "--format=%(refname:short)"]), "main\n");
    job.is_clean();
}

#[test]
fn a_subdirectory_of_a_repository_is_all_that_a_job_may_write() {
    let site = Site::new("subdirectory");
    let repo = site.git_repo();
    let script = Script::of([part("t1")]).with(
        on_calls(execute("t1"), &[1]),
        json!([{"write": {"path": "t1.txt", "text": "t1\n"}}, {"write": {"path": "../README", "text": "!"}}, {"message": "done"}]),
    );
    let stage = Stage::at(site, repo.join("src"), &script);
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.on_branch("src/t1.txt").as_deref(), Some("t1\n"));
    assert_eq!(job.on_branch("README").as_deref(), Some("hello\n"));
    assert_eq!(job.landed(), ["t1"]);
    assert_eq!(job.all("job.claim_violated", "t1")[0]["payload"]["paths"], json!(["README"]));
}

#[test]
fn a_repository_without_commits_gets_a_branch_from_nothing() {
    let site = Site::new("unborn");
    let repo = site.path().join("unborn");
    fs::create_dir(&repo).unwrap();
    site.git(&repo, &["init", "--quiet", "--initial-branch=main"]);
    let stage = Stage::at(site, repo, &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\n"));
    assert_eq!(stage.git(&["ls-tree", "-r", "--name-only", &job.branch()]), "t1.txt\n");
}

#[test]
fn a_bare_repository_is_refused_before_anybody_is_asked() {
    let site = Site::new("bare");
    let bare = site.path().join("bare.git");
    site.git(site.path(), &["init", "--quiet", "--bare", bare.to_str().unwrap()]);
    let stage = Stage::at(site, bare, &Script::of([part("t1")]));
    let job = stage.ends_with(1, &[]);
    assert_eq!(job.stands(), ("failed".to_owned(), "workspace".to_owned()));
    assert!(
        job.status()["message"].as_str().unwrap().contains("bare repository"),
        "{}",
        job.status()
    );
    assert!(job.all("terminal.session_starting", "").is_empty());
}

#[test]
fn uncommitted_changes_are_neither_seen_nor_touched_and_the_summary_says_so() {
    let stage = Stage::new("dirty", &Script::of([part("t1").writes(&["README"])]));
    fs::write(stage.workspace.join("README"), "mine\n").unwrap();
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.on_branch("README").as_deref(), Some("hello\nt1\n"));
    assert_eq!(file(&stage, "README").as_deref(), Some("mine\n"));
    assert!(job.read("summary.md").contains("uncommitted changes"));
}

#[test]
fn trees_are_carried_set_up_and_verified() {
    let site = Site::new("carry");
    let repo = site.git_repo();
    fs::write(repo.join(".gitignore"), "cache/\nbuilt\n").unwrap();
    site.git(&repo, &["add", ".gitignore"]);
    site.git(&repo, &["commit", "--quiet", "--message=ignores"]);
    fs::create_dir(repo.join("cache")).unwrap();
    fs::write(repo.join("cache/key"), "secret\n").unwrap();
    let script = Script::of([part("t1")])
        .working("t1", &[json!({"command": "cat cache/key built > t1.txt"})]);
    let stage = Stage::at(site, repo, &script);
    let flags = [
        "--carry",
        "cache",
        "--setup",
        "echo set-up > built",
        "--verify",
        "grep -q t1 t1.txt",
        "--verify",
        "test ! -e built",
    ];
    let job = stage.ends_with(0, &flags);
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("secret\nset-up\nt1\n"));
    assert_eq!(stage.git(&["diff", "--name-only", "main", &job.branch()]), "t1.txt\n");
    assert_eq!(job.all("job.verified", "")[0]["payload"]["passed"], true);
}

#[test]
fn a_setup_that_fails_is_a_charged_attempt() {
    let stage = Stage::new("setup", &Script::of([part("t1")]));
    let job = stage.ends_with(1, &["--setup", "echo oh >&2; exit 7", "--max-attempts", "2"]);
    assert_eq!(job.charged("t1"), 2);
    assert!(job.read("t1/setup.log").contains("oh"));
}

#[test]
fn a_job_that_does_not_pass_its_verification_fails_and_keeps_its_branch() {
    let stage = Stage::new("verify", &Script::of([part("t1")]));
    let job = stage.ends_with(
        1,
        &["--verify", "grep -q t1 t1.txt", "--verify", "echo why; false", "--verify", "true"],
    );
    assert_eq!(job.stands(), ("failed".to_owned(), "verify_failed".to_owned()));
    assert_eq!(job.landed(), ["t1"]);
    let ran = &job.all("job.verified", "")[0]["payload"]["commands"];
    assert_eq!(ran.as_array().unwrap().len(), 2, "{ran}");
    assert!(job.read("verify/verify.log").contains("why"));
}

#[test]
fn a_job_leaves_no_worktree_but_those_of_failed_attempts() {
    let broken = json!([{"write": {"path": "t1.txt", "text": "half\n"}}, {"fail": {"message": "no", "info": "context_window_exceeded"}}]);
    let script = Script::of([part("look").role("planner"), part("t1")])
        .with(on_calls(execute("t1"), &[1]), broken);
    let stage = Stage::new("leftovers", &script);
    let job = stage.ends_with(0, &[]);
    let list = stage.git(&["worktree", "list", "--porcelain"]);
    let trees: Vec<PathBuf> =
        list.lines().filter_map(|l| l.strip_prefix("worktree ")).map(PathBuf::from).collect();
    assert_eq!(trees, [stage.workspace.clone(), job.dir().join("t1/tree-1")]);
    assert_eq!(fs::read_to_string(trees[1].join("t1.txt")).unwrap(), "half\n");
    assert!(job.read("t1/attempt-1.patch").contains("half"));
}
