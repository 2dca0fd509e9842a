//! What a job's hooks still have to be called for: its journal, read from where they were called last.

use std::io::ErrorKind;

use super::{marks, record, scripts};
use crate::logic::hooks::is_current;
use crate::model::event::{Event, Fact};
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::os::{clock, fsx};
use crate::runs::{JournalReader, RunFolder, Runs};

/// The jobs that have a mark.
pub(super) fn marked(root: &Root) -> Vec<JobId> {
    let names = fsx::list(&marks(root)).unwrap_or_default();
    names.into_iter().filter_map(|name| JobId::parse(&name).ok()).collect()
}

/// One job's journal on its way through the hooks.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) run: RunFolder,
    reader: Option<JournalReader>,
    /// The last fact that has been passed.
    done: u64,
    /// What of that is on disk.
    saved: u64,
    /// A fact that hooks are to be called for, read and not yet taken.
    due: Option<Event>,
    is_over: bool,
}

impl Tail {
    pub(super) fn of(root: &Root, job: &JobId) -> Self {
        let run = Runs::of(root).folder(job);
        let done = record::done(&run);
        Self { run, reader: None, done, saved: done, due: None, is_over: false }
    }

    /// Whether there is a fact that some hook is there for.
    pub(super) fn has_due(&mut self, root: &Root) -> bool {
        self.due = self.take_due(root);
        self.due.is_some()
    }

    /// The next fact that some hook is there for; `None` when there is none yet.
    pub(super) fn take_due(&mut self, root: &Root) -> Option<Event> {
        self.due.take().or_else(|| self.next_due(root))
    }

    /// Reads on to the next such fact. What nobody waits for is passed over.
    fn next_due(&mut self, root: &Root) -> Option<Event> {
        while let Some(event) = self.next_event() {
            self.is_over |= matches!(event.fact, Fact::Finished { .. });
            let is_new = event.seq > self.done && is_current(event.ts, clock::now());
            if is_new && !scripts::of(root, &event.fact.name()).is_empty() {
                return Some(event);
            }
            self.done = self.done.max(event.seq);
        }
        None
    }

    /// A journal that cannot be read has no next event; whoever mends it rouses us again.
    fn next_event(&mut self) -> Option<Event> {
        if self.reader.as_ref().is_some_and(JournalReader::is_replaced) {
            self.reader = None;
        }
        if self.reader.is_none() {
            self.reader = match JournalReader::open(&self.run.journal()) {
                Err(e) if e.kind() == ErrorKind::NotFound => return None,
                reader => reader.ok(),
            };
        }
        self.reader.as_mut()?.next_event().ok()?
    }

    /// Takes down that the hooks for a fact were called.
    pub(super) fn called(&mut self, seq: u64) {
        self.done = self.done.max(seq);
        self.save();
    }

    fn save(&mut self) {
        if self.saved < self.done && self.run.dir().is_dir() {
            self.saved = self.done;
            // What is not taken down is called once more by the next runner.
            let _again = record::set_done(&self.run, self.done);
        }
    }

    /// Whether nobody writes to this journal now.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_over || !self.run.is_held().unwrap_or(false)
    }

    /// Takes the mark of a job away that nobody writes to; whether it is done with. Its journal is read to the end before, and
    /// once more afterwards: whoever writes then marks it anew. Where somebody works on it by then, or wrote, who has found the
    /// mark and relies on it, the mark is put back: without it nobody would go on with the job after us.
    pub(super) fn let_go(&mut self, root: &Root) -> bool {
        if self.has_due(root) {
            return false;
        }
        self.save();
        let mark = marks(root).join(self.run.job().as_str());
        let _is_read_again = fsx::remove(&mark);
        let is_done = self.is_at_rest() && !self.has_due(root);
        if !is_done {
            let _next_one_marks_it = fsx::put_mark(&mark);
        }
        is_done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_somebody_begins_to_work_on_is_not_let_go_of() {
        let d = tempfile::tempdir().expect("scratch");
        let (root, job) = (Root::new(d.path()), JobId::parse("a-abc234").expect("id"));
        fsx::make_dirs(&root.runs()).expect("runs");
        fsx::make_dirs(&marks(&root)).expect("marks");
        let mark = marks(&root).join(job.as_str());
        fsx::put_mark(&mark).expect("mark");
        let run = Runs::of(&root).create(&job).expect("folder");
        let mut tail = Tail::of(&root, &job);
        let worker = run.try_lock().expect("lock").expect("free");
        assert!(!tail.let_go(&root), "its worker has seen the mark, and puts none");
        assert!(mark.exists(), "it is back");
        drop(worker);
        assert!(tail.let_go(&root) && !mark.exists());
    }
}
