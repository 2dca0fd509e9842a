//! A scratch world for one test: a Numerus root, a home, a codex home, a folder for temporary files, and who runs in it.
//!
//! Everything lies in one folder under the target folder. The temporary folder is a sibling of the codex home, never its
//! ancestor: codex refuses to set up its sandbox in a home below it. The folder goes with the value, unless the test panics:
//! then it stays and its path is printed.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use crate::codex_bin::{codex_bin, target_dir};

/// How long a thing may take that should take no time: generous, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The scratch world; see the head of this file.
pub(crate) struct Site {
    folder: Option<tempfile::TempDir>,
}

impl Site {
    /// Makes an empty world. `name` only makes the folder easier to find.
    pub(crate) fn new(name: &str) -> Self {
        let shelf = target_dir().join("it");
        fs::create_dir_all(&shelf).unwrap();
        let folder =
            tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&shelf).unwrap();
        let site = Self { folder: Some(folder) };
        for dir in [site.root(), site.home(), site.codex_home(), site.temporary(), site.logs()] {
            fs::create_dir(dir).unwrap();
        }
        site
    }

    /// The folder that holds all of it.
    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().expect("taken only by drop").path()
    }

    /// The Numerus root: empty, the program fills it.
    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// What `HOME` says.
    pub(crate) fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// What `CODEX_HOME` says.
    pub(crate) fn codex_home(&self) -> PathBuf {
        self.path().join("codex")
    }

    fn temporary(&self) -> PathBuf {
        self.path().join("tmp")
    }

    fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// A small git repository with one commit of `README` and `src/a.txt`, apart from the user's git settings.
    pub(crate) fn git_repo(&self) -> PathBuf {
        let repo = self.path().join("repo");
        fs::create_dir_all(repo.join("src")).unwrap();
        fs::write(repo.join("README"), "hello\n").unwrap();
        fs::write(repo.join("src/a.txt"), "a\n").unwrap();
        self.git(&repo, &["init", "--quiet", "--initial-branch=main"]);
        self.git(&repo, &["config", "user.name", "Test"]);
        self.git(&repo, &["config", "user.email", "test@localhost"]);
        self.git(&repo, &["add", "--all"]);
        self.git(&repo, &["commit", "--quiet", "--message=first"]);
        repo
    }

    /// Runs git there and gives what it printed; panics when it fails.
    pub(crate) fn git(&self, dir: &Path, args: &[&str]) -> String {
        let ended = self.run(self.command("git").arg("-C").arg(dir).args(args));
        assert_eq!(ended.code, Some(0), "git {args:?}: {ended:?}");
        ended.stdout
    }

    /// A command with this world as its whole environment.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir(self.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LANG", "C.UTF-8");
        command
            .env("HOME", self.home())
            .env("TMPDIR", self.temporary())
            .env("CODEX_HOME", self.codex_home());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    /// The program under test, in this world, with the real codex, in a place where no repository lies above: this
    /// world lies in that of the project.
    pub(crate) fn numerus<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_numerus"));
        command.env("NUMERUS_ROOT", self.root()).env("CODEX_BIN", codex_bin());
        command.current_dir("/").args(args);
        command
    }

    /// Runs to the end, within [`PATIENCE`].
    pub(crate) fn run(&self, command: &mut Command) -> Ended {
        self.spawn(command).wait(PATIENCE)
    }

    /// As [`Site::run`], with that as its input.
    pub(crate) fn run_typing(&self, text: &str, command: &mut Command) -> Ended {
        let typed = self.path().join("typed");
        fs::write(&typed, text).unwrap();
        self.run(command.stdin(fs::File::open(typed).unwrap()))
    }

    /// Starts it, with its output going to files of this world.
    pub(crate) fn spawn(&self, command: &mut Command) -> Running {
        let logs = tempfile::Builder::new().prefix("").tempdir_in(self.logs()).unwrap().keep();
        let file = |name: &str| fs::File::create(logs.join(name)).unwrap();
        let child = command.stdout(file("stdout")).stderr(file("stderr")).spawn();
        Running {
            child: child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")),
            logs,
        }
    }

    /// Looks until it is so; panics with what was waited for and what lies here.
    pub(crate) fn until(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut() -> bool,
    ) {
        assert!(
            becomes_true(deadline, &mut condition),
            "{what}: not so after {deadline:?}\n{}",
            self.dump()
        );
    }

    /// The events of a job so far; a line that is not whole yet is left out.
    pub(crate) fn journal(&self, job: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.root().join("runs").join(job).join("events.ndjson"))
            .unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The ids of all jobs that have a run folder, in order; what else lies beside these has a dot in its name.
    pub(crate) fn jobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root().join("runs")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut jobs: Vec<String> = names.filter(|name| !name.contains('.')).collect();
        jobs.sort();
        jobs
    }

    /// Every file here, small ones with their content; what codex keeps for itself is left out.
    pub(crate) fn dump(&self) -> String {
        let own = [self.codex_home().join("tmp"), self.codex_home().join("skills")];
        let tree = walkdir::WalkDir::new(self.path()).sort_by_file_name().into_iter();
        let seen = tree.filter_entry(|entry| {
            entry.file_name() != ".git" && !own.iter().any(|dir| entry.path() == dir)
        });
        seen.filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| self.show(entry.path()))
            .collect()
    }

    fn show(&self, file: &Path) -> String {
        let name = file.strip_prefix(self.path()).unwrap_or(file).display();
        match fs::read(file) {
            Ok(bytes) if bytes.len() <= 4096 => {
                format!("--- {name}\n{}\n", String::from_utf8_lossy(&bytes))
            }
            Ok(bytes) => format!("--- {name} ({} bytes)\n", bytes.len()),
            Err(error) => format!("--- {name} ({error})\n"),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let folder = self.folder.take().expect("dropped once");
        if thread::panicking() {
            eprintln!("the scratch folder stays: {}", folder.keep().display());
        }
    }
}

