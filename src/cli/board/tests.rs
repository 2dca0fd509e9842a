//! Boards as people see them, in every width.

use serde_json::{Value, json};

use super::*;
use crate::cli::here::View;
use crate::logic::timeline::Timeline;
use crate::model::event::Event;

pub(in crate::cli) fn view(width: usize) -> View {
    View::plain(width, "2026-03-04T12:00:00Z")
}

/// A journal of these facts, one every second.
fn events(facts: &[(&str, Option<&str>, Value)]) -> Vec<Event> {
    let event = |(n, (name, task, payload)): (usize, &(&str, Option<&str>, Value))| {
        let line = json!({"seq": n + 1, "ts": format!("2026-03-04T11:59:{n:02}Z"), "event": name,
                          "payload": payload, "job_id": "fix-it-abc234", "task_id": task});
        serde_json::from_value(line).expect("event")
    };
    facts.iter().enumerate().map(event).collect()
}

fn job(more: &Value) -> Job {
    let mut job = json!({"version": 1, "id": "fix-it-abc234", "objective": "Fix it\nsoon",
        "created_at": "2026-03-04T11:59:00Z", "options": Options::default(),
        "origin": {"name": "x.md", "bytes": 1, "sha256": "", "uid": 0}});
    for (key, value) in more.as_object().expect("options") {
        job["options"][key] = value.clone();
    }
    serde_json::from_value(job).expect("job")
}

use crate::model::job::Options;

fn task(id: &str, role: &str, dependencies: &[&str]) -> Value {
    json!({"id": id, "summary": format!("do {id}"), "description": "", "dependencies": dependencies,
           "resources": {"reads": [], "writes": []}, "role": role, "notes": ""})
}

fn session(place: &str, kind: &str) -> Value {
    json!({"place": place, "number": 1, "kind": kind, "attempt": 1, "boot_id": "b", "cgroup": null,
           "resumes": null})
}

/// One task that works, one that waits for it, one that has not begun, one that has landed.
fn facts() -> Vec<(&'static str, Option<&'static str>, Value)> {
    let tasks = [
        task("parser", "executor", &[]),
        task("docs", "executor", &[]),
        task("check", "reviewer", &["parser", "docs"]),
        task("readme", "executor", &[]),
    ];
    let worker = json!({"pid": 7, "start_time": 1, "boot_id": "b"});
    let workspace = json!({"workspace": {"isolation": "worktree", "top": "/w", "git_dir": "/w/.git",
        "prefix": "", "base": "00", "dirty": false}});
    let held = json!([{"path": "a", "mode": "write",
                       "held_by": {"job": "fix-it-abc234", "task": "parser"}}]);
    let claim = |thread: &str| {
        json!({"attempt": 1, "thread_id": thread,
               "claim": {"reads": [], "writes": [{"path": "a", "is_dir": false}]}})
    };
    vec![
        ("job.claimed", None, json!({"file": "x.md"})),
        ("job.worker_started", None, worker),
        ("job.workspace_fixed", None, workspace),
        ("job.plan_created", None, json!({"plan": 1, "objective": "o", "tasks": tasks})),
        ("job.roles_assigned", None, json!({"plan": 1, "tasks": tasks, "strategy": "s"})),
        ("terminal.session_starting", Some("parser"), session("parser", "claim")),
        ("job.claim_recorded", Some("parser"), claim("1")),
        ("job.claim_approved", Some("parser"), json!({"attempt": 1})),
        ("job.task_started", Some("parser"), json!({"attempt": 1})),
        ("terminal.session_starting", Some("docs"), session("docs", "claim")),
        ("job.claim_recorded", Some("docs"), claim("2")),
        ("job.claim_blocked", Some("docs"), json!({"attempt": 1, "conflicts": held})),
        (
            "job.task_completed",
            Some("readme"),
            json!({"attempt": 1, "commit": "0123", "summary": "Wrote\u{1b}[2J it.\nAnd more."}),
        ),
    ]
}

