//! A job's facts, one readable line each: what `run`, `start`, `events` and the demo print. Pure.

use super::here::View;
use super::ink::Tone;
use super::{answer, render};
use crate::logic::words::{self, plural};
use crate::model::advice::Comment;
use crate::model::claim::{Claim, ClaimPath, ClaimQuality};
use crate::model::event::{
    CommandResult, Event, Fact, SessionEnd, SessionExit, SessionKill, SessionTimeout,
};
use crate::model::outcome::FailureKind;
use crate::model::status::JobPhase;
use crate::model::workspace::Workspace;
use crate::os::console::one_line;

/// Longest list of paths that a line names.
const MOST_PATHS: usize = 6;

/// What a fact says, and how it feels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Colour, where there is any.
    pub(super) tone: Tone,
    /// One line, neutral.
    pub(super) text: String,
    /// Whether only someone who looks closely wants to know.
    pub(super) minor: bool,
}

fn told(tone: Tone, text: impl AsRef<str>) -> Told {
    Told { tone, text: one_line(text.as_ref()), minor: false }
}

fn minor(text: impl AsRef<str>) -> Told {
    Told { minor: true, ..told(Tone::Dim, text) }
}

/// One event as a whole line: time, job where it is asked for, task, words.
pub(super) fn line(event: &Event, with_job: bool, view: &View) -> String {
    let told = tell(&event.fact);
    let time = view.ink.paint(Tone::Dim, &view.clock_time(event.ts));
    let job = if with_job { format!("{}  ", event.job_id) } else { String::new() };
    let task = event.task_id.as_ref().map(|t| format!("{t}: ")).unwrap_or_default();
    format!("{time}  {job}{task}{}", view.ink.paint(told.tone, &told.text))
}

/// A fact in words.
pub(super) fn tell(fact: &Fact) -> Told {
    match fact {
        Fact::Submitted { origin } => minor(format!("submitted as {}", origin.name)),
        Fact::Claimed { .. } => told(Tone::Plain, "taken from the spool"),
        Fact::WorkerStarted { pid, .. } => minor(format!("worker started, process {pid}")),
        Fact::WorkspaceFixed { workspace } => told(
            Tone::Plain,
            format!("works on {} ({})", place(workspace), workspace.isolation.as_str()),
        ),
        Fact::PlanCreated { plan, tasks, .. } => {
            told(Tone::Plain, format!("plan {plan} has {}", plural(tasks.len(), "task")))
        }
        Fact::RolesAssigned { .. } => told(Tone::Plain, "roles are assigned"),
        Fact::PlanApproved {} => told(Tone::Good, "plan approved"),
        Fact::PlanningRetried { failure, .. } => {
            told(Tone::Wait, format!("planning is tried again: {}", failure.message))
        }
        Fact::Paused { message, .. } => told(Tone::Wait, format!("paused: {message}")),
        Fact::Resumed {} => told(Tone::Plain, "goes on"),
        Fact::Verified { passed, commands } => verified(*passed, commands),
        Fact::Landed { branch, commit } => {
            told(Tone::Good, format!("the result is branch {branch} ({})", short(commit)))
        }
        Fact::Finished { state, reason, message } => finished(*state, reason, message),
        Fact::BankCreated { bank } => minor(format!("memory bank {bank} made")),
        Fact::EntryAdded { bank } => minor(format!("remembered in {bank}")),
        of_claim @ (Fact::ClaimRecorded { .. }
        | Fact::ClaimBlocked { .. }
        | Fact::ClaimUnblocked { .. }
        | Fact::ClaimApproved { .. }
        | Fact::ClaimViolated { .. }
        | Fact::ClaimAmended { .. }
        | Fact::ClaimMeasured { .. }
        | Fact::LocksReleased { .. }) => tell_claim(of_claim),
        of_plan @ (Fact::TaskExhausted { .. }
        | Fact::TaskReopened {}
        | Fact::Advised { .. }
        | Fact::Replanned { .. }
        | Fact::TasksAdded { .. }
        | Fact::ReviewApproved { .. }
        | Fact::ReviewRejected { .. }
        | Fact::BaseAdvancing { .. }
        | Fact::BaseAdvanced { .. }
        | Fact::BaseDiverged(_)) => tell_change_of_plan(of_plan),
        of_task => tell_task(of_task),
    }
}

