//! What codex prints: the same lines in whatever pieces it comes, and none longer than is kept.

use numerus::logic::transcript::{Parsed, Transcript};
use serde_json::Value;

/// Longest line kept here: small, so that a small input is beyond it.
const LIMIT: usize = 256;

/// The first byte says how the rest is cut.
pub fn holds(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = lines(bytes, bytes.len().max(1));
    for piece in [1, usize::from(*cut).max(2)] {
        assert_eq!(lines(bytes, piece), whole, "in pieces of {piece}");
    }
    // A tab alone is a text; these are nothing.
    let says = |line: &&[u8]| line.len() > LIMIT || line.iter().any(|b| !b" \r\0".contains(b));
    let meant = bytes.split(|b| *b == b'\n').filter(says);
    assert!(whole.len() <= meant.count(), "a line is one event or none");
    for parsed in &whole {
        let mut event = Vec::new();
        parsed.put_event(&mut event);
        let is_one_line = !event.iter().any(|b| matches!(b, b'\r' | b'\n'));
        assert!(is_one_line, "an event is one line: {}", parsed.printed);
        let read: Option<Value> = serde_json::from_slice(&event).ok();
        assert!(read.is_some_and(|event| event["type"].is_string()), "{}", parsed.printed);
        // Undecodable bytes grow to three each, and what must be escaped to six.
        assert!(event.len() <= 32 * LIMIT, "{} bytes of a line of at most {LIMIT}", event.len());
    }
}

fn lines(bytes: &[u8], piece: usize) -> Vec<Parsed> {
    let mut transcript = Transcript::with_limit(LIMIT);
    let mut lines: Vec<Parsed> =
        bytes.chunks(piece).flat_map(|part| transcript.feed(part)).collect();
    lines.extend(transcript.end());
    lines
}