fn board(facts: &[(&str, Option<&str>, Value)], more: &Value) -> Board {
    let (state, timeline) = Timeline::replay(&events(facts));
    let mut words = |place: &str, n: u32| Some((Tone::Plain, format!("$ make {place} {n}")));
    Board::of(&state, &timeline, (&job(more), true), &mut words, view(80).now)
}

fn shown(board: &Board, width: usize, height: usize) -> String {
    let rows = rows::block(board, &view(width), height);
    let text: Vec<String> = rows.iter().map(|row| row.painted(view(width).ink)).collect();
    assert!(rows.len() <= height && rows.iter().all(|row| row.width() <= width), "{text:#?}");
    text.join("\n") + "\n"
}

#[test]
fn a_job_at_work_shows_who_does_what_since_when() {
    let board = board(&facts(), &json!({}));
    assert!(board.is_at_work());
    let expected = "\
fix-it-abc234  running · 1 of 4 tasks · 1m 00s
  parser  executor  executing  52s              $ make parser 1
  docs    executor  blocked    49s              waits for fix-it-abc234/parser
  check   reviewer  pending                     after parser, docs
  readme  executor  succeeded                   Wrote\\x1b[2J it.
";
    assert_eq!(shown(&board, 80, 24), expected);
    let narrow = "\
fix-it-abc234  running · 1 of 4 tasks ·…
  parser  executing  52s      $ make pa…
  docs    blocked    49s      waits for…
  and 2 more (1 pending, 1 succeeded)
";
    assert_eq!(shown(&board, 40, 4), narrow);
    assert_eq!(shown(&board, 40, 1), "fix-it-abc234  running · 1 of 4 tasks ·…\n");
}

#[test]
fn what_a_job_does_as_a_whole_is_told() {
    let ended = |id: &'static str| {
        ("job.task_completed", Some(id), json!({"attempt": 1, "commit": "01", "summary": ""}))
    };
    let doing = |facts: &[_], more: Value| board(facts, &more).doing.1;
    let all = facts();
    assert_eq!(doing(&all[..1], json!({})), "no worker has begun yet");
    assert_eq!(doing(&all[..2], json!({})), "looks at the workspace");
    assert_eq!(doing(&all[..3], json!({})), "is about to plan");
    let mut planning = all[..3].to_vec();
    planning.push(("terminal.session_starting", None, session("plan", "plan")));
    assert_eq!(doing(&planning, json!({})), "plans: $ make plan 1");
    assert_eq!(doing(&all, json!({})), "");
    let mut done = all.clone();
    done.extend(["parser", "docs", "check"].map(ended));
    assert_eq!(doing(&done, json!({"verify": ["make test"]})), "verifies: make test");
    assert_eq!(doing(&done, json!({"review": true})), "is about to ask the queen");
    assert_eq!(doing(&done, json!({})), "makes the branch");
    let pause = |reason: &str, message: &str| {
        ("job.paused", None, json!({"reason": reason, "until": null, "message": message}))
    };
    done.push(pause("limit", "over its limit"));
    assert_eq!(doing(&done, json!({})), "over its limit");
    done.push(pause("approval", ""));
    assert_eq!(doing(&done, json!({})), "the plan waits for a person");
    done.push((
        "job.finished",
        None,
        json!({"state": "succeeded", "reason": "done", "message": "4 tasks done"}),
    ));
    assert_eq!(doing(&done, json!({})), "4 tasks done");
}

#[test]
fn a_job_whose_worker_has_gone_is_not_said_to_do_what_would_come_next() {
    let (state, timeline) = Timeline::replay(&events(&facts()[..3]));
    let board =
        Board::of(&state, &timeline, (&job(&json!({})), false), &mut |_, _| None, view(80).now);
    assert_eq!(board.doing.1, "nobody works on it: its worker has gone, and the next one goes on");
    let at_rest = Board::at_rest(board.status, false);
    assert_eq!(at_rest.doing.1, board.doing.1, "with its journal or without");
}
