//! A machine that cannot be worked on: small file systems that are full, of space or of files, or read-only, and a daemon
//! that may open no more files. New work waits and says why, what runs ends, and all goes on by itself; nothing is lost and no
//! job is blamed.
//!
//! The file systems are mounted over folders of the root by the test, which needs the right to do so.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::site::Running;
use crate::yard::{Yard, names, not_run};

/// A mount over a folder, for as long as this lives.
struct Mount(PathBuf);

impl Mount {
    fn over(place: &Path, words: &[&str]) -> Option<Self> {
        let mounted = Command::new("mount").args(words).arg(place).output();
        let is_mounted = mounted.is_ok_and(|done| done.status.success());
        is_mounted.then(|| Self(place.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _gone_already = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// A yard with a file system of its own over a folder of its root; `None` where none can be mounted. The mount goes first.
struct Small {
    _mount: Mount,
    volume: PathBuf,
    yard: Yard,
}

impl Small {
    fn new(name: &str, folder: &str, options: &str, min_free: u64) -> Option<Self> {
        let yard = Yard::new(name);
        let root = yard.site.root();
        let settings = fs::read_to_string(root.join("numerus.toml")).unwrap();
        let volume = if folder.is_empty() { root } else { root.join(folder) };
        fs::create_dir_all(&volume).unwrap();
        let options = format!("mode=700,{options}");
        let Some(mount) = Mount::over(&volume, &["-t", "tmpfs", "-o", &options, "none"]) else {
            not_run("the right to mount");
            return None;
        };
        fs::create_dir_all(yard.incoming()).unwrap();
        yard.set_settings(&format!("{settings}min_free = {min_free}\n"));
        Some(Self { _mount: mount, volume, yard })
    }

    fn filler(&self) -> PathBuf {
        self.volume.join("filler")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        for size in [64 * 1024, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// Drops a job by a rename within the file system of the spool, which needs no room there.
    fn keep_ready(&self, stem: &str) {
        let text = format!("---\nplan: single\nmax_attempts: 1\n---\n{stem}\n");
        fs::write(self.yard.incoming().join(format!("{stem}.md.tmp")), text).unwrap();
    }

    fn drop_ready(&self, stem: &str) {
        let incoming = self.yard.incoming();
        fs::rename(incoming.join(format!("{stem}.md.tmp")), incoming.join(format!("{stem}.md")))
            .unwrap();
    }

    fn until_degraded(&self, daemon: &Running, says: &str) {
        until_degraded(&self.yard, daemon, says);
    }
}

fn until_degraded(yard: &Yard, daemon: &Running, says: &str) {
    yard.until("the daemon says why it starts nothing", || {
        daemon
            .stderr()
            .lines()
            .any(|l| l.starts_with("no new work is started:") && l.contains(says))
    });
}

/// Plays what is done before the disk fills up, then rests, then says that it is done.
fn write_before_the_rest(yard: &Yard) {
    let path = yard.path("script.json");
    let mut script: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let scenes = script["scenes"].as_array_mut().unwrap();
    let held = scenes.iter_mut().find(|s| s["when"]["contains"] == "hold-").unwrap();
    let play = held["play"].as_array_mut().unwrap();
    let write = play.remove(2);
    play.insert(0, write);
    fs::write(path, script.to_string()).unwrap();
}

/// Every command that reads says the reason on stderr, and answers on stdout as it does without it.
fn every_reader_says(yard: &Yard, job: &str, says: &str) {
    for words in [&["status"][..], &["status", job, "--json"], &["logs", job], &["events", job]] {
        let answer = yard.ask(words);
        assert_eq!(answer.code, Some(0), "{words:?}: {answer:?}");
        let lines: Vec<&str> = answer
            .stderr
            .lines()
            .filter(|l| l.starts_with("no daemon starts new work: "))
            .collect();
        assert!(lines.len() == 1 && lines[0].contains(says), "{words:?}: {answer:?}");
        assert!(!answer.stdout.contains("new work"), "{words:?}: {answer:?}");
        assert!(!answer.stdout.is_empty(), "{words:?}: {answer:?}");
    }
}

fn processor_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_full_disk_lets_what_runs_end_by_its_reserve_and_new_work_wait_until_there_is_room() {
    let Some(small) = Small::new("full-runs", "runs", "size=48m", 2 * 1024 * 1024) else { return };
    let yard = &small.yard;
    write_before_the_rest(yard);
    let daemon = yard.daemon(&[]);
    let reserve = small.volume.join(".reserve");
    let is_whole = || reserve.metadata().is_ok_and(|m| m.len() == 8 * 1024 * 1024);
    yard.until("there is a reserve", is_whole);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    // What is still told of the start would need room.
    yard.until("its status is in step", || {
        let text = fs::read_to_string(yard.run(&job).join("status.json")).unwrap_or_default();
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let journal = yard.site.journal(&job);
        let last = journal.last().map(|line| line["ts"].clone());
        yard.count(&job, "terminal.started") == 2 && last.as_ref() == status.get("updated_at")
    });
    small.fill();
    yard.drop_job("y", "y", "");
    small.until_degraded(&daemon, "root/runs: the disk has ");
    small.until_degraded(&daemon, " left, and new work begins with 2 MiB or more");
    every_reader_says(yard, &job, "root/runs: the disk has ");
    let repo = yard.site.git_repo();
    let words = ["submit", "z", "--plan", "single", "--workspace", repo.to_str().unwrap()];
    let submitted = yard.ask(&words);
    assert_eq!(submitted.code, Some(0), "the spool has room: {submitted:?}");
    assert!(submitted.stderr.contains("no daemon starts new work"), "{submitted:?}");
    assert!(is_whole(), "new work does not use up what is to end the old one");
    yard.let_go("hold-x");
    yard.until_in("done", "x-");
    assert!(!is_whole(), "it was needed");
    assert_eq!(names(&yard.incoming()).len(), 2, "nothing was taken");
    let page = || fs::read_to_string(yard.run(&job).join("report.html")).unwrap_or_default();
    assert!(!page().contains(">succeeded<"), "what was kept for work is not spent on a page");
    let (ticks, since) = (processor_ticks(daemon.pid()), Instant::now());
    yard.until("it has been looked at again", || since.elapsed() > Duration::from_secs(6));
    let ticks = processor_ticks(daemon.pid()) - ticks;
    assert!(ticks <= 6, "{ticks} hundredths of a second in 6 s");
    fs::remove_file(small.filler()).unwrap();
    yard.until_in("done", "y-");
    yard.until("all is done", || yard.names("done").len() == 3);
    yard.until("there is a reserve again", is_whole);
    assert_eq!((yard.facts("degraded").len(), yard.facts("recovered").len()), (1, 1));
    for event in ["job.worker_started", "job.task_completed", "job.finished"] {
        assert_eq!(yard.count(&job, event), 1, "{event}");
    }
    let status = yard.ask(&["status"]);
    assert!(!status.stderr.contains("new work"), "{status:?}");
    assert_eq!(yard.ask(&["open", &job, "--print"]).code, Some(0));
    assert!(page().contains(">succeeded<"), "there is room for it again");
}

#[test]
fn an_agent_that_fails_on_a_full_disk_is_charged_nothing_and_its_job_goes_on_when_there_is_room() {
    let Some(small) = Small::new("full-root", "", "size=6m", 0) else { return };
    let yard = &small.yard;
    let daemon = yard.daemon(&[]);
    small.keep_ready("hold-x");
    small.drop_ready("hold-x");
    yard.until_reached("hold-x");
    small.keep_ready("y");
    small.fill();
    small.drop_ready("y");
    small.until_degraded(&daemon, "No space left on device");
    let job = yard.job("hold-x-").unwrap();
    let refused = yard.ask(&["submit", "z"]);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("No space left on device"), "{refused:?}");
    let worker = yard.worker(&job);
    yard.let_go("hold-x");
    yard.until("its worker leaves", || !yard.processes().contains(&worker));
    assert_eq!(yard.names("claimed").len() + names(&yard.incoming()).len(), 2, "nothing is lost");
    let journal = yard.site.journal(&job);
    assert_eq!(yard.count(&job, "job.finished"), 0, "no job is blamed: {journal:#?}");
    fs::remove_file(small.filler()).unwrap();
    yard.until("both are done", || yard.names("done").len() == 2);
    assert_eq!(yard.count(&job, "job.task_completed"), 1, "one attempt was all it had");
    assert_eq!(yard.count(&job, "job.finished"), 1);
}

#[test]
fn a_full_disk_without_a_reserve_keeps_what_is_to_be_removed_and_nothing_half_copied() {
    let Some(small) = Small::new("full-prune", "", "size=32m", 0) else { return };
    let yard = &small.yard;
    for name in ["own-1", "own-2"] {
        small.keep_ready(name);
        small.drop_ready(name);
    }
    let withdrawn = yard.submit(&["never", "--plan", "single"]);
    assert_eq!(yard.ask(&["kill", &withdrawn]).code, Some(0));
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let jobs = ["own-1-", "own-2-"].map(|start| yard.job(start).unwrap());
    let prune = ["prune", "--keep", "0", "--unmerged", "--yes"];
    for folder in ["spool", "runs", "store"] {
        let reserve = small.volume.join(folder).join(".reserve");
        fs::File::options().write(true).open(reserve).unwrap().set_len(0).unwrap();
    }
    small.fill();
    let refused = yard.ask(&prune);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert_eq!(refused.stderr.matches("No space left on device").count(), 3, "{refused:?}");
    for hint in ["make some room on that disk", "/JOB/TASK/tree-* and *.log are not copied"] {
        assert_eq!(refused.stderr.matches(hint).count(), 1, "it is said once: {refused:?}");
    }
    let copies = fs::read_dir(small.volume.join("store/pruned")).unwrap().flatten();
    let left: Vec<_> = copies.map(|e| e.file_name()).filter(|name| name != ".lock").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(jobs.iter().all(|job| yard.run(job).join("events.ndjson").exists()));
    fs::remove_file(small.filler()).unwrap();
    let removed = yard.ask(&prune);
    assert!(removed.code == Some(0) && removed.stderr.contains("removed 3 jobs"), "{removed:?}");
}

#[test]
fn a_disk_that_can_hold_no_more_files_stops_new_work_and_what_is_removed_lets_it_go_on() {
    let Some(small) = Small::new("inodes", "spool", "size=64m,nr_inodes=200", 0) else { return };
    let yard = &small.yard;
    let daemon = yard.daemon(&[]);
    for stem in ["x", "y"] {
        small.keep_ready(stem);
    }
    small.drop_ready("x");
    let job = yard.until_in("done", "x-");
    let many = small.volume.join("many");
    fs::create_dir(&many).unwrap();
    let made = (0..200).take_while(|n| fs::write(many.join(n.to_string()), "").is_ok()).count();
    assert!(made < 200, "there are too many");
    small.drop_ready("y");
    small.until_degraded(&daemon, "root/spool: 0 more files fit of 200: free some room there");
    every_reader_says(yard, &job, "more files fit of 200");
    assert_eq!(names(&yard.incoming()).len(), 1);
    let waits = yard.ask(&["daemon", "--once"]);
    assert_eq!(waits.code, Some(4), "another one leads: {waits:?}");
    drop(daemon);
    let waits = yard.ask(&["daemon", "--once"]);
    assert_eq!(waits.code, Some(4), "it does not wait for room: {waits:?}");
    let _daemon = yard.spare(&[]);
    fs::remove_dir_all(many).unwrap();
    yard.until_in("done", "y-");
}

#[test]
fn a_root_that_becomes_read_only_is_still_read_and_goes_on_when_it_can_be_written() {
    let yard = Yard::new("read-only");
    let root = yard.site.root();
    let mut command = yard.numerus(&["daemon"]);
    let daemon = yard.site.spawn(command.env("NUMERUS_RESCAN", "1s"));
    yard.drop_job("x", "x", "");
    let job = yard.until_in("done", "x-");
    yard.until("its end is reported", || !yard.facts("ended").is_empty());
    let readers: [&[&str]; 5] = [
        &["status", "--all", "--json"],
        &["status", &job, "--json"],
        &["logs", &job],
        &["events", &job],
        &["wait", &job],
    ];
    let before = readers.map(|words| yard.ask(words));
    let from = root.to_str().unwrap().to_owned();
    let Some(mount) = Mount::over(&root, &["--bind", &from]) else {
        return not_run("the right to mount");
    };
    let done = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&root).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    until_degraded(&yard, &daemon, "root/spool: it is mounted read-only: mount it for writing");
    for (words, before) in readers.iter().zip(&before) {
        let answer = yard.ask(words);
        assert_eq!((answer.code, &answer.stdout), (before.code, &before.stdout), "{words:?}");
        assert!(answer.stderr.contains("it is mounted read-only"), "{answer:?}");
    }
    let (to_submit, to_lead) = ("Read-only file system", "mounted read-only; mount it for writing");
    for (words, said) in [(&["submit", "z"][..], to_submit), (&["daemon", "--once"], to_lead)] {
        let refused = yard.ask(words);
        assert_eq!(refused.code, Some(5), "{refused:?}");
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.wait(crate::site::PATIENCE).code, Some(0));
    let refused = yard.ask(&["daemon"]);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains(to_lead), "{refused:?}");
    let _daemon = {
        drop(mount);
        yard.daemon(&[])
    };
    yard.drop_job("y", "y", "");
    yard.until_in("done", "y-");
}

#[test]
fn a_daemon_that_may_open_no_more_files_waits_until_it_may_and_says_so_to_every_command() {
    let yard = Yard::new("handles");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    let usual = open_files(pid);
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), ..usual }).unwrap();
    yard.drop_job("y", "y", "");
    until_degraded(&yard, &daemon, "Too many open files");
    every_reader_says(&yard, &job, "raise the limit of open files");
    yard.let_go("hold-x");
    yard.until_in("done", "x-");
    assert_eq!(names(&yard.incoming()), ["y.md"]);
    prlimit(pid, Resource::Nofile, usual).unwrap();
    yard.until_in("done", "y-");
    assert_eq!((yard.facts("degraded").len(), yard.facts("recovered").len()), (1, 1));
    assert_eq!(yard.count(&job, "job.finished"), 1);
}

