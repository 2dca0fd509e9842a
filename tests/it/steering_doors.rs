//! What steering reads and replaces: a job file by the door of its taker, a whole one only, and nothing is lost on the way.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{chown, symlink};

use crate::yard::{Yard, not_run, said};

const JOB: &str = "foo-abc234";

/// Refused with the taker's word, and nothing has become a job.
fn is_refused(yard: &Yard, words: &[&str], code: &str) {
    let before = yard.names("incoming");
    let refused = yard.ask(words);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains(code) && refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(yard.names("incoming"), before);
}

#[test]
fn nothing_is_withdrawn_while_the_edited_job_cannot_be_written() {
    let yard = Yard::new("edit-full");
    let old = yard.submit(&[&"first words ".repeat(2_000)]);
    let mut command = yard.site.command("sh");
    command.env("NUMERUS_ROOT", yard.site.root()).current_dir("/");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" edit \"$1\" --priority 7";
    command.args(["-c", script, env!("CARGO_BIN_EXE_numerus"), &old]);
    let refused = yard.site.run(&mut command);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains(&format!("{old} is as it was")), "{refused:?}");
    assert_eq!(yard.names("incoming"), [format!("{old}.json")]);
    assert!(yard.names("killed").is_empty());
}

#[test]
fn an_edit_that_ended_between_the_two_jobs_is_named_and_can_be_finished() {
    let yard = Yard::new("edit-between");
    let old = yard.submit(&["first words"]);
    let prepared = yard.folder("tmp").join(format!("edit-{old}.{JOB}.json"));
    fs::write(&prepared, r#"{"objective": "other words"}"#).unwrap();
    let before = yard.ask(&["status", &old]).stderr;
    assert!(!before.contains("cut off"), "the old one is not withdrawn: {before}");
    assert_eq!(yard.ask(&["kill", &old]).code, Some(0));
    let way = format!("numerus edit {old} submits it, rm {} drops it", prepared.display());
    for words in [&["status", &old][..], &["status"], &["status", JOB], &["retry", &old]] {
        let told = yard.site.run(yard.numerus(words).env("COLUMNS", "1000")).stderr;
        assert!(told.contains(&way), "{words:?}: {told}");
    }
    let refused = yard.ask(&["edit", &old, "--priority", "7"]);
    said(&refused, 4, &format!("then numerus edit {JOB} changes it"));
    assert_eq!(yard.names("incoming"), [""; 0]);
    let finished = yard.ask(&["edit", &old]);
    assert_eq!((finished.code, finished.stdout.trim_end()), (Some(0), JOB), "{finished:?}");
    assert_eq!(yard.names("incoming"), [format!("{JOB}.json")]);
    let after = yard.ask(&["status", &old]).stderr;
    assert!(!after.contains("cut off"), "{after}");
    assert_eq!(yard.ask(&["retry", &old]).code, Some(0), "as every job that was killed");
}

#[test]
fn an_edit_whose_old_jobs_end_stands_in_its_journal_alone_is_finished_with_rest_and_notes() {
    let yard = Yard::new("edit-behind");
    let old = yard.submit(&["rests"]);
    assert_eq!(yard.ask(&["pause", &old]).code, Some(0));
    assert_eq!(yard.ask(&["send", &old, "mind the gap"]).code, Some(0));
    let status = fs::read(yard.run(&old).join("status.json")).unwrap();
    let new = "rests-abc234";
    let prepared = yard.folder("tmp").join(format!("edit-{old}.{new}.json"));
    fs::write(&prepared, r#"{"objective": "other words"}"#).unwrap();
    assert_eq!(yard.ask(&["kill", &old]).code, Some(0));
    // As if it had died when the end was in the journal, and nowhere else.
    let file = format!("{old}.json");
    fs::rename(yard.folder("killed").join(&file), yard.folder("claimed").join(&file)).unwrap();
    fs::write(yard.run(&old).join("status.json"), status).unwrap();
    for words in [&["status"][..], &["doctor"], &["status", &old], &["start", &old]] {
        let told = yard.site.run(yard.numerus(words).env("COLUMNS", "1000"));
        let told = format!("{}{}", told.stdout, told.stderr);
        assert!(told.contains(&format!("numerus edit {old} submits it")), "{words:?}: {told}");
    }
    let finished = yard.ask(&["edit", &old]);
    assert_eq!((finished.code, finished.stdout.trim_end()), (Some(0), new), "{finished:?}");
    assert_eq!((yard.names("killed"), yard.names("incoming")), (vec![file], vec![]));
    said(&yard.ask(&["status", new]), 0, "state      paused");
    let note = fs::read_to_string(yard.run(new).join("note-1.md")).unwrap();
    assert_eq!(note.trim(), "mind the gap");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4), "it rests");
}

