//! Where words go: JSON lines or the last message on stdout, complaints on stderr.
//!
//! A reader that has gone away ends the run the way it ends the real one: exit code 101.

use std::io::{self, Write};

use serde_json::{Value, json};

/// Stdout of one run: events where `--json` was given, else only the last message.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    /// Prints events as JSON lines, or keeps them to itself.
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one event as one line.
    pub(super) fn event(&self, event: &Value) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        self.raw(format!("{event}\n").as_bytes())
    }

    /// Prints `item.started` or `item.completed` with its item.
    pub(super) fn item(&self, phase: &str, item: &Value) -> io::Result<()> {
        self.event(&json!({"type": format!("item.{phase}"), "item": item}))
    }

    /// Prints bytes as they are.
    #[expect(clippy::unused_self, reason = "whoever prints must hold the output")]
    pub(super) fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Prints the last message where no events are printed.
    pub(super) fn last_message(&self, message: Option<&str>) -> io::Result<()> {
        match message {
            Some(text) if !self.json => self.raw(format!("{text}\n").as_bytes()),
            _ => Ok(()),
        }
    }
}

/// Prints one line on stdout; the exit code says whether somebody was there to read it.
pub(super) fn print_line(line: &str) -> u8 {
    match Output::new(false).raw(format!("{line}\n").as_bytes()) {
        Ok(()) => 0,
        Err(error) => lost_reader(&error),
    }
}

/// The end of a run whose stdout is gone.
pub(super) fn lost_reader(error: &io::Error) -> u8 {
    complain(&format!("failed printing to stdout: {error}"));
    101
}

/// Says one line on stderr; nobody listening is no reason to fail.
pub(super) fn complain(message: &str) {
    grumble(&format!("{message}\n"));
}

/// Puts text on stderr as it is.
pub(super) fn grumble(text: &str) {
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes()).and_then(|()| err.flush()).ok();
}
