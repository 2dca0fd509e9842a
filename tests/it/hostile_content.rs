//! Hostile contents: what is broken is put aside with its reason, what is text is taken as it is.

use std::ffi::OsStr;
use std::fs;

use serde_json::Value;

use crate::hostile::{control, is_plain, reason, until_rejected};
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
        ("deep.md", front(&format!("labels: {}\n", "[".repeat(200_000))), "E_SYNTAX", "line"),
        ("tag.md", front("labels: [!!python/object x]\n"), "E_SYNTAX", "tags"),
        ("merge.md", front("<<: {priority: 1}\n"), "E_SYNTAX", "merge"),
        ("octal.md", front("priority: 0o17\n"), "E_FIELD", "`priority`"),
        ("id.md", front("id: ../../x\n"), "E_FIELD", "\"id\""),
        ("env.md", front("env: {LD_PRELOAD: /x.so}\n"), "E_FIELD", "\"env\""),
        ("case.md", front("Priority: 1\n"), "E_FIELD", "`priority`"),
        ("approval.md", front("approval: never\n"), "E_FIELD", "\"approval\""),
        ("surrogate.md", b"a\xed\xa0\x80".to_vec(), "E_UTF8", "at byte 1"),
        ("overlong.md", b"ab\xc0\xaf".to_vec(), "E_UTF8", "at byte 2"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0".to_vec(), "E_UTF8", "at byte 0"),
        ("archive.zip", b"PK\x03\x04\0\0".to_vec(), "E_NUL", "at byte 4"),
        ("program", b"\x7fELF\x02\x01\x01\0".to_vec(), "E_NUL", "at byte 7"),
        ("packed.gz", b"\x1f\x8b\x08\0".to_vec(), "E_UTF8", "at byte 1"),
        ("home.md", front("workspace: ~root\n"), "E_PATH", "~root"),
        ("magic.md", front("workspace: /proc/self/root\n"), "E_PATH", "/proc"),
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
    assert_eq!(yard.site.jobs().len(), 1, "only the control has a run folder");
    assert_eq!(names(&yard.incoming()), [""; 0]);
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
fn whatever_is_text_is_taken_as_it_is_and_reaches_the_agent_as_bytes() {
    let yard = Yard::new("texts");
    let mut daemon = yard.daemon(&[]);
    let marks = "\u{300}".repeat(100_000);
    let texts = [
        ("template", "{{7*7}} $(id) `id` %s%n %n \"; rm -rf / #".to_owned()),
        ("crlf", "one\r\ntwo\r\nthree".to_owned()),
        ("cr", "one\rtwo\rthree".to_owned()),
        ("line", "x".repeat(400 * 1024)),
        ("large", "y".repeat(500 * 1024)),
        ("marks", format!("a{marks}")),
        ("emoji", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}".repeat(10_000)),
        ("escape", "\u{1b}]0;title\u{7}\u{1b}[31mred\u{9b}2J".to_owned()),
    ];
    for (stem, text) in &texts {
        yard.drop_job(stem, text, "");
    }
    let limit = 512 * 1024;
    for (name, length) in [("limit-1", limit - 1), ("limit", limit)] {
        let head = "---\nnot_before: 2999-01-01T00:00:00Z\n---\n";
        yard.drop_file(&format!("{name}.md"), format!("{head}{}", "z".repeat(length - head.len())));
    }
    control(&yard, &mut daemon);
    yard.until_in("claimed", "limit-1-");
    for (stem, text) in &texts {
        let job = yard.until_in("done", &format!("{stem}-"));
        let run = yard.site.root().join("runs").join(&job);
        let objective = fs::read_to_string(run.join("objective.md")).unwrap();
        assert_eq!(objective.trim_end_matches('\n'), text.trim_end_matches('\n'), "{stem}");
        let prompts: String = (1..4)
            .filter_map(|n| fs::read_to_string(run.join(format!("do/prompt-{n}.md"))).ok())
            .collect();
        assert!(prompts.is_empty() || prompts.contains(text.as_str()), "{stem}: as it is");
        for words in [&["status", &job][..], &["logs", &job], &["events", &job]] {
            is_plain(&yard.ask(words).stdout);
        }
    }
    assert_eq!(yard.names("rejected"), [""; 0]);
    assert_eq!(yard.facts("taken").len(), texts.len() + 3);
}

#[test]
fn what_yaml_reads_as_other_things_stays_the_text_that_was_written() {
    let yard = Yard::new("yaml");
    let mut daemon = yard.daemon(&[]);
    let labels = ["no", "1.10", "12:30", "0o17", "~x", "2001-01-01"];
    let list = format!("labels: [{}]\n", labels.join(", "));
    yard.drop_job("labels", "x", &format!("{list}not_before: 2999-01-01T00:00:00Z\n"));
    let job = yard.until_in("claimed", "labels-");
    control(&yard, &mut daemon);
    let path = yard.site.root().join("runs").join(job).join("job.json");
    let accepted: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(accepted["options"]["labels"], serde_json::json!(labels));
}
