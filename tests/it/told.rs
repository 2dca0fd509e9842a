//! What commands tell of who works, who waits and what was not accepted; and how a reader of events goes on.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::kept_worker;
use crate::rehearsal::{Script, Stage, part, raise, wait_for};
use crate::site::PATIENCE;
use crate::yard::Yard;

const NOBODY: &str = "no daemon is running: start one with numerus daemon";
const START: &str = ", or work on it now with numerus start ";

#[test]
fn a_second_daemon_says_whom_it_stands_by_and_when_it_leads() {
    let yard = Yard::new("standing");
    let first = yard.daemon(&[]);
    let second = yard.spare(&[]);
    let active = format!("another daemon is active (process {})", first.pid());
    yard.until("it says so", || second.stderr().contains(&format!("{active}; standing by")));
    let once = yard.ask(&["daemon", "--once"]);
    assert_eq!(once.code, Some(4), "{once:?}");
    assert!(once.stderr.contains(&format!("{active} and takes what is there")), "{once:?}");
    assert!(!once.stderr.contains("not everything is done"), "nothing is to be done: {once:?}");
    drop(first);
    yard.until("it leads", || second.stderr().contains("this one is active now"));
}

#[test]
fn where_jobs_wait_and_no_daemon_runs_it_is_told_and_nowhere_else() {
    let yard = Yard::new("nobody");
    let repo = yard.site.git_repo().display().to_string();
    let empty = yard.ask(&["status"]);
    assert!(!empty.stderr.contains(NOBODY), "nothing waits: {empty:?}");
    let sent = yard.ask(&["submit", "good", "--plan", "single", "--workspace", &repo]);
    assert!(sent.stderr.contains(&format!("{NOBODY}{START}{}", sent.stdout.trim())), "{sent:?}");
    assert_eq!(sent.stdout.lines().count(), 1, "{sent:?}");
    let listed = yard.ask(&["status"]);
    assert!(listed.stderr.contains(START) && !listed.stdout.contains(NOBODY), "{listed:?}");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    assert!(!yard.ask(&["status"]).stderr.contains(NOBODY), "it has ended");
    let daemon = yard.daemon(&[]);
    let later = ["submit", "good", "--workspace", &repo, "--not-before", "2999-01-01T00:00:00Z"];
    let sent = yard.ask(&later);
    assert!(!sent.stderr.contains(NOBODY), "there is one: {sent:?}");
    let job = sent.stdout.trim().to_owned();
    let told = || yard.ask(&["status", &job, "--json"]).stdout;
    yard.until("it rests", || told().contains("\"not_before\""));
    assert!(!yard.ask(&["status"]).stderr.contains(NOBODY));
    drop(daemon);
    for words in [&["status"][..], &["status", &job]] {
        let told = yard.ask(words);
        assert!(told.stderr.contains(NOBODY), "{told:?}");
        assert!(!told.stderr.contains(START), "its time has to come first: {told:?}");
    }
    let sent = yard.ask(&["submit", "good", "--after", &job, "--workspace", &repo]);
    assert!(sent.stderr.contains(NOBODY) && !sent.stderr.contains(START), "{sent:?}");
    let once = yard.ask(&["daemon", "--once"]);
    assert_eq!(once.code, Some(4));
    assert!(once.stderr.contains("numerus status says what waits"), "{once:?}");
}

