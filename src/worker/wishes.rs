//! What someone wants of a worker while it works. A wish is a file; a watch on the folders it can lie in says when to look,
//! and the look is the truth. The same bell tells the loop of anything else that it should look at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::id::TaskId;
use crate::os::watch::{Hint, Watch};
use crate::runs::{RunFolder, Want};

/// Time between two looks where nothing could be watched.
const BLIND_REST: Duration = Duration::from_secs(1);
/// Time between two looks where everything is watched.
const SEEING_REST: Duration = Duration::from_secs(3600);

/// The wishes of one job.
pub(super) struct Wishes {
    folder: RunFolder,
    watch: Option<Watch>,
    watched: BTreeSet<TaskId>,
}

impl Wishes {
    /// Watches a run folder; `bell` rings when a wish may have come. A machine without a watch to spare is no obstacle.
    pub(super) fn of(folder: &RunFolder, bell: Arc<Notify>) -> Self {
        let ring = move |hint: Hint| {
            if is_news(&hint) {
                bell.notify_one();
            }
        };
        let mut watch = Watch::new(ring).ok();
        if watch.as_mut().is_some_and(|w| w.add(folder.dir()).is_err()) {
            watch = None;
        }
        Self { folder: folder.clone(), watch, watched: BTreeSet::new() }
    }

    /// Whether the job is to end.
    pub(super) fn job_killed(&self) -> bool {
        self.folder.wants(Want::Killed)
    }

    /// Whether a task is to end. Its folder is watched before the look, so that no wish falls between.
    pub(super) fn task_killed(&mut self, task: &TaskId) -> bool {
        let place = self.folder.place(task.as_str());
        if let Some(watch) = self.watch.as_mut().filter(|_| !self.watched.contains(task))
            && watch.add(place.dir()).is_ok()
        {
            self.watched.insert(task.clone());
        }
        self.folder.wants_task_killed(task)
    }

    /// The longest time until the next look.
    pub(super) fn rest(&self) -> Duration {
        if self.watch.is_some() { SEEING_REST } else { BLIND_REST }
    }
}

/// Wishes are called `want.*`, and a folder of a task has a name without a dot; all else is the worker's own writing.
fn is_news(hint: &Hint) -> bool {
    let name = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("want.") || !name.contains('.')
    };
    hint.paths.is_empty() || hint.paths.iter().any(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::watch::Change;

    #[test]
    fn only_wishes_and_new_folders_ring() {
        for (path, rings) in [
            ("/r/want.killed", true),
            ("/r/t1", true),
            ("/r/t1/want.killed", true),
            ("/r/events.ndjson", false),
            ("/r/status.json", false),
            ("/r/t1/stdout.log", false),
        ] {
            let hint = Hint { paths: vec![path.into()], change: Change::Other };
            assert_eq!(is_news(&hint), rings, "{path}");
        }
        assert!(
            is_news(&Hint { paths: Vec::new(), change: Change::Other }),
            "everything may have changed"
        );
    }
}
