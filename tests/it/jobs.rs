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
    let before = (
        stage.git(&["status", "--porcelain"]),
        stage.git(&["rev-parse", "HEAD"]),
        stage.git(&["symbolic-ref", "HEAD"]),
    );
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.landed(), ["t1", "t2"]);
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\n"));
    let after = (
        stage.git(&["status", "--porcelain"]),
        stage.git(&["rev-parse", "HEAD"]),
        stage.git(&["symbolic-ref", "HEAD"]),
    );
    assert_eq!(before, after);
    assert!(!stage.workspace.join("t1.txt").exists());
    assert_eq!(
        stage.git(&["branch", "--format=%(refname:short)"]),
        format!("main\n{}\n", job.branch())
    );
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
t1 claim_measured
t1 task_landing
t1 task_completed
t1 locks_released
t2 claim_recorded
t2 claim_approved
t2 task_started
t2 claim_measured
t2 task_landing
t2 task_completed
t2 locks_released
landed
finished
";

/// A failure of the agent that codex itself reports.
fn fail(info: &str) -> Value {
    json!({"fail": {"message": format!("scripted {info}"), "info": info}})
}

/// Lets the first execution of `t1` go wrong in some way.
fn stumbling(play: Value) -> Script {
    Script::of([part("t1")]).with(on_calls(execute("t1"), &[1]), play)
}

#[test]
fn the_index_and_the_memory_are_made_again_from_the_runs() {
    let stage = Stage::new("index", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    let told = stage.call(&["status", "--all", "--json"]);
    assert!(told.stdout.contains(&job.id), "{told:?}");
    let store = stage.site.root().join("store");
    for name in ["tasks.db", "memory.db"] {
        fs::remove_file(store.join(name)).unwrap();
    }
    assert_eq!(stage.call(&["status", "--all", "--json"]).stdout, told.stdout);
}

#[test]
fn a_malformed_plan_goes_back_with_its_errors_once() {
    let cyclic = json!([{"message": {"objective": "o", "tasks": [
        {"id": "a", "summary": "s", "description": "d", "dependencies": ["a"], "resources": {"reads": [], "writes": []}}]}}]);
    let script =
        Script::of([part("t1")]).with(on_calls(json!({"marker": "NUMERUS_PLAN"}), &[1]), cyclic);
    let stage = Stage::new("bad-plan", &script);
    let job = stage.ends_with(0, &[]);
    let repair = job.read("plan/prompt-2.md");
    assert!(repair.starts_with("NUMERUS_PLAN V1\n") && repair.contains("cycle"), "{repair}");
    assert_eq!(job.charged(""), 0);
}

#[test]
fn a_plan_that_is_malformed_twice_is_a_charged_attempt() {
    let script = Script::of([part("t1")]).with(
        on_calls(json!({"marker": "NUMERUS_PLAN"}), &[1, 2]),
        json!([{"message": "what plan?"}]),
    );
    let stage = Stage::new("worse-plan", &script);
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.charged(""), 1);
    assert_eq!(job.landed(), ["t1"]);
    stage.follow(
        &Script::of([part("t1")])
            .with(json!({"marker": "NUMERUS_PLAN"}), json!([{"message": "what plan?"}])),
    );
    let job = stage.ends_with(1, &["--max-attempts", "1"]);
    assert_eq!(job.stands(), ("failed".to_owned(), "planning_failed".to_owned()));
}

#[test]
fn malformed_roles_and_claims_go_back_with_their_errors_once() {
    let nobody = json!([{"message": {"roles": [], "strategy": "none"}}]);
    let script = Script::of([part("t1")])
        .with(on_calls(json!({"marker": "NUMERUS_ROLES"}), &[1]), nobody)
        .with(on_calls(claim("t1"), &[1]), json!([claims(&["/etc/passwd"])]));
    let stage = Stage::new("bad-roles", &script);
    let job = stage.ends_with(0, &[]);
    let repair = job.read("roles/prompt-2.md");
    assert!(repair.starts_with("NUMERUS_ROLES V1\n") && repair.contains("t1"), "{repair}");
    let repair = job.read("t1/prompt-2.md");
    assert!(
        repair.starts_with("NUMERUS_CLAIM V1\nTASK_ID: t1\n") && repair.contains("/etc/passwd"),
        "{repair}"
    );
    assert_eq!(job.charged("t1"), 0);
}

#[test]
fn a_claim_that_stays_malformed_fails_its_task() {
    let script = Script::of([part("t1")]).with(claim("t1"), json!([claims(&["../out"])]));
    let stage = Stage::new("bad-claim", &script);
    let job = stage.ends_with(1, &["--max-attempts", "2"]);
    assert_eq!(job.charged("t1"), 2);
    assert_eq!(job.tasks(), ["t1 failed"]);
}

#[test]
fn trouble_of_the_service_costs_no_attempt() {
    for (name, play) in [
        ("overloaded", json!([fail("server_overloaded")])),
        ("cut", json!([{"exit": 3}])),
        ("signal", json!([{"die_by_signal": 9}])),
        (
            "helper",
            json!([{"stderr": "WARNING: proceeding, even though we could not create PATH aliases: no room\n"},
                          {"message": "done nothing"}]),
        ),
    ] {
        let stage = Stage::new(name, &stumbling(play));
        let job = stage.ends_with(0, &["--max-attempts", "1"]);
        assert_eq!(job.all("terminal.session_retried", "t1").len(), 1, "{name}");
        assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]), "{name}");
    }
}

