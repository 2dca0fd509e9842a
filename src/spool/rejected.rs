//! `rejected/`: files that were not accepted, each with its reason beside it. It is never emptied.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use jiff::Timestamp;

use super::across::is_across;
use super::entry::numbered;
use super::{Place, Spool};
use crate::model::rejection::{Reason, Rejection};
use crate::os::{fsx, random};

/// How many numbers are tried for a name that is taken, before chance decides.
const NUMBERED_NAMES: u32 = 100;

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

    fn put_aside(&self, from: &Path, name: &OsStr, why: &Rejection) -> Result<Option<OsString>> {
        let target = self.folder(Place::Rejected).join(name);
        if exists(&target) {
            return Ok(None);
        }
        let mut beside = name.to_owned();
        beside.push(".reason.json");
        let beside = target.with_file_name(beside);
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
