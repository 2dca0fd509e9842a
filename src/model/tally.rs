//! What a job's journal adds up to in numbers, and many jobs together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outcome::Tokens;
use super::plan::Role;
use super::status::JobPhase;

/// How often things happened in a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Sessions of codex that were started.
    pub sessions: u64,
    /// Claims that became leases.
    pub go: u64,
    /// Claims that had to wait first.
    pub no_go: u64,
    /// How long claims have waited for leases, all together, in milliseconds.
    pub waited_ms: u64,
}

/// The same over many ended jobs, with how they ended and what they have spent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Jobs, by their end.
    pub ended: BTreeMap<JobPhase, u64>,
    /// Tokens, by the role that spent them.
    pub spent: BTreeMap<Role, Tokens>,
    /// Everything else.
    pub counts: Counts,
}

impl Totals {
    /// Takes one more ended job in.
    pub fn add(&mut self, end: JobPhase, spent: &BTreeMap<Role, Tokens>, counts: Counts) {
        self.add_end(end, 1);
        for (role, tokens) in spent {
            self.add_tokens(*role, *tokens);
        }
        self.add_counts(counts);
    }

    /// Takes in so many jobs of one end.
    pub fn add_end(&mut self, end: JobPhase, jobs: u64) {
        *self.ended.entry(end).or_default() += jobs;
    }

    /// Takes in what a role has spent.
    pub fn add_tokens(&mut self, role: Role, tokens: Tokens) {
        let spent = self.spent.entry(role).or_default();
        *spent = spent.plus(tokens);
    }

    /// Takes in how often things happened.
    pub fn add_counts(&mut self, more: Counts) {
        let all = &mut self.counts;
        all.sessions = all.sessions.saturating_add(more.sessions);
        all.go = all.go.saturating_add(more.go);
        all.no_go = all.no_go.saturating_add(more.no_go);
        all.waited_ms = all.waited_ms.saturating_add(more.waited_ms);
    }
}