/// Where a job works: the part of the repository that it was given.
fn place(workspace: &Workspace) -> String {
    let (top, prefix) = (&workspace.top, workspace.prefix.trim_end_matches('/'));
    if prefix.is_empty() { top.clone() } else { format!("{}/{prefix}", top.trim_end_matches('/')) }
}

fn tell_claim(fact: &Fact) -> Told {
    match fact {
        Fact::ClaimRecorded { claim, .. } => {
            told(Tone::Plain, format!("claims {}", claimed(claim)))
        }
        Fact::ClaimBlocked { conflicts, .. } => {
            let held = render::conflicts(conflicts).join("; ");
            told(Tone::Wait, format!("NO GO: {held}"))
        }
        Fact::ClaimUnblocked { .. } => told(Tone::Plain, "what stood in the way is gone"),
        Fact::ClaimApproved { .. } => told(Tone::Good, "GO"),
        Fact::ClaimViolated { paths, .. } => {
            told(Tone::Bad, format!("wrote what it had not claimed: {}", listed(paths)))
        }
        Fact::ClaimAmended { paths, .. } => {
            told(Tone::Wait, format!("the claim is widened by {}", listed(paths)))
        }
        Fact::ClaimMeasured { quality, .. } => minor(measured(quality)),
        _ => minor("lease released"),
    }
}

fn measured(quality: &ClaimQuality) -> String {
    let share = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{:.0} %", s * 100.0));
    let (precision, recall) = (share(quality.precision), share(quality.recall));
    format!("{precision} of what was claimed was written, {recall} of what was written was claimed")
}

/// The first of some comments, and how many more there are.
fn said(comments: &[Comment]) -> String {
    let texts: Vec<&str> =
        comments.iter().map(|c| c.text.trim()).filter(|t| !t.is_empty()).collect();
    match texts.as_slice() {
        [] => String::new(),
        [only] => format!(": {only}"),
        [first, more @ ..] => format!(": {first} (and {} more)", more.len()),
    }
}

fn tell_change_of_plan(fact: &Fact) -> Told {
    match fact {
        Fact::TaskExhausted { failure, .. } => {
            told(Tone::Wait, format!("out of attempts, the queen is asked: {}", failure.message))
        }
        Fact::TaskReopened {} => told(Tone::Wait, "is tried again: a person wants that"),
        Fact::Advised { decision, advice } => {
            let says = format!("the queen says {}", decision.as_str().replace('_', " "));
            let says = if advice.is_empty() { says } else { format!("{says}: {advice}") };
            told(Tone::Plain, says)
        }
        Fact::Replanned { plan, tasks, .. } => {
            told(Tone::Plain, format!("plan {plan} has {}", plural(tasks.len(), "new task")))
        }
        Fact::TasksAdded { because, tasks, .. } => {
            let ids: Vec<String> = tasks.iter().map(|t| t.id.to_string()).collect();
            told(Tone::Wait, format!("added after {}: {}", because.as_str(), listed(&ids)))
        }
        Fact::ReviewApproved { comments } => {
            told(Tone::Good, format!("the review approves{}", said(comments)))
        }
        Fact::ReviewRejected { round, comments } => {
            told(Tone::Wait, format!("the review wants changes, round {round}{}", said(comments)))
        }
        Fact::BaseAdvancing { from, .. } => minor(format!("takes in what {from} has landed")),
        Fact::BaseAdvanced { from, .. } => {
            told(Tone::Plain, format!("took in what {from} has landed"))
        }
        Fact::BaseDiverged(d) => {
            told(Tone::Bad, format!("conflicts with {} in {}", d.from, listed(&d.paths)))
        }
        other => minor(other.name()),
    }
}

