//! Floor 2b: owner of a lease folder, `<job>.<task>.<attempt>.json`: one file for each claim that waits and each lease
//! that is held, shared by all roots that work on one repository.
//!
//! Promises: a file is locked before it gets its name and for as long as its claim lives, so a free lock means a dead
//! holder; files appear whole; every judging sees the whole folder under `.lock` and happens one at a time; a dead
//! holder's lease counts as held until someone who has fenced that job buries it. Waiting claims of the dead are swept
//! away by whoever looks, since nothing was ever written under them.
//!
//! Waking: who waits watches [`Leases::dir`] *before* it has its claim judged. A release shows there as a removal, a
//! holder's death as a close after writing. The lock of the dead is let go a moment after that hint, so a waiter judges
//! again 10 ms later and, as hints may be lost, now and then without one. Nothing is flushed: leases mean nothing after a
//! power cut, and what that leaves behind is garbage with a free lock.
//!
//! Diagnostics: a file that nobody holds and that cannot be read is set aside as `.bad-<name>`; one that somebody holds
//! fails the judging, since it may stand in the way.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::PROTOCOL_VERSION;
use crate::model::claim::{Claim, Conflict, Holder, LeaseFile, LeaseState};
use crate::os::fsx;
use crate::os::lock::{self, FileLock};

/// Longest wait for the folder's lock, which is held for one judging at a time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest lease file that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The function that judges: the claim, all other files of the folder; what stands in the way. Empty means GO.
pub type Judge<'a> = dyn Fn(&LeaseFile, &[LeaseFile]) -> Vec<Conflict> + 'a;

/// What goes wrong in a lease folder. All of it is trouble, to be tried again, never a failure of the task.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Someone sits on the folder's lock.
    #[error("lock {}: held for more than 10 s", .0.display())]
    Busy(PathBuf),
    /// The same attempt of the same task has a living claim already.
    #[error("claim for {job}/{task}: its file {} is held", path.display(), job = holder.job, task = holder.task)]
    Taken {
        /// Whose claim.
        holder: Holder,
        /// The file.
        path: PathBuf,
    },
    /// A living process holds a file that this program cannot read; a newer program may have written it.
    #[error("read the lease {}, which a living process holds", .0.display())]
    Unreadable(PathBuf),
    /// The claim was granted before, or its file was taken away.
    #[error("judge {}: it is no longer a waiting claim", .0.display())]
    NotWaiting(PathBuf),
}

type Result<T> = std::result::Result<T, LeaseError>;

/// A lease folder.
#[derive(Debug, Clone)]
pub struct Leases {
    dir: PathBuf,
}

/// A file of the folder, and whether the process that wrote it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it says.
    pub file: LeaseFile,
    /// Whether its lock is held.
    pub is_alive: bool,
}

/// What a look at the folder found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every claim and lease, oldest first.
    pub seen: Vec<Seen>,
    /// Garbage that nobody holds, under its present name.
    pub garbage: Vec<PathBuf>,
}

impl Leases {
    /// Opens the folder, making it and clearing away what dead writers left half written.
    ///
    /// # Errors
    /// Those of the system, or a folder whose lock stays held.
    pub fn open(dir: &Path) -> Result<Self> {
        fsx::make_dirs(dir)?;
        let leases = Self { dir: dir.to_owned() };
        let _guard = leases.guard()?;
        fsx::clear_temps(dir)?;
        Ok(leases)
    }

    /// The folder, to be watched.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether paths that a watch of [`Leases::dir`] hinted at can mean that a claim would be judged otherwise now. Every
    /// judging touches the folder's lock: who woke for that would wake everyone else in turn, for ever.
    pub fn is_news(hinted: &[PathBuf]) -> bool {
        let name = |path: &PathBuf| {
            path.file_name().is_some_and(|n| n.to_str().is_some_and(is_lease_name))
        };
        hinted.is_empty() || hinted.iter().any(name)
    }

    /// Puts a claim into the queue, behind all that are there. A dead file of the very same attempt is replaced: the
    /// caller is that job's one worker and has fenced what went before.
    ///
    /// # Errors
    /// A living claim of the same attempt, a folder whose lock stays held, and those of the system.
    pub fn request(
        &self,
        holder: Holder,
        attempt: u32,
        claim: Claim,
        root: &str,
    ) -> Result<Pending> {
        let _guard = self.guard()?;
        let path = self.path_of(&holder, attempt);
        if lock::is_held(&path)? {
            return Err(LeaseError::Taken { holder, path });
        }
        let newest = self.survey()?.seen.iter().map(|s| s.file.ticket).max().unwrap_or(0);
        let file = LeaseFile {
            version: PROTOCOL_VERSION,
            holder,
            attempt,
            ticket: newest.saturating_add(1),
            state: LeaseState::Waiting,
            claim,
            root: root.to_owned(),
        };
        let held = Standing::publish(&path, file)?;
        Ok(Pending { leases: self.clone(), path, standing: Some(held) })
    }

    /// Everything in the folder, for whoever wants to show it. Garbage that nobody holds is set aside.
    ///
    /// # Errors
    /// A file that cannot be read but is held, and those of the system.
    pub fn survey(&self) -> Result<Survey> {
        let mut survey = Survey::default();
        for name in fsx::list(&self.dir)? {
            if !is_lease_name(&name) {
                continue;
            }
            match self.look(&name)? {
                Found::Lease(seen) => survey.seen.push(seen),
                Found::Garbage(path) => survey.garbage.push(path),
                Found::Nothing => {}
            }
        }
        survey.seen.sort_by_key(|s| s.file.ticket);
        Ok(survey)
    }

