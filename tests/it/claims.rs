//! What a task claims, it has alone; what it did not claim does not land. Both as seen from outside, in whole jobs.

use serde_json::json;

use crate::rehearsal::{
    OUTSIDE, Part, Script, Stage, claim, claims, claims_reading, execute, on_calls, part, raise,
    wait_for,
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
    let job = stage.ends_with(0, &["--no-amend"]);
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
    let job = stage.ends_with(1, &["--no-amend"]);
    assert_eq!(job.tasks(), ["t1 failed"]);
    assert_eq!(job.all("job.claim_recorded", "t1").len(), 2);
    assert_eq!(stage.git(&["branch", "--format=%(refname:short)"]), "main\n");
    job.is_clean();
}

#[test]
fn what_was_written_beside_a_claim_and_is_free_lands_with_the_rest() {
    let stage = Stage::new("amended", &straying(&[1]));
    let job = stage.ends_with(0, &[]);
    assert_eq!((job.landed(), job.charged("t1")), (vec!["t1".to_owned()], 0));
    assert_eq!(job.on_branch("stray.txt").as_deref(), Some("!\n"));
    let amended = job.all("job.claim_amended", "t1");
    assert_eq!(amended[0]["payload"], json!({"attempt": 1, "paths": ["stray.txt"]}));
    assert!(job.at("job.claim_amended", "t1") < job.at("job.task_landing", "t1"));
    let record = job.json("t1_claim.json");
    assert_eq!(record["resources"]["writes"][0]["path"], "t1.txt", "as it was made: {record}");
    assert_eq!(record["amended"][0]["path"], "stray.txt", "{record}");
    assert_eq!(record["verdicts"][1]["verdict"], "GO", "{record}");
    job.is_clean();
}

#[test]
fn what_an_operator_forbids_is_not_amended() {
    let stage = Stage::new("amend-forbidden", &straying(&[1]));
    let settings = stage.site.root().join("numerus.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text + "amend = false\n").unwrap();
    let job = stage.ends_with(0, &[]);
    assert_eq!((job.charged("t1"), job.on_branch("stray.txt")), (1, None));
    assert!(job.all("job.claim_amended", "").is_empty());
}

#[test]
fn what_another_task_holds_is_not_added_to_a_claim() {
    let beside = json!([wait_for("held"), {"write": {"path": "t1.txt", "text": "1\n"}}, {"write": {"path": "t2.txt", "text": "!\n"}}, {"message": "done"}]);
    let script = Script::of([part("t1"), part("t2")])
        .with(on_calls(execute("t1"), &[1]), beside)
        .working("t2", &[raise("held"), wait_for("free")]);
    let stage = Stage::new("amend-held", &script);
    let (running, job) = stage.start(&[]);
    job.until("job.task_completed", "t1");
    stage.raise("free");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!((job.landed(), job.charged("t1")), (vec!["t1".to_owned(), "t2".to_owned()], 1));
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\n"), "the second attempt's");
    assert_eq!(job.on_branch("t2.txt").as_deref(), Some("t2\n"));
    assert!(job.all("job.claim_amended", "").is_empty());
    assert_eq!(job.all("job.claim_violated", "t1")[0]["payload"]["paths"], json!(["t2.txt"]));
    assert!(job.read("t1/out-of-claim.patch").contains("t2.txt"));
    assert!(job.read("t1/attempt-1.patch").contains("t1.txt"));
    let told = job.read("t1/prompt-3.md");
    assert!(told.starts_with("NUMERUS_CLAIM"), "{told}");
    assert!(told.contains(&format!("t2.txt is held by {}/t2", job.id)), "{told}");
    job.is_clean();
}

#[test]
fn what_was_not_claimed_is_never_moved_away() {
    let away = json!([{"rename": {"from": "README", "to": "t1.txt"}}, {"message": "done"}]);
    let script = Script::of([part("t1")]).with(on_calls(execute("t1"), &[1]), away);
    let stage = Stage::new("amend-gone", &script);
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.charged("t1"), 1);
    assert_eq!(job.on_branch("README").as_deref(), Some("hello\n"));
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\n"));
    assert_eq!(job.all("job.claim_violated", "t1")[0]["payload"]["paths"], json!(["README"]));
    assert!(job.read("t1/prompt-3.md").contains("README was removed"), "it is told why");
}

#[test]
fn an_amendment_to_what_another_job_has_landed_claims_again_from_there() {
    let stage = Stage::new("amend-stale", &Script::of([part("t0").writes(&["shared.txt"])]));
    let first = stage.ends_with(0, &[]);
    let beside = json!([{"write": {"path": "shared.txt", "text": "!\n"}}, {"message": "done"}]);
    stage.follow(&Script::of([part("t1")]).with(on_calls(execute("t1"), &[1]), beside));
    let job = stage.ends_with(0, &[]);
    assert_eq!(job.all("job.base_moved", "t1")[0]["payload"]["paths"], json!(["shared.txt"]));
    assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]));
    assert_eq!(job.all("job.base_advanced", "")[0]["payload"]["from"], first.id.as_str());
    assert_eq!(job.on_branch("shared.txt").as_deref(), Some("t0\n"));
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
    let waits = || {
        let status = job.status();
        status["tasks"].as_array().unwrap().iter().find(|t| t["id"] == blocked.as_str()).cloned()
    };
    // The status is written after the journal.
    stage.site.until("blocked", PATIENCE, || waits().is_some_and(|t| t["state"] == "blocked"));
    let waits = waits().unwrap();
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
        json!([wait_for("flag"), {"write": {"path": "src/new.txt", "text": "x\n", "append": true}}, {"message": "done"}]),
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

