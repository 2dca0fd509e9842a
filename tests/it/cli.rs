//! The commands as a person or a script meets them: what they print, their exit codes, and that they need nothing running.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use numerus::os::lock::FileLock;
use serde_json::{Value, json};

use crate::rehearsal::{Script, Stage, part};
use crate::site::{Ended, Site};

fn numerus(site: &Site, args: &[&str]) -> Ended {
    site.run(&mut site.numerus(args))
}

/// Lays out a run folder with these facts, as a worker would have left it.
fn lay_out(site: &Site, job: &str, facts: &[(&str, Value)]) -> PathBuf {
    let folder = site.root().join("runs").join(job);
    fs::create_dir_all(&folder).unwrap();
    let of_job = json!({
        "version": 1, "id": job, "objective": "Fix it\nsoon", "created_at": "2026-03-04T05:06:07Z",
        "options": {"workspace": null, "priority": 0, "after": [], "not_before": null, "key": null,
            "model": null, "profile": null, "plan": "auto", "max_parallel": 4, "max_attempts": 3,
            "timeouts": {"plan": "10m", "roles": "10m", "claim": "10m", "execute": "1h",
                "review": "10m", "queen": "10m", "verify": "10m", "no_progress": "10m"},
            "budget": {"tokens": null, "wall_seconds": null}, "isolation": "worktree", "setup": [],
            "carry": [], "verify": [], "review": false, "network": false,
            "sandbox": "workspace-write", "on_interrupt": "retry", "labels": [], "rehearse": null,
            "approve": false},
        "origin": {"name": "x.md", "bytes": 1, "sha256": "", "uid": 0},
    });
    fs::write(folder.join("job.json"), of_job.to_string()).unwrap();
    let mut seq = 0;
    for (name, payload) in facts {
        seq += 1;
        append(&folder, seq, name, payload);
    }
    let end = facts
        .iter()
        .find(|(name, _)| *name == "job.finished")
        .map(|(_, payload)| &payload["state"]);
    let place = match end.and_then(Value::as_str) {
        None => "claimed",
        Some("succeeded") => "done",
        Some(other) => other,
    };
    let spool = site.root().join("spool").join(place);
    fs::create_dir_all(&spool).unwrap();
    fs::write(spool.join(format!("{job}.json")), "{}").unwrap();
    folder
}

fn append(folder: &std::path::Path, seq: u64, name: &str, payload: &Value) {
    use std::io::Write;
    let job = folder.file_name().unwrap().to_str().unwrap();
    let ts = format!("2026-03-04T05:06:{:02}Z", seq % 60);
    let event = json!({"seq": seq, "ts": ts, "event": name, "payload": payload, "job_id": job,
                       "task_id": null});
    let path = folder.join("events.ndjson");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{event}\n").as_bytes()).unwrap();
}

fn claimed() -> (&'static str, Value) {
    ("job.claimed", json!({"file": "x.md"}))
}

fn finished(state: &str) -> (&'static str, Value) {
    ("job.finished", json!({"state": state, "reason": "r", "message": "because"}))
}

fn say(folder: &std::path::Path, place: &str, second: u8, text: &str) {
    use std::io::Write;
    let dir = folder.join(place);
    fs::create_dir_all(&dir).unwrap();
    let line = json!({"ts": format!("2026-03-04T05:06:{second:02}Z"), "session": 1, "attempt": 1,
        "event": {"type": "item.completed",
                  "item": {"id": "item_0", "type": "agent_message", "text": text}}});
    let open =
        |name: &str| fs::OpenOptions::new().create(true).append(true).open(dir.join(name)).unwrap();
    open("events.ndjson").write_all(format!("{line}\n").as_bytes()).unwrap();
    open("stdout.log").write_all(format!("{text}\r\n").as_bytes()).unwrap();
}

