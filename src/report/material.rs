//! What a report is made of: everything that a page shows, as values. Read from a run folder by [`read_facts`], then
//! [`Material::with_files`]; what cannot be read
//! is left out, and said so.

use std::collections::BTreeMap;
use std::io::Result;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::logic::attempts::{self, Attempt};
use crate::logic::state::JobState;
use crate::logic::timeline::Timeline;
use crate::logic::words::plural;
use crate::model::event::Event;
use crate::model::id::{JobId, TaskId};
use crate::model::job::Job;
use crate::model::status::{JobPhase, Status};
use crate::os::{clock, fsx};
use crate::runs::{FilesOf, JournalReader, RunFolder};

/// Most bytes that are shown of the patch of one task.
pub(super) const PATCH_BYTES: u64 = 128 * 1024;
/// Most bytes that are shown of the output of verify commands.
pub(super) const VERIFY_BYTES: u64 = 16 * 1024;

/// The part of a file that is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// How many bytes the file has.
    pub(super) of: u64,
}

impl Piece {
    /// Whether that is not all.
    pub(super) fn is_cut(&self) -> bool {
        (self.bytes.len() as u64) < self.of
    }
}

/// Everything that a report shows.
#[derive(Debug)]
pub(super) struct Material {
    /// The job's id.
    pub(super) id: JobId,
    /// What was accepted; `None` where that cannot be read.
    pub(super) job: Option<Job>,
    /// Why it waits although nothing says so in its journal: for its time, or for another job.
    pub(super) waits: Option<Status>,
    /// What people told the agents: all of them first, under no name, then those of single tasks.
    pub(super) notes: BTreeMap<String, Vec<String>>,
    /// What the journal holds.
    pub(super) events: Vec<Event>,
    /// The number of its last fact.
    pub(super) last_seq: u64,
    /// What is wrong with the records, in sentences.
    pub(super) trouble: Vec<String>,
    /// What the journal adds up to.
    pub(super) state: JobState,
    /// What it tells of time.
    pub(super) timeline: Timeline,
    /// What it tells of attempts.
    pub(super) attempts: BTreeMap<TaskId, Vec<Attempt>>,
    /// What each task landed.
    pub(super) patches: BTreeMap<TaskId, Piece>,
    /// The end of what verify commands wrote, at most [`VERIFY_BYTES`].
    pub(super) verify: Option<Vec<u8>>,
    /// The files for people, by their place; the run folder's own first, under no name.
    pub(super) files: Vec<FilesOf>,
    /// Whether it has a repository of its own.
    pub(super) is_own: bool,
    /// Whether somebody works on it.
    pub(super) is_held: bool,
    /// When it is written.
    pub(super) now: Timestamp,
    /// The zone that times are shown in.
    pub(super) zone: TimeZone,
}

impl Material {
    /// Whether the job's records name that file.
    pub(super) fn has(&self, place: &str, file: &str) -> bool {
        let files = self.files.iter().find(|files| files.place == place);
        files.is_some_and(|files| files.names.iter().any(|name| name == file))
    }

    /// With what lies in the files beside the journal, of which there may be much.
    pub(super) fn with_files(self, folder: &RunFolder) -> Self {
        let files = folder.files_for_people(self.state.tasks.iter().map(|t| &t.task.id));
        let patches = self.state.tasks.iter().filter(|t| t.commit.is_some());
        let piece = |(bytes, of)| Piece { bytes, of };
        let patches = patches.filter_map(|t| {
            let place = folder.place(t.task.id.as_str());
            let head = fsx::read_head(&place.patch(), PATCH_BYTES).ok()?;
            Some((t.task.id.clone(), piece(head)))
        });
        let patches = patches.collect();
        let log = folder.place("verify").command_log("verify");
        let verify = fsx::read_tail(&log, VERIFY_BYTES).ok();
        Self { patches, verify, files, ..self }
    }
}

/// Reads what tells whether a page is fresh: all but the patches, logs and names of files.
///
/// # Errors
/// When the journal is there and cannot be read.
pub(super) fn read_facts(folder: &RunFolder, is_held: bool, now: Timestamp) -> Result<Material> {
    let mut trouble = Vec::new();
    let job = folder.read_job().unwrap_or_else(|e| {
        trouble.push(format!("What was accepted cannot be read: {e}"));
        None
    });
    let replay = JournalReader::read_any(&folder.journal())?;
    if let Some(damage) = &replay.damage {
        trouble.push(format!(
            "The journal is damaged: {damage}. This page shows what can be read of it."
        ));
    } else if replay.skipped > 0 {
        let lines = plural(usize::try_from(replay.skipped).unwrap_or(usize::MAX), "line");
        trouble.push(format!("{lines} of the journal could not be understood."));
    }
    let (state, timeline) = Timeline::replay(&replay.events);
    let of_tasks = state.tasks.iter().map(|t| Some(&t.task.id));
    let notes = [None].into_iter().chain(of_tasks).filter_map(|of| {
        let told = folder.notes(of);
        (!told.is_empty()).then(|| (of.map(ToString::to_string).unwrap_or_default(), told))
    });
    let notes = notes.collect();
    let waits = folder
        .read_status()
        .filter(|s| state.phase == JobPhase::Queued && s.state == JobPhase::Paused);
    let is_own = state.workspace.as_ref().is_some_and(|w| folder.is_own(&w.top));
    Ok(Material {
        id: folder.job().clone(),
        job,
        waits,
        notes,
        last_seq: replay.last_seq,
        trouble,
        attempts: attempts::of(&replay.events),
        patches: BTreeMap::new(),
        verify: None,
        files: Vec::new(),
        state,
        timeline,
        events: replay.events,
        is_own,
        is_held,
        now,
        zone: clock::zone(),
    })
}
