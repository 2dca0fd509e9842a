//! What happens to work that is not good enough: reviewers who want changes, verify commands that fail, a queen who is
//! asked, new plans. What has landed is never undone; everything else follows in further tasks, a bounded number of times.

use serde_json::{Value, json};

use crate::model_server::ModelServer;
use crate::real_jobs::Team;
use crate::rehearsal::{
    Job, Script, Stage, claim, claims, execute, on_calls, part, raise, wait_for,
};
use crate::site::{PATIENCE, Site};

fn says(answer: &Value) -> Value {
    json!([{ "message": answer }])
}

/// When a reviewer is asked.
fn review(task: &str) -> Value {
    json!({"marker": "NUMERUS_REVIEW", "task": task})
}

fn changes(path: &str, text: &str) -> Value {
    says(&json!({"verdict": "changes", "comments": [{"path": path, "text": text}]}))
}

/// When the queen is asked.
fn queen() -> Value {
    json!({"marker": "NUMERUS_QUEEN"})
}

fn decides(decision: &str, advice: &str) -> Value {
    says(&json!({"decision": decision, "advice": advice}))
}

/// The agent says that it could not do it.
fn fails() -> Value {
    json!([{"fail": {"message": "could not do it", "info": "other"}}])
}

/// Claims and writes `path` in a task that no plan has.
fn doing(script: Script, task: &str, path: &str, text: &str) -> Script {
    let written = json!({"write": {"path": path, "text": text, "append": true}});
    script
        .with(claim(task), json!([claims(&[path])]))
        .with(execute(task), json!([written, {"message": "done"}]))
}

/// The places in the journal of events, each of a task (or none), must rise.
fn in_order(job: &Job<'_>, events: &[(&str, &str)]) {
    let seqs: Vec<u64> = events.iter().map(|(event, task)| job.at(event, task)).collect();
    assert!(seqs.is_sorted(), "{events:?} at {seqs:?}");
}

/// Makes git refuse to remove the worktree that it runs in.
const SPOILS_ITS_TREE: &str = "echo nowhere > \"$(git rev-parse --git-dir)/gitdir\"";

#[test]
fn an_answer_outlives_a_snapshot_that_will_not_go() {
    let parts = [part("look").role("planner"), part("t1").after(&["look"])];
    let spoils = json!([{"command": SPOILS_ITS_TREE}, {"message": "all is well"}]);
    let stage = Stage::new("stays", &Script::of(parts).with(review("look"), spoils));
    let job = stage.ends_with(0, &["--verify", SPOILS_ITS_TREE]);
    assert_eq!(job.all("terminal.session_starting", "look").len(), 1);
    assert_eq!(job.all("job.verified", "").len(), 1);
    assert!(job.read("t1/prompt-1.md").contains("all is well"));
    for place in ["look", "verify"] {
        let entry = job.dir().join(place).join("tree-1");
        assert!(!entry.exists(), "its files are gone");
    }
    let left = stage.git(&["worktree", "list"]);
    assert!(left.contains("nowhere"), "git has kept its entries: {left}");
}

#[test]
fn a_reviewer_sees_the_diff_and_what_it_wants_changed_lands_as_a_further_task() {
    let parts =
        [part("t1"), part("judge").role("reviewer").after(&["t1"]), part("t2").after(&["judge"])];
    let script =
        Script::of(parts).with(on_calls(review("judge"), &[1]), changes("t1.txt", "say it louder"));
    let stage = Stage::new("changes", &doing(script, "t1-r1", "t1.txt", "LOUDER\n"));
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.landed(), ["t1", "t1-r1", "t2"]);
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\nLOUDER\n"));
    in_order(
        &job,
        &[
            ("job.task_completed", "t1"),
            ("job.review_rejected", "judge"),
            ("job.tasks_added", "judge"),
            ("job.task_completed", "t1-r1"),
            ("job.review_approved", "judge"),
            ("job.task_completed", "judge"),
            ("job.claim_recorded", "t2"),
        ],
    );
    let first = job.read("judge/prompt-1.md");
    assert!(first.contains("diff --git a/t1.txt b/t1.txt") && first.contains("+t1"), "{first}");
    let second = job.read("judge/prompt-2.md");
    assert!(second.contains("+t1") && second.contains("+LOUDER"), "{second}");
    assert!(job.read("t1-r1/prompt-1.md").contains("t1.txt: say it louder"));
    assert!(job.read("plan.json").contains("t1-r1"));
    assert!(!job.read("plan-1.json").contains("t1-r1"), "a plan stays as it was made");
    job.is_clean();
}

