//! What an agent wrote beside its claim, put to the arbiter: added to the lease if nobody else holds it.
//!
//! It never waits: the lease is about to end, and what another task holds stays that one's.

use super::desk::Desk;
use super::parcel::Parcel;
use super::stuck::Stuck;
use super::words::shown;
use crate::logic::audit::Audit;
use crate::logic::claims::covers;
use crate::logic::{amend, arbiter};
use crate::model::claim::{Claim, ClaimPath, Conflict, Verdict, VerdictRecord};
use crate::model::event::Fact;
use crate::os::clock;

/// The arbiter's word on an amendment.
pub(super) enum Amended {
    /// The lease covers these paths, too; from the repository's top.
    Go(Vec<ClaimPath>),
    /// Nothing lands, and why, if there is more to say than that it was not claimed.
    NoGo(Option<String>),
}

/// Asks for what was written beside the claim.
pub(super) fn amend(desk: &Desk, parcel: &Parcel, judged: &Audit) -> Result<Amended, Stuck> {
    if !(desk.job.options.amend && desk.settings.amend) {
        return Ok(Amended::NoGo(None));
    }
    let prefix = desk.workspace()?.prefix;
    let wish = match amend::wish(judged, &prefix) {
        Ok(wish) => wish,
        Err(why) => return Ok(Amended::NoGo(Some(why))),
    };
    let mut lease = parcel.lease.lock();
    let held = lease.file().claim.writes.clone();
    let is_new = |path: &&ClaimPath| !covers(&held, &path.path);
    let added: Vec<ClaimPath> = wish.iter().filter(is_new).cloned().collect();
    if added.is_empty() {
        // Granted by a try before this one that did not come to its end.
        return Ok(Amended::Go(wish));
    }
    let asked = Claim { reads: Vec::new(), writes: added.clone() };
    let no_go = lease.amend(asked, &arbiter::judge)?;
    drop(lease);
    let conflicts = no_go.map(|n| n.conflicts).unwrap_or_default();
    let added = amend::below(&added, &prefix);
    if conflicts.is_empty() {
        let paths = added.iter().map(|p| p.path.clone()).collect();
        let fact = Fact::ClaimAmended { attempt: parcel.attempt, paths };
        desk.record(Some(&parcel.task.task.id), fact)?;
        show(desk, parcel, &[], &added);
        return Ok(Amended::Go(wish));
    }
    show(desk, parcel, &conflicts, &[]);
    Ok(Amended::NoGo(Some(held_by(&conflicts))))
}

fn held_by(conflicts: &[Conflict]) -> String {
    let one = |c: &Conflict| format!("{} is held by {}/{}", c.path, c.held_by.job, c.held_by.task);
    shown(&conflicts.iter().map(one).collect::<Vec<_>>())
}

/// Adds the verdict to the claim's record. It is for people: one that cannot be written stops nothing.
fn show(desk: &Desk, parcel: &Parcel, conflicts: &[Conflict], added: &[ClaimPath]) {
    let Ok(Some(mut record)) = desk.folder.read_claim(&parcel.task.task.id) else { return };
    let verdict = if conflicts.is_empty() { Verdict::Go } else { Verdict::NoGo };
    let conflicts = conflicts.to_vec();
    record.verdicts.push(VerdictRecord { at: clock::now(), verdict, conflicts });
    record.amended.extend_from_slice(added);
    let _derived = desk.folder.write_claim(&record);
}
