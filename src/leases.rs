//! Floor 2b: owner of a lease folder, `<job>.<task>.<attempt>.json`: one file for each claim that waits and each lease
//! that is held, shared by all roots that work on one repository.
//!
//! Promises: a file is locked before it gets its name and for as long as its claim lives, so a free lock means a dead
//! holder; files appear whole; every judging sees the whole folder under `.lock` and happens one at a time; a dead
//! holder's lease counts as held until someone who has fenced that job buries it. Waiting claims of the dead are swept
//! away by whoever looks, since nothing was ever written under them.
//!
//! Waking: who has to wait watches [`Leases::dir`] and *then* has its claim judged again. A release shows there as a removal; where
//! many are in the way, only who is [near](NoGo::may_have_changed) is judged for it. A holder's death shows as a close after writing,
//! and so does a file that is replaced. The lock of the dead is let go a moment after that hint, so a waiter looks at that lock three
//! times, 10 ms apart, and judges again if it is free; as hints may be lost, now and then without one. Nothing is flushed: leases
//! mean nothing after a power cut, and what that leaves behind is garbage with a free lock.
//!
//! Diagnostics: a file that nobody holds and that cannot be read is set aside as `.bad-<name>`; one that somebody holds
//! fails the judging, since it may stand in the way.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::PROTOCOL_VERSION;
use crate::model::claim::{Claim, Conflict, Holder, LeaseFile, LeaseState};
use crate::os::fsx;
use crate::os::lock::{self, FileLock};
use crate::os::watch::{Change, Hint};

mod lease;
#[cfg(test)]
mod tests;

use lease::Standing;
pub use lease::{Judgement, Lease, NoGo, Pending};

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

/// What a hint can mean for a claim that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It would be judged as before.
    None,
    /// A lease or a claim is gone.
    Release,
    /// Anything may have happened: the kernel lost count, or the folder is not where it was.
    Lost,
    /// This one was closed: its holder has died, and its lock is [free](Leases::is_free) in a moment, or it was only replaced.
    Closed(PathBuf),
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
    /// Opens the folder, making it and the one above it, and clearing away what dead writers left half written.
    ///
    /// # Errors
    /// Those of the system, or a folder whose lock stays held.
    pub fn open(dir: &Path) -> Result<Self> {
        // What the leases belong to is there, or there is nothing to lease.
        dir.parent().map_or(Ok(()), fsx::make_dir)?;
        fsx::make_dir(dir)?;
        let leases = Self { dir: dir.to_owned() };
        let _guard = leases.guard()?;
        fsx::clear_temps(dir)?;
        Ok(leases)
    }

    /// The folder, to be watched.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What a hint of a watch of [`Leases::dir`] can mean for a claim that waits. Every judging touches the folder's lock: who woke for that
    /// would wake everyone else in turn, for ever. Nor does a claim that comes, or is granted, let any other go: where many wait,
    /// each of them would be judged again for each.
    pub fn news(&self, hint: &Hint) -> News {
        if hint.paths.is_empty() || hint.paths.contains(&self.dir) {
            return News::Lost;
        }
        let is_lease = |path: &&PathBuf| {
            path.file_name().is_some_and(|n| n.to_str().is_some_and(is_lease_name))
        };
        let leases: Vec<&PathBuf> = hint.paths.iter().filter(is_lease).collect();
        if hint.change == Change::Removed && !leases.is_empty() {
            return News::Release;
        }
        let closed = leases.first().filter(|_| hint.change == Change::Closed);
        closed.map_or(News::None, |path| News::Closed((*path).clone()))
    }

    /// Whether nobody holds a claim or lease any more whose file seemed to be closed: its holder has died.
    pub fn is_free(path: &Path) -> bool {
        // In this order: the name of what is released goes before the lock.
        lock::is_held(path).is_ok_and(|is_held| !is_held) && path.exists()
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
        // A dead one's name goes first: who waited for that hears of it.
        fsx::remove(&path)?;
        let held = Standing::publish(&path, file)?;
        Ok(Pending::new(self.clone(), path, held))
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

    /// Removes the file of a dead holder; `false` if it lives after all, if somebody has taken up the job since, or if the
    /// file is gone. The caller has fenced that job: nothing of the attempt lives, and what it did has landed or never
    /// will, since a landing is finished under the folder's lock alone ([`Leases::while_standing`]).
    ///
    /// # Errors
    /// A folder whose lock stays held, and those of the system.
    pub fn bury(&self, dead: &LeaseFile, is_worked_on: &dyn Fn() -> bool) -> Result<bool> {
        let _guard = self.guard()?;
        if is_worked_on() { Ok(false) } else { self.unlink_dead(dead) }
    }

    /// Finishes what a dead worker of the caller's own job had begun under a lease, while nobody can be given what it
    /// covers; `None`, and nothing is done, if the lease was buried meanwhile.
    ///
    /// # Errors
    /// A folder whose lock stays held, and those of the system.
    pub fn while_standing<T>(
        &self,
        holder: &Holder,
        attempt: u32,
        finish: impl FnOnce() -> T,
    ) -> Result<Option<T>> {
        let _guard = self.guard()?;
        let found = self.look(&name_of(holder, attempt))?;
        let is_held = matches!(found, Found::Lease(seen) if seen.file.state == LeaseState::Held);
        Ok(is_held.then(finish))
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
    !name.starts_with('.') && Path::new(name).extension() == Some(OsStr::new("json"))
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
