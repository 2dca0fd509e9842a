//! The end of a job's traces in its repository. When the job itself is removed: where its result is, its registered trees, its
//! refs; a branch is never touched. When somebody else takes it up or ends it: the trees that a dead worker left and nobody needs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::logic::prune::Standing;
use crate::model::workspace::{Oid, Workspace};
use crate::os::fsx;
use crate::os::git::Git;
use crate::runs::{Place, RunFolder};

use super::own::own_branches;
use super::tree::Birth;
use super::{Foreign, Tree, Trees, TreesError, copy};

/// Longest time for a copy of a repository, however large it is.
const OF_A_BUNDLE: Duration = Duration::from_secs(3600);

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
    let trees = Trees::new(workspace, folder);
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

/// The branch that a ref is, if it is one of a job, by its name.
fn of_job(name: &str) -> Option<&str> {
    name.strip_prefix("refs/heads/").filter(|branch| branch.starts_with("numerus/"))
}

/// Writes a copy of the repository that lies in a job's own run folder into a file.
///
/// # Errors
/// When git fails, or there is no room.
pub fn bundle(folder: &RunFolder, to: &File) -> Result<(), TreesError> {
    let git = Git::at(&folder.own_workspace());
    let call = git.read(["bundle", "create", "-q", "-", "--all"]).patience(OF_A_BUNDLE);
    match call.output_to(to.try_clone()?).run() {
        Ok(_) => Ok(()),
        // Git tells of a full disk in its own words; the kernel says it to us as well.
        Err(e) => Err(lack_of_room(to).map_or(e.into(), TreesError::from)),
    }
}

/// Why no more can be written to a file that is given up anyway, if so.
fn lack_of_room(mut file: &File) -> Option<std::io::Error> {
    file.write_all(&vec![0; 64 * 1024]).err()
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

/// Removes trees that are of no use any more, each by its place and number: a dead worker may have left them. The caller holds the job's
/// lock, and has made sure that nothing lives in them.
///
/// # Errors
/// Those of git and of the file system; what was removed stays removed.
pub fn clear_unused<'a>(
    workspace: &Workspace,
    folder: &RunFolder,
    unused: impl IntoIterator<Item = (&'a str, u32)>,
) -> Result<(), TreesError> {
    if workspace.git_dir.is_empty() {
        return Ok(());
    }
    let trees = Trees::new(workspace, folder);
    let entries = trees.entries()?;
    // One that cannot be removed keeps no other one.
    let clear = |(place, number)| trees.clear(&folder.place(place), number, &entries);
    let all: Vec<_> = unused.into_iter().map(clear).collect();
    all.into_iter().collect()
}

/// Removes a run folder that was put aside, even where an agent has closed folders in it.
///
/// # Errors
/// Those of the system.
pub fn remove_run(dir: &Path) -> Result<(), TreesError> {
    copy::remove_any(dir)
}

impl Trees {
    /// Removes a tree that somebody else has made, or what is left of one.
    fn clear(
        &self,
        place: &Place,
        number: u32,
        entries: &BTreeMap<PathBuf, PathBuf>,
    ) -> Result<(), TreesError> {
        let dir = place.tree(number);
        let real = dir.strip_prefix(self.folder.dir()).map(|below| self.real_folder().join(below));
        let Some(admin) = entries.get(&real.unwrap_or_else(|_| dir.clone())) else {
            // Git has not come to naming it, or knows nothing of it any more.
            copy::remove_any(&dir)?;
            return Ok(fsx::remove(&place.tree_index(number))?);
        };
        let (prefix, base) = (self.workspace().prefix.clone(), Oid::new());
        let birth = Birth::default();
        self.remove(&Tree::known(place, number, &prefix, base, admin.clone(), birth))
    }

    /// The run folder as git names it.
    fn real_folder(&self) -> PathBuf {
        self.folder.dir().canonicalize().unwrap_or_else(|_| self.folder.dir().to_owned())
    }

    /// The entries that the repository keeps of its trees, by the tree that each names.
    fn entries(&self) -> Result<BTreeMap<PathBuf, PathBuf>, TreesError> {
        let worktrees = Path::new(&self.workspace().git_dir).join("worktrees");
        let mut entries = BTreeMap::new();
        for name in fsx::list(&worktrees)? {
            let admin = worktrees.join(name);
            let back = fsx::read_optional(&admin.join("gitdir")).ok().flatten().unwrap_or_default();
            if let Some(dir) = Path::new(back.trim_end()).parent() {
                entries.insert(dir.to_owned(), admin);
            }
        }
        Ok(entries)
    }

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