#[test]
fn a_job_over_its_limit_rests_until_the_limit_is_refilled() {
    let spent = json!([{"fail": {"message": "You’ve hit your usage limit.", "info": "usage_limit_exceeded", "resets_at": 4_102_444_800_u64}}]);
    let stage = Stage::new("limit", &stumbling(spent));
    let job = stage.ends_with(4, &[]);
    assert_eq!(job.stands(), ("paused".to_owned(), "limit".to_owned()));
    assert!(job.status()["until"].is_string(), "{}", job.status());
    assert!(job.status()["pid"].is_null());
    assert_eq!(job.charged("t1"), 0);
    job.is_clean();
    assert_eq!(stage.agree(&["start", &job.id]).code, Some(0));
    assert_eq!(job.landed(), ["t1"]);
}

#[test]
fn a_job_that_cannot_log_in_rests_for_a_person() {
    let refused =
        json!([{"fail": {"message": "no", "info": "http_connection_failed", "status": 401}}]);
    let stage = Stage::new("auth", &stumbling(refused));
    let job = stage.ends_with(6, &[]);
    assert_eq!(job.stands(), ("paused".to_owned(), "auth".to_owned()));
    job.is_clean();
}

#[test]
fn silence_and_length_end_an_attempt() {
    let chatter: Vec<Value> = (0..40)
        .flat_map(|_| [json!({"reasoning": "hm"}), json!({"sleep_ms": 100})])
        .chain([json!({"message": "done"})])
        .collect();
    for (name, play, flag, deadline) in [
        ("silent", json!([{"hang": true}]), "no-progress=1s", "no_progress"),
        ("long", json!(chatter), "execute=1s", "total"),
    ] {
        let stage = Stage::new(name, &stumbling(play));
        let job = stage.ends_with(0, &["--timeout", flag]);
        let timeout = &job.all("terminal.timeout", "t1")[0];
        assert_eq!(timeout["payload"]["deadline"], deadline, "{name}");
        assert_eq!((job.charged("t1"), job.landed()), (1, vec!["t1".to_owned()]), "{name}");
    }
}

#[test]
fn floods_and_bytes_that_are_no_text_pass() {
    let noise = "printf '\\377\\376\\n' > /proc/$PPID/fd/1";
    let script = Script::of([part("t1")]).working(
        "t1",
        &[
            json!({"flood_bytes": 6_000_000}),
            json!({"command": noise}),
            json!({"stdout": "no json\n"}),
        ],
    );
    let stage = Stage::new("flood", &script);
    let job = stage.ends_with(0, &[]);
    let raw = fs::read(job.dir().join("t1/stdout.log")).unwrap();
    assert!(raw.len() > 6_000_000 && raw.windows(3).any(|w| w == b"\xff\xfe\n"), "{}", raw.len());
    assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]));
}

#[test]
fn a_failed_task_skips_what_needs_it_and_nothing_else() {
    let parts = [part("t1"), part("t2").after(&["t1"]), part("t3").after(&["t2"]), part("t4")];
    let script = Script::of(parts).with(execute("t1"), json!([fail("context_window_exceeded")]));
    let stage = Stage::new("skips", &script);
    let job = stage.ends_with(1, &["--max-attempts", "2"]);
    assert_eq!(job.tasks(), ["t1 failed", "t2 skipped", "t3 skipped", "t4 succeeded"]);
    assert_eq!(job.stands(), ("failed".to_owned(), "task_failed".to_owned()));
    assert_eq!((job.charged("t1"), job.landed()), (2, vec!["t4".to_owned()]));
    job.is_clean();
}

#[test]
fn tasks_that_only_read_hold_no_lease_and_their_findings_are_handed_on() {
    let parts = [
        part("look").role("planner"),
        part("t1").after(&["look"]),
        part("judge").role("reviewer").after(&["t1"]),
    ];
    let script = Script::of(parts).with(
        json!({"marker": "NUMERUS_REVIEW", "task": "look"}),
        json!([{"message": "the finding is 42"}]),
    );
    let stage = Stage::new("reads", &script);
    let job = stage.ends_with(0, &[]);
    assert!(job.read("t1/prompt-1.md").contains("the finding is 42"));
    for task in ["look", "judge"] {
        assert!(job.all("job.claim_recorded", task).is_empty());
        assert!(!job.dir().join(format!("{task}_claim.json")).exists());
    }
    assert_eq!(job.landed(), ["t1"]);
}

#[test]
fn a_single_task_needs_no_plan() {
    let stage = Stage::new("single", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &["--plan", "single"]);
    assert!(!job.dir().join("plan/prompt-1.md").exists());
    assert_eq!(job.landed(), ["t1"]);
}

#[test]
fn a_spent_budget_ends_the_job() {
    let stage = Stage::new("budget", &Script::of([part("t1"), part("t2").after(&["t1"])]));
    let job = stage.ends_with(1, &["--budget-tokens", "400"]);
    assert_eq!(job.stands(), ("failed".to_owned(), "budget".to_owned()));
    assert_eq!(job.landed(), ["t1"]);
    job.is_clean();
}
