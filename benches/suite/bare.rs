//! The floor under sessions and whole jobs: the same agent in terminals, for as long, in the same order and as many side by side,
//! with the same calls of git, and nothing else.

use std::collections::BTreeSet;
use std::io::{self, Error, Read as _};
use std::sync::{Condvar, Mutex, PoisonError};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::json;

use crate::figures::millis;
use crate::gitcalls::Repository;
use crate::marks::now;
use crate::ours::Node;
use crate::scratch::Scratch;

/// What the agent is asked, and its script knows.
const PROMPT: &str = "NUMERUS_PLAN";

/// Starts agents in terminals.
pub(crate) struct Bare(Scratch);

/// The tasks that have ended.
#[derive(Default)]
struct Ended {
    tasks: Mutex<BTreeSet<String>>,
    news: Condvar,
}

impl Bare {
    /// With agents that answer after so many milliseconds.
    pub(crate) fn new(think: u64) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        scratch.dir("codex-home")?;
        let play = json!([{"sleep_ms": think}, {"message": "done"}]);
        let script = json!({"version": 1, "scenes": [{"when": {"marker": PROMPT}, "play": play}]});
        std::fs::write(scratch.path("script.json"), script.to_string())?;
        Ok(Self(scratch))
    }

    /// One session: an agent in a terminal of its own, read until it has ended.
    pub(crate) fn session(&self) -> io::Result<()> {
        let pair = native_pty_system().openpty(PtySize::default()).map_err(Error::other)?;
        let mut command = CommandBuilder::new(self.0.marks.agent());
        command.args(["exec", "--json", "--skip-git-repo-check", PROMPT]);
        command.env_clear();
        command.env("HOME", self.0.path(""));
        command.env("CODEX_HOME", self.0.path("codex-home"));
        command.env("NUMERUS_STANDIN_SCRIPT", self.0.path("script.json"));
        command.cwd(self.0.path(""));
        let mut child = pair.slave.spawn_command(command).map_err(Error::other)?;
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().map_err(Error::other)?;
        let mut buffer = vec![0; 64 * 1024];
        // The other side's end is an error of a terminal.
        while reader.read(&mut buffer).is_ok_and(|size| size > 0) {}
        let ended = child.wait()?;
        if ended.success() { Ok(()) } else { Err(Error::other(format!("the agent: {ended}"))) }
    }

    /// A job of these tasks, with a repository to work in if it works in one; how long it took, in milliseconds.
    pub(crate) fn job(&self, nodes: &[Node], repository: Option<&Repository>) -> io::Result<f64> {
        let (before, ended) = (now(), Ended::default());
        // The plan and the roles.
        self.session()?;
        self.session()?;
        std::thread::scope(|scope| {
            let begin = |(task, after): &'_ Node| {
                let (ended, task, after) = (&ended, task.clone(), after.clone());
                scope.spawn(move || {
                    ended.wait_for(&after);
                    let done = self.task(&task, repository);
                    // Also where it failed: nobody is to wait for ever.
                    ended.tell(task);
                    done
                })
            };
            let all: Vec<_> = nodes.iter().map(begin).collect();
            let broke = |_| Error::other("a task broke off");
            all.into_iter().try_for_each(|one| one.join().map_err(broke)?)
        })?;
        repository.map_or(Ok(()), Repository::end)?;
        Ok(millis(before, now()))
    }

    fn task(&self, task: &str, repository: Option<&Repository>) -> io::Result<()> {
        let tree = repository.map(|repository| repository.open(task)).transpose()?;
        // The claim and the execution.
        self.session()?;
        self.session()?;
        repository.zip(tree).map_or(Ok(()), |(repository, tree)| repository.land(&tree))
    }
}

impl Ended {
    fn wait_for(&self, after: &[String]) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |tasks: &mut BTreeSet<String>| !after.iter().all(|task| tasks.contains(task));
        drop(self.news.wait_while(tasks, lacks));
    }

    fn tell(&self, task: String) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(task);
        self.news.notify_all();
    }
}
