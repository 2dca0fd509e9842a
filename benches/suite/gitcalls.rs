//! The floor under jobs that work in a repository: the calls of git that make a tree, land what was done there and make the
//! branch, by themselves. They follow those of `src/trees`, without what it asks of git to be on the safe side.

use std::fs;
use std::io::{self, Error, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::figures::{millis, percentile};
use crate::marks::now;
use crate::scratch::Scratch;

/// How long the calls of one task take, and those of the end of a job, in ms, p50.
pub(crate) struct GitCalls {
    /// A tree, what was done in it, its landing, and the tree gone.
    pub(crate) task: f64,
    /// The branch and what is read from it.
    pub(crate) end: f64,
}

/// A repository in which the calls are made.
struct Repository {
    scratch: Scratch,
    top: PathBuf,
    tip: String,
}

impl GitCalls {
    /// Makes them so many times.
    pub(crate) fn measure(times: usize) -> io::Result<Self> {
        let mut repository = Repository::new()?;
        let (mut task, mut end) = (Vec::new(), Vec::new());
        for number in 0..times {
            let before = now();
            repository.task(number)?;
            task.push(millis(before, now()));
            let before = now();
            repository.end(number)?;
            end.push(millis(before, now()));
        }
        Ok(Self { task: percentile(&mut task, 0.5), end: percentile(&mut end, 0.5) })
    }
}

impl Repository {
    fn new() -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let top = scratch.dir("repository")?;
        let mut repository = Self { scratch, top, tip: String::new() };
        repository.git(&["init", "-q"], None)?;
        let tree = repository.git(&["mktree"], Some(""))?;
        repository.tip = repository.git(&["commit-tree", &tree, "-m", "first"], None)?;
        repository.durably(&["update-ref", "refs/numerus/job/tip", &repository.tip])?;
        Ok(repository)
    }

    fn call(&self, dir: &Path, words: &[&str], input: Option<&str>) -> io::Result<String> {
        let mut command = Command::new("git");
        command.current_dir(dir).args(words).env("HOME", self.scratch.path(""));
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "floor");
            command.env(format!("GIT_{who}_EMAIL"), "floor@localhost");
        }
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
            pipe.write_all(text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(Error::other(format!("git {words:?}: {}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn git(&self, words: &[&str], input: Option<&str>) -> io::Result<String> {
        self.call(&self.top, words, input)
    }

    /// As what has to survive a power cut.
    fn durably(&self, words: &[&str]) -> io::Result<String> {
        self.git(&[&["-c", "core.fsync=all"], words].concat(), None)
    }

    fn task(&mut self, number: usize) -> io::Result<()> {
        let tree = self.scratch.path(&format!("tree-{number}"));
        let dir = tree.to_string_lossy().into_owned();
        let add = ["worktree", "add", "-q", "--detach", "--lock", &dir, &self.tip];
        self.git(&add, None)?;
        self.git(
            &["for-each-ref", "--format=%(refname) %(objectname)", "refs/numerus/*/tip"],
            None,
        )?;
        let file = format!("t{number}.txt");
        fs::write(tree.join(&file), "x\n")?;
        let in_tree = |words: &[&str], input: Option<&str>| self.call(&tree, words, input);
        in_tree(&["ls-files", "-s", "-z"], None)?;
        let update = ["-c", "core.fsync=all", "update-index", "--add", "-z", "--stdin"];
        in_tree(&update, Some(&format!("{file}\0")))?;
        in_tree(&["ls-files", "-z"], None)?;
        let object = in_tree(&["-c", "core.fsync=all", "write-tree"], None)?;
        self.git(&["diff-tree", "-r", "-z", "--raw", &self.tip, &object], None)?;
        let commit = ["-c", "core.fsync=all", "commit-tree", &object, "-p", &self.tip];
        let commit = self.git(&commit, Some("landed\n"))?;
        let aside = self.scratch.dir("packs")?.join("pack").to_string_lossy().into_owned();
        let pack = ["-c", "core.fsync=all", "pack-objects", "-q", "--revs", &aside];
        self.git(&pack, Some(&format!("{commit}\n^{}\n", self.tip)))?;
        self.durably(&["update-ref", "refs/numerus/job/tip", &commit, &self.tip])?;
        self.git(&["diff-tree", "-p", "--binary", &self.tip, &commit], None)?;
        self.git(&["worktree", "remove", "--force", "--force", &dir], None)?;
        self.tip = commit;
        Ok(())
    }

    fn end(&self, number: usize) -> io::Result<()> {
        self.durably(&["update-ref", &format!("refs/heads/numerus/job{number}"), &self.tip])?;
        self.durably(&["update-ref", "refs/numerus/job/published", &self.tip])?;
        self.git(&["diff-tree", "-p", "--binary", "--root", &self.tip], None)?;
        self.git(&["diff-tree", "-r", "-z", "--name-only", "--root", &self.tip], None)?;
        Ok(())
    }
}