fn tell_task(fact: &Fact) -> Told {
    match fact {
        Fact::TaskStarted { attempt } => told(Tone::Plain, format!("started, attempt {attempt}")),
        Fact::TaskLanding { commit, .. } => minor(format!("landing {}", short(commit))),
        Fact::TaskCompleted { commit, summary, .. } => completed(commit.as_deref(), summary),
        Fact::BaseMoved { paths, .. } => {
            told(Tone::Wait, format!("claims again, since others changed {}", listed(paths)))
        }
        Fact::TaskFailed { failure, .. } => told(Tone::Bad, format!("failed: {}", failure.message)),
        Fact::TaskRetried { attempt, failure, .. } if failure.kind == FailureKind::Left => {
            told(Tone::Wait, format!("attempt {attempt} was interrupted: {}", failure.message))
        }
        Fact::TaskRetried { attempt, failure, .. } => told(
            Tone::Wait,
            format!("attempt {attempt} is followed by another: {}", failure.message),
        ),
        Fact::TaskSkipped { because } => {
            told(Tone::Wait, format!("skipped, since {because} did not end well"))
        }
        of_session => tell_session(of_session),
    }
}

fn tell_session(fact: &Fact) -> Told {
    match fact {
        Fact::SessionStarting(s) => {
            let (place, number, kind) = (&s.place, s.number, s.kind.as_str());
            let writes = match s.writable.join(" ") {
                list if list.is_empty() => list,
                list => format!(", may write {list}"),
            };
            minor(format!("session {place}/{number} ({kind}) starts{writes}"))
        }
        Fact::SessionOpened { place, number, pid } => {
            minor(format!("session {place}/{number} is process {pid}"))
        }
        Fact::SessionConfirmed { place, number, thread_id } => {
            minor(format!("session {place}/{number} is thread {thread_id}"))
        }
        Fact::SessionExited(SessionExit { place, number, code }) => {
            let how = code.map_or("ended by a signal".to_owned(), |c| format!("exit {c}"));
            minor(format!("session {place}/{number}: {how}"))
        }
        Fact::SessionTimedOut(SessionTimeout { place, number, deadline }) => told(
            Tone::Bad,
            format!("session {place}/{number} ran out of time ({})", deadline.replace('_', " ")),
        ),
        Fact::SessionKilled(SessionKill { place, number, survivors }) if survivors.is_empty() => {
            told(Tone::Wait, format!("session {place}/{number} was ended"))
        }
        Fact::SessionKilled(SessionKill { place, number, survivors }) => told(
            Tone::Bad,
            format!("session {place}/{number} was ended, but {survivors:?} still live"),
        ),
        Fact::SessionEnded(end) => session_ended(end),
        other => minor(other.name()),
    }
}

fn session_ended(end: &SessionEnd) -> Told {
    let name = format!("session {}/{} ({})", end.place, end.number, end.kind.as_str());
    match &end.failure {
        Some(failure) if failure.kind == FailureKind::Left => {
            told(Tone::Wait, format!("{name} was interrupted: {}", failure.message))
        }
        Some(failure) => told(Tone::Bad, format!("{name} failed: {}", failure.message)),
        None => minor(format!("{name} ended well: {}", words::spent(end.tokens))),
    }
}

fn completed(commit: Option<&str>, summary: &str) -> Told {
    let what = commit.map_or("done".to_owned(), |c| format!("landed as {}", short(c)));
    let words = answer::in_words(summary);
    let summary = super::row::fit(&one_line(words.as_deref().unwrap_or(summary)), 120);
    told(Tone::Good, if summary.is_empty() { what } else { format!("{what}: {summary}") })
}

fn verified(passed: bool, commands: &[CommandResult]) -> Told {
    if passed {
        return told(Tone::Good, format!("verified by {}", plural(commands.len(), "command")));
    }
    let bad = commands.iter().find(|c| c.code != Some(0));
    let which = bad.map(|c| c.command.clone()).unwrap_or_default();
    told(Tone::Bad, format!("verify failed: `{which}`"))
}

fn finished(state: JobPhase, reason: &str, message: &str) -> Told {
    let tone = render::job_tone(state);
    let why = if message.is_empty() { reason } else { message };
    told(
        tone,
        if why.is_empty() {
            state.as_str().to_owned()
        } else {
            format!("{}: {why}", state.as_str())
        },
    )
}

fn claimed(claim: &Claim) -> String {
    let names =
        |paths: &[ClaimPath]| -> Vec<String> { paths.iter().map(ToString::to_string).collect() };
    let writes = listed(&names(&claim.writes));
    match claim.reads.len() {
        0 => format!("to write {writes}"),
        _ => format!("to write {writes}, to read {}", listed(&names(&claim.reads))),
    }
}

