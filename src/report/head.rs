//! The head of a report: what is wanted, where it stands and why, how to have the result, what it took.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::html::{Html, address, cut};
use super::material::Material;
use super::page::card;
use super::tasks::said;
use super::words::{job_tone, label, moment, moment_words, sign, task_tone};
use crate::logic::idle::Idle;
use crate::logic::take;
use crate::logic::words::{plural, spent_on_page, took};
use crate::model::claim::Holder;
use crate::model::status::{JobPhase, Status, TaskPhase};

/// Longest title, and longest objective, in bytes.
const TITLE_BYTES: usize = 180;
const OBJECTIVE_BYTES: usize = 32 * 1024;

/// Writes it.
pub(super) fn write(html: &mut Html, of: &Material) {
    let tone = job_tone(of.state.phase);
    html.within("p", &[("class", "crumbs")], |html| {
        html.leaf("a", &[("href", "../index.html")], "jobs");
        html.text(" / ");
        html.text(of.id.as_str());
    });
    html.within("h1", &[], |html| html.text(&title(of)));
    html.block("div", "state", |html| {
        label(html, tone, of.state.phase.as_str());
        html.leaf("span", &[], &why(of));
    });
    progress(html, of);
    for line in &of.trouble {
        html.leaf("p", &[("class", "note")], line);
    }
    html.block("div", "card", |html| {
        facts(html, of);
        result(html, of);
    });
    objective(html, of);
}

/// The first line of the objective.
pub(super) fn title(of: &Material) -> String {
    let objective = of.job.as_ref().map_or(of.state.plan_objective.as_str(), |j| &j.objective);
    let line = objective.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or(of.id.as_str());
    let (line, is_all) = cut(line, TITLE_BYTES);
    if is_all { line.to_owned() } else { format!("{line}…") }
}

/// Why it stands where it stands, in words.
fn why(of: &Material) -> String {
    let state = &of.state;
    let idle = Idle::of(state.phase, state.pause, of.is_held);
    let count = |phase| state.tasks.iter().filter(|t| t.phase == phase).count();
    let message = state.standing.message.as_str();
    let words = match (idle, state.phase) {
        (Some(Idle::NotBegun), _) if message.is_empty() => waiting(of),
        (Some(idle), _) => idle.told(message).to_owned(),
        _ if !message.is_empty() => message.to_owned(),
        (None, JobPhase::Planning) => "its plan is being made".to_owned(),
        _ if state.tasks.is_empty() => state.standing.reason.clone().unwrap_or_default(),
        _ => {
            format!("{} of {} done", count(TaskPhase::Succeeded), plural(state.tasks.len(), "task"))
        }
    };
    let further = [
        (state.phase == JobPhase::Running).then(|| blocked(of)),
        state.standing.until.map(|until| format!(" (until {})", moment_words(until, &of.zone))),
    ];
    [Some(words)].into_iter().chain(further).flatten().collect()
}

/// Whom the tasks wait for that got NO GO.
fn blocked(of: &Material) -> String {
    let waiting = of.state.tasks.iter().filter(|t| t.phase == TaskPhase::Blocked);
    let holders: BTreeSet<&Holder> =
        waiting.clone().flat_map(|t| &t.conflicts).map(|c| &c.held_by).collect();
    let names = super::words::holders(holders.into_iter(), &of.id);
    let mut waiting = waiting.map(|t| &t.task.id);
    match (waiting.next(), waiting.count()) {
        (None, _) => String::new(),
        (Some(task), 0) => format!(", {task} waits for {names}"),
        (Some(_), more) => format!(", {} tasks wait for {names}", more + 1),
    }
}

/// What a job waits for that nobody has begun.
fn waiting(of: &Material) -> String {
    let begun = Idle::NotBegun.words();
    let Some(status) = &of.waits else { return begun.to_owned() };
    format!("{begun}: {}", waits(status, &of.zone))
}

/// The wait of such a job, as its status tells it.
pub(super) fn waits(status: &Status, zone: &TimeZone) -> String {
    let idle = Idle::of_status(status, false);
    let why = idle.map_or(status.message.as_str(), |idle| idle.told(&status.message));
    let until = status.until.map(|until| format!(" (until {})", moment_words(until, zone)));
    format!("{why}{}", until.unwrap_or_default())
}

