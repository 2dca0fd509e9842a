//! The floor under jobs that work in a repository of their own: the calls of git that make a tree, land what was done there and make
//! the branch, by themselves. They are those of `src/trees`, call by call, but for its questions about settings (`config`), which are
//! there to be on the safe side; what it writes without git, trees without files (but for their index) and refs, is written here,
//! too. Tasks may make theirs side by side; landings come one after the other.
//!
//! The measure of shapes does not begin before git has told that a job makes these calls and no others (`heard.rs`): whoever
//! changes what `src/trees` asks of git sees it fail, with both lists.

use std::fs;
use std::io::{self, Error, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::heard::Heard;
use crate::scratch::Scratch;

/// What has to survive a power cut.
const ALL: &str = "core.fsync=all";
/// Objects have to, the index is made for one look.
const OBJECTS: &str = "core.fsync=objects";
/// No reflog is begun.
const LOGLESS: &str = "core.logAllRefUpdates=false";

/// A repository in which the calls are made.
pub(crate) struct Repository {
    scratch: Scratch,
    top: PathBuf,
    /// The commit that all begins with.
    first: String,
    tip: Mutex<String>,
    landed: Mutex<Landed>,
    /// Git fails where two of it register or remove trees at the same time.
    trees: Mutex<()>,
}

/// What has landed.
#[derive(Default)]
struct Landed {
    commits: usize,
    /// Those that were laid over others, of which git has to tell what they changed.
    laid: Vec<String>,
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
        let (tip, landed, trees) = (Mutex::default(), Mutex::default(), Mutex::default());
        let mut repository = Self { scratch, top, first: String::new(), tip, landed, trees };
        repository.git(&["init", "-q"], None)?;
        let tree = repository.git(&["mktree"], Some(""))?;
        let first = repository.git(&["commit-tree", &tree, "-m", "first"], None)?;
        repository.put_ref("refs/numerus/job/tip", &first)?;
        repository.first.clone_from(&first);
        *repository.tip.lock().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(repository)
    }

    /// Hears of the calls that are made from now on.
    pub(crate) fn heard(&self) -> io::Result<Heard> {
        Heard::below(&self.scratch.path(""))
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

    /// Sets a ref as git does: its lock is written, flushed and given its name.
    fn put_ref(&self, name: &str, commit: &str) -> io::Result<()> {
        let path = self.top.join(".git").join(name);
        let lock = path.with_extension("lock");
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut file = fs::File::create_new(&lock)?;
        file.write_all(format!("{commit}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(lock, path)
    }

    /// Makes the tree of a task, from what has landed so far.
    pub(crate) fn open(&self, task: &str) -> io::Result<Tree> {
        let (base, dir) = (self.tip(), self.scratch.path(&format!("tree-{task}")));
        if base == self.first {
            self.put_tree(&dir)?;
            return Ok(Tree { task: task.to_owned(), dir, base });
        }
        let place = dir.to_string_lossy();
        let add = ["worktree", "add", "-q", "--force", "--force", "--detach", "--lock"];
        let add = [&["-c", LOGLESS], &add[..], &[&*place, &base]].concat();
        let _lock = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        self.git(&add, None)?;
        Ok(Tree { task: task.to_owned(), dir, base })
    }

    /// Makes a tree without files as git does.
    fn put_tree(&self, dir: &Path) -> io::Result<()> {
        let name = dir.file_name().ok_or_else(|| Error::other("a tree without a name"))?;
        let entry = self.top.join(".git/worktrees").join(name);
        fs::create_dir_all(&entry)?;
        fs::create_dir_all(dir)?;
        fs::write(entry.join("locked"), "floor\n")?;
        fs::write(entry.join("commondir"), "../..\n")?;
        fs::write(entry.join("gitdir"), format!("{}\n", dir.join(".git").display()))?;
        fs::write(dir.join(".git"), format!("gitdir: {}\n", entry.display()))?;
        fs::write(entry.join("HEAD"), format!("{}\n", self.first))
    }

    /// Writes the file of a task, looks at what was done in its tree, lands it, and takes the tree away.
    pub(crate) fn land(&self, tree: &Tree) -> io::Result<()> {
        let file = format!("{}.txt", tree.task);
        fs::write(tree.dir.join(&file), "x\n")?;
        let in_tree = |words: &[&str], input: Option<&str>| {
            self.call(&Call { dir: &tree.dir, input, index: None }, words)
        };
        let is_empty = tree.base == self.first;
        if !is_empty {
            in_tree(&["ls-files", "-s", "-z"], None)?;
        }
        let update = ["-c", OBJECTS, "update-index", "--add", "--replace", "-z", "--stdin"];
        in_tree(&update, Some(&format!("{file}\0")))?;
        let object = in_tree(&["-c", OBJECTS, "write-tree"], None)?;
        let patch: &[&str] = if is_empty { &["-p", "--binary"] } else { &[] };
        let raw = ["-r", "-z", "--raw", "--no-renames", &tree.base, &object];
        let entries = self.git(&[&["diff-tree"], patch, &raw].concat(), None)?;
        self.advance(tree, (&file, &object), &entries)?;
        self.take_away(tree)
    }

    /// Removes a tree, and its entry: all that the repository keeps of it is a folder of its name.
    fn take_away(&self, tree: &Tree) -> io::Result<()> {
        fs::remove_dir_all(&tree.dir)?;
        let name = tree.dir.file_name().ok_or_else(|| Error::other("a tree without a name"))?;
        let _lock = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = self.top.join(".git/worktrees");
        fs::remove_dir_all(entries.join(name))?;
        // There are others.
        let _not_empty = fs::remove_dir(entries);
        Ok(())
    }

    /// Makes the commit and moves the tip to it. Where others have landed since, their tree is what the change is laid over.
    fn advance(&self, tree: &Tree, done: (&str, &str), entries: &str) -> io::Result<()> {
        let mut tip = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, object) = done;
        let laid =
            if *tip == tree.base { None } else { Some(self.lay(tree, &tip, (file, entries))?) };
        let object = laid.as_deref().unwrap_or(object);
        let commit = ["-c", ALL, "commit-tree", object, "-p", &tip];
        let commit = self.git(&commit, Some("landed\n"))?;
        let aside = self.scratch.dir("packs")?.join(&tree.task).to_string_lossy().into_owned();
        let unreversed = "pack.writeReverseIndex=false";
        let pack = ["-c", ALL, "-c", unreversed, "pack-objects", "-q", "--revs", &aside];
        self.git(&pack, Some(&format!("{commit}\n^{}\n", *tip)))?;
        self.put_ref("refs/numerus/job/tip", &commit)?;
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        landed.commits += 1;
        // The first one's patch came with what was seen of it.
        if landed.commits > 1 {
            self.git(&["diff-tree", "-p", "--binary", &tip, &commit], None)?;
        }
        tip.clone_from(&commit);
        if laid.is_some() {
            landed.laid.push(commit);
        }
        Ok(())
    }

    /// The tree of the tip with a task's file in it.
    fn lay(&self, tree: &Tree, tip: &str, (file, entries): (&str, &str)) -> io::Result<String> {
        let index = self.scratch.path(&format!("land-{}", tree.task));
        let call = |words: &[&str], input: Option<&str>| {
            let words = [&["-c", OBJECTS], words].concat();
            self.call(&Call { dir: &self.top, input, index: Some(&index) }, &words)
        };
        // `:000000 100644 0000… OBJECT A`, then the name.
        let blob = entries.split(' ').nth(3).unwrap_or_default();
        let changed = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", &tree.base, tip];
        self.git(&changed, None)?;
        call(&["read-tree", tip], None)?;
        let update = ["update-index", "--add", "--replace", "-z", "--index-info"];
        call(&update, Some(&format!("100644 {blob}\t{file}\0")))?;
        call(&["write-tree"], None)
    }

    /// Makes the branch, and reads what is told of it.
    pub(crate) fn end(&self) -> io::Result<()> {
        let landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        let tip = self.tip();
        for name in ["refs/heads/numerus/job", "refs/numerus/job/published"] {
            self.put_ref(name, &tip)?;
        }
        if landed.commits > 1 {
            self.git(&["diff-tree", "-p", "--binary", &self.first, &tip], None)?;
        }
        if !landed.laid.is_empty() {
            let changed = ["diff-tree", "--stdin", "-r", "-z", "--name-only", "--no-commit-id"];
            self.git(&changed, Some(&format!("{}\n", landed.laid.join("\n"))))?;
        }
        Ok(())
    }

    /// How many files have landed.
    pub(crate) fn landed(&self) -> io::Result<usize> {
        let names = self.git(&["ls-tree", "-r", "--name-only", &self.tip()], None)?;
        Ok(names.lines().count())
    }
}
