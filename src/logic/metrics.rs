//! What a daemon tells of itself and its jobs, in the text format of Prometheus.
//!
//! Promise: the labels are words of this program alone, so that the number of lines never grows with what is done.

use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use crate::model::outcome::Tokens;
use crate::model::plan::Role;
use crate::model::status::JobPhase;
use crate::model::tally::Totals;

/// What is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Jobs that have not ended: queued, planning, running, paused.
    pub jobs: [u64; 4],
    /// When the oldest job was taken that waits for nothing but a worker.
    pub oldest_queued: Option<Timestamp>,
    /// What ended jobs came to.
    pub totals: Totals,
    /// Files that were not accepted.
    pub rejected: u64,
    /// Accounts that are held over a limit, and for want of a login.
    pub holds: [u64; 2],
    /// Whether no new work is started.
    pub is_degraded: bool,
    /// When the daemon began to lead.
    pub started_at: Timestamp,
}

/// The states of jobs that have not ended, in the order of [`Sample::jobs`].
pub const OPEN: [JobPhase; 4] =
    [JobPhase::Queued, JobPhase::Planning, JobPhase::Running, JobPhase::Paused];
const ENDS: [JobPhase; 3] = [JobPhase::Succeeded, JobPhase::Failed, JobPhase::Killed];

/// A text in the making.
struct Text(String);

impl Text {
    /// Begins a metric.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _a_string = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _a_string = writeln!(self.0, "{name}{labels} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.line(name, &[], value);
    }
}

/// Writes a sample down.
pub fn render(sample: &Sample) -> String {
    let mut text = Text(String::new());
    let name = "numerus_jobs";
    text.metric(name, "gauge", "Jobs that have not ended, by state.");
    for (phase, jobs) in OPEN.iter().zip(sample.jobs) {
        text.line(name, &[("state", phase.as_str())], jobs);
    }
    text.single(
        "numerus_queue_oldest_timestamp_seconds",
        "gauge",
        "When the oldest job was taken that waits for nothing but a worker; 0 if there is none.",
        sample.oldest_queued.map_or(0, Timestamp::as_second),
    );
    totals(&mut text, &sample.totals);
    let name = "numerus_rejected_files_total";
    text.single(name, "counter", "Dropped files that were not accepted.", sample.rejected);
    let name = "numerus_holds";
    text.metric(name, "gauge", "Accounts of codex on which nothing is started, by reason.");
    for (kind, holds) in ["limit", "auth"].into_iter().zip(sample.holds) {
        text.line(name, &[("kind", kind)], holds);
    }
    let help = "Whether no new work is started, since the machine is not fit for it.";
    text.single("numerus_degraded", "gauge", help, u8::from(sample.is_degraded));
    let name = "numerus_daemon_start_time_seconds";
    text.single(name, "gauge", "When the daemon began to lead.", sample.started_at.as_second());
    text.0
}

fn totals(text: &mut Text, totals: &Totals) {
    let name = "numerus_jobs_ended_total";
    text.metric(name, "counter", "Jobs that have ended, by outcome.");
    for end in ENDS {
        let jobs = totals.ended.get(&end).copied().unwrap_or(0);
        text.line(name, &[("outcome", end.as_str())], jobs);
    }
    let name = "numerus_tokens_total";
    let help = "Tokens that ended jobs have spent, by role; cached_input is part of input.";
    text.metric(name, "counter", help);
    for role in Role::ALL {
        let Tokens { input, cached, output } = totals.spent.get(&role).copied().unwrap_or_default();
        for (kind, tokens) in [("input", input), ("cached_input", cached), ("output", output)] {
            text.line(name, &[("role", role.as_str()), ("kind", kind)], tokens);
        }
    }
    let counts = totals.counts;
    let help = "Sessions of codex that ended jobs have started.";
    text.single("numerus_sessions_total", "counter", help, counts.sessions);
    let name = "numerus_claims_total";
    let help = "Claims of ended jobs: go are those that became leases, no_go those that had to wait first.";
    text.metric(name, "counter", help);
    text.line(name, &[("verdict", "go")], counts.go);
    text.line(name, &[("verdict", "no_go")], counts.no_go);
    let (seconds, rest) = (counts.waited_ms / 1000, counts.waited_ms % 1000);
    let help = "How long claims of ended jobs have waited for leases, all together.";
    let waited = format!("{seconds}.{rest:03}");
    text.single("numerus_lease_wait_seconds_total", "counter", help, waited);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tally::Counts;

    #[test]
    fn a_sample_is_told_whole_and_its_size_does_not_depend_on_it() {
        let mut sample =
            Sample { jobs: [1, 2, 3, 4], holds: [1, 0], is_degraded: true, ..Sample::default() };
        sample.oldest_queued = Timestamp::from_second(77).ok();
        sample.totals.add_end(JobPhase::Failed, 7);
        sample.totals.add_tokens(Role::Queen, Tokens { input: 9, cached: 8, output: 7 });
        sample.totals.add_counts(Counts { sessions: 5, go: 4, no_go: 3, waited_ms: 2001 });
        let text = render(&sample);
        for line in [
            "numerus_jobs{state=\"planning\"} 2",
            "numerus_queue_oldest_timestamp_seconds 77",
            "numerus_jobs_ended_total{outcome=\"failed\"} 7",
            "numerus_jobs_ended_total{outcome=\"killed\"} 0",
            "numerus_tokens_total{role=\"queen\",kind=\"cached_input\"} 8",
            "numerus_sessions_total 5",
            "numerus_claims_total{verdict=\"no_go\"} 3",
            "numerus_lease_wait_seconds_total 2.001",
            "numerus_holds{kind=\"limit\"} 1",
            "numerus_degraded 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert_eq!(text.lines().count(), render(&Sample::default()).lines().count());
    }
}
