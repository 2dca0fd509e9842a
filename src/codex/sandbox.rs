//! Whether codex's sandbox confines anything here. Codex ends well although every command in it failed, or although nothing
//! confined them: only what was written tells. Looked at once for each program, home, kernel start and user.
//!
//! Diagnostics: a sandbox that does not work is told with what codex said of it; nothing is started then.

use std::fs;
use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::command::confinement;
use super::look;
use super::program::Codex;
use crate::logic::doctor::Lack;
use crate::logic::words::bound;
use crate::os::console::one_line;
use crate::os::{digest, env, fsx, process, random};

/// Where in the store it is remembered.
const REMEMBERED: &str = "sandbox";
/// How long the look may take where no person waits for it: on a busy machine codex is slow.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take where a person waits.
pub const PATIENCE_OF_PEOPLE: Duration = Duration::from_secs(10);
/// How much of what codex said is repeated, in bytes.
const SAID_BYTES: u64 = 300;

/// Looks whether commands in codex's sandbox can write where they may, and nowhere else, for at most so long.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check(codex: &Codex, store: &Path, patience: Duration) -> std::result::Result<(), Lack> {
    let cannot = |e: Error| Lack {
        what: format!("cannot try codex's sandbox: {e}"),
        hint: "see whether the root can be written".to_owned(),
    };
    let (remembered, here) = (store.join(REMEMBERED), fingerprint(codex));
    if is_remembered(store, &here) {
        return Ok(());
    }
    let probe = store.join(format!(".sandbox-{}", random::base32(8).map_err(cannot)?));
    let tried = try_it(codex, &probe, patience);
    let _of_no_use = fsx::remove_tree(&probe);
    match tried.map_err(cannot)? {
        None => fsx::replace_derived(&remembered, here.as_bytes()).map_err(cannot),
        Some(why) => Err(Lack {
            what: format!("codex's sandbox does not work here: {why}"),
            hint: "try `codex sandbox -- true`, and see docs/security.md; to run agents without a sandbox, set \
                   `sandbox = \"danger-full-access\"` in numerus.toml and in the job"
                .to_owned(),
        }),
    }
}

/// Whether they are known to, without another look.
pub fn is_known(codex: &Codex, store: &Path) -> bool {
    is_remembered(store, &fingerprint(codex))
}

fn is_remembered(store: &Path, here: &str) -> bool {
    fsx::read_optional(&store.join(REMEMBERED)).ok().flatten().as_deref() == Some(here)
}

/// What the answer depends on.
fn fingerprint(codex: &Codex) -> String {
    let stamp = |word| {
        let meta = fs::metadata(word).ok();
        meta.map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
    };
    let program: Vec<_> = codex.program.iter().map(|word| (word, stamp(word))).collect();
    let temp = codex.env.iter().find(|(name, _)| name == "TMPDIR");
    let all = (process::boot_id(), env::own_uid(), &codex.home, program, temp);
    digest::sha256_hex(format!("{all:?}").as_bytes())
}

/// Writes inside and outside; what is wrong, if anything is.
fn try_it(codex: &Codex, probe: &Path, patience: Duration) -> Result<Option<String>> {
    let (inside, outside, temp) = (probe.join("in"), probe.join("out"), probe.join("temp"));
    for dir in [&inside, &outside, &temp] {
        fsx::make_dirs(dir)?;
    }
    let said = probe.join("said");
    let script = "echo x > written; echo x > ../out/written";
    let mut command = Command::new(codex.program.first().cloned().unwrap_or_default());
    command.args(codex.program.iter().skip(1)).arg("sandbox");
    command.args(["-c", "sandbox_mode=\"workspace-write\""]);
    for setting in confinement(false, &[], Some(&temp)) {
        command.args(["-c", &setting]);
    }
    command.args(["--", "sh", "-c", script]).current_dir(&inside);
    command.env_clear().envs(codex.env.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fsx::create_new(&said)?);
    if look::run(&mut command, patience)?.is_none() {
        return Ok(Some(format!("it does not end within {}; {}", bound(patience), look::ENDED)));
    }
    if outside.join("written").exists() {
        return Ok(Some("a command in it could write outside of its directory".to_owned()));
    }
    if inside.join("written").exists() {
        return Ok(None);
    }
    let said = one_line(&String::from_utf8_lossy(&fsx::read_tail(&said, SAID_BYTES)?));
    Ok(Some(format!("a command in it could not write in its own directory ({said})")))
}
