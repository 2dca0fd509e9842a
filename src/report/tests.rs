//! What is promised of the pages whatever is in them: no text becomes markup, tags are nested, nothing is loaded, the size is
//! bounded, every task is named, and every state of a job gives a page.

mod folders;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::material::{Material, PATCH_BYTES, Piece};
use super::overview::Jobs;
use super::{overview, report};
use crate::logic::attempts;
use crate::logic::timeline::Timeline;
use crate::model::event::Event;
use crate::model::id::{JobId, TaskId};
use crate::model::job::{Job, Options, Origin};
use crate::runs::FilesOf;

/// Where a text of somebody else's is put in.
const TEXT: &str = "TEXT";

fn id() -> JobId {
    JobId::parse("a-abc234").expect("id")
}

fn task(name: &str) -> Value {
    json!({"id": name, "summary": TEXT, "description": TEXT, "dependencies": [], "role": "executor", "notes": TEXT,
           "resources": {"reads": [TEXT], "writes": [TEXT]}})
}

fn failure() -> Value {
    json!({"kind": "task", "message": TEXT, "resets_at": null})
}

fn session(name: &str, place: &str, number: u32) -> Value {
    let tokens = json!({"input_tokens": 1000, "cached_input_tokens": 10, "output_tokens": 100});
    let payload = json!({"place": place, "number": number, "kind": "execute", "attempt": 1, "boot_id": TEXT, "cgroup": null,
        "resumes": null, "failure": failure(), "thread_id": TEXT, "tokens": tokens, "thread_tokens": tokens});
    json!([place, name, payload])
}

/// A job in which everything happens that a page shows: `[task, event, payload]` each.
fn everything() -> Vec<Value> {
    let path = json!({"path": TEXT, "is_dir": false});
    let claim =
        json!({"reads": [path], "writes": [path, {"path": TEXT, "is_dir": true, "glob": TEXT}]});
    let conflict =
        json!({"path": TEXT, "mode": "write", "held_by": {"job": "b-abc234", "task": "x"}});
    let comments = json!([{"path": TEXT, "text": TEXT}, {"path": "", "text": TEXT}]);
    let mut second = task("t2");
    second["dependencies"] = json!(["t1"]);
    vec![
        json!(["", "job.worker_started", {"pid": 1, "start_time": 1, "boot_id": TEXT}]),
        json!(["", "job.workspace_fixed", {"workspace": {"isolation": "worktree", "top": TEXT, "git_dir": TEXT, "prefix": TEXT,
               "base": TEXT, "dirty": true}}]),
        json!(["", "job.plan_created", {"plan": 1, "objective": TEXT, "tasks": [task("t1"), second]}]),
        json!(["", "job.roles_assigned", {"plan": 1, "strategy": TEXT, "tasks": [task("t1"), second]}]),
        session("terminal.session_starting", "t1", 1),
        session("terminal.session_ended", "t1", 1),
        json!(["t1", "job.claim_recorded", {"attempt": 1, "claim": claim, "thread_id": TEXT}]),
        json!(["t1", "job.claim_blocked", {"attempt": 1, "conflicts": [conflict]}]),
        json!(["t1", "job.claim_approved", {"attempt": 1}]),
        json!(["t1", "job.claim_amended", {"attempt": 1, "paths": [TEXT]}]),
        json!(["t1", "job.claim_violated", {"attempt": 1, "paths": [TEXT]}]),
        json!(["t1", "job.base_moved", {"attempt": 1, "paths": [TEXT]}]),
        json!(["t1", "job.claim_measured", {"attempt": 1, "quality": {"precision": 0.5, "recall": null, "missed": [TEXT],
               "unused": [TEXT]}}]),
        json!(["t1", "job.task_exhausted", {"attempt": 1, "failure": failure()}]),
        json!(["t1", "job.advised", {"decision": "retry", "advice": TEXT}]),
        json!(["t1", "job.task_completed", {"attempt": 2, "commit": TEXT, "summary": TEXT}]),
        json!(["t2", "job.review_rejected", {"round": 1, "comments": comments}]),
        json!(["t2", "job.task_failed", {"attempt": 1, "failure": failure()}]),
        json!(["", "job.tasks_added", {"because": "verify", "round": 1, "tasks": [task("t3")]}]),
        json!(["", "job.base_diverged", {"from": "b-abc234", "commit": TEXT, "paths": [TEXT]}]),
        json!(["", "job.paused", {"reason": "user", "until": null, "message": TEXT}]),
        json!(["", "job.resumed", {}]),
        json!(["", "job.verified", {"passed": false, "commands": [{"command": TEXT, "code": 1}]}]),
        json!(["", "job.review_approved", {"comments": comments}]),
        json!(["", "job.landed", {"branch": TEXT, "commit": TEXT}]),
        json!(["", "job.finished", {"state": "failed", "reason": TEXT, "message": TEXT}]),
    ]
}