#[test]
fn a_reviewer_who_is_never_content_is_heard_twice_and_then_the_queen_decides() {
    let script = Script::of([part("t1"), part("judge").role("reviewer").after(&["t1"])])
        .with(review("judge"), changes("", "more"))
        .with(queen(), decides("skip", "the reviewer asks for more than the objective"));
    let script = doing(script, "t1-r1", "t1.txt", "more\n");
    let stage = Stage::new("never-content", &doing(script, "t1-r2", "t1.txt", "still more\n"));
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.landed(), ["t1", "t1-r1", "t1-r2"]);
    assert_eq!(job.all("job.review_rejected", "judge").len(), 2);
    assert_eq!(job.all("job.advised", "judge")[0]["payload"]["decision"], "skip");
    assert!(job.tasks().contains(&"judge skipped".to_owned()), "{:?}", job.tasks());
    assert!(!job.read("queen/prompt-1.md").contains("- `retry`: it gets\n"));
    assert!(job.read("queen/prompt-1.md").contains("\nALLOWED: replan, skip, give_up\n"));
    assert!(
        job.read("summary.md").contains("3 tasks done, 1 left out"),
        "{}",
        job.read("summary.md")
    );
}

#[test]
fn the_queens_advice_gives_a_task_its_attempts_once_more() {
    let script = Script::of([part("t1")])
        .with(on_calls(execute("t1"), &[1, 2]), fails())
        .with(queen(), decides("retry", "use the other door"));
    let stage = Stage::new("reprieve", &script);
    let job = stage.ends_with(0, &["--max-attempts", "2"]);
    assert_eq!(job.landed(), ["t1"]);
    in_order(
        &job,
        &[
            ("job.task_retried", "t1"),
            ("job.task_exhausted", "t1"),
            ("job.advised", "t1"),
            ("job.task_completed", "t1"),
        ],
    );
    assert!(job.read("t1/prompt-5.md").contains("use the other door"));
    let asked = job.read("queen/prompt-1.md");
    assert!(asked.starts_with("NUMERUS_QUEEN V1\nTASK_ID: t1\n"), "{asked}");
    assert!(
        asked.contains("could not do it") && asked.contains("ALLOWED: retry, replan, give_up\n")
    );
    let spent = &job.status()["spent"];
    for role in ["planner", "executor", "queen"] {
        assert!(spent[role]["input_tokens"].as_u64() > Some(0), "{role}: {spent}");
    }
    assert!(spent["reviewer"].is_null(), "{spent}");
    job.is_clean();
}

#[test]
fn a_task_is_reprieved_once() {
    let script = Script::of([part("t1")])
        .with(execute("t1"), fails())
        .with(on_calls(queen(), &[1]), decides("retry", "again"))
        .with(queen(), decides("give_up", "enough"));
    let stage = Stage::new("once-more", &script);
    let job = stage.ends_with(1, &["--max-attempts", "1", "--plan", "single"]);
    assert_eq!(job.all("job.task_exhausted", "t1").len(), 2);
    assert!(job.read("queen/prompt-2.md").contains("\nALLOWED: give_up\n"));
    assert_eq!(job.stands(), ("failed".to_owned(), "task_failed".to_owned()));
    assert_eq!(job.all("job.task_failed", "t1").len(), 1);
}

