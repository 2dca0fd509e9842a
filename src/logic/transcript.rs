//! Reads what codex prints: a total function of bytes. Whatever comes, it becomes events or text, never an error.
//!
//! Bytes may come in any pieces. A line may be several megabytes long (an output of 1 MiB grows six-fold in JSON); one
//! beyond [`MAX_LINE_BYTES`] is dropped to its end and leaves a marker.

use std::io::BufRead as _;
use std::string::FromUtf8Error;

use serde_json::Value;

use crate::model::outcome::Tokens;

/// Longest line that is kept, in bytes: three times the longest that codex was seen to print.
pub const MAX_LINE_BYTES: usize = 20 * 1024 * 1024;
/// What a line may have around it.
const BLANKS: [char; 4] = ['\r', '\n', ' ', '\0'];

/// What one line means to a supervisor.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Codex has started: this is its thread.
    ThreadStarted(String),
    /// The turn ended well; the tokens are the whole thread's so far.
    TurnCompleted(Tokens),
    /// The turn ended badly.
    TurnFailed(String),
    /// Something went wrong that codex may get over: never the end.
    Error(String),
    /// The agent's words; the last ones of a turn count.
    Message(String),
    /// Any other event.
    Other,
    /// No event: a stray text.
    Text,
}

/// A line with its meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it means.
    pub line: Line,
    /// The line itself, without blanks around it: JSON, unless it is a [`Line::Text`].
    pub printed: String,
}

impl Parsed {
    /// Puts its event at the end of `out`: the one that codex wrote, as it wrote it, or one of ours that holds the text.
    pub fn put_event(&self, out: &mut Vec<u8>) {
        if self.line != Line::Text {
            // Between its parts JSON may have carriage returns, which some readers take for the end of a line. Within a text
            // it has none.
            let bytes = self.printed.bytes();
            return out.extend(bytes.map(|b| if b == b'\r' { b' ' } else { b }));
        }
        out.extend_from_slice(br#"{"type":"text","text":"#);
        put_string(&self.printed, out);
        out.push(b'}');
    }
}

/// Puts a text as JSON. One without anything to escape, as floods are made of, is copied as it is: to escape took a quarter of the
/// time of whoever reads a flood, to look whether there is need takes next to none.
fn put_string(text: &str, out: &mut Vec<u8>) {
    let is_plain = |b: &u8| !matches!(b, ..0x20 | b'"' | b'\\');
    // Without an early end, so that several bytes are looked at together.
    if text.as_bytes().iter().fold(true, |so_far, b| so_far & is_plain(b)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Into memory and of a string: neither can fail.
        let _infallible = serde_json::to_writer(out, text);
    }
}

/// Cuts a stream of bytes into lines and reads each.
#[derive(Debug)]
pub struct Transcript {
    partial: Vec<u8>,
    dropped: usize,
    limit: usize,
}

impl Default for Transcript {
    fn default() -> Self {
        Self::with_limit(MAX_LINE_BYTES)
    }
}

impl Transcript {
    /// One that keeps lines of at most `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { partial: Vec::new(), dropped: 0, limit }
    }

    /// Takes in some bytes, gives back the lines that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Parsed> {
        let (mut out, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            // Finds the newline without a look at each byte for itself, and cannot fail.
            let length = { rest }.skip_until(b'\n').unwrap_or(rest.len());
            let (piece, after) = rest.split_at(length);
            rest = after;
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            self.keep(text);
            if text.len() < piece.len() {
                out.extend(self.take());
            }
        }
        out
    }

    /// Adds to the line, or drops it when it is longer than is kept: by its length alone, not by how it comes.
    fn keep(&mut self, text: &[u8]) {
        let whole = self.partial.len() + text.len();
        if self.dropped > 0 || whole > self.limit {
            self.dropped += std::mem::take(&mut self.partial).len() + text.len();
        } else {
            // By powers of two, whatever the pieces: what a line of more than 16 MiB takes is then too much for glibc's own heap, which
            // keeps it, and is given back as soon as the line is over.
            if whole > self.partial.capacity() {
                self.partial.reserve_exact(whole.next_power_of_two() - self.partial.len());
            }
            self.partial.extend_from_slice(text);
        }
    }

    /// The stream has ended: what was left without a newline is a line, too.
    pub fn end(&mut self) -> Option<Parsed> {
        self.take()
    }

    fn take(&mut self) -> Option<Parsed> {
        let bytes = std::mem::take(&mut self.partial);
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let printed = format!("[numerus: a line of {dropped} bytes was dropped here]");
            return Some(Parsed { line: Line::Text, printed });
        }
        let lossy = |e: FromUtf8Error| String::from_utf8_lossy(e.as_bytes()).into_owned();
        let mut printed = String::from_utf8(bytes).unwrap_or_else(lossy);
        printed.truncate(printed.trim_end_matches(BLANKS).len());
        let lead = printed.len() - printed.trim_start_matches(BLANKS).len();
        printed.drain(..lead);
        (!printed.is_empty()).then(|| Parsed { line: parse(&printed), printed })
    }
}

/// What one line means.
fn parse(line: &str) -> Line {
    // A flood of text is told from events at its first byte.
    if !line.starts_with('{') {
        return Line::Text;
    }
    match serde_json::from_str::<Value>(line) {
        Ok(json) if json.get("type").is_some_and(Value::is_string) => meaning(&json),
        _ => Line::Text,
    }
}

