//! What lies in a root under our names and is not what it should be: half removed, of another kind, or somewhere else. No job
//! runs twice over it, none is kept from its end, none hides another, and nothing grows.

use std::fs;
use std::os::unix::fs::symlink;

use crate::site::PATIENCE;
use crate::yard::{Yard, names};

#[test]
fn a_run_folder_that_is_half_removed_is_never_taken_for_a_new_jobs() {
    let yard = Yard::new("half-removed");
    let daemon = yard.daemon(&[]);
    let jobs = ["a", "b"].map(|stem| yard.resting(stem));
    drop(daemon);
    for (job, rest) in jobs.iter().zip([&["worker.lock"][..], &["objective.md", "job.json"]]) {
        for name in names(&yard.run(job)).iter().filter(|name| !rest.contains(&name.as_str())) {
            fs::remove_file(yard.run(job).join(name)).unwrap();
        }
    }
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    for job in &jobs {
        assert!(yard.names("failed").contains(&format!("{job}.md")));
        assert_eq!(yard.end_of(job).0, "corrupt", "{:?}", yard.end_of(job));
        assert_eq!(yard.count(job, "job.worker_started"), 0);
    }
}

#[test]
fn what_is_no_lock_and_no_folder_keeps_no_job_from_its_end_and_hides_no_other() {
    let yard = Yard::new("odd");
    let daemon = yard.daemon(&[]);
    let [link, dir, file, dangling, whole] =
        ["link", "dir", "file", "dangling", "whole"].map(|stem| yard.resting(stem));
    drop(daemon);
    let lock = |job: &str| yard.run(job).join("worker.lock");
    for job in [&link, &dir] {
        fs::remove_file(lock(job)).unwrap();
    }
    symlink("/etc/passwd", lock(&link)).unwrap();
    fs::create_dir(lock(&dir)).unwrap();
    for job in [&file, &dangling] {
        fs::remove_dir_all(yard.run(job)).unwrap();
    }
    fs::write(yard.run(&file), "x").unwrap();
    symlink("nowhere", yard.run(&dangling)).unwrap();
    let said = yard.ask(&["status"]);
    assert!(said.code == Some(0) && said.stdout.contains(&whole), "{said:?}");
    assert!(said.stderr.contains(&link), "what cannot be looked at is told: {said:?}");
    let _daemon = yard.daemon(&[]);
    for job in [&file, &dangling] {
        yard.until_in("failed", job);
        assert_eq!(yard.end_of(job).0, "run_lost");
    }
    for job in [&link, &dir, &whole] {
        let killed = yard.ask(&["kill", job]);
        assert_eq!(killed.code, Some(0), "{job}: {killed:?}");
        yard.until_in("killed", job);
    }
}

