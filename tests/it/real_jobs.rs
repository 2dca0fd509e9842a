//! Whole jobs on the real codex binary, against a scripted model on loopback: what Numerus promises holds with the program
//! that people use, not only with the stand-in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model_server::{Answer, ModelRequest, ModelServer};
use crate::site::Site;

/// A model that plays a team: plans the given tasks, gives them roles, claims and writes one file each.
pub(crate) struct Team {
    tasks: Vec<Value>,
    /// How often each task was asked to execute, so that the second step of a turn ends it.
    seen: Mutex<BTreeMap<String, u32>>,
}

impl Team {
    /// Tasks by name, each with those it depends on.
    pub(crate) fn of(tasks: &[(&str, &[&str])]) -> Self {
        let task = |(id, on): &(&str, &[&str])| {
            json!({
                "id": id, "summary": format!("write {id}"), "description": format!("write {id}.txt"),
                "dependencies": on, "resources": {"reads": [], "writes": [format!("{id}.txt")]},
            })
        };
        Self { tasks: tasks.iter().map(task).collect(), seen: Mutex::default() }
    }

    pub(crate) fn answer(&self, request: &ModelRequest) -> Answer {
        let task = request.fact("TASK_ID").unwrap_or_default();
        match request.marker().split(' ').next().unwrap_or_default() {
            "NUMERUS_PLAN" => Answer::json(&json!({"objective": "o", "tasks": self.tasks})),
            "NUMERUS_ROLES" => {
                let role = |t: &Value| json!({"id": t["id"], "role": "executor", "notes": ""});
                let roles: Vec<Value> = self.tasks.iter().map(role).collect();
                Answer::json(&json!({"roles": roles, "strategy": "each its own file"}))
            }
            "NUMERUS_CLAIM" => Answer::json(&json!({
                "task_id": task, "resources": {"reads": [], "writes": [format!("{task}.txt")]},
                "execution": {"commands": []},
            })),
            "NUMERUS_EXECUTE" => self.execute(&task),
            "NUMERUS_QUEEN" => {
                Answer::json(&json!({"decision": "give_up", "advice": "it cannot be done"}))
            }
            other => panic!("nobody plays {other:?}"),
        }
    }

    fn execute(&self, task: &str) -> Answer {
        let mut seen = self.seen.lock().unwrap();
        let step = seen.entry(task.to_owned()).or_default();
        *step += 1;
        if *step % 2 == 1 {
            let file = format!(
                "*** Begin Patch\n*** Add File: {task}.txt\n+{task} was here\n*** End Patch\n"
            );
            return Answer::patch(&file);
        }
        Answer::say(format!("wrote {task}.txt"))
    }
}

fn submit(site: &Site, repo: &Path, further: &[&str]) -> crate::site::Ended {
    let repo = repo.to_str().unwrap().to_owned();
    let mut words = vec!["run", "do it", "--workspace", &repo];
    words.extend(further);
    site.run(&mut site.numerus(words))
}

fn only_job(site: &Site) -> String {
    site.jobs().into_iter().next().expect("a job")
}

fn names(journal: &[Value]) -> Vec<&str> {
    journal.iter().map(|e| e["event"].as_str().unwrap()).collect()
}

