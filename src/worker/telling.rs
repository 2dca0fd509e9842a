//! Keeps the job's report fresh while the worker lives, in a thread of its own once the job has lasted a moment: nothing waits for it,
//! and it rests far longer than it works. The page of a job that has ended is written by whoever ended it. The overview of all jobs is
//! a daemon's to write; where none leads it is written when the worker has begun and when it ends, whatever became of the report.
//!
//! Diagnostics: a page that cannot be written is noted in `worker.log` once, and tried again with the next fact.

use std::io::Result;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::bus::{Bus, Subscription};
use crate::model::root::Root;
use crate::os::clock;
use crate::os::lock::FileLock;
use crate::report;
use crate::runs::RunFolder;

/// How long after its start the first page is written: of a job that is quick, the last one is all that anybody needs.
const FIRST: Duration = Duration::from_secs(1);
/// How long lies between two pages at least, and how many times as long as a page took.
const REST: Duration = Duration::from_secs(5);
const SHARE: u32 = 50;

/// Has it done, until it is dropped: then with a last page if anything has happened since.
pub(super) struct Teller {
    listening: Option<Subscription>,
    /// Ends the thread's rest, too, when it is dropped.
    lasting: Option<Sender<()>>,
    doing: Arc<Mutex<Doing>>,
}

/// By whom it is done.
enum Doing {
    /// By nobody yet.
    Later(Desk),
    /// By the thread.
    Now(JoinHandle<()>),
    /// By nobody: no thread could be had, or it is over.
    No,
}

impl Doing {
    /// Starts the thread. Where none can be had, there is no page until the end.
    fn begin(&mut self) {
        *self = match std::mem::replace(self, Self::No) {
            Self::Later(desk) => {
                let thread = std::thread::Builder::new().name("report".to_owned());
                thread.spawn(move || desk.work()).map_or(Self::No, Self::Now)
            }
            begun => begun,
        };
    }
}

/// What the thread knows.
struct Desk {
    root: Root,
    folder: RunFolder,
    lock: Arc<FileLock>,
    has_complained: bool,
    /// One where anything has happened since the last page.
    facts: Receiver<()>,
    over: Receiver<()>,
}

impl Teller {
    /// Begins with it when the runtime's loop has gone on for a moment.
    pub(super) fn start(
        runtime: &Runtime,
        (root, folder): (&Root, &RunFolder),
        lock: Arc<FileLock>,
        bus: &Bus,
    ) -> Self {
        let (tell, facts) = sync_channel(1);
        let (lasting, over) = channel();
        let listening = bus.subscribe("*", move |_| wake(&tell));
        let (root, folder) = (root.clone(), folder.clone());
        let desk = Desk { root, folder, lock, has_complained: false, facts, over };
        let doing = Arc::new(Mutex::new(Doing::Later(desk)));
        let later = doing.clone();
        runtime.spawn(async move {
            tokio::time::sleep(FIRST).await;
            held(&later).begin();
        });
        Self { listening: Some(listening), lasting: Some(lasting), doing }
    }
}

fn held(doing: &Mutex<Doing>) -> MutexGuard<'_, Doing> {
    doing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Teller {
    fn drop(&mut self) {
        drop((self.listening.take(), self.lasting.take()));
        let mut doing = held(&self.doing);
        // On a thread of its own even now: a page is no reason to fail.
        doing.begin();
        if let Doing::Now(thread) = std::mem::replace(&mut *doing, Doing::No) {
            let _whatever_came_of_it = thread.join();
        }
    }
}

/// One fact that is not heard of yet is as good as many.
fn wake(tell: &SyncSender<()>) {
    let _full_or_gone = tell.try_send(());
}

impl Desk {
    fn work(mut self) {
        let (mut rest, mut has_begun) = (Duration::ZERO, false);
        while self.facts.recv().is_ok() {
            // No fact wakes a rest: the next one waits in the queue, and all others are as good as that one.
            let is_over = self.over.recv_timeout(rest) != Err(RecvTimeoutError::Timeout);
            self.facts.try_iter().for_each(drop);
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
    use crate::model::event::{Event, Fact};
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
        Desk { root: root.clone(), folder, lock, has_complained: false, facts, over }.work();
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

    /// A worker that has published one fact, and the page of its job.
    fn teller(dir: &std::path::Path, runtime: &Runtime) -> (Teller, std::path::PathBuf) {
        let root = Root::new(dir);
        Spool::of(&root).create().expect("spool");
        for made in [root.runs(), root.store()] {
            fsx::make_dirs(&made).expect("made");
        }
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&root).create(&job).expect("folder");
        let lock = Arc::new(folder.try_lock().expect("lock").expect("free"));
        let bus = Bus::new();
        let teller = Teller::start(runtime, (&root, &folder), lock, &bus);
        bus.publish(&Event {
            seq: 1,
            ts: jiff::Timestamp::UNIX_EPOCH,
            fact: Fact::Resumed {},
            job_id: job,
            task_id: None,
        });
        (teller, root.runs().join("index.html"))
    }

    #[test]
    fn a_quick_worker_has_one_page_written_its_last() {
        let dir = tempfile::tempdir().expect("scratch");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let (teller, page) = teller(dir.path(), &runtime.expect("runtime"));
        assert!(matches!(*held(&teller.doing), Doing::Later(_)) && !page.exists());
        drop(teller);
        assert!(page.is_file());
    }

    #[test]
    fn one_that_lasts_has_a_page_before_its_end() {
        let dir = tempfile::tempdir().expect("scratch");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("runtime");
        let (teller, page) = teller(dir.path(), &runtime);
        runtime.block_on(async {
            let begun = async {
                while !page.exists() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), begun).await.expect("it is written");
        });
        held(&teller.doing).begin();
        assert!(matches!(*held(&teller.doing), Doing::Now(_)), "once is enough");
        drop(teller);
    }
}
