//! Processes that begin before they are needed: one that stands by to become codex for the next session, and a worker that is
//! told its job later. None of them outlives what it was begun for.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{self, OpenptFlags};

use crate::rehearsal::{Job, Script, Stage, part, raise, wait_for};
use crate::site::{PATIENCE, Running, processes_with_env};
use crate::yard::Yard;

/// The words that a process was started with.
fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The processes of a job that wait to become codex.
fn standing(job: &Job<'_>) -> Vec<u32> {
    let of_job = processes_with_env("NUMERUS_JOB", &job.id).into_iter();
    of_job.filter(|pid| words(*pid).iter().any(|word| word == "__session")).collect()
}

/// The processes that a worker has stand by, whoever they are for.
fn standing_below(worker: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{worker}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let children = lists.iter().flat_map(|list| list.split_whitespace()).flat_map(str::parse);
    children.filter(|pid| words(*pid).iter().any(|word| word == "__session")).collect()
}

/// Whether a process is there, and no zombie.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Signals a process that this test has started; one that is gone is fine.
fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _gone_already = kill_process(pid, signal);
}

/// Two tasks one after the other; each says that it runs and waits to be let go on.
fn stage(name: &str) -> Stage {
    let parts = [part("t1"), part("t2").after(&["t1"])];
    let held = |task: &str| [raise(&format!("{task}-runs")), wait_for(&format!("{task}-may"))];
    let script = Script::of(parts).working("t1", &held("t1")).working("t2", &held("t2"));
    Stage::new(name, &script)
}

/// Starts the job and waits until the first task runs and a process stands by for the session that will follow.
fn until_one_stands_by(stage: &Stage) -> (Running, Job<'_>) {
    let (running, job) = stage.start(&[]);
    stage.until_raised("t1-runs");
    stage.site.until("one stands by", PATIENCE, || standing(&job).len() == 1);
    (running, job)
}

#[test]
fn one_stands_by_as_long_as_a_session_will_follow() {
    let stage = stage("followed");
    let (running, job) = until_one_stands_by(&stage);
    stage.raise("t1-may");
    stage.until_raised("t2-runs");
    assert_eq!(standing(&job), [0_u32; 0], "nothing follows");
    stage.raise("t2-may");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!(job.landed(), ["t1", "t2"]);
    job.is_clean();
}

#[test]
fn who_stands_by_ends_with_the_job() {
    let stage = stage("killed");
    let (running, job) = until_one_stands_by(&stage);
    assert_eq!(stage.call(&["kill", &job.id]).code, Some(0));
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    assert_eq!(standing(&job), [0_u32; 0]);
    job.is_clean();
}

#[test]
fn who_stands_by_leaves_when_its_worker_is_killed() {
    let stage = stage("slain");
    let (running, job) = until_one_stands_by(&stage);
    job.slay_worker();
    drop(running);
    stage.site.until("it has left", PATIENCE, || standing(&job).is_empty());
    stage.raise("t1-may");
    stage.raise("t2-may");
    assert_eq!(job.go_on().code, Some(0));
    assert_eq!(job.landed(), ["t1", "t2"]);
    job.is_clean();
}

