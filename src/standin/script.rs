//! The script: which scene answers which prompt, and what happens in it.
//!
//! Strict on purpose: an unknown key, an unknown step or a scene that can never end is an error
//! with its place, never a silent nothing. `docs/rehearsal.md` is the format for people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The script used when none is named.
const DEMO: &str = include_str!("demo.json");

/// A whole script.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    version: u32,
    /// In order: the first that matches is played.
    pub(super) scenes: Vec<Scene>,
}

/// One answer to one kind of prompt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scene {
    /// All given conditions must hold.
    #[serde(default)]
    pub(super) when: When,
    /// The steps, in order.
    pub(super) play: Vec<Step>,
}

/// The conditions of a scene.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    /// The prompt's first line begins so.
    pub(super) marker: Option<String>,
    /// The value of the prompt's `TASK_ID:` line.
    pub(super) task: Option<String>,
    /// Somewhere in the prompt.
    pub(super) contains: Option<String>,
    /// Whether the thread is a resumed one.
    pub(super) resumed: Option<bool>,
    /// Only on these calls, counted from 1 over all processes on one `CODEX_HOME`.
    pub(super) calls: Option<Vec<u32>>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Step {
    /// An agent message; anything but a string is sent as compact JSON.
    Message(Value),
    /// A reasoning item.
    Reasoning(String),
    /// The scene says nothing, and means it.
    NoMessage(bool),
    /// Time passes (milliseconds).
    SleepMs(u64),
    /// A file is written.
    Write(Write),
    /// A file is deleted.
    Delete(Place),
    /// A file is renamed.
    Rename(Rename),
    /// A shell command runs to its end.
    Command(String),
    /// A shell command is left running in a session of its own.
    Spawn(String),
    /// Raw text on stdout.
    Stdout(String),
    /// Raw text on stderr.
    Stderr(String),
    /// One JSON line of so many bytes.
    FloodBytes(usize),
    /// Tokens of one model response.
    Usage(Tokens),
    /// The turn fails.
    Fail(Fail),
    /// The process ends at once with this code, without a terminal event.
    Exit(u8),
    /// The process ends by this signal.
    DieBySignal(i32),
    /// Nothing more happens until a signal.
    Hang(bool),
    /// INT, TERM and HUP are ignored from here.
    IgnoreSignals(bool),
    /// An empty file says that this step was reached.
    TouchReady(Place),
    /// Waits until a file exists.
    WaitFor(WaitFor),
}

/// What is written, and where.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    pub(super) path: String,
    pub(super) text: String,
    #[serde(default)]
    pub(super) append: bool,
    pub(super) mode: Option<Mode>,
}

/// Permission bits, written as octal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Mode(pub(super) u32);

/// A path alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) path: String,
}

/// From where to where.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    pub(super) from: String,
    pub(super) to: String,
}

/// Tokens of one response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

/// How a turn fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fail {
    pub(super) message: String,
    /// The typed cause in the rollout; `other` where absent.
    pub(super) info: Option<String>,
    /// When the limit ends, in seconds since the epoch.
    pub(super) resets_at: Option<i64>,
    /// The HTTP status inside the typed cause.
    pub(super) status: Option<u16>,
}

/// What is waited for, and how long at most (milliseconds).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitFor {
    pub(super) path: String,
    pub(super) deadline_ms: u64,
}

/// Why there is no script to play.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScriptError {
    /// The file cannot be read.
    #[error("read the script {path}: {source}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Not the format.
    #[error("understand the script {name}: {source}")]
    Malformed {
        /// Its name.
        name: String,
        /// The cause, with line and column.
        source: serde_json::Error,
    },
    /// The format, but no sense.
    #[error("play the script {name}: {problem}")]
    Senseless {
        /// Its name.
        name: String,
        /// What is wrong, and where.
        problem: String,
    },
}

