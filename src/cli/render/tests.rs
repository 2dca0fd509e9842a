//! Whole texts, as people see them.

use serde_json::{Value, json};

use super::*;

fn view(width: usize) -> View {
    View::plain(width, "2026-03-04T12:00:00Z")
}

fn task(id: &str, role: &str, state: &str, waits_for: &Value) -> Value {
    json!({
        "id": id, "summary": format!("do {id}"), "role": role, "state": state,
        "attempt": u32::from(state != "pending"), "waits_for": waits_for, "until": null,
        "message": if state == "failed" { "ran out of\nattempts" } else { "" },
        "tokens": {"input_tokens": 1200, "output_tokens": 34},
    })
}

fn status(job: &str, state: &str, tasks: &[Value]) -> Status {
    serde_json::from_value(json!({
        "version": 1, "job_id": job, "state": state, "reason": null, "message": "",
        "until": null, "pid": 77, "workspace": "/src/shop", "branch": null,
        "objective": "Fix the login\u{1b}[31m and all that belongs to it, down to the last page",
        "created_at": "2026-03-04T11:55:00Z", "updated_at": "2026-03-04T11:59:00Z",
        "tokens": {"input_tokens": 12300, "cached_input_tokens": 300, "output_tokens": 45},
        "tasks": tasks,
    }))
    .expect("status")
}

fn row(job: &str, state: &str, tasks: &[Value]) -> Row {
    Row { status: status(job, state, tasks), held: true }
}

