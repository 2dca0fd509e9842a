//! What an agent said and did, as `logs` shows it. Pure: one line of a place's `events.ndjson` in, lines for people out.
//! Every text is an agent's and passes the terminal neutralised; a line that is no event is shown as it is, unless it is the
//! beginning of one, which its writer's death cut off.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::answer;
use super::here::View;
use super::ink::Tone;
use crate::logic::words::{self, plural};
use crate::model::outcome::Tokens;
use crate::os::console::{neutral, one_line};

/// Lines of a command's output that are shown; the whole of it is in the raw log.
const OUTPUT_LINES: usize = 12;

/// How the event of a session begins.
const EVENT: &str = r#"{"ts":""#;

/// One parsed line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// When it was said.
    pub(super) at: Option<Timestamp>,
    /// The session in its place, from 1.
    pub(super) session: u64,
    /// The attempt it belongs to.
    pub(super) attempt: u64,
    /// What is shown, each one line; none for what nobody reads.
    pub(super) lines: Vec<(Tone, String)>,
}

/// Reads one line.
pub(super) fn read(line: &str) -> Said {
    let value = match serde_json::from_str::<Value>(line) {
        Ok(value) => value,
        Err(e) => {
            let text = line.trim_end();
            let shown = if is_beginning(text, &e) {
                format!("[numerus: an event was cut off after {} bytes]", text.len())
            } else {
                neutral(text)
            };
            return Said { at: None, session: 0, attempt: 0, lines: vec![(Tone::Dim, shown)] };
        }
    };
    let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    Said {
        at: text(&value, "ts").parse().ok(),
        session: number("session"),
        attempt: number("attempt"),
        lines: value.get("event").map(event).unwrap_or_default(),
    }
}

/// Whether a line is the beginning of an event that its writer's death cut off.
pub(super) fn is_cut_off(line: &str) -> bool {
    let read = serde_json::from_str::<IgnoredAny>(line);
    read.is_err_and(|e| is_beginning(line, &e))
}

fn is_beginning(line: &str, error: &serde_json::Error) -> bool {
    line.starts_with(EVENT) && error.is_eof()
}

/// The one line that says best what is going on in an event: a command rather than what it printed; `None` where nobody
/// would want to know, and of sessions before that one.
pub(super) fn gist(line: &str, session: u32) -> Option<(Tone, String)> {
    let value = serde_json::from_str::<Value>(line).ok()?;
    let number = value.get("session").and_then(Value::as_u64).unwrap_or(0);
    let event = value.get("event").filter(|_| number >= u64::from(session))?;
    if let Some(command) = event.get("item").filter(|i| text(i, "type") == "command_execution") {
        let command = unwrapped(text(command, "command"));
        return Some((Tone::Plain, one_line(&format!("$ {command}"))));
    }
    self::event(event).into_iter().next().map(|(tone, line)| (tone, one_line(&line)))
}

/// A command without the shell that codex puts around it.
fn unwrapped(command: &str) -> &str {
    let inner = ["/bin/bash -lc ", "bash -lc ", "/bin/sh -c "]
        .iter()
        .find_map(|shell| command.strip_prefix(shell));
    let inner = inner.unwrap_or(command);
    inner.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\'')).unwrap_or(inner)
}

/// What was said as text, each line behind its lead, and the first words of a session below its heading; `session` is the one,
/// with its attempt, that was told last.
pub(super) fn told(
    said: &Said,
    session: &mut Option<(u64, u64)>,
    lead: &str,
    view: &View,
) -> String {
    let mut text = String::new();
    let this = Some((said.session, said.attempt));
    if !said.lines.is_empty() && *session != this && said.session > 0 {
        *session = this;
        let _ = writeln!(text, "{lead}{}", heading(said, view));
    }
    for (tone, line) in &said.lines {
        let _ = writeln!(text, "{lead}{}", view.ink.paint(*tone, line));
    }
    text
}

