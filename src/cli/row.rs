//! Rows of a screen: pieces of text with their tones, as wide as they look. Pure. Whatever is put into a row is made neutral,
//! so that what an agent wrote moves no cursor.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::ink::{Ink, Tone};
use crate::os::console::{neutral, one_line};

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    pieces: Vec<(Tone, String)>,
    /// Whether it is the one that is chosen.
    chosen: bool,
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The front of a text that fits into so many columns; what was cut shows as `…`.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 1);
    for letter in text.chars() {
        used += width(letter.encode_utf8(&mut [0; 4]));
        if used > columns {
            break;
        }
        kept.push(letter);
    }
    if columns == 0 { kept } else { format!("{}…", kept.trim_end()) }
}

impl Row {
    /// A row of one piece.
    pub(super) fn of(tone: Tone, text: &str) -> Self {
        Self::default().and(tone, text)
    }

    /// The same with one more piece.
    #[must_use]
    pub(super) fn and(mut self, tone: Tone, text: &str) -> Self {
        // Blanks are part of a row's form; whatever else parts words is one.
        let text: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        let text = neutral(&text);
        self.pieces.push((tone, text));
        self
    }

    /// The same with a piece that takes so many columns, and a gap.
    #[must_use]
    pub(super) fn column(self, tone: Tone, text: &str, columns: usize) -> Self {
        let shown = fit(&one_line(text), columns);
        let gap = " ".repeat(columns.saturating_sub(width(&shown)) + 2);
        self.and(tone, &shown).and(Tone::Plain, &gap)
    }

    /// The same with another row behind it.
    #[must_use]
    pub(super) fn then(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    /// The same, as the chosen one of several.
    #[must_use]
    pub(super) fn chosen(self) -> Self {
        Self { chosen: true, ..self }
    }

    /// The columns that it takes.
    #[cfg(test)]
    pub(super) fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| width(text)).sum()
    }

    /// The front of it that fits.
    #[must_use]
    pub(super) fn cut(mut self, columns: usize) -> Self {
        let mut left = columns;
        let mut pieces = Vec::new();
        for (tone, text) in std::mem::take(&mut self.pieces) {
            let shown = fit(&text, left);
            let is_cut = shown != text;
            left = left.saturating_sub(width(&shown));
            pieces.push((tone, shown));
            if is_cut {
                break;
            }
        }
        Self { pieces, ..self }
    }

    /// As text with colours.
    pub(super) fn painted(&self, ink: Ink) -> String {
        let text: String = self.pieces.iter().map(|(tone, text)| ink.paint(*tone, text)).collect();
        text.trim_end().to_owned()
    }

    /// As a line of a screen.
    pub(super) fn line(&self, ink: Ink) -> Line<'static> {
        let span = |(tone, text): &(Tone, String)| Span::styled(text.clone(), style(*tone, ink));
        let line = Line::from(self.pieces.iter().map(span).collect::<Vec<_>>());
        // Weight, not colour: the mark in front of it says the same.
        if self.chosen { line.patch_style(Style::new().add_modifier(Modifier::BOLD)) } else { line }
    }
}

/// A tone on a screen; weight is no colour, and is always there.
pub(super) fn style(tone: Tone, ink: Ink) -> Style {
    let plain = Style::new();
    let colour = |colour| if ink.coloured { plain.fg(colour) } else { plain };
    match tone {
        Tone::Plain => plain,
        Tone::Good => colour(Color::Green),
        Tone::Bad => colour(Color::Red),
        Tone::Wait => colour(Color::Yellow),
        Tone::Dim => {
            plain.add_modifier(if ink.coloured { Modifier::DIM } else { Modifier::empty() })
        }
        Tone::Strong => plain.add_modifier(Modifier::BOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Ink = Ink { coloured: false };

    #[test]
    fn a_text_is_as_wide_as_it_looks() {
        for (text, columns, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("ab cd", 4, "ab…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(fit(text, columns), shown, "{text} in {columns}");
            assert!(width(shown) <= columns);
        }
    }

    #[test]
    fn a_row_is_cut_where_it_ends_and_nothing_in_it_moves_the_cursor() {
        let row =
            Row::of(Tone::Bad, "a\u{1b}[2J\nb ").column(Tone::Dim, "日本", 6).and(Tone::Good, "x");
        assert_eq!(row.painted(PLAIN), "a\\x1b[2J b 日本    x");
        assert_eq!(row.clone().cut(14).painted(PLAIN), "a\\x1b[2J b 日…");
        assert_eq!(row.clone().cut(14).width(), 14);
        assert_eq!(row.clone().cut(80), row);
        let painted = Row::of(Tone::Good, "ok").painted(Ink { coloured: true });
        assert_eq!(painted, "\x1b[32mok\x1b[0m");
        assert_eq!(style(Tone::Good, PLAIN), Style::new());
    }
}
