//! The account that a session spends from: what tells logins apart. A refusal holds it for everyone
//! ([`crate::store::holds`]), and everyone asks here before anything is started.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::logic::classify;
use crate::logic::retry;
use crate::model::outcome::{Failure, FailureKind};
use crate::model::status::PauseReason;
use crate::os::fsx;
use crate::store::holds::{Hold, HoldKind, Holds};

/// Codex's own provider, where its settings name none.
pub(super) const USUAL_PROVIDER: &str = "openai";

/// An account of codex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    home: PathBuf,
    profile: Option<String>,
    name: String,
}

impl Account {
    /// The account that sessions with this home and profile use: home, provider and profile in one text.
    pub fn of(home: &Path, profile: Option<&str>) -> Self {
        let provider = provider(home, profile).unwrap_or_else(|| USUAL_PROVIDER.to_owned());
        let shown = profile.map(|name| format!(" profile={name}")).unwrap_or_default();
        let name = format!("{} provider={provider}{shown}", home.display());
        Self { home: home.to_owned(), profile: profile.map(str::to_owned), name }
    }

    /// Its name, by which it is held.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Codex's home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The files of its login and settings as they are now; another answer means that somebody logged in or changed what
    /// codex is told.
    pub fn login(&self) -> String {
        let layer = self.profile.as_deref().map(layer);
        let files = ["auth.json".to_owned(), "config.toml".to_owned()].into_iter().chain(layer);
        let stamps: Vec<String> = files.map(|file| stamp(&self.home.join(file))).collect();
        stamps.join(" ")
    }

    /// The hold on it at that moment. One that cannot be read is none: the next refusal writes it anew.
    pub fn held(&self, holds: &Holds, now: Timestamp) -> Option<Hold> {
        let hold = holds.read(&self.name).ok().flatten()?;
        (hold.is_active(now) && hold.holds(now, &self.login())).then_some(hold)
    }

    /// Takes in that a session has ended well: a hold that it was let through as a probe is lifted for all. One for a
    /// limit whose time is not over stays: this session may have been under way before.
    pub fn worked(&self, holds: &Holds, now: Timestamp) {
        let is_probed = |hold: &Hold| hold.is_active(now) && !hold.holds(now, &self.login());
        if holds.read(&self.name).ok().flatten().is_some_and(|hold| is_probed(&hold)) {
            // Whoever rests finds out by itself then, a little later.
            let _stays = holds.lift(&self.name, now);
        }
    }

    /// Holds it for everyone if that follows from a session's failure, as of that moment; gives back the failure with the
    /// time until which it is held.
    pub fn refused(&self, holds: &Holds, failure: Failure, at: Timestamp) -> Failure {
        let Some((reason, until)) = retry::rest(&failure, at) else { return failure };
        let kind = match reason {
            PauseReason::Limit => HoldKind::Limit,
            PauseReason::Auth if classify::is_of_account(&failure) => HoldKind::Auth,
            PauseReason::Auth
            | PauseReason::User
            | PauseReason::Approval
            | PauseReason::Dependency
            | PauseReason::NotBefore => return failure,
        };
        let hold = Hold::new(&self.name, kind, at, until);
        let message = failure.message.lines().next().unwrap_or_default().to_owned();
        // Without a hold the others find out by themselves; this job rests all the same.
        let _not_told = holds.hold(&Hold { message, login: self.login(), ..hold });
        Failure { resets_at: until, ..failure }
    }
}

/// What it means for who wants to start something that the account is held.
pub fn refusal(hold: &Hold) -> Failure {
    let kind = match hold.kind {
        HoldKind::Limit => FailureKind::Limit,
        HoldKind::Auth => FailureKind::Auth,
    };
    let message = format!("the account is held: {}", hold.message);
    Failure { resets_at: hold.until, ..Failure::new(kind, message) }
}

/// Lifts every hold on accounts of that home: somebody says that they are to be tried again.
///
/// # Errors
/// Those of the system, with the path.
pub fn lift_all(holds: &Holds, home: &Path, now: Timestamp) -> std::io::Result<()> {
    let start = format!("{} provider=", home.display());
    for hold in holds.all().map_err(std::io::Error::other)? {
        if hold.account.starts_with(&start) {
            holds.lift(&hold.account, now).map_err(std::io::Error::other)?;
        }
    }
    Ok(())
}