/// One piece for each task, in the colour of its state.
fn progress(html: &mut Html, of: &Material) {
    if of.state.tasks.is_empty() {
        return;
    }
    let done = of.state.tasks.iter().filter(|t| t.phase == TaskPhase::Succeeded).count();
    let says = format!("{done} of {} done", plural(of.state.tasks.len(), "task"));
    let attributes = [("class", "bar"), ("role", "img"), ("aria-label", says.as_str())];
    html.within("div", &attributes, |html| {
        for task in &of.state.tasks {
            html.shape("i", &[("class", task_tone(task.phase))]);
        }
    });
}

fn facts(html: &mut Html, of: &Material) {
    let fact = |html: &mut Html, name: &str, value: &mut dyn FnMut(&mut Html)| {
        html.within("div", &[], |html| {
            html.leaf("dt", &[], name);
            html.within("dd", &[], |html| value(html));
        });
    };
    html.within("dl", &[("class", "facts")], |html| {
        if let Some(at) = of.job.as_ref().map(|j| j.created_at).or(of.timeline.began) {
            fact(html, "taken", &mut |html| moment(html, at, &of.zone));
        }
        if of.state.started_at.is_some() {
            let (name, time) = elapsed(of);
            fact(html, name, &mut |html| html.text(&took(time)));
        }
        let sessions = of.timeline.sessions.len();
        let tasks =
            format!("{}, {}", plural(of.state.tasks.len(), "task"), plural(sessions, "session"));
        fact(html, "work", &mut |html| html.text(&tasks));
        fact(html, "tokens", &mut |html| html.text(&spent_on_page(of.state.tokens)));
        let top = of.state.workspace.as_ref().map(|w| w.top.as_str());
        if let Some(top) = top.or(of.job.as_ref().and_then(|j| j.options.workspace.as_deref())) {
            fact(html, "workspace", &mut |html| html.text(cut(top, 300).0));
        }
    });
}

/// How long it took, or has been under way.
fn elapsed(of: &Material) -> (&'static str, SignedDuration) {
    let since = of.state.started_at.unwrap_or(of.now);
    match of.timeline.last.filter(|_| of.timeline.is_over) {
        Some(end) => ("took", end.duration_since(since)),
        None => ("under way for", of.now.duration_since(since)),
    }
}

/// How to have the result.
fn result(html: &mut Html, of: &Material) {
    let Some(branch) = &of.state.branch else { return };
    html.block("div", "take", |html| {
        html.within("p", &[], |html| {
            html.text("The result is on the branch ");
            html.leaf("code", &[], branch);
            let place = if of.is_own { " of a repository of its own" } else { "" };
            html.text(&format!("{place}. To take it: "));
            let top = of.state.workspace.as_ref().map(|w| w.top.as_str()).unwrap_or_default();
            html.leaf("code", &[], &take::command(&of.id, branch, top, of.is_own));
        });
        let links = ["result.patch", "summary.md"].into_iter().filter(|name| of.has("", name));
        html.within("p", &[("class", "dim")], |html| {
            for (at, name) in links.enumerate() {
                html.text(if at == 0 { "" } else { " · " });
                html.leaf("a", &[("href", &address([name]))], name);
            }
        });
    });
}

/// The whole objective, where the title is not all of it, and what people told the agents since.
fn objective(html: &mut Html, of: &Material) {
    let Some(job) = &of.job else { return };
    let notes = of.notes.get("").map(Vec::as_slice).unwrap_or_default();
    if job.objective.trim() == title(of) && notes.is_empty() {
        return;
    }
    card(html, "objective", "Objective", "", |html| {
        html.block("div", "in", |html| {
            let (text, is_all) = cut(job.objective.trim(), OBJECTIVE_BYTES);
            html.leaf("div", &[("class", "prose")], text);
            if !is_all {
                html.leaf("a", &[("href", "./objective.md")], "the rest is in objective.md");
            }
            for note in notes {
                said(html, "Told to all agents", note, &[""]);
            }
        });
    });
}

/// The sign for where the job stands, for lists.
pub(super) fn job_sign(html: &mut Html, phase: JobPhase) {
    sign(html, job_tone(phase), phase.as_str());
}
