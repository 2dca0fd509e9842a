//! The worker's loop: ask what comes next, start it, wait for one thing to happen, write down what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::desk::{Desk, Outcome, Stop};
use super::{Left, advising, closing, early, lane, mending, planning, reading, reopening};
use crate::logic::idle;
use crate::logic::lifecycle::{self, Alone, Ending, Step};
use crate::logic::supervise::StopReason;
use crate::logic::task::Turn;
use crate::model::event::Fact;
use crate::model::id::{JobId, TaskId};
use crate::model::outcome::{Failure, FailureKind};
use crate::model::status::{JobPhase, PauseReason, TaskPhase};
use crate::os::clock;
use crate::os::signals::HANG_UP;
use crate::runs::Want;

/// The longest sleep of the loop; whatever it waits for is looked at again then.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// A step of the whole job.
    Alone(Alone),
    /// A task.
    Task(TaskId),
}

/// Why nothing new is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closing {
    Park(PauseReason, Option<Timestamp>, String),
    Leave,
    Unfit(String),
    End(Ending),
}

/// The loop's own state.
pub(super) struct Cycle {
    pub(super) desk: Arc<Desk>,
    lanes: JoinSet<(Work, Outcome<()>)>,
    pub(super) stops: BTreeMap<TaskId, watch::Sender<Option<StopReason>>>,
    stop: watch::Sender<Option<StopReason>>,
    pub(super) alone: Option<Alone>,
    closing: Option<Closing>,
}

