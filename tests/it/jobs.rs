//! Whole jobs through the real program: from the objective to the branch, and every way in which an agent can fail.

use std::fs;

use serde_json::{Value, json};

use crate::rehearsal::{Script, Stage, claim, claims, execute, on_calls, part};

/// The names of the events, without those of sessions and the memory.
fn story(events: &[Value]) -> Vec<String> {
    let name = |e: &Value| {
        let name = e["event"].as_str().unwrap().strip_prefix("job.")?.to_owned();
        Some(e["task_id"].as_str().map_or(name.clone(), |task| format!("{task} {name}")))
    };
    events.iter().filter_map(name).collect()
}

#[test]
fn a_job_ends_with_one_commit_a_task_and_a_whole_record() {
    let stage = Stage::new("whole", &Script::of([part("t1"), part("t2").after(&["t1"])]));
    let before = (stage.git(&["status", "--porcelain"]), stage.git(&["rev-parse", "HEAD"]), stage.git(&["symbolic-ref", "HEAD"]));
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.landed(), ["t1", "t2"]);
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\n"));
    let after = (stage.git(&["status", "--porcelain"]), stage.git(&["rev-parse", "HEAD"]), stage.git(&["symbolic-ref", "HEAD"]));
    assert_eq!(before, after);
    assert!(!stage.workspace.join("t1.txt").exists());
    assert_eq!(stage.git(&["branch", "--format=%(refname:short)"]), format!("main\n{}\n", job.branch()));
    assert_eq!(job.json("plan.json")["tasks"][1]["role"], "executor");
    for task in ["t1", "t2"] {
        let claim = job.json(&format!("{task}_claim.json"));
        assert_eq!(claim["verdicts"][0]["verdict"], "GO", "{claim}");
        assert!(job.read(&format!("{task}/stdout.log")).contains("turn.completed"));
        assert!(job.read(&format!("{task}/events.ndjson")).lines().count() > 2);
    }
    assert_eq!(story(&job.events()).join("\n"), WHOLE_STORY.trim());
    assert_eq!(job.stands(), ("succeeded".to_owned(), "done".to_owned()));
    stage.git(&["apply", "--check", job.dir().join("result.patch").to_str().unwrap()]);
    job.is_clean();
}

const WHOLE_STORY: &str = "
submitted
claimed
worker_started
workspace_fixed
plan_created
roles_assigned
t1 claim_recorded
t1 claim_approved
t1 task_started
t1 task_landing
t1 task_completed
t1 locks_released
t2 claim_recorded
t2 claim_approved
t2 task_started
t2 task_landing
t2 task_completed
t2 locks_released
landed
finished
";
