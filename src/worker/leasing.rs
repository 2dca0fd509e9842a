//! From a claim to a lease: a place in the queue, a watch on the folder, and judging again whenever something there ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::desk::{Desk, Outcome, Stop, aside, bug};
use super::stuck::Stuck;
use crate::codex::ask::told_to_stop;
use crate::codex::fence;
use crate::leases::{Judgement, Lease, LeaseError, Leases, News, NoGo, Pending};
use crate::logic::arbiter;
use crate::logic::claims::from_top;
use crate::model::claim::{
    Claim, ClaimRecord, Conflict, Holder, LeaseFile, Verdict, VerdictRecord,
};
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::outcome::Failure;
use crate::model::root::Root;
use crate::os::clock;
use crate::os::watch::{Hint, Watch};
use crate::runs::Runs;

/// Time after which a waiting claim is judged again although nothing woke it.
const RESCAN: Duration = Duration::from_secs(60);
/// The same where the kernel has no watches to give.
const WITHOUT_WATCH: Duration = Duration::from_secs(1);
/// Time after a hint at which a waiting claim is judged once more: the kernel tells of a death before it frees the lock.
const ECHO: Duration = Duration::from_millis(10);
/// How often that is done after one hint.
const ECHOES: u32 = 3;

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
    let (leases, mut pending) = request(desk, &case).await?;
    let mut stop = stop.clone();
    let (mut known, mut ear): (Option<Vec<Conflict>>, Option<Ear>) = (None, None);
    loop {
        let (back, judgement) = aside(move || {
            let judgement = pending.judge(&arbiter::judge);
            (pending, judgement)
        })
        .await?;
        pending = back;
        let nogo = match judgement.map_err(trouble)? {
            Judgement::Go(lease) => {
                granted(desk, &mut case, known.is_some())?;
                return Ok(lease);
            }
            Judgement::NoGo(nogo) => nogo,
        };
        if known.as_ref() != Some(&nogo.conflicts) {
            blocked(desk, &mut case, &nogo.conflicts)?;
            known = Some(nogo.conflicts.clone());
        }
        if bury(&leases, &nogo).await? {
            continue;
        }
        match &mut ear {
            None => ear = Some(Ear::open(&leases)),
            Some(ear) => ear.wait(&nogo, &mut stop).await?,
        }
    }
}

/// What a claim that waits hears of the lease folder.
struct Ear {
    wake: Arc<Notify>,
    /// Whether a holder seems to have died since it was asked last.
    death: Arc<AtomicBool>,
    /// `None` where the kernel has none to give.
    watch: Option<Watch>,
    /// How often it is still judged again soon.
    echoes: u32,
}

impl Ear {
    fn open(leases: &Leases) -> Self {
        let (wake, death) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        // As after a death: a holder may have died before this, and its lock comes free only now.
        Self { watch: watch_folder(leases, &wake, &death), wake, death, echoes: ECHOES }
    }

    /// Waits for a hint; after one of a death, for its echoes as well.
    async fn wait(&mut self, nogo: &NoGo, stop: &mut Stop) -> Outcome<()> {
        for path in &nogo.watch_paths {
            // One that is gone already has left its mark on the folder.
            let _gone = self.watch.as_mut().map(|watch| watch.add(path));
        }
        let rescan = if self.watch.is_some() { RESCAN } else { WITHOUT_WATCH };
        let patience = if self.echoes > 0 { ECHO } else { rescan };
        tokio::select! {
            () = self.wake.notified() => {
                if self.death.swap(false, Ordering::AcqRel) {
                    self.echoes = ECHOES;
                }
            }
            () = tokio::time::sleep(patience) => self.echoes = self.echoes.saturating_sub(1),
            failure = told_to_stop(stop) => return Err(failure),
        }
        Ok(())
    }
}

/// A watch on the lease folder; `None` where the kernel has none to give.
fn watch_folder(leases: &Leases, wake: &Arc<Notify>, death: &Arc<AtomicBool>) -> Option<Watch> {
    let (bell, death) = (wake.clone(), death.clone());
    let ring = move |hint: Hint| {
        let news = Leases::news(&hint);
        if news == News::Death {
            death.store(true, Ordering::Release);
        }
        if news != News::None {
            bell.notify_one();
        }
    };
    let mut watch = Watch::new(ring).ok()?;
    watch.add(leases.dir()).is_ok().then_some(watch)
}

/// Opens the lease folder and takes a place in its queue.
async fn request(desk: &Arc<Desk>, case: &Case<'_>) -> Outcome<(Leases, Pending)> {
    let holder = Holder { job: desk.job.id.clone(), task: case.task.clone() };
    let claim = from_top(case.claim, &desk.lease_prefix()?);
    let (attempt, desk) = (case.attempt, desk.clone());
    let asked = aside(move || {
        let leases = desk.leases()?;
        let root = desk.root.path().to_string_lossy().into_owned();
        let pending = leases.request(holder, attempt, claim, &root);
        Ok((leases, pending.map_err(trouble)?))
    });
    asked.await?
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
                buried |= leases.bury(&lease, &is_worked_on).map_err(trouble)?;
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
