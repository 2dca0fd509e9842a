//! A claim's own file in the lease folder, from its place in the queue to its release.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Judge, LeaseError, Leases, Result, Seen, read_regular};
use crate::model::claim::{Claim, Conflict, LeaseFile, LeaseState};
use crate::os::fsx;
use crate::os::lock::FileLock;

/// A file of our own in the folder, with its lock. Dropping it takes the file away.
///
/// It is taken away without the folder's lock, so that letting go never waits: a judging that runs at the same time
/// sees it or does not, and in both cases the removal wakes who waits and is near.
#[derive(Debug)]
pub(super) struct Standing {
    file: LeaseFile,
    pub(super) lock: FileLock,
}

impl Standing {
    /// Writes, locks, then names; the caller holds the folder's lock.
    pub(super) fn publish(path: &Path, file: LeaseFile) -> Result<Self> {
        let temp = fsx::temp_beside(path)?;
        let mut open = fsx::create_new(&temp)?;
        open.write_all(&serde_json::to_vec(&file).map_err(std::io::Error::from)?)
            .map_err(fsx::at(&temp))?;
        let lock = FileLock::adopt(open, path)?.ok_or_else(|| LeaseError::Busy(temp.clone()))?;
        fsx::rename_derived(&temp, path)?;
        Ok(Self { file, lock })
    }

    /// The same file with another content, in one step for every reader.
    fn replace(&mut self, file: LeaseFile) -> Result<()> {
        let path = self.lock.path().to_owned();
        *self = Self::publish(&path, file)?;
        Ok(())
    }

    fn withdraw(&self) -> Result<()> {
        if self.lock.is_current() { Ok(fsx::remove(self.lock.path())?) } else { Ok(()) }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // What cannot be removed has a free lock in a moment, and is buried as a dead holder's.
        drop(self.withdraw());
    }
}

/// A claim that waits, in its place in the queue. Dropping it withdraws the claim.
#[derive(Debug)]
pub struct Pending {
    leases: Leases,
    path: PathBuf,
    standing: Option<Standing>,
}

/// The outcome of a judging.
#[derive(Debug)]
pub enum Judgement {
    /// The claim is a lease now.
    Go(Lease),
    /// It keeps its place and waits.
    NoGo(NoGo),
}

/// Why a claim has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoGo {
    /// Each path that cannot be had, and who stands in the way.
    pub conflicts: Vec<Conflict>,
    /// Of those in the way, the leases of dead holders: fence the job, then [`Leases::bury`].
    pub dead: Vec<LeaseFile>,
    /// The files of the living ones in the way, and of the dead.
    in_way: Vec<Mark>,
    graves: Vec<Mark>,
    /// The claim's own.
    own: Mark,
}

/// Claims and leases in the way of one that is judged again whenever one of them goes, and says for whom it waits now; as long as more
/// are there it is not: where many want the same, each that goes would have each of the others judged, by a look at them all.
const FEW: usize = 8;

impl NoGo {
    /// The files of those in the way that may have died by now: all holders, and claims that wait where those are few. A dead claim is
    /// swept away by whoever looks, and with many in the way somebody else does.
    pub fn doubtful(&self) -> impl Iterator<Item = &Path> {
        let are_few = self.in_way.len() <= FEW;
        self.in_way
            .iter()
            .filter(move |mark| mark.is_held || are_few)
            .map(|mark| mark.path.as_path())
    }

    /// Whether the claim may be judged otherwise by now, though nobody in its way has died since: also where a dead one was buried, by
    /// whomever, or its own file is gone.
    pub fn may_have_changed(&self) -> bool {
        if !self.own.stands() || !self.graves.iter().all(Mark::stands) {
            return true;
        }
        let standing = self.in_way.iter().filter(|mark| mark.stands()).take(FEW + 1).count();
        standing <= FEW && standing < self.in_way.len()
    }
}

/// One claim in its place, or the lease that it became: who comes again under that name has another ticket, or waits again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    path: PathBuf,
    ticket: u64,
    is_held: bool,
}

impl Mark {
    fn stands(&self) -> bool {
        let file = read_regular(&self.path).ok();
        let file: Option<LeaseFile> = file.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let is_it = |file: &LeaseFile| {
            file.ticket == self.ticket && (file.state == LeaseState::Held || !self.is_held)
        };
        file.as_ref().is_some_and(is_it)
    }
}