/// The events, a second apart, with a text of somebody else's in every place for one.
fn events(told: &[Value], text: &str) -> Vec<Event> {
    let event = |(at, told): (usize, &Value)| {
        let of = told[0].as_str().filter(|task| !task.is_empty());
        let ts = Timestamp::from_second(i64::try_from(at).expect("few")).expect("time");
        let line = json!({"seq": at + 1, "ts": ts, "event": told[1], "payload": filled(&told[2], text), "job_id": id(),
                          "task_id": of});
        serde_json::from_value(line.clone()).unwrap_or_else(|e| panic!("{e}: {line}"))
    };
    told.iter().enumerate().map(event).collect()
}

fn filled(value: &Value, text: &str) -> Value {
    match value {
        Value::String(word) if word == TEXT => json!(text),
        Value::Array(items) => items.iter().map(|item| filled(item, text)).collect(),
        Value::Object(keys) => keys
            .iter()
            .map(|(key, item)| (key.clone(), filled(item, text)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn material(told: &[Value], text: &str, bytes: &[u8]) -> Material {
    let events = events(told, text);
    let (state, timeline) = Timeline::replay(&events);
    let origin = Origin { name: text.into(), bytes: 1, sha256: String::new(), uid: 0 };
    let (objective, created_at) = (text.to_owned(), Timestamp::UNIX_EPOCH);
    let job =
        Job { version: 1, id: id(), objective, options: Options::default(), origin, created_at };
    let piece = || Piece { bytes: bytes.to_vec(), of: bytes.len() as u64 };
    let landed = state.tasks.iter().filter(|t| t.commit.is_some());
    Material {
        id: id(),
        job: Some(job),
        waits: None,
        notes: [String::new(), "t1".to_owned()].map(|of| (of, vec![text.to_owned()])).into(),
        last_seq: events.len() as u64,
        trouble: vec![text.to_owned()],
        attempts: attempts::of(&events),
        patches: landed.map(|t| (t.task.id.clone(), piece())).collect::<BTreeMap<TaskId, Piece>>(),
        verify: Some(bytes.to_vec()),
        files: vec![
            FilesOf { place: String::new(), names: vec![text.to_owned()], left_out: 1 },
            FilesOf { place: text.to_owned(), names: vec![text.to_owned()], left_out: 1 },
        ],
        state,
        timeline,
        events,
        is_own: false,
        is_held: true,
        now: Timestamp::from_second(1000).expect("time"),
        zone: TimeZone::UTC,
    }
}

/// Every tag of a page with its attributes, in order.
fn tags(page: &str) -> Vec<(String, String)> {
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a page");
    let style = body.find("<style>").expect("a style")..body.find("</style>").expect("its end");
    let body = body.replace(&body[style.start + 7..style.end], "");
    let pieces = body.split('<').skip(1).map(|piece| piece.split_once('>').expect("a tag ends").0);
    let parts = pieces.map(|tag| tag.split_once(' ').unwrap_or((tag, "")));
    parts.map(|(name, attributes)| (name.to_owned(), attributes.to_owned())).collect()
}

/// Tags are ours, nested and closed; every address stays in the run folder, or leads to the overview.
fn check(page: &str) {
    const OURS: &str = "html head meta title style body main p a h1 h2 h3 div span section dl dt dd small b i s ul li table \
                        thead tbody tr th td details summary code pre svg circle path rect text time footer label";
    let mut open: Vec<String> = Vec::new();
    for (name, attributes) in tags(page) {
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed), "nested");
            continue;
        }
        assert!(OURS.split_whitespace().any(|ours| ours == name), "<{name} {attributes}>");
        for attribute in attributes.split("\" ") {
            assert!(!attribute.starts_with("on") && !attribute.starts_with("src"), "{attribute}");
            if let Some(to) = attribute.strip_prefix("href=\"") {
                let stays = ["./", "#", "../index.html"].iter().any(|start| to.starts_with(start));
                assert!(stays && !to.contains("/../"), "{to}");
            }
        }
        if name != "meta" {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} never end");
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!page.contains(is_odd) && !page.contains(['\u{202e}', '\u{2066}', '\u{200b}']));
}

fn overview_of(text: &str) -> String {
    let mut told = events(&everything(), text);
    let (mut state, _) = Timeline::replay(&told);
    state.branch = told.pop().map(|_| text.to_owned());
    let job = material(&[], text, b"").job.expect("a job");
    let status = || state.status(&job);
    let (live, ended) = (vec![status()], vec![status()]);
    let (now, zone) = (Timestamp::UNIX_EPOCH, TimeZone::UTC);
    overview::write(&Jobs { live, more_live: 3, ended, has_more: true, now, zone })
}

const HOSTILE: &str = "</style></pre></details>\"'><script>alert(1)</script><img src=x onerror=y>&#x3c;b\u{202e}\u{2066}\u{200b}\x1b[31m\0\r\u{85}";

#[test]
fn hostile_texts_in_every_field_are_shown_and_are_no_markup() {
    let patch = format!(
        "diff --git a/{HOSTILE}.rs b/{HOSTILE}.rs\n@@ -1,2 +1,2 @@ {HOSTILE}\n+\"{HOSTILE}\n-// {HOSTILE}\n \n"
    );
    let bytes = [patch.as_bytes(), b"\xff\xfe<script>"].concat();
    let page = report(&material(&everything(), HOSTILE, &bytes));
    check(&page);
    assert!(!page.contains("<script") && !page.contains("<img"), "escaped");
    assert!(page.matches("&lt;script&gt;").count() > 30, "and still shown");
    check(&overview_of(HOSTILE));
}

#[test]
fn a_page_refers_to_nothing_outside_of_it_and_forbids_it() {
    for page in [report(&material(&everything(), "x", b"")), overview_of("x")] {
        for way in ["http:", "https:", "src=", "@import", "url(", "<script", "<link", "javascript"]
        {
            assert!(!page.contains(way), "{way}");
        }
        assert!(
            page.contains(
                "content=\"default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;"
            )
        );
    }
}

#[test]
fn a_page_tells_what_happened() {
    let page = report(&material(&everything(), "words of an agent", b"@@ -1 +1 @@\n-old\n+new\n"));
    for told in [
        "NO GO",
        "b-abc234/x",
        "added to the claim",
        "without having been claimed",
        "The queen about t1: retry",
        "t2 wants changes",
        "1 task added after verify",
        "Conflicts with what job b-abc234",
        "did not pass",
        "numerus apply a-abc234",
        "(to write) is held by b-abc234/x",
        "+new</div>",
        "href=\"#t-t3\"",
        "Told to all agents",
        "Told to its agents",
        "1\u{a0}000",
        "waited 1.0s for b-abc234/x",
    ] {
        assert!(page.contains(told), "{told}");
    }
}

#[test]
fn a_job_with_a_repository_of_its_own_is_cloned_and_a_task_that_waits_names_for_whom() {
    let mut of = material(&everything(), "x", b"");
    of.is_own = true;
    let page = report(&of);
    assert!(page.contains("of a repository of its own") && page.contains("git clone -b x x"));
    let all = everything();
    let blocked = all.iter().position(|told| told[1] == "job.claim_blocked").expect("one");
    let page = report(&material(&all[..=blocked], "", b""));
    assert!(page.contains("t1 waits for b-abc234/x"), "not by the word of a mechanism");
    assert!(page.contains("<code>the whole workspace</code> (to write)"));
    assert!(!page.contains("lease"));
    check(&page);
}

#[test]
fn a_job_of_any_size_gives_a_page_of_a_bounded_one_that_names_every_task() {
    let long = format!("{}{HOSTILE}", "\x07".repeat(300_000));
    let names: Vec<String> = (0..64).map(|n| format!("task-{n}")).collect();
    let plan: Vec<Value> = names.iter().map(|name| task(name)).collect();
    let mut told = vec![
        json!(["", "job.worker_started", {"pid": 1, "start_time": 1, "boot_id": TEXT}]),
        json!(["", "job.plan_created", {"plan": 1, "objective": TEXT, "tasks": plan}]),
    ];
    for number in 0..500u32 {
        let place = &names[number as usize % 64];
        told.push(session("terminal.session_starting", place, number));
        told.push(session("terminal.session_ended", place, number));
    }
    for name in &names {
        told.push(
            json!([name, "job.task_completed", {"attempt": 1, "commit": "c", "summary": "done"}]),
        );
    }
    let line = format!("+{}\n", "x\" <".repeat(500));
    let most = usize::try_from(PATCH_BYTES).expect("small");
    let patch = format!(
        "diff --git a/x.rs b/x.rs\n@@ -0,0 +1,99999 @@\n{}",
        line.repeat(most / line.len())
    );
    let mut of = material(&told, "short", patch.as_bytes());
    for task in &mut of.state.tasks {
        (task.task.description, task.task.summary) = (long.clone(), long.clone());
    }
    of.patches.values_mut().for_each(|piece| piece.of = 10 * 1024 * 1024);
    let page = report(&of);
    assert!(page.len() < 6 * 1024 * 1024, "{} bytes", page.len());
    for name in &names {
        assert!(page.contains(&format!("<b>{name}</b>")), "{name}");
    }
    assert!(page.contains("see the file") && page.contains("./task-0/diff.patch"));
    check(&page);
}

#[test]
fn of_many_verdicts_and_findings_the_last_are_shown_and_the_others_counted() {
    let conflict =
        json!({"path": "x", "mode": "write", "held_by": {"job": "b-abc234", "task": "x"}});
    let mut told = vec![
        json!(["", "job.plan_created", {"plan": 1, "objective": "", "tasks": [task("t1")]}]),
        json!(["t1", "job.claim_recorded", {"attempt": 1, "claim": {"reads": [], "writes": []}, "thread_id": TEXT}]),
    ];
    let no_go = json!(["t1", "job.claim_blocked", {"attempt": 1, "conflicts": [conflict]}]);
    told.extend(std::iter::repeat_n(no_go, 20));
    told.push(json!(["t1", "job.claim_approved", {"attempt": 1}]));
    let conflicts: Vec<String> = (0..70).map(|n| format!("path-{n}")).collect();
    told.push(
        json!(["", "job.base_diverged", {"from": "b-abc234", "commit": "c", "paths": conflicts}]),
    );
    let page = report(&material(&told, &"long ".repeat(10_000), b""));
    for said in [
        ">GO</span>",
        "9 before: see <a href=\"./events.ndjson\"",
        "10 more: see <a",
        "… the rest: see <a",
    ] {
        assert!(page.contains(said), "{said}");
    }
    check(&page);
}

#[test]
fn every_beginning_of_a_job_gives_a_page() {
    for count in 0..=everything().len() {
        for is_held in [true, false] {
            let mut of = material(&everything()[..count], "x", b"");
            (of.is_held, of.job) = (is_held, of.job.filter(|_| is_held));
            check(&report(&of));
        }
    }
    let queued = report(&material(&[], "Do it", b""));
    assert!(queued.contains("no worker has begun yet") && queued.contains(">queued<"));
    let mut left = material(&everything()[..5], "x", b"");
    left.is_held = false;
    assert!(report(&left).contains("its worker has gone"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_text_in_any_field_and_any_bytes_in_any_patch_are_no_markup(
        text in "\\PC{0,80}|[<>&\"'/=a \\x00-\\x1f\u{202a}-\u{202e}]{0,80}",
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cut in 0usize..27,
    ) {
        let all = everything();
        let patch = [b"diff --git a/x.rs b/x.rs\n@@ -1,9 +1,9 @@\n+", &bytes[..]].concat();
        check(&report(&material(&all[..cut.min(all.len())], &text, &patch)));
        check(&overview_of(&text));
    }
}
