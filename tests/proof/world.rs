//! A scratch world for one case: a root whose agent is the stand-in with a script, a home, and the commands that run there.
//!
//! It lies in memory (`/dev/shm`) where that can be written, since thousands are made; whatever still runs in it is ended with it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long a command may take that should take no time: generous, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The scratch world; see the head of this file.
pub(crate) struct World {
    folder: tempfile::TempDir,
    /// Where logs lie, and the repository of a world in memory: no job may work below `/dev`.
    abroad: tempfile::TempDir,
    /// Whether the repository lies beside the root.
    has_repository: bool,
    is_mount: bool,
    bug: Option<String>,
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it, or it was stopped for taking too long.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Whether it took longer than allowed, and was ended.
    pub(crate) hung: bool,
}

impl World {
    /// Makes a world with an empty root. Every job there writes its objective as a line into `out.txt`.
    pub(crate) fn new() -> Self {
        Self::below(&memory(), None, false).unwrap()
    }

    /// The same on a file system of its own, of so many MiB. `None` where nothing can be mounted.
    pub(crate) fn small(mebibytes: u64) -> Option<Self> {
        Self::below(&memory(), Some(mebibytes), false)
    }

    /// The same with its repository in it: in a folder of the system, such as `/dev/shm`, no job may work.
    pub(crate) fn on_disk() -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")), None, true).unwrap()
    }

    fn below(shelf: &Path, mebibytes: Option<u64>, has_repository: bool) -> Option<Self> {
        let scratch = |shelf: &Path| {
            tempfile::Builder::new().prefix("numerus-proof-").tempdir_in(shelf).unwrap()
        };
        let (folder, abroad) = (scratch(shelf), scratch(&std::env::temp_dir()));
        let is_mount = mebibytes.is_some();
        let world = Self { folder, abroad, has_repository, is_mount, bug: None };
        if let Some(mebibytes) = mebibytes {
            let size = format!("size={mebibytes}m");
            let words = ["-t", "tmpfs", "-o", &size, "numerus-proof"];
            let status = Command::new("mount").args(words).arg(world.folder.path()).status();
            status.is_ok_and(|status| status.success()).then_some(())?;
        }
        for dir in [world.root(), world.path("home"), world.path("tmp"), world.logs()] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(world.path("script.json"), script().to_string()).unwrap();
        world.set_settings("");
        Some(world)
    }

    /// Makes a mistake on purpose in every command from here on.
    pub(crate) fn seed(&mut self, bug: &str) {
        self.bug = Some(bug.to_owned());
    }

    /// Writes `numerus.toml`: what every case needs, and further lines.
    pub(crate) fn set_settings(&self, further: &str) {
        let script = self.path("script.json");
        let text = format!(
            "rehearse = \"{}\"\nrehearsal_commands = true\nsettle = \"10ms\"\n{further}",
            script.display()
        );
        fs::write(self.root().join("numerus.toml"), text).unwrap();
    }

    /// A path beside the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that holds all of it.
    pub(crate) fn folder_path(&self) -> &Path {
        self.folder.path()
    }

    /// Where what commands say is kept: never on a file system that a case fills.
    pub(crate) fn logs(&self) -> PathBuf {
        self.abroad.path().join("logs")
    }

    /// The root.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A folder of the spool.
    pub(crate) fn folder(&self, place: &str) -> PathBuf {
        self.root().join("spool").join(place)
    }

    /// Keeps the world's files for a look, and tells where they are.
    pub(crate) fn keep(self) -> PathBuf {
        for pid in self.processes() {
            kill(pid);
        }
        let mut kept = self.path("");
        if self.is_mount {
            // What is mounted goes with the proof's own view of the machine.
            kept = self.logs().join("kept");
            let copy = Command::new("cp").arg("-a").arg(self.path("")).arg(&kept).status();
            assert!(copy.is_ok_and(|status| status.success()), "the world cannot be kept");
        }
        let mut world = std::mem::ManuallyDrop::new(self);
        world.folder.disable_cleanup(true);
        world.abroad.disable_cleanup(true);
        kept
    }

    /// A program in this world, with this world as its whole environment.
    pub(crate) fn outside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir(self.path("home"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LANG", "C.UTF-8");
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("NUMERUS_ROOT", self.root());
        if let Some(bug) = &self.bug {
            command.env(numerus::os::seeded::VARIABLE, bug);
        }
        command
    }

    /// The program under test.
    pub(crate) fn numerus(&self, words: &[&str]) -> Command {
        let mut command = self.outside(env!("CARGO_BIN_EXE_numerus"));
        command.args(words);
        command
    }

    /// Runs a command of the program under test to its end.
    pub(crate) fn ask(&self, words: &[&str]) -> Ended {
        self.run(&mut self.numerus(words), PATIENCE)
    }

    /// As [`World::ask`], with a yes for whoever asks.
    pub(crate) fn agree(&self, words: &[&str]) -> Ended {
        let typed = self.logs().join("typed");
        fs::write(&typed, "y\n").unwrap();
        self.run(self.numerus(words).stdin(fs::File::open(typed).unwrap()), PATIENCE)
    }

    /// Runs a command to its end, or ends it when its time is over.
    pub(crate) fn run(&self, command: &mut Command, patience: Duration) -> Ended {
        let logs = tempfile::Builder::new().tempdir_in(self.logs()).unwrap();
        let file = |name: &str| fs::File::create(logs.path().join(name)).unwrap();
        let mut child = command.stdout(file("out")).stderr(file("err")).spawn().unwrap();
        let status = wait(&mut child, patience);
        let text = |name: &str| {
            String::from_utf8_lossy(&fs::read(logs.path().join(name)).unwrap()).into_owned()
        };
        Ended {
            code: status.and_then(|s| s.code()),
            signal: status.and_then(|s| s.signal()),
            stdout: text("out"),
            stderr: text("err"),
            hung: status.is_none(),
        }
    }

    /// Drops a whole file: written elsewhere, then renamed.
    pub(crate) fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.folder("incoming")).unwrap();
        let aside = self.path("aside");
        fs::write(&aside, content).unwrap();
        fs::rename(aside, self.folder("incoming").join(name)).unwrap();
    }

    /// Drops a job of one task, with further lines of front matter.
    pub(crate) fn drop_job(&self, name: &str, objective: &str, further: &str) {
        self.drop_file(name, format!("---\nplan: single\n{further}---\n{objective}\n"));
    }

    /// A small git repository with one commit, apart from the user's git settings.
    pub(crate) fn repository(&self) -> PathBuf {
        let repo =
            if self.has_repository { self.path("repo") } else { self.abroad.path().join("repo") };
        fs::create_dir(&repo).unwrap();
        fs::write(repo.join("README"), "hello\n").unwrap();
        for words in [
            vec!["init", "--quiet", "--initial-branch=main"],
            vec!["config", "user.name", "Test"],
            vec!["config", "user.email", "test@localhost"],
            vec!["add", "--all"],
            vec!["commit", "--quiet", "--message=first"],
        ] {
            self.git(&repo, &words);
        }
        repo
    }

    /// Runs git there; `None` when it fails.
    pub(crate) fn git(&self, dir: &Path, words: &[&str]) -> Option<String> {
        let ended = self.run(self.outside("git").arg("-C").arg(dir).args(words), PATIENCE);
        (ended.code == Some(0)).then_some(ended.stdout)
    }

    /// The ids of all jobs that have a run folder, in order; what else lies beside these has a dot in its name.
    pub(crate) fn jobs(&self) -> Vec<String> {
        let names = names(&self.root().join("runs")).into_iter();
        names.filter(|name| !name.contains('.')).collect()
    }

    /// The processes of this world that live, by what their environment says.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let root = format!("NUMERUS_ROOT={}", self.root().display());
        let jobs: BTreeSet<String> = self.jobs().into_iter().collect();
        let is_ours = |entry: &[u8]| {
            let job = entry.strip_prefix(b"NUMERUS_JOB=");
            let job = job.and_then(|job| std::str::from_utf8(job).ok());
            entry == root.as_bytes() || job.is_some_and(|job| jobs.contains(job))
        };
        let carries = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(is_ours)
        };
        names(Path::new("/proc"))
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(carries)
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid);
        }
        if self.is_mount {
            let _gone_with_the_view_otherwise =
                Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
        }
    }
}

