//! Floor 3a: `runs/JOB/report.html` and `runs/index.html`, pages for people in which a job, or all of them, can be seen at a
//! glance. Derived: everything in them is told by the journal and the files beside it, and nothing is ever read back from them.
//!
//! Promises: a page is whole or not there, loads nothing, runs nothing, and shows whatever agents, repositories and job files
//! wrote as text; it is bounded, whatever the job did. Writing one flushes nothing, and takes no room that is kept for work.
//!
//! Diagnostics: a page that cannot be written is the caller's to note; no job is worth less without it.

mod claims;
mod diff;
mod files;
mod findings;
mod graph;
mod head;
mod html;
mod lanes;
mod left_out;
mod material;
mod overview;
mod page;
mod spending;
mod tasks;
#[cfg(test)]
mod tests;
mod words;

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::html::Html;
use self::material::Material;
use crate::logic::words::plural;
use crate::model::root::Root;
use crate::os::lock::FileLock;
use crate::os::{clock, disk, fsx};
use crate::runs::{RunFolder, Runs};
use crate::spool::Spool;

/// The word by which this program becomes who writes the overview once.
pub const WRITER: &str = "__overview";

/// Room that must be left on the disk: with less, pages are the first to go without.
const ROOM: u64 = 32 * 1024 * 1024;
/// How long one waits for another who writes the overview.
const PATIENCE: Duration = Duration::from_secs(2);
/// One page at a time in this process, so that an older one never replaces a newer.
static WRITING: Mutex<()> = Mutex::new(());

/// Where the report of a job lies.
pub fn path(folder: &RunFolder) -> PathBuf {
    folder.dir().join("report.html")
}

/// Where the overview of a root lies.
pub fn overview_path(root: &Root) -> PathBuf {
    Runs::of(root).dir().join("index.html")
}

/// Writes the report of a job anew, unless it is fresh. For the holder of the job's lock; `is_worked_on` is whether that is a
/// worker.
///
/// # Errors
/// When the journal cannot be read or the page not be written.
pub fn refresh(folder: &RunFolder, is_worked_on: bool) -> Result<()> {
    let _one_at_a_time = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let material = material::read_facts(folder, is_worked_on, clock::now())?;
    let path = path(folder);
    let generator = generator(&material);
    let is_fresh = fsx::read_head(&path, page::HEAD_BYTES)
        .is_ok_and(|(head, _)| page::is_fresh(&head, &generator));
    if is_fresh {
        return Ok(());
    }
    replace(&path, &report(&material.with_files(folder)))
}

/// From what a report is written. Patches and logs are left out: they change with a fact.
fn generator(of: &Material) -> String {
    let is_open = !of.state.phase.is_final();
    page::generator(&page::Sources {
        last_seq: of.last_seq,
        is_worked_on: is_open.then_some(of.is_held),
        notes: of.notes.values().map(Vec::len).sum(),
        waits: of.waits.as_ref().map(|status| head::waits(status, &of.zone)).unwrap_or_default(),
    })
}

/// The page of a job.
fn report(of: &Material) -> String {
    let title = format!("{}: {}", of.state.phase.as_str(), head::title(of));
    page::page(&title, &generator(of), |html| {
        head::write(html, of);
        lanes::write(html, of);
        graph::write(html, of);
        tasks::write(html, of);
        findings::write(html, of);
        diff::write(html, of);
        spending::write(html, of);
        files::write(html, of);
        full(html);
        html.within("footer", &[], |html| {
            html.text("written ");
            words::moment(html, of.now, &of.zone);
            html.text(&format!(" from {}", plural(of.events.len(), "fact")));
            html.text(if of.state.phase.is_final() {
                ""
            } else {
                "; load it again for what is new"
            });
        });
    })
}

/// Says so where the page was too full for all of it.
fn full(html: &mut Html) {
    if !html.has_room() {
        html.within("p", &[("class", "note")], |html| {
            html.text("There is more than this page has room for: see ");
            html.leaf("a", &[("href", "./")], "the run folder");
        });
    }
}

/// Says that something has become of a job: a daemon that leads writes the overview anew in a moment; where none does it is written here.
///
/// # Errors
/// As [`refresh_overview`].
pub fn overview_changed(root: &Root) -> Result<()> {
    match Spool::of(root).mark_overview() {
        Ok(()) => see_to_overview(root),
        Err(_) => refresh_overview(root),
    }
}

/// Writes the overview of a root anew if it is behind and no daemon leads. Whoever has marked it, or led, calls this afterwards, so that of the two
/// one sees what the other did.
///
/// # Errors
/// As [`refresh_overview`].
pub fn see_to_overview(root: &Root) -> Result<()> {
    let spool = Spool::of(root);
    let is_ours = || !spool.is_led() && spool.is_overview_behind();
    if is_ours() { write_overview_if(root, is_ours) } else { Ok(()) }
}

/// Writes the overview of a root anew.
///
/// # Errors
/// When the spool cannot be read or the page not be written; it is marked as behind then.
pub fn refresh_overview(root: &Root) -> Result<()> {
    write_overview_if(root, || true)
}

/// The same once nobody else writes it, unless that has become needless meanwhile.
fn write_overview_if(root: &Root, is_needed: impl Fn() -> bool) -> Result<()> {
    let path = overview_path(root);
    let lock = path.with_file_name(".index.lock");
    // Who waits here reads after whoever was first has written, so that the last page is the newest.
    let Some(_lock) = FileLock::acquire(&lock, PATIENCE)? else {
        return Err(Error::new(ErrorKind::TimedOut, "somebody else writes it"));
    };
    if !is_needed() {
        return Ok(());
    }
    let spool = Spool::of(root);
    // Before anything is read: what happens from now on marks it again.
    spool.unmark_overview();
    let written = overview::gather(root, clock::now())
        .and_then(|jobs| replace(&path, &overview::write(&jobs)));
    written.inspect_err(|_| drop(spool.mark_overview()))
}

/// Only where there is room for more than that.
fn replace(path: &Path, text: &str) -> Result<()> {
    let room = disk::room(path.parent().unwrap_or(path))?;
    if room.free_bytes < ROOM {
        return Err(fsx::at(path)(Error::new(ErrorKind::StorageFull, "the disk is nearly full")));
    }
    fsx::replace_spare(path, text.as_bytes())
}
