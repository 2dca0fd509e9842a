//! What a daemon tells a worker that it started before a job was known: a line a word, on that worker's standard input.

use serde_json::{from_slice, to_vec};

use super::id::{JobId, MAX_ID_BYTES};
use super::job::Job;

/// The longest line, in bytes, its end included: with a name after it, what the smallest pipe holds while nobody reads.
pub const LONGEST_LINE: usize = 4096 - MAX_ID_BYTES - 1;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// What the worker's job will be, if it gets one. Told once at most, and first.
    Soon(Box<Job>),
    /// Its job.
    Begin(JobId),
}

impl Order {
    /// The line; `None` where it would be too long.
    pub fn to_line(&self) -> Option<Vec<u8>> {
        let mut line = match self {
            Self::Soon(job) => to_vec(job).ok()?,
            Self::Begin(job) => job.as_str().as_bytes().to_vec(),
        };
        line.push(b'\n');
        (line.len() <= LONGEST_LINE).then_some(line)
    }

    /// What a line says; one that was cut off says nothing.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let word = line.strip_suffix(b"\n")?;
        if word.starts_with(b"{") {
            return from_slice(word).ok().map(|job| Self::Soon(Box::new(job)));
        }
        let name = std::str::from_utf8(word).ok()?;
        JobId::parse(name).ok().map(Self::Begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::{Options, Origin};

    fn job(objective: &str) -> Job {
        Job {
            version: 1,
            id: JobId::parse("a-abc234").expect("id"),
            objective: objective.to_owned(),
            options: Options::default(),
            origin: Origin { name: "a.md".into(), bytes: 1, sha256: "0".repeat(64), uid: 0 },
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_line_says_what_was_said_and_one_that_was_cut_off_nothing() {
        let job = job("two\nlines");
        for order in [Order::Begin(job.id.clone()), Order::Soon(Box::new(job))] {
            let line = order.to_line().expect("short");
            assert!(!line[..line.len() - 1].contains(&b'\n'));
            assert_eq!(Order::of_line(&line), Some(order));
            assert_eq!(Order::of_line(&line[..line.len() - 1]), None);
        }
        for nothing in [&b""[..], b"\n", b"no job\n", b"{}\n", b"{\n", b"\xff\n"] {
            assert_eq!(Order::of_line(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_job_that_fills_a_pipe_is_not_told() {
        let room = LONGEST_LINE - Order::Soon(Box::new(job(""))).to_line().expect("short").len();
        let told = |length| Order::Soon(Box::new(job(&"x".repeat(length)))).to_line();
        assert_eq!(told(room).map(|line| line.len()), Some(LONGEST_LINE));
        assert_eq!(told(room + 1), None);
    }
}
