//! Whether work can begin: the cheap part of what `numerus doctor` looks at, before `run`, `start` and the daemon, in one
//! sentence each; and all of it for that command.

use std::time::Duration;

use super::{open, unusable};
use crate::codex::{Codex, login, sandbox};
use crate::error::{Exit, Failure};
use crate::health;
use crate::logic::doctor::{self, Finding, Grade, Lack};
use crate::model::job::Sandbox;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::process;

/// Everything that can be told of a root and the machine.
pub(in crate::cli) fn examine(root: &Root) -> Vec<Finding> {
    doctor::judge(&crate::doctor::measure(root))
}

/// What is wrong with the settings of a root, if anything is.
pub(in crate::cli) fn broken_settings(root: &Root) -> Option<String> {
    crate::root::settings(root).err().map(|e| e.to_string())
}

/// Whether the root may be worked on; what its user should know. From here on this process leaves no dump of its memory.
pub(in crate::cli) fn preflight(root: &Root) -> Result<Vec<String>, Failure> {
    let settings = open(root)?;
    process::keep_no_dumps().map_err(|e| Failure::system("turn off core dumps", &e))?;
    refuse(crate::doctor::git(), Exit::Root)?;
    crate::root::preflight(root, &settings).map_err(|e| unusable(&e))
}

/// Refuses early what would only park or fail later: no codex, no home for it, or a sandbox that confines nothing, for which so long
/// a look is taken. A rehearsal needs none of these; that of the settings needs its script.
pub(in crate::cli) fn codex_is_there(
    root: &Root,
    rehearses: bool,
    patience: Duration,
) -> Result<Settings, Failure> {
    let settings = open(root)?;
    if rehearses {
        return Ok(settings);
    }
    if let Some(script) = &settings.rehearse {
        crate::doctor::script(script).map_err(without_codex)?;
    } else {
        let there = Codex::real(&settings).and_then(|codex| match settings.sandbox {
            // Whether a job asks for that is looked at when it starts.
            Sandbox::DangerFullAccess => Ok(()),
            // Where nothing can be written it cannot be tried: that is waited for, and the worker tries it.
            Sandbox::ReadOnly | Sandbox::WorkspaceWrite => {
                sandbox::check(&codex, &root.store(), patience)
                    .or_else(|why| health::cannot_write(root).map(drop).ok_or(why))
            }
        });
        there.map_err(without_codex)?;
    }
    Ok(settings)
}

/// What the user of a daemon, or of a job with this profile, should know of codex's login before anything is begun; `None` where
/// a login is there, none is needed, or a script plays.
pub(in crate::cli) fn lacks_login(settings: &Settings, profile: Option<&str>) -> Option<Failure> {
    if settings.rehearse.is_some() {
        return None;
    }
    let codex = Codex::real(settings).ok()?;
    let found = doctor::login(&login::login(&codex, profile.or(settings.profile.as_deref())));
    refuse(found, Exit::Codex).err()
}

fn without_codex(lack: Lack) -> Failure {
    Failure::new(Exit::Codex, lack.what)
        .hint(lack.hint)
        .hint("nothing was begun: job files stay where they are")
        .hint(
            "to play jobs without codex, set NUMERUS_REHEARSE=builtin, or `rehearse` in numerus.toml; \
             run and start also take --rehearse, and numerus start JOB plays one that was submitted with it",
        )
}

fn refuse(found: Finding, kind: Exit) -> Result<(), Failure> {
    match found.grade {
        Grade::Ok | Grade::Warn => Ok(()),
        Grade::Fail => {
            let failure = Failure::new(kind, found.said);
            Err(found.hint.into_iter().fold(failure, Failure::hint))
        }
    }
}
