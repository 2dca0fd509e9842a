//! What may reach a terminal: control characters and tricks of writing direction never do.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text with everything shown escaped that could move a cursor, ring, recolour, reorder or hide: C0 but newline and tab,
/// DEL, C1, and what steers writing direction, joining, lines and annotations or has no width.
pub fn neutral(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        show(&mut out, c);
        out
    })
}

fn show(out: &mut String, c: char) {
    let _a_string_takes_it = match u32::from(c) {
        _ if is_harmless(c) => out.write_char(c),
        code @ ..0x100 => write!(out, "\\x{code:02x}"),
        code => write!(out, "\\u{{{code:x}}}"),
    };
}

/// As [`neutral`] for bytes that should be UTF-8: those that are none are shown escaped, too.
pub fn neutral_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&neutral(chunk.valid()));
        for byte in chunk.invalid() {
            let _a_string_takes_it = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The last look at a text before it leaves the program: as [`neutral`], but for colours, if those are our own.
pub fn edge(text: &str, keeps_colours: bool) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        let colour = if keeps_colours { colour_of(rest) } else { 0 };
        if colour > 0 {
            out.push_str(&rest[..colour]);
            rest = &rest[colour..];
        } else {
            show(&mut out, c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Cow::Owned(out)
}

/// The length of the colour sequence that a text begins with: `ESC [`, digits and semicolons, `m`.
fn colour_of(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    let numbers = rest.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(rest.len());
    if rest[numbers..].starts_with('m') { numbers + 3 } else { 0 }
}

/// A line of JSON that means the same and harms no terminal.
pub fn neutral_json(line: &str) -> Cow<'_, str> {
    if line.chars().all(is_harmless) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _a_string_takes_it = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

/// As [`neutral`], on one line: newlines and tabs become spaces.
pub fn one_line(text: &str) -> String {
    neutral(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn is_harmless(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => false,
        c => !c.is_control(),
    }
}

/// Whether the given stream is a terminal.
pub fn is_terminal(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal()
}

/// Columns where nothing tells.
const USUAL_WIDTH: usize = 100;
/// Fewer columns than this cannot be written on.
const LEAST_WIDTH: usize = 40;

/// Columns to write in: `COLUMNS`, else those of the terminal on stdout, else 100.
pub fn width() -> usize {
    known_width().unwrap_or(USUAL_WIDTH)
}

/// The same, where anything tells.
pub fn known_width() -> Option<usize> {
    let asked = super::env::var("COLUMNS").and_then(|c| c.parse().ok());
    let of_terminal =
        || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|s| usize::from(s.ws_col));
    fitting(asked.or_else(of_terminal))
}

/// Columns and rows of the terminal on stderr, as a screen has them at least.
pub fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let (columns, rows) = size.map_or((0, 0), |s| (usize::from(s.ws_col), usize::from(s.ws_row)));
    let or = |known: usize, usual| if known == 0 { usual } else { known };
    (or(columns, 80), or(rows, 24))
}

/// Whether a cursor can be moved on the terminal that this process was started on.
pub fn is_dumb() -> bool {
    super::env::var("TERM").is_none_or(|term| term == "dumb")
}

/// Terminals that do not know answer with no columns at all.
fn fitting(columns: Option<usize>) -> Option<usize> {
    columns.filter(|w| *w > 0).map(|w| w.max(LEAST_WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_raw_reaches_the_terminal() {
        for (raw, shown) in [
            ("a\tb\n", "a\tb\n"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("x\u{9b}2J", "x\\x9b2J"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("bell\x07", "bell\\x07"),
            ("del\x7f", "del\\x7f"),
            ("soft\u{ad}hyphen", "soft\\xadhyphen"),
            ("a\u{61c}b", "a\\u{61c}b"),
            ("a\u{2029}b", "a\\u{2029}b"),
            ("a\u{206a}b", "a\\u{206a}b"),
            ("\u{fff9}a", "\\u{fff9}a"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("héé", "héé"),
        ] {
            assert_eq!(neutral(raw), shown);
        }
        assert_eq!(one_line("a\n  b\tc"), "a b c");
        assert_eq!(neutral_bytes(b"a\xff\x1b[m\xc3\xa4"), "a\\xff\\x1b[m\u{e4}");
    }

    #[test]
    fn colours_of_our_own_pass_the_edge_and_nothing_else_does() {
        for (raw, coloured, plain) in [
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m", "\\x1b[1;31mred\\x1b[0m"),
            ("\x1b[2Jx", "\\x1b[2Jx", "\\x1b[2Jx"),
            ("\x1b]0;t\x07", "\\x1b]0;t\\x07", "\\x1b]0;t\\x07"),
            ("\x1b[", "\\x1b[", "\\x1b["),
            ("\u{e9}\n", "\u{e9}\n", "\u{e9}\n"),
        ] {
            assert_eq!((&*edge(raw, true), &*edge(raw, false)), (coloured, plain));
        }
    }

    #[test]
    fn a_line_of_json_means_the_same_afterwards() {
        let value = serde_json::json!({"a": "\u{9b}2J \u{202e}\u{e0041} \u{e9}"});
        let line = value.to_string();
        let shown = neutral_json(&line);
        assert!(shown.contains("\\u009b2J \\u202e\\udb40\\udc41 \u{e9}"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("json"), value);
    }

    #[test]
    fn there_is_always_room_to_write_in() {
        for (columns, width) in [
            (None, None),
            (Some(0), None),
            (Some(1), Some(40)),
            (Some(40), Some(40)),
            (Some(250), Some(250)),
        ] {
            assert_eq!(fitting(columns), width, "{columns:?}");
        }
        assert!(width() >= LEAST_WIDTH);
    }

    #[test]
    fn a_file_is_no_terminal_and_a_terminal_is_one() {
        let open = |path: &str| std::fs::File::open(path).expect("open");
        assert!(!is_terminal(&open("/dev/null")) && is_terminal(&open("/dev/ptmx")));
    }
}
