//! What a page has no room for: of whatever goes on it shows the newest, of a long text the beginning; what is left out is
//! counted, with a link to the file that has it.

use super::html::{Html, address, cut};

/// The file that has whatever the journal tells.
pub(super) const JOURNAL: &[&str] = &["events.ndjson"];

/// The newest of these, at most so many; says how many came before, in a tag of that name, and where they are.
pub(super) fn newest<'a, T>(
    html: &mut Html,
    tag: &'static str,
    all: &'a [T],
    most: usize,
    file: &[&str],
) -> &'a [T] {
    let before = all.len().saturating_sub(most);
    missing(html, tag, before, "before", file);
    &all[before..]
}

/// Says how many are not shown, and where they are; nothing where all are.
pub(super) fn missing(html: &mut Html, tag: &'static str, count: usize, what: &str, file: &[&str]) {
    if count > 0 {
        html.within(tag, &[("class", "dim")], |html| {
            html.text(&format!("{count} {what}: see "));
            link(html, file);
        });
    }
}

/// A text, or its beginning and where the rest of it is.
pub(super) fn text(html: &mut Html, text: &str, most: usize, file: &[&str]) {
    let (shown, is_all) = cut(text, most);
    html.text(shown);
    if !is_all {
        html.text("… the rest: see ");
        link(html, file);
    }
}

/// As [`text`], in a tag of that name.
pub(super) fn leaf(html: &mut Html, tag: &'static str, text: &str, most: usize, file: &[&str]) {
    html.within(tag, &[], |html| self::text(html, text, most, file));
}

/// A link to a file beside the page, or to the folder of that name, which ends in an empty one.
fn link(html: &mut Html, file: &[&str]) {
    let name = match file {
        [] | [""] => "the run folder".to_owned(),
        names => names.join("/"),
    };
    html.leaf("a", &[("href", &address(file.iter().copied()))], &name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_shown_and_the_others_counted_with_a_link() {
        let mut html = Html::default();
        assert_eq!(newest(&mut html, "p", &[1, 2, 3], 2, JOURNAL), [2, 3]);
        let link = "<a href=\"./events.ndjson\">events.ndjson</a>";
        assert_eq!(html.into_text(), format!("<p class=\"dim\">1 before: see {link}</p>"));
        let mut html = Html::default();
        assert_eq!(newest(&mut html, "p", &[1, 2], 2, JOURNAL), [1, 2]);
        text(&mut html, "abc", 3, JOURNAL);
        assert_eq!(html.into_text(), "abc", "nothing is said where nothing is left out");
        let mut html = Html::default();
        text(&mut html, "abcd", 3, JOURNAL);
        assert_eq!(html.into_text(), format!("abc… the rest: see {link}"));
        let mut html = Html::default();
        missing(&mut html, "li", 2, "more", &["t1", ""]);
        assert!(html.into_text().contains("<a href=\"./t1/\">t1/</a>"));
    }
}
