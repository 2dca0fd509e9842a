//! The one door to git: runs the program, hardened, and hands back its bytes.
//!
//! Promises: no hook, file system monitor, pager, prompt or background collection of a repository ever runs; no variable
//! of a surrounding git call leaks in; an object is what its id says, whatever `refs/replace/` holds; root works on someone else's repository as that one; output is bounded and a call
//! that hangs is ended. The user's own configuration is respected otherwise.
//!
//! Diagnostics: a failed call carries the subcommand, the exit code and the end of git's stderr.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Pid;

use super::process::HEAPS;
use super::talk::Talk;
use super::{env, family};

/// Most bytes that one call may print.
const OUTPUT_LIMIT: u64 = 256 * 1024 * 1024;
/// Most bytes of stderr that an error carries.
const STDERR_LIMIT: usize = 2000;
/// Most bytes of stderr that are kept to find its end in.
const STDERR_KEPT: u64 = 1024 * 1024;
/// Longest time for a call that says nothing else.
const PATIENCE: Duration = Duration::from_secs(600);

/// Settings that no repository overrides, in any call.
const ALWAYS: [&str; 10] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "advice.detachedHead=false",
];

/// Variables that belong to the user's configuration; every other `GIT_*` is taken away.
const KEPT: [&str; 5] =
    ["GIT_CONFIG_", "GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_SSH", "GIT_EXEC_PATH"];

/// Why a git call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git` on the search path.
    #[error("run git: it is not on the search path")]
    NotInstalled,
    /// It could not be started or its output not read.
    #[error("run git {command}: {source}")]
    Start {
        /// The subcommand.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("git {command} (code {}): {stderr}", code.map_or_else(|| "signal".to_owned(), |c| c.to_string()))]
    Failed {
        /// The subcommand.
        command: String,
        /// Its exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// The end of what it said, trimmed.
        stderr: String,
    },
    /// It took too long and was ended.
    #[error("git {command}: no end after {} s", patience.as_secs())]
    TimedOut {
        /// The subcommand.
        command: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It printed more than it may.
    #[error("git {command}: more than {limit} bytes of output")]
    TooLarge {
        /// The subcommand.
        command: String,
        /// The bound.
        limit: u64,
    },
    /// It printed something else than was expected.
    #[error("git {command}: unexpected output")]
    Garbled {
        /// The subcommand.
        command: String,
    },
}

/// Git in one directory, as the user who owns it.
#[derive(Debug, Clone)]
pub struct Git {
    dir: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Git {
    /// Git in `dir`; root becomes the owner of `dir` for every call.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), owner: foreign_owner(dir) }
    }

    /// The user and group that calls run as, if not as this process.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// A call that changes nothing, not even a cache.
    pub fn read<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        let mut call = Call::new(self, args);
        call.command.env("GIT_OPTIONAL_LOCKS", "0");
        call
    }

    /// A call that writes what can be made again (a worktree, an index).
    pub fn write<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        Call::new(self, args)
    }

    /// A call whose objects and refs must survive a power cut.
    pub fn write_durably<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        self.write_flushed("core.fsync=all", args)
    }

    /// A call whose objects must survive a power cut, and whose index is made for it alone.
    pub fn write_objects<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        self.write_flushed("core.fsync=objects", args)
    }

    fn write_flushed<S: AsRef<OsStr>>(
        &self,
        what: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Call<'_> {
        let durable = ["-c", what].map(OsString::from).into_iter();
        let args = args.into_iter().map(|a| a.as_ref().to_owned());
        Call::new(self, durable.chain(args))
    }
}

/// The owner of `dir`, when this is root and the owner is not.
fn foreign_owner(dir: &Path) -> Option<(u32, u32)> {
    let meta = dir.metadata().ok()?;
    (rustix::process::geteuid().is_root() && meta.uid() != 0).then(|| (meta.uid(), meta.gid()))
}

/// Where git is. Searched once: there are many calls, and each would try every folder of the search path.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let name = Path::new("git");
        env::find_program(name).unwrap_or_else(|| name.to_owned())
    })
}

/// One call, being put together.
#[derive(Debug)]
pub struct Call<'a> {
    command: Command,
    input: Option<&'a [u8]>,
    patience: Duration,
    limit: u64,
}

/// What a call brought, whatever its exit code.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// Its stdout.
    pub stdout: Vec<u8>,
    /// The end of its stderr, trimmed.
    pub stderr: String,
}