#[test]
fn an_edit_of_a_resting_job_that_is_killed_at_any_time_leaves_one_job_which_never_begins() {
    let yard = Yard::new("edit-rest-killed");
    for ms in (1..=12).map(|n| n * 7) {
        let old = yard.submit(&["rests", "--plan", "single"]);
        assert_eq!(yard.ask(&["pause", &old]).code, Some(0));
        assert_eq!(yard.ask(&["send", &old, "mind the gap"]).code, Some(0));
        let mut command = yard.site.command("timeout");
        command.env("NUMERUS_ROOT", yard.site.root()).current_dir("/");
        command.args(["-s", "KILL", &format!("0.{ms:03}"), env!("CARGO_BIN_EXE_numerus")]);
        yard.site.run(command.args(["edit", &old, "--priority", "7"]));
        assert_eq!(yard.names("incoming"), [""; 0], "after {ms} ms a daemon could start it");
        yard.ask(&["daemon", "--once"]);
        if yard.names("claimed").is_empty() {
            said(&yard.ask(&["edit", &old]), 0, "its edit was cut off, and is finished");
            yard.ask(&["daemon", "--once"]);
        }
        match yard.names("claimed").as_slice() {
            [one] => {
                let job = one.rsplit_once('.').unwrap().0;
                assert_eq!(yard.count(job, "job.worker_started"), 0, "after {ms} ms");
                assert!(yard.run(job).join("want.paused").exists(), "after {ms} ms");
                assert!(yard.run(job).join("note-1.md").exists(), "after {ms} ms");
                assert_eq!(yard.ask(&["kill", job]).code, Some(0));
            }
            two => panic!("after {ms} ms there are two: {two:?}"),
        }
    }
}

#[test]
fn a_link_is_not_read_for_an_edit_nor_for_a_retry() {
    let yard = Yard::new("edit-link");
    fs::write(yard.path("secret.txt"), "the secret\n").unwrap();
    symlink(yard.path("secret.txt"), yard.incoming().join(format!("{JOB}.txt"))).unwrap();
    yard.ask(&["status"]);
    is_refused(&yard, &["edit", JOB, "--priority", "5"], "E_NOT_REGULAR");
    assert_eq!(yard.ask(&["kill", JOB]).code, Some(0));
    is_refused(&yard, &["retry", JOB], "E_NOT_REGULAR");
}

#[test]
fn a_further_name_is_not_read_where_others_drop_files() {
    let yard = Yard::new("edit-hard-link");
    yard.set_settings("allowed_uids = [4242]\n");
    fs::write(yard.path("secret.txt"), "the secret\n").unwrap();
    fs::hard_link(yard.path("secret.txt"), yard.incoming().join(format!("{JOB}.txt"))).unwrap();
    is_refused(&yard, &["edit", JOB, "--priority", "5"], "E_OWNER");
    assert_eq!(yard.ask(&["kill", JOB]).code, Some(0));
    is_refused(&yard, &["retry", JOB], "E_OWNER");
}

#[test]
fn a_file_of_a_user_who_may_drop_none_becomes_nobody_elses() {
    let yard = Yard::new("edit-foreign");
    let file = yard.incoming().join(format!("{JOB}.txt"));
    fs::write(&file, "theirs\n").unwrap();
    if chown(&file, Some(4242), Some(4242)).is_err() {
        return not_run("root, to make another user's file");
    }
    is_refused(&yard, &["edit", JOB, "--priority", "5"], "E_OWNER");
}