/// Runs the job until it ends, rests, or the worker is told to leave.
pub(super) async fn run(
    desk: &Arc<Desk>,
    mut signals: mpsc::UnboundedReceiver<i32>,
) -> Result<Left> {
    let mut cycle = Cycle {
        desk: desk.clone(),
        lanes: JoinSet::new(),
        stops: BTreeMap::new(),
        stop: watch::channel(None).0,
        alone: None,
        closing: None,
    };
    loop {
        cycle.obey()?;
        let until = cycle.advance()?;
        cycle.stop_waiting();
        if cycle.lanes.is_empty()
            && let Some(closing) = cycle.closing.clone()
        {
            return cycle.close(closing).await;
        }
        let sleep = clock::until(until, clock::steady()).min(LONGEST_SLEEP);
        tokio::select! {
            Some(ended) = cycle.lanes.join_next() => cycle.settle(ended.map_err(std::io::Error::other)?)?,
            Some(signal) = signals.recv() => cycle.signalled(signal),
            () = desk.bell.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl Cycle {
    /// Looks at what someone wants, and stops what is to be stopped.
    fn obey(&mut self) -> Result<()> {
        if self.desk.folder.wants(Want::Killed) {
            self.close_for(Closing::End(Ending::new(
                JobPhase::Killed,
                "killed",
                "ended on request",
            )));
            self.stop_all(StopReason::Kill);
        } else if self.desk.folder.wants(Want::Paused) {
            let message = idle::of_pause(&self.desk.job.id);
            self.close_for(Closing::Park(PauseReason::User, None, message));
            self.stop_all(StopReason::Leave);
        }
        let open = self.desk.book.state(|s| {
            let open = s.tasks.iter().filter(|t| !t.phase.is_final());
            open.map(|t| (t.task.id.clone(), t.attempt)).collect::<Vec<_>>()
        });
        for (task, attempt) in
            open.into_iter().filter(|(t, _)| self.desk.folder.wants_of_task(t, Want::Killed))
        {
            match self.stops.get(&task) {
                Some(stop) => drop(stop.send_replace(Some(StopReason::Kill))),
                None => self.fail_unstarted(&task, attempt)?,
            }
        }
        if self.closing.is_none() { reopening::obey(&self.desk, self.alone) } else { Ok(()) }
    }

    /// A task that someone wants ended while nothing of it runs.
    fn fail_unstarted(&self, task: &TaskId, attempt: u32) -> Result<()> {
        let when =
            if attempt == 0 { "killed before it started" } else { "killed between two attempts" };
        let failure = Failure::new(FailureKind::Stopped, when);
        self.desk.book.record(Some(task), Fact::TaskFailed { attempt, failure })
    }

    /// `SIGHUP` asks to look at the wishes, which the loop does anyway; any other signal, without a wish, means: leave.
    fn signalled(&mut self, signal: i32) {
        if signal != HANG_UP && !self.desk.folder.wants(Want::Killed) {
            self.close_for(Closing::Leave);
            self.stop_all(StopReason::Leave);
        }
    }

    pub(super) fn stop_all(&self, reason: StopReason) {
        for stop in self.stops.values().chain([&self.stop]) {
            stop.send_if_modified(|now| {
                let stronger = Some(reason) > *now;
                *now = (*now).max(Some(reason));
                stronger
            });
        }
    }

    /// A job that is about to rest waits for no lease.
    pub(super) fn stop_waiting(&self) {
        if !matches!(self.closing, Some(Closing::Park(..))) {
            return;
        }
        let blocked = |id: &TaskId| {
            self.desk.book.state(|s| s.task(id).is_some_and(|t| t.phase == TaskPhase::Blocked))
        };
        for (_, stop) in self.stops.iter().filter(|(id, _)| blocked(id)) {
            stop.send_replace(Some(StopReason::Leave));
        }
    }

    /// The first reason to close counts, but a kill outranks all.
    pub(super) fn close_for(&mut self, closing: Closing) {
        let is_kill = |c: &Closing| matches!(c, Closing::End(end) if end.phase == JobPhase::Killed);
        match &self.closing {
            Some(now) if !is_kill(&closing) || is_kill(now) => {}
            _ => self.closing = Some(closing),
        }
    }

    /// Starts what comes next; gives back when to look again.
    fn advance(&mut self) -> Result<Timestamp> {
        while self.closing.is_none() && self.alone.is_none() {
            let busy: BTreeSet<TaskId> = self.stops.keys().cloned().collect();
            let next = |s: &_| lifecycle::next(s, &self.desk.job, &busy, clock::steady());
            let step = self.desk.book.state(next);
            if asks_codex(&step) && self.rest_if_held() {
                break;
            }
            match step {
                Step::Alone(work) => self.start_alone(work),
                Step::Tasks { start, skip } => self.start_tasks(start, skip)?,
                Step::Finish(ending) => self.closing = Some(Closing::End(ending)),
                Step::Park(reason, until) => {
                    let words = words_for(reason, &self.desk.job.id);
                    self.closing = Some(Closing::Park(reason, until, words));
                }
                Step::Wait(until) => return Ok(until.unwrap_or(Timestamp::MAX)),
            }
        }
        Ok(Timestamp::MAX)
    }

    fn start_alone(&mut self, work: Alone) {
        self.alone = Some(work);
        let (desk, stop) = (self.desk.clone(), self.stop.subscribe());
        self.lanes.spawn(async move {
            let outcome = match work {
                Alone::FixWorkspace => planning::fix_workspace(&desk).await,
                Alone::Plan => planning::plan(&desk, &stop).await,
                Alone::Roles => planning::roles(&desk, &stop).await,
                Alone::Verify => closing::verify(&desk, &stop).await,
                Alone::Judge => advising::judge(&desk, &stop).await,
                Alone::Mend(because) => mending::after_the_end(&desk, because).await,
                Alone::Publish => closing::publish(&desk).await,
            };
            (Work::Alone(work), outcome)
        });
    }

    fn start_tasks(&mut self, start: Vec<TaskId>, skip: Vec<(TaskId, TaskId)>) -> Result<()> {
        for (task, because) in skip {
            self.desk.book.record(Some(&task), Fact::TaskSkipped { because })?;
        }
        for id in start {
            let (tell, stop) = watch::channel(None);
            self.stops.insert(id.clone(), tell);
            let desk = self.desk.clone();
            self.lanes.spawn(async move {
                let outcome = take_turn(&desk, &id, &stop).await;
                (Work::Task(id), outcome)
            });
        }
        Ok(())
    }

    /// Everything under way has ended: rest, leave or end.
    async fn close(self, closing: Closing) -> Result<Left> {
        self.desk.end_fixing().await;
        early::end(&self.desk).await;
        self.close_book(closing).await
    }

    async fn close_book(self, closing: Closing) -> Result<Left> {
        match closing {
            Closing::Leave => Ok(Left::Asked),
            Closing::Unfit(why) => Ok(Left::Unfit(why)),
            Closing::Park(reason, until, message) => {
                self.desk.book.record(None, Fact::Paused { reason, until, message })?;
                Ok(Left::Done)
            }
            Closing::End(end) => {
                closing::finish(&self.desk, &end).await?;
                Ok(Left::Done)
            }
        }
    }
}

/// Runs one lane of a task.
async fn take_turn(desk: &Arc<Desk>, id: &TaskId, stop: &Stop) -> Outcome<()> {
    let task = desk.task(id)?;
    match task.turn() {
        Turn::Advise => advising::advise(desk, &task, stop).await,
        Turn::Mend => mending::after_review(desk, &task).await,
        Turn::Write => lane::execute(desk, &task, stop).await,
        Turn::Read => reading::read(desk, &task, stop).await,
    }
}

/// Whether a step may lead to a session of codex before anything else is decided.
fn asks_codex(step: &Step) -> bool {
    match step {
        Step::Alone(work) => match work {
            Alone::FixWorkspace | Alone::Plan | Alone::Roles | Alone::Judge => true,
            Alone::Verify | Alone::Mend(_) | Alone::Publish => false,
        },
        Step::Tasks { start, .. } => !start.is_empty(),
        Step::Finish(_) | Step::Park(..) | Step::Wait(_) => false,
    }
}

fn words_for(reason: PauseReason, job: &JobId) -> String {
    match reason {
        PauseReason::Approval => {
            format!("the plan waits for a person: `numerus start {job}` shows it and asks")
        }
        PauseReason::User
        | PauseReason::Limit
        | PauseReason::Auth
        | PauseReason::Dependency
        | PauseReason::NotBefore => reason.as_str().to_owned(),
    }
}
