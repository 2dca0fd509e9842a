//! The judge of claims: GO or NO GO, with who stands in the way. A function of the claim and of the lease folder alone.
//!
//! Invariant: if every lease is granted by [`judge`] from the whole folder, one judging at a time, no two leases of
//! different tasks conflict. A claim gets all it asks for or nothing, and holds nothing while it waits, so there is no
//! deadlock; an older waiting claim stands in the way of a younger one that conflicts, so nobody starves.

use crate::model::claim::{Claim, ClaimPath, Conflict, LeaseFile, LeaseState, Mode, Verdict};

use super::paths::{conflict_key, key_overlaps};

/// Judges a claim against the other files of its folder. Empty means GO; otherwise each path that cannot be had, with
/// who has it or waited for it first, sorted, each once.
pub fn judge(claim: &LeaseFile, others: &[LeaseFile]) -> Vec<Conflict> {
    let wanted = keyed(&claim.claim);
    let mut conflicts: Vec<Conflict> = others
        .iter()
        .filter(|other| stands_before(other, claim))
        .flat_map(|other| against(&wanted, other))
        .collect();
    conflicts.sort();
    conflicts.dedup();
    conflicts
}

/// The word for a list of conflicts.
pub fn verdict(conflicts: &[Conflict]) -> Verdict {
    if conflicts.is_empty() { Verdict::Go } else { Verdict::NoGo }
}

/// One path of a claim, ready to be compared.
struct Wanted<'a> {
    path: &'a ClaimPath,
    key: String,
    mode: Mode,
}

fn keyed(claim: &Claim) -> Vec<Wanted<'_>> {
    let with = |mode| move |path| Wanted { path, key: conflict_key(&path.path), mode };
    let reads = claim.reads.iter().map(with(Mode::Read));
    reads.chain(claim.writes.iter().map(with(Mode::Write))).collect()
}

/// Whether another file counts at all: a lease, or a claim that has waited longer, of another task.
fn stands_before(other: &LeaseFile, claim: &LeaseFile) -> bool {
    let counts = match other.state {
        LeaseState::Held => true,
        LeaseState::Waiting => other.ticket < claim.ticket,
    };
    counts && other.holder != claim.holder
}

fn against(wanted: &[Wanted<'_>], other: &LeaseFile) -> Vec<Conflict> {
    let reads = other.claim.reads.iter().map(|path| (Mode::Read, path));
    let taken = reads.chain(other.claim.writes.iter().map(|path| (Mode::Write, path)));
    // There are many others and few of them in the way: no key is made for them.
    let is_taken = |want: &&Wanted<'_>| {
        let is_it = |(mode, path): (Mode, &ClaimPath)| {
            excludes(want.mode, mode) && key_overlaps(&want.key, &path.path)
        };
        taken.clone().any(is_it)
    };
    wanted.iter().filter(is_taken).map(|want| conflict(want, other)).collect()
}

fn conflict(want: &Wanted<'_>, other: &LeaseFile) -> Conflict {
    Conflict { path: want.path.text(), mode: want.mode, held_by: other.holder.clone() }
}

/// Readers share; a writer shares with nobody.
fn excludes(a: Mode, b: Mode) -> bool {
    match (a, b) {
        (Mode::Read, Mode::Read) => false,
        (Mode::Write, Mode::Read | Mode::Write) | (Mode::Read, Mode::Write) => true,
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
