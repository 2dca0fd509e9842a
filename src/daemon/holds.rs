//! Accounts of codex that are held: told once, and looked at for every job that rests over one, so that all of them go on
//! when the account may be used again.

use std::ffi::OsStr;
use std::path::Path;

use super::Daemon;
use super::log::Fact;
use super::workers::Live;
use crate::codex::Codex;
use crate::codex::account::Account;
use crate::logic::schedule;
use crate::model::job::Job;
use crate::model::status::PauseReason;
use crate::os::clock;
use crate::store::holds::{Hold, HoldKind, Holds};

impl Daemon {
    /// Tries once more what could not log in before: whoever put that right may have no other way to tell than to start
    /// a daemon.
    pub(super) fn lift_refused_logins(&mut self) {
        let now = clock::now();
        let lifted = Holds::open(&self.desk.root.store()).and_then(|holds| {
            for hold in holds.all()?.iter().filter(|hold| hold.kind == HoldKind::Auth) {
                holds.lift(&hold.account, now)?;
            }
            Ok(holds)
        });
        match lifted {
            Ok(holds) => self.holds = Some(holds),
            Err(e) => self.trouble("cannot read the holds", &std::io::Error::other(e)),
        }
    }

    /// The account that a job uses; `None` while there is no codex for it.
    pub(super) fn account_of(&self, job: &Job) -> Option<Account> {
        let codex = Codex::for_job(&self.desk.root, &self.desk.settings, job).ok()?;
        Some(Account::of(&codex.home, job.options.profile.as_deref()))
    }

    /// Looks at all holds: tells of new ones, and enters them with the jobs that rest over them.
    pub(super) fn look_at_holds(&mut self) {
        let Some(Ok(all)) = self.holds.as_ref().map(Holds::all) else { return };
        let now = clock::now();
        for hold in all.iter().filter(|hold| hold.is_active(now)) {
            let is_new = self.told.insert(hold.account.clone(), hold.at) != Some(hold.at);
            if is_new {
                self.record(&told(hold));
            }
        }
        for live in self.jobs.values_mut().filter(|live| live.rests_over_account()) {
            enter(live, &all);
            if let Some(home) = live.awaits_login()
                && self.homes.insert(home.to_owned())
                && let Some(watch) = &mut self.watch
            {
                // Without it, the next rescan finds the login.
                let _unwatched = watch.add(home);
            }
        }
    }

    /// Whether a change of that file may free an account.
    pub(super) fn is_of_account(&self, folder: &Path, name: &OsStr) -> bool {
        let is_login = || {
            let name = name.to_string_lossy();
            name == "auth.json" || name.ends_with("config.toml")
        };
        self.holds.as_ref().is_some_and(|holds| folder == holds.dir())
            || (self.homes.contains(folder) && is_login())
    }
}

fn enter(live: &mut Live, all: &[Hold]) {
    let Some(account) = &live.account else { return };
    let now = clock::now();
    let hold = all.iter().find(|hold| hold.account == account.name());
    live.waiting.account = match hold {
        None => schedule::Account::Unknown,
        Some(hold) if hold.holds(now, &account.login()) => schedule::Account::Held(hold.until),
        Some(hold) => schedule::Account::Free(hold.until.filter(|at| *at <= now).unwrap_or(now)),
    };
}

fn told(hold: &Hold) -> Fact {
    Fact::Held {
        account: hold.account.clone(),
        reason: match hold.kind {
            HoldKind::Limit => PauseReason::Limit,
            HoldKind::Auth => PauseReason::Auth,
        },
        until: hold.until,
        message: hold.message.clone(),
    }
}
