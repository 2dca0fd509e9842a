//! Floods and long histories: the daemon's memory and its first taking do not depend on how many files wait, each job of a
//! flood runs once, and thousands of jobs are taken up again at once.
//!
//! Short: 20,000 files and 1,000 jobs. Long: 1,000,000 files, of which as many are carried through as the time allows, and
//! 10,000 jobs. The bounds of a long run are those that are promised, of a program that was built to be released; a short one
//! may be of any build and on any machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::{Value, json};

use crate::ledger::Bounds;

/// Most memory that the daemon may take, in KiB.
const MEMORY: u64 = 100 * 1024;
/// How long a thing may take that should take no time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The trials of this proof.
pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("scale", scale)]
}

fn scale() -> Result<(), Failed> {
    let bounds = Bounds::of("scale", 20);
    let is_long = bounds.is_long();
    let (files, jobs) = if is_long { (1_000_000, 10_000) } else { (20_000, 1_000) };
    let recovery = recover(jobs);
    let flood = flood(files, &bounds);
    let (first, all) = if is_long {
        (Duration::from_secs(1), Duration::from_secs(2))
    } else {
        (Duration::from_secs(10), Duration::from_secs(20))
    };
    let figures = json!({
        "files": files, "first_taken_ms": flood.first.as_millis(), "peak_kib": flood.peak,
        "taken": flood.taken, "jobs_recovered": jobs, "recovery_ms": recovery.took.as_millis(),
        "recovery_processor_ms": recovery.worked.as_millis(),
    });
    eprintln!("scale: {} done, {figures}", flood.done);
    let faults = [
        (flood.first > first, "the first file was taken too late"),
        (flood.peak > MEMORY, "the daemon took too much memory"),
        (flood.twice > 0, "a job ran twice"),
        // Of its own time: how long it takes beside others is theirs to answer for.
        (recovery.worked > all, "the jobs were taken up too slowly"),
    ];
    let faults: Vec<&str> = faults.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    bounds.record(flood.done, faults.len() as u64, &figures);
    if faults.is_empty() { Ok(()) } else { Err(format!("{faults:?}: {figures}").into()) }
}

/// A scratch root, in memory where there is some, whose agent is played.
struct Root {
    folder: tempfile::TempDir,
}

impl Root {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let shelf = if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        let folder = tempfile::Builder::new().prefix("numerus-scale-").tempdir_in(shelf).unwrap();
        let claim = json!({"task_id": "{{task}}", "execution": {"commands": []},
                           "resources": {"reads": [], "writes": ["out.txt"]}});
        let write = json!({"write": {"path": "out.txt", "text": "x\n"}});
        let script = json!({"version": 1, "scenes": [
            {"when": {"marker": "NUMERUS_CLAIM"}, "play": [{"message": claim}]},
            {"when": {"marker": "NUMERUS_EXECUTE"}, "play": [write, {"message": "done"}]},
        ]});
        let root = Self { folder };
        fs::write(root.path("script.json"), script.to_string()).unwrap();
        let settings = format!("rehearse = \"{}\"\n", root.path("script.json").display());
        fs::write(root.path("numerus.toml"), settings).unwrap();
        fs::create_dir_all(root.path("spool/incoming")).unwrap();
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn daemon(&self, words: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_numerus"));
        command.arg("--root").arg(self.folder.path()).arg("daemon").args(words);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().unwrap()
    }

    /// Drains the spool; the answer is how long that took.
    fn drain(&self) -> Drained {
        let (started, mut daemon) = (Instant::now(), self.daemon(&["--once"]));
        let (id, left) = (WaitId::Pid(Pid::from_child(&daemon)), WaitIdOptions::NOWAIT);
        waitid(id, WaitIdOptions::EXITED | left).unwrap();
        let (took, worked) = (started.elapsed(), processor_time(daemon.id()));
        daemon.wait().unwrap();
        Drained { took, worked }
    }

    fn drop_file(&self, name: &str, further: &str) {
        let text = format!("---\nplan: single\nmax_attempts: 1\n{further}---\nx\n");
        fs::write(self.path("spool/incoming").join(name), text).unwrap();
    }

    fn count(&self, folder: &str) -> usize {
        fs::read_dir(self.path(folder)).map_or(0, Iterator::count)
    }
}

/// How long a daemon took to drain a spool.
struct Drained {
    took: Duration,
    /// Of the processor.
    worked: Duration,
}