#[test]
fn jobs_are_listed_in_the_width_of_the_terminal() {
    let done = task("t1", "executor", "succeeded", &json!([]));
    let open = task("t2", "executor", "pending", &json!([]));
    let mut paused = row("b-abc234", "paused", &[]);
    paused.status.reason = Some("limit".into());
    paused.status.until = Some("2026-03-05T07:30:00Z".parse().expect("time"));
    let mut left = row("c-abc234", "running", &[]);
    left.held = false;
    paused.status.message =
        "the account is over its limit, and it will be so until it is filled up again".into();
    let held = task("t2", "executor", "blocked", &json!(["x-abc234/t1"]));
    let waiting = row("d-abc234", "running", &[held]);
    let mut failed = row("e-abc234", "failed", &[]);
    failed.status.message = "t1 failed:\nno\u{1b}[31m way".into();
    let rows = [row("a-abc234", "running", &[done, open]), paused, left, waiting, failed];
    let expected = "\
JOB       STATE                                  TASKS  TOKENS  AGE  OBJECTIVE
a-abc234  running                                1/2    12.3k   5m   Fix the login\\…
b-abc234  paused (limit) until 2026-03-05 07:30         12.3k   5m   Fix the login\\…
  the account is over its limit, and it will be so until it is filled up again
c-abc234  running (no worker)                           12.3k   5m   Fix the login\\…
d-abc234  running                                0/1    12.3k   5m   Fix the login\\…
  t2 waits for x-abc234/t1
e-abc234  failed                                        12.3k   1m   Fix the login\\…
  t1 failed: no\\x1b[31m way
";
    assert_eq!(jobs(&rows, &view(84)), expected);
    let narrow = jobs(&rows, &view(40));
    assert!(narrow.contains("\n  the account is over its limit, and it…\n"), "{narrow}");
}

#[test]
fn a_job_shows_its_tasks_why_they_wait_and_where_to_look() {
    let tasks = [
        task("api", "executor", "executing", &json!([])),
        task("docs", "executor", "blocked", &json!(["b-abc234/readme"])),
        task("check", "reviewer", "pending", &json!(["api", "docs"])),
    ];
    let wait: Wait = Wait {
        task: TaskId::parse("docs").expect("id"),
        conflicts: serde_json::from_value(json!([{
            "path": "README.md", "mode": "write",
            "held_by": {"job": "b-abc234", "task": "readme"},
        }]))
        .expect("conflicts"),
    };
    let expected = "\
job        a-abc234
state      running
objective  Fix the login\\x1b[31m and all that belongs to it, down to th…
workspace  /src/shop
worker     process 77
taken      11:55, 5m ago
tokens     12300 in (300 cached), 45 out
files      /r/runs/a-abc234

TASK   ROLE      STATE      TRY  WAITS FOR        TOKENS  SUMMARY
api    executor  executing  1                     1.2k    do api
docs   executor  blocked    1    b-abc234/readme  1.2k    do docs
check  reviewer  pending         api, docs        1.2k    do check
docs waits: README.md (to write) is held by b-abc234/readme

look: numerus logs a-abc234/api
";
    let shown =
        detail(&row("a-abc234", "running", &tasks), &[wait], "", "/r/runs/a-abc234", &view(72));
    assert_eq!(shown, expected);
}

#[test]
fn a_task_shows_the_moment_that_it_waits_for_until_that_has_come() {
    let mut due = task("t1", "executor", "pending", &json!([]));
    for (until, expected) in [("12:00:01", "pending until 12:00:01"), ("12:00:00", "pending  ")] {
        due["until"] = json!(format!("2026-03-04T{until}Z"));
        let shown = row("a-abc234", "running", &[due.clone()]);
        let shown = detail(&shown, &[], "", "/r", &view(90));
        assert!(shown.contains(&format!("t1    executor  {expected}")), "{shown}");
    }
}

#[test]
fn an_ended_job_says_why_and_shows_its_branch() {
    let mut ended = row("a-abc234", "failed", &[task("t1", "executor", "failed", &json!([]))]);
    ended.status.reason = Some("task_failed".into());
    ended.status.message = "t1 failed".into();
    ended.status.branch = Some("numerus/a-abc234".into());
    ended.status.takes_in.push(JobId::parse("b-abc234").expect("id"));
    ended.held = false;
    let expected = "\
job        a-abc234
state      failed
reason     task_failed
message    t1 failed
objective  Fix the login\\x1b[31m and all that belongs to it, down to th…
workspace  /src/shop
branch     numerus/a-abc234
holds      what b-abc234 had landed, too
agent      a script played it (builtin)
taken      11:55, took 4m, ended 1m ago
tokens     12300 in (300 cached), 45 out
files      /r

TASK  ROLE      STATE   TRY  TOKENS  SUMMARY
t1    executor  failed  1    1.2k    do t1
t1 failed: ran out of attempts

look: numerus retry a-abc234 · numerus apply a-abc234
      numerus logs a-abc234/t1 · git -C /src/shop log numerus/a-abc234
";
    let agent = "a script played it (builtin)";
    assert_eq!(detail(&ended, &[], agent, "/r", &view(72)), expected);
    ended.status.workspace = Some("/r/workspace".into());
    let own = detail(&ended, &[], agent, "/r", &view(144));
    assert!(own.contains("· git clone -b numerus/a-abc234 /r/workspace ·"), "{own}");
    ended.status.branch = None;
    ended.status.reason = Some("dependency".into());
    let waited = detail(&ended, &[], agent, "/r", &view(144));
    assert!(waited.contains("look: numerus retry a-abc234 --after NEW ·"), "{waited}");
    (ended.status.state, ended.status.reason) = (JobPhase::Killed, None);
    let killed = detail(&ended, &[], agent, "/r", &view(144));
    assert!(killed.contains("look: numerus retry a-abc234 ·"), "{killed}");
}

#[test]
fn a_job_whose_worker_is_gone_says_what_happens_next() {
    let mut lost = row("a-abc234", "running", &[]);
    lost.held = false;
    let shown = detail(&lost, &[], "", "/r", &view(80));
    let next = "worker     none: a daemon starts one; without a daemon, numerus start a-abc234\n";
    assert!(shown.contains(next), "{shown}");
    lost.status.branch = Some("numerus/a-abc234".into());
    lost.status.workspace = Some("/my shop's".into());
    let shown = detail(&lost, &[], "", "/r", &view(72));
    assert!(shown.contains(r"git -C '/my shop'\''s' log numerus/a-abc234"), "{shown}");
}

#[test]
fn heads_of_columns_are_whole_in_forty_columns() {
    let shown = jobs(&[row("a-abc234", "running", &[])], &view(40));
    let heads: Vec<&str> = shown.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(heads, ["JOB", "STATE", "TOKENS", "AGE", "OBJECTIVE"]);
}

#[test]
fn a_plan_is_a_table_of_roles() {
    let of: Plan = serde_json::from_value(json!({
        "version": 1, "number": 1, "objective": "o", "strategy": "Side by side.",
        "tasks": [
            {"id": "api", "summary": "Write the API", "description": "", "dependencies": [],
             "resources": {"reads": [], "writes": ["src/api/", "src/lib.rs"]},
             "role": "executor", "notes": ""},
            {"id": "check", "summary": "Read it", "description": "", "dependencies": ["api"],
             "resources": {"reads": [], "writes": ["x"]}, "role": "reviewer", "notes": ""},
        ],
    }))
    .expect("plan");
    let expected = "\
TASK   ROLE      SUMMARY        AFTER  LIKELY WRITES
api    executor  Write the API         src/api/, src/lib.rs
check  reviewer  Read it        api
Side by side.
";
    assert_eq!(plan(&of, &view(80)), expected);
}

#[test]
fn no_tokens_leave_their_column_empty_and_a_clock_that_went_back_makes_no_age() {
    assert_eq!((count(0), count(12_345)), (String::new(), "12.3k".to_owned()));
    let at = |s: i64| Timestamp::from_second(s).expect("time");
    assert_eq!((age(at(0), at(60)), age(at(10), at(0))), ("1m".to_owned(), "0s".to_owned()));
}
