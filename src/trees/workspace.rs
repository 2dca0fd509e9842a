//! Where a job works: found once, when its worker starts. Promises that a directory no job can work in is refused here,
//! with the reason, before any agent is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::job::{Enforce, Options};
use crate::model::workspace::{Isolation, Oid, Workspace};
use crate::os::fsx;
use crate::os::git::{Call, Git, GitError};
use crate::runs::RunFolder;

use super::pinned::filtered;
use super::{TreesError, fresh, retried};

/// Longest time to find out whether the user has uncommitted changes; a slower answer counts as yes.
const DIRTY_PATIENCE: Duration = Duration::from_secs(10);

/// Folders of ours that no agent may write in, so that an in-place workspace must lie apart from them.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The root.
    pub root: &'a Path,
    /// Codex's home, if it is known.
    pub codex_home: Option<&'a Path>,
}

/// Finds out where a job works.
///
/// # Errors
/// [`TreesError::Refused`] when nobody can work there; otherwise those of git and of the system.
pub fn fix(
    options: &Options,
    folder: &RunFolder,
    ground: Ground<'_>,
) -> Result<Workspace, TreesError> {
    let workspace = find(options, folder, ground)?;
    match &options.retry_of {
        Some(retry) if !retry.from_scratch && workspace.isolation == Isolation::Worktree => {
            retried::build_on(workspace, folder, &retry.job)
        }
        _ => Ok(workspace),
    }
}

/// Finds it, as it lies there.
fn find(
    options: &Options,
    folder: &RunFolder,
    ground: Ground<'_>,
) -> Result<Workspace, TreesError> {
    let Some(named) = &options.workspace else { return fresh::own(folder) };
    let named = Path::new(named);
    if !named.is_absolute() || !named.is_dir() {
        return refused(named, "it is not an absolute path of a directory");
    }
    let dir = named.canonicalize().map_err(fsx::at(named))?;
    if folder.is_made_ahead(&dir) {
        return refused(&dir, "it was made for the next job, which takes it");
    }
    let found = find_repository(&dir)?;
    if let Some(top) = found.as_ref().map(|repository| &repository.top)
        && !top.canonicalize().is_ok_and(|top| dir.starts_with(top))
    {
        let why = format!("its repository has its files elsewhere, at {}", top.display());
        return refused(&dir, &why);
    }
    let isolation = match found {
        Some(_) => options.isolation,
        None => Isolation::InPlace,
    };
    if isolation == Isolation::InPlace {
        if options.enforce == Enforce::Strict {
            return refused(&dir, "claims are enforced in repositories only (`enforce`)");
        }
        refuse_nesting(&dir, ground)?;
    }
    match found {
        Some(repository) => in_repository(&repository, isolation, folder),
        None => Ok(plain(&dir)),
    }
}

fn refused<T>(path: &Path, why: &str) -> Result<T, TreesError> {
    Err(TreesError::Refused { path: path.display().to_string(), why: why.to_owned() })
}

fn plain(dir: &Path) -> Workspace {
    Workspace {
        isolation: Isolation::InPlace,
        top: dir.display().to_string(),
        git_dir: String::new(),
        prefix: String::new(),
        base: String::new(),
        dirty: false,
    }
}

/// An agent that writes in place must not be able to write in the root or in codex's home.
fn refuse_nesting(dir: &Path, ground: Ground<'_>) -> Result<(), TreesError> {
    for (name, other) in [("the root", Some(ground.root)), ("CODEX_HOME", ground.codex_home)] {
        let Some(other) = other.and_then(|path| path.canonicalize().ok()) else { continue };
        if dir.starts_with(&other) || other.starts_with(dir) {
            let why = format!(
                "agents would write in place, and it and {name} ({}) contain one another",
                other.display()
            );
            return refused(dir, &why);
        }
    }
    Ok(())
}

/// A repository as `rev-parse` sees it from a directory.
struct Repository {
    git_dir: String,
    prefix: String,
    top: PathBuf,
}

/// Whether git might find a repository from here: a checkout has `.git`, a repository itself `HEAD` (gitrepository-layout(5)).
/// Spares the question where there is neither.
fn may_be_in_one(dir: &Path) -> bool {
    dir.ancestors().any(|above| [".git", "HEAD"].iter().any(|name| is_something(&above.join(name))))
}

fn find_repository(dir: &Path) -> Result<Option<Repository>, TreesError> {
    if !may_be_in_one(dir) {
        return Ok(None);
    }
    let args = ["rev-parse", "--path-format=absolute", "--is-bare-repository", "--git-common-dir"];
    let git = Git::at(dir);
    let answer = git.read(args).arg("--show-prefix").arg("--show-toplevel").ask()?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    match (answer.code, lines.as_slice()) {
        (0, ["false", git_dir, prefix, top]) => Ok(Some(Repository {
            git_dir: (*git_dir).to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            top: PathBuf::from(*top),
        })),
        (_, ["true", ..]) => refused(dir, "it is a bare repository: name a checkout"),
        (128, []) if answer.stderr.contains("not a git repository") => {
            // One that git cannot read is no plain directory: agents must not write over somebody's checkout.
            match dir.ancestors().map(|d| d.join(".git")).find(|git| is_something(git)) {
                Some(git) => {
                    refused(dir, &format!("git cannot read its repository ({})", git.display()))
                }
                None => Ok(None),
            }
        }
        (0, _) => refused(dir, "its path has a line break"),
        _ => refused(dir, &format!("git says: {}", answer.stderr)),
    }
}

