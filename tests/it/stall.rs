//! Silence is no stall: a session is ended for want of progress only when nothing at all shows that it lives.

use serde_json::{Value, json};

use crate::rehearsal::{Script, Stage, execute, on_calls, part};

/// Five seconds of silent work, with a longest silence of two.
const FLAGS: [&str; 4] = ["--timeout", "no-progress=2s", "--max-attempts", "2"];

/// Lets the first execution of `t1` run a command that says nothing.
fn running(command: &str) -> Script {
    let play = json!([{"command": command}, {"write": {"path": "t1.txt", "text": "t1\n"}}, {"message": "done"}]);
    Script::of([part("t1")]).with(on_calls(execute("t1"), &[1]), play)
}

/// A loop of the shell that goes on for five seconds.
fn for_five_seconds(work: &str) -> String {
    format!("end=$(($(date +%s) + 5)); while [ $(date +%s) -lt $end ]; do {work}; done")
}

#[test]
fn a_silent_command_that_computes_or_writes_is_not_ended() {
    for (name, work) in [("computes", ":"), ("writes", "echo t1 > t1.txt; sleep 0.3")] {
        let stage = Stage::new(name, &running(&for_five_seconds(work)));
        let job = stage.ends_with(0, &FLAGS);
        assert!(job.all("terminal.timeout", "").is_empty(), "{name}");
        assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]), "{name}");
    }
}

#[test]
fn a_command_that_only_sleeps_is_ended_and_the_reason_says_what_was_looked_at() {
    let stage = Stage::new("sleeps", &running("sleep 60"));
    let job = stage.ends_with(0, &FLAGS);
    let timeouts: Vec<Value> = job.all("terminal.timeout", "t1");
    assert_eq!(timeouts[0]["payload"]["deadline"], "no_progress", "{timeouts:?}");
    let failure = &job.all("job.task_retried", "t1")[0]["payload"]["failure"];
    assert!(failure["message"].as_str().unwrap().contains("no processor time"), "{failure}");
    assert_eq!((job.charged("t1"), job.landed()), (1, vec!["t1".to_owned()]));
    job.is_clean();
}

#[test]
fn every_kind_of_session_and_command_has_its_deadline() {
    let hangs = |when: Value| (when, json!([{"sleep_ms": 60_000}, {"message": "late"}]));
    for (kind, when) in [
        ("plan", json!({"marker": "NUMERUS_PLAN"})),
        ("roles", json!({"marker": "NUMERUS_ROLES"})),
        ("claim", json!({"marker": "NUMERUS_CLAIM"})),
        ("execute", json!({"marker": "NUMERUS_EXECUTE"})),
        ("review", json!({"marker": "NUMERUS_REVIEW"})),
    ] {
        let parts = [part("t1"), part("look").role("planner").after(&["t1"])];
        let (when, play) = hangs(on_calls(when, &[1]));
        let stage = Stage::new(kind, &Script::of(parts).with(when, play));
        let job = stage.ends_with(0, &["--timeout", &format!("{kind}=1s")]);
        let timeouts = job.all("terminal.timeout", "");
        assert_eq!(timeouts.len(), 1, "{kind}: {timeouts:?}");
        assert_eq!(timeouts[0]["payload"]["deadline"], "total", "{kind}");
    }
    let stage = Stage::new("verify", &Script::of([part("t1")]));
    for further in ["--verify", "--setup"] {
        let job = stage
            .ends_with(1, &["--max-attempts", "1", "--timeout", "verify=1s", further, "sleep 60"]);
        let end = job.all("job.finished", "").pop().unwrap();
        assert!(
            end["payload"]["message"].as_str().unwrap().contains("was ended before it was done"),
            "{end}"
        );
    }
}
