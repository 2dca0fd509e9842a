//! Accounts that are over their limit or cannot log in: one refusal is enough for everybody, and afterwards everybody goes on
//! where they were.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part};
use crate::site::PATIENCE;

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
        assert_eq!(stage.call(&["start", &job.id]).code, Some(0), "{}", stage.site.dump());
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
    assert_eq!(stage.call(&["start", &second.id]).code, Some(0));
    assert_eq!(stands(&second), pair("succeeded", "done"));
    assert_eq!(first.go_on().code, Some(0));
    assert_eq!(stands(&first), pair("succeeded", "done"));
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
    assert_eq!(stage.call(&["start", &first.id]).code, Some(0));
    second.until("job.finished", "");
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
    let hold = fs::read_dir(stage.site.root().join("store/holds")).unwrap().next().unwrap();
    let hold: Value = serde_json::from_slice(&fs::read(hold.unwrap().path()).unwrap()).unwrap();
    assert!(hold["until"].is_string(), "the probe that worked has lifted it: {hold}");
    assert_eq!(first.go_on().code, Some(0));
    assert_eq!(stands(&first), pair("succeeded", "done"));
}
