//! Jobs, tasks and plans as text for people. Pure: values in, text out; nothing raw from an objective or an agent
//! passes, and everything fits the terminal.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::fold;
use super::here::View;
use super::ink::Tone;
use super::row::fit;
use super::table::{Cell, table};
use crate::hooks;
use crate::logic::conflicts::{HeldPath, by_path};
use crate::logic::idle::Idle;
use crate::logic::take;
use crate::logic::words::{self, plural, short};
use crate::model::claim::Conflict;
use crate::model::id::{JobId, TaskId};
use crate::model::outcome::Tokens;
use crate::model::plan::{Plan, Role, Task};
use crate::model::status::{JobPhase, Status, TaskPhase, TaskStatus};
use crate::os::console::one_line;

/// A job as `status` lists it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// What its files say.
    pub(super) status: Status,
    /// Whether a worker holds it.
    pub(super) held: bool,
}

impl Row {
    /// Why nobody works on it: nothing has to be done about one that is just taken up.
    pub(super) fn idle(&self) -> Option<Idle> {
        Idle::of_status(&self.status, self.held).filter(|_| !self.held)
    }

    /// Whether its worker has gone without an end.
    pub(super) fn is_left(&self) -> bool {
        self.idle() == Some(Idle::Left)
    }
}

/// Why a task waits, from its claim's last verdict.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wait {
    /// The task.
    pub(super) task: TaskId,
    /// Who holds what.
    pub(super) conflicts: Vec<Conflict>,
}

/// The tone of a job's state.
pub(super) fn job_tone(phase: JobPhase) -> Tone {
    phase.tone().into()
}

/// The tone of a task's state.
pub(super) fn task_tone(phase: TaskPhase) -> Tone {
    phase.tone().into()
}

/// A number of tokens for a column: nothing for none.
pub(super) fn count(tokens: u64) -> String {
    if tokens == 0 { String::new() } else { short(tokens) }
}

/// How long ago something was, or how long it took, in its largest unit.
pub(super) fn age(from: Timestamp, to: Timestamp) -> String {
    words::age(to.duration_since(from))
}

/// The state with its reason, and whether nobody works on a job that should be worked on.
fn state_words(row: &Row, view: &View) -> String {
    let status = &row.status;
    let mut words = status.state.as_str().to_owned();
    if status.state == JobPhase::Paused {
        let reason = status.reason.as_deref().unwrap_or("no reason given");
        let _ = write!(words, " ({})", one_line(reason));
    }
    if let Some(until) = status.until {
        let _ = write!(words, " until {}", view.moment(until));
    }
    if status.until.is_some_and(|until| until <= view.now) && !row.held {
        words.push_str(" (over: a daemon goes on with it)");
    }
    if let Some(label) = row.idle().and_then(Idle::label) {
        let _ = write!(words, " ({label})");
    }
    words
}

fn tasks_done(tasks: &[TaskStatus]) -> String {
    let done = tasks.iter().filter(|t| t.state == TaskPhase::Succeeded).count();
    if tasks.is_empty() { String::new() } else { format!("{done}/{}", tasks.len()) }
}

/// A list of jobs.
pub(super) fn jobs(rows: &[Row], view: &View) -> String {
    let cells = |row: &Row| {
        let s = &row.status;
        let moved = if s.state.is_final() { s.updated_at } else { s.created_at };
        vec![
            Cell::from(s.job_id.as_str()),
            Cell::toned(state_words(row, view), job_tone(s.state)),
            Cell::from(tasks_done(&s.tasks)),
            Cell::from(count(s.tokens.total())),
            Cell::from(age(moved, view.now)),
            Cell::from(one_line(&s.objective)),
        ]
    };
    let cells: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
    let heads = ["JOB", "STATE", "TASKS", "TOKENS", "AGE", "OBJECTIVE"];
    let listed = table(&heads, &cells, view.width, view.ink);
    let mut lines = listed.lines();
    let mut text = lines.next().map(|heading| format!("{heading}\n")).unwrap_or_default();
    for (line, row) in lines.zip(rows) {
        let _ = writeln!(text, "{line}");
        if let Some(why) = why(&row.status) {
            let why = fit(&format!("  {}", one_line(&why)), view.width);
            let _ = writeln!(text, "{}", view.ink.paint(job_tone(row.status.state), &why));
        }
    }
    text
}

/// Why a job waits or did not end well, for a line of its own below it.
fn why(status: &Status) -> Option<String> {
    let blocked = || {
        let task = status.tasks.iter().find(|t| t.state == TaskPhase::Blocked)?;
        Some(format!("{} waits for {}", task.id, task.waits_for.join(", ")))
    };
    match status.state {
        JobPhase::Failed | JobPhase::Paused | JobPhase::Queued | JobPhase::Killed => {
            Some(status.message.clone()).filter(|message| !message.trim().is_empty())
        }
        JobPhase::Planning | JobPhase::Running => blocked(),
        JobPhase::Succeeded => None,
    }
}