fn meaning(json: &Value) -> Line {
    let word = |at: &Value| at.as_str().map(str::to_owned);
    match json["type"].as_str().unwrap_or_default() {
        "thread.started" => word(&json["thread_id"]).map_or(Line::Other, Line::ThreadStarted),
        "turn.completed" => {
            Line::TurnCompleted(serde_json::from_value(json["usage"].clone()).unwrap_or_default())
        }
        "turn.failed" => Line::TurnFailed(word(&json["error"]["message"]).unwrap_or_default()),
        "error" => Line::Error(word(&json["message"]).unwrap_or_default()),
        "item.completed" if json["item"]["type"] == "agent_message" => {
            word(&json["item"]["text"]).map_or(Line::Other, Line::Message)
        }
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_for_a_line_grows_by_powers_of_two_whatever_the_pieces() {
        for piece in [1, 80, 3072, 4096] {
            let mut transcript = Transcript::default();
            for _piece in 0..100_000 / piece {
                assert!(transcript.feed(&vec![b'x'; piece]).is_empty());
            }
            assert_eq!(transcript.partial.capacity(), 128 * 1024, "{piece}");
        }
    }

    #[test]
    fn the_terminal_events_are_told_from_warnings() {
        for (line, meant) in [
            (r#"{"type":"thread.started","thread_id":"t"}"#, Line::ThreadStarted("t".into())),
            (
                r#"{"type":"error","message":"Reconnecting... 1/5"}"#,
                Line::Error("Reconnecting... 1/5".into()),
            ),
            (r#"{"type":"turn.failed","error":{"message":"m"}}"#, Line::TurnFailed("m".into())),
            (r#"{"type":"item.completed","item":{"type":"error","message":"w"}}"#, Line::Other),
            (
                r#"{"type":"item.completed","item":{"id":"1","type":"agent_message","text":"hi"}}"#,
                Line::Message("hi".into()),
            ),
            (
                r#"{"type":"item.completed","item":{"id":"1","type":"web_search","id":"2"}}"#,
                Line::Other,
            ),
            ("WARNING: odd", Line::Text),
            ("{\"half\":", Line::Text),
        ] {
            assert_eq!(parse(line), meant, "{line}");
        }
        let usage = r#"{"type":"turn.completed","usage":{"input_tokens":9,"cached_input_tokens":1,"output_tokens":2}}"#;
        assert_eq!(parse(usage), Line::TurnCompleted(Tokens { input: 9, cached: 1, output: 2 }));
    }

    #[test]
    fn a_line_without_end_does_not_grow_without_bound() {
        let mut transcript = Transcript::default();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..50 {
            assert!(transcript.feed(&piece).is_empty());
            assert!(transcript.partial.len() <= MAX_LINE_BYTES);
        }
        let marker = transcript.feed(b"\n").remove(0);
        let words = format!("[numerus: a line of {} bytes was dropped here]", 50 * piece.len());
        assert_eq!((marker.line, marker.printed), (Line::Text, words));
        assert_eq!(transcript.partial.capacity(), 0, "what is dropped takes no room");
        assert_eq!(transcript.feed(b"{\"type\":\"turn.started\"}\n")[0].line, Line::Other);
    }

    #[test]
    fn how_long_a_line_may_be_does_not_depend_on_how_it_comes() {
        for (line, is_kept) in
            [("12345678\n", true), ("123456789\n", false), ("12345678\r\n", false)]
        {
            for piece in 1..=line.len() {
                let mut transcript = Transcript::with_limit(8);
                let pieces = line.as_bytes().chunks(piece);
                let lines: Vec<Parsed> = pieces.flat_map(|piece| transcript.feed(piece)).collect();
                assert_eq!(lines.len(), 1, "{line:?} in pieces of {piece}");
                assert_eq!(lines[0].printed == "12345678", is_kept, "{line:?} by {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_line_is_put_as_one_event_that_says_what_it_said(line in "\\PC*|[ -~]{40}|.*|\\{\"type\":\"a\",[ \r\t]{0,2}\"b\":\r?[0-9]{1,3}\\}") {
            let mut transcript = Transcript::default();
            let mut lines = transcript.feed(line.as_bytes());
            lines.extend(transcript.end());
            for parsed in lines {
                let mut event = Vec::new();
                parsed.put_event(&mut event);
                let text = serde_json::json!({"type": "text", "text": parsed.printed});
                let read: Value = serde_json::from_slice(&event).expect("an event");
                let printed = serde_json::from_str(&parsed.printed);
                prop_assert_eq!(&read, if parsed.line == Line::Text { &text } else { printed.as_ref().expect("JSON") });
                prop_assert!(!event.iter().any(|b| matches!(b, b'\r' | b'\n')), "{:?}", parsed.printed);
            }
        }

        #[test]
        fn any_bytes_in_any_pieces_give_the_same_events(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(1usize..20, 0..40)) {
            let mut whole = Transcript::default();
            let mut expected = whole.feed(&bytes);
            expected.extend(whole.end());
            let mut pieces = Transcript::default();
            let mut got = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                got.extend(pieces.feed(head));
                rest = tail;
            }
            got.extend(pieces.feed(rest));
            got.extend(pieces.end());
            prop_assert_eq!(got, expected);
        }
    }
}
