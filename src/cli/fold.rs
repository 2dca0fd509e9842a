//! Texts in lines that end between words, as a terminal would not: each line below the first begins where the first one does,
//! behind its name. Pure. Where no terminal says how wide it is, a text stays on one line, whole for whoever searches it.

use super::here::View;
use super::ink::Tone;
use super::row::width;

/// A fact of a list: its name, and what it says beside it; nothing where there is nothing to say.
pub(super) fn fact(name: &str, value: &str, tone: Tone, view: &View) -> String {
    let value = view.ink.paint(tone, &words(value, NAME + 1, view));
    if value.is_empty() { String::new() } else { format!("{name:<NAME$} {value}\n") }
}

/// Columns of a fact's name.
pub(super) const NAME: usize = 10;

/// A text on lines that end between its words, where `indent` columns are taken before each.
pub(super) fn words(text: &str, indent: usize, view: &View) -> String {
    pieces(text.split(' '), " ", indent, view)
}

/// Pieces on lines that end between them: what is to be copied as a whole, such as a command, is not torn. What is wider than a
/// line has one of its own.
pub(super) fn pieces<'a>(
    all: impl Iterator<Item = &'a str>,
    joint: &str,
    indent: usize,
    view: &View,
) -> String {
    let columns = view.folds.unwrap_or(usize::MAX);
    let (mut text, mut used, mut is_first) = (String::new(), indent, true);
    for piece in all {
        let further = used.saturating_add(width(joint) + width(piece));
        if is_first {
            used += width(piece);
        } else if further > columns {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            used = indent + width(piece);
        } else {
            text.push_str(joint);
            used = further;
        }
        text.push_str(piece);
        is_first = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(folds: Option<usize>) -> View {
        View { folds, ..View::plain(40, "2026-03-04T12:00:00Z") }
    }

    #[test]
    fn lines_of_40_columns_end_between_words_and_what_is_one_piece_stays_one() {
        let path = "/srv/a-folder-with-a-name-that-is-longer-than-a-line-is-wide";
        for (text, expected) in [
            ("", ""),
            ("short", "short"),
            (
                "the account is over its limit, and will be so until it is filled up",
                "the account is over its\n           limit, and will be so until\n           it is filled up",
            ),
            ("of exactly so many columns 01", "of exactly so many columns 01"),
            ("of exactly so many columns 012", "of exactly so many columns\n           012"),
            (path, path),
            (&format!("in {path} now"), &format!("in\n           {path}\n           now")),
            (
                "修正してください 今すぐ 全部 直して",
                "修正してください 今すぐ 全部\n           直して",
            ),
            ("two  blanks  stay", "two  blanks  stay"),
        ] {
            let shown = words(text, 11, &view(Some(40)));
            assert_eq!(shown, expected);
            assert_eq!(words(text, 11, &view(None)), text, "no terminal");
            assert_eq!(shown.split_whitespace().collect::<Vec<_>>().join(" "), {
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            });
        }
    }

    #[test]
    fn commands_are_not_torn_and_a_fact_stands_beside_its_name() {
        let commands = ["numerus apply a-abc234", "numerus logs a-abc234", "x y"];
        let shown = pieces(commands.into_iter(), " · ", 6, &view(Some(40)));
        assert_eq!(shown, "numerus apply a-abc234\n      numerus logs a-abc234 · x y");
        let of = |value| fact("message", value, Tone::Plain, &view(Some(40)));
        assert_eq!(of(""), "");
        assert_eq!(
            of("one and two and three and four and five"),
            "message    one and two and three and\n           four and five\n"
        );
    }
}