#[test]
fn who_has_not_read_its_orders_yet_ends_with_its_session_and_never_becomes_codex() {
    let parts = [part("t1"), part("t2").after(&["t1"]), part("t3")];
    let held = |task: &str| [raise(&format!("{task}-runs")), wait_for(&format!("{task}-may"))];
    let script = Script::of(parts).working("t1", &held("t1")).working("t3", &held("t3"));
    let stage = Stage::new("stopped", &script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("t1-runs");
    stage.until_raised("t3-runs");
    stage.site.until("some stand by", PATIENCE, || !standing(&job).is_empty());
    let all = standing(&job);
    for pid in &all {
        signal(*pid, Signal::STOP);
    }
    stage.raise("t1-may");
    job.until("terminal.session_opened", "t2");
    let opened = &job.all("terminal.session_opened", "t2")[0]["payload"]["pid"];
    let pid = u32::try_from(opened.as_u64().unwrap()).unwrap();
    assert!(all.contains(&pid), "{pid} of {all:?}");
    assert_eq!(stage.call(&["kill", &format!("{}/t2", job.id)]).code, Some(0));
    assert!(job.all("terminal.started", "t2").is_empty());
    assert!(!standing(&job).contains(&pid), "the job goes on without it");
    for other in all.iter().filter(|other| **other != pid) {
        signal(*other, Signal::CONT);
    }
    stage.raise("t3-may");
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    assert_eq!(job.tasks(), ["t1 succeeded", "t2 failed", "t3 succeeded"]);
    job.is_clean();
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
fn what_stands_by_before_its_job_is_known_goes_with_its_worker() {
    let yard = Yard::new("told-never");
    for is_slain in [false, true] {
        let mut worker = yard.numerus(&["worker", "-"]);
        let mut worker = worker.stdin(Stdio::piped()).spawn().unwrap();
        let orders = worker.stdin.take();
        yard.site.until("one stands by", PATIENCE, || !standing_below(worker.id()).is_empty());
        let standing = standing_below(worker.id());
        if is_slain {
            signal(worker.id(), Signal::KILL);
        }
        drop(orders);
        let code = worker.wait().unwrap().code();
        assert_eq!(code, if is_slain { None } else { Some(0) });
        let is_gone = || !standing.iter().any(|pid| lives(*pid));
        assert!(is_slain || is_gone(), "a worker that leaves sees to it");
        yard.site.until("it has left", PATIENCE, is_gone);
    }
}

#[test]
fn a_worker_that_nothing_needed_is_gone_when_its_daemon_has_ended() {
    let yard = Yard::new("needless");
    let daemon = yard.daemon(&[]);
    let is_begun = |pid: &u32| words(*pid).ends_with(&["worker".into(), "-".into(), String::new()]);
    // One that cannot leave by itself: it is stopped in the moment that it is there.
    let is_stopped = (0..100).any(|turn| {
        let stem = format!("later{turn}");
        yard.drop_job(&stem, "x", "not_before: 2999-01-01T00:00:00Z\n");
        let looks = Instant::now();
        let mut begun = None;
        while begun.is_none() && looks.elapsed() < PATIENCE && yard.job(&stem).is_none() {
            begun = yard.processes().into_iter().find(is_begun);
            begun.inspect(|pid| signal(*pid, Signal::STOP));
        }
        begun.is_some()
    });
    assert!(is_stopped, "no worker was seen to begin");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    assert_eq!(yard.processes(), [0_u32; 0]);
}

/// The workers that wait for a job and are ready for it.
fn waiting(yard: &Yard) -> Vec<u32> {
    let is_spare = |pid: &u32| words(*pid).ends_with(&["worker".into(), "-".into(), String::new()]);
    let spares = yard.processes().into_iter().filter(is_spare);
    spares.filter(|pid| !standing_below(*pid).is_empty()).collect()
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

/// A terminal, as one who looks at it has it, and as the program in it.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let screen = pty::openpt(flags).unwrap();
    pty::grantpt(&screen).and_then(|()| pty::unlockpt(&screen)).unwrap();
    let terminal = pty::ioctl_tiocgptpeer(&screen, flags).unwrap();
    (screen, terminal)
}

/// What a process that stands by becomes of these words in its pipe.
fn told(site: &crate::site::Site, words: &[u8]) -> (bool, std::process::Output) {
    let [orders, pipe, made] = ["orders", "pipe", "made"].map(|name| site.path().join(name));
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let mut pieces = vec!["/".to_owned(), "A=b".to_owned(), "--".to_owned()];
    pieces.extend(["-", "-", "-", "-", "-", "--", "/bin/mkdir"].map(str::to_owned));
    pieces.push(text(&made));
    let body = pieces.join("\0") + "\0";
    fs::write(&orders, format!("{}\0{body}", body.len())).unwrap();
    let whole = [text(&orders).as_bytes(), b"\0", words].concat();
    fs::write(&pipe, whole).unwrap();
    let mut session = std::process::Command::new(env!("CARGO_BIN_EXE_numerus"));
    let (_screen, terminal) = terminal();
    let out = session.arg("__session").arg(&pipe).stdin(terminal).output().unwrap();
    let has_begun = made.exists();
    fs::remove_dir(made).unwrap_or_default();
    (has_begun, out)
}

#[test]
fn who_has_its_orders_begins_with_the_word_alone() {
    let site = crate::site::Site::new("the-word");
    for (words, expected) in
        [(&b"go\0"[..], true), (b"", false), (b"go", false), (b"stay\0", false), (b"\0", false)]
    {
        let (has_begun, out) = told(&site, words);
        assert_eq!(has_begun, expected, "{words:?}: {out:?}");
        assert!(out.status.success(), "{words:?}: {out:?}");
    }
}
