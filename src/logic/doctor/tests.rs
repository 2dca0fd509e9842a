//! Each thing that is measured, well and not well.

use super::*;
use crate::logic::health::Volume;

const NOW: &str = "2026-11-26T03:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("time")
}

fn tried() -> Tried {
    let place = "/r/spool".to_owned();
    Tried { place, problem: None, has_events: true, file_time: Some(at(NOW)) }
}

fn volume(free_bytes: u64) -> Volume {
    let place = "/r/spool".to_owned();
    let bytes = 100 << 20;
    Volume { place, free_bytes, bytes, free_files: 9, files: 9, is_read_only: false, owed_bytes: 0 }
}

fn found() -> Program {
    Program::Found {
        path: "/bin/codex".into(),
        version: Some(format!("codex-cli {TESTED_CODEX}")),
        login: Login::Status { said: "Logged in using ChatGPT".into(), is_in: true },
        sandbox: Ok(true),
    }
}

fn well() -> Facts {
    Facts {
        settings: None,
        codex: found(),
        root: Root {
            path: "/r".into(),
            is_there: true,
            tried: vec![tried()],
            volumes: vec![volume(1 << 30)],
            is_led: true,
            ..Root::default()
        },
        git: Some("git version 2.47.3".into()),
        inotify: Some(Inotify {
            instances: 128,
            used_instances: 1,
            watches: 65536,
            used_watches: 1,
        }),
        open_files: Some(1024),
        now: at(NOW),
    }
}

/// What is not well, as `grade about`, sorted as told.
fn complaints(facts: &Facts) -> Vec<String> {
    let bad = judge(facts).into_iter().filter(|f| f.grade != Grade::Ok);
    bad.map(|f| {
        assert!(f.hint.is_some(), "{f:?} says what to do");
        format!("{} {}", f.grade.as_str(), f.about)
    })
    .collect()
}

#[test]
fn a_machine_that_is_well_is_told_thing_by_thing_without_a_complaint() {
    let told = judge(&well());
    let about: Vec<&str> = told.iter().map(|f| f.about).collect();
    let all = ["settings", "codex", "login", "sandbox", "root", "files", "events", "disk", "git"];
    let more = ["inotify", "open files", "clock", "daemon"];
    assert_eq!(about, [&all[..], &more[..]].concat());
    assert_eq!(complaints(&well()), [""; 0]);
}

/// A change for the worse, and the complaints that follow.
type Case = (fn(&mut Facts), &'static [&'static str]);

fn lack() -> Lack {
    Lack { what: "w".into(), hint: "h".into() }
}

fn with(facts: &mut Facts, change: fn(&mut Option<String>, &mut Login, &mut Result<bool, Lack>)) {
    let Program::Found { version, login, sandbox, .. } = &mut facts.codex else { return };
    change(version, login, sandbox);
}