#[test]
fn what_the_queen_may_not_say_goes_back_to_her_and_then_counts_as_nothing() {
    let script = Script::of([part("t1")])
        .with(execute("t1"), fails())
        .with(on_calls(queen(), &[1]), decides("accept", "fine"))
        .with(queen(), says(&json!("I would rather not.")));
    let stage = Stage::new("unheard", &script);
    let job = stage.ends_with(1, &["--max-attempts", "1"]);
    let repair = job.read("queen/prompt-2.md");
    assert!(repair.starts_with("NUMERUS_QUEEN V1\nTASK_ID: t1\n"), "{repair}");
    assert!(repair.contains("one of retry, replan, give_up, not accept"), "{repair}");
    assert!(job.all("job.advised", "t1").is_empty());
    let failure = &job.all("job.task_failed", "t1")[0]["payload"]["failure"];
    assert_eq!(failure["kind"], "task");
    let told = failure["message"].as_str().unwrap();
    assert!(told.contains("could not do it; the queen could not be asked"), "{told}");
}

#[test]
fn a_new_plan_keeps_what_landed_and_waits_for_what_is_under_way() {
    let plan = json!({"objective": "o", "tasks": [
        {"id": "t4", "summary": "Do t4", "description": "d", "dependencies": ["t1"],
         "resources": {"reads": [], "writes": []}}]});
    let roles =
        json!({"roles": [{"id": "t4", "role": "executor", "notes": ""}], "strategy": "anew"});
    let parts = [part("t1"), part("t2"), part("t3").after(&["t2"]), part("slow")];
    let script = Script::of(parts)
        .with(execute("t2"), fails())
        .with(queen(), json!([raise("asked"), decides("replan", "cut it otherwise")[0]]))
        .with(json!({"marker": "NUMERUS_PLAN", "contains": "cut it otherwise"}), says(&plan))
        .with(
            on_calls(json!({"marker": "NUMERUS_ROLES", "contains": "\"t4\""}), &[1]),
            says(&roles),
        )
        .working("slow", &[wait_for("asked")]);
    let stage = Stage::new("replan", &doing(script, "t4", "t4.txt", "t4\n"));
    let job = stage.ends_with(0, &["--max-attempts", "1"]);
    let mut landed = job.landed();
    assert_eq!(landed.pop().as_deref(), Some("t4"));
    landed.sort();
    assert_eq!(landed, ["slow", "t1"]);
    in_order(&job, &[("job.advised", "t2"), ("job.task_completed", "slow"), ("job.replanned", "")]);
    let asked = job.read("plan/prompt-2.md");
    assert!(asked.contains("- t1 (succeeded)") && asked.contains("- t2 (failed)"), "{asked}");
    assert_eq!(job.tasks().len(), 5);
    assert_eq!(job.json("plan-2.json")["number"], 2);
    let planned = job.json("plan-2.json")["tasks"].as_array().unwrap().clone();
    let ids: Vec<&str> = planned.iter().map(|t| t["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["t1", "slow", "t4"]);
    assert!(
        !job.read("roles/prompt-2.md").contains("\"id\": \"t1\""),
        "what landed keeps its role"
    );
    job.is_clean();
}

#[test]
fn new_plans_are_bounded() {
    let plan = |n: u32| {
        says(&json!({"objective": "o", "tasks": [
            {"id": format!("p{n}"), "summary": "s", "description": "d", "dependencies": [],
             "resources": {"reads": [], "writes": []}}]}))
    };
    let roles = |n: u32| {
        let role = json!({"id": format!("p{n}"), "role": "executor", "notes": ""});
        says(&json!({"roles": [role], "strategy": "s"}))
    };
    let mut script = Script::of([part("t1")]).with(queen(), decides("replan", "anew"));
    for n in [1, 2, 3] {
        // A scene counts only the prompts that no earlier scene has answered, so each of these answers one.
        script = script
            .with(on_calls(json!({"marker": "NUMERUS_PLAN"}), &[1]), plan(n))
            .with(on_calls(json!({"marker": "NUMERUS_ROLES"}), &[1]), roles(n))
            .with(claim(&format!("p{n}")), json!([claims(&["x"])]))
            .with(execute(&format!("p{n}")), fails());
    }
    let stage = Stage::new("replans", &script);
    let job = stage.ends_with(1, &["--max-attempts", "1"]);
    assert_eq!(job.all("job.replanned", "").len(), 2);
    assert_eq!(job.stands().1, "task_failed");
    assert_eq!(job.tasks(), ["p1 failed", "p2 failed", "p3 failed"]);
}

#[test]
fn a_failed_verification_is_mended_with_its_output_at_hand() {
    let script = Script::of([part("t1")]);
    let stage = Stage::new("mend", &doing(script, "verify-r1", "t1.txt", "mended\n"));
    let check = "grep mended t1.txt || { echo the word is missing; exit 3; }";
    let job = stage.ends_with(0, &["--verify", "echo all is noise", "--verify", check]);
    assert_eq!(job.landed(), ["t1", "verify-r1"]);
    let passed: Vec<Value> =
        job.all("job.verified", "").iter().map(|e| e["payload"]["passed"].clone()).collect();
    assert_eq!(passed, [false, true]);
    let asked = job.read("verify-r1/prompt-1.md");
    assert!(asked.contains(check) && asked.contains("the word is missing"), "{asked}");
    assert!(!asked.contains("noise"), "another command's words: {asked}");
    let shown = stage.call(&["logs", &format!("{}/verify", job.id)]).stdout;
    assert!(shown.contains("$ echo all is noise\nall is noise\n[ended with 0]\n"), "{shown}");
    in_order(
        &job,
        &[("job.verified", ""), ("job.tasks_added", ""), ("job.task_completed", "verify-r1")],
    );
    job.is_clean();
}

#[test]
fn a_verification_that_cannot_be_mended_fails_the_job_and_says_so() {
    let script = doing(Script::of([part("t1")]), "verify-r1", "t1.txt", "a\n");
    let stage = Stage::new("unmended", &doing(script, "verify-r2", "t1.txt", "b\n"));
    let job = stage.ends_with(1, &["--verify", "echo no luck; false"]);
    assert_eq!(job.landed(), ["t1", "verify-r1", "verify-r2"], "the branch has what there is");
    assert_eq!(job.all("job.verified", "").len(), 3);
    assert_eq!(job.stands(), ("failed".to_owned(), "verify_failed".to_owned()));
    assert!(
        job.status()["message"].as_str().unwrap().contains("`echo no luck; false` ended with 1")
    );
}

#[test]
fn the_queen_judges_the_result_and_what_she_misses_is_done() {
    let script = Script::of([part("t1")])
        .with(on_calls(queen(), &[1]), decides("reject", "there is no t2.txt"))
        .with(queen(), decides("accept", "all is there"));
    let stage = Stage::new("judged", &doing(script, "objective-r1", "t2.txt", "t2\n"));
    let job = stage.ends_with(0, &["--review", "--verify", "true"]);
    assert_eq!(job.landed(), ["t1", "objective-r1"]);
    let first = job.read("queen/prompt-1.md");
    assert!(first.contains("+t1") && first.contains("\nALLOWED: accept, reject\n"), "{first}");
    assert!(job.read("queen/prompt-2.md").contains("+t2"));
    assert!(job.read("objective-r1/prompt-1.md").contains("there is no t2.txt"));
    in_order(
        &job,
        &[
            ("job.verified", ""),
            ("job.review_rejected", ""),
            ("job.tasks_added", ""),
            ("job.review_approved", ""),
            ("job.landed", ""),
        ],
    );
    assert_eq!(job.all("job.verified", "").len(), 2, "what was added is verified, too");
}

#[test]
fn a_result_that_stays_rejected_is_a_failed_job_with_a_branch() {
    let script = Script::of([part("t1")]).with(queen(), decides("reject", "not good enough"));
    let script = doing(script, "objective-r1", "t1.txt", "a\n");
    let stage = Stage::new("rejected", &doing(script, "objective-r2", "t1.txt", "b\n"));
    let job = stage.ends_with(1, &["--review"]);
    assert_eq!(job.landed(), ["t1", "objective-r1", "objective-r2"]);
    assert_eq!(job.stands(), ("failed".to_owned(), "review_rejected".to_owned()));
    assert!(job.read("summary.md").contains("not good enough"));
}

#[test]
fn a_success_without_any_change_says_so() {
    let stage = Stage::new(
        "empty",
        &Script::of([part("t1")]).with(execute("t1"), says(&json!("nothing to do"))),
    );
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.stands(), ("succeeded".to_owned(), "done".to_owned()));
    let summary = job.read("summary.md");
    assert!(summary.contains("no file was changed"), "{summary}");
    assert_eq!(stage.git(&["branch", "--format=%(refname:short)"]), "main\n");
}

#[test]
fn a_budget_is_looked_at_before_every_session() {
    // A session costs 120; plan, roles and the claim leave nothing for the execution.
    let stage = Stage::new("purse", &Script::of([part("t1")]));
    let job = stage.ends_with(1, &["--budget-tokens", "360"]);
    assert_eq!(job.stands(), ("failed".to_owned(), "budget".to_owned()));
    assert_eq!(job.all("terminal.session_starting", "t1").len(), 1, "only the claim was made");
    assert!(job.status()["message"].as_str().unwrap().contains("spent 360 of 360 tokens"));
    job.is_clean();
}

#[test]
fn what_a_killed_session_has_spent_is_counted() {
    let spends = json!([{"usage": {"input_tokens": 1000, "output_tokens": 200}},
                        raise("spent"), {"hang": true}]);
    let script = Script::of([part("t1")]).with(on_calls(execute("t1"), &[1]), spends);
    let stage = Stage::new("killed-purse", &script);
    let (running, job) = stage.start(&["--plan", "single"]);
    stage.until_raised("spent");
    job.slay_worker();
    running.wait(PATIENCE);
    assert_eq!(job.go_on().code, Some(0));
    let spent = &job.status()["tokens"];
    // Two claims and an execution at 120 each, and the one that was killed.
    assert_eq!((&spent["input_tokens"], &spent["output_tokens"]), (&json!(1300), &json!(260)));
    assert_eq!(job.status()["spent"]["executor"], *spent);
    job.is_clean();
}

#[test]
fn a_worker_killed_while_somebody_judges_asks_again() {
    for (name, when) in [("judge", review("judge")), ("queen", queen())] {
        let parts = [part("t1"), part("judge").role("reviewer").after(&["t1"])];
        let script = Script::of(parts)
            .with(on_calls(when, &[1]), json!([raise("asked"), {"hang": true}]))
            .with(queen(), decides("accept", "fine"));
        let stage = Stage::new(name, &script);
        let (running, job) = stage.start(&["--review"]);
        stage.until_raised("asked");
        job.slay_worker();
        running.wait(PATIENCE);
        assert_eq!(job.go_on().code, Some(0), "{}", stage.site.dump());
        assert_eq!((job.landed(), job.charged("")), (vec!["t1".to_owned()], 0));
        job.is_clean();
    }
}

#[test]
fn each_role_uses_the_model_that_is_set_for_it() {
    let site = Site::new("models");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[])]);
    let server = ModelServer::start(move |request| team.answer(request));
    server.write_config(&site.codex_home());
    std::fs::write(
        site.root().join("numerus.toml"),
        "[roles.planner]\nmodel = \"gpt-plan\"\n[roles.executor]\nmodel = \"gpt-work\"\n",
    )
    .unwrap();
    let repo = repo.to_str().unwrap();
    let words = ["run", "do it", "--workspace", repo, "--role", "executor.model=gpt-own"];
    let ended = site.run(&mut site.numerus(words));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for request in server.requests() {
        let marker = request.marker();
        let planned = marker.starts_with("NUMERUS_PLAN") || marker.starts_with("NUMERUS_ROLES");
        let model = if planned { "gpt-plan" } else { "gpt-own" };
        assert_eq!(request.body["model"], model, "{marker}");
    }
}

