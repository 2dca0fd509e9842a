//! The runner: one process a root that reads the journals of marked jobs and calls their hooks, a few at a time, one of a job.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Result;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::backlog::{Tail, marked};
use super::call::{Call, call, end_left};
use super::{RESCAN, marks, scripts, try_lead};
use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::os::watch::Watch;
use crate::os::{fsx, process};

/// Most hooks that run at a time.
const AT_ONCE: usize = 4;

/// Why the runner looks.
enum Wake {
    /// Something may have changed.
    Look,
    /// The hooks of a job were called for this fact.
    Called(JobId, u64),
}

struct Runner {
    root: Root,
    patience: Duration,
    tails: BTreeMap<JobId, Tail>,
    /// The jobs in the order in which they are looked at: one whose hook was called goes to the end.
    order: VecDeque<JobId>,
    busy: BTreeSet<JobId>,
    wake: Sender<Wake>,
    watch: Option<Watch>,
}

/// Calls hooks until there is nothing left to call them for; at once if another runner is at work.
///
/// # Errors
/// When the store cannot be used.
pub fn run(root: &Root, patience: Duration) -> Result<()> {
    process::leave_session();
    process::keep_private();
    fsx::make_dir(&marks(root))?;
    while let Some(lock) = try_lead(root)? {
        end_left(root.path());
        let (wake, woken) = channel();
        Runner::new(root, patience, wake).work(&woken);
        drop(lock);
        // Whoever left a mark before the lock was free has started nobody.
        if marked(root).is_empty() {
            break;
        }
    }
    Ok(())
}

impl Runner {
    fn new(root: &Root, patience: Duration, wake: Sender<Wake>) -> Self {
        let tell = wake.clone();
        let mut watch = Watch::new(move |_| drop(tell.send(Wake::Look))).ok();
        if let Some(watch) = &mut watch {
            let _rescan_finds_it = watch.add(&marks(root));
        }
        let (tails, order, busy) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Self { root: root.clone(), patience, tails, order, busy, wake, watch }
    }

    fn work(mut self, woken: &Receiver<Wake>) {
        loop {
            self.look();
            if self.tails.is_empty() {
                return;
            }
            let mut next = woken.recv_timeout(RESCAN).ok();
            while let Some(wake) = next {
                if let Wake::Called(job, seq) = wake {
                    self.called(&job, seq);
                }
                next = woken.try_recv().ok();
            }
        }
    }

    fn called(&mut self, job: &JobId, seq: u64) {
        self.busy.remove(job);
        if let Some(tail) = self.tails.get_mut(job) {
            tail.called(seq);
        }
    }

    /// Takes in new marks, and starts what may start.
    fn look(&mut self) {
        for job in marked(&self.root) {
            if !self.tails.contains_key(&job) {
                let tail = Tail::of(&self.root, &job);
                self.follow(&tail);
                self.tails.insert(job.clone(), tail);
                self.order.push_back(job);
            }
        }
        for _ in 0..self.order.len() {
            let Some(job) = self.order.pop_front() else { break };
            if self.is_free(&job) && !self.go_on(&job) {
                self.leave(&job);
            } else {
                self.order.push_back(job);
            }
        }
    }

    fn is_free(&self, job: &JobId) -> bool {
        self.busy.len() < AT_ONCE && !self.busy.contains(job)
    }

    /// Calls the next hooks of a job; false if it is done with.
    fn go_on(&mut self, job: &JobId) -> bool {
        let Some(tail) = self.tails.get_mut(job) else { return false };
        if !tail.has_due(&self.root) && tail.is_at_rest() && tail.let_go(&self.root) {
            return false;
        }
        let Some(event) = tail.take_due(&self.root) else { return true };
        self.start(job, event);
        true
    }

    fn start(&mut self, job: &JobId, event: Event) {
        let Some(tail) = self.tails.get(job) else { return };
        let root = self.root.path().to_owned();
        let of = |(hook, program, refused)| Call {
            run: tail.run.clone(),
            root: root.clone(),
            hook,
            program,
            refused,
            patience: self.patience,
        };
        let calls: Vec<Call> =
            scripts::of(&self.root, &event.fact.name()).into_iter().map(of).collect();
        self.busy.insert(job.clone());
        let (wake, job) = (self.wake.clone(), job.clone());
        std::thread::spawn(move || {
            for one in &calls {
                call(one, &event);
            }
            drop(wake.send(Wake::Called(job, event.seq)));
        });
    }

    fn leave(&mut self, job: &JobId) {
        if let (Some(tail), Some(watch)) = (self.tails.remove(job), &mut self.watch) {
            for path in watched(&tail) {
                watch.remove(&path);
            }
        }
    }

    fn follow(&mut self, tail: &Tail) {
        if let Some(watch) = &mut self.watch {
            for path in watched(tail) {
                let _rescan_finds_it = watch.add(&path);
            }
        }
    }
}

/// What changes when there may be more to call hooks for, or nothing any more.
fn watched(tail: &Tail) -> [PathBuf; 2] {
    [tail.run.journal(), tail.run.worker_lock()]
}