/// What the agent says and does: it claims and appends to `out.txt`, or with ` solo` in its objective to a file that is named
/// by it. What is planned has two tasks, one after the other, with a file each.
fn script() -> Value {
    let claims = |path: &str| {
        json!({"message": {"task_id": "{{task}}", "execution": {"commands": []},
                           "resources": {"reads": [], "writes": [path]}}})
    };
    let append =
        |path: &str| json!({"write": {"path": path, "text": "{{objective}}\n", "append": true}});
    let planned = |id: &str, after: &[&str]| {
        json!({"id": id, "summary": id, "description": id, "dependencies": after,
               "resources": {"reads": [], "writes": [format!("{id}.txt")]}})
    };
    let role = |id: &str| json!({"id": id, "role": "executor", "notes": ""});
    let play = |when: Value, play: Value| json!({"when": when, "play": play});
    let mut scenes = vec![
        play(
            json!({"marker": "NUMERUS_PLAN"}),
            json!([{"message": {"objective": "{{objective}}",
            "tasks": [planned("one", &[]), planned("two", &["one"])]}}]),
        ),
        play(
            json!({"marker": "NUMERUS_ROLES"}),
            json!([{"message": {"roles": [role("one"), role("two")],
            "strategy": "in order"}}]),
        ),
        play(
            json!({"marker": "NUMERUS_QUEEN"}),
            json!([{"message": {"decision": "give_up", "advice": "no"}}]),
        ),
    ];
    for id in ["one", "two"] {
        let path = format!("{id}.txt");
        let done = json!({"message": "done"});
        scenes.push(play(json!({"marker": "NUMERUS_CLAIM", "task": id}), json!([claims(&path)])));
        scenes.push(play(
            json!({"marker": "NUMERUS_EXECUTE", "task": id}),
            json!([append(&path), done]),
        ));
    }
    let solo = "{{objective}}.txt";
    let when = |marker: &str| json!({"marker": marker, "contains": " solo"});
    scenes.push(play(when("NUMERUS_CLAIM"), json!([claims(solo)])));
    scenes.push(play(when("NUMERUS_EXECUTE"), json!([append(solo), {"message": "done"}])));
    scenes.push(play(json!({"marker": "NUMERUS_CLAIM"}), json!([claims("out.txt")])));
    scenes.push(play(
        json!({"marker": "NUMERUS_EXECUTE"}),
        json!([append("out.txt"), {"message": "done"}]),
    ));
    json!({"version": 1, "scenes": scenes})
}

/// A folder in memory, where there is one.
fn memory() -> PathBuf {
    let shelf = Path::new("/dev/shm");
    if shelf.is_dir() { shelf.to_owned() } else { std::env::temp_dir() }
}

/// Waits for a child's end; ends it and gives `None` when that takes too long.
fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + patience;
    let mut rest = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            drop(child.kill());
            drop(child.wait());
            return None;
        }
        thread::park_timeout(rest);
        rest = (rest * 2).min(Duration::from_millis(5));
    }
}

/// Says that this machine cannot set a case up, and what it lacks. Where every case has to run, that is a failure.
pub(crate) fn not_run(needs: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "not run: needs {needs}");
    eprintln!("not run: needs {needs}");
}

/// Kills a process of a world; one that is gone is fine.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone_already = kill_process(pid, Signal::KILL);
    }
}

/// How a process was called, for messages.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The names in a folder, in order, but for hidden ones.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(name).filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}