#[test]
fn two_tasks_that_are_both_out_of_attempts_are_not_both_left_out() {
    let script = Script::of([part("t1"), part("t2")])
        .with(execute("t1"), fails())
        .with(execute("t2"), fails())
        .with(on_calls(queen(), &[1]), decides("skip", "the other one will do"))
        .with(queen(), decides("give_up", ""));
    let stage = Stage::new("both-out", &script);
    let job = stage.ends_with(1, &["--max-attempts", "1"]);
    assert!(job.read("queen/prompt-1.md").contains("\nALLOWED: retry, replan, skip, give_up\n"));
    assert!(job.read("queen/prompt-2.md").contains("\nALLOWED: retry, replan, give_up\n"));
    assert_eq!(job.stands().1, "task_failed");
}

#[test]
fn a_review_without_an_end_goes_back_and_is_no_endless_prompt() {
    let many: Vec<Value> =
        (0..3000).map(|n| json!({"path": "t1.txt", "text": format!("{n}")})).collect();
    let flood = says(&json!({"verdict": "changes", "comments": many}));
    let script = Script::of([part("t1"), part("judge").role("reviewer").after(&["t1"])])
        .with(on_calls(review("judge"), &[1]), flood);
    let stage = Stage::new("review-flood", &script);
    let job = stage.ends_with(0, &[]);
    let repair = job.read("judge/prompt-2.md");
    assert!(repair.contains("3000 comments: give at most 50") && repair.len() < 2000, "{repair}");
    assert_eq!(job.landed(), ["t1"]);
}

