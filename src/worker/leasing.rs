//! From a claim to a lease: a place in the queue, an ear for the folder, and judging again when what is in the way goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::desk::{Desk, Outcome, Stop, aside, bug};
use super::listening::Ear;
use super::stuck::Stuck;
use crate::codex::fence;
use crate::leases::{Judgement, Lease, LeaseError, Leases, NoGo, Pending};
use crate::logic::arbiter;
use crate::logic::claims::from_top;
use crate::logic::classify;
use crate::model::claim::{
    Claim, ClaimRecord, Conflict, Holder, LeaseFile, Verdict, VerdictRecord,
};
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::outcome::Failure;
use crate::model::root::Root;
use crate::os::clock;
use crate::runs::Runs;

/// How often somebody may sit on the folder's lock for as long as it is waited for, before the attempt is made again.
const MOST_BUSY: u32 = 60;

/// A claim on its way to its lease.
pub(super) struct Case<'a> {
    /// The task.
    pub(super) task: &'a TaskId,
    /// Its attempt.
    pub(super) attempt: u32,
    /// The claim, relative to the workspace.
    pub(super) claim: &'a Claim,
    /// What people see of it.
    pub(super) record: ClaimRecord,
}

/// The lease of an attempt, shared by its lane and its landing, which may widen it.
#[derive(Clone)]
pub(super) struct HeldLease(Arc<Mutex<Lease>>);

impl HeldLease {
    pub(super) fn new(lease: Lease) -> Self {
        Self(Arc::new(Mutex::new(lease)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lease> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the claim is granted. Who has to wait begins to listen and is judged again, so that no release is missed.
pub(super) async fn acquire(desk: &Arc<Desk>, mut case: Case<'_>, stop: &Stop) -> Outcome<Lease> {
    let (leases, mut judged) = request(desk, &case, stop).await?;
    let mut stop = stop.clone();
    let (mut known, mut ear): (Option<Vec<Conflict>>, Option<Ear>) = (None, None);
    let mut busy = 0;
    loop {
        match judged.judgement {
            Err(LeaseError::Busy(_)) if busy < MOST_BUSY => {
                busy += 1;
                still_wanted(&stop)?;
            }
            Err(error) => return Err(trouble(error)),
            Ok(Judgement::Go(lease)) => {
                granted(desk, &mut case, known.is_some())?;
                return Ok(lease);
            }
            Ok(Judgement::NoGo(nogo)) => {
                busy = 0;
                if known.as_ref() != Some(&nogo.conflicts) {
                    blocked(desk, &mut case, &nogo.conflicts)?;
                    known = Some(nogo.conflicts.clone());
                }
                if !bury(&leases, &nogo).await? {
                    match &mut ear {
                        None => ear = Some(Ear::open(&desk.listening, &leases)),
                        Some(ear) => ear.wait(&nogo, &mut stop).await?,
                    }
                }
            }
        }
        let pending = judged.pending;
        judged = aside(move || Judged::of(pending)).await?;
    }
}

/// A claim after a judging.
struct Judged {
    pending: Pending,
    judgement: Result<Judgement, LeaseError>,
}

impl Judged {
    fn of(mut pending: Pending) -> Self {
        let judgement = pending.judge(&arbiter::judge);
        Self { pending, judgement }
    }
}

/// Opens the lease folder, takes a place in its queue and has the claim judged there: mostly it may go.
async fn request(desk: &Arc<Desk>, case: &Case<'_>, stop: &Stop) -> Outcome<(Leases, Judged)> {
    let holder = Holder { job: desk.job.id.clone(), task: case.task.clone() };
    let claim = from_top(case.claim, &desk.lease_prefix()?);
    let (dir, attempt) = (desk.lease_folder()?, case.attempt);
    let root = desk.root.path().to_string_lossy().into_owned();
    for _round in 0..MOST_BUSY {
        let (dir, holder, claim, root) = (dir.clone(), holder.clone(), claim.clone(), root.clone());
        let asked = aside(move || {
            let leases = Leases::open(&dir)?;
            let pending = leases.request(holder, attempt, claim, &root)?;
            Ok((leases, Judged::of(pending)))
        });
        match asked.await? {
            Err(LeaseError::Busy(_)) => still_wanted(stop)?,
            asked => return asked.map_err(trouble),
        }
    }
    Err(trouble(LeaseError::Busy(dir)))
}

/// Whether nobody wants the task to stop.
fn still_wanted(stop: &Stop) -> Outcome<()> {
    let reason = *stop.borrow();
    reason.map_or(Ok(()), |reason| Err(classify::stopped(reason)))
}

/// Fences and buries the leases of dead holders; `true` if one was buried, so that judging again may help.
async fn bury(leases: &Leases, nogo: &NoGo) -> Outcome<bool> {
    if nogo.dead.is_empty() {
        return Ok(false);
    }
    let (leases, dead) = (leases.clone(), nogo.dead.clone());
    aside(move || {
        let mut buried = false;
        for lease in dead {
            let is_worked_on = || is_worked_on(&lease);
            if !is_worked_on() && fence::fence_job(&lease.holder.job).is_empty() {
                buried |= match leases.bury(&lease, &is_worked_on) {
                    // It is judged again soon.
                    Err(LeaseError::Busy(_)) => false,
                    done => done.map_err(trouble)?,
                };
            }
        }
        Ok(buried)
    })
    .await?
}

/// What goes wrong in a lease folder is trouble of the machine: the attempt is made again, and charged to nobody.
fn trouble(error: LeaseError) -> Failure {
    Stuck::from(error).into()
}

/// Whether a new worker has taken up the job of a dead lease: it fences and buries by itself.
fn is_worked_on(lease: &LeaseFile) -> bool {
    Runs::of(&Root::new(&lease.root)).folder(&lease.holder.job).may_be_held()
}

fn blocked(desk: &Desk, case: &mut Case<'_>, conflicts: &[Conflict]) -> Outcome<()> {
    verdict(desk, case, Verdict::NoGo, conflicts)?;
    let fact = Fact::ClaimBlocked { attempt: case.attempt, conflicts: conflicts.to_vec() };
    desk.record(Some(case.task), fact)?;
    // Who waits takes no lane: another task may have it.
    desk.bell.notify_one();
    Ok(())
}

fn granted(desk: &Desk, case: &mut Case<'_>, was_blocked: bool) -> Outcome<()> {
    verdict(desk, case, Verdict::Go, &[])?;
    if was_blocked {
        desk.record(Some(case.task), Fact::ClaimUnblocked { attempt: case.attempt })?;
    }
    desk.record(Some(case.task), Fact::ClaimApproved { attempt: case.attempt })
}

fn verdict(
    desk: &Desk,
    case: &mut Case<'_>,
    verdict: Verdict,
    conflicts: &[Conflict],
) -> Outcome<()> {
    let conflicts = conflicts.to_vec();
    case.record.verdicts.push(VerdictRecord { at: clock::now(), verdict, conflicts });
    desk.folder.write_claim(&case.record).map_err(|e| bug(e.to_string()))
}
