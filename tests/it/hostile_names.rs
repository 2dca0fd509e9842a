//! Hostile names: they are only names. None becomes a path, an option or a control sequence, and none is lost.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crate::hostile::{control, reason, until_rejected};
use crate::yard::Yard;

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
fn names_that_look_alike_or_like_paths_are_only_names() {
    let yard = Yard::new("alike");
    let mut daemon = yard.daemon(&[]);
    let later = "---\nnot_before: 2999-01-01T00:00:00Z\n---\nx\n";
    let alike = [
        "..%2f..",
        "....",
        "a.md",
        "A.md",
        "k.md",
        "\u{212a}.md",
        "\u{e4}.md",
        "a\u{308}.md",
        "CON",
        "a:b",
        "trailing.",
        "space ",
        "\u{202e}dm.x.md",
        "\u{1b}[2J.md",
        "nul.txt",
    ];
    for name in alike {
        if !name.starts_with('.') {
            yard.drop_file(name, later);
        }
    }
    control(&yard, &mut daemon);
    let expected = alike.iter().filter(|name| !name.starts_with('.')).count();
    yard.until("all are taken", || yard.facts("taken").len() == expected + 1);
    let claimed = yard.names("claimed");
    // Without front matter of their own kind they are plain text, which is taken at its word.
    assert_eq!(claimed.len() + yard.names("done").len() + yard.names("failed").len(), expected + 1);
    assert_eq!(yard.names("rejected"), [""; 0]);
}

#[test]
fn hidden_and_unfinished_names_are_left_and_an_editors_save_is_one_job() {
    let yard = Yard::new("editor");
    let mut daemon = yard.daemon(&[]);
    let later = "---\nnot_before: 2999-01-01T00:00:00Z\n---\nx\n";
    let unfinished = [".hidden.md", ".x.md.swp", "x.md~", "x.part", "x.tmp", "x.crdownload"];
    for name in unfinished {
        fs::write(yard.incoming().join(name), later).unwrap();
    }
    // As vim saves: a probe that is made and removed, the file written in place, its backup removed.
    let at = |name: &str| yard.incoming().join(name);
    fs::write(at("4913"), "").unwrap();
    fs::remove_file(at("4913")).unwrap();
    fs::write(at("saved.md"), later).unwrap();
    control(&yard, &mut daemon);
    yard.until_in("claimed", "saved-");
    assert_eq!(yard.facts("taken").len(), 2, "the saved file and the control");
    assert_eq!(yard.facts("rejected"), [] as [serde_json::Value; 0]);
    for name in unfinished {
        assert!(at(name).exists(), "{name} is its writer's");
    }
}

#[test]
fn a_name_dropped_again_is_another_job_and_one_that_is_an_ended_jobs_id_gets_an_id_of_its_own() {
    let yard = Yard::new("again");
    let mut daemon = yard.daemon(&[]);
    for count in 1..=2 {
        yard.drop_job("same", "same", "not_before: 2999-01-01T00:00:00Z\n");
        yard.until("it is taken", || yard.facts("taken").len() == count);
    }
    assert_eq!(yard.names("claimed").len(), 2);
    yard.drop_job("ended-abcdef", "ended", "");
    yard.until_in("done", "ended-abcdef");
    yard.drop_job("ended-abcdef", "ended", "");
    yard.until("the second is done", || yard.names("done").len() == 2);
    let ended: Vec<String> =
        yard.site.jobs().into_iter().filter(|n| n.starts_with("ended")).collect();
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert_eq!(yard.count("ended-abcdef", "job.worker_started"), 1);
    control(&yard, &mut daemon);
}
