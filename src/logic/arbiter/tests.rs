//! Tables. Random histories are in `histories`.

use super::*;
use crate::model::claim::Holder;
use crate::model::id::{JobId, TaskId};

fn paths(texts: &[&str]) -> Vec<ClaimPath> {
    texts.iter().map(|t| ClaimPath::file(*t)).collect()
}

fn lease(task: &str, ticket: u64, state: LeaseState, claim: Claim) -> LeaseFile {
    LeaseFile {
        version: 1,
        holder: Holder {
            job: JobId::parse("job-abc234").expect("id"),
            task: TaskId::parse(task).expect("id"),
        },
        attempt: 1,
        ticket,
        state,
        claim,
        root: String::new(),
    }
}

fn claim(reads: &[&str], writes: &[&str]) -> Claim {
    Claim { reads: paths(reads), writes: paths(writes) }
}

#[test]
fn a_write_excludes_and_reads_share() {
    for (mine, theirs, expected) in [
        (claim(&["a"], &[]), claim(&["a"], &[]), vec![]),
        (claim(&["a"], &[]), claim(&[], &["a"]), vec![("a", Mode::Read)]),
        (claim(&[], &["a"]), claim(&["a"], &[]), vec![("a", Mode::Write)]),
        (claim(&[], &["a"]), claim(&[], &["A/b"]), vec![("a", Mode::Write)]),
        (
            claim(&[], &["b", "a/x"]),
            claim(&[], &["", "a"]),
            vec![("a/x", Mode::Write), ("b", Mode::Write)],
        ),
        (claim(&["a"], &["b"]), claim(&["a"], &["c"]), vec![]),
        (claim(&[], &[]), claim(&[], &[""]), vec![]),
    ] {
        let other = lease("other", 9, LeaseState::Held, theirs);
        let found = judge(&lease("me", 1, LeaseState::Waiting, mine), &[other.clone(), other]);
        let found: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.mode)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn only_older_waiting_claims_stand_in_the_way_and_never_ones_own() {
    let mine = lease("me", 5, LeaseState::Waiting, claim(&[], &["a"]));
    for (task, ticket, state, blocks) in [
        ("other", 4, LeaseState::Waiting, true),
        // As old is not older: two that waited for each other would wait for ever.
        ("other", 5, LeaseState::Waiting, false),
        ("other", 6, LeaseState::Waiting, false),
        ("other", 6, LeaseState::Held, true),
        ("me", 4, LeaseState::Waiting, false),
        ("me", 4, LeaseState::Held, false),
    ] {
        let other = lease(task, ticket, state, claim(&[], &["a"]));
        let conflicts = judge(&mine, &[other]);
        assert_eq!(conflicts.is_empty(), !blocks, "{task} {ticket} {state:?}");
        assert_eq!(verdict(&conflicts), if blocks { Verdict::NoGo } else { Verdict::Go });
    }
}
