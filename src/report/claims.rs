//! The attempts of a task: what each claimed, every verdict with who held what, what was added to the claim, what was written
//! beside it, and how it ended.

use super::html::{Html, cut};
use super::left_out::{self, JOURNAL, missing, newest};
use super::material::Material;
use super::words::{BAD, GOOD, LIVE, Tone, WAIT, clock_time, holders, label};
use crate::logic::attempts::{Attempt, AttemptEnd};
use crate::logic::conflicts::by_path;
use crate::model::claim::{Claim, ClaimPath, ClaimQuality, Verdict, VerdictRecord};

/// Most attempts, verdicts and paths that are shown, and the longest of each text.
const MOST_ATTEMPTS: usize = 30;
const MOST_VERDICTS: usize = 12;
const MOST_PATHS: usize = 40;
const MOST_CONFLICTS: usize = 10;
const PATH_BYTES: usize = 300;
const LINE_BYTES: usize = 2 * 1024;

/// Writes them, the last one last.
pub(super) fn write(html: &mut Html, of: &Material, attempts: &[Attempt]) {
    html.leaf("h3", &[], if attempts.len() == 1 { "Claim and verdicts" } else { "Attempts" });
    for attempt in newest(html, "p", attempts, MOST_ATTEMPTS, JOURNAL) {
        if !html.has_room() {
            break;
        }
        html.block("div", "attempt", |html| one(html, of, attempt, attempts.len() > 1));
    }
}

fn one(html: &mut Html, of: &Material, attempt: &Attempt, is_one_of_many: bool) {
    if is_one_of_many {
        html.within("p", &[], |html| {
            html.leaf("b", &[], &format!("attempt {}", attempt.number));
        });
    }
    if let Some(claim) = &attempt.claim {
        claimed(html, claim);
    }
    for verdict in newest(html, "p", &attempt.verdicts, MOST_VERDICTS, JOURNAL) {
        html.within("p", &[], |html| judged(html, of, verdict));
    }
    for (paths, tone, word) in [
        (&attempt.amended, WAIT, "added to the claim, since nobody else held it"),
        (&attempt.violated, BAD, "written without having been claimed: nothing landed"),
        (&attempt.moved, WAIT, "changed by others meanwhile: it claims again"),
    ] {
        if !paths.is_empty() {
            html.within("p", &[("class", "paths")], |html| {
                label(html, tone, word);
                html.text(" ");
                names(html, paths.iter().map(String::as_str));
            });
        }
    }
    if let Some(quality) = &attempt.quality {
        html.leaf("p", &[("class", "dim")], &measured(quality));
    }
    ended(html, attempt);
}

fn claimed(html: &mut Html, claim: &Claim) {
    for (paths, word) in [(&claim.writes, "claims to write "), (&claim.reads, "claims to read ")] {
        if !paths.is_empty() {
            let texts: Vec<String> = paths.iter().map(ClaimPath::to_string).collect();
            html.within("p", &[("class", "paths")], |html| {
                html.text(word);
                names(html, texts.iter().map(String::as_str));
            });
        }
    }
    if claim.writes.is_empty() && claim.reads.is_empty() {
        html.leaf("p", &[], "claims nothing");
    }
}

fn names<'a>(html: &mut Html, paths: impl ExactSizeIterator<Item = &'a str>) {
    let more = paths.len().saturating_sub(MOST_PATHS);
    for path in paths.take(MOST_PATHS) {
        left_out::leaf(html, "code", path, PATH_BYTES, JOURNAL);
        html.text(" ");
    }
    missing(html, "span", more, "more", JOURNAL);
}

fn judged(html: &mut Html, of: &Material, verdict: &VerdictRecord) {
    let at = clock_time(verdict.at, &of.zone);
    match verdict.verdict {
        Verdict::Go => {
            label(html, GOOD, "GO");
            html.text(&format!(" at {at}"));
        }
        Verdict::NoGo => {
            label(html, WAIT, "NO GO");
            html.text(&format!(" at {at}: "));
            let held = by_path(&verdict.conflicts);
            for (n, path) in held.iter().take(MOST_CONFLICTS).enumerate() {
                html.text(if n == 0 { "" } else { "; " });
                left_out::leaf(html, "code", path.path, PATH_BYTES, JOURNAL);
                let holders = holders(path.holders.iter().copied(), &of.id);
                html.text(&format!(" ({}) is held by {holders}", path.wanted));
            }
            let more = held.len().saturating_sub(MOST_CONFLICTS);
            html.text(if more > 0 { "; " } else { "" });
            missing(html, "span", more, "more", JOURNAL);
        }
    }
}

fn measured(quality: &ClaimQuality) -> String {
    let share =
        |s: Option<f64>| s.map_or("nothing".to_owned(), |s| format!("{:.0}\u{a0}%", s * 100.0));
    let (precision, recall) = (share(quality.precision), share(quality.recall));
    format!("{precision} of what was claimed was written, {recall} of what was written was claimed")
}

fn ended(html: &mut Html, attempt: &Attempt) {
    let (tone, word, why): (Tone, &str, &str) = match &attempt.end {
        None => (LIVE, "under way", ""),
        Some(AttemptEnd::Completed(None)) => (GOOD, "done", "it changed nothing"),
        Some(AttemptEnd::Completed(Some(commit))) => (GOOD, "landed", cut(commit, 12).0),
        Some(AttemptEnd::Retried(failure)) => {
            (WAIT, "another attempt follows", failure.message.as_str())
        }
        Some(AttemptEnd::Exhausted(failure)) => (BAD, "out of attempts", failure.message.as_str()),
        Some(AttemptEnd::Failed(failure)) => (BAD, "failed", failure.message.as_str()),
    };
    html.within("p", &[], |html| {
        label(html, tone, word);
        html.text(" ");
        left_out::text(html, why, LINE_BYTES, JOURNAL);
    });
}
