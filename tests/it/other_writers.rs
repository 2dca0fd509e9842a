//! Other writers inside the root: a person, a mistaken script, a backup that was put back. What they do is obeyed where it has a
//! meaning, mended where it can be, and told of where it cannot; nothing runs twice for it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FileType, Mode, mknodat};
use serde_json::Value;

use crate::hostile::{control, reason, until_rejected};
use crate::yard::{Yard, names};

/// A name, and what is done to a run folder.
type Destruction<'a> = (&'a str, &'a dyn Fn(&Path));

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

#[test]
fn a_job_whose_record_is_destroyed_fails_and_never_runs_and_what_is_left_of_it_stays() {
    let yard = Yard::new("destroyed");
    let daemon = yard.daemon(&[]);
    let journal = |run: &Path, change: &dyn Fn(Vec<String>) -> Vec<String>| {
        let path = run.join("events.ndjson");
        let text = fs::read_to_string(&path).unwrap();
        let lines = change(text.lines().map(|line| format!("{line}\n")).collect());
        fs::write(path, lines.concat()).unwrap();
    };
    let destroy: [Destruction<'_>; 9] = [
        ("no-job", &|run| fs::remove_file(run.join("job.json")).unwrap()),
        ("bad-json", &|run| fs::write(run.join("job.json"), "{\"version\": 1").unwrap()),
        ("link", &|run| {
            fs::remove_file(run.join("job.json")).unwrap();
            symlink("/etc/passwd", run.join("job.json")).unwrap();
        }),
        ("folder", &|run| {
            fs::remove_file(run.join("job.json")).unwrap();
            fs::create_dir(run.join("job.json")).unwrap();
        }),
        ("no-journal", &|run| fs::remove_file(run.join("events.ndjson")).unwrap()),
        ("zeroed", &|run| fs::write(run.join("events.ndjson"), [0; 300]).unwrap()),
        ("first-line", &|run| journal(run, &|lines| lines[1..].to_vec())),
        ("overwritten", &|run| journal(run, &|lines| vec![lines[0].clone(), "garbage\n".into()])),
        ("journal-link", &|run| {
            fs::remove_file(run.join("events.ndjson")).unwrap();
            symlink("/etc/passwd", run.join("events.ndjson")).unwrap();
        }),
    ];
    let jobs: Vec<String> = destroy.iter().map(|(stem, _)| yard.resting(stem)).collect();
    let whole = yard.resting("whole");
    drop(daemon);
    for ((_, destroy), job) in destroy.iter().zip(&jobs) {
        destroy(&yard.run(job));
    }
    let kept: Vec<usize> = jobs.iter().map(|job| names(&yard.run(job)).len()).collect();
    let mut daemon = yard.daemon(&[]);
    for (job, kept) in jobs.iter().zip(kept) {
        yard.until_in("failed", job);
        yard.until("it has ended", || yard.count(job, "job.finished") == 1);
        let (reason, message) = yard.end_of(job);
        assert_eq!(reason, "corrupt", "{job}: {message}");
        assert!(message.starts_with("E_CORRUPT: "), "{message}");
        assert_eq!(yard.count(job, "job.worker_started"), 0, "{job}");
        yard.until("all is kept", || names(&yard.run(job)).len() > kept);
    }
    assert_eq!(yard.count(&whole, "job.finished"), 0);
    let said = yard.ask(&["status", "--all"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(yard.facts("trouble"), [] as [Value; 0]);
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.ends_within(crate::site::PATIENCE).is_some());
    // Once more: nothing is left to mend.
    let repaired = yard.facts("repaired").len();
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4), "the whole one rests");
    assert_eq!(yard.facts("repaired").len(), repaired);
}

#[test]
fn a_further_copy_of_a_jobs_file_is_put_aside_and_runs_nothing() {
    let yard = Yard::new("copies");
    let daemon = yard.daemon(&[]);
    yard.drop_job("ended", "ended", "");
    let ended = yard.until_in("done", "ended-");
    let open = yard.resting("open");
    yard.until("it is reported", || yard.facts("ended").len() == 1);
    drop(daemon);
    let file = |place: &str, job: &str| yard.folder(place).join(format!("{job}.md"));
    // As a backup that is put back does it.
    fs::copy(file("done", &ended), file("claimed", &ended)).unwrap();
    fs::copy(file("claimed", &open), file("done", &open)).unwrap();
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    for (job, place) in [(&ended, "done"), (&open, "claimed")] {
        assert!(file(place, job).exists(), "the journal says where {job} is");
        let reason = crate::hostile::reason(&yard, format!("{job}.md").as_ref()).unwrap();
        assert_eq!(reason["code"], "E_DUP");
        assert!(file("rejected", job).exists());
    }
    assert_eq!(yard.count(&ended, "job.worker_started"), 1, "it ran once");
    assert_eq!(yard.names("claimed"), [format!("{open}.md")]);
    assert_eq!(yard.facts("trouble"), [] as [Value; 0]);
}

