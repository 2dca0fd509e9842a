//! What is measured. Each measure is a function that gives rows of figures; the list says what its columns are.

mod arbiter;
mod between;
mod burst;
mod ending;
mod follow;
mod growth;
mod idle;
mod real;
mod recovery;
mod shapes;
mod starts;
mod steps;
mod terminal;
mod throughput;

use std::io;

use crate::figures::Row;

/// How much of each is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// A little, to see that it works.
    Quick,
    /// As much as the figures need.
    Full,
}

impl Size {
    /// One number or another.
    pub(crate) fn of(self, quick: usize, full: usize) -> usize {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// One measure.
pub(crate) struct Measure {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What it measures, in which unit.
    pub(crate) what: &'static str,
    /// Its columns; the first is the one that is compared.
    pub(crate) columns: &'static [&'static str],
    /// Runs it.
    pub(crate) run: fn(Size) -> io::Result<Vec<Row>>,
}

/// All of them, in the order of the report.
pub(crate) const MEASURES: &[Measure] = &[
    Measure {
        name: "starts",
        what: "from giving a job to its first instruction, in ms",
        columns: &["p50", "p95", "p99"],
        run: starts::run,
    },
    Measure {
        name: "between",
        what: "from the end of one process to the start of the next, in ms",
        columns: &["p50", "p95", "p99"],
        run: between::run,
    },
    Measure {
        name: "throughput",
        what: "one-task jobs, 2 at a time: jobs and processes a second",
        columns: &["jobs", "processes"],
        run: throughput::run,
    },
    Measure {
        name: "burst",
        what: "files that are all dropped at once: how many are taken a second, and what the daemon grows to",
        columns: &["taken/s", "MB"],
        run: burst::run,
    },
    Measure {
        name: "shapes",
        what: "a whole job against its floor, the same sessions of a second each and calls of git by nothing but threads",
        columns: &["wall ÷ floor", "wall s", "floor s", "sessions s"],
        run: shapes::run,
    },
    Measure {
        name: "growth",
        what: "commands with so many jobs in history, in ms",
        columns: &["status", "status --json", "logs", "submit"],
        run: growth::run,
    },
    Measure {
        name: "idle",
        what: "daemons that wait: memory, wake-ups a second, share of a processor",
        columns: &["MB", "wake-ups/s", "processor %"],
        run: idle::run,
    },
    Measure {
        name: "terminal",
        what: "what an agent prints, on its way into the log",
        columns: &["MB/s", "processor ms/MB", "MB"],
        run: terminal::run,
    },
    Measure {
        name: "follow",
        what: "from a line that an agent prints to where a follower shows it, in ms",
        columns: &["p50", "p95", "p99"],
        run: follow::run,
    },
    Measure {
        name: "ending",
        what: "from asking for the end until the agent is gone, and until that is said, in ms",
        columns: &["gone p50", "gone p99", "said p50"],
        run: ending::run,
    },
    Measure {
        name: "recovery",
        what: "a daemon takes up so many jobs, half ended and half waiting, and makes the index again, in ms",
        columns: &["ms"],
        run: recovery::run,
    },
    Measure {
        name: "real",
        what: "the real codex with a scripted model: a whole job of one task, and its four sessions called by hand, in s",
        columns: &["s p50", "s p95"],
        run: real::run,
    },
    Measure {
        name: "steps",
        what: "where the time of a job of one task goes, its sessions of 100 ms included: to each fact of its journal from the one before, in ms",
        columns: &["git p50", "plain p50"],
        run: steps::run,
    },
    Measure {
        name: "arbiter",
        what: "decisions of the arbiter a second",
        columns: &["decisions/s"],
        run: arbiter::run,
    },
];
