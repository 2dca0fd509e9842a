//! Conflicts for people: each path once, with everybody who holds it.

use crate::model::claim::{Conflict, Holder, Mode};

/// A path that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPath<'a> {
    /// The path; in words where it is the whole workspace.
    pub path: &'a str,
    /// How it is wanted, in words.
    pub wanted: &'static str,
    /// Who holds it.
    pub holders: Vec<&'a Holder>,
}

/// The paths in the order in which they were found.
pub fn by_path(all: &[Conflict]) -> Vec<HeldPath<'_>> {
    let mut paths: Vec<HeldPath<'_>> = Vec::new();
    for conflict in all {
        let wanted = match conflict.mode {
            Mode::Read => "to read",
            Mode::Write => "to write",
        };
        let path = match conflict.path.as_str() {
            "" => "the whole workspace",
            path => path,
        };
        match paths.iter_mut().find(|held| held.path == path && held.wanted == wanted) {
            Some(held) => held.holders.push(&conflict.held_by),
            None => paths.push(HeldPath { path, wanted, holders: vec![&conflict.held_by] }),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{JobId, TaskId};

    #[test]
    fn a_path_is_told_once_with_all_who_hold_it_and_the_workspace_has_words() {
        let conflict = |path: &str, mode, task: &str| {
            let task = TaskId::parse(task).expect("id");
            let held_by = Holder { job: JobId::parse("a-abc234").expect("id"), task };
            Conflict { path: path.to_owned(), mode, held_by }
        };
        let all = [
            conflict("x", Mode::Write, "t1"),
            conflict("", Mode::Read, "t1"),
            conflict("x", Mode::Write, "t2"),
            conflict("x", Mode::Read, "t3"),
        ];
        let told = by_path(&all);
        let told: Vec<_> = told.iter().map(|h| (h.path, h.wanted, h.holders.len())).collect();
        let expected =
            [("x", "to write", 2), ("the whole workspace", "to read", 1), ("x", "to read", 1)];
        assert_eq!(told, expected);
    }
}
