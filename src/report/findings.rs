//! What was said about the work: reviews, the queen, verify commands, new plans and added tasks, in the order of time.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "it names the facts that it shows; the others pass by"
)]

use super::html::{Html, address};
use super::left_out::{self, JOURNAL, missing, newest};
use super::material::{Material, VERIFY_BYTES};
use super::page::card;
use super::words::{BAD, GOOD, OFF, Tone, WAIT, clock_time, sign};
use crate::logic::words::plural;
use crate::model::advice::Comment;
use crate::model::command::CommandResult;
use crate::model::event::{Event, Fact};

/// Most findings, and most comments of one, and the longest of their texts.
const MOST_FINDINGS: usize = 200;
const MOST_COMMENTS: usize = 60;
const TEXT_BYTES: usize = 4 * 1024;
const PATH_BYTES: usize = 300;

/// One thing that was found.
struct Finding<'a> {
    tone: Tone,
    title: String,
    text: &'a str,
    comments: &'a [Comment],
    commands: &'a [CommandResult],
    names: Vec<&'a str>,
}

impl<'a> Finding<'a> {
    fn new(tone: Tone, title: impl Into<String>) -> Self {
        Self {
            tone,
            title: title.into(),
            text: "",
            comments: &[],
            commands: &[],
            names: Vec::new(),
        }
    }

    fn saying(self, text: &'a str) -> Self {
        Self { text, ..self }
    }

    fn naming(self, names: impl Iterator<Item = &'a str>) -> Self {
        Self { names: names.collect(), ..self }
    }
}

/// Writes them, if there are any.
pub(super) fn write(html: &mut Html, of: &Material) {
    let found: Vec<(&Event, Finding<'_>)> =
        of.events.iter().filter_map(|event| Some((event, finding(event)?))).collect();
    if found.is_empty() {
        return;
    }
    card(html, "findings", "Reviews and checks", "", |html| {
        for (event, finding) in newest(html, "p", &found, MOST_FINDINGS, JOURNAL) {
            if html.has_room() {
                one(html, of, event, finding);
            }
        }
        output(html, of);
    });
}

fn finding(event: &Event) -> Option<Finding<'_>> {
    let task = event.task_id.as_ref().map_or("the queen", |task| task.as_str());
    let found = match &event.fact {
        Fact::ReviewApproved { comments } => {
            Finding { comments, ..Finding::new(GOOD, format!("{task} approves")) }
        }
        Fact::ReviewRejected { round, comments } => {
            let title = format!("{task} wants changes, round {round}");
            Finding { comments, ..Finding::new(WAIT, title) }
        }
        Fact::Advised { decision, advice } => {
            let title = format!("The queen about {task}: {}", decision.as_str().replace('_', " "));
            Finding::new(OFF, title).saying(advice)
        }
        Fact::TaskExhausted { failure, .. } => {
            Finding::new(BAD, format!("{task} is out of attempts")).saying(&failure.message)
        }
        Fact::Verified { passed, commands } => {
            let (tone, title) =
                if *passed { (GOOD, "Verified") } else { (BAD, "A verify command did not pass") };
            Finding { commands, ..Finding::new(tone, title) }
        }
        Fact::TasksAdded { because, tasks, .. } => {
            let title = format!("{} added after {}", plural(tasks.len(), "task"), because.as_str());
            Finding::new(WAIT, title).naming(tasks.iter().map(|t| t.id.as_str()))
        }
        Fact::Replanned { plan, tasks, .. } => {
            let title = format!("Plan {plan} for what is left, {}", plural(tasks.len(), "task"));
            Finding::new(WAIT, title).naming(tasks.iter().map(|t| t.id.as_str()))
        }
        Fact::TaskReopened {} => Finding::new(WAIT, format!("A person let {task} try again")),
        Fact::PlanApproved {} => Finding::new(GOOD, "The plan was approved"),
        Fact::Paused { reason, message, .. } => {
            Finding::new(WAIT, format!("The job rested ({})", reason.as_str())).saying(message)
        }
        Fact::BaseDiverged(d) => {
            let title = format!("Conflicts with what job {} has landed", d.from);
            Finding::new(BAD, title).naming(d.paths.iter().map(String::as_str))
        }
        Fact::BaseAdvanced { from, .. } => {
            Finding::new(OFF, format!("What job {from} has landed was taken in"))
        }
        _ => return None,
    };
    Some(found)
}

fn one(html: &mut Html, of: &Material, event: &Event, finding: &Finding<'_>) {
    html.block("div", "found", |html| {
        sign(html, finding.tone, finding.tone);
        html.leaf("b", &[], &finding.title);
        html.span("dim", &clock_time(event.ts, &of.zone));
        html.block("div", "body", |html| {
            if !finding.text.trim().is_empty() {
                html.block("div", "said", |html| {
                    left_out::text(html, finding.text.trim(), TEXT_BYTES, JOURNAL);
                });
            }
            if !finding.comments.is_empty() {
                html.within("ul", &[], |html| {
                    finding.comments.iter().take(MOST_COMMENTS).for_each(|c| comment(html, c));
                });
            }
            for result in finding.commands.iter().take(MOST_COMMENTS) {
                html.within("p", &[], |html| {
                    left_out::leaf(html, "code", &result.command, TEXT_BYTES, JOURNAL);
                    html.text(&format!(" {}", result.how()));
                });
            }
            for name in finding.names.iter().take(MOST_COMMENTS) {
                left_out::leaf(html, "code", name, TEXT_BYTES, JOURNAL);
                html.text(" ");
            }
            for all in [finding.comments.len(), finding.commands.len(), finding.names.len()] {
                missing(html, "span", all.saturating_sub(MOST_COMMENTS), "more", JOURNAL);
            }
        });
    });
}

fn comment(html: &mut Html, comment: &Comment) {
    html.within("li", &[], |html| {
        if !comment.path.is_empty() {
            left_out::leaf(html, "code", &comment.path, PATH_BYTES, JOURNAL);
            html.text(" ");
        }
        left_out::text(html, comment.text.trim(), TEXT_BYTES, JOURNAL);
    });
}

/// What the verify commands wrote last.
fn output(html: &mut Html, of: &Material) {
    let Some(bytes) = of.verify.as_ref().filter(|bytes| !bytes.is_empty()) else { return };
    html.block("div", "in", |html| {
        html.within("details", &[("class", "fold")], |html| {
            html.leaf("summary", &[], "What the verify commands wrote");
            if bytes.len() as u64 == VERIFY_BYTES {
                html.within("p", &[], |html| {
                    html.text("Only the end is shown: ");
                    html.leaf("a", &[("href", &address(["verify", "verify.log"]))], "see the file");
                });
            }
            html.within("pre", &[("class", "said mono")], |html| html.bytes(bytes));
        });
    });
}
