//! `store/holds/`: accounts that are over their limit or cannot log in. All workers read it before every session, so that
//! one refusal is enough.
//!
//! A hold that was lifted stays as one whose time is over: so that who rests since it was written learns that it may go
//! on, and who never had a file to look at (a disk that was full) rests as its own journal says.
//!
//! Diagnostics: a file that cannot be read as a hold counts as none; the next refusal writes it anew.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::model::PROTOCOL_VERSION;
use crate::model::duration::was_ahead;
use crate::model::status::PauseReason;
use crate::os::digest::sha256_hex;
use crate::os::fsx;

/// Longest readable part of a file's name, in bytes.
const SLUG_BYTES: usize = 40;
/// Characters of the digest in a file's name.
const DIGEST_CHARS: usize = 16;

/// Why an account is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldKind {
    /// It is over its limit and refilled some time.
    Limit,
    /// It cannot log in: only a person can help.
    Auth,
}

impl HoldKind {
    /// Why a job rests that would use the account.
    pub fn pauses_for(self) -> PauseReason {
        match self {
            Self::Limit => PauseReason::Limit,
            Self::Auth => PauseReason::Auth,
        }
    }
}

/// One held account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The protocol version that wrote it.
    pub version: u32,
    /// The account: what tells logins apart, such as `CODEX_HOME`, provider and profile.
    pub account: String,
    /// Why.
    pub kind: HoldKind,
    /// When it was written.
    pub at: Timestamp,
    /// Until when; `None` until it is lifted.
    pub until: Option<Timestamp>,
    /// What codex said, in one line.
    pub message: String,
    /// The files of the login as they were then; a hold for want of a login is over when they have changed.
    #[serde(default)]
    pub login: String,
}

impl Hold {
    /// A hold in this version's form.
    pub fn new(account: &str, kind: HoldKind, at: Timestamp, until: Option<Timestamp>) -> Self {
        let (account, message, login) = (account.to_owned(), String::new(), String::new());
        Self { version: PROTOCOL_VERSION, account, kind, at, until, message, login }
    }

    /// Whether its time is not over at that moment; that of one which a clock that was ahead wrote is.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until && !was_ahead(self.at, now))
    }

    /// Whether it holds at that moment the account whose login's files look like this.
    pub fn holds(&self, now: Timestamp, login: &str) -> bool {
        let is_as_it_was = match self.kind {
            HoldKind::Limit => true,
            HoldKind::Auth => self.login == login,
        };
        is_as_it_was && self.is_active(now)
    }
}

/// The folder of holds.
#[derive(Debug, Clone)]
pub struct Holds {
    dir: PathBuf,
}

impl Holds {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(store: &Path) -> Result<Self, StoreError> {
        let dir = store.join("holds");
        fsx::make_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The folder, to be watched by who waits for a hold to be lifted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Holds an account, in place of an earlier hold.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn hold(&self, hold: &Hold) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec_pretty(hold).map_err(std::io::Error::from)?;
        Ok(fsx::put(&self.path_of(&hold.account), &bytes)?)
    }

    /// The hold on an account, expired or not; see [`Hold::is_active`].
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn read(&self, account: &str) -> Result<Option<Hold>, StoreError> {
        Ok(read_hold(&self.path_of(account))?.filter(|hold| hold.account == account))
    }

    /// Every hold, by account.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn all(&self) -> Result<Vec<Hold>, StoreError> {
        let mut holds = Vec::new();
        for name in fsx::list(&self.dir)? {
            if Path::new(&name).extension() == Some(OsStr::new("json")) {
                holds.extend(read_hold(&self.dir.join(name))?);
            }
        }
        holds.sort_by(|a, b| a.account.cmp(&b.account));
        Ok(holds)
    }

    /// Lifts the hold on an account; one that is not held is no error.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn lift(&self, account: &str, now: Timestamp) -> Result<(), StoreError> {
        match self.read(account)?.filter(|hold| hold.is_active(now)) {
            Some(hold) => self.hold(&Hold { until: Some(now), ..hold }),
            None => Ok(()),
        }
    }

    fn path_of(&self, account: &str) -> PathBuf {
        self.dir.join(file_name(account))
    }
}

