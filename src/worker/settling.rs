//! What follows from the end of a lane: another try, a question to the queen, a rest, the end. Decided by `logic::retry` and
//! `logic::advice`, written down here.

use std::io::Result;

use super::cycle::{Closing, Cycle, Work};
use super::desk::Outcome;
use crate::logic::advice;
use crate::logic::lifecycle::Ending;
use crate::logic::retry::{self, Next};
use crate::logic::task::Tries;
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::outcome::{Failure, FailureKind};
use crate::model::status::{JobPhase, TaskPhase};
use crate::os::{clock, random};

/// How often a task may write what it did not claim.
const MAX_VIOLATIONS: u32 = 2;
/// How often what a task built on may move under it.
const MAX_BASE_MOVES: u32 = 10;

impl Cycle {
    /// Closes for a rest if the job's account is held: nothing is begun that would only be refused.
    pub(super) fn rest_if_held(&mut self) -> bool {
        let Some(refusal) = self.desk.asker.refusal() else { return false };
        match self.decide(&refusal, Tries::default()) {
            Next::Park(reason, until) => {
                self.close_for(Closing::Park(reason, until, refusal.message));
                true
            }
            Next::Retry(_) | Next::GiveUp => false,
        }
    }

    /// Writes down what follows from the end of a lane.
    pub(super) fn settle(&mut self, (work, outcome): (Work, Outcome<()>)) -> Result<()> {
        if self.alone.as_ref() == Some(&work) {
            self.alone = None;
        }
        if let Work::Task(id) = &work {
            self.stops.remove(id);
        }
        let Err(failure) = outcome else { return Ok(()) };
        match work {
            Work::Task(id) => self.settle_task(&id, failure),
            Work::Workspace if failure.kind != FailureKind::Transient => {
                self.end("workspace", &failure);
                Ok(())
            }
            Work::Workspace | Work::Plan | Work::Roles => self.settle_planning(failure),
            Work::Judge => {
                self.settle_judging(failure);
                Ok(())
            }
            Work::Verify | Work::Mend | Work::Publish => {
                self.end("landing", &failure);
                Ok(())
            }
        }
    }

    fn end(&mut self, reason: &str, failure: &Failure) {
        if failure.kind == FailureKind::Left {
            return;
        }
        let ending = Ending::new(JobPhase::Failed, reason, failure.message.clone());
        self.close_for(Closing::End(ending));
    }

    fn settle_task(&mut self, id: &TaskId, failure: Failure) -> Result<()> {
        let Some(task) = self.desk.book.state(|s| s.task(id).cloned()) else { return Ok(()) };
        if task.phase == TaskPhase::Succeeded {
            return Ok(());
        }
        if task.is_in_question() {
            return self.settle_question(id, failure);
        }
        let spent = task.violations >= MAX_VIOLATIONS || task.base_moves >= MAX_BASE_MOVES;
        let next = if spent && failure.kind != FailureKind::Left {
            Next::GiveUp
        } else {
            self.decide(&failure, task.tries)
        };
        let attempt = task.attempt;
        match next {
            Next::Retry(due) => {
                self.desk.book.record(Some(id), Fact::TaskRetried { attempt, failure, due })
            }
            Next::Park(reason, until) => {
                self.close_for(Closing::Park(reason, until, failure.message.clone()));
                let due = clock::now();
                self.desk.book.record(Some(id), Fact::TaskRetried { attempt, failure, due })
            }
            Next::GiveUp if advice::is_asked(failure.kind) => {
                self.desk.book.record(Some(id), Fact::TaskExhausted { attempt, failure })
            }
            Next::GiveUp => self.desk.book.record(Some(id), Fact::TaskFailed { attempt, failure }),
        }
    }

    /// Nobody could be asked about a task: the job rests if that may pass, else the task has failed.
    fn settle_question(&mut self, id: &TaskId, failure: Failure) -> Result<()> {
        match self.decide(&failure, Tries::default()) {
            Next::Park(reason, until) => {
                self.close_for(Closing::Park(reason, until, failure.message));
                Ok(())
            }
            _ if failure.kind == FailureKind::Left => Ok(()),
            Next::Retry(_) | Next::GiveUp => {
                let attempt = self.desk.book.state(|s| s.task(id).map_or(0, |t| t.attempt));
                self.desk.book.record(Some(id), Fact::TaskFailed { attempt, failure })
            }
        }
    }

    /// The queen could not be asked about the result: the job rests if that may pass, else nobody has accepted it.
    fn settle_judging(&mut self, failure: Failure) {
        match self.decide(&failure, Tries::default()) {
            Next::Park(reason, until) => {
                self.close_for(Closing::Park(reason, until, failure.message));
            }
            Next::Retry(_) | Next::GiveUp => self.end("review_failed", &failure),
        }
    }

    fn settle_planning(&mut self, failure: Failure) -> Result<()> {
        let tries = self.desk.book.state(|s| s.planning);
        match self.decide(&failure, tries) {
            Next::Retry(due) => self.desk.book.record(None, Fact::PlanningRetried { failure, due }),
            Next::Park(reason, until) => {
                self.close_for(Closing::Park(reason, until, failure.message));
                Ok(())
            }
            Next::GiveUp => {
                self.end("planning_failed", &failure);
                Ok(())
            }
        }
    }

    fn decide(&self, failure: &Failure, tries: Tries) -> Next {
        let max_attempts = self.desk.job.options.max_attempts;
        retry::decide(failure, tries, max_attempts, clock::now(), random::fraction())
    }
}