/// Files that lie in `incoming/`.
pub(super) fn waiting(names: &[String], view: &View) -> String {
    let rows: Vec<Vec<Cell>> = names
        .iter()
        .map(|n| vec![Cell::from(one_line(n)), Cell::toned("waits to be taken", Tone::Wait)])
        .collect();
    table(&["FILE", "STATE"], &rows, view.width, view.ink)
}

/// One job with who plays its agent, its tasks, what they wait for, and where to look.
pub(super) fn detail(row: &Row, waits: &[Wait], agent: &str, dir: &str, view: &View) -> String {
    let mut text = facts(row, agent, dir, view);
    if !row.status.tasks.is_empty() {
        text.push('\n');
        text.push_str(&tasks(&row.status.tasks, view));
    }
    for line in waits.iter().flat_map(wait_lines) {
        text.push_str(&view.ink.paint(Tone::Wait, &fold::words(&line, 2, view)));
        text.push('\n');
    }
    text.push_str(&messages(&row.status, view));
    let commands = where_to_look(row, dir);
    let look = "look: ";
    let commands = fold::pieces(commands.iter().map(String::as_str), " · ", look.len(), view);
    let _ = writeln!(text, "\n{look}{commands}");
    text
}

fn facts(row: &Row, agent: &str, dir: &str, view: &View) -> String {
    let s = &row.status;
    let mut text = String::new();
    let mut fact = |name: &str, value: &str, tone: Tone| {
        text.push_str(&fold::fact(name, value, tone, view));
    };
    fact("job", s.job_id.as_str(), Tone::Strong);
    fact("state", &state_words(row, view), job_tone(s.state));
    let why = if s.state.is_final() { s.reason.as_deref().unwrap_or_default() } else { "" };
    fact("reason", &one_line(why), Tone::Plain);
    fact("message", &one_line(&s.message), Tone::Plain);
    fact(
        "objective",
        &fit(&one_line(&s.objective), view.width.saturating_sub(fold::NAME + 1)),
        Tone::Plain,
    );
    fact("workspace", &one_line(s.workspace.as_deref().unwrap_or_default()), Tone::Plain);
    fact("branch", &one_line(s.branch.as_deref().unwrap_or_default()), Tone::Plain);
    if s.branch.is_some() && !s.takes_in.is_empty() {
        let jobs: Vec<&str> = s.takes_in.iter().map(JobId::as_str).collect();
        fact("holds", &format!("what {} had landed, too", jobs.join(", ")), Tone::Plain);
    }
    fact("agent", agent, Tone::Wait);
    fact("worker", &worker(row), Tone::Plain);
    fact("taken", &times(s, view), Tone::Plain);
    fact("tokens", &tokens(s.tokens), Tone::Plain);
    for (role, spent) in s.spent.iter().filter(|_| s.spent.len() > 1) {
        fact(&format!("  {}", role.as_str()), &tokens(*spent), Tone::Dim);
    }
    fact("files", &one_line(dir), Tone::Plain);
    text
}

/// What was spent, if anything was.
fn tokens(t: Tokens) -> String {
    if t == Tokens::default() { String::new() } else { words::spent(t) }
}

/// When it was taken, how long it took, and how long ago that was, if that is some while.
fn times(s: &Status, view: &View) -> String {
    let taken = view.moment(s.created_at);
    if !s.state.is_final() {
        return format!("{taken}, {} ago", age(s.created_at, view.now));
    }
    let took = age(s.created_at, s.updated_at);
    let is_fresh = view.now.duration_since(s.updated_at).as_secs() < 60;
    let ended = if is_fresh {
        String::new()
    } else {
        format!(", ended {} ago", age(s.updated_at, view.now))
    };
    format!("{taken}, took {took}{ended}")
}

/// Who works on it; where nobody does who should, what happens next.
fn worker(row: &Row) -> String {
    let job = &row.status.job_id;
    if let Some(pid) = row.status.pid.filter(|_| row.held) {
        return format!("process {pid}");
    }
    let command = row.idle().filter(|idle| *idle == Idle::Left).and_then(|idle| idle.command(job));
    let none = |command| format!("none: a daemon starts one; without a daemon, {command}");
    command.map(none).unwrap_or_default()
}

fn tasks(tasks: &[TaskStatus], view: &View) -> String {
    let cells = |t: &TaskStatus| {
        let mut state = t.state.as_str().to_owned();
        if let Some(until) = t.until.filter(|until| *until > view.now) {
            let _ = write!(state, " until {}", view.clock_time(until));
        }
        let attempt = if t.attempt == 0 { String::new() } else { t.attempt.to_string() };
        vec![
            Cell::from(t.id.as_str()),
            Cell::from(t.role.as_str()),
            Cell::toned(state, task_tone(t.state)),
            Cell::from(attempt),
            Cell::from(one_line(&t.waits_for.join(", "))),
            Cell::from(count(t.tokens.total())),
            Cell::from(one_line(&t.summary)),
        ]
    };
    let heads = ["TASK", "ROLE", "STATE", "TRY", "WAITS FOR", "TOKENS", "SUMMARY"];
    let rows: Vec<Vec<Cell>> = tasks.iter().map(cells).collect();
    table(&heads, &rows, view.width, view.ink)
}

