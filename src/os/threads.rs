//! Threads that are used again: to make one and to end it costs more than most of what a session has it do.
//!
//! Promises: work begins at once, on a thread that does nothing else until it is done. A thread without work waits for more as long
//! as the process lives.

use std::io::{Error, Result};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Stack of each, in bytes: none goes deep.
const STACK_BYTES: usize = 512 * 1024;

/// What a thread is to do.
type Work = Box<dyn FnOnce() + Send>;

/// The ways to those that have nothing to do.
static IDLE: Mutex<Vec<Sender<Work>>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Sender<Work>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has work done beside everything else.
///
/// # Errors
/// When the system has no more threads to give; the work is not done then.
pub fn run(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let work: Work = Box::new(work);
    // Apart from what follows, which is not to be done under the lock.
    let free = idle().pop();
    let thread = free.map_or_else(begin, Ok)?;
    thread.send(work).map_err(|_| Error::other("a thread is gone"))
}

/// One more, which is told here what to do.
fn begin() -> Result<Sender<Work>> {
    let (own, inbox) = channel::<Work>();
    let thread = std::thread::Builder::new().name("aside".to_owned()).stack_size(STACK_BYTES);
    let again = own.clone();
    thread.spawn(move || {
        // Whose work panics is not told of any more.
        while let Ok(work) = inbox.recv() {
            work();
            idle().push(again.clone());
        }
    })?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn all_work_is_done_also_when_each_waits_for_the_next() {
        let (tell, told) = channel();
        let mut last = tell;
        for number in 0..50 {
            let (own, before) = channel();
            let next = std::mem::replace(&mut last, own);
            run(move || {
                let heard: usize = before.recv().expect("told");
                next.send(heard + number).expect("heard");
            })
            .expect("thread");
        }
        last.send(0).expect("begins");
        assert_eq!(told.recv_timeout(PATIENCE), Ok((0..50).sum()));
    }

    #[test]
    fn a_thread_is_used_again_and_one_that_panicked_is_missed_by_nobody() {
        let (tell, told) = channel();
        let mut used = BTreeSet::new();
        for number in 0..200 {
            let (tell, is_bad) = (tell.clone(), number % 50 == 49);
            run(move || {
                let own = format!("{:?}", std::thread::current().id());
                tell.send(own).expect("heard");
                assert!(!is_bad, "as wished");
            })
            .expect("thread");
            used.insert(told.recv_timeout(PATIENCE).expect("done"));
        }
        assert!(used.len() < 150, "{}", used.len());
    }
}