fn becomes_true(deadline: Duration, condition: &mut dyn FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// The living processes whose environment says `name=value`, by their pid.
pub(crate) fn processes_with_env(name: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{name}={value}");
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let says = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|setting| setting == wanted.as_bytes())
    };
    pids.filter(says).collect()
}

/// Says that this machine cannot set a case up, and what it lacks. Where every case has to run, that is a failure.
pub(crate) fn not_run(needs: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "not run: needs {needs}");
    eprintln!("not run: needs {needs}");
}

/// A started program; killed when dropped.
pub(crate) struct Running {
    child: Child,
    logs: PathBuf,
}

/// How a program ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.logs.join("stdout")).unwrap()).into_owned()
    }

    /// What it complained of so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.logs.join("stderr")).unwrap()).into_owned()
    }

    /// Sends it a signal; it has not been waited for, so the pid is still its own.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.os_pid(), signal).unwrap();
    }

    /// Waits for its end; kills it and panics with its output when that takes too long.
    pub(crate) fn wait(mut self, deadline: Duration) -> Ended {
        let Some(status) = self.ends_within(deadline) else {
            drop(self.child.kill());
            panic!(
                "still running after {deadline:?}\n--- stdout\n{}\n--- stderr\n{}",
                self.stdout(),
                self.stderr()
            );
        };
        Ended {
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Its status, if it ends in time.
    pub(crate) fn ends_within(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let pidfd = pidfd_open(self.os_pid(), PidfdFlags::empty()).unwrap();
        let limit = Timespec {
            tv_sec: i64::try_from(deadline.as_secs()).unwrap(),
            tv_nsec: deadline.subsec_nanos().into(),
        };
        loop {
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)) {
                Ok(_) => return self.child.try_wait().unwrap(),
                Err(error) if io::Error::from(error).kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("cannot wait for {}: {error}", self.pid()),
            }
        }
    }

    fn os_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_environment_is_the_sites_alone() {
    let site = Site::new("environment");
    let ended = site.run(&mut site.command("env"));
    let mut names: Vec<&str> =
        ended.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "CODEX_HOME",
            "GIT_CONFIG_GLOBAL",
            "GIT_CONFIG_NOSYSTEM",
            "HOME",
            "LANG",
            "PATH",
            "TMPDIR"
        ],
        "{}",
        ended.stdout
    );
    assert!(!site.codex_home().starts_with(site.temporary()));
}

#[test]
fn the_folder_goes_with_the_site() {
    let site = Site::new("goes");
    let path = site.path().to_owned();
    assert!(path.is_dir());
    drop(site);
    assert!(!path.exists());
}

#[test]
fn the_program_under_test_starts() {
    let site = Site::new("starts");
    let ended = site.run(&mut site.numerus(["--version"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_repository_has_one_commit_and_nothing_to_add() {
    let site = Site::new("repository");
    let repo = site.git_repo();
    assert_eq!(site.git(&repo, &["log", "--format=%s %an"]), "first Test\n");
    assert_eq!(site.git(&repo, &["status", "--porcelain"]), "");
}

#[test]
fn processes_are_found_by_what_their_environment_says() {
    let site = Site::new("processes");
    let mark = site.path().display().to_string();
    let running = site.spawn(site.command("cat").env("NUMERUS_JOB", &mark).stdin(Stdio::piped()));
    site.until("the mark is seen", PATIENCE, || {
        processes_with_env("NUMERUS_JOB", &mark) == [running.pid()]
    });
    running.signal(Signal::TERM);
    assert_eq!(running.wait(PATIENCE).signal, Some(15));
    assert_eq!(processes_with_env("NUMERUS_JOB", &mark), [0_u32; 0]);
}

#[test]
fn what_was_waited_for_in_vain_shows_the_site() {
    let site = Site::new("vain");
    fs::write(site.root().join("here"), "content").unwrap();
    let wait = AssertUnwindSafe(|| site.until("the impossible", Duration::ZERO, || false));
    let panic = catch_unwind(wait).unwrap_err();
    let words = panic.downcast_ref::<String>().unwrap();
    assert!(
        words.starts_with("the impossible: not so") && words.contains("--- root/here\ncontent"),
        "{words}"
    );
}

#[test]
fn the_journal_leaves_out_a_torn_line() {
    let site = Site::new("journal");
    fs::create_dir_all(site.root().join("runs/j-1")).unwrap();
    fs::write(site.root().join("runs/j-1/events.ndjson"), "{\"seq\":1}\n{\"seq\":2}\n{\"se")
        .unwrap();
    let seqs: Vec<u64> =
        site.journal("j-1").iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, [1, 2]);
}
