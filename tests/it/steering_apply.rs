//! The result of a job in the user's checkout: all of it or nothing, and nothing of it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, execute, part};
use crate::yard::{Yard, said};

fn commit(stage: &Stage, file: &str, text: &str) {
    fs::write(stage.workspace.join(file), text).unwrap();
    stage.git(&["add", "--all"]);
    stage.git(&["commit", "--quiet", "--message=the user's"]);
}

/// What must be the same where nothing was applied.
fn standing(stage: &Stage) -> String {
    let merging = stage.workspace.join(".git/MERGE_HEAD").exists();
    format!(
        "{merging} {} {}",
        stage.git(&["rev-parse", "HEAD"]),
        stage.git(&["status", "--porcelain"])
    )
}

fn refused(stage: &Stage, job: &Job<'_>, words: &str) {
    let before = standing(stage);
    for flags in [&["apply", &job.id, "--check"][..], &["apply", &job.id]] {
        said(&stage.call(flags), 4, words);
    }
    assert_eq!(standing(stage), before, "nothing was changed");
}

#[test]
fn a_result_is_applied_by_a_fast_forward_once_and_no_hook_runs() {
    let stage = Stage::new("apply", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    for hook in ["post-merge", "post-checkout", "reference-transaction", "pre-merge-commit"] {
        let path = stage.workspace.join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\ntouch {}\n", stage.flag("ran").display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let before = standing(&stage);
    said(&stage.call(&["apply", &job.id, "--check"]), 0, "a fast forward");
    assert_eq!(standing(&stage), before);
    said(&stage.call(&["apply", &job.id]), 0, "is applied to main");
    assert_eq!(fs::read_to_string(stage.workspace.join("t1.txt")).unwrap(), "t1\n");
    assert_eq!(stage.git(&["status", "--porcelain"]), "");
    said(&stage.call(&["apply", &job.id]), 0, "is part of main already");
    assert!(!stage.flag("ran").exists());
}

#[test]
fn what_is_no_fast_forward_is_merged_and_what_conflicts_changes_nothing() {
    let stage = Stage::new("apply-merge", &Script::of([part("t1")]));
    let first = stage.ends_with(0, &[]);
    commit(&stage, "user.txt", "mine\n");
    said(&stage.call(&["apply", &first.id, "--check"]), 0, "a merge");
    said(&stage.call(&["apply", &first.id]), 0, "is merged into main");
    assert!(stage.workspace.join("t1.txt").exists() && stage.workspace.join("user.txt").exists());
    assert_eq!(
        stage.git(&["log", "-1", "--format=%an: %s"]),
        format!("Test: Merge branch 'numerus/{}' into main\n", first.id)
    );
    stage.follow(&Script::of([part("t2")]));
    let second = stage.ends_with(0, &[]);
    commit(&stage, "t2.txt", "the user's own\n");
    refused(&stage, &second, "conflicts with main in t2.txt");
}

#[test]
fn what_comes_along_of_other_jobs_and_that_the_job_failed_is_said() {
    let on_shared = |task: &str| part(task).writes(&["shared.txt"]);
    let fails = json!([{"fail": {"message": "no", "info": "other"}}]);
    let failing = |first: &str, second: &str| {
        Script::of([on_shared(first), part(second).after(&[first])])
            .with(execute(second), fails.clone())
    };
    let stage = Stage::new("apply-along", &failing("t1", "t2"));
    let first = stage.ends_with(1, &["--max-attempts", "1"]);
    stage.follow(&Script::of([on_shared("t3")]));
    let second = stage.ends_with(0, &[]);
    assert!(second.read("summary.md").contains(&format!("what job {} had landed", first.id)));
    let along = format!("\n  brings 1 commit of {} (failed)", first.id);
    for flags in [&["apply", &second.id, "--check"][..], &["apply", &second.id]] {
        said(&stage.call(flags), 0, &along);
    }
    stage.follow(&failing("t4", "t5"));
    let third = stage.ends_with(1, &["--max-attempts", "1"]);
    let applied = stage.call(&["apply", &third.id]);
    said(&applied, 0, &format!("\n  note that {} itself failed: ", third.id));
    assert!(!applied.stdout.contains("brings"), "what is there already does not come: {applied:?}");
}

#[test]
fn nothing_is_applied_over_what_is_not_committed_or_under_way() {
    let stage = Stage::new("apply-dirty", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    fs::write(stage.workspace.join("README"), "changed\n").unwrap();
    refused(&stage, &job, "changes that are not committed: README");
    stage.git(&["checkout", "--quiet", "README"]);
    fs::write(stage.workspace.join("t1.txt"), "untracked\n").unwrap();
    let before = standing(&stage);
    said(&stage.call(&["apply", &job.id]), 4, "t1.txt");
    assert_eq!(standing(&stage), before);
    assert_eq!(fs::read_to_string(stage.workspace.join("t1.txt")).unwrap(), "untracked\n");
    fs::remove_file(stage.workspace.join("t1.txt")).unwrap();
    fs::write(stage.workspace.join("beside.txt"), "in nobody's way\n").unwrap();
    fs::write(stage.workspace.join(".git/CHERRY_PICK_HEAD"), stage.git(&["rev-parse", "HEAD"]))
        .unwrap();
    refused(&stage, &job, "a cherry-pick is under way");
    fs::remove_file(stage.workspace.join(".git/CHERRY_PICK_HEAD")).unwrap();
    stage.git(&["checkout", "--quiet", "--detach"]);
    refused(&stage, &job, "no branch is checked out");
    stage.git(&["checkout", "--quiet", "main"]);
    said(&stage.call(&["apply", &job.id]), 0, "is applied to main");
}

#[test]
fn what_git_ignores_is_replaced_by_no_file_and_no_folder_of_the_result() {
    let stage = Stage::new("apply-ignored", &Script::of([part("t1"), part("t2")]));
    let job = stage.ends_with(0, &[]);
    let (file, folder) = (stage.workspace.join("t1.txt"), stage.workspace.join("t2.txt"));
    // As a fast forward, and as a merge.
    fs::write(stage.workspace.join(".git/info/exclude"), "*.txt\n").unwrap();
    for further in ["", "beside"] {
        if !further.is_empty() {
            commit(&stage, further, "another's\n");
        }
        fs::write(&file, "a key\n").unwrap();
        refused(&stage, &job, "t1.txt");
        assert_eq!(fs::read_to_string(&file).unwrap(), "a key\n");
        fs::remove_file(&file).unwrap();
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/model"), "a model\n").unwrap();
        refused(&stage, &job, "t2.txt/deep/model");
        assert_eq!(fs::read_to_string(folder.join("deep/model")).unwrap(), "a model\n");
        fs::remove_dir_all(&folder).unwrap();
    }
    stage.git(&["config", "branch.main.mergeOptions", "--squash"]);
    said(&stage.call(&["apply", &job.id]), 0, "is merged into main");
    assert!(file.is_file() && stage.git(&["status", "--porcelain"]).is_empty());
}

#[test]
fn no_program_runs_that_the_result_asks_for() {
    let attributes = json!({"write": {"path": ".gitattributes", "text": "README merge=mine\nx.txt filter=mine\n"}});
    let play =
        json!([attributes, {"write": {"path": "x.txt", "text": "x\n"}}, {"message": "done"}]);
    let script =
        Script::of([part("t1").writes(&[".gitattributes", "x.txt"])]).with(execute("t1"), play);
    let stage = Stage::new("apply-filter", &script);
    let job = stage.ends_with(0, &[]);
    let ran = stage.flag("ran");
    let program = format!("touch {}; cat", ran.display());
    stage.git(&["config", "filter.mine.smudge", &program]);
    refused(&stage, &job, "x.txt would go through the filter \"mine\"");
    commit(&stage, "user.txt", "mine\n");
    refused(&stage, &job, "x.txt would go through the filter \"mine\"");
    stage.git(&["config", "--unset", "filter.mine.smudge"]);
    stage.git(&["config", "merge.mine.driver", &program]);
    said(&stage.call(&["apply", &job.id]), 0, "is merged into main");
    assert!(!ran.exists());
}

#[test]
fn where_there_is_no_checkout_to_bring_it_to_the_answer_says_where_it_is() {
    let yard = Yard::new("apply-own");
    yard.drop_job("own", "own", "");
    yard.drop_job("bad-one", "bad-one", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let own = yard.ask(&["apply", "own-"]);
    said(&own, 4, "has a repository of its own: nothing is brought anywhere");
    said(&own, 4, "git clone -b numerus/own-");
    said(&yard.ask(&["apply", "bad-one-"]), 4, "it changed no file");
    said(&yard.ask(&["apply", "nobody"]), 3, "no job is called");
    let stage = Stage::new("apply-gone", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    stage.git(&["branch", "--quiet", "-D", &format!("numerus/{}", job.id)]);
    said(&stage.call(&["apply", &job.id]), 4, "is not there any more");
}
