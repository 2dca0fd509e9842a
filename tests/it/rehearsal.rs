//! Whole jobs with the built-in stand-in: scripts made of tasks, a job and what is left of it.
//!
//! A script has a scene for every session of every task; a test puts its own scenes before them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::site::{Ended, PATIENCE, Running, Site, processes_with_env};

/// One task of a scripted plan.
#[derive(Clone)]
pub(crate) struct Part {
    id: String,
    after: Vec<String>,
    writes: Vec<String>,
    role: String,
}

/// An executor that claims and writes `<id>.txt`.
pub(crate) fn part(id: &str) -> Part {
    Part {
        id: id.to_owned(),
        after: Vec::new(),
        writes: vec![format!("{id}.txt")],
        role: "executor".to_owned(),
    }
}

impl Part {
    pub(crate) fn after(mut self, ids: &[&str]) -> Self {
        self.after = ids.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    pub(crate) fn writes(mut self, paths: &[&str]) -> Self {
        self.writes = paths.iter().map(|path| (*path).to_owned()).collect();
        self
    }

    pub(crate) fn role(mut self, role: &str) -> Self {
        role.clone_into(&mut self.role);
        self
    }

    fn planned(&self) -> Value {
        json!({"id": self.id, "summary": format!("Do {}", self.id), "description": format!("All of {}.", self.id),
               "dependencies": self.after, "resources": {"reads": [], "writes": self.writes}})
    }

    fn assigned(&self) -> Value {
        json!({"id": self.id, "role": self.role, "notes": ""})
    }

    /// Appends, so that a second run of the same task would show.
    fn written(&self) -> Vec<Value> {
        let append = |path: &String| json!({"write": {"path": path, "text": format!("{}\n", self.id), "append": true}});
        self.writes.iter().map(append).collect()
    }
}

/// What the agent says, scene by scene.
#[derive(Clone)]
pub(crate) struct Script {
    parts: Vec<Part>,
    own: Vec<Value>,
}

impl Script {
    pub(crate) fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        Self { parts: parts.into_iter().collect(), own: Vec::new() }
    }

    /// Adds a scene that is tried before those made of the parts, after those added so far.
    pub(crate) fn with(mut self, when: impl Into<Value>, play: impl Into<Value>) -> Self {
        self.own.push(json!({"when": when.into(), "play": play.into()}));
        self
    }

    /// Adds a scene for the execution of a task: these steps, what its part writes, and a last word.
    pub(crate) fn working(self, task: &str, steps: &[Value]) -> Self {
        let part = self.parts.iter().find(|p| p.id == task).unwrap().clone();
        let play: Vec<Value> = steps
            .iter()
            .cloned()
            .chain(part.written())
            .chain([json!({"message": "done"})])
            .collect();
        self.with(execute(task), json!(play))
    }

    /// Adds a scene for the plan: these steps, and the plan of the parts.
    pub(crate) fn planning(self, steps: &[Value]) -> Self {
        let play = [steps, &[self.plan()]].concat();
        self.with(json!({"marker": "NUMERUS_PLAN"}), json!(play))
    }

    fn plan(&self) -> Value {
        let planned: Vec<Value> = self.parts.iter().map(Part::planned).collect();
        json!({"message": {"objective": "{{objective}}", "tasks": planned}})
    }

    fn scenes(&self) -> Vec<Value> {
        let mut scenes = self.own.clone();
        let mut add = |when: Value, play: Value| scenes.push(json!({"when": when, "play": play}));
        let assigned: Vec<Value> = self.parts.iter().map(Part::assigned).collect();
        add(json!({"marker": "NUMERUS_PLAN"}), json!([self.plan()]));
        add(
            json!({"marker": "NUMERUS_ROLES"}),
            json!([{"message": {"roles": assigned, "strategy": "in order"}}]),
        );
        for part in &self.parts {
            add(claim(&part.id), json!([claims(&part.writes)]));
            let mut play = part.written();
            play.push(json!({"message": format!("{} is done", part.id)}));
            add(execute(&part.id), json!(play));
        }
        let approval = json!({"message": {"verdict": "approve", "comments": []}});
        add(json!({"marker": "NUMERUS_REVIEW"}), json!([approval]));
        scenes
    }
}

