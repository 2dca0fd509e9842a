//! The run folder of the next job, and the fresh repository of the next that names none, made once an agent of this one is at
//! work: nobody waits for the disk then.
//!
//! Diagnostics: what cannot be made the next job makes itself, and says what is wrong.

use std::time::Duration;

use tokio::sync::oneshot::{Sender, channel};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::bus::Bus;
use crate::runs::RunFolder;
use crate::trees;

/// How long a worker that is done waits for it: a disk that hangs must not keep it.
const A_MOMENT: Duration = Duration::from_secs(5);

/// What is made or will be.
pub(super) struct Providing {
    making: JoinHandle<()>,
    /// Dropped when nothing is to be begun any more.
    lasting: Sender<()>,
}

impl Providing {
    /// Makes both once a session has said its first word; the repository by a job that has such a one itself.
    pub(super) fn begin(folder: &RunFolder, bus: &Bus, with_workspace: bool) -> Self {
        let (mut confirmed, folder) = (bus.channel("terminal.started", 1), folder.clone());
        let (lasting, over) = channel();
        let making = tokio::spawn(async move {
            tokio::select! {
                biased;
                Some(_) = confirmed.next() => {
                    let _the_next_job_makes_its_own = spawn_blocking(move || {
                        let _one_of_them_will_do = folder.provide_next();
                        if with_workspace { trees::provide(&folder) } else { Ok(()) }
                    })
                    .await;
                }
                _ = over => {}
            }
        });
        Self { making, lasting }
    }

    /// Sees it done or not begun, but for a disk that hangs: what is written in a run folder is written while its job is ours.
    pub(super) async fn end(self) {
        drop(self.lasting);
        let _it_goes_with_us = timeout(A_MOMENT, self.making).await;
    }
}