fn read_hold(path: &Path) -> Result<Option<Hold>, StoreError> {
    let bytes = std::fs::read(path);
    match bytes {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(fsx::at(path)(e).into()),
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
    }
}

/// A readable end of the account's name, since homes differ there, and enough of a digest to tell all accounts apart.
fn file_name(account: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    let slug: String = account.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let slug = &slug[slug.len().saturating_sub(SLUG_BYTES)..];
    let digest = sha256_hex(account.as_bytes());
    format!("{}-{}.json", slug.trim_start_matches('-'), &digest[..DIGEST_CHARS])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().expect("time")
    }

    #[test]
    fn a_hold_is_read_by_everyone_until_it_is_lifted() {
        let dir = tempfile::tempdir().expect("scratch");
        let holds = Holds::open(dir.path()).expect("open");
        let now = moment("2026-01-01T00:00:00Z");
        let until = Some(moment("2026-01-02T03:04:05Z"));
        let limit = Hold::new("/srv/a/.codex", HoldKind::Limit, now, until);
        let auth = Hold::new("/srv/a/.codex|p", HoldKind::Auth, now, None);
        holds.hold(&limit).expect("hold");
        holds.hold(&auth).expect("hold");
        let other = Holds::open(dir.path()).expect("open");
        assert_eq!(other.read("/srv/a/.codex").expect("read"), Some(limit.clone()));
        assert_eq!(other.all().expect("all"), [limit.clone(), auth.clone()]);
        for (account, at) in
            [("/srv/a/.codex", now), ("/srv/a/.codex", moment("2026-01-02T00:00:00Z")), ("b", now)]
        {
            other.lift(account, at).expect("lift");
        }
        let lifted = Hold { until: Some(now), ..limit };
        assert_eq!(other.read("/srv/a/.codex").expect("read"), Some(lifted), "lifted once");
        assert_eq!(other.read("b").expect("read"), None);
        let held: Vec<Hold> = holds.all().expect("all");
        assert_eq!(held.into_iter().filter(|h| h.is_active(now)).collect::<Vec<_>>(), [auth]);
    }

    #[test]
    fn a_hold_ends_at_its_time_or_with_another_login_or_never_by_itself() {
        use HoldKind::{Auth, Limit};
        for (kind, until, now, login, expected) in [
            (Limit, Some("2026-01-02T00:00:00Z"), "2026-01-01T23:59:59Z", "old", true),
            (Limit, Some("2026-01-02T00:00:00Z"), "2026-01-01T23:59:59Z", "new", true),
            (Limit, Some("2026-01-02T00:00:00Z"), "2026-01-02T00:00:00Z", "old", false),
            (Limit, Some("2026-01-02T00:00:00Z"), "2025-12-31T00:00:00Z", "old", false),
            (Auth, None, "9000-01-01T00:00:00Z", "old", true),
            (Auth, None, "2026-01-02T00:00:00Z", "new", false),
            (Auth, Some("2026-01-02T00:00:00Z"), "2026-01-02T00:00:00Z", "old", false),
        ] {
            let at = moment("2026-01-01T00:00:00Z");
            let hold = Hold::new("a", kind, at, until.map(moment));
            let hold = Hold { login: "old".to_owned(), ..hold };
            assert_eq!(hold.holds(moment(now), login), expected, "{hold:?} {now} {login}");
        }
    }

    #[test]
    fn any_account_has_a_file_name_of_its_own() {
        let long = "x/".repeat(500);
        let accounts = ["", "a/b", "a-b", "../../etc", "\u{e4}\u{f6}", &long, &format!("{long}y")];
        let names: std::collections::BTreeSet<_> = accounts.map(file_name).into();
        assert_eq!(names.len(), accounts.len(), "{names:?}");
        assert!(names.iter().all(|n| n.len() < 100 && !n.contains('/') && !n.starts_with('.')));
    }

    #[test]
    fn a_broken_hold_counts_as_none() {
        let dir = tempfile::tempdir().expect("scratch");
        let holds = Holds::open(dir.path()).expect("open");
        fsx::put(&holds.path_of("a"), b"{").expect("put");
        assert_eq!(holds.read("a").expect("read"), None);
        assert_eq!(holds.all().expect("all"), []);
    }
}
