//! Which files of a run folder people may want to look at: by their names, whatever is in them.

use super::RunFolder;
use crate::model::id::TaskId;
use crate::os::fsx;

/// Most names that are told of one folder.
const MOST: usize = 100;

/// The files of the run folder itself, in the order in which they are told.
const OWN: [&str; 8] = [
    "summary.md",
    "result.patch",
    "objective.md",
    "job.json",
    "status.json",
    "plan.json",
    "events.ndjson",
    "worker.log",
];

/// The files of one place for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOf {
    /// The place: a folder of the run folder, or that itself, under no name.
    pub place: String,
    /// Their names; of those with a number the newest.
    pub names: Vec<String>,
    /// How many more there are.
    pub left_out: usize,
}

impl FilesOf {
    /// Of more than [`MOST`] the lowest numbers go, which are the oldest.
    fn of(place: &str, mut names: Vec<String>) -> Self {
        let left_out = names.len().saturating_sub(MOST);
        if left_out > 0 {
            names.sort_by_cached_key(|name| std::cmp::Reverse(key(name).1));
            names.truncate(MOST);
        }
        names.sort_by_cached_key(|name| key(name));
        Self { place: place.to_owned(), names, left_out }
    }
}

impl RunFolder {
    /// The files that are there, by their place: first the folder's own, under no name, then those of the places of planning,
    /// of these tasks, of the queen and of the verify commands. Folders that cannot be read are left out.
    pub fn files_for_people<'a>(&self, tasks: impl Iterator<Item = &'a TaskId>) -> Vec<FilesOf> {
        let there = fsx::list(self.dir()).unwrap_or_default();
        let names = OWN
            .iter()
            .filter(|name| there.iter().any(|n| n == *name))
            .map(ToString::to_string)
            .collect();
        let mut own = FilesOf { place: String::new(), names, left_out: 0 };
        let claims = there.iter().filter(|name| name.ends_with("_claim.json")).cloned();
        let claims = FilesOf::of("", claims.collect());
        own.left_out = claims.left_out;
        own.names.extend(claims.names);
        let mut found = vec![own];
        let tasks = tasks.map(TaskId::as_str);
        for place in ["plan", "roles"].into_iter().chain(tasks).chain(["queen", "verify"]) {
            let names = fsx::list(self.place(place).dir()).unwrap_or_default();
            let names: Vec<String> = names.into_iter().filter(|name| is_for_people(name)).collect();
            if !names.is_empty() {
                found.push(FilesOf::of(place, names));
            }
        }
        found
    }
}

fn is_for_people(name: &str) -> bool {
    let is_plain = ["diff.patch", "out-of-claim.patch"].contains(&name);
    let numbered = [
        ("prompt-", ".md"),
        ("last-", ".txt"),
        ("result-", ".json"),
        ("attempt-", ".patch"),
        ("note-", ".md"),
    ];
    let is_numbered = |(start, end): &(&str, &str)| {
        name.strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    is_plain || super::parts::is_log(name.as_ref()) || numbered.iter().any(is_numbered)
}

/// Sorts by the word, then by the number as a number.
fn key(name: &str) -> (String, u64) {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let word: String = name.chars().filter(|c| !c.is_ascii_digit()).collect();
    (word, digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;
    use crate::model::root::Root;
    use crate::runs::Runs;

    #[test]
    fn files_are_told_by_place_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        fsx::make_dirs(&root.runs()).expect("runs");
        let folder =
            Runs::of(&root).create(&JobId::parse("a-abc234").expect("id")).expect("folder");
        let task = TaskId::parse("t1").expect("id");
        for (place, names) in [
            ("", &["summary.md", "job.json", "t1_claim.json", "worker.lock", "want.paused"][..]),
            (
                "t1",
                &[
                    "prompt-10.md",
                    "prompt-9.md",
                    "prompt-x.md",
                    "diff.patch",
                    "session.lock",
                    "stdout.log",
                ],
            ),
            ("other", &["stdout.log"]),
        ] {
            let at = folder.dir().join(place);
            fsx::make_dirs(&at).expect("place");
            for name in names {
                fsx::put(&at.join(name), b"").expect("file");
            }
        }
        let expected = [
            ("", vec!["summary.md", "job.json", "t1_claim.json"]),
            ("t1", vec!["diff.patch", "prompt-9.md", "prompt-10.md", "stdout.log"]),
        ];
        let found = folder.files_for_people([&task].into_iter());
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|f| (f.place.as_str(), f.names.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn of_many_files_the_newest_are_told_and_the_others_counted() {
        let names = (1..=120).map(|n| format!("prompt-{n}.md"));
        let found = FilesOf::of("t1", names.chain(["diff.patch".to_owned()]).collect());
        assert_eq!((found.names.len(), found.left_out), (MOST, 21));
        let ends = [&found.names[0], &found.names[1], &found.names[99]];
        assert_eq!(ends, ["diff.patch", "prompt-22.md", "prompt-120.md"]);
    }
}
