//! Codex's own record of a thread, `$CODEX_HOME/sessions/YYYY/MM/DD/rollout-<time>-<thread>.jsonl`: the typed error of
//! the last turn, when a limit is refilled, and what the turn spent. It survives a kill, which the printed stream does
//! not. Nothing here is ever written.

use std::io::{BufRead, BufReader, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::logic::classify::Record;
use crate::model::outcome::Tokens;
use crate::os::{clock, fsx};

/// Most day folders that are looked through for a thread, newest first.
const MAX_DAYS: usize = 400;

/// Reads what a thread's record says about its last turn; an empty record where there is none.
pub fn read(home: &Path, thread: &str) -> Record {
    let Some(path) = find(home, thread) else { return Record::default() };
    last_turn(&path).unwrap_or_default()
}

/// Finds the record of a thread: where its id says that it is, else by the end of its name, in the newest day first.
fn find(home: &Path, thread: &str) -> Option<PathBuf> {
    let supposed = supposed(thread, &clock::zone()).into_iter().map(|path| home.join(path));
    supposed.into_iter().find(|path| path.is_file()).or_else(|| look_for(home, thread))
}

/// Where the record of a thread should be. An id is a UUID of version 7, which begins with the milliseconds at which it was made
/// (RFC 9562, 5.7); the record is named after the local time at which it was begun, in that second or the next.
fn supposed(thread: &str, zone: &TimeZone) -> Vec<PathBuf> {
    let is_id = thread.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    let digits: String = thread.chars().filter(|c| *c != '-').take(12).collect();
    let made = i64::from_str_radix(&digits, 16).ok().map(Timestamp::from_millisecond);
    let Some(Ok(made)) = made.filter(|_| is_id) else { return Vec::new() };
    let path = |later: u64| {
        let at = clock::later(made, Duration::from_secs(later)).to_zoned_datetime(zone.clone());
        format!("{}-{thread}.jsonl", at.strftime("sessions/%Y/%m/%d/rollout-%Y-%m-%dT%H-%M-%S"))
            .into()
    };
    [0, 1].map(path).into()
}

fn look_for(home: &Path, thread: &str) -> Option<PathBuf> {
    let ending = format!("-{thread}.jsonl");
    let days = newest(&home.join("sessions"))
        .flat_map(|year| newest(&year))
        .flat_map(|month| newest(&month));
    days.take(MAX_DAYS).find_map(|day| {
        let name = fsx::list(&day).ok()?.into_iter().find(|n| n.ends_with(&ending))?;
        Some(day.join(name))
    })
}

/// The entries of a folder, the largest name first.
fn newest(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut names = fsx::list(dir).unwrap_or_default();
    names.sort_unstable_by(|a, b| b.cmp(a));
    let dir = dir.to_owned();
    names.into_iter().map(move |n| dir.join(n))
}

fn last_turn(path: &Path) -> Result<Record> {
    let mut lines = BufReader::new(fsx::open_hostile(path)?);
    let mut record = Record::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(record);
        }
        take_line(&mut record, &line);
    }
}

/// Words one of which a line must have to be worth parsing.
const WORTH: [&str; 4] = ["task_started", "token_usage_record", "task_complete", "token_count"];

fn take_line(record: &mut Record, line: &[u8]) {
    let head = String::from_utf8_lossy(line.get(..400).unwrap_or(line));
    if !WORTH.iter().any(|w| head.contains(w)) {
        return;
    }
    let Ok(json) = serde_json::from_slice::<Value>(line) else { return };
    let payload = &json["payload"];
    let kind = if json["type"] == "event_msg" { &payload["type"] } else { &json["type"] };
    match kind.as_str().unwrap_or_default() {
        "task_started" => {
            let started_at = json["timestamp"].as_str().and_then(|at| at.parse().ok());
            *record = Record { started_at, ..Record::default() };
        }
        "token_usage_record" => {
            record.turn_tokens = serde_json::from_value(payload["turn_token_usage"].clone()).ok();
        }
        "task_complete" => {
            record.error =
                Some(payload["error"]["codex_error_info"].clone()).filter(|e| !e.is_null());
        }
        "token_count" => record.resets_at = refill(&payload["rate_limits"]).or(record.resets_at),
        _ => {}
    }
}

