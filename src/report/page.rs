//! The frame of every page: nothing is loaded from anywhere, no script runs, and both are forbidden to the reader's program,
//! too. What is written in the head tells whether a page is still fresh.

use super::html::{Html, cut};

/// Nothing may be loaded, run, sent or framed; only the style sheet inside the page counts.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What a page is written from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// The number of the last fact.
    pub(super) last_seq: u64,
    /// While the job has not ended, whether a worker has it.
    pub(super) is_worked_on: Option<bool>,
    /// How many notes the agents were told.
    pub(super) notes: usize,
    /// What the job waits for although no fact says so.
    pub(super) waits: String,
}

/// The same in words, with the version that writes it: a page is fresh as long as these are the same.
pub(super) fn generator(of: &Sources) -> String {
    let by = match of.is_worked_on {
        None => "",
        Some(true) => ", under way",
        Some(false) => ", at rest",
    };
    let waits = cut(&of.waits, WAIT_BYTES).0;
    let (version, seq, notes) = (env!("CARGO_PKG_VERSION"), of.last_seq, of.notes);
    format!("numerus {version}, fact {seq}{by}, notes {notes}, waits for {waits:?}")
}

/// Whether a page, of which this is the beginning, was written from that.
pub(super) fn is_fresh(head: &[u8], generator: &str) -> bool {
    let mut html = Html::default();
    tell_generator(&mut html, generator);
    let line = html.into_text();
    head.windows(line.len()).any(|window| window == line.as_bytes())
}

fn tell_generator(html: &mut Html, generator: &str) {
    html.void("meta", &[("name", "generator"), ("content", generator)]);
}

/// How many bytes hold all of what [`is_fresh`] looks for.
pub(super) const HEAD_BYTES: u64 = 4096;
/// How much of what a job waits for tells one wait from another.
const WAIT_BYTES: usize = 200;

/// A whole page.
pub(super) fn page(title: &str, generator: &str, body: impl FnOnce(&mut Html)) -> String {
    let mut html = Html::default();
    html.constant("<!DOCTYPE html>\n");
    html.within("html", &[("lang", "en")], |html| {
        html.within("head", &[], |html| {
            html.void("meta", &[("charset", "utf-8")]);
            html.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
            tell_generator(html, generator);
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
        let waits = "\x07\"<'".repeat(100);
        let of = Sources { last_seq: 12, is_worked_on: Some(true), notes: 1, waits };
        let text = page("a", &generator(&of), |_| {});
        let head = &text.as_bytes()[..usize::try_from(HEAD_BYTES).expect("small")];
        assert!(is_fresh(head, &generator(&of)));
        for other in [
            Sources { last_seq: 1, ..of.clone() },
            Sources { last_seq: 121, ..of.clone() },
            Sources { is_worked_on: Some(false), ..of.clone() },
            Sources { is_worked_on: None, ..of.clone() },
            Sources { notes: 2, ..of.clone() },
            Sources { waits: String::new(), ..of },
        ] {
            assert!(!is_fresh(head, &generator(&other)), "{other:?}");
        }
        assert!(!is_fresh(b"", &generator(&Sources::default())));
    }

    #[test]
    fn the_style_sheet_loads_nothing() {
        let style = include_str!("style.css");
        for way in ["url(", "@import", "http", "</", "src"] {
            assert!(!style.contains(way), "{way}");
        }
    }
}
