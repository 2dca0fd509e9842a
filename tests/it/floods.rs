//! Agents and commands that print more than anybody wants to keep: the disk they cost is bounded, nothing waits for them,
//! deadlines work as ever, and what was dropped can be seen.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part, raise, wait_for};
use crate::site::PATIENCE;
use crate::yard::names;

/// What each log may keep here.
const MOST: u64 = 1_000_000;
/// What its lines of ours may add to that.
const OURS: u64 = 1000;

/// The stand-in's terminal and its stderr, for the commands that it runs.
const TERMINAL: &str = "/proc/$PPID/fd/1";
const ERRORS: &str = "/proc/$PPID/fd/2";

/// A stage on which the first execution of `t1` plays this before its work.
fn playing(name: &str, steps: &serde_json::Value) -> Stage {
    let mut play = steps.as_array().unwrap().clone();
    play.extend([
        json!({"write": {"path": "t1.txt", "text": "t1\n"}}),
        json!({"message": "the last word"}),
    ]);
    let script = Script::of([part("t1")]).with(on_calls(execute("t1"), &[1]), json!(play));
    let stage = Stage::new(name, &script);
    set(&stage, &format!("max_log = {MOST}\n"));
    stage
}

/// Adds to the settings.
fn set(stage: &Stage, lines: &str) {
    let path = stage.site.root().join("numerus.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + lines).unwrap();
}

/// So many bytes of lines of 500.
fn lines(bytes: u64, to: &str) -> String {
    format!("yes $(printf %0499d 7) | head -c {bytes} > {to}")
}

fn size(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

/// A log that is within the bound of so many sessions, joined, and says what is missing.
fn is_bounded(job: &Job<'_>, name: &str, sessions: u64) {
    let path = job.dir().join(name);
    let (text, bytes) = (fs::read(&path).unwrap(), size(&path));
    let text = String::from_utf8_lossy(&text);
    assert!(bytes <= sessions * (MOST + OURS) && bytes > MOST / 2, "{name}: {bytes}");
    assert!(text.contains("were dropped here]") || text.contains("numerus.dropped"), "{name}");
    let beside = names(path.parent().unwrap());
    assert!(!beside.iter().any(|n| n.contains(".tail-")), "{beside:?}");
}

#[test]
fn a_flood_costs_bounded_disk_and_the_job_ends_well() {
    let flood = format!("{}; {}", lines(20_000_000, TERMINAL), lines(20_000_000, ERRORS));
    let stage = playing("flood", &json!([{"command": flood}]));
    let job = stage.ends_with(0, &["--verify", &lines(20_000_000, "/dev/stderr")]);
    // The claim's session has written there, too.
    for name in ["t1/stdout.log", "t1/events.ndjson", "t1/stderr.log", "verify/verify.log"] {
        is_bounded(&job, name, 1);
    }
    let verify = job.read("verify/verify.log");
    assert!(
        verify.starts_with("$ yes ") && verify.ends_with("[ended with 0]\n"),
        "{}",
        verify.len()
    );
    job.is_clean();

    let target = format!("{}/t1", job.id);
    let told = stage.call(&["logs", &target]).stdout;
    assert!(told.contains("bytes of events were dropped here"), "{}", told.len());
    assert!(told.contains("the last word"), "what came after the flood is there");
    let raw = stage.call(&["logs", &target, "--raw"]).stdout;
    assert!(raw.contains("bytes were dropped here]") && raw.contains("the last word"));
    let json = stage.call(&["logs", &target, "--json"]).stdout;
    let events: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|e| e["event"]["type"] == "numerus.dropped"), "{}", events.len());
}

#[test]
fn a_flood_that_never_ends_is_ended_in_time() {
    let endless = format!("yes $(printf %0499d 7) > {TERMINAL}");
    let stage = playing("endless", &json!([{"command": endless}]));
    let job = stage.ends_with(0, &["--timeout", "execute=2s"]);
    let timeouts = job.all("terminal.timeout", "t1");
    assert_eq!(timeouts.len(), 1, "{timeouts:?}");
    assert_eq!(timeouts[0]["payload"]["deadline"], "total");
    is_bounded(&job, "t1/stdout.log", 2);
    job.is_clean();
}

#[test]
fn a_line_without_end_is_dropped_and_the_session_goes_on() {
    let line = format!("head -c 50000000 /dev/zero | tr '\\0' x > {TERMINAL}");
    let stage = playing("endless-line", &json!([{"command": line}, {"stdout": "\n"}]));
    let job = stage.ends_with(0, &[]);
    let told = job.read("t1/events.ndjson");
    assert!(told.contains("[numerus: a line of 5"), "{told}");
    assert!(told.contains("the last word"), "{told}");
    is_bounded(&job, "t1/stdout.log", 1);
}