#[test]
fn each_thing_that_is_not_well_is_told_with_its_grade() {
    let cases: &[Case] = &[
        (|f| f.settings = Some("x".into()), &["fail settings"]),
        (|f| f.codex = Program::Missing(lack()), &["fail codex"]),
        (|f| f.codex = Program::Played, &[]),
        (|f| with(f, |v, _, _| *v = Some("codex-cli 0.169.7".into())), &[]),
        (|f| with(f, |v, _, _| *v = Some("codex-cli 0.168.0".into())), &["warn codex"]),
        (|f| with(f, |v, _, _| *v = Some("codex-cli 1.0.0-rc.1".into())), &["warn codex"]),
        (|f| with(f, |v, _, _| *v = Some("hello".into())), &["fail codex"]),
        (|f| with(f, |v, _, _| *v = None), &["fail codex"]),
        (
            |f| with(f, |_, l, _| *l = Login::Status { said: "no".into(), is_in: false }),
            &["fail login"],
        ),
        (|f| with(f, |_, l, _| *l = Login::Unknown("late".into())), &["warn login"]),
        (|f| with(f, |_, l, _| *l = Login::NotNeeded { provider: "p".into() }), &[]),
        (|f| with(f, |_, l, _| *l = key(true)), &[]),
        (|f| with(f, |_, l, _| *l = key(false)), &["fail login"]),
        (|f| with(f, |_, _, s| *s = Ok(false)), &["warn sandbox"]),
        (|f| with(f, |_, _, s| *s = Err(lack())), &["fail sandbox"]),
        (|f| f.root.is_there = false, &["warn root"]),
        (|f| f.root.refused = Some(("w".into(), "h".into())), &["fail root"]),
        (|f| f.root.told.push("others".into()), &["warn root"]),
        (|f| f.root.tried[0].problem = Some("denied".into()), &["fail files"]),
        (|f| f.root.tried[0].has_events = false, &["warn events"]),
        (|f| f.root.volumes.push(volume(1)), &["fail disk"]),
        (|f| f.git = None, &["fail git"]),
        (|f| f.git = Some("git version 2.40.9".into()), &["fail git"]),
        (|f| f.git = Some("git version 2.41.0.windows.1".into()), &[]),
        (|f| f.git = Some("git version 3.0.0".into()), &[]),
        (|f| f.git = Some("nonsense".into()), &["warn git"]),
        (|f| f.inotify = None, &[]),
        (|f| used(f, 121, 1), &["warn inotify"]),
        (|f| used(f, 120, 65280), &[]),
        (|f| used(f, 1, 65281), &["warn inotify"]),
        (|f| f.open_files = None, &[]),
        (|f| f.open_files = Some(1023), &["warn open files"]),
        (|f| f.open_files = Some(255), &["fail open files"]),
        (|f| f.now = at("1970-01-01T00:10:00Z"), &["fail clock"]),
        (|f| f.root.last_record = Some(at("2026-11-26T03:00:06Z")), &["warn clock"]),
        (|f| f.root.last_record = Some(at("2026-11-26T03:00:05Z")), &[]),
        (|f| f.root.tried[0].file_time = Some(at("2026-11-26T02:59:54Z")), &["warn clock"]),
        (|f| f.root.notice = Some("full".into()), &["warn daemon"]),
        (|f| f.root.is_led = false, &[]),
        (|f| f.root.waiting = 3, &[]),
        (
            |f| {
                f.root.is_led = false;
                f.root.waiting = 1;
            },
            &["warn daemon"],
        ),
        (|f| f.root.held.push("over".into()), &["warn account"]),
        (|f| f.root.hooks = vec!["a".into(), "b".into()], &["warn hooks", "warn hooks"]),
        (|f| f.root.rejected = 2, &["warn rejected"]),
    ];
    for (n, (change, expected)) in cases.iter().enumerate() {
        let mut facts = well();
        change(&mut facts);
        assert_eq!(complaints(&facts), *expected, "case {n}: {facts:?}");
    }
}

fn key(is_set: bool) -> Login {
    Login::Key { provider: "p".into(), variable: "P_KEY".into(), is_set }
}

fn used(facts: &mut Facts, instances: u64, watches: u64) {
    let Some(found) = &mut facts.inotify else { return };
    (found.used_instances, found.used_watches) = (instances, watches);
}

#[test]
fn of_a_codex_that_hangs_nothing_else_is_said() {
    let mut facts = well();
    facts.codex = Program::Hangs { path: "/c".into(), why: "within 5s; it was ended".into() };
    assert_eq!(complaints(&facts), ["fail codex"]);
    let told = judge(&facts);
    assert!(
        told.iter().any(|f| f.said == "/c does not answer `--version` within 5s; it was ended")
    );
    assert!(!told.iter().any(|f| ["login", "sandbox"].contains(&f.about)));
}

#[test]
fn an_edit_that_was_cut_off_is_told_with_what_to_do() {
    let mut facts = well();
    facts.root.edits = vec![("it was cut off".to_owned(), "mv a b".to_owned())];
    assert_eq!(complaints(&facts), ["warn edit"]);
    let told = judge(&facts).into_iter().find(|f| f.about == "edit").expect("told");
    assert_eq!((told.said.as_str(), told.hint.as_deref()), ("it was cut off", Some("mv a b")));
}

#[test]
fn what_the_copies_of_removed_jobs_take_is_told_and_nothing_to_complain_of() {
    let mut facts = well();
    facts.root.copies = Copies { jobs: 2, bytes: 3 << 19 };
    assert!(complaints(&facts).is_empty());
    let told = judge(&facts).into_iter().find(|f| f.about == "copies").expect("told");
    assert!(told.said.contains("2 removed jobs, 1.5 MiB"), "{}", told.said);
    assert!(!judge(&well()).iter().any(|f| f.about == "copies"));
}
