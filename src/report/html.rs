//! HTML that is safe by construction: names of tags and attributes are words of this program, everything else is escaped on
//! its way in, and what is opened is closed. There is no way to put in anything as it is but a constant.

use std::fmt::Write as _;

use crate::os::console::{neutral, neutral_bytes};

/// The bytes after which a page counts as full: whoever adds pieces of any number stops then, and says so.
const FULL: usize = 4 * 1024 * 1024;

/// The attributes of a tag.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a str)];

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Html {
    out: String,
}

impl Html {
    /// The whole text.
    pub(super) fn into_text(self) -> String {
        self.out
    }

    /// Its length so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether more may be added.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < FULL
    }

    /// A tag with whatever is put inside.
    pub(super) fn within(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.start(tag, attributes);
        inside(self);
        self.out.extend(["</", tag, ">"]);
    }

    /// As [`Html::within`] with one class.
    pub(super) fn block(
        &mut self,
        tag: &'static str,
        class: &'static str,
        inside: impl FnOnce(&mut Self),
    ) {
        self.within(tag, &[("class", class)], inside);
    }

    /// A tag with a text inside.
    pub(super) fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>, text: &str) {
        self.within(tag, attributes, |html| html.text(text));
    }

    /// A span of one class with a text inside.
    pub(super) fn span(&mut self, class: &'static str, text: &str) {
        self.leaf("span", &[("class", class)], text);
    }

    /// A tag that has nothing inside and no end, such as `meta`.
    pub(super) fn void(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.start(tag, attributes);
    }

    /// A shape of a drawing.
    pub(super) fn shape(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.within(tag, attributes, |_| {});
    }

    /// A text, escaped; nothing in it can hide or reorder what is around it.
    pub(super) fn text(&mut self, text: &str) {
        escape(&mut self.out, &neutral(text));
    }

    /// Bytes that should be a text: those that are none are shown as their numbers.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        escape(&mut self.out, &neutral_bytes(bytes));
    }

    /// A constant of this program, as it is.
    pub(super) fn constant(&mut self, text: &'static str) {
        self.out.push_str(text);
    }

    fn start(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.out.extend(["<", tag]);
        for (name, value) in attributes {
            self.out.extend([" ", *name, "=\""]);
            escape(&mut self.out, &neutral(value));
            self.out.push('"');
        }
        self.out.push('>');
    }
}

fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
}

/// A relative address made of names, each of which is a name and nothing else whatever is in it.
pub(super) fn address<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut address = String::from(".");
    for name in names {
        address.push('/');
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                address.push(char::from(byte));
            } else {
                // A string takes whatever is written.
                let _infallible = write!(address, "%{byte:02X}");
            }
        }
    }
    address
}

/// The beginning of a text, at most `most` bytes, and whether that is all of it.
pub(super) fn cut(text: &str, most: usize) -> (&str, bool) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], end == text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(text: &str, bytes: &[u8]) -> String {
        let mut html = Html::default();
        html.within("p", &[("title", text), ("class", "x")], |html| {
            html.text(text);
            html.span("y", text);
            html.bytes(bytes);
            html.shape("path", &[("d", text)]);
        });
        html.into_text()
    }

    #[test]
    fn what_is_put_in_cannot_become_a_tag_or_an_attribute() {
        let shown = page("</p><script>\"'&\u{202e}\x1b", b"<\xff>");
        assert!(
            !shown.contains("<script")
                && shown.contains("&lt;/p&gt;&lt;script&gt;&quot;&#39;&amp;\\u{202e}\\x1b")
        );
        assert!(shown.contains("&lt;\\xff&gt;"), "{shown}");
    }

    #[test]
    fn an_address_stays_where_it_is() {
        for (names, expected) in [
            (&["t1", "diff.patch"][..], "./t1/diff.patch"),
            (&["java script:alert(1)"], "./java%20script%3Aalert%281%29"),
            (&["//x", "\"é"], "./%2F%2Fx/%22%C3%A9"),
        ] {
            assert_eq!(address(names.iter().copied()), expected);
        }
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        assert_eq!(
            (cut("aé", 2), cut("aé", 3), cut("", 0)),
            (("a", false), ("aé", true), ("", true))
        );
    }

    proptest! {
        #[test]
        fn any_text_in_any_field_is_no_markup(text in "\\PC*|[<>&\"'/a=\\x00-\\x1f]*", bytes: Vec<u8>) {
            let shown = page(&text, &bytes);
            // The page's own tags are all there is.
            prop_assert_eq!(shown.matches('<').count(), 6);
            prop_assert_eq!(shown.matches('>').count(), 6);
            prop_assert_eq!(shown.matches('"').count(), 8);
            prop_assert!(shown.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
        }
    }
}