/// When a task is asked what it will touch.
pub(crate) fn claim(task: &str) -> Value {
    json!({"marker": "NUMERUS_CLAIM", "task": task})
}

/// When a task is to do its work.
pub(crate) fn execute(task: &str) -> Value {
    json!({"marker": "NUMERUS_EXECUTE", "task": task})
}

/// The same, but only the given calls of it, counted from 1.
pub(crate) fn on_calls(mut when: Value, calls: &[u32]) -> Value {
    when["calls"] = json!(calls);
    when
}

/// The step that answers with a claim of these paths.
pub(crate) fn claims<S: AsRef<str>>(writes: &[S]) -> Value {
    let writes: Vec<&str> = writes.iter().map(AsRef::as_ref).collect();
    claims_reading(&[], &writes)
}

/// The step that answers with a claim that reads some paths and writes others.
pub(crate) fn claims_reading(reads: &[&str], writes: &[&str]) -> Value {
    json!({"message": {"task_id": "{{task}}", "resources": {"reads": reads, "writes": writes}, "execution": {"commands": []}}})
}

/// Plays jobs of one script on one workspace.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) workspace: PathBuf,
}

impl Stage {
    /// On a fresh repository.
    pub(crate) fn new(name: &str, script: &Script) -> Self {
        let site = Site::new(name);
        let workspace = site.git_repo();
        Self::at(site, workspace, script)
    }

    /// On a directory of the caller's choice.
    pub(crate) fn at(site: Site, workspace: PathBuf, script: &Script) -> Self {
        fs::write(
            site.root().join("numerus.toml"),
            "rehearsal_commands = true\nverify_unsandboxed = true\n",
        )
        .unwrap();
        let stage = Self { site, workspace };
        stage.follow(script);
        stage
    }

    /// Changes the script for the sessions to come.
    pub(crate) fn follow(&self, script: &Script) {
        let text = json!({"version": 1, "scenes": script.scenes()}).to_string();
        let outside = self.site.path().to_str().unwrap();
        fs::write(self.script(), text.replace(OUTSIDE, outside)).unwrap();
    }

    fn script(&self) -> PathBuf {
        self.site.path().join("script.json")
    }

    /// A file of the world outside, for `touch_ready` and `wait_for`.
    /// A file of the world outside the job, for `touch_ready` and `wait_for`.
    pub(crate) fn flag(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    /// Raises a flag that a script waits for.
    pub(crate) fn raise(&self, name: &str) {
        fs::write(self.flag(name), "").unwrap();
    }

    /// Waits until a script has raised a flag.
    pub(crate) fn until_raised(&self, name: &str) {
        self.site.until(name, PATIENCE, || self.flag(name).exists());
    }

    /// The program under test, without any codex to find.
    pub(crate) fn numerus(&self, args: &[&str]) -> Command {
        let mut command = self.site.command(env!("CARGO_BIN_EXE_numerus"));
        command.env("NUMERUS_ROOT", self.site.root()).env("CODEX_BIN", "/nonexistent").args(args);
        command
    }

    /// Runs a command of the program to its end.
    pub(crate) fn call(&self, args: &[&str]) -> Ended {
        self.site.run(&mut self.numerus(args))
    }

    /// As [`Stage::call`], with a yes for whoever asks.
    pub(crate) fn agree(&self, args: &[&str]) -> Ended {
        self.site.run_typing("y\n", &mut self.numerus(args))
    }

    fn words(&self, flags: &[&str]) -> Command {
        let mut command = self.numerus(&["run", "do it", "--workspace"]);
        command
            .arg(&self.workspace)
            .arg(format!("--rehearse={}", self.script().display()))
            .args(flags);
        command
    }

    /// Runs a job to its end.
    pub(crate) fn run(&self, flags: &[&str]) -> (Ended, Job<'_>) {
        let before = self.site.jobs();
        let ended = self.site.run(&mut self.words(flags));
        let job = self.site.jobs().into_iter().find(|job| !before.contains(job));
        let id = job.unwrap_or_else(|| panic!("no job came of it: {ended:?}"));
        (ended, Job { stage: self, id })
    }

    /// Runs a job that ends with this exit code.
    pub(crate) fn ends_with(&self, code: i32, flags: &[&str]) -> Job<'_> {
        let (ended, job) = self.run(flags);
        assert_eq!(ended.code, Some(code), "{ended:?}\n{}", self.site.dump());
        job
    }

