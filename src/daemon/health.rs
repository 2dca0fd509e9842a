//! A daemon on a machine that is not fit: it takes no file and starts no worker, says why once, and looks again every few
//! seconds. What is decided is in `logic::health`; what runs goes on.

use std::io::Error;

use super::Daemon;
use super::log::Fact;
use crate::error::Exit;
use crate::health;
use crate::logic::health::News;
use crate::model::id::JobId;
use crate::os::clock;

impl Daemon {
    /// Whether new work may begin.
    pub(super) fn is_fit(&self) -> bool {
        self.health.why().is_none()
    }

    /// Looks at the machine before anything is done on it, by writing as well.
    pub(super) fn look_before_work(&mut self) {
        let found = health::test(&self.desk.root, self.desk.settings.min_free);
        self.learn(found);
    }

    /// Looks at the machine, if it is time to. One that was fit is only looked at; one that was not is tested by writing.
    pub(super) fn look_after_health(&mut self) {
        if self.health.next_test() > clock::since_boot() {
            return;
        }
        let (root, min_free) = (&self.desk.root, self.desk.settings.min_free);
        let found = if self.is_fit() {
            health::short_of(root, min_free)
        } else {
            health::test(root, min_free)
        };
        self.learn(found);
    }

    /// Takes in an error; `true` if it is the machine's fault, which is told as that and nothing else.
    pub(super) fn blames_machine(&mut self, what: &str, error: &Error) -> bool {
        let is_machines = health::fault(error).is_some();
        if is_machines {
            self.learn(Some(health::problem(what, error)));
        }
        is_machines
    }

    /// Takes in how a worker of ours has ended: one that failed may have met what we have not seen yet.
    pub(super) fn learn_from_end(&mut self, job: &JobId, code: Option<i32>) {
        let is_machines = code == Some(i32::from(Exit::Unfit.code()));
        if code == Some(0) || !self.is_fit() {
            return;
        }
        let found = health::test(&self.desk.root, self.desk.settings.min_free);
        let log = self.desk.runs.folder(job).worker_log();
        let said =
            || format!("{}: a worker could not go on: see what it says there", log.display());
        self.learn(found.or_else(|| is_machines.then(said)));
    }

    /// Whether a job that does not get on may be blamed for it: not while the machine is not fit, which is tested first.
    pub(super) fn is_jobs_fault(&mut self) -> bool {
        if self.is_fit() {
            let found = health::test(&self.desk.root, self.desk.settings.min_free);
            self.learn(found);
        }
        self.is_fit()
    }

    fn learn(&mut self, found: Option<String>) {
        match self.health.found(found, clock::since_boot()) {
            None => {}
            Some(News::Degraded(reason)) => {
                self.announce(&reason);
                self.record(&Fact::Degraded { reason });
            }
            Some(News::Recovered(reason)) => {
                self.announce("");
                self.record(&Fact::Recovered { reason });
                // What was left lying meanwhile is looked at again.
                self.next_rescan = std::time::Duration::ZERO;
                self.looks.doubt(true);
                self.is_dirty = true;
            }
        }
    }

    /// Commands look for themselves as well; what only the daemon knows they hear by this.
    fn announce(&self, reason: &str) {
        let _as_well_as_it_goes = self.notice.as_ref().map(|notice| notice.say(reason));
    }

    /// Makes the reserves that are missing, while there is room.
    pub(super) fn keep_reserves(&self) {
        if self.is_fit() {
            health::keep_reserves(&self.desk.root, self.desk.settings.min_free);
        }
    }
}
