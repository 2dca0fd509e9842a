//! Measures what `logic::doctor` judges: looks at settings, codex, root and machine, and really tries what can be tried
//! without leaving anything behind. Nothing is made but scratch folders, and no model is asked.
//!
//! Diagnostics: what cannot be measured is a fact like any other, never an error of its own.

mod trying;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::codex::{Codex, login, sandbox};
use crate::health;
use crate::hooks;
use crate::logic::doctor::{self, Copies, Facts, Finding, Inotify, Lack, Program, Version};
use crate::logic::health::Volume;
use crate::model::id::JobId;
use crate::model::job::Sandbox;
use crate::model::root::{Root, job_of_copy};
use crate::model::settings::Settings;
use crate::os::git::{Git, GitError};
use crate::os::{clock, fsx, limits, lock};
use crate::runs::Runs;
use crate::spool::{CutOff, Spool};
use crate::store::holds::Holds;

/// Looks at everything.
pub fn measure(root: &Root) -> Facts {
    let (settings, problem) = match crate::root::settings(root) {
        Ok(settings) => (settings, None),
        Err(e) => (Settings::default(), Some(e.to_string())),
    };
    Facts {
        settings: problem,
        codex: codex(root, &settings),
        root: look_at_root(root, &settings),
        git: git_version(),
        inotify: inotify(),
        open_files: limits::open_files(),
        now: clock::now(),
    }
}

/// Whether this machine's git will do.
pub fn git() -> Finding {
    doctor::git(git_version().as_deref())
}

fn inotify() -> Option<Inotify> {
    let (instances, watches) = limits::watchable()?;
    let (used_instances, used_watches) = limits::watched();
    Some(Inotify { instances, used_instances, watches, used_watches })
}

/// What `git --version` says; nothing where there is none. One that was killed over it is no missing one.
fn git_version() -> Option<String> {
    match Git::at(Path::new("/")).read(["--version"]).line() {
        Err(GitError::NotInstalled) => None,
        said => Some(said.unwrap_or_else(|e| e.to_string())),
    }
}

/// A script that plays codex's part: the one within (no name), or a file.
///
/// # Errors
/// What is wrong with its name, and what to do.
pub fn script(name: &str) -> Result<(), Lack> {
    if name.is_empty() || Path::new(name).is_file() {
        return Ok(());
    }
    let what = format!("the script that `rehearse` names is no file: {name}");
    Err(Lack { what, hint: "name a script, or \"builtin\"".to_owned() })
}

fn codex(root: &Root, settings: &Settings) -> Program {
    if let Some(name) = &settings.rehearse {
        return script(name).map_or_else(Program::Missing, |()| Program::Played);
    }
    let codex = match Codex::real(settings) {
        Ok(codex) => codex,
        Err(lack) => return Program::Missing(lack),
    };
    let path = codex.program.first().map(|word| word.display().to_string()).unwrap_or_default();
    let version = match login::version(&codex) {
        // Who does not even say its version is asked nothing else: each answer would be waited for.
        Version::Late(why) => return Program::Hangs { path, why },
        Version::Said(said) => Some(said),
        Version::None => None,
    };
    let tried = match settings.sandbox {
        Sandbox::DangerFullAccess => Ok(false),
        Sandbox::ReadOnly | Sandbox::WorkspaceWrite if root.store().is_dir() => {
            sandbox::check(&codex, &root.store(), sandbox::PATIENCE_OF_PEOPLE).map(|()| true)
        }
        Sandbox::ReadOnly | Sandbox::WorkspaceWrite => {
            trying::in_scratch(&above(root.path()), |dir| {
                sandbox::check(&codex, dir, sandbox::PATIENCE_OF_PEOPLE).map(|()| true)
            })
        }
    };
    Program::Found {
        path,
        version,
        login: login::login(&codex, settings.profile.as_deref()),
        sandbox: tried,
    }
}

fn look_at_root(root: &Root, settings: &Settings) -> doctor::Root {
    let spool = Spool::of(root);
    let looked = match crate::root::check(root) {
        Ok(Some(_)) => crate::root::preflight(root, settings).map(Some),
        other => other.map(|_| None),
    };
    let is_there = matches!(looked, Ok(Some(_))) || looked.is_err();
    let (told, refused) = match looked {
        Ok(told) => (told.unwrap_or_default(), None),
        Err(e) => (Vec::new(), Some((e.to_string(), e.hint().to_owned()))),
    };
    doctor::Root {
        path: root.path().display().to_string(),
        is_there,
        refused,
        told,
        tried: places(root).iter().map(|dir| trying::try_folder(dir)).collect(),
        volumes: volumes(root),
        min_free: settings.min_free,
        is_led: is_there && lock::is_held(&spool.daemon_lock()).unwrap_or_default(),
        notice: spool.notice(),
        waiting: spool.incoming().map_or(0, Iterator::count),
        rejected: spool.rejections().map_or(0, |all| all.len()),
        edits: edits(root, &spool),
        copies: copies(root),
        hooks: hooks::problems(root),
        held: held(root),
        last_record: last_record(root),
    }
}

fn edits(root: &Root, spool: &Spool) -> Vec<(String, String)> {
    let runs = Runs::of(root);
    let all = spool.cut_off(|old| runs.was_killed(old)).unwrap_or_default();
    all.iter().map(CutOff::told).collect()
}

fn copies(root: &Root) -> Copies {
    let names = fsx::list(&root.pruned()).unwrap_or_default();
    let jobs: BTreeSet<JobId> = names.iter().filter_map(|name| job_of_copy(name)).collect();
    Copies { jobs: jobs.len(), bytes: fsx::disk_bytes(&root.pruned()).unwrap_or_default() }
}

/// The folders that may each be a volume of its own; before there is a root, the one that it would be made in.
fn places(root: &Root) -> Vec<PathBuf> {
    let mut places = vec![root.spool(), root.runs(), root.store()];
    places.retain(|dir| dir.is_dir());
    if places.is_empty() {
        places.push(above(root.path()));
    }
    places
}

/// The nearest folder that is there.
fn above(path: &Path) -> PathBuf {
    path.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn volumes(root: &Root) -> Vec<Volume> {
    places(root).iter().filter_map(|dir| health::volume(dir)).collect()
}

fn held(root: &Root) -> Vec<String> {
    let now = clock::now();
    let dir = root.store();
    let all = dir.join("holds").is_dir().then(|| Holds::open(&dir).ok()).flatten();
    let all = all.and_then(|holds| holds.all().ok()).unwrap_or_default();
    let told = |hold: crate::store::holds::Hold| {
        let until = hold.until.map(|until| format!(" until {until}")).unwrap_or_default();
        format!("jobs rest{until}, since codex said: {} ({})", hold.message, hold.account)
    };
    all.into_iter().filter(|hold| hold.is_active(now)).map(told).collect()
}

fn last_record(root: &Root) -> Option<Timestamp> {
    let written = root.store().join("daemon.ndjson").metadata().ok()?.modified().ok()?;
    Timestamp::try_from(written).ok()
}
