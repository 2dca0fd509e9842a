//! `numerus doctor`: what is well, what is not, and what to do, on roots and machines that are set up well or badly; and that
//! `run`, `start` and the daemon say the same before they begin anything.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::site::{Ended, Site, processes_with_env};
use crate::yard::Yard;

/// The grade of what is about this, and what is said of it.
fn found(ended: &Ended, about: &str) -> (String, String) {
    let answer: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
    let all = answer["findings"].as_array().unwrap();
    let is_it = |f: &&Value| f["about"] == about && f["grade"] != "ok";
    let found = all.iter().find(is_it).or_else(|| all.iter().find(|f| f["about"] == about));
    let found = found.unwrap_or_else(|| panic!("nothing about {about}: {ended:?}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("grade") == "ok", text("hint").is_empty(), "{found}");
    (text("grade"), format!("{} / {}", text("said"), text("hint")))
}

fn files(dir: &Path) -> Vec<String> {
    let tree = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(Result::unwrap);
    tree.map(|entry| entry.path().display().to_string()).collect()
}

#[test]
fn a_root_that_is_well_is_told_line_by_line_and_left_as_it_was() {
    let yard = Yard::new("doctor-well");
    yard.ask(&["submit", "hello"]);
    let before = files(&yard.site.root());
    let ended = yard.ask(&["doctor"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.lines().all(|line| line.len() > 8), "{ended:?}");
    assert!(ended.stdout.contains("warn  daemon"), "one file waits: {ended:?}");
    assert!(ended.stderr.contains("work can begin"), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}'));
    assert_eq!(files(&yard.site.root()), before, "nothing is left behind");
    let daemon = yard.daemon(&[]);
    let ended = yard.ask(&["doctor", "--json"]);
    assert_eq!((ended.code, found(&ended, "daemon").0.as_str()), (Some(0), "ok"), "{ended:?}");
    drop(daemon);
}

#[test]
fn a_root_that_is_not_there_is_not_made_and_one_that_is_broken_cannot_be_used() {
    let yard = Yard::new("doctor-root");
    let nowhere = yard.path("typo");
    let mut command = yard.numerus(&["--root"]);
    let ended = yard.site.run(command.arg(&nowhere).args(["doctor", "--json"]));
    let (grade, said) = found(&ended, "root");
    assert!(grade == "warn" && said.contains("no root at") && said.contains("init"), "{said}");
    assert!(!nowhere.exists());
    yard.ask(&["submit", "hello"]);
    fs::write(yard.site.root().join("runs/.instance"), "{}").unwrap();
    let ended = yard.ask(&["doctor", "--json"]);
    assert_eq!((ended.code, found(&ended, "root").0.as_str()), (Some(5), "fail"), "{ended:?}");
}

#[test]
fn broken_settings_and_what_was_left_lying_are_told() {
    let yard = Yard::new("doctor-stray");
    yard.ask(&["submit", "hello"]);
    fs::write(yard.folder("rejected").join("x.md"), "x").unwrap();
    fs::create_dir(yard.site.root().join("hooks")).unwrap();
    fs::write(yard.site.root().join("hooks/all"), "#!/bin/sh\n").unwrap();
    let ended = yard.ask(&["doctor", "--json"]);
    assert_eq!((ended.code, found(&ended, "rejected").0.as_str()), (Some(0), "warn"));
    let (grade, said) = found(&ended, "hooks");
    assert!(grade == "warn" && said.contains("hooks/all is no program"), "{said}");
    yard.set_settings("max_jbos = 2\nrehearse = \"builtin\"\n");
    let ended = yard.site.run(yard.numerus(&["doctor", "--json"]).env("CODEX_BIN", "/nonexistent"));
    let (grade, said) = found(&ended, "settings");
    assert!(grade == "fail" && said.contains("`max_jobs`"), "{said}");
}

#[test]
fn without_codex_or_its_login_the_doctor_and_whoever_would_begin_say_the_same() {
    let site = Site::new("doctor-codex");
    let repo = site.git_repo();
    let ended = site.run(site.numerus(["doctor", "--json"]).env("CODEX_BIN", "/nonexistent"));
    assert_eq!((ended.code, found(&ended, "codex").0.as_str()), (Some(6), "fail"), "{ended:?}");
    // A codex of its own whose sandbox is not asked for: only its login is at stake.
    fs::write(site.root().join("numerus.toml"), "sandbox = \"danger-full-access\"\n").unwrap();
    let ended = site.run(&mut site.numerus(["doctor", "--json"]));
    let (grade, said) = found(&ended, "login");
    assert_eq!((ended.code, grade.as_str()), (Some(6), "fail"), "{ended:?}");
    assert!(said.contains("codex login"), "{said}");
    assert_eq!(found(&ended, "codex").0, "ok", "the tested version: {ended:?}");
    let ended = site.run(site.numerus(["run", "x"]).current_dir(&repo));
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.stderr.contains("codex is not logged in"), "{ended:?}");
    let incoming = site.root().join("spool/incoming");
    assert_eq!(fs::read_dir(incoming).unwrap().count(), 0, "nothing was begun");
    let ended = site.run(&mut site.numerus(["daemon", "--once"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("warning: codex is not logged in"), "{ended:?}");
    let config = "model_provider = \"p\"\n[model_providers.p]\nname = \"p\"\nenv_key = \"P_KEY\"\n";
    fs::write(site.codex_home().join("config.toml"), config).unwrap();
    let ended = site.run(&mut site.numerus(["doctor", "--json"]));
    assert!(found(&ended, "login").1.contains("P_KEY is not set"), "{ended:?}");
    let ended = site.run(site.numerus(["doctor", "--json"]).env("P_KEY", "k"));
    assert_eq!((ended.code, found(&ended, "login").0.as_str()), (Some(0), "ok"), "{ended:?}");
}

#[test]
fn a_codex_that_hangs_is_told_of_soon_and_nothing_of_it_is_left() {
    let site = Site::new("doctor-hangs");
    let codex = site.path().join("hanging-codex");
    fs::write(&codex, "#!/bin/sh\nsleep 60 &\nsleep 60\n").unwrap();
    fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = site.run(site.numerus(["doctor", "--json"]).env("CODEX_BIN", &codex));
    let (grade, said) = found(&ended, "codex");
    assert_eq!((ended.code, grade.as_str()), (Some(6), "fail"), "{ended:?}");
    assert!(
        said.contains("does not answer `--version` within 5s; it was ended, with all"),
        "{said}"
    );
    let home = site.codex_home();
    assert_eq!(processes_with_env("CODEX_HOME", home.to_str().unwrap()), [0_u32; 0]);
}
