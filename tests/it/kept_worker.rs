//! A worker that begins before it is needed and is told its job later. It does not outlive what it was begun for.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use numerus::os::watch::{Change, Watch};
use rustix::process::{Pid, Signal, kill_process};

use crate::site::{PATIENCE, processes_with_env};
use crate::yard::Yard;

/// The words that a process was started with.
fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Whether a process is a worker that was begun before its job was known.
fn is_spare(pid: u32) -> bool {
    words(pid).ends_with(&["worker".into(), "-".into(), String::new()])
}

/// Signals a process that this test has started; one that is gone is fine.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _gone_already = kill_process(pid, signal);
}

#[test]
fn a_worker_begins_before_its_job_is_known_and_works_without_its_daemon() {
    let yard = Yard::new("told-later");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    let words = words(yard.worker(&job));
    assert!(words.ends_with(&["worker".into(), "-".into(), String::new()]), "{words:?}");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    yard.let_go("hold-x");
    yard.until_in("done", "x-");
}

#[test]
fn a_worker_says_that_its_job_has_ended_before_the_file_is_moved() {
    let yard = Yard::new("says-ended");
    let (tell, told) = std::sync::mpsc::channel();
    let mut watch = Watch::new(move |hint| tell.send(hint).unwrap_or_default()).unwrap();
    let daemon = yard.daemon(&[]);
    watch.add(&yard.folder("claimed")).unwrap();
    yard.drop_job("x", "x", "");
    let done = yard.until_in("done", "x-");
    let mut changes = Vec::new();
    while changes.last() != Some(&Change::Removed) {
        let hint = told.recv_timeout(PATIENCE).unwrap();
        let is_of_it = hint.paths.iter().any(|p| p.file_stem().is_some_and(|stem| *stem == *done));
        changes.extend(is_of_it.then_some(hint.change));
    }
    assert_eq!(changes, [Change::Renamed, Change::Closed, Change::Removed]);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
}

#[test]
fn a_worker_that_is_told_no_job_leaves_without_a_word() {
    let yard = Yard::new("told-nothing");
    let input = yard.path("input");
    for told in ["", "x-abc234", "no job\n", "\n", &"x".repeat(100_000)] {
        fs::write(&input, told).unwrap();
        let mut worker = yard.numerus(&["worker", "-"]);
        let ended = worker.stdin(Stdio::from(fs::File::open(&input).unwrap())).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{told:.20?}");
        assert_eq!((ended.stdout.len(), ended.stderr.len()), (0, 0), "{told:.20?}");
    }
    assert_eq!(yard.names("claimed"), [""; 0]);
    assert_eq!(yard.processes(), [0_u32; 0]);
}

#[test]
fn a_worker_that_nothing_needed_is_gone_when_its_daemon_has_ended() {
    let yard = Yard::new("needless");
    let daemon = yard.daemon(&[]);
    // One that cannot leave by itself: it is stopped in the moment that it is there.
    let is_stopped = (0..100).any(|turn| {
        let stem = format!("later{turn}");
        yard.drop_job(&stem, "x", "not_before: 2999-01-01T00:00:00Z\n");
        let looks = Instant::now();
        let mut begun = None;
        while begun.is_none() && looks.elapsed() < PATIENCE && yard.job(&stem).is_none() {
            begun = yard.processes().into_iter().find(|pid| is_spare(*pid));
            begun.inspect(|pid| signal(*pid, Signal::STOP));
        }
        begun.is_some()
    });
    assert!(is_stopped, "no worker was seen to begin");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    assert_eq!(yard.processes(), [0_u32; 0]);
}

/// The workers that wait for a job and are ready for it: they have left the session of their daemon.
fn waiting(yard: &Yard) -> Vec<u32> {
    let leads = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').nth(3).unwrap_or(""));
        fields == Some(&pid.to_string())
    };
    yard.processes().into_iter().filter(|pid| is_spare(*pid)).filter(leads).collect()
}

/// The worker that waits, once the job that came before is over.
fn until_one_waits(yard: &Yard, before: &str) -> u32 {
    let job = yard.until_in("done", before);
    let ended = yard.worker(&job);
    let next = || waiting(yard).into_iter().find(|pid| *pid != ended);
    yard.until("the next one waits", || next().is_some());
    next().unwrap()
}

#[test]
fn the_next_worker_waits_for_the_next_file_and_goes_with_its_daemon() {
    let yard = Yard::new("kept");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "x", "");
    let kept = until_one_waits(&yard, "x-");
    yard.drop_job("y", "hold-y", "");
    yard.until_reached("hold-y");
    assert_eq!(yard.worker(&yard.job("y-").unwrap()), kept);
    yard.let_go("hold-y");
    until_one_waits(&yard, "y-");
    // A lane is free before its worker has gone, and a daemon that ends leaves a worker of a job alone.
    yard.until("the one before has gone", || !yard.processes().contains(&kept));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    assert_eq!(yard.processes(), [0_u32; 0]);
}

