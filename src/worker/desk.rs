//! What the lanes of a worker share: the job, its book, the one who asks codex, the trees and the leases.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle};

use super::book::Book;
use super::early::Early;
use super::foreseeing::{Foreseen, Tools};
use super::listening::Listening;
use super::memory::Kept;
use super::stuck::Stuck;
use crate::codex::Asker;
use crate::codex::log_budget::Budget;
use crate::codex::prompt::Prompts;
use crate::leases::Leases;
use crate::logic::lifecycle;
use crate::logic::state::JobState;
use crate::logic::supervise::StopReason;
use crate::logic::task::TaskState;
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::job::Job;
use crate::model::outcome::{Failure, FailureKind};
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::model::workspace::{Isolation, Oid, Workspace};
use crate::os::clock;
use crate::runs::RunFolder;
use crate::trees::{Trees, TreesError};

/// The way to be told to stop.
pub(super) type Stop = watch::Receiver<Option<StopReason>>;
/// What a lane ends with.
pub(super) type Outcome<T> = Result<T, Failure>;

/// A look at the workspace that is under way.
pub(super) type Fixing = JoinHandle<Result<Workspace, TreesError>>;

/// The shared things of one worker.
pub(super) struct Desk {
    pub(super) root: Root,
    pub(super) settings: Settings,
    pub(super) job: Job,
    pub(super) folder: RunFolder,
    pub(super) book: Book,
    pub(super) asker: Asker,
    /// The git side; set once the workspace is fixed, never for one that is no repository.
    trees: OnceLock<Arc<Trees>>,
    /// The look at the workspace, if one was begun.
    fixing: Mutex<Option<Fixing>>,
    /// Trees that are made early, if any are.
    early: Mutex<Option<Early>>,
    /// Bounds the executions at a time; a claim that waits for its lease holds none.
    pub(super) lanes: tokio::sync::Semaphore,
    /// One landing at a time.
    pub(super) landing: tokio::sync::Mutex<()>,
    /// One that is next, and is made ready meanwhile; the commit that the last one has made the tip, or is about to.
    pub(super) laying: tokio::sync::Mutex<Option<Oid>>,
    /// What claims that wait listen to.
    pub(super) listening: Listening,
    /// One question to the queen at a time.
    pub(super) queen: tokio::sync::Mutex<()>,
    /// What earlier jobs on this workspace teach about claims; looked up once.
    pub(super) lessons: tokio::sync::OnceCell<Option<String>>,
    /// The memory, once it was asked.
    pub(super) memory: Kept,
    /// Tells the loop to look again: a lane has become free although it has not ended.
    pub(super) bell: Notify,
}

impl Desk {
    /// Puts everything in its place; a sentence when codex cannot be used.
    pub(super) fn set_up(
        (root, settings): (&Root, &Settings),
        folder: &RunFolder,
        job: Job,
        book: Book,
        foreseen: Option<Foreseen>,
    ) -> Result<Arc<Self>, String> {
        let known = foreseen.and_then(|foreseen| foreseen.tools_of(&job));
        let Tools { codex, slots, holds } =
            known.map_or_else(|| Tools::find(root, settings, &job), Ok)?;
        let (recorder, purse, purse_of) = (book.clone(), book.clone(), job.clone());
        let asker = Asker {
            codex,
            job: job.clone(),
            folder: folder.clone(),
            prompts: Prompts::new(&root.prompts()),
            slots,
            holds,
            parked: Mutex::new(book.state(|s| s.parked.clone())),
            record: Arc::new(move |task: Option<&TaskId>, fact: Fact| recorder.record(task, fact)),
            objection: Arc::new(move || purse.state(|s| over_budget(s, &purse_of))),
            logs: Arc::new(Budget::open(root, settings, folder)),
            numbers: Mutex::new(book.state(|s| s.session_numbers.clone())),
            resting: Mutex::default(),
        };
        let max_parallel = job.options.max_parallel.max(1);
        Ok(Arc::new(Self {
            root: root.clone(),
            settings: settings.clone(),
            job,
            folder: folder.clone(),
            book,
            asker,
            trees: OnceLock::new(),
            fixing: Mutex::default(),
            early: Mutex::default(),
            lanes: tokio::sync::Semaphore::new(max_parallel),
            landing: tokio::sync::Mutex::new(()),
            laying: tokio::sync::Mutex::default(),
            listening: Listening::default(),
            queen: tokio::sync::Mutex::new(()),
            lessons: tokio::sync::OnceCell::new(),
            memory: Kept::default(),
            bell: Notify::new(),
        }))
    }

