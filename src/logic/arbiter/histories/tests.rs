//! The promises of the judge over many random histories, and that each way to break them shows.

use proptest::prelude::*;

use super::*;
use crate::logic::paths::keys_overlap;

/// Cases, and histories in each: together more than a hundred thousand.
const CASES: u32 = 260;
const HISTORIES: u64 = 400;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_grants_a_clash_starves_a_claim_or_loses_a_waking(
        first in any::<u64>(),
    ) {
        const { assert!(CASES as u64 * HISTORIES >= 100_000) };
        for seed in (0..HISTORIES).map(|n| first.wrapping_add(n)) {
            prop_assert_eq!(play(seed, &judge, Fault::None), Ok(()), "the history of {}", seed);
        }
    }
}

/// The true judge's word on each of the others alone, changed for some.
fn wrong(
    change: impl Fn(&LeaseFile, &LeaseFile, Vec<Conflict>) -> Vec<Conflict>,
) -> impl Fn(&LeaseFile, &[LeaseFile]) -> Vec<Conflict> {
    move |claim, others| {
        let one =
            |other: &LeaseFile| change(claim, other, judge(claim, std::slice::from_ref(other)));
        others.iter().flat_map(one).collect()
    }
}

/// Keeps the conflicts of paths that are related in some way.
fn only_where(
    related: impl Fn(&str, &str) -> bool,
) -> impl Fn(&LeaseFile, &[LeaseFile]) -> Vec<Conflict> {
    wrong(move |_, other, conflicts| {
        let all: Vec<&ClaimPath> = other.claim.reads.iter().chain(&other.claim.writes).collect();
        let path = |c: &Conflict| c.path.trim_end_matches("*.rs").trim_end_matches('/').to_owned();
        let is_related = |c: &Conflict| all.iter().any(|p| related(&path(c), &p.path));
        conflicts.into_iter().filter(is_related).collect()
    })
}

fn is_caught(judge: &AnyJudge, fault: Fault) -> bool {
    (0..5000).any(|seed| play(seed, judge, fault).is_err())
}

#[test]
fn every_way_to_be_wrong_shows_in_some_history() {
    let no_order =
        wrong(|_, other, c| if other.state == LeaseState::Held { c } else { Vec::new() });
    let unfolded = only_where(keys_overlap);
    let no_prefix = only_where(|a, b| conflict_key(a) == conflict_key(b));
    let exclusive_reads = wrong(|claim, other, conflicts| {
        let as_writes = |file: &LeaseFile| {
            let all = file.claim.reads.iter().chain(&file.claim.writes).cloned().collect();
            LeaseFile { claim: Claim { reads: vec![], writes: all }, ..file.clone() }
        };
        if conflicts.is_empty() { judge(&as_writes(claim), &[as_writes(other)]) } else { conflicts }
    });
    let shared_writes = wrong(
        |claim, _, conflicts| {
            if claim.claim.reads.is_empty() { Vec::new() } else { conflicts }
        },
    );
    let judges: [(&str, &AnyJudge); 5] = [
        ("older waiting claims are ignored", &no_order),
        ("spellings are different places", &unfolded),
        ("a directory is not what lies in it", &no_prefix),
        ("readers exclude each other", &exclusive_reads),
        ("writers share", &shared_writes),
    ];
    for (what, wrong) in judges {
        assert!(is_caught(wrong, Fault::None), "{what}");
    }
    for fault in
        [Fault::SilentRelease, Fault::SilentDeath, Fault::LateLowering, Fault::BlindAmendment]
    {
        assert!(is_caught(&judge, fault), "{fault:?}");
    }
    assert!(!is_caught(&judge, Fault::None));
}
