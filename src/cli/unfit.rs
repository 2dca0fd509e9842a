//! A machine on which no new work begins, in one line for whoever asks anything of it.

use super::here::Here;
use crate::health;
use crate::model::root::Root;
use crate::os::console::one_line;
use crate::spool::Spool;

/// Says on stderr why no new work is started, if so: what the daemon says, else what looking shows.
pub(super) fn tell(here: &mut Here) {
    if let Some(why) = why(&here.root) {
        here.out.note(&one_line(&format!("no daemon starts new work: {why}")));
    }
}

/// Why no new work begins, if so.
pub(super) fn why(root: &Root) -> Option<String> {
    let look = || {
        // Broken settings are the command's own affair; until then the usual ones count.
        let min_free = crate::root::open(root, false).ok().and_then(|settings| settings.min_free);
        health::short_of(root, min_free)
    };
    Spool::of(root).notice().or_else(look)
}
