//! Before a root is worked on: whether its folders are its user's alone, and what they lie on keeps what is written.
//!
//! Diagnostics: what lets others change the queue, or makes locks and renames worth nothing, is an error, unless the
//! operator has said `trust_root`; what only loses the root with the machine is told.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::RootError;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::lock::FileLock;
use crate::os::mount::{Ground, Rights, ground, open_ancestor};
use crate::os::{env, fsx, reserve};
use crate::spool::{Place, Spool};

/// Folders that are emptied by themselves.
const CLEANED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Looks at a root that is there; gives back what its user should know.
///
/// # Errors
/// Why nothing should be worked on in it.
pub fn preflight(root: &Root, settings: &Settings) -> Result<Vec<String>, RootError> {
    let volumes = [root.spool(), root.runs(), root.store()];
    let mut told = Vec::new();
    if !settings.trust_root {
        let places = [Place::Claimed, Place::Done, Place::Failed, Place::Killed, Place::Rejected];
        let spool = Spool::of(root);
        let own = volumes.iter().cloned().chain(places.map(|place| spool.folder(place)));
        // The root may be named by a link, but nobody else may turn that link elsewhere.
        own.chain([root.path().canonicalize()?]).try_for_each(|folder| is_private(&folder))?;
        is_lasting(root.path())?;
        volumes.iter().try_for_each(|folder| keeps_promises(folder))?;
    }
    told.extend(lasts(root.path(), &volumes)?);
    told.extend(who_may_drop(&Spool::of(root).folder(Place::Incoming), settings)?);
    if env::own_uid() == 0 {
        told.push("running as root: every job runs as root, too".to_owned());
    }
    Ok(told)
}

fn refuse(folder: &Path, why: String) -> RootError {
    RootError::Unsafe { folder: folder.to_owned(), why }
}

/// A folder that nobody else can change, nor put another in its place. Root is told who owns its folders by nobody: in
/// containers that is often somebody else.
fn is_private(folder: &Path) -> Result<(), RootError> {
    let rights = Rights::of(folder)?;
    let uid = env::own_uid();
    if !rights.is_folder {
        return Err(refuse(folder, "it is no folder, or a link to one".to_owned()));
    }
    if uid != 0 && rights.uid != uid {
        return Err(refuse(folder, format!("it belongs to user {}, not to {uid}", rights.uid)));
    }
    if rights.group_writes() || rights.all_write() {
        let why =
            format!("others may write in it (mode {:04o}); chmod go-w makes it safe", rights.mode);
        return Err(refuse(folder, why));
    }
    is_lasting(folder)
}

/// A path that nobody else can put something else at.
fn is_lasting(folder: &Path) -> Result<(), RootError> {
    let Some(above) = open_ancestor(folder) else { return Ok(()) };
    let why = format!("anybody may replace it, since anybody may write in {}", above.display());
    Err(refuse(folder, why))
}

/// Locks exclude, folders can be flushed, and the file system is one where both mean something.
fn keeps_promises(folder: &Path) -> Result<(), RootError> {
    if let Ground::Foreign(name) = ground(folder)? {
        let why =
            format!("it lies on {name}, where locks, renames and flushes cannot be relied on");
        return Err(refuse(folder, why));
    }
    let probe = fsx::temp_beside(&folder.join("preflight"))?;
    let both = (FileLock::try_acquire(&probe), FileLock::try_acquire(&probe));
    // Where it could not be made it need not go, and a disk that is read-only would say no to that first.
    if both.0.is_ok() {
        fsx::remove(&probe)?;
    }
    match both {
        (Ok(Some(_held)), Ok(None)) => Ok(fsx::sync_dir(folder)?),
        // A full disk is for the daemon to wait on.
        (Err(e), _) if reserve::is_for_want_of_room(&e) => Ok(()),
        (Err(e), _) if e.kind() == ErrorKind::ReadOnlyFilesystem => {
            let why = "it is mounted read-only; mount it for writing";
            Err(fsx::at(folder)(Error::new(e.kind(), why)).into())
        }
        (Err(e), _) | (_, Err(e)) => Err(e.into()),
        _ => Err(refuse(folder, "locks (flock) do not exclude anybody there".to_owned())),
    }
}

/// What is lost without anybody deleting it.
fn lasts(root: &Path, volumes: &[PathBuf]) -> Result<Option<String>, Error> {
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    if let Some(cleaned) = CLEANED.iter().find(|dir| real.starts_with(dir)) {
        return Ok(Some(format!("the root lies in {cleaned}, which is emptied by itself")));
    }
    for folder in volumes {
        let goes_with = match ground(folder)? {
            Ground::Memory => "the memory: it goes with the power",
            Ground::Overlay => "a container's own layer: it goes with the container",
            Ground::Local | Ground::Foreign(_) => continue,
        };
        return Ok(Some(format!("{} lies in {goes_with}", folder.display())));
    }
    Ok(None)
}

/// Whoever may drop a file runs code as this user.
fn who_may_drop(incoming: &Path, settings: &Settings) -> Result<Option<String>, RootError> {
    let rights = Rights::of(incoming)?;
    if !rights.is_folder {
        return Err(refuse(incoming, "it is no folder, or a link to one".to_owned()));
    }
    let uid = env::own_uid();
    let is_open = rights.group_writes() || rights.all_write();
    let users = settings.droppers(uid, rights.uid);
    if !is_open && users.iter().all(|user| *user == uid || *user == 0) {
        return Ok(None);
    }
    let users: Vec<String> = users.iter().map(u32::to_string).collect();
    let writers = if rights.all_write() {
        "everybody may write there".to_owned()
    } else if rights.group_writes() {
        format!("group {} may write there", rights.gid)
    } else {
        format!("user {} may write there", rights.uid)
    };
    let users = users.join(", ");
    Ok(Some(format!(
        "these uids can run code as uid {uid} by dropping files into {}: {users} ({writers})",
        incoming.display()
    )))
}