/// The first of some paths, and how many more there are.
pub(super) fn listed(paths: &[String]) -> String {
    match paths.len() {
        0 => "nothing".to_owned(),
        n if n > MOST_PATHS => {
            let shown: Vec<&str> = paths.iter().take(MOST_PATHS).map(String::as_str).collect();
            format!("{} and {} more", shown.join(", "), n - MOST_PATHS)
        }
        _ => paths.join(", "),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fact(name: &str, payload: &Value) -> Fact {
        serde_json::from_value(json!({"event": name, "payload": payload})).expect("fact")
    }

    #[test]
    fn verdicts_are_told_with_their_evidence() {
        let by = |task| {
            json!({"path": "README.md", "mode": "write",
                   "held_by": {"job": "b-abc234", "task": task}})
        };
        let held = json!([by("docs"), by("more")]);
        for (name, payload, text) in [
            ("job.claim_approved", json!({"attempt": 1}), "GO"),
            (
                "job.claim_blocked",
                json!({"attempt": 1, "conflicts": held}),
                "NO GO: README.md (to write) is held by b-abc234/docs, b-abc234/more",
            ),
            (
                "job.claim_recorded",
                json!({"attempt": 1, "thread_id": "x", "claim": {
                    "reads": [{"path": "src", "is_dir": true}],
                    "writes": [{"path": "a", "is_dir": false}]}}),
                "claims to write a, to read src/",
            ),
            (
                "job.task_completed",
                json!({"attempt": 1, "commit": "0123456789abcdef", "summary": "All\ndone."}),
                "landed as 01234567: All done.",
            ),
            (
                "job.task_completed",
                json!({"attempt": 1, "commit": null,
                       "summary": r#"{"verdict":"approve","comments":[]}"#}),
                "done: verdict: approve, 0 comments",
            ),
            (
                "job.finished",
                json!({"state": "failed", "reason": "task_failed", "message": "t1 gave up"}),
                "failed: t1 gave up",
            ),
            (
                "terminal.killed",
                json!({"place": "t1", "number": 2, "survivors": [7]}),
                "session t1/2 was ended, but [7] still live",
            ),
        ] {
            assert_eq!(tell(&fact(name, &payload)).text, text, "{name}");
        }
    }

    #[test]
    fn what_was_interrupted_or_says_nothing_more_is_told_as_that() {
        for (name, payload, text) in [
            (
                "job.task_retried",
                json!({"attempt": 1, "due": "2026-03-04T05:06:07Z", "failure":
                       {"kind": "left", "message": "the worker was asked to leave"}}),
                "attempt 1 was interrupted: the worker was asked to leave",
            ),
            (
                "job.verified",
                json!({"passed": false, "commands": [{"command": "false", "code": 1}]}),
                "verify failed: `false`",
            ),
            ("job.advised", json!({"decision": "give_up", "advice": ""}), "the queen says give up"),
            (
                "job.workspace_fixed",
                json!({"workspace": {"isolation": "worktree", "top": "/w/shop", "git_dir": "/w/shop/.git",
                       "prefix": "sub", "base": "0123456789abcdef0123456789abcdef01234567", "dirty": false}}),
                "works on /w/shop/sub (worktree)",
            ),
        ] {
            assert_eq!(tell(&fact(name, &payload)).text, text, "{name}");
        }
    }

    #[test]
    fn a_line_has_time_job_task_and_nothing_raw() {
        let event = Event {
            seq: 1,
            ts: "2026-03-04T05:06:07Z".parse().expect("time"),
            fact: fact("job.claim_violated", &json!({"attempt": 1, "paths": ["a\u{1b}[2J"]})),
            job_id: crate::model::id::JobId::parse("a-abc234").expect("id"),
            task_id: crate::model::id::TaskId::parse("t1").ok(),
        };
        let view = View::plain(80, "2026-03-04T12:00:00Z");
        let shown = "05:06:07  a-abc234  t1: wrote what it had not claimed: a\\x1b[2J";
        assert_eq!(line(&event, true, &view), shown);
        assert!(!line(&event, false, &view).contains("a-abc234"));
    }
}