#[test]
fn a_folder_of_the_spool_that_is_deleted_is_made_again_and_told_of_and_nothing_runs_twice() {
    let yard = Yard::new("deleted");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("keyed", "keyed", "key: once\n");
    yard.until_in("done", "keyed-");
    yard.drop_job("open", "hold-open", "");
    yard.until_reached("hold-open");
    for place in ["claimed", "done", "failed", "killed", "rejected", "keys"] {
        fs::remove_dir_all(yard.folder(place)).unwrap();
        yard.until("it is there again", || yard.folder(place).is_dir());
        yard.until_told(&format!("spool/{place} was gone"));
    }
    // The keys are known from the run folders.
    yard.drop_job("second", "second", "key: once\n");
    yard.until("it is a duplicate", || yard.facts("rejected").len() == 1);
    assert_eq!(yard.facts("rejected")[0]["code"], "E_DUP");
    yard.let_go("hold-open");
    let job = yard.until_in("done", "open-");
    assert_eq!(yard.count(&job, "job.worker_started"), 1);
    let keyed = yard.job("keyed-").unwrap();
    assert_eq!(yard.count(&keyed, "job.worker_started"), 1);
}

#[test]
fn without_run_folders_or_a_store_nothing_is_taken_until_they_are_back() {
    for missing in ["runs", "store"] {
        let yard = Yard::new("taken-away");
        let mut daemon = yard.daemon(&[]);
        let job = yard.resting("a");
        let (folder, away) = (yard.site.root().join(missing), yard.path("away"));
        fs::rename(&folder, &away).unwrap();
        yard.drop_job("b", "b", "");
        // What it says of it goes to its stderr; its journal may be gone.
        yard.until("it says so", || daemon.stderr().contains("nothing is taken or started"));
        assert!(daemon.ends_within(Duration::ZERO).is_none(), "the daemon stays up");
        assert!(!folder.exists(), "nothing is made there");
        fs::rename(&away, &folder).unwrap();
        yard.until("it goes on", || daemon.stderr().contains("whole again"));
        yard.until_in("done", "b-");
        assert_eq!(yard.count(&job, "job.finished"), 0, "{missing}: nothing was lost");
    }
}

#[test]
fn nothing_is_taken_through_an_incoming_that_is_a_link_or_gone() {
    let yard = Yard::new("link");
    let mut daemon = yard.daemon(&[]);
    let (elsewhere, away) = (yard.path("elsewhere"), yard.path("away"));
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("x.md"), "not meant as a job").unwrap();
    fs::rename(yard.incoming(), &away).unwrap();
    yard.until_told("nothing is taken until it is a folder again");
    symlink(&elsewhere, yard.incoming()).unwrap();
    yard.until_told("spool/incoming: it is a link");
    fs::write(elsewhere.join("y.md"), "nor is this").unwrap();
    fs::remove_file(yard.incoming()).unwrap();
    fs::create_dir(yard.incoming()).unwrap();
    yard.drop_job("job", "job", "");
    yard.until_in("done", "job-");
    assert_eq!(yard.facts("taken").len(), 1);
    assert_eq!(names(&elsewhere), ["x.md", "y.md"]);
    assert!(daemon.ends_within(Duration::ZERO).is_none(), "the daemon stays up");
    let once = Yard::new("link-once");
    fs::remove_dir(once.incoming()).unwrap();
    symlink(&elsewhere, once.incoming()).unwrap();
    let ended = once.ask(&["daemon", "--once"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(names(&elsewhere), ["x.md", "y.md"]);
}

#[test]
fn a_run_folder_that_is_removed_under_its_worker_ends_the_agent_and_fails_the_job() {
    let yard = Yard::new("removed");
    let plain = fs::read_to_string(yard.site.root().join("numerus.toml")).unwrap();
    yard.set_settings(&format!("{plain}rescan = \"500ms\"\n"));
    let mut daemon = yard.daemon(&[]);
    yard.drop_job("gone", "hold-gone", "");
    yard.until_reached("hold-gone");
    let job = yard.job("gone-").unwrap();
    fs::rename(yard.run(&job), yard.path("away")).unwrap();
    yard.until_in("failed", &job);
    yard.until("it has ended", || yard.count(&job, "job.finished") == 1);
    assert_eq!(yard.end_of(&job).0, "run_lost");
    let left = crate::site::processes_with_env("NUMERUS_JOB", &job);
    assert_eq!(left, [0_u32; 0], "nothing of it lives once it has ended");
    yard.drop_job("control", "control", "");
    yard.until_in("done", "control-");
    assert!(daemon.ends_within(Duration::ZERO).is_none(), "the daemon stays up");
}

#[test]
fn who_holds_a_lock_that_was_replaced_leaves() {
    let yard = Yard::new("replaced-lock");
    let mut daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    let lock = yard.run(&job).join("worker.lock");
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "").unwrap();
    yard.let_go("hold-x");
    // The first worker writes nothing more; another one goes on with the job, and it ends once.
    yard.until_in("done", &job);
    yard.until("it has ended", || yard.count(&job, "job.finished") == 1);
    assert_eq!(yard.count(&job, "job.worker_started"), 2);
    let log = fs::read_to_string(yard.run(&job).join("worker.log")).unwrap();
    assert!(log.contains("was removed or replaced"), "{log}");
    let lock = yard.site.root().join("spool/.lock");
    fs::remove_file(&lock).unwrap();
    let code = daemon.ends_within(crate::site::PATIENCE).expect("it ends").code();
    assert_eq!(code, Some(5));
    assert!(yard.facts("trouble")[0]["message"].as_str().unwrap().contains(".lock was removed"));
}