impl<'a> Call<'a> {
    fn new<S: AsRef<OsStr>>(git: &Git, args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program());
        command.current_dir(&git.dir).args(ALWAYS).args(args);
        for name in env::names_starting("GIT_") {
            let text = name.to_string_lossy();
            if !KEPT.iter().any(|kept| text.starts_with(kept)) || text == "GIT_CONFIG_PARAMETERS" {
                command.env_remove(&name);
            }
        }
        command.env_remove(HEAPS).env("GIT_NO_REPLACE_OBJECTS", "1");
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((uid, gid)) = git.owner {
            command.uid(uid).gid(gid);
        }
        Self { command, input: None, patience: PATIENCE, limit: OUTPUT_LIMIT }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Feeds bytes to its stdin.
    #[must_use]
    pub fn input(mut self, bytes: &'a [u8]) -> Self {
        self.input = Some(bytes);
        self.command.stdin(Stdio::piped());
        self
    }

    /// Has its output written to a file, however much it is; none of it is handed back.
    #[must_use]
    pub fn output_to(mut self, file: File) -> Self {
        self.command.stdout(Stdio::from(file));
        self
    }

    /// Ends the call after this time.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Bounds its output, in bytes.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Runs it; an exit code other than 0 is an error.
    ///
    /// # Errors
    /// When it cannot run, takes too long, prints too much or fails.
    pub fn run(self) -> Result<Vec<u8>, GitError> {
        let command = self.name();
        let answer = self.ask()?;
        match answer.code {
            0 => Ok(answer.stdout),
            code => Err(GitError::Failed { command, code: Some(code), stderr: answer.stderr }),
        }
    }

    /// Runs it and takes its output as one trimmed line.
    ///
    /// # Errors
    /// As [`Call::run`], and when the output is no UTF-8.
    pub fn line(self) -> Result<String, GitError> {
        let command = self.name();
        let text = String::from_utf8(self.run()?).map_err(|_| GitError::Garbled { command })?;
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// Runs it and hands back whatever came, with the exit code.
    ///
    /// # Errors
    /// When it cannot run, takes too long, prints too much, or is ended by a signal: that it was killed is no answer.
    pub fn ask(mut self) -> Result<Answer, GitError> {
        let command = self.name();
        let child =
            family::spawn(|| self.command.spawn(), Child::id).map_err(|e| match e.kind() {
                ErrorKind::NotFound if env::find_program(Path::new("git")).is_none() => {
                    GitError::NotInstalled
                }
                _ => GitError::Start { command: command.clone(), source: e },
            })?;
        let (status, talk) = self
            .attend(child)
            .map_err(|source| GitError::Start { command: command.clone(), source })?;
        let (stdout, stderr) = (talk.stdout.bytes, talk.stderr.bytes);
        let Some(status) = status else {
            return Err(GitError::TimedOut { command, patience: self.patience });
        };
        if stdout.len() as u64 > self.limit {
            return Err(GitError::TooLarge { command, limit: self.limit });
        }
        let stderr = tail(&stderr);
        match status.code() {
            Some(code) => Ok(Answer { code, stdout, stderr }),
            None => Err(GitError::Failed { command, code: None, stderr }),
        }
    }

    /// Feeds and hears the child until it has ended; no status means that time ran out.
    fn attend(&self, mut child: Child) -> std::io::Result<(Option<ExitStatus>, Talk<'a>)> {
        let words = self.input.unwrap_or_default();
        let mut talk = Talk::with(&mut child, words, (self.limit, STDERR_KEPT));
        let in_time = match &mut talk {
            Ok(talk) => talk.go_on(&child, self.patience),
            Err(_told_below) => Ok(false),
        };
        if !matches!(in_time, Ok(true)) {
            end_group(&child);
        }
        let status = child.wait()?;
        Ok((in_time?.then_some(status), talk?))
    }

    /// The subcommand, for errors.
    fn name(&self) -> String {
        let mut args = self.command.get_args();
        while let Some(arg) = args.next() {
            if arg != "-c" {
                return arg.to_string_lossy().into_owned();
            }
            args.next();
        }
        String::new()
    }
}

/// Ends the child with all it started: a filter or helper that lives on would keep the pipes open.
fn end_group(child: &Child) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // It is gone already if this fails.
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).ok();
    }
}

