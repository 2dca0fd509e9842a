//! The floor under jobs that work in a repository: the calls of git that make a tree, land what was done there and make the
//! branch, by themselves. They follow those of `src/trees`, without what it asks of git to be on the safe side. Tasks may make theirs
//! side by side; landings come one after the other.

use std::fs;
use std::io::{self, Error, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::scratch::Scratch;

/// A repository in which the calls are made.
pub(crate) struct Repository {
    scratch: Scratch,
    top: PathBuf,
    tip: Mutex<String>,
    /// Git fails where two of it register or remove trees at the same time.
    trees: Mutex<()>,
}

/// The tree of one task.
pub(crate) struct Tree {
    task: String,
    dir: PathBuf,
    base: String,
}

/// One call: where, its words, what it reads and which index it uses, if not the usual one.
struct Call<'a> {
    dir: &'a Path,
    input: Option<&'a str>,
    index: Option<&'a Path>,
}

impl Repository {
    /// One with an empty commit.
    pub(crate) fn new() -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let top = scratch.dir("repository")?;
        let repository = Self { scratch, top, tip: Mutex::default(), trees: Mutex::default() };
        repository.git(&["init", "-q"], None)?;
        let tree = repository.git(&["mktree"], Some(""))?;
        let first = repository.git(&["commit-tree", &tree, "-m", "first"], None)?;
        repository.durably(&["update-ref", "refs/numerus/job/tip", &first])?;
        *repository.tip.lock().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(repository)
    }

    fn tip(&self) -> String {
        self.tip.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn call(&self, call: &Call<'_>, words: &[&str]) -> io::Result<String> {
        let mut command = Command::new("git");
        command.current_dir(call.dir).args(words).env("HOME", self.scratch.path(""));
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "floor");
            command.env(format!("GIT_{who}_EMAIL"), "floor@localhost");
        }
        if let Some(index) = call.index {
            command.env("GIT_INDEX_FILE", index);
        }
        command.stdin(if call.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), call.input) {
            pipe.write_all(text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(Error::other(format!("git {words:?}: {}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn git(&self, words: &[&str], input: Option<&str>) -> io::Result<String> {
        self.call(&Call { dir: &self.top, input, index: None }, words)
    }

    /// As what has to survive a power cut.
    fn durably(&self, words: &[&str]) -> io::Result<String> {
        self.git(&[&["-c", "core.fsync=all"], words].concat(), None)
    }

    /// Makes the tree of a task, from what has landed so far.
    pub(crate) fn open(&self, task: &str) -> io::Result<Tree> {
        let (base, dir) = (self.tip(), self.scratch.path(&format!("tree-{task}")));
        let place = dir.to_string_lossy();
        let add = ["worktree", "add", "-q", "--detach", "--lock", &place, &base];
        self.one_at_a_time(&add)?;
        let tips = ["for-each-ref", "--format=%(refname) %(objectname)", "refs/numerus/*/tip"];
        self.git(&tips, None)?;
        Ok(Tree { task: task.to_owned(), dir, base })
    }

    /// Writes the file of a task, looks at what was done in its tree, lands it, and takes the tree away.
    pub(crate) fn land(&self, tree: &Tree) -> io::Result<()> {
        let file = format!("{}.txt", tree.task);
        fs::write(tree.dir.join(&file), "x\n")?;
        let in_tree = |words: &[&str], input: Option<&str>| {
            self.call(&Call { dir: &tree.dir, input, index: None }, words)
        };
        in_tree(&["ls-files", "-s", "-z"], None)?;
        let update = ["-c", "core.fsync=all", "update-index", "--add", "-z", "--stdin"];
        in_tree(&update, Some(&format!("{file}\0")))?;
        in_tree(&["ls-files", "-z"], None)?;
        let object = in_tree(&["-c", "core.fsync=all", "write-tree"], None)?;
        let changed = ["diff-tree", "-r", "-z", "--raw", "--no-renames", &tree.base, &object];
        let entries = self.git(&changed, None)?;
        self.advance(tree, (&file, &object), &entries)?;
        let place = tree.dir.to_string_lossy();
        self.one_at_a_time(&["worktree", "remove", "--force", "--force", &place])
    }

    fn one_at_a_time(&self, words: &[&str]) -> io::Result<()> {
        let _lock = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        self.git(words, None).map(drop)
    }

    /// Makes the commit and moves the tip to it. Where others have landed since, their tree is what the change is laid over.
    fn advance(&self, tree: &Tree, done: (&str, &str), entries: &str) -> io::Result<()> {
        let mut tip = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, object) = done;
        let laid =
            if *tip == tree.base { None } else { Some(self.lay(tree, &tip, (file, entries))?) };
        let object = laid.as_deref().unwrap_or(object);
        let commit = ["-c", "core.fsync=all", "commit-tree", object, "-p", &tip];
        let commit = self.git(&commit, Some("landed\n"))?;
        let aside = self.scratch.dir("packs")?.join(&tree.task).to_string_lossy().into_owned();
        let pack = ["-c", "core.fsync=all", "pack-objects", "-q", "--revs", &aside];
        self.git(&pack, Some(&format!("{commit}\n^{}\n", *tip)))?;
        self.durably(&["update-ref", "refs/numerus/job/tip", &commit, &tip])?;
        self.git(&["diff-tree", "-p", "--binary", &tip, &commit], None)?;
        *tip = commit;
        Ok(())
    }

    /// The tree of the tip with a task's file in it.
    fn lay(&self, tree: &Tree, tip: &str, (file, entries): (&str, &str)) -> io::Result<String> {
        let index = self.scratch.path(&format!("land-{}", tree.task));
        let call = |words: &[&str], input: Option<&str>| {
            let words = [&["-c", "core.fsync=all"], words].concat();
            self.call(&Call { dir: &self.top, input, index: Some(&index) }, &words)
        };
        // `:000000 100644 0000… OBJECT A`, then the name.
        let blob = entries.split(' ').nth(3).unwrap_or_default();
        call(&["read-tree", tip], None)?;
        let update = ["update-index", "--add", "--replace", "-z", "--index-info"];
        call(&update, Some(&format!("100644 {blob}\t{file}\0")))?;
        call(&["write-tree"], None)
    }

    /// Makes the branch, and reads what is told of it.
    pub(crate) fn end(&self) -> io::Result<()> {
        let tip = self.tip();
        self.durably(&["update-ref", "refs/heads/numerus/job", &tip])?;
        self.durably(&["update-ref", "refs/numerus/job/published", &tip])?;
        self.git(&["diff-tree", "-p", "--binary", "--root", &tip], None)?;
        self.git(&["diff-tree", "-r", "-z", "--name-only", "--root", &tip], None)?;
        Ok(())
    }

    /// How many files have landed.
    pub(crate) fn landed(&self) -> io::Result<usize> {
        let names = self.git(&["ls-tree", "-r", "--name-only", &self.tip()], None)?;
        Ok(names.lines().count())
    }
}