/// Loads the script at `path`, or the built-in one.
///
/// # Errors
/// A [`ScriptError`] that names the script and the place.
pub(super) fn load(path: Option<&Path>) -> Result<Script, ScriptError> {
    let Some(path) = path else { return parse("demo.json (built in)", DEMO) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ScriptError::Unreadable { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text)
}

/// Understands a script; `name` is for messages.
pub(super) fn parse(name: &str, text: &str) -> Result<Script, ScriptError> {
    let script: Script = serde_json::from_str(text)
        .map_err(|source| ScriptError::Malformed { name: name.to_owned(), source })?;
    match script.problem() {
        Some(problem) => Err(ScriptError::Senseless { name: name.to_owned(), problem }),
        None => Ok(script),
    }
}

impl Script {
    fn problem(&self) -> Option<String> {
        if self.version != 1 {
            return Some(format!("version {} is not 1", self.version));
        }
        let numbered = self.scenes.iter().enumerate();
        numbered
            .map(|(at, scene)| (at, scene.problem()))
            .find_map(|(at, problem)| problem.map(|problem| format!("scene {at} {problem}")))
    }
}

impl Scene {
    fn problem(&self) -> Option<String> {
        if self.when.calls.as_ref().is_some_and(|calls| calls.is_empty() || calls.contains(&0)) {
            return Some("has a list of calls that can never match: calls count from 1".to_owned());
        }
        if let Some(at) = self.play.iter().position(|step| !step.makes_sense()) {
            return Some(format!("has a step {at} that makes no sense: {:?}", self.play[at]));
        }
        if self.play.iter().any(Step::speaks_or_ends) {
            return None;
        }
        Some("neither speaks nor ends: give it a message, or say no_message".to_owned())
    }
}

impl Step {
    fn speaks_or_ends(&self) -> bool {
        use Step::{DieBySignal, Exit, Fail, Hang, Message, NoMessage};
        matches!(self, Message(_) | NoMessage(_) | Fail(_) | Exit(_) | DieBySignal(_) | Hang(_))
    }

    fn makes_sense(&self) -> bool {
        match self {
            Self::NoMessage(on) | Self::Hang(on) | Self::IgnoreSignals(on) => *on,
            Self::DieBySignal(signal) => (1..=64).contains(signal),
            _ => true,
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(format!("`{text}` is not a mode such as \"755\"")),
        }
    }
}

/// Puts what the prompt says in place of `{{names}}`.
#[derive(Debug, Default)]
pub(super) struct Filling(pub(super) BTreeMap<&'static str, String>);

impl Filling {
    /// Text with its names filled in; unknown names stay.
    pub(super) fn text(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = next_name(rest) {
            filled.push_str(before);
            match self.0.get(name) {
                Some(value) => filled.push_str(value),
                None => filled.push_str(&rest[before.len()..rest.len() - after.len()]),
            }
            rest = after;
        }
        filled + rest
    }

    /// A JSON value with its strings filled in; a string that is `{{resources}}` alone becomes the
    /// JSON it stands for.
    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text == "{{resources}}" => {
                let resources = self.text(text);
                serde_json::from_str(&resources).unwrap_or(Value::String(resources))
            }
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(values) => values.iter().map(|value| self.value(value)).collect(),
            Value::Object(map) => Value::Object(
                map.iter().map(|(key, value)| (key.clone(), self.value(value))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// The text of a message: a string as it is, all else as compact JSON.
    pub(super) fn message(&self, message: &Value) -> String {
        match message {
            Value::String(text) => self.text(text),
            other => self.value(other).to_string(),
        }
    }
}

/// Splits at the first `{{name}}`.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let (before, opened) = text.split_once("{{")?;
    let (name, after) = opened.split_once("}}")?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(text: &str) -> String {
        parse("test", text).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_script_is_sound() {
        assert!(load(None).unwrap().scenes.len() > 5);
    }

    #[test]
    fn every_step_of_the_format_is_understood() {
        let play = json!([
            {"message": "a"}, {"message": {"a": 1}}, {"reasoning": "r"}, {"no_message": true},
            {"sleep_ms": 1}, {"write": {"path": "p", "text": "t", "append": true, "mode": "755"}},
            {"delete": {"path": "p"}}, {"rename": {"from": "a", "to": "b"}}, {"command": "c"},
            {"spawn": "s"}, {"stdout": "o"}, {"stderr": "e"}, {"flood_bytes": 9},
            {"usage": {"input_tokens": 1, "output_tokens": 2}},
            {"fail": {"message": "m", "info": "usage_limit_exceeded", "resets_at": 1, "status": 500}},
            {"exit": 3}, {"die_by_signal": 9}, {"hang": true}, {"ignore_signals": true},
            {"touch_ready": {"path": "p"}}, {"wait_for": {"path": "p", "deadline_ms": 5}}
        ]);
        let when =
            json!({"marker": "M", "task": "t", "contains": "c", "resumed": true, "calls": [1, 2]});
        let script = json!({"version": 1, "scenes": [{"when": when, "play": play}]});
        assert_eq!(parse("test", &script.to_string()).unwrap().scenes[0].play.len(), 21);
    }

    #[test]
    fn nonsense_is_named_with_its_place() {
        let cases = [
            (r#"{"version":2,"scenes":[]}"#, "version 2 is not 1"),
            (r#"{"version":1,"scenes":[],"x":1}"#, "unknown field `x`"),
            (
                r#"{"version":1,"scenes":[{"when":{"markr":"a"},"play":[]}]}"#,
                "unknown field `markr`",
            ),
            (r#"{"version":1,"scenes":[{"play":[{"mesage":"a"}]}]}"#, "unknown variant `mesage`"),
            (
                r#"{"version":1,"scenes":[{"play":[{"sleep_ms":1}]}]}"#,
                "scene 0 neither speaks nor ends",
            ),
            (r#"{"version":1,"scenes":[{"play":[{"hang":false}]}]}"#, "scene 0 has a step 0"),
            (
                r#"{"version":1,"scenes":[{"play":[{"write":{"path":"a","text":"","mode":"9"}}]}]}"#,
                "`9` is not a mode",
            ),
            (
                r#"{"version":1,"scenes":[{"when":{"calls":[]},"play":[{"exit":0}]}]}"#,
                "count from 1",
            ),
            ("{", "line 1"),
        ];
        for (text, want) in cases {
            let got = problem(text);
            assert!(got.contains(want) && got.contains("test"), "{text}: {got}");
        }
    }

    #[test]
    fn names_are_filled_in_once_and_json_stays_json() {
        let filling = Filling(BTreeMap::from([
            ("task", "t1".to_owned()),
            ("objective", "say \"{{task}}\"".to_owned()),
            ("resources", r#"{"reads":[],"writes":["a"]}"#.to_owned()),
        ]));
        assert_eq!(
            filling.text("{{task}} {{nobody}} {{objective}} {{"),
            "t1 {{nobody}} say \"{{task}}\" {{"
        );
        assert_eq!(
            filling.message(
                &json!({"task_id": "{{task}}", "o": "{{objective}}", "resources": "{{resources}}"})
            ),
            r#"{"task_id":"t1","o":"say \"{{task}}\"","resources":{"reads":[],"writes":["a"]}}"#
        );
    }
}
