//! What a task claims, it has alone; what it did not claim does not land. Both as seen from outside, in whole jobs.

use serde_json::json;

use crate::rehearsal::{
    OUTSIDE, Script, Stage, claim, claims, execute, on_calls, part, raise, wait_for,
};
use crate::site::PATIENCE;

/// The first execution of `t1` also writes what it did not claim.
fn straying(calls: &[u32]) -> Script {
    Script::of([part("t1")]).with(
        on_calls(execute("t1"), calls),
        json!([{"write": {"path": "t1.txt", "text": "t1\n"}}, {"write": {"path": "stray.txt", "text": "!\n"}}, {"message": "done"}]),
    )
}

#[test]
fn what_was_not_claimed_does_not_land_and_a_second_attempt_may_behave() {
    let stage = Stage::new("stray-once", &straying(&[1]));
    let job = stage.ends_with(0, &[]);
    assert_eq!((job.landed(), job.on_branch("stray.txt")), (vec!["t1".to_owned()], None));
    assert!(job.read("t1/out-of-claim.patch").contains("stray.txt"));
    assert!(job.read("t1/attempt-1.patch").contains("t1.txt"));
    assert_eq!(job.all("job.claim_violated", "t1")[0]["payload"]["paths"], json!(["stray.txt"]));
    assert!(job.read("t1/prompt-3.md").contains("stray.txt"), "it is told");
    job.is_clean();
}

#[test]
fn a_task_that_keeps_straying_fails() {
    let stage = Stage::new("stray", &straying(&[1, 2, 3, 4]));
    let job = stage.ends_with(1, &[]);
    assert_eq!(job.tasks(), ["t1 failed"]);
    assert_eq!(job.all("job.claim_recorded", "t1").len(), 2);
    assert_eq!(stage.git(&["branch", "--format=%(refname:short)"]), "main\n");
    job.is_clean();
}

#[test]
fn of_two_tasks_that_claim_one_file_the_second_waits_and_says_for_whom() {
    let parts = [part("t1").writes(&["shared.txt"]), part("t2").writes(&["shared.txt"])];
    let script =
        Script::of(parts).working("t1", &[wait_for("flag")]).working("t2", &[wait_for("flag")]);
    let stage = Stage::new("shared", &script);
    let (running, job) = stage.start(&[]);
    job.until("job.claim_blocked", "");
    let blocked = job.all("job.claim_blocked", "")[0]["task_id"].as_str().unwrap().to_owned();
    let holder = if blocked == "t1" { "t2" } else { "t1" };
    let record = job.json(&format!("{blocked}_claim.json"));
    let held_by = json!({"job": job.id, "task": holder});
    assert_eq!(record["verdicts"][0]["verdict"], "NO GO", "{record}");
    assert_eq!(
        record["verdicts"][0]["conflicts"],
        json!([{"path": "shared.txt", "mode": "write", "held_by": held_by}])
    );
    let status = job.status();
    let waits =
        status["tasks"].as_array().unwrap().iter().find(|t| t["id"] == blocked.as_str()).unwrap();
    assert_eq!(waits["state"], "blocked");
    assert!(waits["waits_for"].to_string().contains(holder), "{waits}");
    stage.raise("flag");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!(job.landed(), [holder, &blocked]);
    assert_eq!(job.on_branch("shared.txt"), Some(format!("{holder}\n{blocked}\n")));
    let record = job.json(&format!("{blocked}_claim.json"));
    assert_eq!(record["verdicts"][1]["verdict"], "GO", "{record}");
    assert!(job.at("job.claim_approved", &blocked) > job.at("job.task_completed", holder));
    job.is_clean();
}

#[test]
fn two_jobs_of_one_repository_wait_for_each_other() {
    let script = Script::of([part("t1").writes(&["src/"])]).with(
        execute("t1"),
        json!([wait_for("flag"), {"write": {"path": "src/new.txt", "text": "x\n"}}, {"message": "done"}]),
    );
    let stage = Stage::new("two-jobs", &script);
    let (first, one) = stage.start(&[]);
    one.until("job.claim_approved", "t1");
    let (second, two) = stage.start(&[]);
    two.until("job.claim_blocked", "t1");
    let conflicts = &two.all("job.claim_blocked", "t1")[0]["payload"]["conflicts"];
    assert_eq!(conflicts[0]["held_by"], json!({"job": one.id, "task": "t1"}));
    stage.raise("flag");
    assert_eq!((first.wait(PATIENCE).code, second.wait(PATIENCE).code), (Some(0), Some(0)));
    assert_eq!((one.landed(), two.landed()), (vec!["t1".to_owned()], vec!["t1".to_owned()]));
    two.is_clean();
}

