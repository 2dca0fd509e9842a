//! The settings under which git makes, compares and changes trees: what a repository or a user prefers must not decide
//! what is seen of an agent's work, nor start a program on files that an agent wrote.
//!
//! Line ends (`core.autocrlf`, `core.eol`) stay as they are: they are the same when a tree is made and when it is audited.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::os::git::{Git, GitError};
use crate::os::{env, fsx};

use super::by_hand::leads_elsewhere;
use super::{Trees, TreesError};

/// Largest file of settings that is compared, in bytes.
const MOST_SETTINGS: u64 = 64 * 1024;

/// A file as it is: its mode, its being a link, its name, its times. An index that is one file, with an entry a path.
const PINNED: [&str; 15] = [
    "core.fileMode=true",
    "core.symlinks=true",
    "core.ignoreCase=false",
    "core.precomposeUnicode=false",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "core.trustctime=true",
    "core.checkStat=default",
    "core.safecrlf=false",
    "core.sparseCheckout=false",
    "core.splitIndex=false",
    "core.untrackedCache=false",
    "index.sparse=false",
    "worktree.useRelativePaths=false",
    // Above this size a file goes past git's memory.
    "core.bigFileThreshold=16m",
];

impl Trees {
    /// The arguments of a call that makes, compares or changes a tree, `args` being the subcommand and what follows.
    pub(super) fn pinned(&self, args: &[&str]) -> Result<Vec<OsString>, TreesError> {
        let mut settings: Vec<String> = PINNED.iter().map(|&setting| setting.to_owned()).collect();
        for driver in self.ask_settings()?.drivers {
            if driver.contains(['=', '\n']) {
                let why = format!("its settings name a filter {driver:?}");
                return Err(TreesError::Refused { path: self.workspace.top.clone(), why });
            }
            // A driver that is empty is an error in some paths of git; one that copies is none.
            for program in ["clean=cat", "smudge=cat", "process=", "required=false"] {
                settings.push(format!("filter.{driver}.{program}"));
            }
        }
        let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        Ok(settings.chain(args.iter().map(|&arg| arg.to_owned())).map(OsString::from).collect())
    }

    /// What the settings say, where it is not known; what of it counts elsewhere is noted there.
    pub(super) fn ask_settings(&self) -> Result<Said, TreesError> {
        let said = self.settings.ask(&self.git, &self.workspace.git_dir)?;
        self.note_own_ignores(&said.ignores);
        if said.is_nameless() {
            self.is_nameless.store(true, Ordering::Relaxed);
        }
        Ok(said)
    }
}

/// The last answer about the settings, with the files that it was given for. The machine's own file is not among them: whoever
/// writes there is trusted.
#[derive(Debug, Default)]
pub(super) struct Settings(Mutex<Option<(Vec<u8>, Said)>>);

impl Settings {
    /// Asks git, unless its files are as they were when it was asked last, and name no others.
    fn ask(&self, git: &Git, git_dir: &str) -> Result<Said, TreesError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files(Path::new(git_dir));
        if let (Some((then, said)), Some(files)) = (&*known, &files)
            && then == files
        {
            return Ok(said.clone());
        }
        let said = said(git, git_dir)?;
        *known = files.filter(|_| !said.names_others).map(|files| (files, said.clone()));
        Ok(said)
    }
}

/// The repository's and the user's settings as they are written, one after the other; `None` where git is told of other files, or
/// one cannot be read.
fn files(git_dir: &Path) -> Option<Vec<u8>> {
    let told = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"];
    if leads_elsewhere(git_dir) || told.iter().any(|name| env::var_os(name).is_some()) {
        return None;
    }
    let home = env::var_os("HOME").map(PathBuf::from)?;
    let config = env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    if !home.is_absolute() || !config.is_absolute() {
        return None;
    }
    let mut all = Vec::new();
    for file in [git_dir.join("config"), config.join("git/config"), home.join(".gitconfig")] {
        // No file is a state of its own, and so is an empty one. People have links there.
        match file.canonicalize() {
            Ok(file) => {
                all.extend(fsx::read_bounded(&file, MOST_SETTINGS).ok()??);
                all.extend(b"\0file\0");
            }
            Err(e) if e.kind() == ErrorKind::NotFound => all.extend(b"\0none\0"),
            Err(_) => return None,
        }
    }
    Some(all)
}

/// What the repository's and the user's settings say of what matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The filters that they have a program for.
    drivers: Vec<String>,
    /// Where the user's own ignore rules lie, as it is written there.
    ignores: String,
    /// Whether they name anybody's address.
    is_named: bool,
    /// Whether there is more to them, in files that they name.
    names_others: bool,
}

/// The settings that are asked for, in one call.
const ASKED: &str = r"^(filter\..*\.(clean|smudge|process)|core\.excludesfile|(user|author|committer)\.email|include(if\..*)?\.path|extensions\.worktreeconfig)$";

