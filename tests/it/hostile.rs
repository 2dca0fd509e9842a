//! Whatever is dropped into the spool, the daemon stays up, puts it aside with the reason or takes it, keeps its bytes,
//! and goes on with the next file.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Mode, mknodat};
use serde_json::Value;

use crate::site::Running;
use crate::yard::{Yard, names};

/// A broken file: its name, its bytes, the code, and what the message and the hint say.
type Broken = (&'static str, Vec<u8>, &'static str, &'static str);

fn broken() -> Vec<Broken> {
    let front = |lines: &str| format!("---\n{lines}---\nx\n").into_bytes();
    let utf16: Vec<u8> = "\u{feff}do it".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b]\n";
    let after_bom = b"\xef\xbb\xbf".to_vec();
    vec![
        ("empty.md", vec![], "E_EMPTY", "no objective"),
        ("blank.md", b" \r\n\t\n".to_vec(), "E_EMPTY", "no objective"),
        ("bom.txt", after_bom, "E_EMPTY", "no objective"),
        ("front-only.md", b"---\npriority: 1\n---\n".to_vec(), "E_EMPTY", "no objective"),
        ("latin.md", b"caf\xe9".to_vec(), "E_UTF8", "at byte 3"),
        ("utf16.md", utf16, "E_UTF8", "at byte 0"),
        ("nul.txt", b"ab\0c".to_vec(), "E_NUL", "at byte 2"),
        ("large.txt", vec![b'x'; 512 * 1024 + 1], "E_TOO_LARGE", "524289"),
        ("unclosed.md", b"---\npriority: 1\nx\n".to_vec(), "E_SYNTAX", "never closed"),
        ("open.md", front("labels: [a\n"), "E_SYNTAX", "line"),
        ("bomb.md", front(bomb), "E_SYNTAX", "anchors"),
        ("twice.md", front("priority: 1\npriority: 2\n"), "E_SYNTAX", "twice"),
        ("unknown.md", front("priorty: 1\n"), "E_FIELD", "`priority`"),
        ("type.md", front("priority: high\n"), "E_FIELD", "`priority`"),
        ("range.json", br#"{"objective": "x", "priority": 101}"#.to_vec(), "E_FIELD", "100"),
        ("missing.json", b"{}".to_vec(), "E_FIELD", "`objective` is missing"),
        ("cut.json", br#"{"objective": "x""#.to_vec(), "E_SYNTAX", "line 1"),
        ("list.json", b"[]".to_vec(), "E_SYNTAX", "one object"),
        ("deep.json", "[".repeat(200_000).into_bytes(), "E_SYNTAX", "line 1"),
        ("danger.md", front("sandbox: danger-full-access\n"), "E_POLICY", "numerus.toml"),
        ("network.md", front("network: true\n"), "E_POLICY", "network"),
        ("etc.md", front("workspace: /etc\n"), "E_PATH", "/etc"),
        ("gone.md", front("workspace: /not/here\n"), "E_PATH", "not there"),
        ("up.md", front("workspace: /tmp/../etc\n"), "E_PATH", ".."),
        ("after.md", front("after: [nobody]\n"), "E_AFTER", "nobody"),
        ("-rf", vec![], "E_EMPTY", "no objective"),
        ("--help.md", vec![], "E_EMPTY", "no objective"),
        ("new\nline.md", vec![], "E_EMPTY", "no objective"),
        ("$(reboot);'\".md", vec![], "E_EMPTY", "no objective"),
    ]
}

fn reason(yard: &Yard, name: &OsStr) -> Option<Value> {
    let mut beside = name.to_owned();
    beside.push(".reason.json");
    serde_json::from_slice(&fs::read(yard.folder("rejected").join(beside)).ok()?).ok()
}

/// A job dropped now is done, by the daemon that was there from the start.
fn control(yard: &Yard, daemon: &mut Running) {
    yard.drop_job("control", "control", "");
    yard.until_in("done", "control-");
    assert!(daemon.ends_within(Duration::ZERO).is_none(), "the daemon stays up");
    assert_eq!(yard.facts("daemon_started").len(), 1);
    assert_eq!(yard.facts("trouble"), [] as [Value; 0]);
}

fn until_rejected(yard: &Yard, count: usize) {
    yard.until("all are rejected", || yard.facts("rejected").len() >= count);
}

#[test]
fn each_broken_file_is_put_aside_with_its_reason_and_its_bytes() {
    let yard = Yard::new("broken");
    let mut daemon = yard.daemon(&[]);
    let broken = broken();
    for (name, bytes, ..) in &broken {
        yard.drop_file(name, bytes);
    }
    control(&yard, &mut daemon);
    until_rejected(&yard, broken.len());
    for (name, bytes, code, says) in &broken {
        let reason =
            reason(&yard, OsStr::new(name)).unwrap_or_else(|| panic!("no reason: {name:?}"));
        let text = |key: &str| reason[key].as_str().unwrap().to_owned();
        assert_eq!((text("code"), text("original_name")), ((*code).into(), (*name).into()));
        let words = format!("{} {}", text("message"), text("hint"));
        assert!(words.contains(says) && !words.contains('\n'), "{name:?}: {words}");
        assert!(!text("hint").is_empty() && text("message").len() < 500, "{name:?}: {words}");
        assert_eq!(&fs::read(yard.folder("rejected").join(name)).unwrap(), bytes, "{name:?}");
        let lines = yard.facts("rejected").iter().filter(|fact| fact["name"] == *name).count();
        assert_eq!(lines, 1, "{name:?}");
    }
    assert_eq!(yard.facts("rejected").len(), broken.len());
    assert_eq!(names(&yard.site.root().join("runs")).len(), 1, "only the control has a run folder");
    assert_eq!(names(&yard.incoming()), [""; 0]);
}

#[test]
fn what_is_no_file_is_never_opened_and_lies_in_rejected_as_it_was() {
    let yard = Yard::new("no-files");
    let mut daemon = yard.daemon(&[]);
    let at = |name: &str| yard.incoming().join(name);
    symlink("/etc/passwd", at("passwd.md")).unwrap();
    symlink("/not/here", at("dangling.md")).unwrap();
    symlink("loop.md", at("loop.md")).unwrap();
    let read_write = Mode::from_raw_mode(0o600);
    mknodat(rustix::fs::CWD, at("fifo.md"), FileType::Fifo, read_write, 0).unwrap();
    // A socket's address has to be short, its file may move.
    let short = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(short.path().join("s")).unwrap();
    let moved = fs::rename(short.path().join("s"), at("socket.md"));
    let mut expected = vec!["dangling.md", "fifo.md", "folder.md", "loop.md", "passwd.md"];
    if moved.is_ok() {
        expected.push("socket.md");
    }
    fs::create_dir_all(yard.path("folder/inner")).unwrap();
    fs::write(yard.path("folder/inner/a.md"), "x").unwrap();
    fs::rename(yard.path("folder"), at("folder.md")).unwrap();
    control(&yard, &mut daemon);
    until_rejected(&yard, expected.len());
    for name in &expected {
        assert_eq!(reason(&yard, OsStr::new(name)).unwrap()["code"], "E_NOT_REGULAR", "{name}");
    }
    let rejected = yard.folder("rejected");
    assert_eq!(fs::read_link(rejected.join("passwd.md")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::read_to_string(rejected.join("folder.md/inner/a.md")).unwrap(), "x");
    assert_eq!(yard.facts("rejected").len(), expected.len());
}

#[test]
fn a_huge_file_is_refused_without_being_read() {
    let yard = Yard::new("huge");
    let mut daemon = yard.daemon(&[]);
    let huge = fs::File::create(yard.path("huge")).unwrap();
    huge.set_len(10 << 30).unwrap();
    drop(huge);
    fs::rename(yard.path("huge"), yard.incoming().join("huge.md")).unwrap();
    until_rejected(&yard, 1);
    assert_eq!(reason(&yard, OsStr::new("huge.md")).unwrap()["code"], "E_TOO_LARGE");
    let kept = yard.folder("rejected").join("huge.md");
    assert_eq!(kept.metadata().unwrap().len(), 10 << 30);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes < 100 * 1024, "{peak}");
    control(&yard, &mut daemon);
}

#[test]
fn odd_names_are_taken_like_any_other() {
    let yard = Yard::new("odd-names");
    let mut daemon = yard.daemon(&[]);
    let later = "---\nnot_before: 2999-01-01T00:00:00Z\n---\nx\n";
    let long = format!("{}.md", "ä".repeat(126));
    assert_eq!(long.len(), 255);
    let odd: Vec<OsString> = vec![
        "-rf.md".into(),
        "--help.md".into(),
        "new\nline.md".into(),
        "..md".into(),
        "a b\t.md".into(),
        "プロジェクト.md".into(),
        "x.reason.json.md".into(),
        OsStr::from_bytes(b"\xff\xfe.md").to_owned(),
        long.into(),
    ];
    for name in &odd {
        if name != ".." && !name.as_bytes().starts_with(b".") {
            let aside = yard.path("aside");
            fs::write(&aside, later).unwrap();
            fs::rename(aside, yard.incoming().join(name)).unwrap();
        }
    }
    control(&yard, &mut daemon);
    yard.until("all are taken", || yard.facts("taken").len() >= odd.len());
    assert_eq!(yard.facts("taken").len(), odd.len(), "the control and all but the hidden one");
    assert_eq!(yard.names("claimed").len(), odd.len() - 1);
    assert_eq!(yard.names("rejected"), [""; 0]);
    for name in yard.names("claimed") {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        assert!(name.chars().all(is_plain) && !name.starts_with('-'), "{name}");
    }
}

#[test]
fn a_broken_file_with_a_name_of_255_bytes_that_is_no_text_keeps_its_bytes_and_its_reason() {
    let yard = Yard::new("long-name");
    let mut daemon = yard.daemon(&[]);
    for bytes in [vec![b'y'; 255], vec![0xfe; 255]] {
        let aside = yard.path("aside");
        fs::write(&aside, b"\xff").unwrap();
        fs::rename(aside, yard.incoming().join(OsStr::from_bytes(&bytes))).unwrap();
    }
    control(&yard, &mut daemon);
    until_rejected(&yard, 2);
    let kept: Vec<OsString> = fs::read_dir(yard.folder("rejected"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| !name.as_bytes().ends_with(b".reason.json"))
        .collect();
    assert_eq!(kept.len(), 2);
    for name in kept {
        assert_eq!(fs::read(yard.folder("rejected").join(&name)).unwrap(), b"\xff");
        assert_eq!(reason(&yard, &name).expect("beside it")["code"], "E_UTF8");
    }
}

#[test]
fn a_key_and_a_name_are_taken_once_and_the_second_is_told_of_the_first() {
    let yard = Yard::new("twice");
    let mut daemon = yard.daemon(&[]);
    let later = "not_before: 2999-01-01T00:00:00Z\n";
    yard.drop_job("nightly-abcdef", "x", &format!("key: night\n{later}"));
    yard.until_in("claimed", "nightly-abcdef");
    yard.drop_job("other", "x", &format!("key: night\n{later}"));
    yard.drop_job("nightly-abcdef", "y", later);
    control(&yard, &mut daemon);
    until_rejected(&yard, 2);
    for name in ["other.md", "nightly-abcdef.md"] {
        let reason = reason(&yard, OsStr::new(name)).unwrap();
        assert_eq!(reason["code"], "E_DUP");
        let words = format!("{}{}", reason["message"], reason["hint"]);
        assert!(words.contains("nightly-abcdef"), "{words}");
    }
}

#[test]
fn rejected_files_of_the_same_name_are_all_kept() {
    let yard = Yard::new("same-name");
    let mut daemon = yard.daemon(&[]);
    for (count, text) in [(1, "\0a"), (2, "\0b"), (3, "\0c")] {
        yard.drop_file("x.md", text);
        until_rejected(&yard, count);
    }
    control(&yard, &mut daemon);
    for (name, text) in [("x.md", "\0a"), ("x.md-2", "\0b"), ("x.md-3", "\0c")] {
        assert_eq!(fs::read_to_string(yard.folder("rejected").join(name)).unwrap(), text);
        assert_eq!(reason(&yard, OsStr::new(name)).unwrap()["original_name"], "x.md");
    }
}

#[test]
fn a_claimed_file_moved_to_killed_by_hand_kills_the_job() {
    let yard = Yard::new("kill-by-hand");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    let file = format!("{job}.md");
    fs::rename(yard.folder("claimed").join(&file), yard.folder("killed").join(&file)).unwrap();
    yard.until("it has ended", || yard.count(&job, "job.finished") == 1);
    yard.until("its end is reported", || !yard.facts("ended").is_empty());
    assert_eq!(yard.facts("ended")[0]["state"], "killed");
    assert_eq!(yard.names("killed"), [file]);
    let left = crate::site::processes_with_env("NUMERUS_JOB", &job);
    assert_eq!(left, [0_u32; 0], "nothing of it lives");
}

#[test]
fn a_claimed_file_moved_back_to_incoming_is_a_duplicate_and_one_that_vanishes_is_written_again() {
    let yard = Yard::new("back-by-hand");
    let mut daemon = yard.daemon(&[]);
    for (stem, objective) in [("a", "hold-a"), ("b", "hold-b")] {
        yard.drop_job(stem, objective, "");
        yard.until_reached(objective);
    }
    let (a, b) = (yard.job("a-").unwrap(), yard.job("b-").unwrap());
    let claimed = |job: &str| yard.folder("claimed").join(format!("{job}.md"));
    fs::rename(claimed(&a), yard.incoming().join(format!("{a}.md"))).unwrap();
    fs::remove_file(claimed(&b)).unwrap();
    until_rejected(&yard, 1);
    assert_eq!(reason(&yard, format!("{a}.md").as_ref()).unwrap()["code"], "E_DUP");
    yard.let_go("hold-a");
    yard.let_go("hold-b");
    for job in [&a, &b] {
        yard.until_in("done", job);
        assert_eq!(yard.count(job, "job.worker_started"), 1);
    }
    control(&yard, &mut daemon);
}

#[test]
fn a_resting_job_whose_file_vanishes_gets_it_back_at_once() {
    let yard = Yard::new("vanishes");
    let mut daemon = yard.daemon(&[]);
    yard.drop_job("a", "a", "not_before: 2999-01-01T00:00:00Z\n");
    let job = yard.until_in("claimed", "a-");
    yard.until("it is claimed", || yard.facts("taken").len() == 1);
    fs::remove_file(yard.folder("claimed").join(format!("{job}.md"))).unwrap();
    yard.until("it is back", || yard.names("claimed").iter().any(|n| n.starts_with(&job)));
    control(&yard, &mut daemon);
}

#[test]
fn a_claimed_file_without_a_run_folder_fails_and_a_folder_that_never_was_a_job_is_put_away() {
    let yard = Yard::new("run-lost");
    let mut daemon = yard.daemon(&[]);
    fs::write(yard.folder("claimed").join("lost-abcdef.md"), "x").unwrap();
    yard.until_in("failed", "lost-abcdef");
    yard.until("it has ended", || yard.count("lost-abcdef", "job.finished") == 1);
    assert_eq!(yard.end_of("lost-abcdef").0, "run_lost");
    assert!(yard.end_of("lost-abcdef").1.contains("E_RUN_LOST"));
    assert_eq!(yard.count("lost-abcdef", "job.worker_started"), 0, "it never runs");
    control(&yard, &mut daemon);
    drop(daemon);
    let stray = yard.site.root().join("runs/stray-abcdef");
    fs::create_dir_all(&stray).unwrap();
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    assert!(!stray.exists());
}