/// Whether there is a git directory, or what was one; an empty folder is a mount point that a sandbox left.
fn is_something(git: &Path) -> bool {
    let is_empty_dir = || std::fs::read_dir(git).is_ok_and(|mut entries| entries.next().is_none());
    git.symlink_metadata().is_ok() && !is_empty_dir()
}

fn in_repository(
    repository: &Repository,
    isolation: Isolation,
    folder: &RunFolder,
) -> Result<Workspace, TreesError> {
    let git = Git::at(&repository.top);
    let base = match resolve(&git, "HEAD^{commit}")? {
        Some(base) => base,
        None => empty_base(&git, Path::new(&repository.git_dir), folder)?,
    };
    if isolation == Isolation::Worktree {
        refuse_special(&git, &repository.top, &base)?;
        refuse_filters(&git, repository, &base)?;
    }
    Ok(Workspace {
        isolation,
        top: repository.top.display().to_string(),
        git_dir: repository.git_dir.clone(),
        prefix: repository.prefix.clone(),
        base,
        dirty: is_dirty(&git)?,
    })
}

pub(super) fn resolve(git: &Git, name: &str) -> Result<Option<Oid>, TreesError> {
    resolved(git.read(RESOLVE).arg(name))
}

/// How git is asked what a name leads to.
pub(super) const RESOLVE: [&str; 3] = ["rev-parse", "-q", "--verify"];

/// What such a call says.
pub(super) fn resolved(call: Call<'_>) -> Result<Option<Oid>, TreesError> {
    let answer = call.ask()?;
    let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    Ok((answer.code == 0 && !text.is_empty()).then_some(text))
}

/// Whether there are changes that the job will not see.
fn is_dirty(git: &Git) -> Result<bool, TreesError> {
    let call = git.read(["status", "--porcelain", "-z", "--ignore-submodules=all"]);
    match call.patience(DIRTY_PATIENCE).limit(1).run() {
        Ok(out) => Ok(!out.is_empty()),
        Err(GitError::TooLarge { .. } | GitError::TimedOut { .. }) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// Refuses what a worktree of ours would not show as the user's checkout does.
fn refuse_special(git: &Git, top: &Path, base: &str) -> Result<(), TreesError> {
    let sparse = git.read(["config", "--type=bool", "--get", "core.sparseCheckout"]).ask()?;
    if sparse.stdout.starts_with(b"true") {
        return refused(top, "it is a sparse checkout: name a full one");
    }
    let modules = format!("{base}:.gitmodules");
    if git.read(["cat-file", "-e", &modules]).ask()?.code == 0 {
        return refused(top, "it has submodules, which worktrees do not carry");
    }
    let grep = git.read(["grep", "-q", "-e", "filter=lfs", base, "--"]);
    if grep.arg(":(glob)**/.gitattributes").ask()?.code == 0 {
        return refused(top, "it keeps files in LFS, which worktrees do not carry");
    }
    Ok(())
}

/// Refuses files that a program of the user's turns into something else on their way to and from the disk: in a tree of
/// ours it would run on what an agent wrote, outside of any sandbox, and without it something else would land.
fn refuse_filters(git: &Git, repository: &Repository, base: &str) -> Result<(), TreesError> {
    match filtered(git, &repository.git_dir, base)? {
        Some((path, driver)) => {
            let why = format!(
                "{path} goes through the filter {driver:?}, a program of its own: take it out of .gitattributes, \
                 or name another directory"
            );
            refused(&repository.top, &why)
        }
        None => Ok(()),
    }
}

/// The commit without files that a job starts from where nothing was committed yet.
fn empty_base(git: &Git, git_dir: &Path, folder: &RunFolder) -> Result<Oid, TreesError> {
    let name = format!("refs/numerus/{}/base", folder.job());
    if let Some(base) = resolve(git, &name)? {
        return Ok(base);
    }
    let tree = git.write_durably(["mktree"]).input(b"").line()?;
    let commit = as_numerus(git.write_durably(["commit-tree", &tree]))
        .input(b"numerus: nothing was committed yet\n")
        .line()?;
    // Only the holder of the job's lock writes this ref: a lock beside it is what a killed git left.
    fsx::remove(&git_dir.join(format!("{name}.lock")))?;
    git.write_durably(["update-ref", &name, &commit]).run()?;
    Ok(commit)
}

/// Says who commits where the repository does not.
pub(super) fn as_numerus(call: Call<'_>) -> Call<'_> {
    call.env("GIT_AUTHOR_NAME", "Numerus")
        .env("GIT_AUTHOR_EMAIL", "numerus@localhost")
        .env("GIT_COMMITTER_NAME", "Numerus")
        .env("GIT_COMMITTER_EMAIL", "numerus@localhost")
}
