//! Every way in which a session can fail, once: the journal shows what was decided and why, in order, and the job ends as the
//! table in `docs/states.md` says. What is `stale` takes two tasks that meet, and is played in `claims` and `limits`.

use std::fs;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::limits::{refused, spent};
use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part, raise, wait_for};
use crate::site::PATIENCE;

/// What somebody does to the job once its execution is under way, and takes back afterwards.
#[derive(Clone, Copy)]
enum Deed {
    Nothing,
    KillWorker,
    KillTask,
    AskToLeave,
    BreakPrompt,
}

/// A failure and what follows from it.
struct Case {
    /// The word for its kind.
    kind: &'static str,
    /// How the first executions go; the ones after them go well.
    plays: Vec<Value>,
    deed: Deed,
    /// The decisions in order.
    decisions: Vec<Decision>,
    stands: (&'static str, &'static str),
    charged: usize,
}

const BLIND: &str = "WARNING: proceeding, even though we could not create PATH aliases: no room\n";

fn fails(message: &str, info: &str) -> Value {
    json!([{"fail": {"message": message, "info": info}}])
}

/// A decision: the event, the kind of failure in it, and a piece of its reason.
type Decision = (&'static str, &'static str, &'static str);

const DONE: Decision = ("job.finished", "", "1 task done");
const BLIND_AGAIN: Decision = ("terminal.session_retried", "start", "sandbox helper");

impl Case {
    /// A failure that does no harm in the end.
    fn of(kind: &'static str, plays: &[Value], decisions: &[Decision]) -> Self {
        let (plays, decisions) = (plays.to_vec(), decisions.to_vec());
        let stands = ("succeeded", "done");
        Self { kind, plays, deed: Deed::Nothing, decisions, stands, charged: 0 }
    }

    fn by(self, deed: Deed) -> Self {
        Self { deed, ..self }
    }

    fn charged(self, charged: usize) -> Self {
        Self { charged, ..self }
    }

    fn ends(self, state: &'static str, reason: &'static str) -> Self {
        Self { stands: (state, reason), ..self }
    }
}

/// Failures of the service and of codex's start.
fn of_the_service() -> Vec<Case> {
    let blind = json!([{"stderr": BLIND}, {"message": "?"}]);
    let (limit, auth) = (json!([spent(4_102_444_800)]), json!([refused()]));
    let never = "without its sandbox helper every time";
    vec![
        Case::of(
            "transient",
            &[fails("busy", "server_overloaded"), json!([{"exit": 3}])],
            &[
                ("terminal.session_retried", "transient", "busy"),
                ("terminal.session_retried", "transient", "exited with 3"),
                DONE,
            ],
        ),
        Case::of("start", std::slice::from_ref(&blind), &[BLIND_AGAIN, DONE]),
        Case::of(
            "start for ever",
            &vec![blind; 5],
            &[
                BLIND_AGAIN,
                BLIND_AGAIN,
                BLIND_AGAIN,
                BLIND_AGAIN,
                ("job.task_retried", "auth", never),
                ("job.paused", "", never),
            ],
        )
        .ends("paused", "auth"),
        Case::of(
            "limit",
            &[limit],
            &[("job.task_retried", "limit", "usage limit"), ("job.paused", "", "usage limit")],
        )
        .ends("paused", "limit"),
        Case::of(
            "auth",
            &[auth],
            &[("job.task_retried", "auth", "401"), ("job.paused", "", "401 Unauthorized")],
        )
        .ends("paused", "auth"),
    ]
}

/// Failures of the agent and of the machine.
fn of_the_agent() -> Vec<Case> {
    let long = fails("too much", "context_window_exceeded");
    let again = ("job.task_retried", "task", "too much");
    let broken = "is no valid template";
    vec![
        Case::of("task", std::slice::from_ref(&long), &[again, DONE]).charged(1),
        Case::of(
            "task for ever",
            &[long.clone(), long],
            &[
                again,
                ("job.task_exhausted", "task", "too much"),
                ("job.advised", "", "there is no way"),
                ("job.task_failed", "task", "too much"),
                ("job.finished", "", "too much"),
            ],
        )
        .ends("failed", "task_failed")
        .charged(2),
        Case::of("bug", &[], &[("job.task_failed", "bug", broken), ("job.finished", "", broken)])
            .by(Deed::BreakPrompt)
            .ends("failed", "task_failed"),
    ]
}

/// What people and signals do to a job that is under way.
fn of_people() -> Vec<Case> {
    let under_way = [json!([raise("reached"), wait_for("never"), {"message": "?"}])];
    let cut = ("job.task_retried", "interrupted", "its worker died");
    let left = ("job.task_retried", "left", "asked to leave");
    let killed = ("job.task_failed", "stopped", "killed");
    vec![
        Case::of("interrupted", &under_way, &[cut, DONE]).by(Deed::KillWorker),
        Case::of("left", &under_way, &[left, DONE]).by(Deed::AskToLeave),
        Case::of("stopped", &under_way, &[killed, ("job.finished", "", "killed")])
            .by(Deed::KillTask)
            .ends("failed", "task_failed"),
    ]
}

/// Plays a job in which this goes wrong.
fn play(stage: &Stage, deed: Deed) -> Job<'_> {
    let flags = ["--max-attempts", "2"];
    if let Deed::BreakPrompt = deed {
        let prompts = stage.site.root().join("prompts");
        fs::create_dir_all(&prompts).unwrap();
        fs::write(prompts.join("execute.md"), "{% if %}").unwrap();
    }
    if let Deed::Nothing | Deed::BreakPrompt = deed {
        return stage.run(&flags).1;
    }
    let (running, job) = stage.start(&flags);
    stage.until_raised("reached");
    match deed {
        Deed::KillWorker => job.slay_worker(),
        Deed::AskToLeave => kill_process(job.worker(), Signal::TERM).unwrap(),
        Deed::KillTask => drop(stage.call(&["kill", &format!("{}/t1", job.id)])),
        Deed::Nothing | Deed::BreakPrompt => {}
    }
    drop(running.wait(PATIENCE));
    if let Deed::KillWorker | Deed::AskToLeave = deed {
        assert_eq!(job.go_on().code, Some(0));
    }
    job
}

