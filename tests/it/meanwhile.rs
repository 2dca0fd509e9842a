//! What the user does in the repository while jobs work there, and between them: nothing is lost, nothing is in the way.

use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part, raise, wait_for};
use crate::site::PATIENCE;

/// A job that stops in the midst of its work until the user has done something, and then ends well.
fn goes_on(name: &str, meanwhile: &dyn Fn(&Stage, &Job<'_>)) {
    let parts = [part("t1"), part("t2").after(&["t1"])];
    let script = Script::of(parts).working("t2", &[raise("at-work"), wait_for("go")]);
    let stage = Stage::new(name, &script);
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    stage.until_raised("at-work");
    meanwhile(&stage, &job);
    stage.raise("go");
    let ended = running.wait(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", stage.site.dump());
    let made = stage.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/numerus"]);
    let branch = made.lines().last().unwrap();
    for task in ["t1", "t2"] {
        let shown = stage.git(&["show", &format!("{branch}:{task}.txt")]);
        assert_eq!(shown, format!("{task}\n"), "{name}");
        assert_eq!(job.charged(task), 0, "{name}");
    }
    assert_eq!(stage.git(&["fsck", "--connectivity-only", "--no-dangling"]), "", "{name}");
    job.is_clean();
}

#[test]
fn the_user_may_commit_and_switch_branches() {
    goes_on("user-commits", &|stage, _| {
        std::fs::write(stage.workspace.join("t2.txt"), "the user's own\n").unwrap();
        stage.git(&["add", "t2.txt"]);
        stage.git(&["commit", "--quiet", "--message=mine"]);
        stage.git(&["checkout", "--quiet", "-b", "elsewhere", "HEAD~1"]);
        std::fs::write(stage.workspace.join("README"), "not committed\n").unwrap();
    });
}

#[test]
fn the_user_may_rewrite_the_branch_that_the_job_started_from() {
    goes_on("user-rewrites", &|stage, _| {
        stage.git(&["commit", "--quiet", "--amend", "--message=other"]);
        stage.git(&["reflog", "expire", "--expire=now", "--all"]);
        stage.git(&["gc", "--quiet", "--prune=now"]);
    });
}

#[test]
fn the_user_may_clean_up_the_repository() {
    goes_on("user-cleans", &|stage, _| {
        stage.git(&["worktree", "prune", "--expire=now"]);
        stage.git(&["reflog", "expire", "--expire=now", "--all"]);
        stage.git(&["gc", "--quiet", "--prune=now"]);
        stage.git(&["repack", "-a", "-d", "--quiet"]);
        stage.git(&["pack-refs", "--all"]);
    });
}

#[test]
fn the_user_may_have_a_branch_of_the_jobs_name() {
    goes_on("user-names", &|stage, job| {
        stage.git(&["commit", "--quiet", "--allow-empty", "--message=mine"]);
        stage.git(&["branch", &job.branch()]);
    });
}

/// What a second job on the same file as a first one took in, after the user did something with the first one's branch.
fn second(name: &str, between: &dyn Fn(&Stage, &Job<'_>)) -> (Vec<String>, String) {
    let on_file = |task: &str| Script::of([part(task).writes(&["shared.txt"])]);
    let stage = Stage::new(name, &on_file("t1"));
    let first = stage.ends_with(0, &[]);
    between(&stage, &first);
    stage.follow(&on_file("t2"));
    let second = stage.ends_with(0, &[]);
    let advanced = second.all("job.base_advanced", "");
    let from = advanced.iter().map(|e| e["payload"]["from"].as_str().unwrap().to_owned());
    assert!(from.clone().all(|from| from == first.id));
    (from.collect(), second.on_branch("shared.txt").unwrap())
}

#[test]
fn work_that_nobody_applied_is_taken_in_and_discarded_work_is_not() {
    let (from, text) = second("unapplied", &|_, _| {});
    assert_eq!((from.len(), text.as_str()), (1, "t1\nt2\n"));
    let (from, text) = second("discarded", &|stage, first| {
        stage.git(&["branch", "--quiet", "-D", &first.branch()]);
    });
    assert_eq!((from.len(), text.as_str()), (0, "t2\n"));
    let (from, text) = second("renamed", &|stage, first| {
        stage.git(&["branch", "--quiet", "-m", &first.branch(), "feature"]);
    });
    assert_eq!((from.len(), text.as_str()), (1, "t1\nt2\n"));
    let (from, text) = second("applied", &|stage, first| {
        stage.git(&["merge", "--quiet", "--no-edit", &first.branch()]);
        stage.git(&["branch", "--quiet", "-D", &first.branch()]);
    });
    assert_eq!((from.len(), text.as_str()), (0, "t1\nt2\n"), "it is in the base");
}

#[test]
fn work_elsewhere_in_the_repository_is_not_taken_in() {
    let stage = Stage::new("elsewhere", &Script::of([part("t1")]));
    stage.ends_with(0, &[]);
    stage.follow(&Script::of([part("t2")]));
    let job = stage.ends_with(0, &[]);
    assert!(job.all("job.base_advancing", "").is_empty());
    assert_eq!(job.on_branch("t1.txt"), None);
}

#[test]
fn histories_that_conflict_are_left_apart_once_and_named_in_the_summary() {
    let stage = Stage::new("diverged", &Script::of([part("t1").writes(&["README"])]));
    let first = stage.ends_with(0, &[]);
    std::fs::write(stage.workspace.join("README"), "the user's own\n").unwrap();
    stage.git(&["commit", "--quiet", "--all", "--message=mine"]);
    let parts = [part("t2").writes(&["README"]), part("t3").writes(&["README"]).after(&["t2"])];
    stage.follow(&Script::of(parts));
    let job = stage.ends_with(0, &[]);
    let diverged = job.all("job.base_diverged", "");
    assert_eq!(diverged.len(), 1, "not for every task again");
    assert_eq!(diverged[0]["payload"]["from"], first.id.as_str());
    assert_eq!(diverged[0]["payload"]["paths"], json!(["README"]));
    assert_eq!(job.on_branch("README").as_deref(), Some("the user's own\nt2\nt3\n"));
    let summary = job.read("summary.md");
    assert!(summary.contains(&format!("- job {}: README", first.id)), "{summary}");
}

#[test]
fn where_nothing_is_taken_in_the_summary_names_what_will_conflict() {
    let stage = Stage::new("apart", &Script::of([part("t1").writes(&["README"])]));
    let settings = stage.site.root().join("numerus.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text + "take_in = false\n").unwrap();
    let first = stage.ends_with(0, &[]);
    assert!(!first.read("summary.md").contains("conflict"));
    let script = Script::of([part("t2").writes(&["README"])])
        .with(on_calls(execute("t2"), &[1]), json!([raise("at-work"), wait_for("go"), {"write": {"path": "README", "text": "t2\n"}}, {"message": "done"}]));
    stage.follow(&script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("at-work");
    std::fs::write(stage.workspace.join("README"), "the user's own\n").unwrap();
    stage.git(&["commit", "--quiet", "--all", "--message=mine"]);
    stage.raise("go");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert!(job.all("job.base_advanced", "").is_empty());
    let summary = job.read("summary.md");
    assert!(summary.contains("- the checkout's HEAD: README"), "{summary}");
    assert!(summary.contains(&format!("- job {}: README", first.id)), "{summary}");
}