#[test]
fn a_name_that_a_dropper_can_make_in_incoming_keeps_no_job_from_its_end() {
    let yard = Yard::new("planted");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    fs::create_dir(yard.incoming().join(format!(".claim-{job}.md"))).unwrap();
    fs::write(yard.incoming().join(format!(".claim-{job}.json")), "x").unwrap();
    yard.let_go("hold-x");
    yard.until_in("done", &job);
    drop(daemon);
    let ended = yard.ask(&["daemon", "--once"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(yard.facts("trouble"), [] as [serde_json::Value; 0]);
    assert_eq!(yard.count(&job, "job.worker_started"), 1);
}

#[test]
fn keys_that_are_a_link_are_told_of_once_and_no_key_is_used_twice() {
    let yard = Yard::new("keys");
    let mut daemon = yard.daemon(&[]);
    yard.drop_job("first", "first", "key: once\n");
    yard.until_in("done", "first-");
    let keys = yard.folder("keys");
    fs::remove_dir_all(&keys).unwrap();
    yard.until("it is filled again", || !names(&keys).is_empty());
    fs::rename(&keys, yard.path("keys")).unwrap();
    symlink("nowhere", &keys).unwrap();
    yard.until("it is told of", || daemon.stderr().contains("cannot make spool/keys again"));
    yard.drop_job("second", "second", "key: once\n");
    fs::remove_file(&keys).unwrap();
    yard.until("it is refused", || yard.facts("rejected").len() == 1);
    assert_eq!(yard.facts("rejected")[0]["code"], "E_DUP");
    let of_link =
        |fact: &&serde_json::Value| fact["message"].to_string().contains("it is no folder");
    let told = yard.facts("trouble");
    assert_eq!(told.iter().filter(of_link).count(), 1, "{told:?}");
    assert!(daemon.ends_within(std::time::Duration::ZERO).is_none());
}

#[test]
fn nothing_is_made_in_the_place_of_a_root_that_was_moved_away() {
    let yard = Yard::new("moved");
    let daemon = yard.daemon(&[]);
    let job = yard.resting("a");
    let (root, away) = (yard.site.root().clone(), yard.path("away"));
    fs::rename(&root, &away).unwrap();
    yard.until("it is told of", || daemon.stderr().contains("is gone, or another root"));
    assert!(!root.exists(), "{:?}", names(&root));
    fs::rename(&away, &root).unwrap();
    yard.until("it goes on", || daemon.stderr().contains("whole again"));
    yard.drop_job("b", "b", "");
    yard.until_in("done", "b-");
    assert_eq!(yard.names("claimed"), [format!("{job}.md")]);
}

#[test]
fn whoever_waits_for_a_job_hears_of_its_end_though_its_record_is_a_new_one() {
    let yard = Yard::new("new-record");
    let settings = fs::read_to_string(yard.site.root().join("numerus.toml")).unwrap();
    // Nobody is told of a run folder that is moved as a whole.
    yard.set_settings(&format!("{settings}rescan = \"1s\"\n"));
    let _daemon = yard.daemon(&[]);
    let mut command = yard.numerus(&["submit", "hold-x", "--plan", "single", "--wait"]);
    let waits = yard.site.spawn(&mut command);
    yard.until_reached("hold-x");
    let job = yard.job("hold-x-").unwrap();
    fs::rename(yard.run(&job), yard.path("away")).unwrap();
    yard.until_in("failed", &job);
    assert_eq!(waits.wait(PATIENCE).code, Some(1));
}

#[test]
fn a_job_whose_taking_was_cut_short_can_be_steered_without_a_daemon() {
    let yard = Yard::new("cut-steered");
    drop(yard.daemon(&[]));
    let cut = |job: &str| {
        fs::create_dir(yard.run(job)).unwrap();
        for name in ["worker.lock", "taking"] {
            fs::write(yard.run(job).join(name), "").unwrap();
        }
        fs::write(yard.folder("claimed").join(format!("{job}.md")), "say hello\n").unwrap();
    };
    let [kill, pause, send] = ["kill-abcdef", "pause-abcdef", "send-abcdef"];
    for job in [kill, pause, send] {
        cut(job);
    }
    for (words, state) in [
        (&["kill", kill][..], "killed"),
        (&["pause", pause][..], "paused"),
        (&["send", send, "mind the gap"][..], "queued"),
    ] {
        let said = yard.ask(words);
        assert_eq!(said.code, Some(0), "{said:?}");
        let job = words[1];
        assert_eq!(yard.count(job, "job.claimed"), 1, "{job}");
        assert!(!yard.run(job).join("taking").exists(), "{job}");
        let status = fs::read_to_string(yard.run(job).join("status.json")).unwrap();
        assert!(status.contains(&format!("\"state\": \"{state}\"")), "{job}: {status}");
    }
    // Whose taker died before it had moved the file, or that nobody ever dropped.
    let [early, never] = ["early-abcdef", "never-abcdef"];
    for job in [early, never] {
        cut(job);
        fs::remove_file(yard.folder("claimed").join(format!("{job}.md"))).unwrap();
    }
    fs::write(yard.incoming().join("early-abcdef.json"), r#"{"objective": "x"}"#).unwrap();
    // Whose taker died before it had marked the folder.
    let bare = "bare-abcdef";
    fs::create_dir(yard.run(bare)).unwrap();
    fs::write(yard.incoming().join("bare-abcdef.md"), "say hello\n").unwrap();
    for job in [early, bare] {
        let said = yard.ask(&["kill", job]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(yard.end_of(job).0, "killed");
    }
    let said = yard.ask(&["kill", never]);
    assert!(said.code == Some(3) && said.stderr.contains("never taken"), "{said:?}");
    assert_eq!(yard.names("killed"), ["bare-abcdef.md", "early-abcdef.json", "kill-abcdef.md"]);
    let note = fs::read_to_string(yard.run(send).join("note-1.md")).unwrap();
    assert_eq!(note.trim(), "mind the gap");
}
