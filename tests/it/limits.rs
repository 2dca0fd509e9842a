//! Accounts that are over their limit or cannot log in: one refusal is enough for everybody, and afterwards everybody goes on
//! where they were.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use rustix::process::{Signal, test_kill_process};
use serde_json::{Value, json};

use crate::death::slay_once;
use crate::model_server::{Answer, ModelServer};
use crate::real_jobs::Team;
use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part, raise, wait_for};
use crate::site::{PATIENCE, Site};
use crate::yard::{kill, names};

/// A far time, in seconds since the epoch; no rest is longer than a day.
const FAR: u64 = 4_102_444_800;

/// The end of a session that the service refuses for a limit.
pub(crate) fn spent(resets_at: u64) -> Value {
    json!({"fail": {"message": "You have hit your usage limit.", "info": "usage_limit_exceeded", "resets_at": resets_at}})
}

/// The end of a session that the service does not let in.
pub(crate) fn refused() -> Value {
    json!({"fail": {"message": "401 Unauthorized", "info": "http_connection_failed", "status": 401}})
}

/// A script in which the first execution of `t1` ends so.
fn once(end: &Value) -> Script {
    Script::of([part("t1")]).with(on_calls(execute("t1"), &[1]), json!([end]))
}

/// How often a session of codex was begun.
fn sessions(job: &Job<'_>) -> usize {
    job.all("terminal.session_starting", "").len()
}

/// The one hold of a stage, with its file.
fn only_hold(stage: &Stage) -> (PathBuf, Value) {
    let holds = stage.site.root().join("store/holds");
    let path = holds.join(names(&holds).remove(0));
    let hold = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    (path, hold)
}

fn stands(job: &Job<'_>) -> (String, String) {
    job.stands()
}

fn pair(state: &str, reason: &str) -> (String, String) {
    (state.to_owned(), reason.to_owned())
}

#[test]
fn one_refusal_holds_every_job_of_the_account() {
    let stage = Stage::new("held", &once(&spent(FAR)));
    let first = stage.ends_with(4, &[]);
    let second = stage.ends_with(4, &[]);
    assert_eq!((stands(&second), sessions(&second)), (pair("paused", "limit"), 0));
    assert_eq!(second.status()["until"], first.status()["until"]);
    assert!(!second.dir().join("plan").exists(), "nothing was made for a session");
    let told = stage.call(&["status"]).stdout;
    assert!(told.starts_with("codex is over its limit"), "{told}");
    let told = stage.call(&["status", "--json"]);
    assert!(told.stdout.lines().all(|line| line.starts_with('{')), "{told:?}");
    assert!(told.stderr.contains("codex is over its limit"), "{told:?}");
    // A worker that comes too early rests again at once.
    let before = sessions(&first);
    assert_eq!(first.go_on().code, Some(0));
    assert_eq!((stands(&first), sessions(&first)), (pair("paused", "limit"), before));
    // Whoever starts one lets all go on.
    for job in [&first, &second] {
        assert_eq!(stage.agree(&["start", &job.id]).code, Some(0), "{}", stage.site.dump());
        assert_eq!((stands(job), job.charged("t1")), (pair("succeeded", "done"), 0));
        job.is_clean();
    }
}

