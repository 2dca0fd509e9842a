//! A worker that begins before its job is known: its process starts while a file is taken, which waits for the disk, and is
//! told its job when that may begin. One at a time, and none that waits: what is not needed at once is sent away.

use std::io::{PipeWriter, Result, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Daemon;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::os::{env, process};

/// The word in the place of a job for a worker that is told its job later.
const TOLD_LATER: &str = "-";
/// How long the end of one is waited for, and once more where it had to be ended.
const A_MOMENT: Duration = Duration::from_secs(1);

/// A worker that is about to begin, or has.
#[derive(Debug)]
pub(super) struct Spare {
    child: Receiver<Result<Child>>,
    orders: PipeWriter,
}

impl Spare {
    /// Has one begin, on a thread of its own: a start takes as long as a write to the disk.
    fn begin(root: &Root) -> Result<Self> {
        let (input, orders) = std::io::pipe()?;
        let (tell, child) = channel();
        let worker = process::own_call(&env::own_binary()?, root.path(), &["worker", TOLD_LATER]);
        let mut worker = Command::from(worker);
        worker.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        let loop_of_ours = Handle::current();
        std::thread::Builder::new().name("spare".to_owned()).spawn(move || {
            let _its_ends_are_heard_there = loop_of_ours.enter();
            drop(tell.send(worker.spawn()));
        })?;
        Ok(Self { child, orders })
    }

    /// Tells it its job; `None` when it could not be started or has gone.
    pub(super) fn tell(mut self, job: &JobId) -> Option<Child> {
        let child = self.child.recv().ok()?.ok()?;
        self.orders.write_all(format!("{job}\n").as_bytes()).ok()?;
        Some(child)
    }

    /// Sees it leave, with what it has ready: its orders end, and it has no job, so it has begun nothing of one. Who stays is ended.
    async fn end(self) {
        let Self { child, orders } = self;
        drop(orders);
        let Ok(Ok(mut child)) = child.recv() else { return };
        if timeout(A_MOMENT, child.wait()).await.is_err() {
            let _ended = timeout(A_MOMENT, child.kill()).await;
        }
    }
}

impl Daemon {
    /// Has a worker begin for the job that a file is about to become, if that could start at once.
    pub(super) fn call_spare(&mut self) {
        let is_ours = self.options.program.is_none();
        if is_ours && self.spare.is_none() && self.queued == 0 && self.busy() < self.lanes {
            // Without it the job's worker begins when the job may.
            self.spare = Spare::begin(&self.desk.root).ok();
        }
    }

    /// Sends away who is not needed, and sees it gone: where a daemon has ended nothing of it is left.
    pub(super) async fn dismiss_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            spare.end().await;
        }
    }
}
