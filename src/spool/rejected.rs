//! `rejected/`: files that were not accepted, each with its reason beside it. It is never emptied; a file leaves it when
//! somebody drops it once more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::across::is_across;
use super::entry::numbered;
use super::{Place, Spool, may_be_taken};
use crate::model::rejection::{Reason, Rejection};
use crate::os::{fsx, random};

/// How many numbers are tried for a name that is taken, before chance decides.
const NUMBERED_NAMES: u32 = 100;
/// How the name of a reason ends.
const REASON: &str = ".reason.json";

impl Spool {
    /// Puts a file that is not accepted aside, with the reason beside it; returns the name it has there. What cannot be
    /// renamed there stays in `incoming/` under a name that is never taken, and its reason says so.
    ///
    /// The reason is written first, so that whoever finds the file finds its reason.
    ///
    /// # Errors
    /// `NotFound` if the file is gone; otherwise those of the system.
    pub fn reject(
        &self,
        from: &Path,
        original_name: &OsStr,
        reason: &Reason,
        now: Timestamp,
    ) -> Result<OsString> {
        let rejection = Rejection {
            code: reason.code,
            message: reason.message.clone(),
            hint: reason.hint.clone(),
            at: now,
            original_name: original_name.to_string_lossy().into_owned(),
            kept_as: None,
        };
        for number in 1..=NUMBERED_NAMES {
            let name = numbered(original_name, number);
            if let Some(name) = self.put_aside(from, &name, &rejection)? {
                return Ok(name);
            }
        }
        let name = numbered(OsStr::new(&random::base32(26)?), 1);
        self.put_aside(from, &name, &rejection)?
            .ok_or_else(|| fsx::at(from)(Error::from(ErrorKind::AlreadyExists)))
    }

    /// Drops a rejected file once more, under the name that it had: the file goes first, then its reason, so that whoever dies in
    /// between leaves a reason without a file. Gives back its name in `incoming/`.
    ///
    /// # Errors
    /// `NotFound` if no file of that name was rejected, `AlreadyExists` if another one lies in `incoming/`; otherwise those of the
    /// system.
    pub fn drop_again(&self, name: &OsStr) -> Result<OsString> {
        let (target, beside) = self.rejected(name);
        let reason = fsx::read_optional(&beside)?.unwrap_or_default();
        let reason: Option<Rejection> = serde_json::from_str(&reason).ok();
        let was = reason.as_ref().map(|r| OsString::from(&r.original_name));
        let is_name = |name: &OsString| may_be_taken(name) && !name.to_string_lossy().contains('/');
        let new = was.filter(is_name).unwrap_or_else(|| name.to_owned());
        let from = match reason.and_then(|r| r.kept_as) {
            Some(_) => self.kept_in_incoming(name),
            None => target,
        };
        fsx::move_to(&from, &self.folder(Place::Incoming).join(&new))?;
        fsx::remove(&beside)?;
        Ok(new)
    }

    /// The files that were not accepted: the name of each, and where its reason is. One of which somebody took the file, or the
    /// reason, counts as well.
    ///
    /// # Errors
    /// Those of the system.
    pub fn rejections(&self) -> Result<Vec<(OsString, PathBuf)>> {
        let names = fsx::list_os(&self.folder(Place::Rejected))?;
        let whole = names.iter().filter(|name| !name.as_bytes().starts_with(b"."));
        let all: BTreeSet<&OsString> = whole.collect();
        let has_reason = |name: &OsString| {
            let reason = OsString::from_vec([name.as_bytes(), REASON.as_bytes()].concat());
            all.contains(&reason)
        };
        let files: BTreeMap<OsString, PathBuf> = all
            .iter()
            .map(|name| {
                // A file may be called like the reason of another.
                let is_file = has_reason(name);
                let name =
                    if is_file { (*name).clone() } else { Self::rejected_name(name.as_ref()) };
                let (_, reason) = self.rejected(&name);
                (name, reason)
            })
            .collect();
        Ok(files.into_iter().collect())
    }

    /// The name of the rejected file that this is, or whose reason this is.
    pub fn rejected_name(path: &Path) -> OsString {
        let name = path.file_name().unwrap_or_default();
        let bytes = name.as_bytes();
        OsStr::from_bytes(bytes.strip_suffix(REASON.as_bytes()).unwrap_or(bytes)).to_owned()
    }

    /// Where a rejected file of this name lies, and its reason.
    fn rejected(&self, name: &OsStr) -> (PathBuf, PathBuf) {
        let target = self.folder(Place::Rejected).join(name);
        let mut beside = name.to_owned();
        beside.push(REASON);
        let beside = target.with_file_name(beside);
        (target, beside)
    }

    fn put_aside(&self, from: &Path, name: &OsStr, why: &Rejection) -> Result<Option<OsString>> {
        let (target, beside) = self.rejected(name);
        if exists(&target) {
            return Ok(None);
        }
        match fsx::put_new(&beside, &to_json(why)?) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(None),
            result => result?,
        }
        let kept = self.kept_in_incoming(name);
        let moved = match fsx::move_to(from, &target) {
            Err(e) if is_across(&e) => {
                let kept_as = Some(kept.to_string_lossy().into_owned());
                fsx::put(&beside, &to_json(&Rejection { kept_as, ..why.clone() })?)
                    .and_then(|()| fsx::move_to(from, &kept))
            }
            moved => moved,
        };
        match moved {
            Ok(()) => Ok(Some(name.to_owned())),
            // A rename whose flush failed has been made: then the reason is that file's.
            Err(e) if !exists(from) && (exists(&target) || exists(&kept)) => Err(e),
            Err(e) => {
                fsx::remove(&beside)?;
                if e.kind() == ErrorKind::AlreadyExists { Ok(None) } else { Err(e) }
            }
        }
    }
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::root::Root;

    #[test]
    fn a_file_that_is_called_like_a_reason_is_one_rejection() {
        let dir = tempfile::tempdir().expect("scratch");
        let spool = Spool::of(&Root::new(dir.path()));
        let folder = spool.folder(Place::Rejected);
        fsx::make_dirs(&folder).expect("made");
        for (names, expected) in [
            (vec!["x.reason.json"], vec!["x"]),
            (vec!["x.reason.json.reason.json"], vec!["x.reason.json"]),
            (vec!["y"], vec!["x.reason.json", "y"]),
            (vec!["x"], vec!["x", "x.reason.json", "y"]),
        ] {
            for name in names {
                fsx::put_mark(&folder.join(name)).expect("put");
            }
            let found: Vec<OsString> =
                spool.rejections().expect("read").into_iter().map(|(name, _)| name).collect();
            assert_eq!(found, expected);
        }
    }
}
