//! That a script plays the agent, said by whoever begins or shows a job: nobody is to take a rehearsal for work.

use super::here::Here;
use super::seams;
use crate::model::root::Root;
use crate::os::console::one_line;
use crate::runs::RunFolder;

/// The script that plays a job's agent; `None` where codex is asked. Of one that has ended only the script counts that it was
/// taken with: which settings its sessions met is not written down, and those of today may be others.
pub(super) fn script(root: &Root, folder: &RunFolder, is_over: bool) -> Option<String> {
    let own = folder.read_job().ok().flatten().and_then(|job| job.options.rehearse);
    if is_over { own } else { seams::script_of(root, own.as_deref()) }
}

/// A script's name.
fn name(script: &str) -> String {
    if script.is_empty() { "builtin".to_owned() } else { one_line(script) }
}

/// Who plays the agent, as a fact of a job; nothing where codex is asked.
pub(super) fn fact(script: Option<&str>, is_over: bool) -> String {
    let plays = if is_over { "played" } else { "plays" };
    script.map(|script| format!("a script {plays} it ({})", name(script))).unwrap_or_default()
}

/// Says so before a job begins.
pub(super) fn tell(here: &mut Here, script: Option<&str>) {
    if let Some(script) = script {
        here.out
            .note(&format!("note: a script plays the agent ({}): no codex is asked", name(script)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_is_told_with_its_script_and_work_is_not() {
        assert_eq!(fact(Some(""), false), "a script plays it (builtin)");
        assert_eq!(fact(Some("/s\u{1b}.json"), true), "a script played it (/s\\x1b.json)");
        assert_eq!(fact(None, false), "");
    }
}