#[test]
fn a_whole_job_lands_through_the_real_codex() {
    let site = Site::new("whole-job");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[]), ("two", &[]), ("three", &["one", "two"])]);
    let server = ModelServer::start(move |request| team.answer(request));
    server.write_config(&site.codex_home());
    let before = site.git(&repo, &["rev-parse", "HEAD"]);
    let ended = submit(&site, &repo, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", site.dump());
    let job = only_job(&site);
    let subjects = site.git(&repo, &["log", "--format=%s", &format!("main..numerus/{job}")]);
    assert_eq!(subjects.lines().next(), Some("write three"));
    assert_eq!(subjects.lines().count(), 3);
    let three = site.git(&repo, &["show", &format!("numerus/{job}:three.txt")]);
    assert_eq!(three, "three was here\n");
    assert_eq!(site.git(&repo, &["rev-parse", "HEAD"]), before);
    assert_eq!(site.git(&repo, &["status", "--porcelain"]), "");
    let run = site.root().join("runs").join(&job);
    for task in ["one", "two", "three"] {
        for file in [
            format!("{task}_claim.json"),
            format!("{task}/stdout.log"),
            format!("{task}/events.ndjson"),
        ] {
            assert!(run.join(&file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
        }
    }
    let journal = site.journal(&job);
    let events = names(&journal);
    for event in [
        "job.submitted",
        "job.claimed",
        "job.plan_created",
        "job.roles_assigned",
        "job.claim_recorded",
        "job.claim_approved",
        "job.task_started",
        "job.task_completed",
        "job.locks_released",
        "job.landed",
        "memory.entry_added",
        "job.finished",
        "terminal.session_opened",
        "terminal.started",
        "terminal.exit",
    ] {
        assert!(events.contains(&event), "{event} in {events:?}");
    }
    // The execution goes on with the claim's own thread, and each turn's tokens are counted once.
    let ends: Vec<&Value> = journal
        .iter()
        .filter(|e| e["event"] == "terminal.session_ended")
        .map(|e| &e["payload"])
        .collect();
    let of_one: Vec<&&Value> = ends.iter().filter(|e| e["place"] == "one").collect();
    assert_eq!(of_one.len(), 2);
    assert_eq!(of_one[0]["thread_id"], of_one[1]["thread_id"]);
    let spent: u64 = ends.iter().map(|e| e["tokens"]["input_tokens"].as_u64().unwrap()).sum();
    let asked: u64 = u64::try_from(server.requests().len()).unwrap();
    assert!(spent > 0 && spent.is_multiple_of(asked), "{spent} tokens for {asked} equal requests");
}

#[test]
fn six_independent_tasks_work_side_by_side_on_the_real_codex() {
    let site = Site::new("six");
    let tasks: [(&str, &[&str]); 6] =
        [("a", &[]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[]), ("f", &[])];
    let team = Team::of(&tasks);
    let server = ModelServer::start(move |request| {
        let answer = team.answer(request);
        let is_first_step = request.tool_outputs().is_empty();
        if is_first_step { answer.after(Duration::from_secs(1)) } else { answer }
    });
    server.write_config(&site.codex_home());
    let repo = site.git_repo();
    let start = std::time::Instant::now();
    let ended = submit(&site, &repo, &["--max-parallel", "6"]);
    eprintln!("six tasks, four sessions of one second each in a row: {:?}", start.elapsed());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let journal = site.journal(&only_job(&site));
    let at = |name: &str| {
        let seq = |e: &Value| e["seq"].as_u64().unwrap();
        journal.iter().filter(|e| e["event"] == name).map(seq).collect::<Vec<_>>()
    };
    let first_end = at("job.task_completed").into_iter().min().unwrap();
    let side_by_side = at("job.task_started").into_iter().filter(|seq| *seq < first_end).count();
    assert!(side_by_side >= 2, "{side_by_side} were under way when the first ended");
}

#[test]
fn a_model_that_writes_what_it_did_not_claim_lands_nothing_unless_claims_may_be_widened() {
    let site = Site::new("out-of-claim");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[])]);
    let server = ModelServer::start(move |request| {
        let is_first_step =
            request.marker().starts_with("NUMERUS_EXECUTE") && request.tool_outputs().is_empty();
        if is_first_step {
            return Answer::exec("echo x > one.txt; echo y > sneaked.txt");
        }
        if request.marker().starts_with("NUMERUS_EXECUTE") {
            return Answer::say("done");
        }
        team.answer(request)
    });
    server.write_config(&site.codex_home());
    let ended = submit(&site, &repo, &["--no-amend"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let job = only_job(&site);
    assert_eq!(site.git(&repo, &["branch", "--list", "numerus/*"]), "");
    let kept =
        std::fs::read_to_string(site.root().join("runs").join(&job).join("one/out-of-claim.patch"))
            .unwrap();
    assert!(kept.contains("sneaked.txt") && !kept.contains("one.txt"), "{kept}");
    let journal = site.journal(&job);
    assert_eq!(
        names(&journal).iter().filter(|e| **e == "job.claim_violated").count(),
        2,
        "claims once more, then fails"
    );
}

#[test]
fn a_usage_limit_parks_the_job_and_an_expired_login_does_too() {
    for (answer, reason, code) in [
        (Answer::usage_limit as fn(u64) -> Answer, "limit", 4),
        (
            (|_| Answer::status(401, r#"{"error":{"message":"bad key"}}"#)) as fn(u64) -> Answer,
            "auth",
            6,
        ),
    ] {
        let site = Site::new("parked");
        let repo = site.git_repo();
        let server = ModelServer::start(move |_| answer(3600));
        server.write_config(&site.codex_home());
        let ended = submit(&site, &repo, &[]);
        let job = only_job(&site);
        let journal = site.journal(&job);
        let paused = journal
            .iter()
            .find(|e| e["event"] == "job.paused")
            .unwrap_or_else(|| panic!("{ended:?}"));
        assert_eq!(paused["payload"]["reason"], reason);
        assert_eq!(paused["payload"]["until"].is_string(), reason == "limit", "{paused}");
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
}

#[test]
fn a_server_that_hiccups_once_costs_no_attempt() {
    let site = Site::new("hiccup");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[])]);
    let failed = Mutex::new(0);
    let server = ModelServer::start(move |request| {
        let mut failed = failed.lock().unwrap();
        if request.marker().starts_with("NUMERUS_CLAIM") && *failed < 2 {
            *failed += 1;
            return Answer::status(
                503,
                r#"{"error":{"code":"server_is_overloaded","message":"busy"}}"#,
            );
        }
        team.answer(request)
    });
    server.write_config(&site.codex_home());
    let ended = submit(&site, &repo, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", site.dump());
    let journal = site.journal(&only_job(&site));
    assert!(names(&journal).contains(&"terminal.session_retried"));
    let landed = journal.iter().find(|e| e["event"] == "job.task_completed").unwrap();
    assert_eq!(landed["payload"]["attempt"], 1);
}

#[test]
fn a_plan_that_is_no_json_goes_back_once_with_its_errors() {
    let site = Site::new("malformed");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[])]);
    let plans = Mutex::new(0);
    let server = ModelServer::start(move |request| {
        let mut plans = plans.lock().unwrap();
        if request.marker().starts_with("NUMERUS_PLAN") {
            *plans += 1;
            if *plans == 1 {
                return Answer::say("Sure! Here is my plan.");
            }
        }
        team.answer(request)
    });
    server.write_config(&site.codex_home());
    let ended = submit(&site, &repo, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let place = site.root().join("runs").join(only_job(&site)).join("plan");
    let repair = std::fs::read_to_string(place.join("prompt-2.md")).unwrap();
    assert!(
        repair.starts_with("NUMERUS_PLAN V1") && repair.contains("not one JSON object"),
        "{repair}"
    );
}

