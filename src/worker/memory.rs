//! What a worker is told of earlier jobs, and what it leaves for later ones.
//!
//! Diagnostics: nothing here keeps a job from going on. A memory that cannot be used is told of in `worker.log`, and the job
//! is planned, and ends, without it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ending::Ending;
use crate::logic::state::JobState;
use crate::logic::{earlier, quality};
use crate::model::PROTOCOL_VERSION;
use crate::model::claim::ClaimQuality;
use crate::model::event::Fact;
use crate::model::memory::Entry;
use crate::model::workspace::{Oid, Workspace};
use crate::os::clock;
use crate::os::console::{neutral_json, one_line};
use crate::runs::RunFolder;
use crate::store::StoreError;
use crate::store::memory::{self, Memory};

use super::desk::{Desk, aside};

/// Jobs whose claims tell the next one something.
const EARLIER_JOBS: u32 = 20;
/// Most paths that are remembered of what a job wrote.
const MOST_PATHS: usize = 100;

/// What earlier jobs on this workspace teach about claims, as one line; looked up once.
pub(super) async fn lessons(desk: &Desk) -> Option<String> {
    desk.lessons.get_or_init(|| look(desk, |asked| lessons_of(&asked))).await.clone()
}

/// What a planner is told: those lessons, and the earlier jobs on this workspace that are most like this one, a record a line.
pub(super) async fn earlier(desk: &Desk) -> (Option<String>, Option<String>) {
    let (lessons, similar) =
        look(desk, |asked| Ok((lessons_of(&asked)?, similar_of(&asked)?))).await;
    let _known_already = desk.lessons.set(lessons.clone());
    (lessons, similar)
}

/// The memory as it was asked before, for when the job is remembered: both open the same database.
pub(super) type Kept = Arc<Mutex<Option<Memory>>>;

/// A memory, and what it is asked about.
struct Asked<'a> {
    memory: &'a Memory,
    workspace: &'a Workspace,
    objective: &'a str,
}

fn lessons_of(asked: &Asked<'_>) -> Result<Option<String>, StoreError> {
    let last = asked.memory.last(&asked.workspace.top, EARLIER_JOBS)?;
    let all: Vec<ClaimQuality> = last.iter().map(Entry::quality).collect();
    let said = quality::mean(&all).and_then(|mean| quality::words(&mean, &asked.workspace.prefix));
    Ok(said.map(|said| one_line(&said)))
}

fn similar_of(asked: &Asked<'_>) -> Result<Option<String>, StoreError> {
    let top = &asked.workspace.top;
    let found = asked.memory.similar(asked.objective, top, earlier::MOST_JOBS)?;
    let told = earlier::told(&found, &asked.workspace.prefix);
    Ok(told.map(|told| neutral_json(&told).into_owned()))
}

/// Asks the memory something about this workspace and this objective, if the job may know of others and there is a memory.
async fn look<T: Default + Send + 'static>(
    desk: &Desk,
    ask: impl Fn(Asked<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    let store = desk.root.store();
    let is_there = ["memory.ndjson", "memory.db"].iter().any(|name| store.join(name).exists());
    let (workspace, folder) = (desk.workspace(), desk.folder.clone());
    // In a repository of its own nobody was before.
    let workspace = workspace.ok().filter(|workspace| !folder.is_own(&workspace.top));
    let Some(workspace) = workspace.filter(|_| is_there && desk.job.options.memory) else {
        return T::default();
    };
    let (objective, kept) = (desk.job.objective.clone(), desk.memory.clone());
    let asked = move || {
        let (workspace, objective) = (&workspace, &objective);
        let asked = |memory: &Memory| ask(Asked { memory, workspace, objective });
        let answer = open(&store, &folder, &kept).and_then(|memory| {
            say_restored(&folder, &memory);
            let answer = asked(&memory)?;
            *lock(&kept) = Some(memory);
            Ok(answer)
        });
        let answer = answer.or_else(|e| {
            folder.note(&format!("cannot {e}: the memory is asked once more"));
            Memory::ask(&store, asked)
        });
        let say =
            |e: &StoreError| folder.note(&format!("cannot {e}: nothing is told of earlier jobs"));
        answer.inspect_err(say).unwrap_or_default()
    };
    aside(asked).await.unwrap_or_default()
}

