//! The end of a job's traces in its repository, when the job itself is removed: where its result is, its registered trees, its
//! refs. A branch is never touched.

use std::path::{Path, PathBuf};

use crate::logic::prune::Standing;
use crate::model::workspace::Workspace;
use crate::os::fsx;
use crate::os::git::Git;
use crate::runs::RunFolder;

use super::own::own_branches;
use super::{Foreign, Trees, TreesError, copy};

/// Where the result of a job is, as far as that can be told. Changes nothing.
pub fn standing(workspace: &Workspace, folder: &RunFolder) -> Standing {
    if workspace.git_dir.is_empty() {
        return Standing::Nothing;
    }
    if folder.is_own(&workspace.top) {
        return Standing::Within;
    }
    match look(workspace, folder) {
        Ok(standing) => standing,
        Err(_cannot) => Standing::Unknown,
    }
}

fn look(workspace: &Workspace, folder: &RunFolder) -> Result<Standing, TreesError> {
    let trees = Trees::to_read(workspace, folder);
    let Some(tip) = trees.find_tip()? else {
        // A repository that is gone has no refs either.
        trees.read(["rev-parse", "--git-dir"]).run()?;
        return Ok(Standing::Nothing);
    };
    let holds = format!("--contains={tip}");
    let args = ["for-each-ref", "--format=%(refname)", &holds, "refs/heads", "refs/remotes"];
    let found = trees.read(args).run()?;
    let found = String::from_utf8_lossy(&found).into_owned();
    let job = folder.job();
    let own = own_branches(job);
    let others: Vec<&str> =
        found.lines().filter(|name| !own.iter().any(|own| own == name)).collect();
    match others.first() {
        Some(_) if others.iter().any(|name| of_job(name).is_none()) => return Ok(Standing::Merged),
        Some(first) => return Ok(Standing::InJob(of_job(first).unwrap_or_default().to_owned())),
        None => {}
    }
    let foreign = Foreign { job: job.clone(), tip };
    Ok(if trees.is_discarded(&foreign)? { Standing::Discarded } else { Standing::Unmerged })
}

impl Trees {
    /// Not `Trees::open`: only the holder of the job's lock may set its refs.
    pub(super) fn to_read(workspace: &Workspace, folder: &RunFolder) -> Self {
        Self {
            workspace: workspace.clone(),
            folder: folder.clone(),
            git: Git::at(Path::new(&workspace.git_dir)),
            has_identity: std::sync::OnceLock::new(),
        }
    }
}

/// The branch that a ref is, if it is one of a job, by its name.
fn of_job(name: &str) -> Option<&str> {
    name.strip_prefix("refs/heads/").filter(|branch| branch.starts_with("numerus/"))
}

/// A copy of the repository that lies in a job's own run folder, as the bytes of one file.
///
/// # Errors
/// When git fails.
pub fn bundle(folder: &RunFolder) -> Result<Vec<u8>, TreesError> {
    let git = Git::at(&folder.own_workspace());
    Ok(git.read(["bundle", "create", "-q", "-", "--all"]).run()?)
}

/// Unregisters and removes the trees of a job's attempts, and with `refs` also its own refs. The caller holds the job's lock,
/// and has made sure that no commit is lost by that.
///
/// # Errors
/// Those of git and of the file system; what was removed stays removed, and it may be done again.
pub fn remove_traces(
    workspace: &Workspace,
    folder: &RunFolder,
    tip: &str,
    refs: bool,
) -> Result<(), TreesError> {
    let is_gone = !Path::new(&workspace.git_dir).exists();
    if workspace.git_dir.is_empty() || is_gone || folder.is_own(&workspace.top) {
        return Ok(());
    }
    let trees = Trees::open(workspace, folder, tip)?;
    for tree in trees.registered()? {
        copy::remove_any(&tree)?;
        let _lock = trees.lock()?;
        let args = ["worktree", "remove", "--force", "--force"];
        trees.write_durably(args).arg(&tree).run()?;
    }
    if refs { trees.forget() } else { Ok(()) }
}

/// Removes a run folder that was put aside, even where an agent has closed folders in it.
///
/// # Errors
/// Those of the system.
pub fn remove_run(dir: &Path) -> Result<(), TreesError> {
    copy::remove_any(dir)
}

impl Trees {
    /// The trees below the job's run folder that the repository knows of.
    fn registered(&self) -> Result<Vec<PathBuf>, TreesError> {
        let out = self.read(["worktree", "list", "--porcelain", "-z"]).run()?;
        let dir = self.folder.dir();
        let dir = dir.canonicalize().map_err(fsx::at(dir))?;
        let text = String::from_utf8_lossy(&out).into_owned();
        let paths = text.split('\0').filter_map(|line| line.strip_prefix("worktree "));
        Ok(paths.map(PathBuf::from).filter(|path| path.starts_with(&dir)).collect())
    }
}
