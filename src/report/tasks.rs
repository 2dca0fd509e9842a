//! Each task: what it was to do, what its agent said, its attempts with claims and verdicts, its sessions. Those that did not
//! go well are open.

use jiff::SignedDuration;

use super::claims;
use super::html::{Html, address, cut};
use super::lanes::outcome_words;
use super::left_out::{self, JOURNAL, newest};
use super::material::Material;
use super::page::card;
use super::words::{clock_time, sign, task_tone};
use crate::logic::task::TaskState;
use crate::logic::timeline::{SessionOutcome, SessionSpan};
use crate::logic::words::{number, plural, short, took};
use crate::model::id::TaskId;
use crate::model::status::TaskPhase;

/// Longest texts that are shown of a task, and the most sessions.
const TEXT_BYTES: usize = 8 * 1024;
const LINE_BYTES: usize = 300;
const MOST_SESSIONS: usize = 60;

/// Writes them.
pub(super) fn write(html: &mut Html, of: &Material) {
    if of.state.tasks.is_empty() {
        return;
    }
    let done = of.state.tasks.iter().filter(|t| t.phase == TaskPhase::Succeeded).count();
    let beside = format!("{done} of {} done", plural(of.state.tasks.len(), "task"));
    card(html, "each-task", "Tasks", &beside, |html| {
        for task in &of.state.tasks {
            one(html, of, task);
        }
    });
}

fn one(html: &mut Html, of: &Material, task: &TaskState) {
    let id = task.task.id.as_str();
    let anchor = format!("t-{id}");
    let is_of_interest = matches!(task.phase, TaskPhase::Failed | TaskPhase::Blocked);
    let attributes = [("class", "task"), ("id", anchor.as_str()), ("open", "")];
    let count = if is_of_interest { 3 } else { 2 };
    html.within("details", &attributes[..count], |html| {
        html.within("summary", &[], |html| {
            sign(html, task_tone(task.phase), task.phase.as_str());
            html.leaf("b", &[], id);
            html.block("span", "what", |html| {
                let (line, is_all) = cut(&task.task.summary, LINE_BYTES);
                html.text(line);
                html.text(if is_all { "" } else { "…" });
            });
            html.span("nums", &numbers(of, task));
        });
        // A name of every task is always told, even where there is no room for what it did.
        if html.has_room() {
            html.block("div", "in", |html| inside(html, of, task));
        }
    });
    html.constant("\n");
}

fn sessions_of<'a>(of: &'a Material, task: &TaskState) -> Vec<&'a SessionSpan> {
    of.timeline.sessions.iter().filter(|s| s.place == task.task.id.as_str()).collect()
}

/// How many attempts, how long its sessions ran, what it spent.
fn numbers(of: &Material, task: &TaskState) -> String {
    let lengths = sessions_of(of, task).into_iter().map(|s| s.spell.length(of.now));
    let time: SignedDuration = lengths.fold(SignedDuration::ZERO, SignedDuration::saturating_add);
    let mut words = Vec::new();
    if task.attempt > 1 {
        words.push(plural(task.attempt as usize, "attempt"));
    }
    if !time.is_zero() {
        words.push(took(time));
    }
    if task.tokens.total() > 0 {
        words.push(format!("{} tokens", short(task.tokens.total())));
    }
    words.join(" · ")
}

fn inside(html: &mut Html, of: &Material, task: &TaskState) {
    let (role, phase) = (task.task.role.as_str(), task.phase.as_str());
    html.within("p", &[("class", "dim")], |html| {
        html.text(&format!("{role}, {phase}"));
        if let Some(since) = of.timeline.since(&task.task.id) {
            html.text(&format!(" since {}", clock_time(since, &of.zone)));
        }
        let needs: Vec<&str> = task.task.dependencies.iter().map(TaskId::as_str).collect();
        if !needs.is_empty() {
            html.text("; after ");
            left_out::text(html, &needs.join(", "), TEXT_BYTES, JOURNAL);
        }
    });
    let is_done = task.phase == TaskPhase::Succeeded;
    let failure = task.failure.as_ref().filter(|_| !is_done).map(|f| f.message.as_str());
    if task.task.summary.len() > LINE_BYTES {
        said(html, "In short", &task.task.summary, JOURNAL);
    }
    said(html, "What it was to do", &task.task.description, JOURNAL);
    said(html, "To the agent", &task.task.notes, JOURNAL);
    for note in of.notes.get(task.task.id.as_str()).into_iter().flatten() {
        said(html, "Told to its agents", note, &[task.task.id.as_str(), ""]);
    }
    said(html, "Why it did not end well", failure.unwrap_or_default(), JOURNAL);
    said(html, "The agent's last words", &task.summary, JOURNAL);
    said(html, "The queen", task.advice.as_deref().unwrap_or_default(), JOURNAL);
    if let Some(attempts) = of.attempts.get(&task.task.id) {
        claims::write(html, of, attempts);
    }
    sessions(html, of, task);
    if of.patches.contains_key(&task.task.id) {
        let anchor = format!("#d-{}", task.task.id);
        html.within("p", &[], |html| html.leaf("a", &[("href", &anchor)], "what it changed"));
    }
}

/// A text of somebody else's that lies in that file, under a heading; nothing where there is none.
pub(super) fn said(html: &mut Html, title: &str, text: &str, file: &[&str]) {
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    html.leaf("h3", &[], title);
    html.block("div", "said", |html| left_out::text(html, text, TEXT_BYTES, file));
}

fn sessions(html: &mut Html, of: &Material, task: &TaskState) {
    let sessions = sessions_of(of, task);
    if sessions.is_empty() {
        return;
    }
    html.leaf("h3", &[], "Sessions");
    let sessions = newest(html, "p", &sessions, MOST_SESSIONS, JOURNAL);
    html.block("div", "scroll", |html| {
        html.within("table", &[], |html| {
            head(html);
            html.within("tbody", &[], |html| {
                for session in sessions {
                    row(html, of, session);
                }
            });
        });
    });
}

fn head(html: &mut Html) {
    html.within("thead", &[], |html| {
        html.within("tr", &[], |html| {
            for name in ["", "for", "attempt", "began", "took", "tokens", "ended"] {
                html.leaf("th", &[], name);
            }
        });
    });
}

fn row(html: &mut Html, of: &Material, session: &SessionSpan) {
    html.within("tr", &[], |html| {
        html.within("td", &[], |html| {
            let prompt = format!("prompt-{}.md", session.number);
            let number = format!("#{}", session.number);
            if of.has(&session.place, &prompt) {
                let to = address([session.place.as_str(), &prompt]);
                html.leaf("a", &[("href", &to), ("title", "what it was asked")], &number);
            } else {
                html.text(&number);
            }
        });
        html.leaf("td", &[], session.kind.as_str());
        html.leaf("td", &[], &session.attempt.to_string());
        html.leaf("td", &[], &clock_time(session.spell.since, &of.zone));
        html.leaf("td", &[], &took(session.spell.length(of.now)));
        html.leaf("td", &[], &number(session.tokens.total()));
        let bad = matches!(session.outcome, SessionOutcome::Failed(_) | SessionOutcome::Unknown);
        let class = if bad { "minus" } else { "dim" };
        html.within("td", &[("class", class)], |html| {
            left_out::text(html, &outcome_words(session), LINE_BYTES, JOURNAL);
        });
    });
}
