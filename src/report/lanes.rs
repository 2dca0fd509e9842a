//! The timeline: one row for each place in which sessions ran, on one line of time on which long rests are cut short. What
//! ran at the same time stands side by side; a claim that waited shows how long, and for whom.

use jiff::Timestamp;

use super::html::{Html, cut};
use super::left_out::{self, JOURNAL, missing, newest};
use super::material::Material;
use super::page::card;
use super::words::{after, clock_time, holders, sign, task_tone};
use crate::logic::conflicts::by_path;
use crate::logic::timeline::{Landed, LeaseWait, SessionOutcome, SessionSpan};
use crate::logic::timescale::Timescale;
use crate::logic::words::{plural, spent_on_page, took};
use crate::model::event::SessionKind;

/// Most marks of each kind in one row, most waits that are told in words, and most paths of one.
const MOST_MARKS: usize = 300;
const MOST_WAITS: usize = 40;
const MOST_PATHS: usize = 3;
const PATH_BYTES: usize = 200;
/// How many times are written above the lanes.
const TICKS: u16 = 5;

/// A row of the drawing.
struct Lane<'a> {
    name: &'a str,
    places: &'a [&'a str],
    is_task: bool,
}

/// Writes it, if anything has happened yet.
pub(super) fn write(html: &mut Html, of: &Material) {
    let Some(since) = of.state.started_at.or(of.timeline.began) else { return };
    if of.timeline.sessions.is_empty() {
        return;
    }
    let until = end(of);
    let scale = Timescale::new(since, until, &busy(of, until));
    let beside = format!(
        "{} in {}",
        plural(of.timeline.sessions.len(), "session"),
        took(until.duration_since(since))
    );
    card(html, "timeline", "Timeline", &beside, |html| {
        html.block("div", "in", |html| {
            axis(html, &scale);
            let ids: Vec<&str> = of.state.tasks.iter().map(|t| t.task.id.as_str()).collect();
            let plan = Lane { name: "plan", places: &["plan", "roles"], is_task: false };
            let tasks = ids.iter().map(|id| Lane {
                name: id,
                places: std::slice::from_ref(id),
                is_task: true,
            });
            let queen = Lane { name: "queen", places: &["queen"], is_task: false };
            let mut not_drawn = 0;
            for lane in [plan].into_iter().chain(tasks).chain([queen]) {
                if html.has_room() {
                    not_drawn += self::lane(html, of, &scale, &lane);
                }
            }
            key(html, of);
            missing(html, "p", not_drawn, "before that are not drawn", JOURNAL);
            waits(html, of);
        });
    });
}

/// The end of the line: that of the job, or now.
fn end(of: &Material) -> Timestamp {
    let last = of.timeline.last.unwrap_or(of.now);
    let is_under_way = of.is_held && !of.timeline.is_over;
    if is_under_way { of.now.max(last) } else { last }
}

/// When something was under way.
fn busy(of: &Material, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let sessions = of.timeline.sessions.iter().map(|s| s.spell);
    let waits = of.timeline.waits.iter().map(|w| w.spell);
    let spells = sessions.chain(waits).map(|s| (s.since, s.until.unwrap_or(until)));
    spells.chain(of.timeline.landed.iter().map(|l| (l.at, l.at))).collect()
}

fn percent(share: f64) -> String {
    format!("{:.3}%", share.clamp(0.0, 1.0) * 100.0)
}

fn axis(html: &mut Html, scale: &Timescale) {
    html.block("div", "axis", |html| {
        html.block("div", "who", |_| {});
        html.block("div", "track", |html| {
            let mut before = -1.0;
            for (at, time) in scale.ticks(TICKS) {
                // Beside a rest that is cut short two times may come too close.
                if at - before < 0.08 {
                    continue;
                }
                before = at;
                let class = if at < 0.04 {
                    "first"
                } else if at > 0.96 {
                    "last"
                } else {
                    ""
                };
                let style = format!("left:{}", percent(at));
                html.leaf("span", &[("class", class), ("style", &style)], &after(time));
            }
        });
    });
}

/// The newest of these, and how many more there are.
fn marks<'a, T>(all: impl Iterator<Item = &'a T>) -> (Vec<&'a T>, usize) {
    let mut all: Vec<&T> = all.collect();
    let before = all.len().saturating_sub(MOST_MARKS);
    (all.split_off(before), before)
}

/// Draws one, and gives back how many marks there was no room for.
fn lane(html: &mut Html, of: &Material, scale: &Timescale, lane: &Lane<'_>) -> usize {
    let is_ours = |s: &&SessionSpan| lane.places.contains(&s.place.as_str());
    let (sessions, no_session) = marks(of.timeline.sessions.iter().filter(is_ours));
    if sessions.is_empty() && !lane.is_task {
        return 0;
    }
    let waits = of.timeline.waits.iter().filter(|w| w.task.as_str() == lane.name);
    let (waits, no_wait) = marks(waits);
    let is_landed = |l: &&Landed| l.task.as_str() == lane.name && l.commit.is_some();
    let (landed, no_landing) = marks(of.timeline.landed.iter().filter(is_landed));
    html.block("div", "lane", |html| {
        html.block("div", "who", |html| name(html, of, lane));
        html.block("div", "track", |html| {
            for cut in scale.cuts().take(MOST_MARKS) {
                let says = format!(
                    "nothing was under way for {}",
                    took(cut.until.duration_since(cut.since))
                );
                mark(html, "rested", (cut.left, cut.right), &says);
            }
            let until = end(of);
            for wait in waits {
                let (from, to) = (wait.spell.since, wait.spell.until.unwrap_or(until));
                mark(html, "waited", (scale.at(from), scale.at(to)), &wait_words(of, wait));
            }
            for session in sessions {
                let (from, to) = (session.spell.since, session.spell.until.unwrap_or(until));
                let class = class_of(session);
                mark(html, &class, (scale.at(from), scale.at(to)), &session_words(of, session));
            }
            for landing in landed {
                let at = scale.at(landing.at);
                let says = format!("landed at {}", clock_time(landing.at, &of.zone));
                mark(html, "landed", (at, at), &says);
            }
        });
    });
    no_session + no_wait + no_landing
}

