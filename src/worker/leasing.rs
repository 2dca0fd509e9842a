//! From a claim to a lease: a place in the queue, a watch on the folder, and judging again whenever something there ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};

use super::desk::{Desk, Outcome, Stop, aside, bug};
use super::stuck::Stuck;
use crate::codex::ask::told_to_stop;
use crate::codex::fence;
use crate::leases::{Judgement, Lease, LeaseError, Leases, News, NoGo, Pending};
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
use crate::os::watch::{Hint, Watch};
use crate::runs::Runs;

/// Time after which a waiting claim is judged again although nothing woke it.
const RESCAN: Duration = Duration::from_secs(60);
/// The same where nothing would wake it: the kernel has no watches to give, or somebody else is to bury a dead holder.
const WITHOUT_WATCH: Duration = Duration::from_secs(1);
/// Time after which it is looked again whether a holder has died that seems to have, or may have before anybody listened: the kernel tells
/// of a death before it frees the lock.
const ECHO: Duration = Duration::from_millis(10);
/// How often that is done.
const ECHOES: u32 = 3;
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
                        None => ear = Some(Ear::open(&leases)),
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

/// What a claim that waits hears of the lease folder.
struct Ear {
    rumours: Arc<Rumours>,
    /// `None` where the kernel has none to give.
    watch: Option<Watch>,
    /// When what was closed is looked at.
    echo: Interval,
    /// How often it is judged again soon without a hint.
    looks: u32,
}

/// What the watch has heard since it was asked last.
#[derive(Default)]
struct Rumours {
    wake: Notify,
    has_release: AtomicBool,
    /// Files that were closed, and how often each is still looked at: its holder has died, or goes on under another file of that name.
    closed: Mutex<BTreeMap<PathBuf, u32>>,
}

impl Rumours {
    fn hear(&self, hint: &Hint) {
        match Leases::news(hint) {
            News::None => return,
            News::Release => self.has_release.store(true, Ordering::Release),
            News::Closed(path) => drop(self.closed().insert(path, ECHOES)),
        }
        self.wake.notify_one();
    }

    fn closed(&self) -> MutexGuard<'_, BTreeMap<PathBuf, u32>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what was closed; whether a holder has died.
    fn has_death(&self) -> bool {
        let mut has_death = false;
        self.closed().retain(|path, looks| {
            let is_free = Leases::is_free(path);
            has_death |= is_free;
            *looks = looks.saturating_sub(1);
            !is_free && *looks > 0
        });
        has_death
    }
}

impl Ear {
    fn open(leases: &Leases) -> Self {
        let rumours = Arc::<Rumours>::default();
        let heard = rumours.clone();
        let watch = Watch::new(move |hint| heard.hear(&hint)).ok();
        let watch = watch.and_then(|mut watch| watch.add(leases.dir()).ok().map(|()| watch));
        let mut echo = tokio::time::interval(ECHO);
        echo.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A holder may have died before this, and its lock comes free only now.
        Self { rumours, watch, echo, looks: ECHOES }
    }

    /// Waits until the claim may be judged otherwise.
    async fn wait(&mut self, nogo: &NoGo, stop: &mut Stop) -> Outcome<()> {
        let patience = if self.looks > 0 { ECHO } else { self.rescan(nogo) };
        self.looks = self.looks.saturating_sub(1);
        // However much is heard meanwhile.
        let again = tokio::time::sleep(patience);
        tokio::pin!(again);
        loop {
            let is_in_doubt = !self.rumours.closed().is_empty();
            tokio::select! {
                () = self.rumours.wake.notified() => {
                    if self.rumours.has_release.swap(false, Ordering::AcqRel) && nogo.may_have_changed() {
                        return Ok(());
                    }
                }
                _ = self.echo.tick(), if is_in_doubt => {
                    if self.rumours.has_death() {
                        return Ok(());
                    }
                }
                () = &mut again => return Ok(()),
                failure = told_to_stop(stop) => return Err(failure),
            }
        }
    }

    /// When it is judged again although nothing was heard: soon where a dead holder could not be buried yet, of which nothing tells.
    fn rescan(&self, nogo: &NoGo) -> Duration {
        let hears = self.watch.is_some() && nogo.dead.is_empty();
        if hears { RESCAN } else { WITHOUT_WATCH }
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