#[test]
fn a_dead_jobs_lease_does_not_block_another_job() {
    let script = Script::of([part("t1")])
        .with(on_calls(execute("t1"), &[1]), json!([raise("flag"), {"hang": true}]));
    let stage = Stage::new("dead-lease", &script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("flag");
    job.slay_worker();
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    let other = stage.ends_with(0, &[]);
    assert_eq!(other.landed(), ["t1"]);
    other.is_clean();
}

#[test]
fn independent_tasks_work_at_the_same_time() {
    let script = Script::of([part("t1"), part("t2")])
        .working("t1", &[raise("a"), wait_for("b")])
        .working("t2", &[raise("b"), wait_for("a")]);
    let stage = Stage::new("overlap", &script);
    let job = stage.ends_with(0, &["--max-parallel", "2"]);
    assert_eq!((job.charged("t1"), job.charged("t2")), (0, 0), "each waited for the other");
    assert!(job.at("job.task_started", "t1") < job.at("job.task_completed", "t2"));
    assert!(job.at("job.task_started", "t2") < job.at("job.task_completed", "t1"));
}

#[test]
fn a_task_that_waits_for_a_lease_takes_no_lane() {
    let parts =
        [part("t1").writes(&["shared.txt"]), part("t2").writes(&["shared.txt"]), part("t3")];
    let script = Script::of(parts)
        .with(on_calls(claim("t2"), &[1]), json!([wait_for("blocked"), claims(&["shared.txt"])]))
        .working("t1", &[raise("blocked"), wait_for("free")])
        .working("t3", &[raise("free")]);
    let stage = Stage::new("lanes", &script);
    let job = stage.ends_with(0, &["--max-parallel", "2"]);
    assert_eq!(job.charged("t1"), 0, "the third task ran while the first still worked");
    assert!(job.at("job.claim_blocked", "t2") < job.at("job.task_started", "t3"));
}

#[test]
fn a_later_job_is_told_how_good_the_claims_of_earlier_ones_were() {
    let stage = Stage::new("quality", &straying(&[1, 2, 3, 4]));
    let (_whatever_it_came_to, first) = stage.run(&[]);
    let measured = first.all("job.claim_measured", "t1");
    let attempts = first.all("job.claim_recorded", "t1").len();
    assert_eq!(measured.len(), attempts, "once an attempt");
    let quality = &measured[0]["payload"]["quality"];
    let expected = json!({"precision": 1.0, "recall": 0.5, "missed": ["stray.txt"], "unused": []});
    assert_eq!(*quality, expected);
    assert!(!first.read("t1/prompt-1.md").contains("In earlier work here"), "nothing is known yet");
    let memory = std::fs::read_to_string(stage.site.root().join("store/memory.ndjson")).unwrap();
    assert!(memory.contains("\"claim_recall\":0.5,\"missed\":[\"stray.txt\"]"), "{memory}");

    stage.follow(&Script::of([part("t1")]));
    let second = stage.ends_with(0, &[]);
    let told = "In earlier work here, 100 % of what was claimed was written and 50 % of what was written had been \
                claimed; often forgotten: \"stray.txt\".\n";
    for prompt in ["t1/prompt-1.md", "plan/prompt-1.md"] {
        assert!(second.read(prompt).contains(told), "{prompt}: {}", second.read(prompt));
    }

    let truth = stage.site.root().join("store/memory.ndjson");
    std::fs::remove_file(&truth).unwrap();
    std::fs::create_dir(&truth).unwrap();
    let third = stage.ends_with(0, &[]);
    assert!(!third.read("t1/prompt-1.md").contains("In earlier work here"), "no memory, no harm");
}

/// Claims that meet each other in every way, each with the places that its task then has alone.
const CROWD: [(&str, &[&str]); 8] = [
    ("src/lib.rs", &["lib"]),
    ("src/", &["lib", "src"]),
    ("src/*.rs", &["lib", "src"]),
    ("SRC/lib.rs", &["lib"]),
    ("docs/a.md", &["docs"]),
    ("docs/**/*.md", &["docs"]),
    ("link/lib.rs", &["lib"]),
    (".", &["lib", "src", "docs"]),
];

/// A job each, all of one repository: who executes makes a folder for every place that it must have alone, and removes it
/// again when it has written. Whoever finds such a folder says so.
fn crowd() -> Script {
    let mut script = Script::of([part("t1")]);
    for (claimed, places) in CROWD {
        script = script.with(on_calls(claim("t1"), &[1]), json!([claims(&[claimed])]));
        let (shown, file) = match claimed {
            "link/lib.rs" => ("src/lib.rs", "src/lib.rs"),
            "." => ("./", "docs/a.md"),
            "docs/**/*.md" => (claimed, "docs/a.md"),
            "src/" | "src/*.rs" => (claimed, "src/lib.rs"),
            file => (file, file),
        };
        let each = |what: &str| {
            let one = |place: &&str| what.replace("PLACE", &format!("{OUTSIDE}/alone-{place}"));
            places.iter().map(one).collect::<Vec<_>>().join("; ")
        };
        let play = json!([
            {"command": each("mkdir PLACE || touch PLACE-clash")},
            {"write": {"path": file, "text": "more\n", "append": true}},
            {"command": format!("echo done >> {OUTSIDE}/executed; {}", each("rmdir PLACE"))},
            {"message": "done"},
        ]);
        let mut when = execute("t1");
        when["contains"] = json!(format!("\"writes\":[\"{shown}\"]"));
        script = script.with(when, play);
    }
    script
}

#[test]
fn eight_workers_on_one_repository_never_write_what_another_has() {
    let stage = Stage::new("crowd", &crowd());
    for (dir, file) in [("src", "lib.rs"), ("docs", "a.md")] {
        std::fs::create_dir_all(stage.workspace.join(dir)).unwrap();
        std::fs::write(stage.workspace.join(dir).join(file), "one\n").unwrap();
    }
    std::os::unix::fs::symlink("src", stage.workspace.join("link")).unwrap();
    stage.git(&["add", "-A"]);
    stage.git(&["commit", "-qm", "more"]);
    for running in stage.crowd(CROWD.len(), &["--plan", "single"]) {
        let ended = running.wait(PATIENCE);
        assert_eq!(ended.code, Some(0), "{ended:?}\n{}", stage.site.dump());
    }
    let jobs = stage.all_jobs();
    assert_eq!(jobs.len(), CROWD.len());
    for job in &jobs {
        assert_eq!(job.all("job.task_completed", "t1").len(), 1, "{}", stage.site.dump());
        assert!(job.landed().contains(&"t1".to_owned()));
        job.is_clean();
    }
    for place in ["lib", "src", "docs"] {
        assert!(!stage.flag(&format!("alone-{place}-clash")).exists(), "{}", stage.site.dump());
    }
    let executed = std::fs::read_to_string(stage.flag("executed")).unwrap();
    assert_eq!(executed.lines().count(), CROWD.len());
    let waited = jobs.iter().filter(|job| !job.all("job.claim_blocked", "t1").is_empty()).count();
    assert!(waited > 0, "they meet at all");
}

#[test]
fn a_pattern_lands_what_it_matches_and_holds_its_directory() {
    let parts = [part("t1").writes(&["src/*.rs"]), part("t2").writes(&["src/other.md"])];
    let script = Script::of(parts)
        .with(
            execute("t1"),
            json!([wait_for("flag"), {"write": {"path": "src/new.rs", "text": "x\n"}}, {"message": "done"}]),
        )
        .with(claim("t2"), json!([wait_for("first"), claims(&["src/other.md"])]));
    let stage = Stage::new("pattern", &script);
    let (running, job) = stage.start(&[]);
    job.until("job.claim_approved", "t1");
    stage.raise("first");
    job.until("job.claim_blocked", "t2");
    stage.raise("flag");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!(job.on_branch("src/new.rs"), Some("x\n".to_owned()));
    assert!(
        job.read("t1/prompt-2.md").contains("RESOURCES: {\"reads\":[],\"writes\":[\"src/*.rs\"]}")
    );
    let resources = &job.json("t1_claim.json")["resources"]["writes"];
    assert_eq!(*resources, json!([{"path": "src", "is_dir": true, "glob": "*.rs"}]));
    job.is_clean();
}