#[test]
fn the_breaker_opens_once_and_closes_when_a_person_says_so() {
    let stage = Stage::new("breaker", &once(&refused()));
    let first = stage.ends_with(6, &[]);
    let second = stage.ends_with(6, &[]);
    assert_eq!((stands(&second), sessions(&second)), (pair("paused", "auth"), 0));
    let told = stage.call(&["status"]).stdout;
    for piece in ["store/rehearsal provider=openai", "401 Unauthorized", "codex login"] {
        assert!(told.starts_with("codex cannot be used") && told.contains(piece), "{told}");
    }
    assert_eq!(stage.agree(&["start", &second.id]).code, Some(0));
    assert_eq!(stands(&second), pair("succeeded", "done"));
    assert_eq!(first.go_on().code, Some(0));
    assert_eq!(stands(&first), pair("succeeded", "done"));
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Writes half of the file, is refused for an hour, and writes the rest when it is asked again.
fn cut_in_the_middle(resets_at: u64) -> Script {
    let write = |text: &str| json!({"write": {"path": "t1.txt", "text": text, "append": true}});
    Script::of([part("t1")])
        .with(on_calls(execute("t1"), &[1]), json!([write("half\n"), spent(resets_at)]))
        .with(execute("t1"), json!([write("rest\n"), {"message": "done"}]))
}

/// The ends of the sessions of a place, each with what it was for.
fn ends(job: &Job<'_>, place: &str) -> Vec<Value> {
    let all = job.all("terminal.session_ended", "");
    all.into_iter().map(|e| e["payload"].clone()).filter(|e| e["place"] == place).collect()
}

/// The job went on at its time, in the same attempt and on the same thread, and nothing was charged.
fn went_on(job: &Job<'_>, resets_at: u64) {
    job.until("job.finished", "");
    let landed = (job.landed(), job.on_branch("t1.txt"));
    assert_eq!(landed, (vec!["t1".to_owned()], Some("half\nrest\n".to_owned())));
    let ends = ends(job, "t1");
    let threads: Vec<&Value> = ends.iter().map(|e| &e["thread_id"]).collect();
    assert!(threads[0].is_string() && threads.iter().all(|t| *t == threads[0]), "{ends:?}");
    assert_eq!(ends.iter().map(|e| &e["attempt"]).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(job.charged("t1"), 0);
    assert!(
        job.all("job.task_retried", "t1")
            .iter()
            .all(|e| e["payload"]["failure"]["kind"] == "limit")
    );
    assert_eq!(job.all("job.claim_recorded", "t1").len(), 1);
    assert_eq!(job.all("job.claim_approved", "t1").len(), 2, "no lease was held meanwhile");
    let prompt = job.read("t1/prompt-3.md");
    assert!(prompt.starts_with("NUMERUS_EXECUTE V1\nTASK_ID: t1\n") && prompt.contains("cut off"));
    let woken = job.all("job.resumed", "").pop().unwrap();
    let woken: jiff::Timestamp = woken["ts"].as_str().unwrap().parse().unwrap();
    let late = woken.as_second() - i64::try_from(resets_at).unwrap();
    assert!((0..60).contains(&late), "woken {late} s after the reset");
    job.is_clean();
}

/// Lets a daemon meet the reset two seconds after its start.
fn wake(stage: &Stage, job: &Job<'_>, resets_at: u64) {
    let offset = resets_at - 2 - now();
    let mut daemon = daemon(stage, &[]);
    let running = stage.site.spawn(daemon.env("NUMERUS_TEST_CLOCK_OFFSET", offset.to_string()));
    went_on(job, resets_at);
    running.signal(Signal::TERM);
    assert_eq!(running.wait(PATIENCE).code, Some(0));
}

#[test]
fn a_job_wakes_at_the_reset_and_goes_on_with_its_thread_although_its_worker_was_killed() {
    let resets_at = now() + 3600;
    let stage = Stage::new("wakes", &cut_in_the_middle(resets_at));
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    slay_once(&job, &|job| ends(job, "t1").iter().any(|e| e["failure"]["kind"] == "limit"));
    drop(running.wait(PATIENCE));
    let begun = sessions(&job);
    assert_eq!(job.go_on().code, Some(0));
    assert_eq!((stands(&job), sessions(&job)), (pair("paused", "limit"), begun), "too early");
    assert_eq!(job.leases(), [""; 0]);
    wake(&stage, &job, resets_at);
}

#[test]
fn a_limit_is_not_taken_for_an_interruption_however_soon_the_worker_dies() {
    let resets_at = now() + 3600;
    let stage = Stage::new("dies", &cut_in_the_middle(resets_at));
    let job = stage.ends_with(4, &["--max-attempts", "1"]);
    // As if it had died right after the end of the session was on disk: nothing that followed from it is there.
    let journal = job.dir().join("events.ndjson");
    let text = job.read("events.ndjson");
    let upto = text.find("\"kind\":\"limit\"").unwrap();
    let line = upto + text[upto..].find('\n').unwrap() + 1;
    fs::write(&journal, &text[..line]).unwrap();
    fs::remove_dir_all(stage.site.root().join("store/holds")).unwrap();
    let begun = sessions(&job);
    assert_eq!(job.go_on().code, Some(0));
    assert_eq!((stands(&job), sessions(&job)), (pair("paused", "limit"), begun), "too early");
    wake(&stage, &job, resets_at);
}

#[test]
fn sessions_without_a_task_and_claims_go_on_with_their_threads_as_well() {
    for (place, when) in [
        ("plan", json!({"marker": "NUMERUS_PLAN"})),
        ("roles", json!({"marker": "NUMERUS_ROLES"})),
        ("t1", json!({"marker": "NUMERUS_CLAIM", "task": "t1"})),
        ("look", json!({"marker": "NUMERUS_REVIEW", "task": "look"})),
    ] {
        let parts = [part("t1"), part("look").role("planner")];
        let script = Script::of(parts).with(on_calls(when, &[1]), json!([spent(FAR)]));
        let stage = Stage::new(place, &script);
        let job = stage.ends_with(4, &["--max-attempts", "1"]);
        assert_eq!(stage.agree(&["start", &job.id]).code, Some(0), "{place}");
        let ends = ends(&job, place);
        assert_eq!(ends[0]["failure"]["kind"], "limit", "{place}");
        assert_eq!(ends[0]["thread_id"], ends[1]["thread_id"], "{place}");
        assert_eq!((&ends[0]["attempt"], &ends[1]["attempt"]), (&json!(1), &json!(1)), "{place}");
        assert_eq!((job.charged(""), job.landed()), (0, vec!["t1".to_owned()]), "{place}");
        job.is_clean();
    }
}

#[test]
fn a_claim_that_waits_when_its_job_rests_is_not_made_again() {
    let parts = [part("t1").writes(&["same.txt"]), part("t2").writes(&["same.txt"])];
    let script = Script::of(parts).with(
        on_calls(json!({"marker": "NUMERUS_EXECUTE"}), &[1]),
        json!([wait_for("flag"), spent(FAR)]),
    );
    let stage = Stage::new("waits", &script);
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    job.until("job.claim_blocked", "");
    stage.raise("flag");
    assert_eq!(running.wait(PATIENCE).code, Some(4));
    assert_eq!(job.leases(), [""; 0]);
    assert_eq!(stage.agree(&["start", &job.id]).code, Some(0), "{}", stage.site.dump());
    // Whoever gets the lease first lands; if that is not the one that had begun, what it had begun on has changed.
    let stale = job.all("job.base_moved", "").len();
    assert!(stale <= 1);
    assert_eq!(job.all("job.claim_recorded", "").len(), 2 + stale);
    assert_eq!((job.charged(""), job.landed().len()), (0, 2));
    let lines = job.on_branch("same.txt").unwrap();
    assert!(lines == "t1\nt2\n" || lines == "t2\nt1\n", "{lines}");
    job.is_clean();
}

#[test]
fn a_job_that_rests_waits_for_no_lease_of_another_job() {
    let never = json!({"marker": "NEVER"});
    let same = part("other").writes(&["same.txt"]);
    let script = Script::of([same]).with(never, json!([{"message": "?"}]));
    let stage =
        Stage::new("no-lease", &script.working("other", &[raise("at-work"), wait_for("other")]));
    let (other_runs, other) = stage.start(&[]);
    stage.until_raised("at-work");
    let refused = json!([wait_for("flag"), spent(FAR)]);
    let parts = [part("t1"), part("t2").writes(&["same.txt"])];
    stage.follow(&Script::of(parts).with(on_calls(execute("t1"), &[1]), refused));
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    job.until("job.claim_blocked", "t2");
    job.until("job.task_started", "t1");
    stage.raise("flag");
    assert_eq!(running.wait(PATIENCE).code, Some(4));
    assert!(other.all("job.finished", "").is_empty(), "the other one is still at work");
    stage.raise("other");
    assert_eq!(other_runs.wait(PATIENCE).code, Some(0), "what is under way goes on");
    job.is_clean();
}

#[test]
fn what_has_changed_since_it_was_claimed_begins_anew_and_nothing_is_charged() {
    let write = |text: &str| json!({"write": {"path": "same.txt", "text": text, "append": true}});
    let parts = [part("t1").writes(&["same.txt"]), part("t2").writes(&["same.txt"])];
    let refused = json!([write("half\n"), spent(FAR)]);
    let script = Script::of(parts).with(on_calls(execute("t1"), &[1]), refused);
    let stage = Stage::new("moved", &script);
    let job = stage.ends_with(4, &["--max-attempts", "1", "--max-parallel", "1"]);
    // As if t2 had landed while t1 held no lease.
    let commit = ["-c", "user.name=a", "-c", "user.email=a", "commit", "-q", "-m", "x"];
    stage.git(&["switch", "-q", "--detach"]);
    fs::write(stage.workspace.join("same.txt"), "t2\n").unwrap();
    stage.git(&["add", "same.txt"]);
    stage.git(&commit);
    let landed = stage.git(&["rev-parse", "HEAD"]).trim().to_owned();
    stage.git(&["update-ref", &format!("refs/numerus/{}/tip", job.id), &landed]);
    stage.git(&["switch", "-q", "main"]);
    let mut event = job.events().pop().unwrap();
    event["seq"] = json!(event["seq"].as_u64().unwrap() + 1);
    event["event"] = json!("job.task_completed");
    event["task_id"] = json!("t2");
    event["payload"] = json!({"attempt": 1, "commit": landed, "summary": ""});
    let text = format!("{}{event}\n", job.read("events.ndjson"));
    fs::write(job.dir().join("events.ndjson"), text).unwrap();
    assert_eq!(stage.agree(&["start", &job.id]).code, Some(0), "{}", stage.site.dump());
    assert_eq!(job.all("job.base_moved", "t1")[0]["payload"]["paths"], json!(["same.txt"]));
    let kinds: Vec<Value> = job
        .all("job.task_retried", "t1")
        .iter()
        .map(|e| e["payload"]["failure"]["kind"].clone())
        .collect();
    assert_eq!(kinds, ["limit", "stale"]);
    let attempts: Vec<Value> = ends(&job, "t1").iter().map(|e| e["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 1, 2, 2], "not a token is spent on what is stale");
    assert_eq!(job.on_branch("same.txt").as_deref(), Some("t2\nt1\n"));
    assert_eq!(job.charged("t1"), 0);
    let kept = fs::read_to_string(job.dir().join("t1/attempt-1.patch")).unwrap();
    assert!(kept.contains("+half"), "{kept}");
    job.is_clean();
}

#[test]
fn a_tree_that_is_no_longer_what_it_was_made_as_is_not_gone_on_with() {
    let stage = Stage::new("strange", &cut_in_the_middle(FAR));
    let job = stage.ends_with(4, &["--max-attempts", "1"]);
    let tree = job.dir().join("t1/tree-1");
    let commit =
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-q", "--allow-empty", "-m", "x"];
    stage.site.git(&tree, &commit);
    assert_eq!(stage.agree(&["start", &job.id]).code, Some(0), "{}", stage.site.dump());
    let attempts: Vec<Value> = ends(&job, "t1").iter().map(|e| e["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 1, 2, 2]);
    assert_eq!((job.charged("t1"), job.on_branch("t1.txt")), (0, Some("rest\n".to_owned())));
    job.is_clean();
}

#[test]
fn the_wait_before_another_try_outlives_the_worker_and_so_does_the_count() {
    let cut = json!([{"fail": {"message": "scripted", "info": "server_overloaded"}}]);
    let script = Script::of([part("t1")]).with(on_calls(execute("t1"), &[1, 2, 3]), cut);
    let stage = Stage::new("backoff", &script);
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    slay_once(&job, &|job| job.all("terminal.session_retried", "t1").len() == 2);
    drop(running.wait(PATIENCE));
    assert_eq!(job.go_on().code, Some(0));
    let waits = job.all("terminal.session_retried", "t1");
    let moment = |e: &Value| e.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let wait =
        |e: &Value| moment(&e["payload"]["due"]).duration_since(moment(&e["ts"])).as_secs_f64();
    assert!(waits.len() == 3 && wait(&waits[2]) > 3.0, "the third wait is the third: {waits:?}");
    let starts = job.all("terminal.session_starting", "t1");
    let third = starts.iter().filter(|e| e["payload"]["kind"] == "execute").nth(2).unwrap();
    assert!(moment(&third["ts"]) >= moment(&waits[1]["payload"]["due"]), "not before it was due");
    let ends = ends(&job, "t1");
    assert!(ends.iter().all(|e| e["thread_id"] == ends[0]["thread_id"]), "{ends:?}");
    assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]));
}

/// A daemon of this stage; the jobs bring their scripts with them.
fn daemon(stage: &Stage, words: &[&str]) -> std::process::Command {
    let mut command = stage.numerus(&["daemon"]);
    command.args(words).env("NUMERUS_REHEARSE", "builtin");
    command
}

#[test]
fn a_daemon_that_starts_tries_once_more_what_could_not_log_in() {
    let stage = Stage::new("daemon-login", &once(&refused()));
    let (first, second) = (stage.ends_with(6, &[]), stage.ends_with(6, &[]));
    let ended = stage.site.run(&mut daemon(&stage, &["--once"]));
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", stage.site.dump());
    for job in [first, second] {
        assert_eq!(stands(&job), pair("succeeded", "done"));
    }
}

#[test]
fn a_daemon_tells_of_a_hold_once_and_goes_on_with_everybody_when_it_is_lifted() {
    let stage = Stage::new("lifted", &once(&spent(FAR)));
    let (first, second) = (stage.ends_with(4, &[]), stage.ends_with(4, &[]));
    let running = stage.site.spawn(&mut daemon(&stage, &[]));
    stage
        .site
        .until("it is told", PATIENCE, || running.stderr().contains("codex is over its limit"));
    // By hand, so that nothing but the file wakes it.
    let (path, mut hold) = only_hold(&stage);
    hold["until"] = json!(jiff::Timestamp::now());
    fs::write(path, hold.to_string()).unwrap();
    for job in [&first, &second] {
        job.until("job.finished", "");
    }
    running.signal(Signal::TERM);
    let ended = running.wait(PATIENCE);
    assert_eq!(ended.stderr.matches("codex is over its limit").count(), 1, "{ended:?}");
    assert_eq!(stands(&second), pair("succeeded", "done"));
}

#[test]
fn the_breaker_closes_with_another_login() {
    let stage = Stage::new("login", &once(&refused()));
    let first = stage.ends_with(6, &[]);
    fs::write(stage.site.root().join("store/rehearsal/auth.json"), "{}").unwrap();
    let second = stage.ends_with(0, &[]);
    assert_eq!(stands(&second), pair("succeeded", "done"));
    let (_, hold) = only_hold(&stage);
    assert!(hold["until"].is_string(), "the probe that worked has lifted it: {hold}");
    assert_eq!(first.go_on().code, Some(0));
    assert_eq!(stands(&first), pair("succeeded", "done"));
}

#[test]
fn a_login_is_noticed_while_the_daemon_runs() {
    let script =
        Script::of([part("t1")]).with(on_calls(execute("t1"), &[1, 2]), json!([refused()]));
    let stage = Stage::new("noticed", &script);
    let job = stage.ends_with(6, &[]);
    let running = stage.site.spawn(&mut daemon(&stage, &[]));
    stage.site.until("it has tried once more", PATIENCE, || {
        running.stderr().contains("codex cannot be used") && job.all("job.paused", "").len() == 2
    });
    // Once it has taken in that the worker has gone, nothing is left to wake it but the login.
    stage.site.until("the worker has gone", PATIENCE, || test_kill_process(job.worker()).is_err());
    let spool = stage.site.root().join("spool");
    fs::write(spool.join("tmp/bad"), "").unwrap();
    fs::rename(spool.join("tmp/bad"), spool.join("incoming/bad.json")).unwrap();
    stage.site.until("it has looked", PATIENCE, || !names(&spool.join("rejected")).is_empty());
    fs::write(stage.site.root().join("store/rehearsal/auth.json"), "{}").unwrap();
    job.until("job.finished", "");
    running.signal(Signal::TERM);
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!(stands(&job), pair("succeeded", "done"));
    let ends = ends(&job, "t1");
    assert!(ends.iter().all(|e| e["thread_id"] == ends[0]["thread_id"]), "{ends:?}");
}

#[test]
fn work_in_place_begins_anew_after_a_limit() {
    let site = Site::new("in-place");
    let plain = site.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let stage = Stage::at(site, plain, &cut_in_the_middle(FAR));
    let job = stage.ends_with(4, &["--isolation", "in-place", "--max-attempts", "1"]);
    assert!(!stage.workspace.join("t1.txt").exists(), "what was half done is taken back");
    assert_eq!(stage.agree(&["start", &job.id]).code, Some(0), "{}", stage.site.dump());
    assert_eq!(fs::read_to_string(stage.workspace.join("t1.txt")).unwrap(), "rest\n");
    assert_eq!(job.charged("t1"), 0);
    job.is_clean();
}

#[test]
fn the_real_codex_goes_on_with_its_thread_at_the_reset() {
    let site = Site::new("real-limit");
    let (repo, resets_at) = (site.git_repo(), now() + 5400);
    let (team, asked) = (Team::of(&[("one", &[])]), Mutex::new(0));
    let server = ModelServer::start(move |request| {
        if !request.marker().starts_with("NUMERUS_EXECUTE") {
            return team.answer(request);
        }
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        match *asked {
            1 => Answer::exec("echo half > one.txt"),
            2 => Answer::usage_limit(5400)
                .header("x-codex-primary-used-percent", "100")
                .header("x-codex-primary-window-minutes", "300")
                .header("x-codex-primary-reset-at", &resets_at.to_string()),
            3 => Answer::exec("echo rest >> one.txt"),
            _ => Answer::say("done"),
        }
    });
    server.write_config(&site.codex_home());
    let words = ["run", "do it", "--max-attempts", "1", "--workspace", repo.to_str().unwrap()];
    let running = site.spawn(&mut site.numerus(words));
    let refused = |e: &Value| e["payload"]["failure"]["kind"] == "limit";
    let runs = || site.jobs();
    let journal = || runs().first().map(|job| site.journal(job)).unwrap_or_default();
    site.until("the refusal", PATIENCE, || journal().iter().any(refused));
    let job = runs().remove(0);
    let of = |event: &str| {
        let all = journal().into_iter().filter(|e| e["event"] == event);
        all.map(|mut e| e["payload"].take()).collect::<Vec<Value>>()
    };
    kill(u32::try_from(of("job.worker_started")[0]["pid"].as_u64().unwrap()).unwrap());
    drop(running.wait(PATIENCE));
    let begun = of("terminal.session_starting").len();
    assert_eq!(site.run(&mut site.numerus(["worker", &job])).code, Some(0));
    let until = of("job.paused").pop().unwrap()["until"].clone();
    let until: jiff::Timestamp = until.as_str().unwrap().parse().unwrap();
    assert_eq!(until.as_second(), i64::try_from(resets_at).unwrap(), "what the service said");
    assert_eq!(of("terminal.session_starting").len(), begun, "too early");
    let offset = (resets_at - 2 - now()).to_string();
    let mut daemon = site.numerus(["daemon"]);
    let daemon = site.spawn(daemon.env("NUMERUS_TEST_CLOCK_OFFSET", offset));
    site.until("the end", PATIENCE, || !of("job.finished").is_empty());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    let shown = site.git(&repo, &["show", &format!("numerus/{job}:one.txt")]);
    assert_eq!(shown, "half\nrest\n", "{}", site.dump());
    let ends = of("terminal.session_ended").into_iter().filter(|e| e["place"] == "one");
    let ends: Vec<Value> = ends.collect();
    assert!(ends.iter().all(|e| e["thread_id"] == ends[0]["thread_id"]), "{ends:?}");
    assert!(ends.len() == 3 && ends.iter().all(|e| e["attempt"] == 1), "{ends:?}");
    let charged = of("job.task_retried").iter().any(|e| e["failure"]["kind"] != "limit");
    assert!(!charged && of("job.task_failed").is_empty());
}

#[test]
fn the_real_codex_says_in_words_alone_when_a_limit_is_over() {
    let site = Site::new("worded-limit");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[])]);
    let server = ModelServer::start(move |request| {
        let works = request.marker().starts_with("NUMERUS_EXECUTE");
        if works { Answer::usage_limit(5400) } else { team.answer(request) }
    });
    server.write_config(&site.codex_home());
    let before = now();
    let words = ["run", "do it", "--workspace", repo.to_str().unwrap()];
    let ended = site.run(&mut site.numerus(words));
    assert_eq!(ended.code, Some(4), "{ended:?}\n{}", site.dump());
    let job = site.jobs().remove(0);
    let status = site.root().join("runs").join(job).join("status.json");
    let status: Value = serde_json::from_str(&std::fs::read_to_string(status).unwrap()).unwrap();
    let until: jiff::Timestamp = status["until"].as_str().unwrap().parse().unwrap();
    // The words have minutes only, and the whole minute is waited for.
    let waits = until.as_second() - i64::try_from(before).unwrap();
    assert!((5400..=5400 + 180).contains(&waits), "{waits} s: {status}");
}
