//! `store/metrics.prom`: what the daemon tells of itself, for `node_exporter`'s textfile collector.
//!
//! The counters begin at 0 with the daemon and only grow: what is pruned or dropped again takes nothing from them, and a new
//! daemon is a restart as Prometheus knows it. Written when something has changed, not more often than every few seconds, and at the end.
//!
//! Diagnostics: what cannot be written is left out; nothing depends on it.

use std::time::Duration;

use jiff::Timestamp;

use super::Daemon;
use super::log::Fact;
use super::workers::Live;
use crate::logic::metrics::{self, OPEN, Sample};
use crate::logic::schedule::Hold as Waits;
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::status::JobPhase;
use crate::model::tally::Totals;
use crate::os::{clock, fsx};
use crate::store::holds::{HoldKind, Holds};

/// Least time between two writes.
const REST: Duration = Duration::from_secs(5);
/// How old what is told of jobs at work may be.
const REFRESH: Duration = Duration::from_secs(15);

/// What is counted, and when it is written.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    totals: Totals,
    rejected: u64,
    started_at: Timestamp,
    is_changed: bool,
    /// When the file was written last, since boot.
    written: Duration,
}

impl Metrics {
    /// Begins to count.
    pub(super) fn begin() -> Self {
        Self { started_at: clock::now(), is_changed: true, ..Self::default() }
    }

    /// Takes in that something has happened.
    pub(super) fn hear(&mut self, fact: &Fact) {
        self.is_changed = true;
        self.rejected += u64::from(matches!(fact, Fact::Rejected { .. }));
    }

    /// Takes in a job that has ended.
    pub(super) fn ended(&mut self, state: &JobState) {
        self.is_changed = true;
        self.totals.add(state.phase, &state.spent, state.counts);
    }

    /// When it is to be written next, since boot; `None` while nothing changes.
    pub(super) fn due(&self, is_working: bool) -> Option<Duration> {
        let rest = if self.is_changed { Some(REST) } else { is_working.then_some(REFRESH) };
        // The first one waits for nothing.
        rest.map(|rest| if self.written.is_zero() { Duration::ZERO } else { self.written + rest })
    }
}

impl Daemon {
    /// Writes the file if that is due.
    pub(super) fn tell_metrics(&mut self) {
        if self.metrics.due(self.busy() > 0).is_some_and(|due| due <= clock::since_boot()) {
            self.write_metrics();
        }
    }

    /// Writes the file. Best effort: a store that is away is not made, and a full disk has worse to tell.
    pub(super) fn write_metrics(&mut self) {
        (self.metrics.is_changed, self.metrics.written) = (false, clock::since_boot());
        if self.ground.is_firm() {
            let text = metrics::render(&self.sample());
            let path = self.desk.root.store().join("metrics.prom");
            let _next_time = fsx::replace_derived(&path, text.as_bytes());
        }
    }

    fn sample(&self) -> Sample {
        let mut jobs = [0; 4];
        for (job, live) in self.jobs.iter().filter(|(_, live)| !live.has_ended()) {
            let phase = self.phase_of(job, live);
            if let Some(at) = OPEN.iter().position(|open| *open == phase) {
                jobs[at] += 1;
            }
        }
        let queued =
            self.jobs.values().filter(|live| !live.works() && live.hold == Some(Waits::Busy));
        let all = self.holds.as_ref().and_then(|holds| Holds::all(holds).ok()).unwrap_or_default();
        let now = clock::now();
        let active =
            |kind| all.iter().filter(|h| h.kind == kind && h.is_active(now)).count() as u64;
        Sample {
            jobs,
            oldest_queued: queued.map(|live| live.waiting.created_at).min(),
            totals: self.metrics.totals.clone(),
            rejected: self.metrics.rejected,
            holds: [active(HoldKind::Limit), active(HoldKind::Auth)],
            is_degraded: !self.is_fit(),
            started_at: self.metrics.started_at,
        }
    }

    /// Only of jobs at work, which are few, the file is read.
    fn phase_of(&self, job: &JobId, live: &Live) -> JobPhase {
        let told = || self.desk.runs.folder(job).read_status().map(|status| status.state);
        match (live.works(), live.waiting.rest) {
            (true, _) => told().filter(|p| !p.is_final()).unwrap_or(JobPhase::Planning),
            (false, Some(_)) => JobPhase::Paused,
            (false, None) => JobPhase::Queued,
        }
    }
}
