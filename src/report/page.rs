//! The frame of every page: nothing is loaded from anywhere, no script runs, and both are forbidden to the reader's program,
//! too. What is written in the head tells whether a page is still fresh.

use super::html::Html;

/// Nothing may be loaded, run, sent or framed; only the style sheet inside the page counts.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What a page is written from, and by which version: it is fresh as long as that is the same.
pub(super) fn generator(last_seq: u64, is_worked_on: Option<bool>) -> String {
    let by = match is_worked_on {
        None => "",
        Some(true) => ", under way",
        Some(false) => ", at rest",
    };
    format!("numerus {}, fact {last_seq}{by}", env!("CARGO_PKG_VERSION"))
}

/// Whether a page, of which this is the beginning, was written from that.
pub(super) fn is_fresh(head: &[u8], generator: &str) -> bool {
    let line = format!("<meta name=\"generator\" content=\"{generator}\">");
    head.windows(line.len()).any(|window| window == line.as_bytes())
}

/// How many bytes hold all of what [`is_fresh`] looks for.
pub(super) const HEAD_BYTES: u64 = 1024;

/// A whole page.
pub(super) fn page(title: &str, generator: &str, body: impl FnOnce(&mut Html)) -> String {
    let mut html = Html::default();
    html.constant("<!DOCTYPE html>\n");
    html.within("html", &[("lang", "en")], |html| {
        html.within("head", &[], |html| {
            html.void("meta", &[("charset", "utf-8")]);
            html.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
            html.void("meta", &[("name", "generator"), ("content", generator)]);
            let viewport =
                [("name", "viewport"), ("content", "width=device-width, initial-scale=1")];
            html.void("meta", &viewport);
            html.void("meta", &[("name", "referrer"), ("content", "no-referrer")]);
            html.leaf("title", &[], title);
            html.within("style", &[], |html| html.constant(include_str!("style.css")));
        });
        html.constant("\n");
        html.within("body", &[], |html| html.within("main", &[], body));
    });
    html.constant("\n");
    html.into_text()
}

/// A part of a page with its heading, and a word beside that.
pub(super) fn card(
    html: &mut Html,
    id: &'static str,
    title: &str,
    beside: &str,
    inside: impl FnOnce(&mut Html),
) {
    html.within("section", &[("class", "card"), ("id", id)], |html| {
        html.within("h2", &[], |html| {
            html.text(title);
            if !beside.is_empty() {
                html.leaf("small", &[], beside);
            }
        });
        inside(html);
    });
    html.constant("\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_from_what_it_was_written() {
        let text = page("a", &generator(12, Some(true)), |_| {});
        let head = &text.as_bytes()[..usize::try_from(HEAD_BYTES).expect("small")];
        assert!(is_fresh(head, &generator(12, Some(true))));
        for other in [(1, Some(true)), (121, Some(true)), (12, Some(false)), (12, None)] {
            assert!(!is_fresh(head, &generator(other.0, other.1)), "{other:?}");
        }
        assert!(!is_fresh(b"", &generator(0, None)));
    }

    #[test]
    fn the_style_sheet_loads_nothing() {
        let style = include_str!("style.css");
        for way in ["url(", "@import", "http", "</", "src"] {
            assert!(!style.contains(way), "{way}");
        }
    }
}
