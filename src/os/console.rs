//! What may reach a terminal: control characters and tricks of writing direction never do.

/// A text with everything shown escaped that could move a cursor, ring, recolour, reorder or hide: C0 but newline and tab,
/// DEL, C1, and what steers writing direction, joining, lines and annotations or has no width.
pub fn neutral(text: &str) -> String {
    let shown = |c: char| match u32::from(c) {
        _ if is_harmless(c) => c.to_string(),
        code @ ..0x100 => format!("\\x{code:02x}"),
        code => format!("\\u{{{code:x}}}"),
    };
    text.chars().map(shown).collect()
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
    let asked = super::env::var("COLUMNS").and_then(|c| c.parse().ok());
    let of_terminal =
        || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|s| usize::from(s.ws_col));
    fitting(asked.or_else(of_terminal))
}

/// Terminals that do not know answer with no columns at all.
fn fitting(columns: Option<usize>) -> usize {
    columns.filter(|w| *w > 0).unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH)
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
    }

    #[test]
    fn there_is_always_room_to_write_in() {
        for (columns, width) in
            [(None, 100), (Some(0), 100), (Some(1), 40), (Some(40), 40), (Some(250), 250)]
        {
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