    /// The look at the workspace, if one was begun that nobody has waited for.
    pub(super) fn fixing(&self) -> MutexGuard<'_, Option<Fixing>> {
        self.fixing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trees that are made early, if any are.
    pub(super) fn early(&self) -> MutexGuard<'_, Option<Early>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for it where its answer is not needed any more: nothing of it goes on once the job is at its end, or somebody else's.
    pub(super) async fn end_fixing(&self) {
        let begun = self.fixing().take();
        if let Some(begun) = begun {
            drop(begun.await);
        }
    }

    /// The workspace as it was fixed.
    pub(super) fn workspace(&self) -> Outcome<Workspace> {
        self.book.state(|s| s.workspace.clone()).ok_or_else(|| bug("the workspace is not fixed"))
    }

    /// The commit that the job has come to; empty where there is no repository.
    pub(super) fn tip(&self) -> Oid {
        self.book.state(|s| s.tip.clone()).unwrap_or_default()
    }

    /// The git side, opened on first use.
    pub(super) fn trees(&self) -> Outcome<Arc<Trees>> {
        if let Some(trees) = self.trees.get() {
            return Ok(trees.clone());
        }
        let tip = self.tip();
        let trees = Trees::open(&self.workspace()?, &self.folder, &tip).map_err(of_trees)?;
        let found = trees.tip().map_err(of_trees)?;
        if found != tip {
            return Err(bug(format!("somebody else moved the job's tip from {tip} to {found}")));
        }
        Ok(self.trees.get_or_init(|| Arc::new(trees)).clone())
    }

    /// Whether agents write in the directory itself.
    pub(super) fn is_in_place(&self) -> Outcome<bool> {
        Ok(self.workspace()?.isolation == Isolation::InPlace)
    }

    /// Where agents work when they work in the directory itself.
    pub(super) fn plain_cwd(&self) -> Outcome<PathBuf> {
        let workspace = self.workspace()?;
        Ok(PathBuf::from(workspace.top).join(workspace.prefix))
    }

    /// The lease folder of the workspace, shared by all roots that work on it.
    pub(super) fn lease_folder(&self) -> Outcome<PathBuf> {
        let workspace = self.workspace()?;
        Ok(if workspace.git_dir.is_empty() {
            self.root.store().join("leases/plain")
        } else {
            of_repository(&workspace)
        })
    }

    /// The same, opened.
    pub(super) fn leases(&self) -> Outcome<Leases> {
        Leases::open(&self.lease_folder()?).map_err(|e| bug(e.to_string()))
    }

    /// What is put before a claim's paths in the lease folder: they are relative to the repository's top, or, where there
    /// is no repository, to the root of the file system, so that a directory and one inside it meet.
    pub(super) fn lease_prefix(&self) -> Outcome<String> {
        let workspace = self.workspace()?;
        let is_plain = workspace.git_dir.is_empty();
        Ok(if is_plain { workspace.top.trim_matches('/').to_owned() } else { workspace.prefix })
    }

    /// A task as it stands.
    pub(super) fn task(&self, id: &TaskId) -> Outcome<TaskState> {
        self.book.state(|s| s.task(id).cloned()).ok_or_else(|| bug(format!("no task {id}")))
    }

    /// Writes a fact down.
    pub(super) fn record(&self, task: Option<&TaskId>, fact: Fact) -> Outcome<()> {
        self.book.record(task, fact).map_err(|e| bug(format!("cannot write the journal: {e}")))
    }
}

/// The lease folder of a repository.
pub(super) fn of_repository(workspace: &Workspace) -> PathBuf {
    PathBuf::from(&workspace.git_dir).join("numerus/leases")
}

/// Why no further session may be paid for, if so. What it was for is left undone; the loop then ends the job.
fn over_budget(state: &JobState, job: &Job) -> Option<Failure> {
    let end = lifecycle::over_budget(state, job, clock::steady())?;
    Some(Failure::new(FailureKind::Left, format!("the budget is used up: {}", end.message)))
}

/// Our own or the machine's fault.
pub(super) fn bug(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Bug, message)
}

/// A failure of the git side, typed.
pub(super) fn of_trees(error: TreesError) -> Failure {
    Stuck::from(error).into()
}

/// Runs a blocking call apart from the loop.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Outcome<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| lost(&e))
}

/// What became of a blocking call that did not come back.
pub(super) fn lost(error: &JoinError) -> Failure {
    bug(format!("a step was lost: {error}"))
}

/// Runs a blocking call of the git side apart from the loop.
pub(super) async fn with_trees<T: Send + 'static>(
    desk: &Desk,
    work: impl FnOnce(&Trees) -> Result<T, TreesError> + Send + 'static,
) -> Outcome<T> {
    let trees = desk.trees()?;
    aside(move || work(&trees)).await?.map_err(of_trees)
}
