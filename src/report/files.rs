//! Where everything lies: links to the files beside the page.

use super::html::{Html, address};
use super::left_out::{missing, newest};
use super::material::Material;
use super::page::card;
use crate::runs::FilesOf;

/// Most places whose files are linked.
const MOST_PLACES: usize = 80;

/// Writes them.
pub(super) fn write(html: &mut Html, of: &Material) {
    card(html, "files", "Files", "all that this page is made of", |html| {
        html.block("div", "in", |html| {
            html.block("div", "files", |html| {
                let (own, places) = of.files.split_at(of.files.len().min(1));
                let places = newest(html, "p", places, MOST_PLACES, &[""]);
                for files in own.iter().chain(places) {
                    if html.has_room() && !files.names.is_empty() {
                        section(html, files);
                    }
                }
            });
        });
    });
}

fn section(html: &mut Html, files: &FilesOf) {
    let place = files.place.as_str();
    html.within("section", &[], |html| {
        html.leaf("h3", &[], if place.is_empty() { "the job" } else { place });
        for name in &files.names {
            let own = [name.as_str()];
            let below = [place, name.as_str()];
            let to = address(if place.is_empty() { &own[..] } else { &below[..] }.iter().copied());
            html.leaf("a", &[("href", &to)], name);
        }
        let folder = [place, ""];
        let folder = if place.is_empty() { &folder[1..] } else { &folder[..] };
        missing(html, "p", files.left_out, "more", folder);
    });
}