#[test]
fn submit_prints_the_id_alone_and_the_file_lies_there_whole() {
    let site = Site::new("submit");
    // Where no repository lies above, none becomes the workspace.
    let words = ["submit", "Fix the login!", "--priority", "7"];
    let ended = site.run(site.numerus(words).current_dir("/"));
    let says = "note: this directory is in no repository";
    assert!(ended.code == Some(0) && ended.stderr.starts_with(says), "{ended:?}");
    let job = ended.stdout.trim_end();
    let nobody =
        "no daemon is running: start one with numerus daemon, or work on it now with numerus start";
    assert!(ended.stderr.ends_with(&format!("{nobody} {job}\n")), "{}", ended.stderr);
    assert!(job.starts_with("fix-the-login-") && !job.contains(char::is_whitespace), "{job:?}");
    let file = site.root().join("spool/incoming").join(format!("{job}.json"));
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(written, json!({"objective": "Fix the login!", "priority": 7}));
    let listed = numerus(&site, &["status", "fix-the"]);
    assert_eq!(listed.stdout, format!("{job}: incoming (waits to be taken)\n"));
}

#[test]
fn submit_works_in_the_repository_of_the_current_directory_and_names_what_is_not_seen() {
    let site = Site::new("submit-repo");
    let repo = site.git_repo();
    fs::write(repo.join("README"), "changed\n").unwrap();
    let ended = site.run(site.numerus(["submit", "x"]).current_dir(repo.join("src")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let file = site.root().join(format!("spool/incoming/{}.json", ended.stdout.trim_end()));
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(written["workspace"], json!(repo.join("src").canonicalize().unwrap()));
    let ended = site.run(site.numerus(["submit", "x"]).current_dir(&repo));
    assert!(ended.stderr.contains("does not see 1 uncommitted change"), "{ended:?}");
}

#[test]
fn every_answer_has_its_exit_code() {
    let site = Site::new("codes");
    lay_out(&site, "well-abc234", &[claimed(), finished("succeeded")]);
    lay_out(&site, "wellness-abc234", &[claimed(), finished("succeeded")]);
    lay_out(&site, "badly-abc234", &[claimed(), finished("failed")]);
    let rest = json!({"reason": "approval", "until": null, "message": "the plan waits"});
    lay_out(&site, "rests-abc234", &[claimed(), ("job.paused", rest)]);
    let rejected = site.root().join("spool/rejected");
    fs::create_dir_all(&rejected).unwrap();
    let reason = json!({"code": "E", "message": "it is empty", "hint": "write more"}).to_string();
    fs::write(rejected.join("no-abc234.json.reason.json"), reason).unwrap();
    for (args, code) in [
        (vec!["status"], 0),
        (vec!["wait", "well-"], 0),
        (vec!["wait", "badly"], 1),
        (vec!["wait", "well-", "badly"], 1),
        (vec!["wait", "rests"], 4),
        (vec!["wait", "no-abc"], 2),
        (vec!["status", "well"], 2),
        (vec!["status", "nobody"], 3),
        (vec!["logs", "well-/nothing"], 3),
        (vec!["kill", "rests/nothing"], 3),
        (vec!["kill", "well-"], 0),
        (vec!["submit", ""], 2),
        (vec!["submit", "x", "--after", "nobody"], 2),
        (vec!["submit", "x", "--network"], 2),
        (vec!["submit", "x", "--workspace", "/dev/null"], 2),
        (vec!["run", "x", "--after", "well-"], 2),
        (vec!["start", "x", "--not-before", "2999-01-01T00:00:00Z"], 2),
        (vec!["start", "rests", "--review"], 2),
        (vec!["start", "no-abc"], 2),
        (vec!["events", "--match", "*.exit"], 2),
        (vec!["submit", "x", "--priority", "1000"], 2),
        (vec!["frobnicate"], 2),
        (vec!["--help"], 0),
    ] {
        let ended = numerus(&site, &args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        let told = args[0] == "wait" || args == ["status"];
        assert_eq!(ended.stderr.is_empty(), code == 0 && !told, "{args:?}: {ended:?}");
    }
}

#[test]
fn a_damaged_or_newer_root_is_not_written_to() {
    let site = Site::new("newer");
    assert_eq!(numerus(&site, &["submit", "x"]).code, Some(0));
    let instance = site.root().join("spool/.instance");
    let text = fs::read_to_string(&instance).unwrap().replace("\"version\":1", "\"version\":99");
    fs::write(&instance, text).unwrap();
    let ended = numerus(&site, &["submit", "y"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(fs::read_dir(site.root().join("spool/incoming")).unwrap().count(), 1);
}

#[test]
fn a_reader_that_goes_away_is_a_good_end() {
    let site = Site::new("pipe");
    lay_out(&site, "well-abc234", &[claimed(), finished("succeeded")]);
    for args in [vec!["events"], vec!["status"], vec!["status", "well", "--json"], vec!["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = site.numerus(&args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

#[test]
fn status_is_derived_where_the_file_is_broken() {
    let site = Site::new("status");
    let folder = lay_out(&site, "a-abc234", &[claimed()]);
    fs::write(folder.join("status.json"), "{\"version\":").unwrap();
    let status: Value =
        serde_json::from_str(&numerus(&site, &["status", "a", "--json"]).stdout).unwrap();
    assert_eq!((&status["state"], &status["objective"]), (&json!("queued"), &json!("Fix it")));
    let lines = numerus(&site, &["status", "--json"]).stdout;
    assert_eq!(lines.lines().count(), 1, "one object a line: {lines}");
}

#[test]
fn the_list_says_how_many_ended_jobs_it_leaves_out_and_one_job_how_long_it_took() {
    let site = Site::new("left-out");
    for n in 0..12 {
        lay_out(&site, &format!("j{n}-abc234"), &[claimed(), finished("succeeded")]);
    }
    let listed = numerus(&site, &["status"]).stdout;
    assert!(listed.ends_with("\n… 2 more: numerus status --all\n"), "{listed}");
    let all = numerus(&site, &["status", "--all"]).stdout;
    assert!(!all.contains(" more: "), "{all}");
    let one = numerus(&site, &["status", "j3-"]).stdout;
    assert!(one.contains(", took ") && one.contains(", ended "), "{one}");
}

#[test]
fn a_status_that_a_dead_worker_left_behind_is_not_believed() {
    let site = Site::new("stale");
    let folder = lay_out(&site, "a-abc234", &[claimed(), finished("failed")]);
    let mut status: Value =
        serde_json::from_str(&numerus(&site, &["status", "a", "--json"]).stdout).unwrap();
    status["state"] = json!("running");
    fs::write(folder.join("status.json"), status.to_string()).unwrap();
    let shown = numerus(&site, &["status", "a"]).stdout;
    assert!(shown.contains("state      failed\n"), "{shown}");
}

#[test]
fn logs_are_told_in_the_order_of_time_and_raw_ones_are_the_very_bytes() {
    let site = Site::new("logs");
    let folder = lay_out(&site, "a-abc234", &[claimed(), finished("succeeded")]);
    say(&folder, "plan", 1, "planned");
    say(&folder, "t1", 3, "third\u{1b}[31m");
    say(&folder, "t2", 2, "second");
    let ended = numerus(&site, &["logs", "a"]);
    let said: Vec<&str> = ended.stdout.lines().filter(|l| !l.contains("──")).collect();
    assert_eq!(said, ["plan | planned", "t2 | second", "t1 | third\\x1b[31m"], "{ended:?}");
    let raw = numerus(&site, &["logs", "a/t1", "--raw"]);
    assert_eq!(raw.stdout, "third\u{1b}[31m\r\n");
    let json = numerus(&site, &["logs", "a/t1", "--json"]);
    assert_eq!(json.stdout, fs::read_to_string(folder.join("t1/events.ndjson")).unwrap());
}

#[test]
fn following_ends_with_the_job() {
    let site = Site::new("follow");
    let started = ("job.worker_started", json!({"pid": 1, "start_time": 1, "boot_id": "x"}));
    let folder = lay_out(&site, "a-abc234", &[claimed(), started]);
    let worker = FileLock::try_acquire(&folder.join("worker.lock")).unwrap().unwrap();
    let logs = site.spawn(&mut site.numerus(["logs", "a", "--follow"]));
    let events = site.spawn(&mut site.numerus(["events", "a", "--follow"]));
    let wait = site.spawn(&mut site.numerus(["wait", "a"]));
    say(&folder, "t1", 9, "working");
    let patience = Duration::from_secs(30);
    site.until("the new words are followed", patience, || logs.stdout().contains("t1 | working"));
    site.until("the facts are followed", patience, || events.stdout().contains("taken"));
    let (name, payload) = finished("failed");
    append(&folder, 3, name, &payload);
    drop(worker);
    assert_eq!(logs.wait(patience).code, Some(0));
    let events = events.wait(patience);
    assert_eq!(events.code, Some(0));
    assert!(events.stdout.ends_with("failed: because\n"), "{events:?}");
    assert_eq!(wait.wait(patience).code, Some(1));
}

#[test]
fn a_job_without_a_worker_is_ended_by_kill_itself() {
    let site = Site::new("kill");
    let job = numerus(&site, &["submit", "x"]).stdout;
    let job = job.trim_end();
    let ended = numerus(&site, &["kill", job]);
    assert_eq!(ended.stdout, format!("{job}: withdrawn before anyone took it\n"), "{ended:?}");
    assert!(site.root().join(format!("spool/killed/{job}.json")).is_file());
    lay_out(&site, "left-abc234", &[claimed()]);
    let file = site.root().join("spool/claimed/left-abc234.json");
    let ended = numerus(&site, &["kill", "left"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("left-abc234: killed"), "{ended:?}");
    assert!(!file.exists() && site.root().join("spool/killed/left-abc234.json").is_file());
    let again = numerus(&site, &["kill", "left"]);
    assert_eq!(
        (again.code, again.stdout.as_str()),
        (Some(0), "left-abc234: has ended already (killed)\n")
    );
}

#[test]
fn events_are_merged_over_jobs_and_matched_by_name() {
    let site = Site::new("events");
    lay_out(&site, "a-abc234", &[claimed(), finished("succeeded")]);
    lay_out(&site, "b-abc234", &[claimed(), finished("killed")]);
    let ended = numerus(&site, &["events", "--json", "--match", "job.fin*"]);
    let jobs: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["job_id"].clone())
        .collect();
    assert_eq!(jobs, [json!("a-abc234"), json!("b-abc234")]);
    let shown = numerus(&site, &["events"]).stdout;
    let words: Vec<&str> = shown.lines().map(|l| l.split_once("  ").unwrap().1).collect();
    assert_eq!(
        words,
        [
            "a-abc234  taken from the spool",
            "b-abc234  taken from the spool",
            "a-abc234  succeeded: because",
            "b-abc234  killed: because",
        ]
    );
}

#[test]
fn events_of_more_jobs_than_files_may_be_open_are_told_and_followed() {
    let site = Site::new("events-many");
    let started = ("job.worker_started", json!({"pid": 1, "start_time": 1, "boot_id": "x"}));
    for n in 100..160 {
        lay_out(&site, &format!("over-{n}-abc234"), &[claimed(), finished("succeeded")]);
        lay_out(&site, &format!("waits-{n}-abc234"), &[claimed()]);
        lay_out(&site, &format!("begun-{n}-abc234"), &[claimed(), started.clone()]);
    }
    let bounded = |words: &[&str]| {
        let mut command = site.command("sh");
        let program = env!("CARGO_BIN_EXE_numerus");
        command.args(["-c", "ulimit -n 40; exec \"$@\"", "sh", program]).args(words);
        command.env("NUMERUS_ROOT", site.root()).current_dir("/");
        command
    };
    let ended = site.run(&mut bounded(&["events"]));
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 300), "{ended:?}");
    let follower =
        site.spawn(&mut bounded(&["events", "--follow", "--since", "2000-01-01T00:00:00Z"]));
    let patience = Duration::from_secs(30);
    site.until("all is told", patience, || follower.stdout().lines().count() == 300);
    let (name, payload) = finished("failed");
    let runs = site.root().join("runs");
    append(&runs.join("waits-130-abc234"), 2, name, &payload);
    append(&runs.join("begun-130-abc234"), 3, name, &payload);
    site.until("the ends are told", patience, || {
        follower.stdout().matches("failed: because").count() == 2
    });
    assert_eq!(follower.stdout().lines().count(), 302, "nothing is told twice");
}

#[test]
fn start_shows_a_waiting_plan_and_does_nothing_without_a_clear_go() {
    let site = Site::new("start");
    let task = json!({"id": "api", "summary": "Write the API", "description": "",
        "dependencies": [], "resources": {"reads": [], "writes": ["src/api/"]},
        "role": "executor", "notes": ""});
    let roles = json!({"plan": 1, "tasks": [task], "strategy": "One by one."});
    let rest = json!({"reason": "approval", "until": null, "message": "the plan waits"});
    let facts = [claimed(), ("job.roles_assigned", roles), ("job.paused", rest)];
    let folder = lay_out(&site, "rests-abc234", &facts);
    let typed = site.path().join("typed");
    for (words, code, state) in [("", 4, "paused"), ("perhaps\nno\n", 1, "killed")] {
        fs::write(&typed, words).unwrap();
        let mut command = site.numerus(["start", "rests"]);
        let ended = site.run(command.stdin(fs::File::open(&typed).unwrap()));
        assert_eq!(ended.code, Some(code), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("api   executor  Write the API  src/api/"), "{ended:?}");
        assert!(ended.stderr.contains("start it? [y]es, [e]dit, [n]o:"), "{ended:?}");
        let status = numerus(&site, &["status", "rests", "--json"]).stdout;
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["state"], json!(state));
    }
    let journal = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    assert!(!journal.contains("job.plan_approved"), "{journal}");
}

/// A command of the program with the built-in script in the model's place.
fn rehearsed(site: &Site, args: &[&str]) -> std::process::Command {
    let mut command = site.command(env!("CARGO_BIN_EXE_numerus"));
    command.env("NUMERUS_ROOT", site.root()).current_dir(site.git_repo()).args(args);
    command
}

#[test]
fn run_follows_its_job_to_the_end_and_ends_as_it_does() {
    let site = Site::new("run");
    let ended = site.run(&mut rehearsed(&site, &["run", "Greet", "--rehearse"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("NO GO: greeting/README.md (to write)"), "{ended:?}");
    assert!(ended.stdout.contains("state      succeeded"), "{ended:?}");
    assert!(ended.stdout.contains("branch     numerus/greet-"), "{ended:?}");
}

#[test]
fn the_built_in_script_has_a_word_for_a_task_that_cannot_be_done() {
    let site = Site::new("given-up");
    let words = ["--plan", "single", "--max-attempts", "1", "--setup", "exit 3", "--rehearse"];
    let words = [&["run", "Greet"][..], &words].concat();
    let ended = site.run(&mut rehearsed(&site, &words));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("\"exit 3\" ended with 3"), "{ended:?}");
    assert!(!ended.stdout.contains("could not be asked"), "{ended:?}");
}

#[test]
fn an_interrupted_run_ends_its_job() {
    let site = Site::new("interrupt");
    let run = site.spawn(&mut rehearsed(&site, &["run", "Greet", "--rehearse"]));
    let patience = Duration::from_secs(30);
    site.until("the job is at work", patience, || run.stderr().contains("plan 1 has"));
    run.signal(rustix::process::Signal::INT);
    let ended = run.wait(patience);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let waited = numerus(&site, &["wait", "greet"]);
    assert_eq!(waited.code, Some(1), "{waited:?}");
    assert!(waited.stderr.ends_with(": killed\n"), "{waited:?}");
}

#[test]
fn kill_ends_a_job_that_is_at_work() {
    let site = Site::new("kill-live");
    let run = site.spawn(&mut rehearsed(&site, &["run", "Greet", "--rehearse"]));
    let patience = Duration::from_secs(30);
    site.until("an agent is at work", patience, || run.stderr().contains("started, attempt 1"));
    let killed = numerus(&site, &["kill", "greet"]);
    assert_eq!(killed.code, Some(0), "{killed:?}");
    assert!(killed.stdout.contains(": killed"), "{killed:?}");
    assert_eq!(run.wait(patience).code, Some(1));
}

#[test]
fn start_executes_after_a_go_and_not_before() {
    let site = Site::new("go");
    let typed = site.path().join("typed");
    fs::write(&typed, "Greet\n").unwrap();
    let mut command = rehearsed(&site, &["start", "--rehearse"]);
    let asked = site.run(command.stdin(fs::File::open(&typed).unwrap()));
    assert_eq!(asked.code, Some(4), "{asked:?}");
    assert!(!asked.stderr.contains("claims"), "{asked:?}");
    fs::write(&typed, "g\n").unwrap();
    let mut command = site.numerus(["start", "greet"]);
    let gone = site.run(command.stdin(fs::File::open(&typed).unwrap()));
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert!(gone.stdout.contains("state      succeeded"), "{gone:?}");
}

#[test]
fn start_lifts_a_hold_and_refuses_what_is_not_due() {
    let site = Site::new("due");
    let repo = site.git_repo();
    let submit = |words: &[&str]| {
        let mut command = site.numerus(["submit", "--rehearse"]);
        let ended = site.run(command.args(words).current_dir(&repo));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout.trim_end().to_owned()
    };
    let first = submit(&["Greet"]);
    let second = submit(&["Later", "--after", &first]);
    let third = submit(&["Never", "--not-before", "2999-01-01T00:00:00Z"]);
    for (job, why) in [(&second, "waits for job greet-"), (&third, "is not to start before 2999")] {
        let refused = numerus(&site, &["start", job]);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
        let journal = site.root().join("runs").join(job).join("events.ndjson");
        assert!(!fs::read_to_string(journal).unwrap().contains("job.worker_started"));
    }
    let held = site.root().join("runs").join(&first);
    fs::create_dir_all(&held).unwrap();
    fs::write(held.join("want.paused"), "").unwrap();
    let gone = site.run_typing("y\n", &mut site.numerus(["start", &first]));
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert!(gone.stdout.contains("state      succeeded"), "{gone:?}");
    let status = numerus(&site, &["status", &first]);
    assert!(status.stdout.contains("state      succeeded"), "{status:?}");
}

#[test]
fn the_bound_of_an_objective_is_the_one_that_is_set() {
    let site = Site::new("bound");
    fs::write(site.root().join("numerus.toml"), "max_objective = 600000\n").unwrap();
    let file = site.path().join("long.md");
    for (bytes, code) in [(550_000, 0), (600_001, 2)] {
        fs::write(&file, "x".repeat(bytes)).unwrap();
        let ended = numerus(&site, &["submit", "-f", file.to_str().unwrap()]);
        assert_eq!(ended.code, Some(code), "{bytes}: {ended:?}");
    }
}

#[test]
fn a_daemon_needs_a_codex_and_a_home_for_it_but_no_login() {
    let site = Site::new("login");
    let ended = site.run(&mut site.numerus(["daemon", "--once"]));
    assert_eq!(ended.code, Some(0), "an empty home will do: {ended:?}");
    let job = numerus(&site, &["submit", "x"]).stdout;
    let mut without = site.numerus(["daemon", "--once"]);
    let ended = site.run(without.env("CODEX_BIN", "/not/there/codex"));
    assert_eq!(ended.code, Some(6), "{ended:?}");
    for words in ["/not/there/codex", "npm install", "job files stay where they are"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    assert!(site.root().join(format!("spool/incoming/{}.json", job.trim_end())).is_file());
}

#[test]
fn the_demo_shows_what_it_promises() {
    let site = Site::new("demo");
    let ended = site.run(site.command(env!("CARGO_BIN_EXE_numerus")).arg("demo"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for shown in ["is scripted", "NO GO: ", "GO, after NO GO", "landed as", "2 of 2 jobs succeeded"]
    {
        assert!(ended.stdout.contains(shown), "{shown}: {ended:?}");
    }
}

#[test]
fn a_job_is_forgotten_for_good() {
    let stage = Stage::new("forget", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]).id;
    let memory = stage.site.root().join("store/memory.ndjson");
    assert!(fs::read_to_string(&memory).unwrap().contains(&job));
    let (prefix, _) = job.rsplit_once('-').unwrap();
    let ended = stage.call(&["memory", "forget", prefix]);
    assert_eq!((ended.code, ended.stdout), (Some(0), format!("{job}: forgotten\n")));
    assert_eq!(stage.call(&["memory", "forget", &job]).code, Some(3), "once is enough");
    fs::remove_file(stage.site.root().join("store/memory.db")).unwrap();
    assert_eq!(stage.call(&["memory", "forget", &job]).code, Some(3), "nor does it come back");
    assert_eq!(stage.call(&["memory", "forget", "no/job"]).code, Some(3));
}
