//! Where everything lies: links to the files beside the page.

use super::html::{Html, address};
use super::material::Material;
use super::page::card;

/// Most places whose files are linked.
const MOST_PLACES: usize = 80;

/// Writes them.
pub(super) fn write(html: &mut Html, of: &Material) {
    card(html, "files", "Files", "all that this page is made of", |html| {
        html.block("div", "in", |html| {
            html.block("div", "files", |html| {
                for (place, names) in of.files.iter().take(MOST_PLACES) {
                    if html.has_room() && !names.is_empty() {
                        section(html, place, names);
                    }
                }
            });
        });
    });
}

fn section(html: &mut Html, place: &str, names: &[String]) {
    html.within("section", &[], |html| {
        html.leaf("h3", &[], if place.is_empty() { "the job" } else { place });
        for name in names {
            let own = [name.as_str()];
            let below = [place, name.as_str()];
            let to = address(if place.is_empty() { &own[..] } else { &below[..] }.iter().copied());
            html.leaf("a", &[("href", &to)], name);
        }
    });
}