impl Said {
    /// From a list of `<name>\n<value>`, or the name alone, each ended by a NUL; what comes later is the stronger.
    fn read(list: &str) -> Self {
        let mut said = Self::default();
        for entry in list.split('\0').filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('\n').unwrap_or((entry, ""));
            match name.strip_prefix("filter.").and_then(|rest| rest.rsplit_once('.')) {
                Some((driver, _)) => said.drivers.push(driver.to_owned()),
                None if name == "core.excludesfile" => value.clone_into(&mut said.ignores),
                None if ["include", "extensions."].iter().any(|other| name.starts_with(other)) => {
                    said.names_others = true;
                }
                None => said.is_named = true,
            }
        }
        said.drivers.sort_unstable();
        said.drivers.dedup();
        said
    }

    /// Whether git, which is not to guess, would refuse to commit for want of an address.
    fn is_nameless(&self) -> bool {
        let by_variable = ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"];
        !self.is_named && by_variable.iter().all(|name| env::var_os(name).is_none())
    }
}

fn said(git: &Git, git_dir: &str) -> Result<Said, TreesError> {
    let call = git.read(["config", "-z", "--get-regexp", ASKED]).env("GIT_DIR", git_dir);
    let answer = call.ask()?;
    match answer.code {
        // The one says that nothing of it is set; anything else says nothing.
        0 | 1 => Ok(Said::read(&String::from_utf8_lossy(&answer.stdout))),
        code => {
            let (command, stderr) = ("config".to_owned(), answer.stderr);
            Err(GitError::Failed { command, code: Some(code), stderr }.into())
        }
    }
}

/// A file of a commit that goes through a filter with a program, and that filter, if there is any.
pub(super) fn filtered(
    git: &Git,
    git_dir: &str,
    commit: &str,
) -> Result<Option<(String, String)>, TreesError> {
    let drivers = said(git, git_dir)?.drivers;
    if drivers.is_empty() {
        return Ok(None);
    }
    let paths = git.read(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]).run()?;
    let check = ["check-attr", "-z", "--stdin", "--source", commit, "filter"];
    let out = git.read(check).input(&paths).run()?;
    let answers: Vec<&[u8]> = out.split(|byte| *byte == 0).collect();
    Ok(answers.chunks_exact(3).find_map(|answer| {
        let driver = drivers.iter().find(|driver| driver.as_bytes() == answer[2])?;
        Some((String::from_utf8_lossy(answer[0]).into_owned(), driver.clone()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_asked_for_again_where_their_files_have_changed_or_name_others() {
        let d = tempfile::tempdir().expect("tempdir");
        let git = Git::at(d.path());
        git.write(["init", "-q"]).run().expect("init");
        let git_dir = d.path().join(".git");
        let settings = Settings::default();
        let drivers = || {
            let asked = settings.ask(&git, git_dir.to_str().expect("text")).expect("settings");
            let own = |driver: &String| ["mine", "other"].contains(&driver.as_str());
            asked.drivers.into_iter().filter(own).collect::<Vec<_>>()
        };
        let set = |name: &str, value: &str| {
            git.write(["config", name, value]).run().expect("set");
        };
        let is_known = || settings.0.lock().expect("no panic").is_some();
        assert!(drivers().is_empty() && is_known());
        set("filter.mine.clean", "cat");
        assert_eq!(drivers(), ["mine"]);
        assert!(is_known());
        let included = d.path().join("included");
        set("Include.path", included.to_str().expect("text"));
        assert_eq!(drivers(), ["mine"], "it is not there yet");
        assert!(!is_known());
        fsx::put(&included, b"[filter \"other\"]\n\tclean = cat\n").expect("put");
        assert_eq!(drivers(), ["mine", "other"]);
        fsx::remove(&included).expect("removed");
        assert_eq!(drivers(), ["mine"]);
        git.write(["config", "--unset", "include.path"]).run().expect("unset");
        assert!(drivers() == ["mine"] && is_known());
        set("extensions.worktreeConfig", "true");
        assert!(drivers() == ["mine"] && !is_known());
        fsx::put(&git_dir.join("config"), b"[broken").expect("put");
        let asked = settings.ask(&git, git_dir.to_str().expect("text"));
        assert!(matches!(asked, Err(TreesError::Git(GitError::Failed { .. }))), "{asked:?}");
    }

    #[test]
    fn settings_are_read_as_git_lists_them() {
        for (list, drivers, ignores, is_named) in [
            ("", &[][..], "", false),
            ("core.excludesfile\n/a\0core.excludesfile\n~/b\0", &[], "~/b", false),
            (
                "filter.x.clean\na\nb\0filter.x.smudge\nc\0filter.a.b.process\0",
                &["a.b", "x"],
                "",
                false,
            ),
            ("user.email\na@b\0", &[], "", true),
            ("committer.email\0filter.x.clean\ncat\0", &["x"], "", true),
        ] {
            let said = Said::read(list);
            let found = (said.drivers.as_slice(), said.ignores.as_str(), said.is_named);
            assert!(
                found.0 == drivers && found.1 == ignores && found.2 == is_named,
                "{list:?}: {found:?}"
            );
        }
    }
}
