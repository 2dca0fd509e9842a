//! The two threads of a session: one reads the terminal and writes the logs, one waits for the process. Neither decides
//! anything; what they hear goes to the session's loop, through a bounded queue.

use std::io::{PipeWriter, Read, Result};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use super::capture::Capture;
use super::log::{Log, Style};
use super::session::SessionSpec;
use crate::logic::supervise::Vitals;
use crate::logic::transcript::{Line, Parsed, Transcript};
use crate::os::child::Child;
use crate::os::pty::PtyOutput;
use crate::os::{clock, threads};
use crate::runs::parts;

/// Most bytes that are read from the terminal at a time; each time, the logs are written. Of the four kilobytes that a terminal holds a
/// quarter is left: with that the kernel fills it up at once, and sooner than where nothing is left.
const CHUNK_BYTES: usize = 3 * 1024;
/// Room that is kept for a line of the parsed log, in bytes.
const LINE_BYTES: usize = 64 * 1024;
/// How often the loop is told that something came which says nothing to it.
const WORD_EVERY: Duration = Duration::from_millis(100);

/// What the threads hear.
#[derive(Debug)]
pub enum Heard {
    /// A line that a supervisor must know of.
    Line(Line),
    /// Something else came.
    Output,
    /// Nothing more comes.
    EndOfStream,
    /// What a look at its vital signs showed.
    Vitals(Vitals),
    /// The process has ended: its code, or `None` for a signal.
    Exited(Option<i32>),
}

/// Where a session's output goes.
#[derive(Clone)]
pub(super) struct Logs {
    output: Arc<Mutex<Output>>,
    /// What it writes to stderr.
    pub(super) errors: Capture,
}

/// The logs of its terminal.
struct Output {
    raw: Log,
    events: Log,
    session: u32,
    attempt: u32,
    kind: &'static str,
    line: Vec<u8>,
}

/// What stands before the event in a line of the parsed log.
#[derive(Serialize)]
struct Head {
    ts: Timestamp,
    session: u32,
    attempt: u32,
    kind: &'static str,
}

/// Starts both threads.
///
/// # Errors
/// When the system has no more threads to give.
pub(super) fn start(
    mut output: PtyOutput,
    child: Child,
    logs: Logs,
    tell: mpsc::Sender<Heard>,
) -> Result<()> {
    let waiter = tell.clone();
    threads::run(move || {
        let code = child.wait().ok().flatten();
        drop(waiter.blocking_send(Heard::Exited(code)));
    })?;
    threads::run(move || {
        read(&mut output, &logs, &tell);
        drop(tell.blocking_send(Heard::EndOfStream));
    })
}

/// Reads to the end of the stream.
fn read(output: &mut dyn Read, logs: &Logs, tell: &mpsc::Sender<Heard>) {
    let (mut transcript, mut pace) = (Transcript::default(), Pace::default());
    let mut chunk = vec![0u8; CHUNK_BYTES];
    while let Some(length) = next(output, &mut chunk) {
        let bytes = chunk.get(..length).unwrap_or_default();
        let lines = transcript.feed(bytes);
        logs.write(bytes, &lines);
        pass_on(lines, &mut pace, tell);
        // Lets the kernel's worker, which is mostly due now, fill the terminal up on this processor; otherwise it is waited for while
        // another one wakes up (docs/decisions/0074-the-reader-steps-aside.md).
        std::thread::yield_now();
    }
    let rest: Vec<Parsed> = transcript.end().into_iter().collect();
    logs.write(&[], &rest);
    pass_on(rest, &mut pace, tell);
}

/// The next bytes; `None` at the end.
///
/// On Linux a terminal whose last process is gone answers with `EIO`. The kernel (`n_tty_read`) first moves on what was
/// written and only then looks whether the other side is gone: what is written in between by a process that then ends at
/// once is still there after the `EIO`. Nothing more can come then, so a second one in a row is the end.
fn next(output: &mut dyn Read, chunk: &mut [u8]) -> Option<usize> {
    let mut refused = false;
    loop {
        match output.read(chunk) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) if refused => return None,
            Err(_) => refused = true,
        }
    }
}

/// One word for a whole chunk of ordinary output; a word of its own for each line that matters.
fn pass_on(lines: Vec<Parsed>, pace: &mut Pace, tell: &mpsc::Sender<Heard>) {
    let mut silent = true;
    for parsed in lines {
        match parsed.line {
            Line::Other | Line::Text => {}
            line => {
                silent = false;
                drop(tell.blocking_send(Heard::Line(line)));
            }
        }
    }
    if pace.is_due(silent, clock::since_boot()) {
        drop(tell.blocking_send(Heard::Output));
    }
}