/// When the fullest of the limits is refilled.
fn refill(limits: &Value) -> Option<Timestamp> {
    let windows = ["primary", "secondary"].map(|name| &limits[name]);
    let fullest = windows.into_iter().filter(|w| w["resets_at"].is_i64()).max_by(|a, b| {
        let used = |w: &Value| w["used_percent"].as_f64().unwrap_or_default();
        used(a).total_cmp(&used(b))
    })?;
    Timestamp::from_second(fullest["resets_at"].as_i64()?).ok()
}

/// What a session spent that nobody saw the end of: its turn is the last of the thread, if that began after the session was
/// about to start. A turn before it is on record already.
pub fn unseen_tokens(home: &Path, thread: &str, since: Timestamp) -> Tokens {
    let record = read(home, thread);
    let is_its_own = record.started_at.is_some_and(|at| at >= since);
    record.turn_tokens.filter(|_| is_its_own).unwrap_or_default()
}

/// What a turn spent: from the record, else what the thread's total grew by.
pub fn turn_tokens(record: &Record, thread_total: Option<Tokens>, before: Tokens) -> Tokens {
    record
        .turn_tokens
        .unwrap_or_else(|| thread_total.map_or_else(Tokens::default, |t| t.since(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"type":"event_msg","payload":{"type":"task_started"}}
{"type":"token_usage_record","payload":{"turn_token_usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}}
{"type":"event_msg","payload":{"type":"task_complete","last_agent_message":"ok"}}
{"type":"event_msg","payload":{"type":"task_started"}}
{"type":"token_usage_record","payload":{"turn_token_usage":{"input_tokens":70,"cached_input_tokens":5,"output_tokens":7,"x":1}}}
{"type":"event_msg","payload":{"type":"token_count","rate_limits":{"primary":{"used_percent":40.0,"resets_at":100},"secondary":{"used_percent":99.0,"resets_at":2000}}}}
not json
{"type":"event_msg","payload":{"type":"task_complete","error":{"message":"m","codex_error_info":"usage_limit_exceeded"}}}
"#;

    #[test]
    fn what_nobody_saw_the_end_of_counts_if_it_began_after_its_start() {
        let d = tempfile::tempdir().expect("scratch");
        let day = d.path().join("sessions/2026/01/02");
        fsx::make_dirs(&day).expect("day");
        let lines = LINES.replace(
            r#"{"type":"event_msg","payload":{"type":"task_started"}}"#,
            r#"{"timestamp":"2026-01-02T10:00:00.500Z","type":"event_msg","payload":{"type":"task_started"}}"#,
        );
        fsx::put_new(&day.join("rollout-x-thread-1.jsonl"), lines.as_bytes()).expect("rollout");
        let spent =
            |since: &str| unseen_tokens(d.path(), "thread-1", since.parse().expect("time")).total();
        assert_eq!([spent("2026-01-02T10:00:00Z"), spent("2026-01-02T10:00:01Z")], [77, 0]);
        assert_eq!(unseen_tokens(d.path(), "thread-2", Timestamp::UNIX_EPOCH).total(), 0);
    }

    #[test]
    fn a_record_is_supposed_where_the_id_of_its_thread_says() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let at = |thread: &str| {
            let paths = supposed(thread, &zone).into_iter();
            paths.map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let thread = "01a2181b-5232-7161-907f-06b38c0d3b1a";
        let expected =
            ["2026/11/26/rollout-2026-11-26T15-46-13", "2026/11/26/rollout-2026-11-26T15-46-14"];
        assert_eq!(at(thread), expected.map(|name| format!("sessions/{name}-{thread}.jsonl")));
        for odd in ["", "thread-1", "zz", "-", "ffffffffffff", "01a2181b5232/../x", "01a2181b5232é"]
        {
            assert_eq!(at(odd), [""; 0], "{odd}");
        }
    }

    #[test]
    fn the_last_turn_counts_and_is_found_by_its_thread() {
        let d = tempfile::tempdir().expect("scratch");
        let day = d.path().join("sessions/2026/01/02");
        fsx::make_dirs(&day).expect("day");
        fsx::put_new(&day.join("rollout-x-thread-1.jsonl"), LINES.as_bytes()).expect("rollout");
        let record = read(d.path(), "thread-1");
        assert_eq!(record.error, Some(Value::from("usage_limit_exceeded")));
        assert_eq!(record.turn_tokens, Some(Tokens { input: 70, cached: 5, output: 7 }));
        assert_eq!(record.resets_at.map(Timestamp::as_second), Some(2000));
        assert_eq!(read(d.path(), "thread-2"), Record::default());
    }
}