#[test]
fn a_status_that_is_a_link_a_fifo_or_a_folder_is_derived_and_replaced() {
    let yard = Yard::new("status");
    let daemon = yard.daemon(&[]);
    let jobs: Vec<String> = ["link", "fifo", "folder"].iter().map(|s| yard.resting(s)).collect();
    drop(daemon);
    for (job, kind) in jobs.iter().zip(0..) {
        let path = yard.run(job).join("status.json");
        fs::remove_file(&path).unwrap();
        match kind {
            0 => symlink("/etc/passwd", &path).unwrap(),
            1 => mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                .unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
        let said = yard.ask(&["status", job]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.stdout.contains("queued") || said.stdout.contains("paused"), "{said:?}");
        assert_eq!(yard.ask(&["kill", job]).code, Some(0));
        let status: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(status["state"], "killed");
        assert!(path.symlink_metadata().unwrap().is_file());
    }
    assert!(fs::metadata("/etc/passwd").unwrap().is_file());
}

#[test]
fn a_wish_for_a_job_that_has_ended_or_never_was_is_no_wish() {
    let yard = Yard::new("wishes");
    yard.drop_job("ended", "ended", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let ended = yard.job("ended-").unwrap();
    fs::write(yard.run(&ended).join("want.killed"), "").unwrap();
    fs::create_dir(yard.run("never-abcdef")).unwrap();
    fs::write(yard.run("never-abcdef").join("want.killed"), "").unwrap();
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    assert_eq!(yard.names("done"), [format!("{ended}.md")]);
    assert_eq!(yard.count(&ended, "job.finished"), 1);
    let aside = names(&yard.site.root().join("runs/.aside"));
    assert!(aside.len() == 1 && aside[0].starts_with("never-abcdef"), "{aside:?}");
    assert_eq!(yard.ask(&["kill", "never-abcdef"]).code, Some(3));
    let said = yard.ask(&["kill", &ended]);
    assert!(said.code == Some(0) && said.stdout.contains("has ended already"), "{said:?}");
}

#[test]
fn nobody_else_can_reach_a_lock() {
    let yard = Yard::new("modes");
    let _daemon = yard.daemon(&[]);
    let job = yard.resting("a");
    let lock = format!("runs/{job}/worker.lock");
    for path in ["spool/claimed", "spool/keys", "runs", "store", &lock, "spool/.lock"] {
        let mode = yard.site.root().join(path).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path}: {mode:o}");
    }
}

#[test]
fn an_index_that_is_gone_zeroed_or_another_programs_is_made_anew_and_says_the_same() {
    let yard = Yard::new("index");
    yard.drop_job("one", "one", "");
    yard.drop_job("two", "bad-two", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let db = yard.site.root().join("store/tasks.db");
    let before = yard.ask(&["status", "--all", "--json"]).stdout;
    assert_eq!(before.lines().count(), 2);
    let harms: [&dyn Fn(); 5] = [
        &|| fs::remove_file(&db).unwrap(),
        &|| fs::write(&db, [0; 8192]).unwrap(),
        &|| fs::write(&db, "no database").unwrap(),
        &|| fs::write(db.with_extension("db-wal"), "garbage").unwrap(),
        &|| fs::write(db.with_extension("db-shm"), "garbage").unwrap(),
    ];
    for (number, harm) in harms.iter().enumerate() {
        harm();
        let said = yard.ask(&["status", "--all", "--json"]);
        assert_eq!((said.code, &said.stdout), (Some(0), &before), "{number}: {}", said.stderr);
    }
}

#[test]
fn a_commit_that_somebody_puts_in_the_place_of_a_jobs_tip_does_not_land_with_it() {
    let yard = Yard::new("foreign-tip");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    assert_eq!(yard.count(&job, "job.task_started"), 1, "its task is under way");
    let repo = yard.run(&job).join("workspace");
    let git = |words: &[&str]| {
        let named = ["-c", "user.name=Other", "-c", "user.email=other@localhost"];
        let output = Command::new("git").current_dir(&repo).args(named).args(words).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let (made, foreign) = git(&["commit-tree", "-m", "foreign", "-p", "main", "main^{tree}"]);
    assert!(made, "{foreign}");
    fs::write(repo.join(format!(".git/refs/numerus/{job}/tip")), format!("{foreign}\n")).unwrap();
    yard.let_go("hold-x");
    yard.until_in("failed", &job);
    assert_eq!(yard.count(&job, "job.task_landing"), 0);
    assert!(!git(&["rev-parse", "--verify", &format!("refs/heads/numerus/{job}")]).0, "no branch");
}