impl Pending {
    pub(super) fn new(leases: Leases, path: PathBuf, standing: Standing) -> Self {
        Self { leases, path, standing: Some(standing) }
    }

    /// Whose claim it is and its place in the queue; `None` once it was granted.
    pub fn file(&self) -> Option<&LeaseFile> {
        self.standing.as_ref().map(|s| &s.file)
    }

    /// Has the claim judged against the folder as it is now. An error leaves it in its place.
    ///
    /// # Errors
    /// Those of [`Leases::survey`], a folder whose lock stays held, a claim that was granted already.
    pub fn judge(&mut self, judge: &Judge<'_>) -> Result<Judgement> {
        let _guard = self.leases.guard()?;
        let gone = || LeaseError::NotWaiting(self.path.clone());
        let mut standing = self.standing.take_if(|s| s.lock.is_current()).ok_or_else(gone)?;
        let judged = self.leases.others(&self.path).and_then(|others| {
            let no_go = judged(&self.leases, judge, &standing.file, &others);
            if no_go.is_none() {
                standing.replace(LeaseFile { state: LeaseState::Held, ..standing.file.clone() })?;
            }
            Ok(no_go)
        });
        match judged {
            Ok(None) => Ok(Judgement::Go(Lease { leases: self.leases.clone(), standing })),
            Ok(Some(no_go)) => {
                self.standing = Some(standing);
                Ok(Judgement::NoGo(no_go))
            }
            Err(error) => {
                self.standing = Some(standing);
                Err(error)
            }
        }
    }
}

/// The judge's word; `None` is GO.
fn judged(leases: &Leases, judge: &Judge<'_>, claim: &LeaseFile, others: &[Seen]) -> Option<NoGo> {
    let files: Vec<LeaseFile> = others.iter().map(|seen| seen.file.clone()).collect();
    let conflicts = judge(claim, &files);
    if conflicts.is_empty() {
        return None;
    }
    let is_in_way = |seen: &&Seen| conflicts.iter().any(|c| c.held_by == seen.file.holder);
    let (alive, dead): (Vec<&Seen>, Vec<&Seen>) =
        others.iter().filter(is_in_way).partition(|seen| seen.is_alive);
    let mark = |file: &LeaseFile| Mark {
        path: leases.path_of(&file.holder, file.attempt),
        ticket: file.ticket,
        is_held: file.state == LeaseState::Held,
    };
    let marks = |all: &[&Seen]| all.iter().map(|seen| mark(&seen.file)).collect();
    let (in_way, graves, own) = (marks(&alive), marks(&dead), mark(claim));
    let dead = dead.into_iter().map(|seen| seen.file.clone()).collect();
    Some(NoGo { conflicts, dead, in_way, graves, own })
}

/// A granted claim. Dropping it releases it.
#[derive(Debug)]
pub struct Lease {
    leases: Leases,
    pub(super) standing: Standing,
}

impl Lease {
    /// What was granted.
    pub fn file(&self) -> &LeaseFile {
        &self.standing.file
    }

    /// Adds paths to the lease if no other lease stands in the way; `Some` leaves it as it was. Meant for the moment of
    /// landing: it never waits, and waiting claims do not count, since they hold nothing and the lease is about to end.
    ///
    /// # Errors
    /// Those of [`Leases::survey`], and a folder whose lock stays held.
    pub fn amend(&mut self, added: Claim, judge: &Judge<'_>) -> Result<Option<NoGo>> {
        let _guard = self.leases.guard()?;
        let others = self.leases.others(self.standing.lock.path())?;
        let mut wider = self.standing.file.clone();
        let wish = LeaseFile { claim: added, ticket: 0, ..wider.clone() };
        let no_go = judged(&self.leases, judge, &wish, &others);
        if no_go.is_none() {
            wider.claim.reads.extend(wish.claim.reads);
            wider.claim.writes.extend(wish.claim.writes);
            self.standing.replace(wider)?;
        }
        Ok(no_go)
    }

    /// Whether it still stands in the folder: somebody may have taken the file away by hand.
    pub fn is_current(&self) -> bool {
        self.standing.lock.is_current()
    }

    /// Lets go: the file is taken away, and with the value its lock.
    ///
    /// # Errors
    /// Those of the system; the lease then counts as a dead holder's.
    pub fn release(&self) -> Result<()> {
        self.standing.withdraw()
    }
}