/// The processor time of a process so far.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    // Linux shows a hundred ticks a second, whatever its clock does.
    Duration::from_millis(ticks * 10)
}

fn until(what: &str, deadline: Duration, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < deadline, "{what}: not so after {deadline:?}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// How long a daemon takes to take up so many jobs, half of which have ended and half of which wait for their time: each as
/// a daemon left it, but for its name.
fn recover(jobs: usize) -> Drained {
    let root = Root::new();
    root.drop_file("ended.md", "");
    root.drop_file("waits.md", "not_before: 2999-01-01T00:00:00Z\n");
    root.drain();
    let ids = || fs::read_dir(root.path("runs")).unwrap().flatten().map(|e| e.file_name());
    let ids: Vec<String> = ids().filter_map(|n| n.into_string().ok()).collect();
    for (stem, place) in [("ended-", "done"), ("waits-", "claimed")] {
        let id = ids.iter().find(|id| id.starts_with(stem)).unwrap();
        for number in 1..jobs / 2 {
            multiply(&root, id, place, &format!("{stem}{number}-abcdef"));
        }
    }
    assert_eq!((root.count("spool/done"), root.count("spool/claimed")), (jobs / 2, jobs / 2));
    fs::remove_file(root.path("store/tasks.db")).unwrap();
    let took = root.drain();
    let log = fs::read_to_string(root.path("store/daemon.ndjson")).unwrap();
    assert!(!log.contains("\"repaired\"") && !log.contains("\"trouble\""), "nothing was wrong");
    assert_eq!((root.count("spool/done"), root.count("spool/claimed")), (jobs / 2, jobs / 2));
    took
}

fn multiply(root: &Root, id: &str, place: &str, new: &str) {
    let (from, to) = (root.path("runs").join(id), root.path("runs").join(new));
    fs::create_dir(&to).unwrap();
    for name in ["job.json", "objective.md", "events.ndjson", "status.json", "worker.lock"] {
        let text = fs::read_to_string(from.join(name)).unwrap();
        fs::write(to.join(name), text.replace(id, new)).unwrap();
    }
    let folder = root.path("spool").join(place);
    fs::copy(folder.join(format!("{id}.md")), folder.join(format!("{new}.md"))).unwrap();
}

/// What a flood has shown.
struct Flood {
    first: Duration,
    peak: u64,
    taken: usize,
    done: u64,
    twice: usize,
}

/// So many files lie there when the daemon starts. A short run carries some of them through, a long one as many as it can.
fn flood(files: usize, bounds: &Bounds) -> Flood {
    let root = Root::new();
    for number in 0..files {
        root.drop_file(&format!("f{number}.md"), "");
    }
    let (started, mut daemon) = (Instant::now(), root.daemon(&["--max-jobs", "4"]));
    // The run folder is made before the file is taken, the file's place tells that it was.
    until("the first is taken", PATIENCE, || root.count("spool/claimed") > 0);
    let first = started.elapsed();
    while bounds.allow(root.count("spool/done") as u64) {
        thread::park_timeout(Duration::from_millis(100));
        assert!(daemon.try_wait().unwrap().is_none(), "the daemon stays up");
        assert!(started.elapsed() < PATIENCE || bounds.is_long(), "too few are done");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.split_whitespace().next().unwrap().parse().unwrap();
    for _ in 0..2 {
        // Twice: the workers are to leave, too.
        kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    }
    daemon.wait().unwrap();
    let (done, twice) = judge(&root);
    let taken = files - root.count("spool/incoming");
    assert_eq!(root.count("spool/failed") + root.count("spool/rejected"), 0, "all are good");
    Flood { first, peak, taken, done, twice }
}

/// How many jobs are done, and how many files became more than one job or were started more than once.
fn judge(root: &Root) -> (u64, usize) {
    let log = fs::read_to_string(root.path("store/daemon.ndjson")).unwrap();
    let facts: Vec<Value> = log.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let named = |event: &str, key: &str| -> Vec<String> {
        let of_event = facts.iter().filter(|fact| fact["event"] == event);
        of_event.map(|fact| fact["payload"][key].as_str().unwrap().to_owned()).collect()
    };
    let again = |names: Vec<String>| names.len() - names.iter().collect::<BTreeSet<_>>().len();
    let twice = again(named("taken", "name")) + again(named("started", "job"));
    (root.count("spool/done") as u64, twice)
}
