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
use crate::model::plan::Role;
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

    /// The accounts that a job's roles use; none while there is no codex for it.
    pub(super) fn accounts_of(&self, job: &Job) -> Vec<Account> {
        let Ok(codex) = Codex::for_job(&self.desk.root, &self.desk.settings, job) else {
            return Vec::new();
        };
        let profile = |role| job.options.profile_of(role).map(String::as_str);
        let mut accounts: Vec<Account> =
            Role::ALL.into_iter().map(|role| Account::of(&codex.home, profile(role))).collect();
        accounts.sort_by(|a, b| a.name().cmp(b.name()));
        accounts.dedup();
        accounts
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
                // Without it, the next round finds the login.
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

/// A job goes on when none of its accounts is held any more.
fn enter(live: &mut Live, all: &[Hold]) {
    let now = clock::now();
    let stand = |account: &Account| {
        let hold = all.iter().find(|hold| hold.account == account.name())?;
        Some(if hold.holds(now, &account.login()) {
            schedule::Account::Held(hold.until)
        } else {
            schedule::Account::Free(hold.until.filter(|at| *at <= now).unwrap_or(now))
        })
    };
    live.waiting.account = schedule::together(live.accounts.iter().filter_map(stand));
}

fn told(hold: &Hold) -> Fact {
    Fact::Held {
        account: hold.account.clone(),
        reason: hold.kind.pauses_for(),
        until: hold.until,
        message: hold.message.clone(),
    }
}
