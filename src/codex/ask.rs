//! Asks codex something and gets a usable answer or a typed failure: starts again what did not start, goes on after what
//! was cut, sends a malformed answer back once with what is wrong with it. Every further try is on disk before it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::account::{self, Account};
use super::log_budget::Budget;
use super::program::Codex;
use super::prompt::Prompts;
use super::question::{Question, Reply};
use super::schema;
use super::session::{self, Ended, SessionSpec};
use crate::logic::classify;
use crate::logic::notes;
use crate::logic::parked::Parked;
use crate::logic::retry::{self, Next};
use crate::logic::supervise::{Limits, StopReason};
use crate::logic::task::Tries;
use crate::model::event::{Fact, SessionKind};
use crate::model::id::TaskId;
use crate::model::job::{Job, Sandbox};
use crate::model::outcome::{Failure, FailureKind};
use crate::model::plan::Role;
use crate::os::lock::FileLock;
use crate::os::{clock, random};
use crate::runs::RunFolder;
use crate::store::holds::Holds;
use crate::store::starts::StartSlots;

/// Rest between two looks for a free start slot; slots are held for a fraction of a second.
const SLOT_REST: Duration = Duration::from_millis(5);
/// Looks for a free start slot before codex is started without one.
const SLOT_LOOKS: u32 = 12_000;

/// For people: codex prints the cause on stderr, and goes on as if nothing were wrong.
const NO_HELPER: &str = "codex starts without its sandbox helper every time: is CODEX_HOME below the temporary directory? \
    Move it, or see stderr.log";

/// Puts a fact about a task, or about the job, into the journal; durable when it comes back.
pub type RecordFor = dyn Fn(Option<&TaskId>, Fact) -> Result<()> + Send + Sync;

/// Says why no further session may start; `None` lets it.
pub type Objection = dyn Fn() -> Option<Failure> + Send + Sync;

/// The way to be told to stop.
pub type Stop = watch::Receiver<Option<StopReason>>;

/// Most problems of an answer that are sent back.
const MAX_PROBLEMS: usize = 20;
/// Longest piece of a problem that is sent back or shown, in characters.
const MAX_PROBLEM_CHARS: usize = 400;
/// Longest prompt that codex takes, in characters (0.169.0; measured).
const MAX_PROMPT_CHARS: usize = 1_048_576;

fn shortened(problem: &str) -> String {
    problem.chars().take(MAX_PROBLEM_CHARS).collect()
}

/// Asks for one job.
pub struct Asker {
    /// The codex to ask.
    pub codex: Codex,
    /// The job.
    pub job: Job,
    /// Its run folder.
    pub folder: RunFolder,
    /// The prompts.
    pub prompts: Prompts,
    /// Bounds the starts at a time.
    pub slots: StartSlots,
    /// The accounts that are held.
    pub holds: Holds,
    /// What a worker before this one left to be gone on with.
    pub parked: Mutex<Parked>,
    /// The journal.
    pub record: Arc<RecordFor>,
    /// Asked before each session: why it must not start, if so.
    pub objection: Arc<Objection>,
    /// How much of what sessions and commands print is kept.
    pub logs: Arc<Budget>,
    /// Number of the last session of each place.
    pub numbers: Mutex<BTreeMap<String, u32>>,
    /// Places that wait for the time of their next try, and how each is told not to.
    pub resting: Mutex<BTreeMap<String, Arc<Notify>>>,
}

