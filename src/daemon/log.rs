//! The daemon's own journal, `store/daemon.ndjson`: what it took, rejected, started and saw end; one line each, appended.
//! A line that cannot be written is dropped: the jobs' journals and the rejections' reasons hold the same facts.

use std::fs::File;
use std::io::{Result, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::PROTOCOL_VERSION;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::PauseReason;
use crate::os::fsx;

/// Largest journal in bytes; a longer one is put aside as `daemon.ndjson.1` when the daemon starts.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How much of its end is looked at for who leads.
const LEADER_BYTES: u64 = 1024 * 1024;

/// One fact of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", content = "payload", rename_all = "snake_case")]
pub enum Fact {
    /// It leads.
    DaemonStarted {
        /// Its process.
        pid: u32,
    },
    /// It ends.
    DaemonStopped {
        /// Why.
        reason: String,
    },
    /// It was asked to end while workers are at work.
    Leaving {
        /// How many.
        jobs: usize,
        /// Whether they are asked to stop, too.
        stops: bool,
    },
    /// A file became a job.
    Taken {
        /// The job.
        job: JobId,
        /// The file's name in `incoming/`.
        name: String,
    },
    /// A file was put aside.
    Rejected {
        /// Its name in `incoming/`.
        name: String,
        /// Its name in `rejected/`.
        kept_as: String,
        /// The code of the reason.
        code: String,
        /// The reason.
        message: String,
    },
    /// Something in the way of a file; it stays where it is.
    Ignored {
        /// Its name in `incoming/`.
        name: String,
        /// The trouble.
        message: String,
    },
    /// A worker was started.
    Started {
        /// The job.
        job: JobId,
        /// The worker's process.
        pid: u32,
    },
    /// A worker was found alive.
    Adopted {
        /// The job.
        job: JobId,
    },
    /// A worker has ended.
    Ended {
        /// The job.
        job: JobId,
        /// The job's state now.
        state: String,
    },
    /// An account of codex is held: nothing is started on it.
    Held {
        /// The account.
        account: String,
        /// `limit` or `auth`.
        reason: PauseReason,
        /// Until when, if that is known.
        until: Option<Timestamp>,
        /// What codex said.
        message: String,
    },
    /// Something lay wrong and was put right.
    Repaired {
        /// The job.
        job: JobId,
        /// How.
        repair: String,
    },
    /// The machine is not fit: no file is taken and no worker started.
    Degraded {
        /// Why, and what to do.
        reason: String,
    },
    /// What did not work does again.
    Recovered {
        /// What it was.
        reason: String,
    },
    /// Something did not work; it is tried again.
    Trouble {
        /// What, in words.
        message: String,
    },
}

/// The journal, open for appending.
#[derive(Debug)]
pub struct DaemonLog {
    file: File,
    /// Whether the last line may have no end.
    is_torn: bool,
}

impl DaemonLog {
    /// Opens or creates it.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(root: &Root) -> Result<Self> {
        let path: PathBuf = root.store().join("daemon.ndjson");
        if path.metadata().is_ok_and(|m| m.len() > MAX_BYTES) {
            fsx::rename_over(&path, &path.with_extension("ndjson.1"))?;
        }
        Ok(Self { file: fsx::open_append(&path)?, is_torn: false })
    }

    /// Appends a fact.
    pub fn record(&mut self, fact: &Fact, now: Timestamp) {
        let mut line = json!({"version": PROTOCOL_VERSION, "ts": now});
        if let (Value::Object(line), Ok(Value::Object(fact))) =
            (&mut line, serde_json::to_value(fact))
        {
            line.extend(fact);
        }
        // One call a line, so that lines of two daemons never mix.
        let end_of_last = if self.is_torn { "\n" } else { "" };
        self.is_torn = self.file.write_all(format!("{end_of_last}{line}\n").as_bytes()).is_err();
    }
}

/// The process of the daemon that led last; `None` where the end of the journal does not say.
pub fn leader(root: &Root) -> Option<u32> {
    let tail = fsx::read_tail(&root.store().join("daemon.ndjson"), LEADER_BYTES).ok()?;
    let started = |line: &[u8]| {
        let line: Value = serde_json::from_slice(line).ok()?;
        let pid = (line["event"] == "daemon_started").then(|| line["payload"]["pid"].as_u64());
        u32::try_from(pid??).ok()
    };
    tail.split(|byte| *byte == b'\n').rev().find_map(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_one_line() {
        let d = tempfile::tempdir().expect("scratch");
        let root = Root::new(d.path());
        fsx::make_dirs(&root.store()).expect("store");
        let mut log = DaemonLog::open(&root).expect("open");
        log.record(&Fact::DaemonStarted { pid: 7 }, Timestamp::UNIX_EPOCH);
        log.record(&Fact::Trouble { message: "a\nb".into() }, Timestamp::UNIX_EPOCH);
        let text = fsx::read_optional(&root.store().join("daemon.ndjson")).expect("read");
        let text = text.expect("there");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"version":1,"ts":"1970-01-01T00:00:00Z","event":"daemon_started","payload":{"pid":7}}"#
        );
        assert_eq!(lines.len(), 2);
        assert_eq!(leader(&root), Some(7));
        log.record(&Fact::DaemonStarted { pid: 8 }, Timestamp::UNIX_EPOCH);
        assert_eq!(leader(&root), Some(8));
    }
}
