//! A dropped file: what is accepted is within the operator's bounds and is the same job in any form; what is not has a
//! short reason.

use std::fmt::Write as _;

use numerus::logic::admission::{Admitted, Facts, Shape, admit};
use numerus::model::duration;
use numerus::model::id::JobId;
use numerus::model::job::{Enforce, Job, Options, Origin, Sandbox};
use numerus::model::settings::Settings;
use serde_json::{Map, Value, json};

/// Longest message of a reason, in bytes: what a person reads.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Bytes in each form, under the usual settings and under the widest.
pub fn holds(bytes: &[u8]) {
    let usual = Settings { max_objective_bytes: 1 << 20, ..Settings::default() };
    let wide = Settings { sandbox: Sandbox::DangerFullAccess, network: true, ..usual.clone() };
    for settings in [&usual, &wide] {
        for shape in [Shape::Markdown, Shape::Json, Shape::Text] {
            let facts = Facts { settings, resolve: &|path| Ok(path.to_owned()) };
            match admit(bytes, shape, &facts) {
                Ok(admitted) => is_good(&admitted, &facts),
                Err(reason) => {
                    let text = format!("{} {}", reason.message, reason.hint);
                    assert!(!text.contains(char::is_control), "{text:?}");
                    assert!(text.len() <= MAX_MESSAGE_BYTES, "{} bytes of reason", text.len());
                }
            }
        }
    }
}

fn is_good(admitted: &Admitted, facts: &Facts<'_>) {
    within_bounds(admitted, facts.settings);
    let object = job_file(admitted);
    let as_json = admit(object.to_string().as_bytes(), Shape::Json, facts);
    assert_eq!(as_json.as_ref(), Ok(admitted), "as JSON: {object}");
    let Value::Object(mut options) = object else { unreachable!("an object") };
    options.remove("objective");
    let head = written(&Value::Object(options));
    let as_markdown = format!("---\n{head}\n---\n{}", admitted.objective);
    let as_markdown = admit(as_markdown.as_bytes(), Shape::Markdown, facts);
    assert_eq!(as_markdown.as_ref(), Ok(admitted), "as Markdown: {head}");
    read_back_from_disk(admitted);
}

fn within_bounds(admitted: &Admitted, settings: &Settings) {
    let Admitted { objective, options: o } = admitted;
    assert!(!objective.contains('\0') && !objective.trim().is_empty());
    assert!((-100..=100).contains(&o.priority), "{}", o.priority);
    assert!((1..=64).contains(&o.max_parallel) && (1..=20).contains(&o.max_attempts));
    assert!(o.sandbox <= settings.sandbox, "{:?}", o.sandbox);
    assert!(o.roles.values().all(|r| r.sandbox.is_none_or(|s| s <= settings.sandbox)));
    assert!(settings.network || !o.network, "the network was not granted");
    let lists = [&o.setup, &o.carry, &o.verify, &o.labels];
    assert!(lists.iter().all(|list| list.len() <= 64) && o.after.len() <= 64);
    let climbs = |path: &String| path.split('/').any(|part| part == "..");
    assert!(o.workspace.iter().all(|path| path.starts_with('/') && !climbs(path)));
    assert!(!o.carry.iter().any(|path| path.starts_with(['/', '~']) || climbs(path)));
    let words = [&o.model, &o.profile].into_iter().flatten();
    assert!(words.clone().all(|word| !word.starts_with('-')), "an argument, not a flag");
}

/// `job.json` is written once and read by every worker after it.
fn read_back_from_disk(admitted: &Admitted) {
    let job = Job {
        version: 1,
        id: JobId::parse("a-abc234").expect("an id"),
        objective: admitted.objective.clone(),
        options: admitted.options.clone(),
        origin: Origin { name: String::new(), bytes: 0, sha256: String::new(), uid: 0 },
        created_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let bytes = serde_json::to_vec(&job).expect("json");
    let again: Job = serde_json::from_slice(&bytes).expect("what was written can be read");
    assert_eq!(again, job);
}

/// The file that says the same.
fn job_file(admitted: &Admitted) -> Value {
    let o = &admitted.options;
    let mut object = Map::new();
    let on_disk = serde_json::to_value(o).expect("json");
    let as_on_disk = [
        "workspace",
        "priority",
        "after",
        "not_before",
        "key",
        "model",
        "profile",
        "plan",
        "max_parallel",
        "max_attempts",
        "timeouts",
        "isolation",
        "setup",
        "carry",
        "verify",
        "review",
        "network",
        "sandbox",
        "amend",
        "memory",
        "enforce",
        "on_interrupt",
        "roles",
        "labels",
        "approve",
        "retry_of",
    ];
    object.insert("objective".to_owned(), json!(admitted.objective));
    for key in as_on_disk {
        object.insert(key.to_owned(), on_disk[key].clone());
    }
    object.insert("budget".to_owned(), budget(o));
    let script = o.rehearse.as_ref().map(|s| if s.is_empty() { "builtin" } else { s.as_str() });
    object.insert("rehearse".to_owned(), json!(script));
    if o.enforce == Enforce::Audit {
        object.remove("enforce");
    }
    Value::Object(object)
}

fn budget(options: &Options) -> Value {
    let wall = options.budget.wall_seconds.map(std::time::Duration::from_secs);
    json!({"tokens": options.budget.tokens, "wall": wall.map(duration::format)})
}

/// A value as front matter: flow style, every text quoted and in ASCII, every key explicit (so that it may be long).
pub fn written(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let pairs =
                map.iter().map(|(key, value)| format!("? {} : {}", quoted(key), written(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            ' '..='~' => out.push(letter),
            _ => drop(write!(out, "\\U{:08x}", u32::from(letter))),
        }
    }
    out + "\""
}