impl Asker {
    /// Asks for a structured answer of the shape `A`; `check` judges it. A malformed one goes back once, on the same thread.
    ///
    /// # Errors
    /// The failure, typed.
    pub async fn ask<A: JsonSchema + Serialize + DeserializeOwned + 'static, T>(
        &self,
        question: Question,
        check: impl Fn(A) -> std::result::Result<T, Vec<String>>,
        stop: &Stop,
    ) -> std::result::Result<(T, Reply), Failure> {
        let shape = schema::strict::<A>();
        let check = |text: &str| check(schema::read(&shape, text)?);
        let question = Question { schema: Some(shape.clone()), ..question };
        let reply = self.tell(question.clone(), stop).await?;
        let problems = match check(&reply.message) {
            Ok(answer) => return Ok((answer, reply)),
            Err(problems) => problems,
        };
        let repair = Question {
            prompt: self.repair_prompt(&question, &problems)?,
            resume: Some(reply.thread),
            ..question
        };
        let reply = self.tell(repair, stop).await?;
        match check(&reply.message) {
            Ok(answer) => Ok((answer, reply)),
            Err(problems) => {
                let shown: Vec<String> = problems.iter().take(3).map(|p| shortened(p)).collect();
                let message = format!("the answer could not be used, twice: {}", shown.join("; "));
                Err(Failure::new(FailureKind::Task, message))
            }
        }
    }

    fn repair_prompt(
        &self,
        question: &Question,
        problems: &[String],
    ) -> std::result::Result<String, Failure> {
        let marker = question.prompt.lines().next().unwrap_or_default();
        let task_id = question.task.as_ref().map(TaskId::as_str);
        let shown: Vec<String> = problems.iter().take(MAX_PROBLEMS).map(|p| shortened(p)).collect();
        let facts = json!({ "marker": marker, "task_id": task_id, "problems": shown });
        self.prompts.render("repair", &facts).map_err(|e| Failure::new(FailureKind::Bug, e))
    }

    /// Asks for free text, or does a piece of work.
    ///
    /// # Errors
    /// The failure, typed, once every further try is used up.
    pub async fn tell(
        &self,
        mut question: Question,
        stop: &Stop,
    ) -> std::result::Result<Reply, Failure> {
        let (mut tries, mut is_taken_up) = self.take_up(&mut question, stop).await?;
        loop {
            let ended = self.session(&question, stop).await?;
            let account = self.account_of(question.role);
            let Some(failure) = ended.end.failure.clone() else {
                account.worked(&self.holds, clock::now());
                return reply(ended);
            };
            if std::mem::take(&mut is_taken_up) && classify::is_lost_thread(&failure) {
                question.resume = None;
                continue;
            }
            let again = matches!(failure.kind, FailureKind::Transient | FailureKind::Start);
            let next = retry::decide(&failure, tries, 1, clock::steady(), random::fraction());
            let due = match next {
                Next::Retry(due) if again => due,
                Next::Retry(_) | Next::Park(..) | Next::GiveUp => {
                    let failure = if again { used_up(failure) } else { failure };
                    return Err(account.refused(&self.holds, failure, clock::now()));
                }
            };
            tries.count(failure.kind);
            let place = question.place.clone();
            let fact = Fact::SessionRetried { place, failure: failure.clone(), due };
            (self.record)(question.task.as_ref(), fact)
                .map_err(|e| Failure::new(FailureKind::Bug, e.to_string()))?;
            self.rest(&question.place, clock::until(due, clock::steady()), stop).await?;
            go_on(&mut question, &ended);
        }
    }

    /// Takes up what a worker before this one left of the same session: its thread, and the tries that it has used up,
    /// the next of which may not be due yet. Whether there was a thread.
    async fn take_up(
        &self,
        question: &mut Question,
        stop: &Stop,
    ) -> std::result::Result<(Tries, bool), Failure> {
        let (tried, left) = {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = question.resume.is_none();
            let left = parked
                .take(&question.place, question.kind, question.attempt)
                .filter(|left| fresh && left.failure.is_some());
            (parked.take_tries(&question.place), left)
        };
        let is_taken_up = left.is_some();
        if let Some(left) = left {
            question.resume = Some(left.thread);
        }
        let Some((tries, due)) = tried else { return Ok((Tries::default(), is_taken_up)) };
        let now = clock::steady();
        let due = if retry::has_come(due, now) { now } else { due };
        self.rest(&question.place, clock::until(due, now), stop).await?;
        Ok((tries, is_taken_up))
    }

    /// Rests until it is time or somebody is in a hurry; fails at once when told to stop.
    async fn rest(
        &self,
        place: &str,
        time: Duration,
        stop: &Stop,
    ) -> std::result::Result<(), Failure> {
        let (hurry, mut stop) = (Arc::new(Notify::new()), stop.clone());
        self.resting().insert(place.to_owned(), hurry.clone());
        let rested = tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = hurry.notified() => Ok(()),
            failure = told_to_stop(&mut stop) => Err(failure),
        };
        self.resting().remove(place);
        rested
    }

    /// Lets the next try of a place's session begin at once, if one waits for its time.
    pub fn hurry(&self, place: &str) {
        if let Some(resting) = self.resting().get(place) {
            resting.notify_one();
        }
    }

    fn resting(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Notify>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn profile_of(&self, role: Role) -> Option<&str> {
        self.job.options.profile_of(role).map(String::as_str)
    }

    /// The account that the sessions of a role use.
    pub fn account_of(&self, role: Role) -> Account {
        Account::of(&self.codex.home, self.profile_of(role))
    }

    /// Why nothing may be started on a profile's account now.
    fn refusal_of(&self, profile: Option<&str>) -> Option<Failure> {
        let hold = Account::of(&self.codex.home, profile).held(&self.holds, clock::now())?;
        Some(account::refusal(&hold))
    }

    /// Why the job may start nothing now: an account that one of its roles uses is held.
    pub fn refusal(&self) -> Option<Failure> {
        let profiles: BTreeSet<_> = Role::ALL.map(|role| self.profile_of(role)).into();
        profiles.into_iter().find_map(|profile| self.refusal_of(profile))
    }

    async fn session(
        &self,
        question: &Question,
        stop: &Stop,
    ) -> std::result::Result<Ended, Failure> {
        let slot = self.start_slot().await;
        // Asked last: the one before in the queue may just have been refused.
        if let Some(refusal) =
            (self.objection)().or_else(|| self.refusal_of(self.profile_of(question.role)))
        {
            return Err(refusal);
        }
        let spec = self.spec(question, self.prompt(question)?);
        let (record, task) = (self.record.clone(), question.task.clone());
        let record = move |fact| record(task.as_ref(), fact);
        let ran = session::run(&self.codex, &spec, slot, &record, stop.clone());
        ran.await.map_err(|e| Failure::new(FailureKind::Bug, e.to_string()))
    }

    /// A slot to start in. Who finds none for a whole minute starts without: a slot bounds a race, it guards nothing.
    async fn start_slot(&self) -> Option<FileLock> {
        for _ in 0..SLOT_LOOKS {
            match self.slots.try_take() {
                Ok(None) => tokio::time::sleep(SLOT_REST).await,
                Ok(slot) => return slot,
                Err(_) => return None,
            }
        }
        None
    }

    fn spec(&self, question: &Question, prompt: String) -> SessionSpec {
        let options = &self.job.options;
        let executes = question.kind == SessionKind::Execute;
        let claims = question.kind == SessionKind::Claim;
        let role = question.role;
        let sandbox = if claims { Sandbox::ReadOnly } else { options.sandbox_of(role) };
        SessionSpec {
            job: self.job.id.clone(),
            place: self.folder.place(&question.place),
            place_name: question.place.clone(),
            number: self.next_number(&question.place),
            kind: question.kind,
            attempt: question.attempt,
            cwd: question.cwd.clone(),
            prompt,
            schema: question.schema.clone(),
            resume: question.resume.clone(),
            sandbox,
            opened: question.opened.clone(),
            network: executes && options.network,
            model: options.model_of(role).cloned(),
            profile: options.profile_of(role).cloned(),
            limits: limits(&self.job, question.kind),
            logs: self.logs.clone(),
        }
    }

    /// What a session is asked, with the notes that a person has sent up to now, if codex takes so much.
    fn prompt(&self, question: &Question) -> std::result::Result<String, Failure> {
        let of_task = question.task.as_ref().map(|task| self.folder.notes(Some(task)));
        let of_job = self.folder.notes(None);
        let prompt = notes::with_notes(&question.prompt, &of_job, &of_task.unwrap_or_default());
        let length = prompt.chars().count();
        if length <= MAX_PROMPT_CHARS {
            return Ok(prompt);
        }
        let message = format!("the prompt has {length} characters, codex takes {MAX_PROMPT_CHARS}");
        Err(Failure::new(FailureKind::Task, message))
    }

    fn next_number(&self, place: &str) -> u32 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = numbers.entry(place.to_owned()).or_default();
        *number += 1;
        *number
    }
}