#[test]
fn the_next_worker_waits_for_a_lane_as_well_and_is_the_one_of_the_first_in_line() {
    let yard = Yard::new("kept-lane");
    let _daemon = yard.daemon(&["--max-jobs", "1"]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    for stem in ["y", "z"] {
        yard.drop_job(stem, &format!("hold-{stem}"), "");
        yard.until_in("claimed", &format!("{stem}-"));
    }
    let at_work = |stem: &str| yard.worker(&yard.job(stem).unwrap());
    let x = at_work("x-");
    let next = |busy: u32| waiting(&yard).into_iter().find(|pid| *pid != busy);
    yard.until("one waits though no lane is free", || next(x).is_some());
    let kept = next(x).unwrap();
    yard.let_go("hold-x");
    yard.until_reached("hold-y");
    assert_eq!(at_work("y-"), kept);
    yard.until("the next one waits", || next(kept).is_some());
    for stem in ["y", "z"] {
        yard.let_go(&format!("hold-{stem}"));
        yard.until_in("done", &format!("{stem}-"));
    }
}

#[test]
fn a_file_that_rests_leaves_the_next_one_its_worker() {
    let yard = Yard::new("kept-rests");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("x", "x", "");
    let kept = until_one_waits(&yard, "x-");
    yard.resting("later");
    yard.drop_job("y", "hold-y", "");
    yard.until_reached("hold-y");
    assert_eq!(yard.worker(&yard.job("y-").unwrap()), kept);
    yard.let_go("hold-y");
    yard.until_in("done", "y-");
}

#[test]
fn a_worker_that_waited_knows_the_settings_as_they_are_by_then() {
    let yard = Yard::new("kept-settings");
    let settings = fs::read_to_string(yard.site.root().join("numerus.toml")).unwrap();
    let _daemon = yard.daemon(&[]);
    yard.drop_job("x", "x", "");
    let kept = until_one_waits(&yard, "x-");
    yard.set_settings(&format!("{settings}resources = {{open_files = 777}}\n"));
    yard.drop_job("y", "hold-y", "");
    yard.until_reached("hold-y");
    let job = yard.job("y-").unwrap();
    assert_eq!(yard.worker(&job), kept);
    let agents = processes_with_env("NUMERUS_JOB", &job).into_iter();
    let limits = |pid| fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let is_bound = |limits: String| {
        limits.lines().any(|line| line.starts_with("Max open files") && line.contains(" 777 "))
    };
    assert!(agents.map(limits).any(is_bound));
    yard.let_go("hold-y");
    until_one_waits(&yard, "y-");
    yard.set_settings("max_jbos = 2\n");
    yard.drop_job("broken", "broken", "");
    yard.until("it is told", || {
        let log = yard.job("broken-").map(|job| yard.run(&job).join("worker.log"));
        log.is_some_and(|log| fs::read_to_string(log).is_ok_and(|said| said.contains("max_jbos")))
    });
    let refused = |fact: &serde_json::Value| fact["message"].to_string().contains("max_jbos");
    yard.until("it is not tried on and on", || yard.facts("trouble").iter().any(refused));
    yard.set_settings(&settings);
    yard.until_in("done", "broken-");
}

#[test]
fn what_was_foretold_of_another_job_is_not_used() {
    let yard = Yard::new("foretold");
    let other = yard.path("other.json");
    fs::write(&other, r#"{"version": 1, "scenes": []}"#).unwrap();
    let daemon = yard.daemon(&[]);
    let [own, another] = ["own", "another"].map(|stem| yard.resting(stem));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    let read = |job: &str| fs::read_to_string(yard.run(job).join("job.json")).unwrap();
    let mut told: Vec<serde_json::Value> =
        [&own, &another].map(|job| serde_json::from_str(&read(job)).unwrap()).into();
    // As nobody would have it: with what is in the file this job's agent would have nothing to play.
    told[1]["options"]["rehearse"] = other.to_str().unwrap().into();
    for (job, told) in [(&own, &told[0]), (&another, &told[1])] {
        let input = yard.path("input");
        fs::write(&input, format!("{told}\n{job}\n")).unwrap();
        let mut worker = yard.numerus(&["worker", "-"]);
        let ended = worker.stdin(Stdio::from(fs::File::open(&input).unwrap())).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(yard.end_of(job).0, "done", "{job}");
        assert_eq!(yard.processes(), [0_u32; 0]);
    }
    let input = yard.path("input");
    fs::write(&input, format!("{}\n", told[0])).unwrap();
    let mut worker = yard.numerus(&["worker", "-"]);
    let ended = worker.stdin(Stdio::from(fs::File::open(&input).unwrap())).output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "no job came of it");
    assert_eq!(yard.processes(), [0_u32; 0]);
}
