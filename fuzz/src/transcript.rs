//! What codex prints: the same lines in whatever pieces it comes, and none longer than is kept.

use numerus::logic::transcript::{Parsed, Transcript};

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
        assert!(parsed.json["type"].is_string(), "{}", parsed.json);
        // Undecodable bytes grow to three each; a number may be written longer than it was read.
        let length = parsed.json.to_string().len();
        assert!(length <= 32 * LIMIT, "{length} bytes of a line of at most {LIMIT}");
    }
}

fn lines(bytes: &[u8], piece: usize) -> Vec<Parsed> {
    let mut transcript = Transcript::with_limit(LIMIT);
    let mut lines: Vec<Parsed> =
        bytes.chunks(piece).flat_map(|part| transcript.feed(part)).collect();
    lines.extend(transcript.end());
    lines
}