#[test]
fn a_file_that_somebody_writes_is_neither_paused_nor_started_nor_edited() {
    let yard = Yard::new("pause-written");
    let mut writer = File::create(yard.incoming().join(format!("{JOB}.txt"))).unwrap();
    writer.write_all(b"first half, ").unwrap();
    is_refused(&yard, &["pause", JOB], "is still being written");
    is_refused(&yard, &["start", JOB], "is still being written");
    is_refused(&yard, &["edit", JOB, "--priority", "5"], "is still being written");
    writer.write_all(b"second half\n").unwrap();
    drop(writer);
    assert_eq!(yard.ask(&["pause", JOB]).code, Some(0));
    let text = fs::read_to_string(yard.run(JOB).join("job.json")).unwrap();
    assert!(text.contains("first half, second half"), "{text}");
}

#[test]
fn a_job_is_not_edited_to_wait_for_itself() {
    let yard = Yard::new("edit-itself");
    let old = yard.submit(&["first words"]);
    let refused = yard.ask(&["edit", &old, "--after", &old]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("cannot wait for itself"), "{refused:?}");
    assert_eq!(yard.names("incoming"), [format!("{old}.json")]);
}

#[test]
fn the_reason_of_a_rejected_file_is_not_dropped_as_a_job() {
    let yard = Yard::new("retry-reason");
    yard.drop_file("bad.json", "{");
    yard.ask(&["daemon", "--once"]);
    let rejected = yard.names("rejected");
    assert_eq!(rejected, ["bad.json", "bad.json.reason.json"]);
    let refused = yard.ask(&["retry", "bad.json.reason.json"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("numerus retry bad.json "), "{refused:?}");
    assert_eq!(yard.names("rejected"), rejected);
}

#[test]
fn a_workspace_without_a_name_is_not_the_current_directory() {
    let yard = Yard::new("no-name");
    let refused = yard.ask(&["submit", "x", "--workspace", ""]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--workspace <DIR>"), "{refused:?}");
    assert_eq!(yard.names("incoming"), [""; 0]);
}

#[test]
fn a_note_that_is_too_long_is_not_said_to_have_what_was_read_of_it() {
    let yard = Yard::new("send-long");
    let old = yard.submit(&["first words"]);
    fs::write(yard.path("note"), "ä".repeat(10_000)).unwrap();
    let mut command = yard.numerus(&["send", &old, "-"]);
    let refused = yard.site.run(command.stdin(File::open(yard.path("note")).unwrap()));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("has more than 16384 bytes"), "{refused:?}");
}

#[test]
fn what_waits_to_be_taken_is_named_as_it_is_listed() {
    let yard = Yard::new("doors-named");
    for (name, words) in [("by hand.md", "'by hand.md'"), ("drop", "drop")] {
        yard.drop_file(name, "an objective\n");
        let asked = [
            &["edit", name, "--priority", "5"][..],
            &["pause", name],
            &["resume", name],
            &["send", name, "more"],
            &["logs", name],
            &["attach", name],
            &["events", name],
            &["open", name, "--print"],
            &["wait", name],
        ];
        for command in asked {
            let refused = yard.ask(command);
            said(&refused, 4, &format!("{name} waits to be taken: it is no job yet"));
            let ways = [format!("numerus kill {words}"), format!("numerus start {words} takes it")];
            assert!(ways.iter().all(|way| refused.stderr.contains(way)), "{refused:?}");
        }
        said(&yard.ask(&["status", name]), 0, &format!("numerus start {words}"));
        said(&yard.ask(&["kill", name]), 0, "withdrawn before anyone took it");
    }
    // The names of files that `submit` gives, or could have given.
    yard.drop_file("fix-parser.md", "an objective\n");
    let submitted = format!("{}.json", yard.submit(&["words"]));
    for name in ["fix-parser.md", &submitted] {
        said(&yard.ask(&["status"]), 0, name);
        said(&yard.ask(&["status", name]), 0, "waits to be taken");
        let ended = yard.ask(&["edit", name, "--priority", "5"]);
        said(&ended, 0, "takes its place");
        said(&yard.ask(&["kill", name]), 0, "has ended already (killed)");
        said(&yard.ask(&["pause", &format!("{}.json", ended.stdout.trim())]), 0, "paused");
    }
}
