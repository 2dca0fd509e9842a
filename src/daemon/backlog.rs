//! The hints that were not heard yet, of which there are never more than fit: a flood of files is quicker than whoever takes
//! them. What does not fit is dropped, and one hint that everything may have changed stands for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::Input;
use crate::os::watch::Hint;

/// Most hints that wait to be heard.
const MAX_HINTS: usize = 32 * 1024;

/// A hint's place among those that wait; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(waiting: &Arc<AtomicUsize>) -> (Self, usize) {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        (Self(waiting.clone()), before)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What hands hints over to the loop.
pub(super) fn into(inputs: UnboundedSender<Input>) -> impl Fn(Hint) + Send + 'static {
    let (waiting, is_over) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    move |hint| {
        let (turn, before) = Turn::take(&waiting);
        // The hint that stands for the dropped ones is the last that waits, so it is heard after all of them.
        let was_over = is_over.fetch_and(before >= MAX_HINTS / 2, Ordering::Relaxed);
        if before < MAX_HINTS / 2 || (!was_over && before < MAX_HINTS) {
            drop(inputs.send(Input::Hint(hint, turn)));
        } else if !was_over {
            is_over.store(true, Ordering::Relaxed);
            drop(inputs.send(Input::Hint(Hint::lost(), turn)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::os::watch::Change;

    #[test]
    fn what_does_not_fit_is_one_hint_that_everything_may_have_changed() {
        let (inputs, mut heard) = unbounded_channel();
        let tell = into(inputs);
        let hint = || Hint { paths: vec!["/a".into()], change: Change::Renamed };
        for _ in 0..MAX_HINTS + 100 {
            tell(hint());
        }
        let lost = |input: &Input| matches!(input, Input::Hint(hint, _) if hint.paths.is_empty());
        let all: Vec<Input> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!((all.len(), all.iter().filter(|i| lost(i)).count()), (MAX_HINTS + 1, 1));
        assert!(all.last().is_some_and(lost), "heard after everything that came before");
        for input in all.into_iter().take(MAX_HINTS / 2) {
            drop(input);
            tell(hint());
        }
        assert!(heard.try_recv().is_err(), "nothing fits before half of them were heard");
        tell(hint());
        assert!(heard.try_recv().is_ok_and(|input| !lost(&input)), "there is room again");
    }
}