    /// Removes the file of a dead holder; `false` if it lives after all or the file is gone. The caller has fenced that
    /// job: nothing of the attempt lives, and what it did has landed or never will.
    ///
    /// # Errors
    /// A folder whose lock stays held, and those of the system.
    pub fn bury(&self, dead: &LeaseFile) -> Result<bool> {
        let _guard = self.guard()?;
        self.unlink_dead(dead)
    }

    /// Removes exactly this file: a later claim of the same attempt, dead or alive, is another matter.
    fn unlink_dead(&self, dead: &LeaseFile) -> Result<bool> {
        let name = name_of(&dead.holder, dead.attempt);
        match self.look(&name)? {
            Found::Lease(seen) if !seen.is_alive && seen.file == *dead => {
                fsx::remove(&self.dir.join(name))?;
                Ok(true)
            }
            Found::Lease(_) | Found::Garbage(_) | Found::Nothing => Ok(false),
        }
    }

    fn path_of(&self, holder: &Holder, attempt: u32) -> PathBuf {
        self.dir.join(name_of(holder, attempt))
    }

    fn guard(&self) -> Result<FileLock> {
        let path = self.dir.join(".lock");
        let lock = FileLock::acquire(&path, PATIENCE)?;
        lock.filter(FileLock::is_current).ok_or(LeaseError::Busy(path))
    }

    fn look(&self, name: &str) -> Result<Found> {
        let path = self.dir.join(name);
        let bytes = match read_regular(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(e) if e.kind() == ErrorKind::InvalidData => return self.set_aside(name),
            bytes => bytes?,
        };
        let is_alive = lock::is_held(&path)?;
        if !is_alive && !path.exists() {
            // Let go while we looked: the name goes before the lock, so a free lock under a name is a death.
            return Ok(Found::Nothing);
        }
        let file = serde_json::from_slice::<LeaseFile>(&bytes).ok();
        let fits = |f: &LeaseFile| self.path_of(&f.holder, f.attempt) == path;
        match file.filter(fits) {
            Some(file) => Ok(Found::Lease(Seen { file, is_alive })),
            None if is_alive => Err(LeaseError::Unreadable(path)),
            None => self.set_aside(name),
        }
    }

    fn set_aside(&self, name: &str) -> Result<Found> {
        let aside = self.dir.join(format!(".bad-{name}"));
        match fsx::rename_derived(&self.dir.join(name), &aside) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
            renamed => Ok(renamed.map(|()| Found::Garbage(aside))?),
        }
    }

    /// The other files as they count for a judging, waiting claims of the dead swept away.
    fn others(&self, own: &Path) -> Result<Vec<Seen>> {
        let mut others = Vec::new();
        for seen in self.survey()?.seen {
            if self.path_of(&seen.file.holder, seen.file.attempt) == own {
                continue;
            }
            if !seen.is_alive && seen.file.state == LeaseState::Waiting {
                self.unlink_dead(&seen.file)?;
            } else {
                others.push(seen);
            }
        }
        Ok(others)
    }
}

fn name_of(holder: &Holder, attempt: u32) -> String {
    format!("{}.{}.{attempt}.json", holder.job, holder.task)
}

/// Whether a name is that of a claim or lease, and not of a lock, a half-written file or garbage.
fn is_lease_name(name: &str) -> bool {
    !name.starts_with('.') && name.ends_with(".json")
}

/// Reads a lease file; `InvalidData` if a link, a folder or a FIFO lies in its place. Whatever else goes wrong is an
/// error, so that trouble with reading is never taken for garbage.
fn read_regular(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(fsx::read_bounded(path, MAX_BYTES)?.unwrap_or_default())
}

enum Found {
    Lease(Seen),
    Garbage(PathBuf),
    Nothing,
}

/// A file of our own in the folder, with its lock. Dropping it takes the file away.
///
/// It is taken away without the folder's lock, so that letting go never waits: a judging that runs at the same time
/// sees it or does not, and in both cases the removal wakes who waits.
#[derive(Debug)]
struct Standing {
    file: LeaseFile,
    lock: FileLock,
}

impl Standing {
    /// Writes, locks, then names; the caller holds the folder's lock.
    fn publish(path: &Path, file: LeaseFile) -> Result<Self> {
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
    /// The files of the living ones in the way.
    pub watch_paths: Vec<PathBuf>,
}

impl Pending {
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
    let dead = dead.into_iter().map(|seen| seen.file.clone()).collect();
    let path = |seen: &Seen| leases.path_of(&seen.file.holder, seen.file.attempt);
    let watch_paths = alive.into_iter().map(path).collect();
    Some(NoGo { conflicts, dead, watch_paths })
}

/// A granted claim. Dropping it releases it.
#[derive(Debug)]
pub struct Lease {
    leases: Leases,
    standing: Standing,
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

    /// Lets go: the file is taken away, then its lock.
    ///
    /// # Errors
    /// Those of the system; the lease then counts as a dead holder's.
    pub fn release(self) -> Result<()> {
        self.standing.withdraw()
    }
}

#[cfg(test)]
mod tests;
