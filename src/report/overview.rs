//! `runs/index.html`: all jobs of a root at a glance, those that have not ended first.

use std::collections::BTreeSet;
use std::io::Result;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::head::job_sign;
use super::html::{Html, address, cut};
use super::page::{Sources, card, generator, page};
use super::words::{job_tone, label, moment};
use crate::jobs::{recently_ended, status};
use crate::logic::words::{plural, short, took};
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::{JobPhase, Status, TaskPhase};
use crate::os::clock;
use crate::runs::Runs;
use crate::spool::{Place, Spool};

/// Most jobs of each kind that the overview names.
const MOST_LIVE: usize = 200;
const MOST_ENDED: u32 = 200;
/// Most live jobs that are looked at for the newest.
const MOST_LOOKED_AT: usize = 2000;
/// Longest objective in the list.
const LINE_BYTES: usize = 220;

/// What the overview shows.
#[derive(Debug)]
pub(super) struct Jobs {
    /// Those that have not ended, the newest first.
    pub(super) live: Vec<Status>,
    /// How many more there are of these.
    pub(super) more_live: usize,
    /// The last that have ended, the newest first.
    pub(super) ended: Vec<Status>,
    /// Whether there may be more of these.
    pub(super) has_more: bool,
    /// When it is written.
    pub(super) now: Timestamp,
    /// The zone that times are shown in.
    pub(super) zone: TimeZone,
}

/// What the overview shows. One that cannot be read hides no other.
pub(super) fn gather(root: &Root, now: Timestamp) -> Result<Jobs> {
    let runs = Runs::of(root);
    let claimed = Spool::of(root).jobs_in(Place::Claimed)?;
    let (ended, count) =
        recently_ended(root, MOST_ENDED).map_or_else(|_| (Vec::new(), 0), |e| (e.newest, e.count));
    let has_more = count > ended.len() as u64;
    // One that ended between the two looks is in both.
    let over: BTreeSet<&JobId> = ended.iter().map(|s| &s.job_id).collect();
    let mut ids: Vec<JobId> =
        claimed.into_iter().map(|(job, _)| job).filter(|job| !over.contains(job)).collect();
    let all_live = ids.len();
    ids.truncate(MOST_LOOKED_AT);
    ids.sort_by_cached_key(|job| std::cmp::Reverse(runs.folder(job).last_told()));
    ids.truncate(MOST_LIVE);
    let live: Vec<Status> =
        ids.iter().filter_map(|job| status(&runs.folder(job)).ok().flatten()).collect();
    let more_live = all_live.saturating_sub(live.len());
    Ok(Jobs { live, more_live, ended, has_more, now, zone: clock::zone() })
}

/// The page.
pub(super) fn write(jobs: &Jobs) -> String {
    page("Numerus: jobs", &generator(&Sources::default()), |html| {
        html.leaf("h1", &[], "Jobs");
        let live = jobs.live.len() + jobs.more_live;
        card(html, "live", "Under way", &plural(live, "job"), |html| {
            list(html, jobs, &jobs.live, "Nothing is under way.");
            if jobs.more_live > 0 {
                let more = format!("and {} more: numerus status", jobs.more_live);
                html.leaf("p", &[("class", "in dim")], &more);
            }
        });
        let beside = if jobs.has_more { "the last ones" } else { "" };
        card(html, "ended", "Ended", beside, |html| {
            list(html, jobs, &jobs.ended, "Nothing has ended yet.");
            if jobs.has_more {
                html.leaf("p", &[("class", "in dim")], "older ones: numerus status --all");
            }
        });
        html.within("footer", &[], |html| {
            html.text("written ");
            moment(html, jobs.now, &jobs.zone);
            html.text("; anew some seconds after a job begins or ends, by numerus open at once");
        });
    })
}

fn list(html: &mut Html, jobs: &Jobs, rows: &[Status], empty: &str) {
    html.block("div", "jobs", |html| {
        for status in rows {
            let to = address([status.job_id.as_str(), "report.html"]);
            html.within("a", &[("class", "job"), ("href", &to)], |html| row(html, jobs, status));
            html.constant("\n");
        }
        if rows.is_empty() {
            html.leaf("div", &[("class", "empty")], empty);
        }
    });
}

fn row(html: &mut Html, jobs: &Jobs, status: &Status) {
    job_sign(html, status.state);
    let objective =
        if status.objective.is_empty() { status.job_id.as_str() } else { &status.objective };
    html.span("title", cut(objective, LINE_BYTES).0);
    html.block("span", "nums", |html| {
        label(html, job_tone(status.state), &state_words(status));
        html.text(&format!(" {}", numbers(jobs, status)));
    });
    html.block("span", "under", |html| {
        html.text(status.job_id.as_str());
        html.text(" · ");
        moment(html, status.created_at, &jobs.zone);
        let message = cut(&status.message, LINE_BYTES).0;
        if !message.is_empty() {
            html.text(" · ");
            html.text(message);
        }
    });
}

fn state_words(status: &Status) -> String {
    match (&status.reason, status.state) {
        (Some(reason), JobPhase::Paused) => {
            format!("paused: {}", cut(reason, 40).0.replace('_', " "))
        }
        _ => status.state.as_str().to_owned(),
    }
}

fn numbers(jobs: &Jobs, status: &Status) -> String {
    let done = status.tasks.iter().filter(|t| t.state == TaskPhase::Succeeded).count();
    let until = if status.state.is_final() { status.updated_at } else { jobs.now };
    let mut words = vec![took(until.duration_since(status.created_at))];
    if !status.tasks.is_empty() {
        words.push(format!("{done}/{}", plural(status.tasks.len(), "task")));
    }
    if status.tokens.total() > 0 {
        words.push(format!("{} tokens", short(status.tokens.total())));
    }
    words.join(" · ")
}