fn wait_lines(wait: &Wait) -> Vec<String> {
    conflicts(&wait.conflicts).into_iter().map(|c| format!("{} waits: {c}", wait.task)).collect()
}

/// Conflicts in words: for each path everyone who holds it.
pub(super) fn conflicts(all: &[Conflict]) -> Vec<String> {
    let words = |held: &HeldPath<'_>| {
        let holders: Vec<String> =
            held.holders.iter().map(|h| format!("{}/{}", h.job, h.task)).collect();
        format!("{} ({}) is held by {}", one_line(held.path), held.wanted, holders.join(", "))
    };
    by_path(all).iter().map(words).collect()
}

fn messages(status: &Status, view: &View) -> String {
    let failed =
        status.tasks.iter().filter(|t| t.state == TaskPhase::Failed && !t.message.is_empty());
    let mut text = String::new();
    for task in failed {
        let line = format!("{} failed: {}", task.id, one_line(&task.message));
        let _ = writeln!(text, "{}", fold::words(&line, 2, view));
    }
    text
}

/// That hooks of a job went wrong, and where to look.
pub(super) fn failed_hooks(failures: &[hooks::Failure], dir: &str) -> Option<String> {
    let last = failures.last()?;
    let count = format!("{} of hooks", plural(failures.len(), "call"));
    let file = last.log.as_deref().unwrap_or("failed.ndjson");
    let (hook, why) = (one_line(&last.hook), one_line(&last.why));
    let look = format!("{}/hooks/{}", one_line(dir), one_line(file));
    Some(format!("{count} failed, the last of {hook}: {why} (see {look})"))
}

/// Commands that take what a job has made, do it again, show more of it, or let it go on.
fn where_to_look(row: &Row, dir: &str) -> Vec<String> {
    let status = &row.status;
    let job = &status.job_id;
    let top = status.workspace.as_deref().unwrap_or_default();
    let take = status.branch.as_deref().filter(|_| status.state.is_final()).map(|branch| {
        // A repository of its own lies in its folder.
        take::command(job, &word(branch), &word(top), Path::new(top).starts_with(dir))
    });
    let is_undone = matches!(status.state, JobPhase::Failed | JobPhase::Killed);
    let retry = is_undone.then(|| take::again(job, status.reason.as_deref()));
    let worth = |t: &&TaskStatus| t.attempt > 0 && !matches!(t.state, TaskPhase::Succeeded);
    let task = status.tasks.iter().find(worth).map(|t| t.id.to_string());
    let place = match status.reason.as_deref() {
        Some("verify_failed") => Some("verify".to_owned()),
        Some("review_failed" | "review_rejected") => Some("queen".to_owned()),
        _ => task,
    };
    let logs = place.map_or(format!("numerus logs {job}"), |p| format!("numerus logs {job}/{p}"));
    let branch = status.branch.as_deref().map(|b| {
        let place = status.workspace.as_deref().map(|dir| format!("-C {} ", word(dir)));
        format!("git {}log {}", place.unwrap_or_default(), word(b))
    });
    let start = row.idle().and_then(|idle| idle.command(job));
    [retry, take, Some(logs), branch, start].into_iter().flatten().collect()
}

/// A word that a shell takes as it is.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    let text = one_line(text);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A plan with its roles.
pub(super) fn plan(plan: &Plan, view: &View) -> String {
    let mut text = self::plan_tasks(&plan.tasks, view);
    if !plan.strategy.is_empty() {
        let _ = writeln!(text, "{}", one_line(&plan.strategy));
    }
    text
}

/// The tasks of a plan.
pub(super) fn plan_tasks(tasks: &[Task], view: &View) -> String {
    let cells = |t: &Task| {
        let after: Vec<&str> = t.dependencies.iter().map(TaskId::as_str).collect();
        let hints =
            if t.role == Role::Executor { t.resources.writes.join(", ") } else { String::new() };
        vec![
            Cell::from(t.id.as_str()),
            Cell::from(t.role.as_str()),
            Cell::from(fit(&one_line(&t.summary), 40)),
            Cell::from(after.join(", ")),
            Cell::from(one_line(&hints)),
        ]
    };
    let heads = ["TASK", "ROLE", "SUMMARY", "AFTER", "LIKELY WRITES"];
    let rows: Vec<Vec<Cell>> = tasks.iter().map(cells).collect();
    table(&heads, &rows, view.width, view.ink)
}

#[cfg(test)]
mod tests;