fn open_files(pid: Option<Pid>) -> Rlimit {
    let pid = pid.unwrap().as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().skip(3).map(|word| word.parse::<u64>().ok());
    Rlimit { current: numbers.next().flatten(), maximum: numbers.next().flatten() }
}

/// Watches are limited for each user namespace, so that one of its own can have none without taking them from others.
#[test]
fn a_daemon_without_watches_looks_instead_and_watches_again_once_it_can() {
    let yard = Yard::new("watches");
    let mut command = yard.site.command("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    let limit = yard.path("limit");
    let set = "echo 0 > /proc/sys/user/max_inotify_instances || exit 9; \"$0\" daemon & \
               until [ -e \"$1\" ]; do sleep 0.05; done; \
               echo 100 > /proc/sys/user/max_inotify_instances; wait";
    command.arg(set).arg(env!("CARGO_BIN_EXE_numerus")).arg(&limit);
    let mut daemon = yard.site.spawn(command.env("NUMERUS_ROOT", yard.site.root()));
    yard.until("it leads, or cannot be set up", || {
        !yard.facts("trouble").is_empty() || daemon.ends_within(Duration::ZERO).is_some()
    });
    if yard.facts("trouble").is_empty() {
        return not_run("user namespaces with a limit on inotify of their own");
    }
    yard.drop_job("x", "x", "");
    yard.until_in("done", "x-");
    assert_eq!(yard.facts("trouble").len(), 1, "it is said once");
    fs::write(limit, "").unwrap();
    yard.until("it watches again", || !yard.facts("recovered").is_empty());
    let said = yard.facts("recovered");
    assert_eq!(
        said,
        [json!({"reason": "the kernel has no more watches to give: looking every 2 s"})]
    );
    yard.drop_job("y", "y", "");
    yard.until_in("done", "y-");
}