#[test]
fn planning_that_is_interrupted_too_often_still_publishes_what_landed() {
    let parts = [part("t1"), part("t2")];
    let script = Script::of(parts)
        .with(execute("t2"), fails())
        .with(queen(), decides("replan", "anew"))
        .with(
            json!({"marker": "NUMERUS_PLAN", "contains": "anew"}),
            json!([raise("planning"), {"hang": true}]),
        );
    let stage = Stage::new("unpublished", &script);
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    stage.until_raised("planning");
    job.slay_worker();
    running.wait(PATIENCE);
    for _ in 0..5 {
        std::fs::remove_file(stage.flag("planning")).unwrap();
        let worker = stage.site.spawn(&mut stage.numerus(&["worker", &job.id]));
        stage.until_raised("planning");
        worker.signal(rustix::process::Signal::KILL);
        worker.wait(PATIENCE);
    }
    assert_eq!(job.go_on().code, Some(0), "{}", stage.site.dump());
    assert_eq!(job.stands(), ("failed".to_owned(), "interrupted".to_owned()));
    assert_eq!(
        (job.landed(), job.status()["branch"].as_str()),
        (vec!["t1".to_owned()], Some(&*job.branch()))
    );
    assert!(job.read("summary.md").contains("interrupted too often"));
    job.is_clean();
}

#[test]
fn trouble_while_the_branch_is_made_passes() {
    let script = Script::of([part("t1")]).working("t1", &[raise("works"), wait_for("go")]);
    let stage = Stage::new("locked-branch", &script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("works");
    let refs = stage.workspace.join(".git/refs/numerus").join(&job.id);
    let in_the_way = refs.join("published");
    std::fs::create_dir(&in_the_way).unwrap();
    std::fs::write(in_the_way.join("x"), "").unwrap();
    stage.raise("go");
    job.until("job.locks_released", "t1");
    stage.site.until("a try has failed", PATIENCE, || {
        stage.workspace.join(".git/refs/heads").join(job.branch()).exists()
    });
    assert!(job.all("job.finished", "").is_empty());
    std::fs::remove_dir_all(in_the_way).unwrap();
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!((job.all("job.landed", "").len(), job.landed()), (1, vec!["t1".to_owned()]));
}