/// When it was last told that something came: whoever hears of it only measures silences, which are minutes long, and each word wakes a
/// processor.
#[derive(Debug, Default)]
struct Pace {
    told_at: Option<Duration>,
}

impl Pace {
    /// Whether something that came now is to be told of; `silent` says that nothing was told of it by a line.
    fn is_due(&mut self, silent: bool, now: Duration) -> bool {
        let is_old = self.told_at.is_none_or(|at| now.saturating_sub(at) >= WORD_EVERY);
        if is_old || !silent {
            self.told_at = Some(now);
        }
        is_old && silent
    }
}

impl Logs {
    /// Opens the logs of a session, and the pipe for its stderr.
    ///
    /// # Errors
    /// When a log cannot be opened or the system has no more descriptors or threads to give.
    pub(super) fn open(spec: &SessionSpec) -> Result<(Self, PipeWriter)> {
        // Looked for once for all three of them.
        let open = if parts::are_in(spec.place.dir())? { Log::open } else { Log::open_whole };
        let open = |path: PathBuf, style| open(&path, style, &spec.logs);
        let output = Output {
            raw: open(spec.place.stdout_log(), Style::Text)?,
            events: open(spec.place.transcript(), Style::Events)?,
            session: spec.number,
            attempt: spec.attempt,
            kind: spec.kind.as_str(),
            line: Vec::new(),
        };
        let errors = open(spec.place.stderr_log(), Style::Text)?;
        let (errors, stderr) = Capture::start(errors)?;
        Ok((Self { output: Arc::new(Mutex::new(output)), errors }, stderr))
    }

    /// Writes what came from the terminal. What codex had written to stderr before a line of it is taken in first: whoever hears
    /// of the line finds it there.
    fn write(&self, bytes: &[u8], lines: &[Parsed]) {
        if !lines.is_empty() {
            self.errors.drain();
        }
        self.output().write(bytes, lines);
    }

    /// Ends the logs: what comes later is dropped.
    pub(super) fn close(&self) {
        self.errors.close();
        self.output().finish();
    }

    /// Ends them if that takes no time: nobody writes at this moment, and no parts are to be joined. Whether it did.
    pub(super) fn close_at_once(&self) -> bool {
        let is_light = self.output.try_lock().is_ok_and(|output| !output.has_parts());
        let is_light = is_light && !self.errors.has_parts();
        if is_light {
            self.close();
        }
        is_light
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn write(&mut self, bytes: &[u8], lines: &[Parsed]) {
        self.raw.write_bytes(bytes);
        self.raw.flush();
        if lines.is_empty() {
            return;
        }
        let (session, attempt, kind) = (self.session, self.attempt, self.kind);
        let head = Head { ts: clock::now(), session, attempt, kind };
        let Ok(mut head) = serde_json::to_vec(&head) else { return };
        // The event comes before its end.
        head.pop();
        for parsed in lines {
            self.line.clear();
            self.line.extend_from_slice(&head);
            self.line.extend_from_slice(br#","event":"#);
            parsed.put_event(&mut self.line);
            self.line.extend_from_slice(b"}\n");
            self.events.write(&self.line);
        }
        self.events.flush();
        self.line.shrink_to(LINE_BYTES);
    }

    fn finish(&mut self) {
        self.raw.finish();
        self.events.finish();
    }

    fn has_parts(&self) -> bool {
        self.raw.has_parts() || self.events.has_parts()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Gives what it holds, piece by piece; `None` is an `EIO`, as is everything after.
    struct Terminal(VecDeque<Option<&'static str>>);

    impl Read for Terminal {
        fn read(&mut self, chunk: &mut [u8]) -> Result<usize> {
            let piece = self.0.pop_front().flatten().ok_or(rustix::io::Errno::IO)?;
            (&mut piece.as_bytes()).read(chunk)
        }
    }

    #[test]
    fn a_flood_is_told_of_now_and_then_and_what_comes_after_a_pause_at_once() {
        let mut pace = Pace::default();
        for (at, silent, is_told) in [
            (5, true, true),
            (6, true, false),
            (104, true, false),
            (105, true, true),
            (150, false, false),
            (249, true, false),
            (250, true, true),
            (9000, true, true),
        ] {
            assert_eq!(pace.is_due(silent, Duration::from_millis(at)), is_told, "{at}");
        }
    }

    #[test]
    fn what_is_written_while_the_other_side_goes_away_is_read() {
        let mut terminal = Terminal([Some("a"), None, Some("b"), None].into());
        let mut chunk = [0; 8];
        let lengths = std::array::from_fn(|_| next(&mut terminal, &mut chunk));
        assert_eq!(lengths, [Some(1), Some(1), None]);
    }
}