/// The line that stands before the first words of a session.
fn heading(said: &Said, view: &View) -> String {
    let time = said.at.map(|at| format!(" · {}", view.moment(at))).unwrap_or_default();
    let heading = format!("── session {} · attempt {}{time}", said.session, said.attempt);
    view.ink.paint(Tone::Strong, &heading)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn event(event: &Value) -> Vec<(Tone, String)> {
    match text(event, "type") {
        "thread.started" | "turn.started" => Vec::new(),
        "turn.completed" => vec![(Tone::Good, format!("done: {}", usage(event)))],
        "turn.failed" => {
            let why = event.get("error").map(|e| text(e, "message")).unwrap_or_default();
            marked(Tone::Bad, "failed: ", why)
        }
        "error" => marked(Tone::Bad, "error: ", text(event, "message")),
        phase @ ("item.started" | "item.updated" | "item.completed") => {
            event.get("item").map(|i| item(i, phase == "item.completed")).unwrap_or_default()
        }
        "numerus.dropped" => {
            let bytes = event.get("bytes").and_then(Value::as_u64).unwrap_or(0);
            vec![(Tone::Wait, format!("… {bytes} bytes of events were dropped here"))]
        }
        "numerus.log_full" => {
            let words = "… the log is full: of what follows, only the newest is kept";
            vec![(Tone::Wait, words.to_owned())]
        }
        "text" => marked(Tone::Dim, "", text(event, "text")),
        other => vec![(Tone::Dim, format!("({})", one_line(other)))],
    }
}

fn usage(event: &Value) -> String {
    let of = |key: &str| {
        event.get("usage").and_then(|u| u.get(key)).and_then(Value::as_u64).unwrap_or(0)
    };
    let (input, cached) = (of("input_tokens"), of("cached_input_tokens"));
    words::spent(Tokens { input, cached, output: of("output_tokens") })
}

/// An item when it starts, or when it is complete.
fn item(item: &Value, complete: bool) -> Vec<(Tone, String)> {
    match (text(item, "type"), complete) {
        ("command_execution", false) => marked(Tone::Strong, "$ ", text(item, "command")),
        ("command_execution", true) => command(item),
        ("agent_message", true) => {
            let said = text(item, "text");
            marked(Tone::Plain, "", answer::in_words(said).as_deref().unwrap_or(said))
        }
        ("reasoning", true) => marked(Tone::Dim, "~ ", text(item, "text")),
        ("file_change", true) => changes(item),
        ("mcp_tool_call" | "collab_tool_call", true) => tool(item),
        ("web_search", true) => marked(Tone::Plain, "search: ", text(item, "query")),
        ("todo_list", true) => todo(item),
        ("error", true) => marked(Tone::Wait, "warning: ", text(item, "message")),
        (other, true) => vec![(Tone::Dim, format!("({})", one_line(other)))],
        (_, false) => Vec::new(),
    }
}

/// A text of any number of lines, the first behind its mark, the others below it.
fn marked(tone: Tone, mark: &str, text: &str) -> Vec<(Tone, String)> {
    let indent = " ".repeat(mark.chars().count());
    let line = |(n, line): (usize, &str)| {
        let lead = if n == 0 { mark } else { &indent };
        (tone, format!("{lead}{}", neutral(line)).trim_end().to_owned())
    };
    text.trim_end().lines().enumerate().map(line).collect()
}

fn command(item: &Value) -> Vec<(Tone, String)> {
    let output: Vec<&str> = text(item, "aggregated_output").trim_end().lines().collect();
    let left = output.len().saturating_sub(OUTPUT_LINES);
    let mut lines = Vec::new();
    if left > 0 {
        lines.push((Tone::Dim, format!("  | … {} before these, see --raw", plural(left, "line"))));
    }
    let shown = output.iter().skip(left);
    lines.extend(shown.map(|l| (Tone::Dim, format!("  | {}", neutral(l)).trim_end().to_owned())));
    lines.push(match (item.get("exit_code").and_then(Value::as_i64), text(item, "status")) {
        (Some(0), _) => (Tone::Good, "  = exit 0".to_owned()),
        (Some(code), _) => (Tone::Bad, format!("  = exit {code}")),
        (None, status) => (Tone::Bad, format!("  = {}", one_line(status))),
    });
    lines
}

fn changes(item: &Value) -> Vec<(Tone, String)> {
    let failed = text(item, "status") == "failed";
    let (tone, after) = if failed { (Tone::Bad, " (refused)") } else { (Tone::Plain, "") };
    let changes = item.get("changes").and_then(Value::as_array).map(Vec::as_slice);
    let line = |c: &Value| {
        (tone, format!("± {} {}{after}", one_line(text(c, "kind")), one_line(text(c, "path"))))
    };
    changes.unwrap_or_default().iter().map(line).collect()
}

fn tool(item: &Value) -> Vec<(Tone, String)> {
    let name = [text(item, "server"), text(item, "tool")];
    let name = name.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>().join(".");
    let error = item.get("error").filter(|e| !e.is_null()).map(|e| text(e, "message"));
    match error {
        Some(error) => marked(Tone::Bad, "tool: ", &format!("{name} failed: {error}")),
        None => marked(Tone::Plain, "tool: ", &name),
    }
}

fn todo(item: &Value) -> Vec<(Tone, String)> {
    let items = item.get("items").and_then(Value::as_array).map(Vec::as_slice);
    let line = |i: &Value| {
        let done = i.get("completed").and_then(Value::as_bool).unwrap_or(false);
        (Tone::Dim, format!("{} {}", if done { "[x]" } else { "[ ]" }, one_line(text(i, "text"))))
    };
    items.unwrap_or_default().iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(events: &[Value]) -> String {
        let mut text = String::new();
        for event in events {
            let line = json!({"ts": "2026-03-04T05:06:07Z", "session": 2, "attempt": 1,
                              "event": event})
            .to_string();
            for (_, line) in read(&line).lines {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }

    #[test]
    fn a_whole_session_reads_like_a_terminal() {
        let events = [
            json!({"type": "thread.started", "thread_id": "01a2"}),
            json!({"type": "turn.started"}),
            json!({"type": "item.completed", "item": {"id": "item_0", "type": "reasoning",
                   "text": "Look first.\nThen write."}}),
            json!({"type": "item.started", "item": {"id": "item_1", "type": "command_execution",
                   "command": "/bin/bash -lc 'echo hi; false'", "aggregated_output": "",
                   "exit_code": null, "status": "in_progress"}}),
            json!({"type": "item.completed", "item": {"id": "item_1", "type": "command_execution",
                   "command": "/bin/bash -lc 'echo hi; false'", "aggregated_output": "hi\nerr\n",
                   "exit_code": 1, "status": "failed"}}),
            json!({"type": "item.started", "item": {"id": "item_2", "type": "file_change",
                   "changes": [{"path": "/w/README", "kind": "update"}], "status": "in_progress"}}),
            json!({"type": "item.completed", "item": {"id": "item_2", "type": "file_change",
                   "changes": [{"path": "/w/README", "kind": "update"},
                               {"path": "/w/new.txt", "kind": "add"}], "status": "completed"}}),
            json!({"type": "item.completed", "item": {"id": "item_3", "type": "mcp_tool_call",
                   "server": "echo", "tool": "echo", "result": null,
                   "error": {"message": "no such tool"}, "status": "failed"}}),
            json!({"type": "error", "message": "Reconnecting... 1/5"}),
            json!({"type": "item.completed", "item": {"id": "item_4", "type": "agent_message",
                   "text": "All done."}}),
            json!({"type": "item.completed", "item": {"id": "item_5", "type": "agent_message",
                   "text": "{\"verdict\":\"approve\",\"comments\":[]}"}}),
            json!({"type": "turn.completed", "usage": {"input_tokens": 300,
                   "cached_input_tokens": 20, "output_tokens": 30}}),
        ];
        let expected = "\
~ Look first.
  Then write.
$ /bin/bash -lc 'echo hi; false'
  | hi
  | err
  = exit 1
± update /w/README
± add /w/new.txt
tool: echo.echo failed: no such tool
error: Reconnecting... 1/5
All done.
verdict: approve, 0 comments
done: 300 in (20 cached), 30 out
";
        assert_eq!(shown(&events), expected);
    }

    #[test]
    fn long_output_is_cut_and_a_failed_turn_says_why() {
        let output: String = (1..=20).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        let events = [
            json!({"type": "item.completed", "item": {"type": "command_execution",
                   "command": "x", "aggregated_output": output, "exit_code": null,
                   "status": "declined"}}),
            json!({"type": "turn.failed", "error": {"message": "Quota exceeded."}}),
        ];
        let shown = shown(&events);
        assert!(
            shown.starts_with("  | … 8 lines before these, see --raw\n  | line 9\n"),
            "{shown}"
        );
        assert!(shown.ends_with("  | line 20\n  = declined\nfailed: Quota exceeded.\n"), "{shown}");
    }

    #[test]
    fn nothing_an_agent_prints_reaches_the_terminal_raw() {
        let evil = "\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}";
        let kinds =
            ["agent_message", "reasoning", "command_execution", "error", "web_search", evil];
        for kind in kinds {
            for phase in ["item.started", "item.completed", evil] {
                let event = json!({"type": phase, "item": {"type": kind, "text": evil,
                    "command": evil, "aggregated_output": evil, "message": evil, "query": evil,
                    "status": evil}});
                let shown = shown(&[event]);
                assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown:?}");
            }
        }
        assert_eq!(read("not json \u{1b}[1m").lines[0].1, "not json \\x1b[1m");
        let cut_off = read("{\"ts\":\"2026-03-04T12:00:00Z\",\"ses").lines;
        assert_eq!(cut_off[0].1, "[numerus: an event was cut off after 33 bytes]");
        let odd = "{\"ts\":\"2026-03-04T12:00:00Z\",{}}";
        assert_eq!(read(odd).lines[0].1, odd, "shown as it is: nothing of it is missing");
    }

    #[test]
    fn the_gist_of_an_event_is_one_line_and_of_a_command_the_command() {
        let gist = |event: Value| {
            super::gist(&json!({"session": 2, "event": event}).to_string(), 2).map(|(_, line)| line)
        };
        let command = |phase: &str| {
            json!({"type": phase, "item": {"type": "command_execution", "exit_code": 0,
                   "command": "/bin/bash -lc 'make test\n\u{1b}[2J'", "aggregated_output": "many"}})
        };
        for phase in ["item.started", "item.completed"] {
            assert_eq!(gist(command(phase)).as_deref(), Some("$ make test \\x1b[2J"));
        }
        let said = json!({"type": "item.completed",
                          "item": {"type": "agent_message", "text": "One.\nTwo."}});
        assert_eq!(gist(said).as_deref(), Some("One."));
        assert_eq!(gist(json!({"type": "turn.started"})), None);
        assert_eq!(super::gist("{\"event\"", 0), None);
        let earlier = json!({"session": 1, "event": command("item.started")}).to_string();
        assert_eq!((super::gist(&earlier, 2), super::gist(&earlier, 1).is_some()), (None, true));
    }

    #[test]
    fn a_session_is_headed_by_its_number_and_attempt() {
        let said = read(r#"{"ts":"2026-03-04T05:06:07Z","session":2,"attempt":1,"event":{}}"#);
        let view = View::plain(80, "2026-03-04T12:00:00Z");
        assert_eq!(heading(&said, &view), "── session 2 · attempt 1 · 05:06");
    }
}
