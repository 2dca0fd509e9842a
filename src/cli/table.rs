//! Tables that fit the terminal: every column is as wide as it needs, the last one takes what is left and is cut.

use super::ink::{Ink, Tone};
use super::row;

/// Spaces between two columns.
const GAP: usize = 2;
/// Least width that the last column is cut to.
const LEAST: usize = 12;

/// One cell: its text and its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// On one line, neutral.
    pub(super) text: String,
    /// Colour, where there is any.
    pub(super) tone: Tone,
}

impl Cell {
    /// A cell in a tone.
    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Writes a table with its heading; a column that is empty in every row is left out.
pub(super) fn table(heads: &[&str], rows: &[Vec<Cell>], width: usize, ink: Ink) -> String {
    let filled = |n: &usize| rows.iter().any(|r| r.get(*n).is_some_and(|c| !c.text.is_empty()));
    let columns: Vec<usize> = (0..heads.len()).filter(filled).collect();
    let heading: Vec<Cell> = heads.iter().map(|h| Cell::toned(*h, Tone::Dim)).collect();
    let widths = widths(&columns, &heading, rows, width);
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        text.push_str(&line(row, &columns, &widths, ink));
        text.push('\n');
    }
    text
}

fn widths(columns: &[usize], heading: &[Cell], rows: &[Vec<Cell>], width: usize) -> Vec<usize> {
    let taken = |row: &Vec<Cell>, n: usize| row.get(n).map_or(0, |c| row::width(&c.text));
    let needed = |n: &usize| {
        let head = heading.get(*n).map_or(0, |c| row::width(&c.text));
        rows.iter().map(|r| taken(r, *n)).max().unwrap_or(0).max(head)
    };
    let mut widths: Vec<usize> = columns.iter().map(needed).collect();
    let least = |n: &usize| heading.get(*n).map_or(0, |c| row::width(&c.text)).max(LEAST);
    let least: Vec<usize> = columns.iter().map(least).collect();
    let before: usize = widths.iter().rev().skip(1).map(|w| w + GAP).sum();
    if let (Some(last), Some(least)) = (widths.last_mut(), least.last()) {
        *last = (*last).min(width.saturating_sub(before).max(*least));
    }
    narrow(&mut widths, &least, width);
    widths
}

/// Where the last column alone cannot make up for it, the widest of the others give way, but for the first, which names the row.
fn narrow(widths: &mut [usize], least: &[usize], width: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
    for _ in 0..over {
        let can_give = |n: &usize| widths[*n] > least[*n];
        let Some(widest) = (1..widths.len()).filter(can_give).max_by_key(|n| widths[*n]) else {
            break;
        };
        widths[widest] -= 1;
    }
}

fn line(row: &[Cell], columns: &[usize], widths: &[usize], ink: Ink) -> String {
    let mut text = String::new();
    for (n, (column, width)) in columns.iter().zip(widths).enumerate() {
        let Some(cell) = row.get(*column) else { continue };
        let shown = row::fit(&cell.text, *width);
        text.push_str(&ink.paint(cell.tone, &shown));
        if n + 1 < columns.len() {
            let used = row::width(&shown);
            text.push_str(&" ".repeat(width.saturating_sub(used) + GAP));
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<Cell>> {
        rows.iter().map(|r| r.iter().map(|c| Cell::from(*c)).collect()).collect()
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal_and_empty_ones_are_left_out() {
        let rows = rows(&[&["a", "", "one two three four"], &["long", "", "x"]]);
        let shown = table(&["ID", "NONE", "TEXT"], &rows, 20, Ink { coloured: false });
        assert_eq!(shown, "ID    TEXT\na     one two three…\nlong  x\n");
    }

    #[test]
    fn where_the_last_column_is_not_enough_the_widest_of_the_others_give_way() {
        let long = "a text that takes a lot of room";
        let rows = rows(&[&["the-name-of-the-row", long, "short", long]]);
        let shown =
            table(&["ID", "ONE", "TWO", "A HEAD THAT STAYS"], &rows, 64, Ink { coloured: false });
        let expected = "\
ID                   ONE                TWO    A HEAD THAT STAYS
the-name-of-the-row  a text that take…  short  a text that take…
";
        assert_eq!(shown, expected);
        assert!(
            table(&["A", "B"], &rows, 1, Ink { coloured: false }).contains("the-name-of-the-row")
        );
    }

    #[test]
    fn wide_letters_take_the_room_that_they_take() {
        let rows = rows(&[&["名前", "修正してください、今すぐ"], &["a", "x"]]);
        let shown = table(&["ID", "TEXT"], &rows, 20, Ink { coloured: false });
        assert_eq!(shown, "ID    TEXT\n名前  修正してくだ…\na     x\n");
        assert!(shown.lines().all(|line| row::width(line) <= 20), "{shown}");
    }

    #[test]
    fn colour_does_not_shift_a_column() {
        let rows = vec![vec![Cell::toned("ab", Tone::Good), Cell::from("c")]];
        let shown = table(&["STATE", "X"], &rows, 40, Ink { coloured: true });
        assert!(shown.ends_with("\x1b[32mab\x1b[0m     c\n"), "{shown:?}");
    }
}
