//! Numerus as it is measured: the released program on a root of its own, with this program as its agent, which plays a
//! script as the stand-in does and tells when each session starts and ends.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::marks::{self, Kind};
use crate::scratch::{Running, Scratch, quiet, until, until_every};

/// Beside the agent: how many messages it prints before it plays, and how many bytes in lines of which length.
const TALK: &str = "talk";
const FLOOD: &str = "flood";
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Room on the disk with which a measure's daemon takes jobs, in bytes: also where 2 % of a large disk would be more than that.
const MIN_FREE: u64 = 256 << 20;
/// Most looks at a folder's time without one into it.
const UNSEEN: u32 = 25;

/// Plays one call of codex; a session is told of.
pub(crate) fn be_the_agent(
    own: &OsStr,
    words: impl Iterator<Item = OsString>,
    started: u64,
) -> ExitCode {
    let words: Vec<OsString> = words.collect();
    if words.first().is_some_and(|word| word == "sandbox") {
        return confined();
    }
    let is_session = words.first().is_some_and(|word| word == "exec");
    let mark = |name| std::env::var(name).unwrap_or_default();
    let name = format!("{}/{}", mark("NUMERUS_JOB"), mark("NUMERUS_TASK"));
    if is_session {
        marks::tell(own, Kind::Start, started, &name);
        if let Err(error) = flood(own).and_then(|()| talk(own, &mark("NUMERUS_TASK"))) {
            eprintln!("the agent cannot print: {error}");
            return ExitCode::FAILURE;
        }
    }
    let code = ::numerus::standin::run(words);
    if is_session {
        marks::tell(own, Kind::End, marks::now(), &name);
    }
    ExitCode::from(code)
}

