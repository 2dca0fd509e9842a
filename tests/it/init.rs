//! `numerus init`: the root that it makes works, its settings file says what is so, and nothing is written over.

use std::fs;

use numerus::model::settings::Settings;
use numerus::root::TEMPLATE;
use serde_json::{Map, Value};

use crate::yard::Yard;

/// The rows of the README's table of settings: key, default, variable.
fn rows() -> Vec<[String; 3]> {
    let readme = include_str!("../../README.md");
    let table = readme.split("\n## Settings\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| {
        let mut cells = line.split('|').skip(1).map(|cell| cell.trim().to_owned());
        [cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap()]
    };
    rows.map(cells).collect()
}

/// The lines with a key, taken out of their comments, each with the prose above it on one line.
fn settings(template: &str) -> Vec<(String, String)> {
    let (mut all, mut prose) = (Vec::new(), String::new());
    for line in template.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            prose = format!("{prose} {text}");
        } else if let Some(setting) = line.strip_prefix('#') {
            all.push((setting.to_owned(), prose.clone()));
        } else {
            assert!(line.is_empty(), "every line is a comment: {line}");
            prose.clear();
        }
    }
    all
}

/// What differs between the table and the file.
fn differences(template: &str) -> Vec<String> {
    let settings = settings(template);
    let mut wrong = Vec::new();
    for [key, default, variable] in rows() {
        let (key, variable) = (key.replace('`', ""), variable.replace('`', ""));
        let is_it = |line: &str| {
            line.starts_with(&format!("{key} = ")) || line.starts_with(&format!("[{key}."))
        };
        let Some((line, prose)) = settings.iter().find(|(line, _)| is_it(line)) else {
            wrong.push(format!("{key} is missing"));
            continue;
        };
        let inner = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
        let literal = inner.filter(|text| format!("x = {text}").parse::<toml::Table>().is_ok());
        let says_default = match literal {
            Some(value) => *line == format!("{key} = {value}"),
            None => prose.contains(&format!("Default: {}", default.replace('`', ""))),
        };
        if !says_default {
            wrong.push(format!("{key}: the default is {default}, not as in {line:?} {prose:?}"));
        }
        if !prose.contains(&format!("[{variable}")) {
            wrong.push(format!("{key}: {variable} is not named"));
        }
    }
    wrong
}

#[test]
fn the_settings_file_has_every_setting_of_the_readme_with_its_default() {
    assert_eq!(differences(TEMPLATE), [""; 0]);
    assert!(rows().len() > 20, "the table is read");
    let bad = TEMPLATE.replace("#max_jobs = 4", "#max_jobs = 5").replace("#network", "#netwrk");
    assert_eq!(differences(&bad).len(), 2, "{:?}", differences(&bad));
}

#[test]
fn the_settings_file_can_be_read_as_it_is_and_with_every_line_taken_in() {
    let object = |text: &str| -> Map<String, Value> {
        let table: toml::Table = text.parse().expect("TOML");
        serde_json::to_value(table).unwrap().as_object().unwrap().clone()
    };
    assert_eq!(object(TEMPLATE), Map::new());
    let lines: Vec<String> = settings(TEMPLATE).into_iter().map(|(line, _)| line).collect();
    let all = Settings::default().overlaid(object(&lines.join("\n")));
    let all = all.expect("every setting is good");
    // What has a value for a default is that default.
    let usual = Settings::default();
    assert_eq!(
        (all.max_jobs, all.settle, all.resources),
        (usual.max_jobs, usual.settle, usual.resources)
    );
    assert_eq!(
        (all.sandbox, all.amend, all.max_logs),
        (usual.sandbox, usual.amend, usual.max_logs)
    );
}

#[test]
fn a_root_is_made_that_works_and_is_not_made_twice() {
    let yard = Yard::new("init");
    let dir = yard.path("new/root");
    let dir = dir.to_str().unwrap();
    let made = yard.ask(&["init", dir]);
    assert_eq!((made.code, made.stdout.trim()), (Some(0), dir), "{made:?}");
    assert!(made.stderr.contains(&format!("numerus --root {dir} doctor")), "{made:?}");
    let again = yard.ask(&["init", dir]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("is there already"), "{again:?}");
    let settings = fs::read_to_string(format!("{dir}/numerus.toml")).unwrap();
    assert_eq!(settings, TEMPLATE);
    let submitted = yard.ask(&["--root", dir, "submit", "hello"]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    let mut daemon = yard.numerus(&["--root", dir, "daemon", "--once"]);
    let ended = yard.site.run(daemon.env("NUMERUS_REHEARSE", "builtin"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn settings_that_are_there_are_kept_and_a_root_that_is_there_only_gets_the_file() {
    let yard = Yard::new("init-there");
    let kept = yard.ask(&["init"]);
    assert_eq!(kept.code, Some(2), "{kept:?}");
    let file = yard.site.root().join("numerus.toml");
    assert!(fs::read_to_string(&file).unwrap().starts_with("rehearse"), "as it was");
    yard.ask(&["submit", "hello"]);
    fs::remove_file(&file).unwrap();
    let made = yard.ask(&["init"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stderr.contains("  numerus doctor"), "it is found by itself: {made:?}");
    assert_eq!(yard.names("incoming").len(), 1, "what waits still waits");
}