#[test]
fn a_rejected_file_is_found_by_its_name_and_counted() {
    let yard = Yard::new("rejected-names");
    yard.drop_file("fix-rounding.json", "{");
    yard.drop_file("Fix the docs.md", "---\nworkspace: nowhere\n---\nx\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(2));
    let listed = yard.ask(&["status"]);
    assert!(listed.stderr.contains("2 files were rejected: spool/rejected/"), "{listed:?}");
    let found = yard.ask(&["status", "fix-round"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.starts_with("fix-rounding.json: rejected ("), "{found:?}");
    let found = yard.ask(&["status", "Fix the", "--json"]);
    let line: Value = serde_json::from_str(&found.stdout).expect(&found.stdout);
    assert_eq!((&line["file"], &line["state"]), (&"Fix the docs.md".into(), &"rejected".into()));
    assert!(line["message"].as_str().unwrap().contains("nowhere"), "{line}");
    let typo = yard.ask(&["status", "fix-ronding"]);
    assert_eq!(typo.code, Some(3), "{typo:?}");
    assert!(typo.stderr.contains("hint: a file called fix-rounding.json was rejected"), "{typo:?}");
    assert_eq!(yard.ask(&["status", "quite-else"]).code, Some(3));
}

#[test]
fn a_list_tells_why_a_job_did_not_end_well() {
    let yard = Yard::new("list-why");
    yard.drop_job("b", "bad-b", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let job = yard.job("b-").unwrap();
    let (_, message) = yard.end_of(&job);
    let listed = yard.ask(&["status"]);
    assert!(!message.is_empty() && listed.stdout.contains(&format!("\n  {message}")), "{listed:?}");
}

#[test]
fn a_reader_of_events_goes_on_where_it_stopped() {
    let yard = Yard::new("since");
    yard.drop_job("a", "good", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let job = yard.job("a-").unwrap();
    let all = yard.site.journal(&job);
    let seqs = |words: &[&str]| {
        let ended = yard.ask(&[&["events", "--json"], words].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let line =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        ended.stdout.lines().map(line).collect::<Vec<u64>>()
    };
    let last = all.len() as u64;
    assert_eq!(seqs(&["a-", "--since", "5"]), (6..=last).collect::<Vec<_>>());
    assert_eq!(seqs(&["a-", "--follow", "--since", &(last - 1).to_string()]), [last]);
    assert_eq!(seqs(&["--since", "1h"]).len() as u64, last, "jobs that have ended since, too");
    assert_eq!(seqs(&["--since", "2999-01-01T00:00:00Z"]), [] as [u64; 0]);
    let at = all[8]["ts"].as_str().unwrap();
    let expected = all.iter().filter(|e| e["ts"].as_str().unwrap() >= at).count();
    assert_eq!(seqs(&["--since", at]).len(), expected);
    for (words, said) in [
        (vec!["--since", "5"], "takes a number with a JOB only"),
        (vec!["--since", "soon"], "is no time"),
        (vec!["--match", "job.finshed"], "did you mean job.finished?"),
        (vec!["--match", "jbo.*"], "did you mean job.*?"),
    ] {
        let ended = yard.ask(&[vec!["events"], words].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
}

#[test]
fn an_objective_that_is_a_dash_is_read_from_stdin_by_run_as_by_submit() {
    let yard = Yard::new("dash");
    let said = yard.path("said");
    fs::write(&said, "do a thing").unwrap();
    for words in [["submit", "-", "--rehearse"], ["run", "-", "--rehearse"]] {
        let mut command = yard.numerus(&words);
        let ended = yard.site.run(command.stdin(File::open(&said).unwrap()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let waits = yard.names("incoming").into_iter().filter(|name| name.starts_with("do-a-thing-"));
    assert_eq!(waits.count(), 1);
    let done = yard.names("done");
    let job = done.iter().find_map(|name| name.strip_suffix(".json")).unwrap();
    let objective = yard.site.root().join(format!("runs/{job}/objective.md"));
    assert_eq!(fs::read_to_string(objective).unwrap(), "do a thing");
}

#[test]
fn a_job_whose_worker_died_is_told_as_left_and_as_at_rest_once_somebody_has_paused_it() {
    let script = Script::of([part("t1")]).working("t1", &[raise("there"), wait_for("go")]);
    let stage = Stage::new("told-left", &script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("there");
    job.slay_worker();
    running.wait(PATIENCE);
    let followed = stage.call(&["logs", "-f", &job.id]);
    assert!(followed.stderr.contains("its worker ended without a result"), "{followed:?}");
    assert_eq!(stage.call(&["pause", &job.id]).code, Some(0));
    let resume = format!("numerus resume {}", job.id);
    let shown = stage.call(&["status", &job.id]);
    assert!(shown.stdout.contains("paused") && shown.stdout.contains(&resume), "{shown:?}");
    let waited = stage.call(&["wait", &job.id]);
    assert_eq!((waited.code, waited.stderr.contains(&resume)), (Some(4), true), "{waited:?}");
    let followed = stage.call(&["logs", "-f", &job.id]);
    assert!(followed.stderr.contains(&resume), "{followed:?}");
    assert_eq!(stage.call(&["resume", &job.id]).code, Some(0));
    stage.raise("go");
    assert_eq!(job.go_on().code, Some(0));
}

#[test]
fn whoever_waits_for_a_dropped_file_hears_that_it_is_no_job_yet() {
    let yard = Yard::new("wait-dropped");
    yard.drop_job("race", "race", "");
    for name in ["race.md", "race"] {
        let waited = yard.ask(&["wait", name]);
        assert_eq!(waited.code, Some(4), "{waited:?}");
        assert!(
            waited.stderr.contains("race.md waits to be taken: it is no job yet"),
            "{waited:?}"
        );
    }
    assert_eq!(yard.ask(&["kill", "race"]).code, Some(4), "it is ended by its whole name alone");
    assert_eq!(yard.names("incoming"), ["race.md"]);
}

#[test]
fn whoever_follows_a_job_hears_its_next_worker_where_a_daemon_starts_one() {
    let yard = Yard::new("told-next-worker");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    daemon.signal(Signal::STOP);
    kept_worker::signal(yard.worker(&job), Signal::KILL);
    let logs = yard.site.spawn(&mut yard.numerus(&["logs", "--follow", &job]));
    // What the agents say is watched once the job was looked at: more than the six folders that tell of the job itself.
    let watches =
        |fd: &PathBuf| fs::read_to_string(fd).unwrap_or_default().matches("inotify wd").count();
    yard.until("it listens", || {
        let fds = fs::read_dir(format!("/proc/{}/fdinfo", logs.pid())).into_iter().flatten();
        fds.flatten().any(|fd| watches(&fd.path()) > 6)
    });
    daemon.signal(Signal::CONT);
    yard.let_go("hold-x");
    let logs = logs.wait(PATIENCE);
    assert_eq!(logs.code, Some(0), "{logs:?}");
    assert!(logs.stdout.contains("attempt 2"), "{logs:?}");
    assert!(logs.stderr.contains("the daemon starts the next one"), "{logs:?}");
    yard.until_in("done", "x-");
}
