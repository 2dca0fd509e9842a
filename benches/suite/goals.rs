//! What Numerus is to reach, and whether the newest figures do: ratios within one run, and a few bounds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::figures::said;
use crate::ledger::newest;
use crate::measures::MEASURES;

/// A goal: in words, its bound, and how it is computed.
struct Goal {
    what: &'static str,
    bound: Bound,
    of: fn(&Seen) -> Option<f64>,
}

/// What a figure has to be.
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// The newest rows of all measures.
struct Seen(BTreeMap<&'static str, Vec<Value>>);

impl Seen {
    fn read() -> Self {
        let rows = |name| newest(name).and_then(|line| line["rows"].as_array().cloned());
        Self(MEASURES.iter().map(|m| (m.name, rows(m.name).unwrap_or_default())).collect())
    }

    /// A figure of the subject of that name, or of the first whose name begins so.
    fn one(&self, measure: &str, subject: &str, column: &str) -> Option<f64> {
        let exact = self.rows(measure).find(|row| row["subject"] == subject);
        let exact = exact.and_then(|row| row[column].as_f64());
        exact.or_else(|| self.all(measure, subject, column).into_iter().next())
    }

    fn rows(&self, measure: &str) -> impl Iterator<Item = &Value> {
        self.0.get(measure).into_iter().flatten()
    }

    /// The figures of all subjects whose names begin so.
    fn all(&self, measure: &str, start: &str, column: &str) -> Vec<f64> {
        let is_it = |row: &&Value| row["subject"].as_str().is_some_and(|s| s.starts_with(start));
        self.rows(measure).filter(is_it).filter_map(|row| row[column].as_f64()).collect()
    }

    /// The largest figure of all subjects whose names begin in one of these ways.
    fn worst(&self, measure: &str, starts: &[&str], column: &str) -> Option<f64> {
        starts.iter().flat_map(|start| self.all(measure, start, column)).reduce(f64::max)
    }

    /// How many times as much one figure is as another.
    fn ratio(&self, measure: &str, (one, other): (&str, &str), column: &str) -> Option<f64> {
        Some(self.one(measure, one, column)? / self.one(measure, other, column)?)
    }
}

const FLUSHED: &str = "floor with fsync";
const PLAIN: &str = "Numerus, session to session, plain";
const PUEUE: &str = "pueue";
const REPOSITORIES: &str = "Numerus, each in a repository";
const DIRECTORIES: &str = "Numerus, each in a plain directory";

const GOALS: &[Goal] = &[
    Goal {
        what: "drop → first agent ÷ the floor with its flushes, p50",
        bound: Bound::AtMost(2.5),
        of: |s| s.ratio("starts", ("Numerus", FLUSHED), "p50"),
    },
    Goal {
        what: "the same ÷ inotifywait piped to xargs, p50",
        bound: Bound::AtMost(1.0),
        of: |s| s.ratio("starts", ("Numerus", "inotifywait"), "p50"),
    },
    Goal {
        what: "the same ÷ incron, p50",
        bound: Bound::AtMost(1.0),
        of: |s| s.ratio("starts", ("Numerus", "incron"), "p50"),
    },
    Goal {
        what: "pueue's default ÷ ours, p50",
        bound: Bound::AtLeast(15.0),
        of: |s| s.ratio("starts", (PUEUE, "Numerus"), "p50"),
    },
    Goal {
        what: "end of a session → next one, plain directory ÷ the floor with its flushes, p50",
        bound: Bound::AtMost(2.0),
        of: |s| s.ratio("between", (PLAIN, FLUSHED), "p50"),
    },
    Goal {
        what: "a job ÷ its floor: in a plain directory, where tasks come one after the other",
        bound: Bound::AtMost(1.02),
        of: |s| s.worst("shapes", &["Numerus, plain"], "wall ÷ floor"),
    },
    Goal {
        what: "the same in a repository: one task, or four one after the other",
        bound: Bound::AtMost(1.02),
        of: |s| s.worst("shapes", &["Numerus, git, 1 ", "Numerus, git, chain"], "wall ÷ floor"),
    },
    Goal {
        what: "a diamond of 6 tasks, or a graph of 12",
        bound: Bound::AtMost(1.02),
        of: |s| {
            let both = ["Numerus, git, diamond", "Numerus, git, a graph"];
            s.worst("shapes", &both, "wall ÷ floor")
        },
    },
    Goal {
        what: "6 tasks side by side",
        bound: Bound::AtMost(1.02),
        of: |s| s.one("shapes", "Numerus, git, 6 ", "wall ÷ floor"),
    },
    Goal {
        what: "32 tasks side by side",
        bound: Bound::AtMost(1.02),
        of: |s| s.one("shapes", "Numerus, git, 32 ", "wall ÷ floor"),
    },
    Goal {
        what: "six tasks side by side: how many times as fast as the original's 16.9 s",
        bound: Bound::AtLeast(3.5),
        of: |s| Some(16.9 / s.one("shapes", "Numerus, git, 6", "wall s")?),
    },
    Goal {
        what: "one-task jobs a second, each in a repository of its own, ÷ pueue's, which makes none",
        bound: Bound::AtLeast(10.0),
        of: |s| s.ratio("throughput", (REPOSITORIES, PUEUE), "jobs"),
    },
    Goal {
        what: "the same, each in a plain directory of its own",
        bound: Bound::AtLeast(10.0),
        of: |s| s.ratio("throughput", (DIRECTORIES, PUEUE), "jobs"),
    },
    Goal {
        what: "sessions a second: a bare loop that starts them in terminals ÷ ours, in plain directories",
        bound: Bound::AtMost(2.0),
        of: |s| s.ratio("throughput", ("floor: a terminal", DIRECTORIES), "processes"),
    },
    Goal {
        what: "status with 100,000 jobs ÷ with 100",
        bound: Bound::AtMost(1.5),
        of: |s| s.ratio("growth", ("Numerus, 100000 j", "Numerus, 100 j"), "status"),
    },
    Goal {
        what: "status with 100,000 jobs, in ms",
        bound: Bound::AtMost(30.0),
        of: |s| s.one("growth", "Numerus, 100000 j", "status"),
    },
    Goal {
        what: "submit with 100,000 files waiting ÷ with none",
        bound: Bound::AtMost(1.2),
        of: |s| s.ratio("growth", ("Numerus, 100000 f", "Numerus, 0 f"), "submit"),
    },
    Goal {
        what: "an idle daemon, in MB",
        bound: Bound::AtMost(8.0),
        of: |s| s.one("idle", "Numerus", "MB"),
    },
    Goal {
        what: "its wake-ups a second",
        bound: Bound::AtMost(0.0),
        of: |s| s.one("idle", "Numerus", "wake-ups/s"),
    },
    Goal {
        what: "the worker of a running job, in MB",
        bound: Bound::AtMost(10.0),
        of: |s| s.one("idle", "Numerus, a worker", "MB"),
    },
    Goal {
        what: "into the log ÷ a bare reader, 64 KB lines",
        bound: Bound::AtLeast(0.9),
        of: |s| s.ratio("terminal", ("Numerus, 64", "bare reader, 64"), "MB/s"),
    },
    Goal {
        what: "the same, 80-byte lines",
        bound: Bound::AtLeast(0.9),
        of: |s| s.ratio("terminal", ("Numerus, 80", "bare reader, 80"), "MB/s"),
    },
    Goal {
        what: "logs --follow ÷ tail -f, p50",
        bound: Bound::AtMost(2.0),
        of: |s| s.ratio("follow", ("Numerus", "tail"), "p50"),
    },
    Goal {
        what: "kill until the agent is gone, beyond its own end, in ms",
        bound: Bound::AtMost(10.0),
        of: |s| {
            Some(s.one("ending", "Numerus", "gone p50")? - s.one("ending", "floor", "gone p50")?)
        },
    },
    Goal {
        what: "10,000 jobs taken up again, in ms",
        bound: Bound::AtMost(2000.0),
        of: |s| s.one("recovery", "Numerus, 10000 ", "ms"),
    },
];

/// The table of goals, as far as there are figures.
pub(crate) fn table() -> String {
    let mut text = "| what | goal | newest | reached |\n|---|---|---:|---|\n".to_owned();
    let seen = Seen::read();
    for goal in GOALS {
        let Some(figure) = (goal.of)(&seen) else { continue };
        let (words, reached) = match goal.bound {
            Bound::AtMost(most) => (format!("at most {most}"), figure <= most),
            Bound::AtLeast(least) => (format!("at least {least}"), figure >= least),
        };
        let reached = if reached { "yes" } else { "**no**" };
        // A bound with two digits behind the point is not reached by rounding.
        let newest =
            if (1.0..1.1).contains(&figure) { format!("{figure:.3}") } else { said(figure) };
        let _ = writeln!(text, "| {} | {words} | {newest} | {reached} |", goal.what);
    }
    text
}
