//! Keeps the job's report fresh while the worker lives, in a thread of its own: nothing waits for it, and it rests far longer
//! than it works. The page of a job that has ended is written by whoever ended it. The overview of all jobs is a daemon's to write;
//! where none leads it is written when the worker has begun and when it ends, whatever became of the report.
//!
//! Diagnostics: a page that cannot be written is noted in `worker.log` once, and tried again with the next fact.

use std::io::Result;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bus::{Bus, Subscription};
use crate::model::root::Root;
use crate::os::clock;
use crate::os::lock::FileLock;
use crate::report;
use crate::runs::RunFolder;

/// How long after the first fact the first page is written: of a job that is quick, the last one is all that anybody needs.
const FIRST: Duration = Duration::from_secs(1);
/// How long lies between two pages at least, and how many times as long as a page took.
const REST: Duration = Duration::from_secs(5);
const SHARE: u32 = 50;

/// The thread; it ends when this is dropped, with a last page if anything has happened since.
pub(super) struct Teller {
    listening: Option<Subscription>,
    /// Ends its rest, too, when it is dropped.
    lasting: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread knows.
struct Desk {
    root: Root,
    folder: RunFolder,
    lock: Arc<FileLock>,
    has_complained: bool,
}

impl Teller {
    /// Starts it. Where no thread can be had, there is no page until the end.
    pub(super) fn start(root: &Root, folder: &RunFolder, lock: Arc<FileLock>, bus: &Bus) -> Self {
        let (tell, facts) = sync_channel(1);
        let (lasting, over) = channel();
        let listening = bus.subscribe("*", move |_| wake(&tell));
        let (root, folder) = (root.clone(), folder.clone());
        let desk = Desk { root, folder, lock, has_complained: false };
        let thread = std::thread::Builder::new().name("report".to_owned());
        let thread = thread.spawn(move || desk.work(&facts, &over)).ok();
        Self { listening: Some(listening), lasting: Some(lasting), thread }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        drop((self.listening.take(), self.lasting.take()));
        if let Some(thread) = self.thread.take() {
            let _a_page_is_no_reason_to_fail = thread.join();
        }
    }
}

/// One fact that is not heard of yet is as good as many.
fn wake(tell: &SyncSender<()>) {
    let _full_or_gone = tell.try_send(());
}

impl Desk {
    fn work(mut self, facts: &Receiver<()>, over: &Receiver<()>) {
        let (mut rest, mut has_begun) = (FIRST, false);
        while facts.recv().is_ok() {
            // No fact wakes a rest: the next one waits in the queue, and all others are as good as that one.
            let is_over = over.recv_timeout(rest) != Err(RecvTimeoutError::Timeout);
            facts.try_iter().for_each(drop);
            let began = clock::since_boot();
            self.write(|desk| report::refresh(&desk.folder, true));
            if !std::mem::replace(&mut has_begun, true) && !is_over {
                self.write(Self::overview);
            }
            rest = REST.max(clock::since_boot().saturating_sub(began) * SHARE);
        }
        if has_begun {
            self.write(Self::overview);
        }
    }

    fn overview(&self) -> Result<()> {
        report::overview_changed(&self.root)
    }

    fn write(&mut self, page: impl FnOnce(&Self) -> Result<()>) {
        if !self.lock.is_current() {
            return;
        }
        if let Err(why) = page(self)
            && !std::mem::replace(&mut self.has_complained, true)
        {
            self.folder.note(&format!("cannot write the report: {why}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;
    use crate::os::fsx;
    use crate::runs::Runs;
    use crate::spool::Spool;

    /// What the thread leaves after one fact, of a root with one job.
    fn worked(dir: &std::path::Path, prepare: impl FnOnce(&Root, &RunFolder)) -> Root {
        let root = Root::new(dir);
        fsx::make_dirs(&root.runs()).expect("runs");
        Spool::of(&root).create().expect("spool");
        fsx::make_dirs(&root.store()).expect("store");
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&root).create(&job).expect("folder");
        prepare(&root, &folder);
        let lock = Arc::new(folder.try_lock().expect("lock").expect("free"));
        let (tell, facts) = sync_channel(1);
        wake(&tell);
        drop(tell);
        let (lasting, over) = channel();
        drop(lasting);
        Desk { root: root.clone(), folder, lock, has_complained: false }.work(&facts, &over);
        root
    }

    #[test]
    fn the_overview_is_written_though_the_report_cannot_be() {
        let (dir, mut log) = (tempfile::tempdir().expect("scratch"), None);
        let root = worked(dir.path(), |_root, folder| {
            fsx::make_dirs(&report::path(folder).join("in the way")).expect("a folder");
            log = Some(folder.worker_log());
        });
        assert!(report::overview_path(&root).is_file());
        let said = std::fs::read_to_string(log.expect("named")).expect("log");
        assert!(said.contains("cannot write the report"));
    }

    #[test]
    fn the_overview_is_left_to_a_daemon_that_leads() {
        let (dir, mut leads) = (tempfile::tempdir().expect("scratch"), None);
        let root = worked(dir.path(), |root, _folder| {
            leads = Spool::of(root).try_lead().expect("lock");
        });
        assert!(leads.is_some() && !report::overview_path(&root).exists());
        assert!(Spool::of(&root).is_overview_behind(), "it is told");
    }
}