/// What comes of the look whether commands are confined, where they are: nothing here needs to be, since no command runs.
fn confined() -> ExitCode {
    fs::write("written", "x\n").map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// The numbers in a file beside the agent; none when there is no such file.
fn wish(own: &OsStr, name: &str) -> Vec<usize> {
    let text = fs::read_to_string(Path::new(own).with_file_name(name)).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Prints lines of one length as fast as they are read, if that is wished, and tells when it begins and when it is done.
fn flood(own: &OsStr) -> io::Result<()> {
    let [bytes, line] = wish(own, FLOOD)[..] else { return Ok(()) };
    let mut text = vec![b'x'; line.saturating_sub(1)];
    text.push(b'\n');
    let mut out = io::stdout().lock();
    marks::tell(own, Kind::Said, marks::now(), "begins");
    // A line leaves the agent in one write, as codex's do.
    for _ in 0..bytes / line.max(1) {
        out.write_all(&text)?;
    }
    out.flush()?;
    marks::tell(own, Kind::Said, marks::now(), "ends");
    Ok(())
}

/// Prints messages one after the other, if that is wished, and tells of each.
fn talk(own: &OsStr, place: &str) -> io::Result<()> {
    let [lines] = wish(own, TALK)[..] else { return Ok(()) };
    for number in 0..lines {
        crate::scratch::pause(Duration::from_millis(20));
        let said = format!("said-{place}-{number}");
        let item = json!({"id": format!("item_{number}"), "type": "agent_message", "text": said});
        let line = format!("{}\n", json!({"type": "item.completed", "item": item}));
        let at = marks::now();
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()?;
        marks::tell(own, Kind::Said, at, &said);
    }
    Ok(())
}

/// A task of a plan: its name and those it comes after.
pub(crate) type Node = (String, Vec<String>);

/// A script for jobs of these tasks: each claims and writes a file of its own, after `think` milliseconds.
pub(crate) fn script(nodes: &[Node], think: u64) -> Value {
    let file = |task: &str| format!("{task}.txt");
    let task = |(id, after): &Node| {
        json!({"id": id, "summary": id, "description": format!("Write {}.", file(id)), "dependencies": after,
               "resources": {"reads": [], "writes": [file(id)]}})
    };
    let role = |(id, _): &Node| json!({"id": id, "role": "executor", "notes": ""});
    let tasks: Vec<Value> = nodes.iter().map(task).collect();
    let roles: Vec<Value> = nodes.iter().map(role).collect();
    let own = file("{{task}}");
    let claim = json!({"task_id": "{{task}}", "execution": {"commands": []},
                       "resources": {"reads": [], "writes": [own]}});
    let thinks = json!({"sleep_ms": think});
    json!({"version": 1, "scenes": [
        {"when": {"marker": "NUMERUS_PLAN"}, "play": [thinks, {"message": {"objective": "{{objective}}", "tasks": tasks}}]},
        {"when": {"marker": "NUMERUS_ROLES"}, "play": [thinks, {"message": {"strategy": "in order", "roles": roles}}]},
        {"when": {"marker": "NUMERUS_CLAIM"}, "play": [thinks, {"message": claim}]},
        {"when": {"marker": "NUMERUS_EXECUTE"}, "play": [thinks, {"write": {"path": own, "text": "x\n"}}, {"message": "done"}]},
    ]})
}

/// The script for jobs of one task.
pub(crate) fn one_task(think: u64) -> Value {
    script(&[("t1".to_owned(), Vec::new())], think)
}

/// A script whose agents wait until they are told to end.
pub(crate) fn hanging() -> Value {
    let mut script = one_task(0);
    if let Some(scenes) = script["scenes"].as_array_mut() {
        for scene in scenes {
            scene["play"] = json!([{"hang": true}]);
        }
    }
    script
}

/// A root of Numerus.
pub(crate) struct Ours {
    /// Where everything of it lies.
    pub(crate) scratch: Scratch,
    root: PathBuf,
    daemon: Option<Running>,
}

impl Ours {
    /// A root whose agent plays a script; further settings as they stand in `numerus.toml`.
    pub(crate) fn new(script: &Value, settings: &str) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let root = scratch.dir("root")?;
        scratch.dir("codex-home")?;
        fs::write(scratch.path("script.json"), script.to_string())?;
        // A text of JSON is one of TOML.
        let word = |path: PathBuf| Value::from(path.to_string_lossy()).to_string();
        let text = format!(
            "codex_bin = {}\ncodex_home = {}\nenv = [\"NUMERUS_STANDIN_SCRIPT\"]\nmin_free = {MIN_FREE}\n{settings}",
            word(scratch.marks.agent()),
            word(scratch.path("codex-home"))
        );
        fs::write(root.join("numerus.toml"), text)?;
        fs::create_dir_all(root.join("spool/incoming"))?;
        Ok(Self { scratch, root, daemon: None })
    }

    /// A call of the program.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = quiet(program(), self.scratch.path("").as_path());
        command.arg("--root").arg(&self.root).args(words);
        command.env("NUMERUS_STANDIN_SCRIPT", self.scratch.path("script.json"));
        command
    }

    /// Lets another program be the agent.
    pub(crate) fn asks(&self, agent: &Path) -> io::Result<()> {
        let path = self.root.join("numerus.toml");
        let text = fs::read_to_string(&path)?;
        let rest = text.lines().filter(|line| !line.starts_with("codex_bin"));
        let first = format!("codex_bin = {}", Value::from(agent.to_string_lossy()));
        let lines: Vec<&str> = std::iter::once(first.as_str()).chain(rest).collect();
        fs::write(path, lines.join("\n"))
    }

    /// Starts the daemon and waits until it takes files.
    pub(crate) fn start(&mut self, max_jobs: usize) -> io::Result<()> {
        let jobs = max_jobs.to_string();
        // What it works on ends with it, so that nothing of a measure is left.
        let mut command = self.command(&["daemon", "--stop-jobs", "--max-jobs", &jobs]);
        let log = self.path("store/daemon.ndjson");
        let starts =
            || fs::read_to_string(&log).unwrap_or_default().matches("daemon_started").count();
        let before = starts();
        self.daemon = Some(Running::start(&mut command)?);
        until("the daemon has started", PATIENCE, || Ok(starts() > before))
    }

    /// Ends the daemon, and with it what it works on.
    pub(crate) fn stop(&mut self) {
        self.daemon = None;
    }

    /// The number of the daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Running::pid)
    }

    /// Lets each session print so many messages before it plays.
    pub(crate) fn lets_agent_talk(&self, lines: usize) -> io::Result<()> {
        fs::write(self.scratch.path(TALK), lines.to_string())
    }

    /// Lets each session print so many bytes in lines of this length before it plays.
    pub(crate) fn lets_agent_flood(&self, bytes: usize, line: usize) -> io::Result<()> {
        fs::write(self.scratch.path(FLOOD), format!("{bytes} {line}"))
    }

    /// The number of the process that works on the first job that was started.
    pub(crate) fn worker(&self) -> io::Result<u32> {
        let log = fs::read_to_string(self.path("store/daemon.ndjson"))?;
        let facts = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut started = facts.filter(|fact| fact["event"] == "started");
        let pid = started.next().and_then(|fact| fact["payload"]["pid"].as_u64());
        pid.and_then(|pid| u32::try_from(pid).ok()).ok_or_else(|| io::Error::other("no worker"))
    }

    /// A path below the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Drops a job as anybody would, by writing aside and renaming; the answer is the moment before.
    pub(crate) fn drop_job(&self, name: &str, front: &str) -> io::Result<u64> {
        let incoming = self.path("spool/incoming");
        let (aside, whole) =
            (incoming.join(format!("{name}.md.tmp")), incoming.join(format!("{name}.md")));
        let text =
            if front.is_empty() { "x\n".to_owned() } else { format!("---\n{front}\n---\nx\n") };
        let before = marks::now();
        fs::write(&aside, text)?;
        fs::rename(aside, whole)?;
        Ok(before)
    }

    /// How many entries a folder of the root has.
    pub(crate) fn count(&self, folder: &str) -> usize {
        fs::read_dir(self.path(folder)).map_or(0, Iterator::count)
    }

    /// Waits until so many jobs are done; one that failed is an error. Many are looked for less often: each look reads all names.
    pub(crate) fn wait_done(&self, jobs: usize, patience: Duration) -> io::Result<()> {
        let places = ["spool/done", "spool/failed", "spool/rejected"].map(|place| self.path(place));
        let rest = Duration::from_millis(if jobs > 100 { 50 } else { 2 });
        let (mut before, mut unseen) = (None, 0);
        until_every(rest, "the jobs are done", patience, || {
            // To open a folder wakes a daemon that watches it, to ask when it changed does not. Two changes may have one time.
            let times = places.each_ref().map(|place| fs::metadata(place)?.modified());
            let times: io::Result<Vec<SystemTime>> = times.into_iter().collect();
            unseen += 1;
            if before.replace(times?) == before && unseen < UNSEEN {
                return Ok(false);
            }
            unseen = 0;
            let failed = self.count("spool/failed") + self.count("spool/rejected");
            if failed > 0 {
                return Err(io::Error::other(format!("{failed} jobs failed")));
            }
            Ok(self.count("spool/done") >= jobs)
        })
    }
}

/// The released program.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_numerus"))
}