/// What tells one state of a file from another; empty where there is none.
fn stamp(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let stamp =
        |m: std::fs::Metadata| format!("{}:{}:{}.{}", m.ino(), m.size(), m.mtime(), m.mtime_nsec());
    path.metadata().map(stamp).unwrap_or_default()
}

/// The provider that codex's settings name: those of the profile before the general ones.
pub(super) fn provider(home: &Path, profile: Option<&str>) -> Option<String> {
    let named = |table: &toml::Table| Some(table.get("model_provider")?.as_str()?.to_owned());
    let layer = profile.and_then(|name| named(&settings(home, &layer(name))?));
    layer.or_else(|| {
        let general = settings(home, "config.toml")?;
        let section = profile.and_then(|name| general.get("profiles")?.get(name)?.as_table());
        section.and_then(named).or_else(|| named(&general))
    })
}

/// What codex's settings say of a provider, where they say anything.
pub(super) fn provider_table(
    home: &Path,
    profile: Option<&str>,
    provider: &str,
) -> Option<toml::Table> {
    let files = profile.map(layer).into_iter().chain(["config.toml".to_owned()]);
    let mut tables = files.filter_map(|file| settings(home, &file));
    tables.find_map(|table| table.get("model_providers")?.get(provider)?.as_table().cloned())
}

/// The file of a profile, which lies over the general one.
fn layer(profile: &str) -> String {
    format!("{profile}.config.toml")
}

fn settings(home: &Path, file: &str) -> Option<toml::Table> {
    let text = fsx::read_optional(&home.join(file)).ok().flatten()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_provider_and_profile_tell_accounts_apart() {
        let d = tempfile::tempdir().expect("scratch");
        let name = |profile| {
            let account = Account::of(d.path(), profile);
            account.name().trim_start_matches(&*d.path().to_string_lossy()).to_owned()
        };
        assert_eq!(name(None), " provider=openai");
        let general =
            "model_provider = \"a\"\n[profiles.p]\nmodel_provider = \"b\"\n[profiles.q]\n";
        fsx::put(&d.path().join("config.toml"), general.as_bytes()).expect("config");
        fsx::put(&d.path().join("r.config.toml"), b"model_provider = \"c\"").expect("layer");
        assert_eq!(name(None), " provider=a");
        assert_eq!(name(Some("p")), " provider=b profile=p");
        assert_eq!(name(Some("q")), " provider=a profile=q");
        assert_eq!(name(Some("r")), " provider=c profile=r");
    }

    #[test]
    fn a_refusal_holds_and_a_probe_that_works_lifts() {
        let d = tempfile::tempdir().expect("scratch");
        let holds = Holds::open(d.path()).expect("holds");
        let account = Account::of(d.path(), None);
        let now = Timestamp::UNIX_EPOCH;
        let is_held = || account.held(&holds, now).map(|hold| refusal(&hold).kind);
        for (kind, message, expected) in [
            (FailureKind::Task, "no", None),
            (FailureKind::Auth, "unexpected status 404 Not Found: no such model", None),
            (FailureKind::Auth, "401 Unauthorized", Some(FailureKind::Auth)),
        ] {
            account.refused(&holds, Failure::new(kind, message), now);
            assert_eq!(is_held(), expected, "{kind:?}");
        }
        account.worked(&holds, now);
        assert_eq!(is_held(), Some(FailureKind::Auth), "it was under way before");
        fsx::put(&d.path().join("auth.json"), b"{}").expect("a login");
        assert_eq!(is_held(), None, "the login has changed");
        account.worked(&holds, now);
        assert!(!holds.all().expect("all")[0].is_active(now));
        let failure = account.refused(&holds, Failure::new(FailureKind::Limit, "limit"), now);
        assert_eq!(failure.resets_at.map(Timestamp::as_second), Some(3600));
        account.worked(&holds, now);
        assert_eq!(is_held(), Some(FailureKind::Limit), "its time is not over");
        lift_all(&holds, d.path(), now).expect("lift");
        assert_eq!(is_held(), None);
    }
}