/// Merges branches into the user's as a user does, with git's own settings.
fn merge(stage: &Stage, branches: &[String]) {
    for branch in branches {
        stage.git(&["merge", "--quiet", "--no-edit", branch]);
    }
    assert_eq!(stage.git(&["status", "--porcelain"]), "");
}

#[test]
fn two_jobs_that_claim_one_file_go_one_after_the_other_and_merge_cleanly() {
    let on_lib = |task: &str| Script::of([part(task).writes(&["src/lib.rs"])]);
    let stage = Stage::new("one-file", &on_lib("t1").working("t1", &[wait_for("flag")]));
    let (first, one) = stage.start(&[]);
    one.until("terminal.started", "t1");
    one.until("job.task_started", "t1");
    stage
        .site
        .until("its agent is at work", PATIENCE, || one.all("terminal.started", "t1").len() == 2);
    stage.follow(&on_lib("t2"));
    let (second, two) = stage.start(&[]);
    two.until("job.claim_blocked", "t2");
    let held_by = json!({"job": one.id, "task": "t1"});
    let conflicts = json!([{"path": "src/lib.rs", "mode": "write", "held_by": held_by}]);
    assert_eq!(two.all("job.claim_blocked", "t2")[0]["payload"]["conflicts"], conflicts);
    let record = two.json("t2_claim.json");
    assert_eq!(record["verdicts"][0]["verdict"], "NO GO", "{record}");
    assert_eq!(record["verdicts"][0]["conflicts"], conflicts);
    let holder = format!("{}/t1", one.id);
    stage.site.until("the status tells who holds it, too", PATIENCE, || {
        stage.call(&["status", &two.id]).stdout.contains(&holder)
    });
    assert!(two.all("job.task_started", "t2").is_empty());
    stage.raise("flag");
    assert_eq!((first.wait(PATIENCE).code, second.wait(PATIENCE).code), (Some(0), Some(0)));
    assert_eq!((one.landed(), two.landed()), (vec!["t1".to_owned()], vec!["t2".to_owned()]));
    assert_eq!(one.on_branch("src/lib.rs").as_deref(), Some("t1\n"));
    assert_eq!(two.on_branch("src/lib.rs").as_deref(), Some("t1\nt2\n"), "it built on the first");
    assert_eq!(two.all("job.base_advanced", "")[0]["payload"]["from"], one.id.as_str());
    stage.git(&["branch", "other"]);
    merge(&stage, &[one.branch(), two.branch()]);
    assert_eq!(stage.git(&["show", "main:src/lib.rs"]), "t1\nt2\n");
    stage.git(&["checkout", "--quiet", "other"]);
    merge(&stage, &[two.branch(), one.branch()]);
    assert_eq!(stage.git(&["show", "other:src/lib.rs"]), "t1\nt2\n");
    two.is_clean();
}

#[test]
fn thirteen_tasks_side_by_side_all_land() {
    let ids: Vec<String> = (1..=13).map(|n| format!("t{n}")).collect();
    let parts: Vec<Part> = ids.iter().map(|id| part(id)).collect();
    let mut script = Script::of(parts);
    for id in &ids {
        let file = format!("{id}.txt");
        let answer = claims_reading(&["README", "src/"], &[&file]);
        // Nobody ends before everybody works.
        let all = format!("until [ $(ls {OUTSIDE}/at-work-* | wc -l) = 13 ]; do sleep 0.05; done");
        let steps = [raise(&format!("at-work-{id}")), json!({"command": all})];
        script = script.with(claim(id), json!([answer])).working(id, &steps);
    }
    let stage = Stage::new("thirteen", &script);
    let job = stage.ends_with(0, &["--max-parallel", "13"]);
    let mut landed = job.landed();
    landed.sort();
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(landed, expected);
    for id in &ids {
        assert_eq!(job.on_branch(&format!("{id}.txt")), Some(format!("{id}\n")));
        assert_eq!(job.charged(id), 0);
    }
    for event in ["job.claim_blocked", "job.base_moved", "job.task_retried"] {
        assert!(job.all(event, "").is_empty(), "{event}");
    }
    let merges = stage.git(&["rev-list", "--count", "--merges", &job.branch()]);
    assert_eq!(merges, "0\n", "one line of 13 commits");
    merge(&stage, &[job.branch()]);
    job.is_clean();
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

    // All that the memory could be made of again.
    let store = stage.site.root().join("store");
    for entry in std::fs::read_dir(&store).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("memory.") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    std::fs::create_dir(store.join("memory.ndjson")).unwrap();
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