fn lock(kept: &Kept) -> MutexGuard<'_, Option<Memory>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the memory, again if one is kept, without its database where that cannot be used, which is said in the worker's log.
fn open(store: &Path, folder: &RunFolder, kept: &Kept) -> Result<Memory, StoreError> {
    let kept = lock(kept).take();
    kept.map_or_else(|| Memory::open(store), Memory::open_again).or_else(|e| {
        folder.note(&format!("cannot {e}: the memory is read from memory.ndjson"));
        Memory::of_truth(store)
    })
}

fn say_restored(folder: &RunFolder, memory: &Memory) {
    if let Some(restored) = memory.restored() {
        folder.note(restored);
    }
}

/// Remembers a job that ends. Best effort: a job that is done is not undone by a full disk.
pub(super) fn remember(desk: &Desk, end: &Ending) {
    let bank = desk.book.state(|s| s.workspace.as_ref().map(|w| w.top.clone()));
    let Some(bank) = bank.filter(|_| desk.job.options.memory) else { return };
    let entry = entry(desk, end, bank);
    let store = desk.root.store();
    let put = |mut memory: Memory| {
        let remembered = memory.remember(&entry);
        say_restored(&desk.folder, &memory);
        remembered
    };
    let kept = lock(&desk.memory).take().and_then(Memory::kept);
    let say = |e: &StoreError| desk.folder.note(&format!("cannot {e}: the memory is opened anew"));
    let by_kept = kept.and_then(|memory| put(memory).inspect_err(say).ok());
    let remembered = by_kept
        .map_or_else(|| open(&store, &desk.folder, &desk.memory).and_then(put), Ok)
        .or_else(|_| memory::remember_without_database(&store, &entry).map(|()| false));
    match remembered {
        Ok(is_new) => {
            let bank = entry.bank;
            if is_new {
                let _evidence = desk.book.record(None, Fact::BankCreated { bank: bank.clone() });
            }
            let _evidence = desk.book.record(None, Fact::EntryAdded { bank });
        }
        Err(e) => desk.folder.note(&format!("cannot {e}: this job is not remembered")),
    }
}

fn entry(desk: &Desk, end: &Ending, bank: String) -> Entry {
    let plan = |s: &JobState| s.tasks.iter().map(|t| t.task.summary.clone()).collect::<Vec<_>>();
    let tasks = desk.book.state(|s| s.tasks.iter().map(|t| t.task.id.clone()).collect::<Vec<_>>());
    let claimed = tasks.iter().filter_map(|id| desk.folder.read_claim(id).ok().flatten());
    let quality = desk.book.state(claim_quality);
    Entry {
        version: PROTOCOL_VERSION,
        job_id: desk.job.id.clone(),
        bank,
        at: clock::now(),
        objective: desk.job.objective.clone(),
        plan: desk.book.state(plan).join("\n"),
        claims: claimed.flat_map(|c| c.resources.writes).map(|p| p.text()).collect(),
        outcome: end.phase,
        claim_precision: quality.precision,
        claim_recall: quality.recall,
        missed: quality.missed,
        wrote: wrote(desk),
    }
}

/// What the job's own commits changed; what it took in of others is not its own.
fn wrote(desk: &Desk) -> Vec<String> {
    let commits = |s: &JobState| s.tasks.iter().filter_map(|t| t.commit.clone()).collect();
    let commits: Vec<Oid> = desk.book.state(commits);
    if commits.is_empty() {
        return Vec::new();
    }
    let changed = desk.trees().ok().and_then(|trees| trees.changed_by(&commits).ok());
    changed.unwrap_or_default().into_iter().take(MOST_PATHS).collect()
}

/// The means over all claims of the job that were measured.
fn claim_quality(state: &JobState) -> ClaimQuality {
    let measured = state.tasks.iter().flat_map(|t| &t.measured);
    let all: Vec<ClaimQuality> = measured.map(|(_, quality)| quality.clone()).collect();
    quality::mean(&all).unwrap_or_default()
}