#[test]
fn one_byte_now_and_then_is_progress_and_does_not_end_a_session() {
    let drip = format!("for i in 1 2 3 4 5; do sleep 1; printf . > {TERMINAL}; done");
    let stage = playing("drip", &json!([{"command": drip}]));
    let job = stage.ends_with(0, &["--timeout", "no-progress=2s"]);
    assert!(job.all("terminal.timeout", "").is_empty());
}

#[test]
fn what_a_killed_worker_left_of_a_flood_is_bounded_readable_and_joined_by_the_next() {
    let endless = format!("yes $(printf %0499d 7) > {TERMINAL}");
    let stage = playing("killed", &json!([{"command": endless}]));
    let (mut running, job) = stage.start(&[]);
    let parts = || names(&job.dir().join("t1")).into_iter().filter(|n| n.contains(".tail-"));
    stage.site.until("the log has dropped something", PATIENCE, || {
        job.dir().join("t1").is_dir() && {
            let of_raw: Vec<String> = parts().filter(|n| n.starts_with("stdout.log")).collect();
            !of_raw.is_empty() && of_raw.iter().all(|n| !n.ends_with("-0"))
        }
    });
    job.slay_worker();
    let _status = running.ends_within(PATIENCE);
    let all: u64 = parts().map(|n| size(&job.dir().join("t1").join(n))).sum();
    assert!(all <= 2 * MOST && size(&job.dir().join("t1/stdout.log")) <= MOST, "{all}");
    let raw = stage.call(&["logs", &format!("{}/t1", job.id), "--raw"]).stdout;
    assert!(
        raw.contains("bytes were dropped here]") && raw.len() as u64 > MOST / 2,
        "{}",
        raw.len()
    );

    assert_eq!(job.go_on().code, Some(0), "{}", stage.site.dump());
    is_bounded(&job, "t1/stdout.log", 2);
    is_bounded(&job, "t1/events.ndjson", 2);
    assert!(job.read("t1/events.ndjson").contains("t1 is done"));
    job.is_clean();
}

#[test]
fn a_follower_goes_on_over_what_was_dropped() {
    let flood = format!("seq 1000001 1400000 > {TERMINAL}");
    let steps = [raise("begun"), wait_for("followed"), json!({"command": flood})];
    let stage = playing("followed", &json!(steps));
    let (running, job) = stage.start(&[]);
    stage.until_raised("begun");
    let target = format!("{}/t1", job.id);
    let follow = |how: &str| stage.site.spawn(&mut stage.numerus(&["logs", "-f", &target, how]));
    let (raw, events) = (follow("--raw"), follow("--json"));
    stage.site.until("both follow", PATIENCE, || {
        raw.stdout().contains("turn.started") && events.stdout().contains("turn.started")
    });
    stage.raise("followed");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    let (raw, events) = (raw.wait(PATIENCE).stdout, events.wait(PATIENCE).stdout);
    let rises = |numbers: Vec<u64>, what: &str| {
        assert!(numbers.windows(2).all(|w| w[1] > w[0]), "{what}: twice, or out of order");
        assert_eq!(numbers.last(), Some(&1_400_000), "{what}");
        assert_eq!(numbers.first(), Some(&1_000_001), "{what}");
    };
    // The raw bytes may be cut within a line.
    let whole = raw.lines().filter(|line| line.len() == 7);
    rises(whole.filter_map(|line| line.parse().ok()).collect(), "raw");
    let text = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["event"]["text"].as_str().and_then(|text| text.parse().ok())
    };
    rises(events.lines().filter_map(text).collect(), "json");
    assert!(raw.contains("the last word") && events.contains("the last word"));
}

#[test]
fn all_logs_of_a_job_and_of_a_root_have_bounds_of_their_own() {
    for (name, key) in [("of-job", "max_job_logs"), ("of-root", "max_logs")] {
        let stage = playing(name, &json!([{"command": lines(20_000_000, TERMINAL)}]));
        set(&stage, &format!("{key} = 300000\n"));
        let job = stage.ends_with(0, &[]);
        let t1 = job.dir().join("t1");
        let all: u64 = ["stdout.log", "events.ndjson"].map(|log| size(&t1.join(log))).iter().sum();
        assert!(all < 300_000 + 2 * OURS && all > 100_000, "{key}: {all}");
        let other = stage.ends_with(0, &[]);
        let is_refused = other.read("t1/stdout.log").contains("[numerus: of what follows");
        assert_eq!(is_refused, key == "max_logs", "{key}");
    }
}