/// The decisions in a journal: the event, the kind of failure, the reason.
fn decisions(job: &Job<'_>) -> Vec<(String, String, String)> {
    const DECISIONS: [&str; 8] = [
        "terminal.session_retried",
        "job.task_retried",
        "job.task_exhausted",
        "job.advised",
        "job.task_failed",
        "job.planning_retried",
        "job.paused",
        "job.finished",
    ];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_decision = |e: &Value| DECISIONS.contains(&e["event"].as_str().unwrap());
    let told = |e: Value| {
        let payload = &e["payload"];
        let failure = &payload["failure"];
        let reasons = [&failure["message"], &payload["message"], &payload["advice"]];
        let reason = reasons.into_iter().find(|r| !r.is_null()).unwrap_or(&Value::Null);
        (text(&e["event"]), text(&failure["kind"]), text(reason))
    };
    job.events().into_iter().filter(is_decision).map(told).collect()
}

fn each_follows_as_the_table_says(cases: Vec<Case>) {
    for case in cases {
        let mut script = Script::of([part("t1")]);
        for play in &case.plays {
            // Scenes are counted one by one: each of these is met once, in turn.
            script = script.with(on_calls(execute("t1"), &[1]), play.clone());
        }
        let give_up = json!([{"message": {"decision": "give_up", "advice": "there is no way"}}]);
        let script = script.with(json!({"marker": "NUMERUS_QUEEN"}), give_up);
        let stage = Stage::new(&case.kind.replace(' ', "-"), &script);
        let job = play(&stage, case.deed);
        let found = decisions(&job);
        let fits = found.len() == case.decisions.len()
            && found.iter().zip(&case.decisions).all(|(found, (event, kind, piece))| {
                found.0 == *event && found.1 == *kind && found.2.contains(piece)
            });
        assert!(fits, "{}: {found:#?}\nnot {:#?}", case.kind, case.decisions);
        let stands = job.stands();
        assert_eq!((stands.0.as_str(), stands.1.as_str()), case.stands, "{}", case.kind);
        assert_eq!(job.charged("t1"), case.charged, "{}", case.kind);
        job.is_clean();
    }
}

#[test]
fn what_follows_from_failures_of_the_service() {
    each_follows_as_the_table_says(of_the_service());
}

#[test]
fn what_follows_from_failures_of_the_agent_and_of_the_machine() {
    each_follows_as_the_table_says(of_the_agent());
}

#[test]
fn what_follows_from_what_people_do() {
    each_follows_as_the_table_says(of_people());
}