    /// Starts a job; gives it back once it has a journal.
    pub(crate) fn start(&self, flags: &[&str]) -> (Running, Job<'_>) {
        let before = self.site.jobs();
        let running = self.site.spawn(&mut self.words(flags));
        let mut found = None;
        self.site.until("the job is taken", PATIENCE, || {
            found = self
                .site
                .jobs()
                .into_iter()
                .find(|job| !before.contains(job) && !self.site.journal(job).is_empty());
            found.is_some()
        });
        (running, Job { stage: self, id: found.unwrap() })
    }

    /// Starts many jobs at once.
    pub(crate) fn crowd(&self, jobs: usize, flags: &[&str]) -> Vec<Running> {
        (0..jobs).map(|_| self.site.spawn(&mut self.words(flags))).collect()
    }

    /// All jobs.
    pub(crate) fn all_jobs(&self) -> Vec<Job<'_>> {
        self.site.jobs().into_iter().map(|id| Job { stage: self, id }).collect()
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.site.git(&self.workspace, args)
    }
}

impl Drop for Stage {
    /// A worker outlives the command that started it: after a failed test it would go on with what nobody looks at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for job in self.site.jobs() {
                let _ended_or_past_help = self.numerus(&["kill", &job]).output();
            }
        }
    }
}

/// A job and what is left of it.
pub(crate) struct Job<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) id: String,
}