fn limits(job: &Job, kind: SessionKind) -> Limits {
    let timeouts = &job.options.timeouts;
    let total = match kind {
        SessionKind::Plan => timeouts.plan,
        SessionKind::Roles => timeouts.roles,
        SessionKind::Claim => timeouts.claim,
        SessionKind::Execute => timeouts.execute,
        SessionKind::Review => timeouts.review,
        SessionKind::Queen => timeouts.queen,
    };
    Limits { total, no_progress: timeouts.no_progress }
}

fn reply(ended: Ended) -> std::result::Result<Reply, Failure> {
    let thread = ended
        .end
        .thread_id
        .ok_or_else(|| Failure::new(FailureKind::Bug, "a session without a thread"))?;
    Ok(Reply {
        message: ended.message.unwrap_or_default(),
        thread: (thread, ended.end.thread_tokens),
    })
}

/// What a failure means that did not go away: a start that never works is a matter of codex's setting, a service that
/// never answers costs an attempt.
fn used_up(failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Start => Failure::new(FailureKind::Auth, NO_HELPER),
        _ => Failure { kind: FailureKind::Task, ..failure },
    }
}

/// After a cut the execution goes on with its own thread, which knows what it has done; anything else is asked afresh.
fn go_on(question: &mut Question, ended: &Ended) {
    if question.kind != SessionKind::Execute {
        return;
    }
    if let Some(thread) = &ended.end.thread_id {
        question.resume = Some((thread.clone(), ended.end.thread_tokens));
    }
}

/// Resolves when told to stop, with what that means for whoever was waiting.
pub async fn told_to_stop(stop: &mut Stop) -> Failure {
    let reason = stop.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
    classify::stopped(reason.unwrap_or(StopReason::Leave))
}