/// The end of a text, on one line.
fn tail(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(STDERR_LIMIT);
    String::from_utf8_lossy(&bytes[from..]).trim().replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_call_says_what_git_said() {
        let d = tempfile::tempdir().expect("scratch");
        let error = Git::at(d.path()).read(["rev-parse", "--verify", "nothing"]).run();
        let text = error.expect_err("no repository").to_string();
        assert!(text.starts_with("git rev-parse (code 128): "), "{text}");
        assert!(text.contains("not a git repository"), "{text}");
    }

    #[test]
    fn git_has_as_many_heaps_as_it_likes_where_we_have_one() {
        let git = Git::at(Path::new("/"));
        let call = git.read(["version"]);
        assert!(call.command.get_envs().any(|set| set == (HEAPS.as_ref(), None)));
    }

    #[test]
    fn a_call_that_a_signal_ended_has_no_answer() {
        let d = tempfile::tempdir().expect("scratch");
        let git = Git::at(d.path());
        let dies = git.read(["-c", "alias.die=!kill -KILL $PPID", "die"]).ask();
        assert!(matches!(dies, Err(GitError::Failed { code: None, .. })), "{dies:?}");
        assert_eq!(git.read(["rev-parse", "--git-dir"]).ask().expect("an answer").code, 128);
    }

    #[test]
    fn a_failing_call_is_named_by_its_subcommand_whatever_settings_come_before() {
        let d = tempfile::tempdir().expect("scratch");
        let settings = ["-c", "core.x=1", "-c", "core.y=2", "rev-parse", "--verify", "nothing"];
        let error = Git::at(d.path()).write_durably(settings).run().expect_err("no repository");
        assert!(error.to_string().starts_with("git rev-parse (code 128): "), "{error}");
    }

    #[test]
    fn output_over_the_limit_and_time_over_the_patience_are_errors() {
        let d = tempfile::tempdir().expect("scratch");
        let git = Git::at(d.path());
        git.write(["init", "-q"]).run().expect("init");
        let large = git.read(["config", "--list"]).limit(3).run();
        assert!(matches!(large, Err(GitError::TooLarge { limit: 3, .. })), "{large:?}");
        let slow = git.read(["-c", "alias.hang=!exec sleep 60", "hang"]);
        let slow = slow.patience(Duration::from_millis(50)).run();
        assert!(matches!(slow, Err(GitError::TimedOut { .. })), "{slow:?}");
    }

    #[test]
    fn objects_are_flushed_and_an_index_only_where_it_is_kept() {
        let d = tempfile::tempdir().expect("scratch");
        let git = Git::at(d.path());
        git.write(["init", "-q"]).run().expect("init");
        let flushes = |call: Call<'_>, name: &str| {
            let told = d.path().join(name);
            call.env("GIT_TRACE2_EVENT", &told).run().expect("git");
            let text = std::fs::read_to_string(told).expect("what it did");
            text.lines().any(|line| line.contains("hardware-flush"))
        };
        let object = ["hash-object", "-w", "--stdin"];
        assert!(flushes(git.write_durably(object).input(b"1"), "1"));
        assert!(flushes(git.write_objects(object).input(b"2"), "2"));
        let index = ["read-tree", "--empty"];
        assert!(flushes(git.write_durably(index), "3"));
        assert!(!flushes(git.write_objects(index), "4"));
    }

    #[test]
    fn output_that_goes_to_a_file_has_no_limit() {
        let d = tempfile::tempdir().expect("scratch");
        let git = Git::at(d.path());
        git.write(["init", "-q"]).run().expect("init");
        let whole = git.read(["config", "--list"]).run().expect("settings");
        let path = d.path().join("output");
        let file = crate::os::fsx::create_new(&path).expect("file");
        let out = git.read(["config", "--list"]).limit(3).output_to(file).run().expect("written");
        assert_eq!(out, b"");
        assert_eq!(std::fs::read(path).expect("read"), whole);
    }

    #[test]
    fn input_reaches_the_call_and_hooks_do_not_run() {
        let d = tempfile::tempdir().expect("scratch");
        let git = Git::at(d.path());
        git.write(["init", "-q"]).run().expect("init");
        let hook = d.path().join(".git/hooks/reference-transaction");
        crate::os::fsx::make_dirs(hook.parent().expect("parent")).expect("hooks");
        crate::os::fsx::put(&hook, b"#!/bin/sh\nexit 1\n").expect("hook");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&hook, mode).expect("executable");
        let tree = git.write_durably(["mktree"]).input(b"").line().expect("mktree");
        let commit = git
            .write_durably(["commit-tree", &tree])
            .input(b"x\n")
            .env("GIT_AUTHOR_NAME", "a")
            .env("GIT_AUTHOR_EMAIL", "a@localhost")
            .env("GIT_COMMITTER_NAME", "a")
            .env("GIT_COMMITTER_EMAIL", "a@localhost")
            .line()
            .expect("commit");
        git.write_durably(["update-ref", "refs/x", &commit]).run().expect("no hook in the way");
    }
}