fn name(html: &mut Html, of: &Material, lane: &Lane<'_>) {
    let task = of.state.tasks.iter().find(|t| lane.is_task && t.task.id.as_str() == lane.name);
    match task {
        Some(task) => {
            sign(html, task_tone(task.phase), task.phase.as_str());
            html.leaf("a", &[("href", &format!("#t-{}", lane.name))], lane.name);
        }
        None => html.leaf("b", &[], lane.name),
    }
}

fn mark(html: &mut Html, class: &str, (left, right): (f64, f64), says: &str) {
    let style = format!("left:{};width:{}", percent(left), percent((right - left).max(0.0)));
    html.shape("i", &[("class", class), ("style", &style), ("title", says)]);
}

fn class_of(session: &SessionSpan) -> String {
    let kind = format!("k-{}", session.kind.as_str());
    match session.outcome {
        SessionOutcome::Open => kind + " open",
        SessionOutcome::Well => kind,
        SessionOutcome::Failed(_) | SessionOutcome::Unknown => kind + " failed",
    }
}

/// How a session ended, in words.
pub(super) fn outcome_words(session: &SessionSpan) -> String {
    match &session.outcome {
        SessionOutcome::Open => "under way".to_owned(),
        SessionOutcome::Well => "ended well".to_owned(),
        SessionOutcome::Failed(failure) => failure.message.clone(),
        SessionOutcome::Unknown => "its end is not known".to_owned(),
    }
}

fn session_words(of: &Material, session: &SessionSpan) -> String {
    let time = took(session.spell.length(of.now));
    let (place, number, kind) = (&session.place, session.number, session.kind.as_str());
    let how = outcome_words(session);
    let (how, is_all) = cut(&how, 300);
    let more = if is_all { "" } else { "…" };
    let again = if session.resumes { ", the same thread goes on" } else { "" };
    format!(
        "{place}, session {number}: {kind}, attempt {}{again}\n{} for {time}\n{how}{more}\n{}",
        session.attempt,
        clock_time(session.spell.since, &of.zone),
        spent_on_page(session.tokens)
    )
}

fn wait_words(of: &Material, wait: &LeaseWait) -> String {
    let time = took(wait.spell.length(of.now));
    let names = holders(wait.holders.iter(), &of.id);
    let verb = if wait.spell.is_open() { "has waited" } else { "waited" };
    format!("{} {verb} {time} for {names}", wait.task)
}

fn key(html: &mut Html, of: &Material) {
    let kinds = [
        SessionKind::Plan,
        SessionKind::Roles,
        SessionKind::Claim,
        SessionKind::Execute,
        SessionKind::Review,
        SessionKind::Queen,
    ];
    let there = |kind: &SessionKind| of.timeline.sessions.iter().any(|s| s.kind == *kind);
    let failed = of.timeline.sessions.iter().any(|s| class_of(s).ends_with("failed"));
    html.block("div", "key", |html| {
        let mut entry = |class: &str, says: &str| {
            html.within("span", &[], |html| {
                html.shape("i", &[("class", class)]);
                html.text(says);
            });
        };
        for kind in kinds.iter().filter(|k| **k != SessionKind::Roles && there(k)) {
            entry(&format!("k-{}", kind.as_str()), kind.as_str());
        }
        for (is_there, class, says) in [
            (failed, "failed", "failed"),
            (!of.timeline.waits.is_empty(), "waited", "waits for another task"),
            (of.state.has_landed(), "diamond", "landed"),
        ] {
            if is_there {
                entry(class, says);
            }
        }
    });
}

/// The same waits in words: what waited, how long, for which paths of whom.
fn waits(html: &mut Html, of: &Material) {
    if of.timeline.waits.is_empty() {
        return;
    }
    html.within("ul", &[("class", "waits")], |html| {
        for wait in newest(html, "li", &of.timeline.waits, MOST_WAITS, JOURNAL) {
            html.within("li", &[], |html| {
                html.text(&wait_words(of, wait));
                let held = by_path(&wait.conflicts);
                for path in held.iter().take(MOST_PATHS) {
                    html.text(" ");
                    left_out::leaf(html, "code", path.path, PATH_BYTES, JOURNAL);
                }
                let more = held.len().saturating_sub(MOST_PATHS);
                html.text(if more > 0 { " " } else { "" });
                missing(html, "span", more, "more", JOURNAL);
            });
        }
    });
}
