//! What follows from the end of a lane: another try, a question to the queen, a rest, the end. Decided by `logic::retry`,
//! written down here.

use std::io::Result;

use super::cycle::{Closing, Cycle, Work};
use super::desk::Outcome;
use crate::health as machine;
use crate::logic::health;
use crate::logic::lifecycle::{Alone, Ending};
use crate::logic::retry::{self, Follows, Next};
use crate::logic::supervise::StopReason;
use crate::logic::task::TaskState;
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::outcome::{Failure, FailureKind};
use crate::model::status::TaskPhase;
use crate::os::{clock, random, reserve};

/// Bytes that are gone in no time: what the reserve has given, and as much again.
const LITTLE: u64 = 2 * reserve::BYTES;

impl Cycle {
    /// Closes for a rest if the job's account is held: nothing is begun that would only be refused.
    pub(super) fn rest_if_held(&mut self) -> bool {
        self.desk.asker.refusal().is_some_and(|refusal| self.rest_for(&refusal))
    }

    /// Closes for a rest if that is what follows from a failure.
    fn rest_for(&mut self, failure: &Failure) -> bool {
        let Some((why, until)) = retry::rest(failure, clock::now()) else { return false };
        self.close_for(Closing::Park(why, until, failure.message.clone()));
        true
    }

    /// Writes down what follows from the end of a lane.
    pub(super) fn settle(&mut self, (work, outcome): (Work, Outcome<()>)) -> Result<()> {
        let outcome = outcome.map_err(|failure| self.excused(&work, failure));
        match work {
            Work::Alone(work) => {
                self.alone = None;
                outcome.or_else(|failure| self.settle_alone(work, failure))
            }
            Work::Task(id) => {
                self.stops.remove(&id);
                outcome.or_else(|failure| self.settle_task(&id, failure))
            }
        }
    }

    /// A failure on a machine that is not fit is nobody's: the worker leaves, and the job goes on once it is fit again. A
    /// task does so a few times: it may be what fills the disk.
    fn excused(&mut self, work: &Work, failure: Failure) -> Failure {
        let may_be = retry::may_be_machines(failure.kind);
        let Some(why) = may_be.then(|| self.unfit(&failure)).flatten() else { return failure };
        self.close_for(Closing::Unfit(why.clone()));
        self.stop_all(StopReason::Leave);
        let kind = match work {
            Work::Alone(_) => FailureKind::Left,
            Work::Task(_) => FailureKind::Interrupted,
        };
        Failure::new(kind, format!("{} ({why})", failure.message))
    }

    /// Why nothing can be written, or not for long, if so. Where a failure tells of a full disk, room that is short in any
    /// way is enough: whoever failed may have cleared away what filled it.
    fn unfit(&self, failure: &Failure) -> Option<String> {
        let (root, set) = (&self.desk.root, self.desk.settings.min_free);
        let is_told = health::tells_of_want_of_room(&failure.message);
        let is_ours = is_told && failure.kind == FailureKind::Bug;
        let little = if is_told { LITTLE } else { set.map_or(LITTLE, |set| set.min(LITTLE)) };
        machine::cannot_write(root)
            .or_else(|| machine::short_of(root, Some(little)))
            .or_else(|| is_told.then(|| machine::short_of(root, set)).flatten())
            // What we could not write ourselves is the machine's fault whatever room there is by now.
            .or_else(|| is_ours.then(|| "there was no room for a moment".to_owned()))
    }

    fn settle_alone(&mut self, work: Alone, failure: Failure) -> Result<()> {
        match work {
            Alone::FixWorkspace if failure.kind != FailureKind::Transient => {
                self.end("workspace", &failure);
            }
            Alone::FixWorkspace | Alone::Plan | Alone::Roles => {
                return self.settle_planning(failure);
            }
            // Where the queen cannot be asked, nobody has accepted the result.
            Alone::Judge if self.rest_for(&failure) => {}
            Alone::Judge => {
                let message = format!("the queen gave no usable judgement: {}", failure.message);
                self.end("review_failed", &Failure { message, ..failure });
            }
            Alone::Verify | Alone::Mend(_) | Alone::Publish => self.end("landing", &failure),
        }
        Ok(())
    }

    fn end(&mut self, reason: &str, failure: &Failure) {
        if failure.kind != FailureKind::Left {
            self.close_for(Closing::End(Ending::failed(reason, failure.message.clone())));
        }
    }

    fn settle_task(&mut self, id: &TaskId, failure: Failure) -> Result<()> {
        let Some(task) = self.desk.book.state(|s| s.task(id).cloned()) else { return Ok(()) };
        if task.phase == TaskPhase::Succeeded {
            return Ok(());
        }
        if task.is_in_question() {
            return self.settle_question(&task, failure);
        }
        self.rest_for(&failure);
        let most = self.desk.job.options.max_attempts;
        let (attempt, now) = (task.attempt, clock::steady());
        let fact = match retry::after_attempt(&task, &failure, most, now, random::fraction()) {
            Follows::Again(due) => Fact::TaskRetried { attempt, failure, due },
            Follows::Rest(..) => Fact::TaskRetried { attempt, failure, due: now },
            Follows::Ask => Fact::TaskExhausted { attempt, failure },
            Follows::Fail => Fact::TaskFailed { attempt, failure },
        };
        self.desk.book.record(Some(id), fact)
    }

    /// Nobody could be asked about a task: the job rests if that may pass, else the task has failed.
    fn settle_question(&mut self, task: &TaskState, failure: Failure) -> Result<()> {
        if self.rest_for(&failure) || failure.kind == FailureKind::Left {
            return Ok(());
        }
        let attempt = task.attempt;
        self.desk.book.record(Some(&task.task.id), Fact::TaskFailed { attempt, failure })
    }

    fn settle_planning(&mut self, failure: Failure) -> Result<()> {
        let tries = self.desk.book.state(|s| s.planning);
        let most = self.desk.job.options.max_attempts;
        match retry::decide(&failure, tries, most, clock::steady(), random::fraction()) {
            Next::Retry(due) => {
                return self.desk.book.record(None, Fact::PlanningRetried { failure, due });
            }
            Next::Park(..) => drop(self.rest_for(&failure)),
            Next::GiveUp => self.end("planning_failed", &failure),
        }
        Ok(())
    }
}