#[test]
fn a_model_that_never_answers_is_ended_by_our_own_deadline() {
    let site = Site::new("deadline");
    let repo = site.git_repo();
    let server = ModelServer::start(|_| Answer::hang());
    server.write_config(&site.codex_home());
    let ended = submit(&site, &repo, &["--timeout", "plan=2s", "--max-attempts", "1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let job = only_job(&site);
    let journal = site.journal(&job);
    assert!(names(&journal).contains(&"terminal.timeout"));
    assert!(crate::site::processes_with_env("NUMERUS_JOB", &job).is_empty());
}

#[test]
fn kill_ends_the_tools_of_a_running_agent_with_all_that_they_started() {
    let site = Site::new("kill");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[])]);
    let server = ModelServer::start(move |request| {
        if request.marker().starts_with("NUMERUS_EXECUTE") {
            return Answer::exec("sleep 1000 & setsid sleep 1000 & touch started; sleep 1000");
        }
        team.answer(request)
    });
    server.write_config(&site.codex_home());
    std::fs::write(site.root().join("numerus.toml"), "sandbox = \"danger-full-access\"\n").unwrap();
    let repo_text = repo.to_str().unwrap().to_owned();
    let words = ["run", "do it", "--workspace", &repo_text, "--sandbox", "danger-full-access"];
    let running = site.spawn(&mut site.numerus(words));
    let patience = Duration::from_secs(60);
    site.until("the tool runs", patience, || {
        let runs = site.root().join("runs");
        site.jobs().iter().any(|job| runs.join(job).join("one/tree-1/started").exists())
    });
    let job = only_job(&site);
    site.until("all of them live", patience, || {
        crate::site::processes_with_env("NUMERUS_JOB", &job).len() >= 4
    });
    let killed = site.run(&mut site.numerus(["kill", &job]));
    assert_eq!(killed.code, Some(0), "{killed:?}");
    site.until("nothing is left", Duration::from_secs(10), || {
        crate::site::processes_with_env("NUMERUS_JOB", &job).is_empty()
    });
    let ended = running.wait(patience);
    assert_ne!(ended.code, Some(0));
    site.until("the job file lies in killed/", Duration::from_secs(10), || {
        site.root().join("spool/killed").join(format!("{job}.json")).exists()
    });
}