impl Job<'_> {
    pub(crate) fn dir(&self) -> PathBuf {
        self.stage.site.root().join("runs").join(&self.id)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.dir().join(name);
        fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{name}: {e}\n{}", self.stage.site.dump()))
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.stage.site.journal(&self.id)
    }

    /// The events of one name, of one task where one is given.
    pub(crate) fn all(&self, event: &str, task: &str) -> Vec<Value> {
        let fits = |e: &Value| e["event"] == event && (task.is_empty() || e["task_id"] == task);
        self.events().into_iter().filter(fits).collect()
    }

    /// The place in the journal of the first event of that name and task.
    pub(crate) fn at(&self, event: &str, task: &str) -> u64 {
        let all = self.all(event, task);
        let first = all
            .first()
            .unwrap_or_else(|| panic!("no {event} of {task:?}\n{}", self.stage.site.dump()));
        first["seq"].as_u64().unwrap()
    }

    /// Waits until the journal has such an event.
    pub(crate) fn until(&self, event: &str, task: &str) {
        self.stage.site.until(event, PATIENCE, || !self.all(event, task).is_empty());
    }

    pub(crate) fn status(&self) -> Value {
        self.json("status.json")
    }

    /// State and reason.
    pub(crate) fn stands(&self) -> (String, String) {
        let status = self.status();
        let word = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
        (word("state"), word("reason"))
    }

    /// Each task with its state.
    pub(crate) fn tasks(&self) -> Vec<String> {
        let status = self.status();
        let of =
            |t: &Value| format!("{} {}", t["id"].as_str().unwrap(), t["state"].as_str().unwrap());
        status["tasks"].as_array().unwrap().iter().map(of).collect()
    }

    pub(crate) fn branch(&self) -> String {
        format!("numerus/{}", self.id)
    }

    /// The tasks of the job's own commits on its branch, oldest first.
    pub(crate) fn landed(&self) -> Vec<String> {
        let format = "--format=%(trailers:key=Numerus-Job,valueonly,separator=%x2C) %(trailers:key=Numerus-Task,valueonly,separator=%x2C)";
        let log = self.stage.git(&[
            "log",
            "--reverse",
            "--no-merges",
            format,
            &self.branch(),
            "--not",
            "main",
        ]);
        let own = |line: &str| Some(line.strip_prefix(&self.id)?.trim().to_owned());
        log.lines().filter_map(own).collect()
    }

    /// A file of the branch.
    pub(crate) fn on_branch(&self, path: &str) -> Option<String> {
        let spec = format!("{}:{path}", self.branch());
        let shown = self.stage.site.run(
            self.stage
                .site
                .command("git")
                .arg("-C")
                .arg(&self.stage.workspace)
                .args(["show", &spec]),
        );
        (shown.code == Some(0)).then_some(shown.stdout)
    }

    /// The attempts that counted against a task or the planning: failures of the agent.
    pub(crate) fn charged(&self, task: &str) -> usize {
        let is_charged = |e: &Value| e["payload"]["failure"]["kind"] == "task";
        let names = ["job.task_retried", "job.task_failed", "job.planning_retried"];
        let all = names.iter().flat_map(|name| self.all(name, task));
        all.filter(is_charged).count()
    }

    /// The process of the newest worker.
    pub(crate) fn worker(&self) -> Pid {
        let starts = self.all("job.worker_started", "");
        let pid = starts.last().unwrap()["payload"]["pid"].as_i64().unwrap();
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    /// Ends the newest worker in a way that it cannot know of.
    pub(crate) fn slay_worker(&self) {
        // One that has just ended by itself is gone all the same.
        let _gone = kill_process(self.worker(), Signal::KILL);
    }

    /// Lets a new worker go on with the job, to its end.
    pub(crate) fn go_on(&self) -> Ended {
        self.stage.call(&["worker", &self.id])
    }

    /// Nothing of the job lives, no lease is left, and its journal counts without a gap.
    pub(crate) fn is_clean(&self) {
        assert_eq!(processes_with_env("NUMERUS_JOB", &self.id), [0_u32; 0]);
        assert_eq!(self.leases(), [""; 0], "{}", self.stage.site.dump());
        let seqs: Vec<u64> = self.events().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
        let expected: Vec<u64> = (1..=seqs.len() as u64).collect();
        assert_eq!(seqs, expected);
    }

    /// The lease files of the workspace, held or waiting.
    pub(crate) fn leases(&self) -> Vec<String> {
        let dirs = [
            self.stage.workspace.join(".git/numerus/leases"),
            self.stage.site.root().join("store/leases"),
        ];
        let files = dirs
            .iter()
            .flat_map(|dir| walkdir::WalkDir::new(dir).into_iter().filter_map(Result::ok));
        let names = files
            .filter(|e| e.file_type().is_file())
            .filter_map(|e| e.file_name().to_str().map(str::to_owned));
        names.filter(|name| Path::new(name).extension().is_some_and(|e| e == "json")).collect()
    }
}

/// The pids of living processes whose command line has this piece.
pub(crate) fn processes_called(piece: &str) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let says = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&line).replace('\0', " ");
        words.split(' ').any(|word| word == piece)
    };
    pids.filter(says).collect()
}

/// A time to sleep that no other process sleeps, recognisable in a command line.
pub(crate) fn unmistakable_time() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("1000.{:08}{:03}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Stands in a script for the folder of the site, where the flags lie.
pub(crate) const OUTSIDE: &str = "@OUTSIDE@";

/// A step that waits for a flag; it fails the turn when nobody raises it.
pub(crate) fn wait_for(flag: &str) -> Value {
    let patience = u64::try_from(PATIENCE.as_millis()).unwrap();
    json!({"wait_for": {"path": format!("{OUTSIDE}/{flag}"), "deadline_ms": patience}})
}

/// A step that raises a flag.
pub(crate) fn raise(flag: &str) -> Value {
    json!({"touch_ready": {"path": format!("{OUTSIDE}/{flag}")}})
}
