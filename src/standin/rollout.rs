//! The rollout: the transcript below `CODEX_HOME` by which a thread is resumed and from which a
//! supervisor reads tokens, typed errors and limits.
//!
//! One line a fact, written at once, so that what was said survives any kill. The lines carry the
//! fields a supervisor reads, in the places where the real program has them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use walkdir::WalkDir;

use super::door;

/// Tokens, as counted everywhere.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Usage {
    /// The sum.
    pub(super) fn plus(self, other: Self) -> Self {
        let input = self.input.saturating_add(other.input);
        Self { input, output: self.output.saturating_add(other.output) }
    }

    /// The five counts of `turn.completed`.
    pub(super) fn in_events(self) -> Value {
        json!({
            "input_tokens": self.input,
            "cached_input_tokens": 0,
            "cache_write_input_tokens": 0,
            "output_tokens": self.output,
            "reasoning_output_tokens": 0,
        })
    }

    /// The six counts of the rollout.
    pub(super) fn in_rollout(self) -> Value {
        let mut counts = self.in_events();
        counts["total_tokens"] = json!(self.input.saturating_add(self.output));
        counts
    }

    fn read(counts: &Value) -> Option<Self> {
        Some(Self {
            input: counts["input_tokens"].as_u64()?,
            output: counts["output_tokens"].as_u64()?,
        })
    }
}

/// Why a thread cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum RolloutError {
    /// There is no such thread here.
    #[error("no rollout found for thread id {0} (code -32600)")]
    Unknown(String),
    /// Another live process has it.
    #[error("thread-store conflict: thread {0} already has an active writer")]
    Busy(String),
    /// The file system refused.
    #[error("open the transcript below {}: {source}", home.display())]
    Io {
        /// The `CODEX_HOME`.
        home: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A thread's transcript, open and locked for as long as this process lives.
#[derive(Debug)]
pub(super) struct Rollout {
    file: File,
    ordinal: u64,
    healthy: bool,
    /// The thread's id.
    pub(super) thread: String,
    /// What the thread used before this process.
    pub(super) before: Usage,
}

impl Rollout {
    /// Begins a new thread.
    #[expect(clippy::disallowed_methods, reason = "codex's write, not ours")]
    pub(super) fn begin(home: &Path, cwd: &Path) -> Result<Self, RolloutError> {
        let now = door::now_ms();
        let thread = fresh_id(now);
        let failed = |source| RolloutError::Io { home: home.to_owned(), source };
        let (day, time) = (stamp(now, "%Y/%m/%d"), stamp(now, "%Y-%m-%dT%H-%M-%S"));
        let folder = home.join("sessions").join(day);
        let path = folder.join(format!("rollout-{time}-{thread}.jsonl"));
        let file = door::make_dirs(&folder)
            .and_then(|()| OpenOptions::new().append(true).create_new(true).open(&path))
            .map_err(failed)?;
        let mut rollout = Self::locked(file, thread, home)?;
        rollout.line("session_meta", &rollout.meta(cwd, now));
        Ok(rollout)
    }

    /// Opens a thread that was begun before.
    #[expect(clippy::disallowed_methods, reason = "codex's write, not ours")]
    pub(super) fn resume(home: &Path, thread: &str) -> Result<Self, RolloutError> {
        let failed = |source| RolloutError::Io { home: home.to_owned(), source };
        let path = find(home, thread).ok_or_else(|| RolloutError::Unknown(thread.to_owned()))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        let mut rollout = Self::locked(file, thread.to_owned(), home)?;
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        rollout.ordinal = text.lines().count() as u64;
        rollout.before = text.lines().rev().find_map(used).unwrap_or_default();
        Ok(rollout)
    }

    fn locked(file: File, thread: String, home: &Path) -> Result<Self, RolloutError> {
        match door::lock(&file) {
            Ok(true) => {
                Ok(Self { file, ordinal: 0, healthy: true, thread, before: Usage::default() })
            }
            Ok(false) => Err(RolloutError::Busy(thread)),
            Err(source) => Err(RolloutError::Io { home: home.to_owned(), source }),
        }
    }

    fn meta(&self, cwd: &Path, now: u64) -> Value {
        json!({
            "session_id": self.thread,
            "id": self.thread,
            "timestamp": stamp(now, ISO),
            "cwd": cwd.to_string_lossy(),
            "originator": "codex_exec",
            "cli_version": super::CLI_VERSION,
            "source": "exec",
            "thread_source": "user",
            "model_provider": "standin",
        })
    }

    /// Writes one line; a disk that refuses is complained of once and changes nothing else.
    pub(super) fn line(&mut self, kind: &str, payload: &Value) {
        let time = stamp(door::now_ms(), ISO);
        let line =
            json!({"timestamp": time, "ordinal": self.ordinal, "type": kind, "payload": payload});
        self.ordinal += 1;
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        if let Err(error) = written
            && std::mem::replace(&mut self.healthy, false)
        {
            super::output::complain(&format!(
                "Failed to save the conversation transcript: {error}"
            ));
        }
    }
}

/// Time as it stands in every line.
const ISO: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

/// A time in UTC.
fn stamp(ms: u64, format: &str) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| String::new(), |time| time.strftime(format).to_string())
}

/// A new id of the kind that sorts by time (UUID version 7).
pub(super) fn fresh_id(now_ms: u64) -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes[12..].copy_from_slice(&std::process::id().to_be_bytes());
    }
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Whether this has the form of a thread id.
pub(super) fn is_id(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn find(home: &Path, thread: &str) -> Option<PathBuf> {
    let ending = format!("-{thread}.jsonl");
    let files = WalkDir::new(home.join("sessions")).into_iter().filter_map(Result::ok);
    files.map(walkdir::DirEntry::into_path).find(|path| path.to_string_lossy().ends_with(&ending))
}

/// What the whole thread had used when this line was written, if the line says so.
fn used(line: &str) -> Option<Usage> {
    let line: Value = serde_json::from_str(line).ok()?;
    let counts = &line["payload"]["thread_token_usage"];
    (line["type"] == "token_usage_record").then(|| Usage::read(counts)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form_and_differ() {
        let (one, two) = (fresh_id(1_795_439_727_000), fresh_id(1_795_439_727_000));
        assert!(is_id(&one) && one != two, "{one} {two}");
        assert_eq!(one[..13], two[..13]);
        assert_eq!(&one[14..15], "7");
        for wrong in
            ["", "t1", "01a2088c-1324-7950-8711-c689c16e26", "01a2088c-1324-7950-8711-c689c16e26zz"]
        {
            assert!(!is_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_thread_is_found_again_with_what_it_used() {
        let home = tempfile::tempdir().unwrap();
        let mut first = Rollout::begin(home.path(), Path::new("/w")).unwrap();
        let used = Usage { input: 7, output: 2 };
        first.line("token_usage_record", &json!({"thread_token_usage": used.in_rollout()}));
        let thread = first.thread.clone();
        assert!(matches!(Rollout::resume(home.path(), &thread), Err(RolloutError::Busy(_))));
        drop(first);
        let again = Rollout::resume(home.path(), &thread).unwrap();
        assert_eq!((again.before, again.ordinal), (used, 2));
        let other = fresh_id(0);
        assert!(matches!(Rollout::resume(home.path(), &other), Err(RolloutError::Unknown(_))));
    }
}
