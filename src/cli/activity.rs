//! What the agents of a job are doing: the last thing that each has said in its transcript. Costs what is read at the end of a
//! file, however long it has grown; a file that has not changed is not read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ink::Tone;
use super::transcript;
use crate::os::fsx;
use crate::runs::{RunFolder, parts};

/// Bytes that are read at the end of a transcript. A line that is longer is seen once the next one has come.
const END_BYTES: u64 = 64 * 1024;

/// The last words of some places.
#[derive(Debug, Default)]
pub(super) struct Activities {
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    file: ((PathBuf, u64), u32),
    words: Option<(Tone, String)>,
}

impl Activities {
    /// What was said last in a place, in that session or a later one; `None` before anything was.
    pub(super) fn of(
        &mut self,
        folder: &RunFolder,
        place: &str,
        session: u32,
    ) -> Option<(Tone, String)> {
        let file = (newest(folder, place)?, session);
        if let Some(seen) = self.seen.get(place).filter(|seen| seen.file == file) {
            return seen.words.clone();
        }
        let before = self.seen.remove(place).filter(|seen| seen.file.1 == session);
        let end = end_of(&file.0.0);
        let words = end.lines().rev().find_map(|line| transcript::gist(line, session));
        let words = words.or(before.and_then(|seen| seen.words));
        self.seen.insert(place.to_owned(), Seen { file, words: words.clone() });
        words
    }
}

/// The last lines that a place's agents said, neutral.
pub(super) fn last_lines(folder: &RunFolder, place: &str, most: usize) -> Vec<(Tone, String)> {
    let Some((file, length)) = newest(folder, place) else { return Vec::new() };
    let end = end_of(&file);
    // The first line is whole only where the file begins, and the last one may just be written.
    let whole = end.rfind('\n').map_or("", |at| &end[..at]);
    let lines = whole.lines().skip(usize::from(length > END_BYTES));
    let mut said: Vec<_> = lines.flat_map(|line| transcript::read(line).lines).collect();
    said.split_off(said.len().saturating_sub(most))
}

fn end_of(file: &Path) -> String {
    let bytes = fsx::read_tail(file, END_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The file in which a place speaks now, with its length.
fn newest(folder: &RunFolder, place: &str) -> Option<(PathBuf, u64)> {
    let transcript = folder.place(place).transcript();
    let part =
        parts::of(&transcript).ok().flatten().and_then(|found| found.parts.into_iter().last());
    if let Some(part) = part {
        return Some((part.path, part.bytes));
    }
    let length = transcript.metadata().ok()?.len();
    Some((transcript, length))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;
    use crate::model::id::JobId;
    use crate::model::root::Root;
    use crate::runs::Runs;

    #[test]
    fn the_last_words_are_those_of_the_last_whole_line_that_says_something() {
        let dir = tempfile::tempdir().expect("scratch");
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&Root::new(dir.path())).folder(&job);
        let mut all = Activities::default();
        assert_eq!(all.of(&folder, "t1", 1), None, "nothing is there");
        fsx::make_dirs(folder.place("t1").dir()).expect("place");
        let mut file = fsx::open_append(&folder.place("t1").transcript()).expect("open");
        let mut say = |line: &str| file.write_all(line.as_bytes()).expect("write");
        let message = |text: &str| {
            let item = json!({"type": "agent_message", "text": text});
            format!(
                "{}\n",
                json!({"session": 1, "event": {"type": "item.completed", "item": item}})
            )
        };
        let mut words = || all.of(&folder, "t1", 1).map(|(_, words)| words);
        say(&message("one"));
        say("{\"event\":{\"type\":\"turn.started\"}}\n");
        assert_eq!(words().as_deref(), Some("one"));
        say("{\"event\":{\"type\":");
        assert_eq!(words().as_deref(), Some("one"), "a torn line is no word");
        say("\"turn.started\"}}\n");
        say(&message(&"x".repeat(200_000)));
        assert_eq!(words().as_deref(), Some("one"), "too long to be seen whole");
        say(&message("two"));
        assert_eq!(words().as_deref(), Some("two"));
        assert_eq!(all.of(&folder, "t1", 2), None, "the next session has said nothing yet");
        let lines = last_lines(&folder, "t1", 2);
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}
