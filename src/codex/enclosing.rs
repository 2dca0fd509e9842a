//! Moving a session into its control group, a moment after it has begun.
//!
//! The kernel takes ten milliseconds and more for that, in which nothing on the machine starts or ends a process
//! (`cgroup_threadgroup_rwsem`): done at once it would keep waiting just what is about to start. No model answers within the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

/// How long a session runs before it is moved.
const MOMENT: Duration = Duration::from_millis(50);

/// A move that is to come, is under way, or is done.
pub(super) struct Enclosing {
    task: JoinHandle<()>,
    has_begun: Arc<AtomicBool>,
}

impl Enclosing {
    /// Does it in a moment, on the worker's runtime.
    pub(super) fn in_a_moment(work: impl FnOnce() + Send + 'static) -> Self {
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = has_begun.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            begins.store(true, Ordering::Relaxed);
            // What stays outside is of the family by its marks and its seal.
            drop(tokio::task::spawn_blocking(work).await);
        });
        Self { task, has_begun }
    }

    /// Lets it not begin any more; what is under way goes on.
    fn cancel(&self) {
        if !self.has_begun.load(Ordering::Relaxed) {
            self.task.abort();
        }
    }

    /// Sees to it that nothing is moved any more: waits for what is under way. On the thread of the runtime.
    pub(super) async fn end(mut self) {
        self.cancel();
        drop((&mut self.task).await);
    }
}

impl Drop for Enclosing {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_ends_within_a_moment_is_not_moved_and_what_is_being_moved_is_waited_for() {
        let moved = Arc::new(AtomicBool::new(false));
        let (go, gone) = std::sync::mpsc::channel();
        let work = |moved: Arc<AtomicBool>| move || moved.store(true, Ordering::Relaxed);
        Enclosing::in_a_moment(work(moved.clone())).end().await;
        assert!(!moved.load(Ordering::Relaxed), "and never will be");
        let mark = work(moved.clone());
        let one = Enclosing::in_a_moment(move || {
            let _told = gone.recv();
            mark();
        });
        while !one.has_begun.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        one.cancel();
        go.send(()).expect("it waits");
        one.end().await;
        assert!(moved.load(Ordering::Relaxed));
    }
}
