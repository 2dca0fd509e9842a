//! `numerus.toml`: what is accepted is within bounds and means the same when it is written again; what is not is refused
//! with the name of the file.

use std::fs;
use std::time::Duration;

use numerus::model::duration;
use numerus::model::root::Root;
use numerus::model::settings::Settings;
use numerus::root::{RootError, open};
use toml::{Table, Value};

use super::scratch;

/// Longest that a message says, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Reads the bytes as the settings of a root.
pub fn holds(bytes: &[u8]) {
    scratch::folder(|dir| {
        let root = Root::new(dir);
        fs::write(root.settings_file(), bytes).expect("the file");
        let settings = match open(&root, false) {
            Ok(settings) => settings,
            Err(RootError::Settings { source_name, problems }) => {
                assert!(source_name.ends_with("numerus.toml") && !problems.is_empty());
                let length: usize = problems.iter().map(String::len).sum();
                return assert!(length <= MAX_MESSAGE_BYTES, "{length} bytes of problems");
            }
            Err(RootError::Io(_)) => return assert!(std::str::from_utf8(bytes).is_err()),
            Err(other) => panic!("{other}"),
        };
        assert!((1..=1024).contains(&settings.max_jobs), "{}", settings.max_jobs);
        assert!((1..=16 << 20).contains(&settings.max_objective_bytes));
        assert!(settings.settle > Duration::ZERO && settings.rescan != Some(Duration::ZERO));
        fs::write(root.settings_file(), written(&settings)).expect("the file");
        let again = open(&root, false).map_err(|e| e.to_string());
        assert_eq!(again, Ok(settings.clone()), "{}", written(&settings));
    });
}

/// The file that says the same.
fn written(s: &Settings) -> String {
    let mut table = Table::new();
    let mut put = |key: &str, value: Option<Value>| {
        table.extend(value.map(|value| (key.to_owned(), value)));
    };
    let text = |text: &Option<String>| text.clone().map(Value::from);
    put("max_jobs", i64::try_from(s.max_jobs).ok().map(Value::from));
    put("max_objective", i64::try_from(s.max_objective_bytes).ok().map(Value::from));
    put("settle", Some(duration::format(s.settle).into()));
    put("rescan", s.rescan.map(|rescan| duration::format(rescan).into()));
    put("hook_timeout", Some(duration::format(s.hook_timeout).into()));
    put("workspace", text(&s.workspace));
    put("codex_bin", text(&s.codex_bin));
    put("codex_home", text(&s.codex_home));
    put("model", text(&s.model));
    put("profile", text(&s.profile));
    put("roles", Value::try_from(&s.roles).ok());
    put("sandbox", Value::try_from(s.sandbox).ok());
    put("network", Some(s.network.into()));
    put("amend", Some(s.amend.into()));
    put("memory", Some(s.memory.into()));
    put("enforce", Value::try_from(s.enforce).ok());
    put("take_in", Some(s.take_in.into()));
    put("env", Some(s.env.clone().into()));
    put("verify_unsandboxed", Some(s.verify_unsandboxed.into()));
    let script = s.rehearse.clone();
    put("rehearse", script.map(|s| if s.is_empty() { "builtin".into() } else { s.into() }));
    put("rehearsal_commands", Some(s.rehearsal_commands.into()));
    table.to_string()
}
