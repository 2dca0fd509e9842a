//! What `numerus doctor` says of a machine, from what was measured on it: each thing that work depends on is well, worth a
//! warning, or wrong, with what to do about it.
//!
//! Promises: every thing that was measured is told, also when it is well; what is wrong or doubtful has a hint. `run`,
//! `start` and the daemon refuse by the same judgement ([`git`], [`login`]), so that the two never disagree.

mod facts;

use std::time::Duration;

use jiff::Timestamp;

use super::health;
use super::words::{plural, size};

pub use facts::{Copies, Facts, Inotify, Lack, Login, Program, Root, Tried, Version};

/// The version of codex that the tests hold Numerus to.
pub const TESTED_CODEX: &str = "0.169.0";
/// The oldest git that does what is asked of it.
const OLDEST_GIT: (u32, u32) = (2, 41);
/// Fewer open files than this and a worker cannot work; with fewer than the second it may run out.
const OPEN_FILES: (u64, u64) = (256, 1024);
/// Inotify instances that should be left: a daemon, its workers, and some commands that follow.
const INSTANCES_LEFT: u64 = 8;
/// Inotify watches that should be left.
const WATCHES_LEFT: u64 = 256;
/// No clock that is right shows an earlier second than this: 2026-01-01.
const EARLIEST_SECOND: i64 = 1_767_225_600;
/// How far two clocks may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(5);

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// It is well.
    Ok,
    /// Work goes on, but somebody should know.
    Warn,
    /// Something does not work because of it.
    Fail,
}

impl Grade {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What cannot be used when something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Codex.
    Codex,
    /// The root.
    Root,
    /// Neither: something else on the machine.
    Other,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in a word.
    pub about: &'static str,
    /// What it belongs to.
    pub part: Part,
    /// How good it is.
    pub grade: Grade,
    /// What was found.
    pub said: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    fn ok(about: &'static str, part: Part, said: impl Into<String>) -> Self {
        Self { about, part, grade: Grade::Ok, said: said.into(), hint: None }
    }

    fn warn(self, hint: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, hint: Some(hint.into()), ..self }
    }

    fn fail(self, hint: impl Into<String>) -> Self {
        Self { grade: Grade::Fail, hint: Some(hint.into()), ..self }
    }
}

/// Judges all of it, in the order in which it is told.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![settings(facts.settings.as_deref())];
    all.extend(codex(&facts.codex));
    all.extend(root(&facts.root));
    all.push(git(facts.git.as_deref()));
    all.extend(facts.inotify.map(inotify));
    all.push(open_files(facts.open_files));
    all.push(clock(facts));
    all.extend(daemon(&facts.root));
    all
}

fn settings(problem: Option<&str>) -> Finding {
    let finding = |said: &str| Finding::ok("settings", Part::Other, said);
    match problem {
        None => finding("numerus.toml and the environment can be read"),
        Some(why) => finding(why).fail("mend the file or the variable; README.md lists every key"),
    }
}

fn codex(program: &Program) -> Vec<Finding> {
    let about = |said: String| Finding::ok("codex", Part::Codex, said);
    match program {
        Program::Played => {
            vec![about("a script plays its part (`rehearse` is set): none is needed".into())]
        }
        Program::Missing(lack) => vec![about(lack.what.clone()).fail(lack.hint.clone())],
        Program::Hangs { path, why } => {
            let said = format!("{path} does not answer `--version` {why}");
            vec![about(said).fail(format!(
                "see why `{path} --version` does not end, or set CODEX_BIN to a codex that answers; then look again"
            ))]
        }
        Program::Found { path, version, login: how, sandbox: tried } => {
            vec![version_of(path, version.as_deref()), login(how), sandbox(tried)]
        }
    }
}

fn version_of(path: &str, said: Option<&str>) -> Finding {
    let about = |said: String| Finding::ok("codex", Part::Codex, said);
    let number = said.and_then(|said| said.strip_prefix("codex-cli "));
    let Some(number) = number else {
        let what = said.map_or("nothing".to_owned(), |said| format!("{said:?}"));
        return about(format!("{path} answers `--version` with {what}: this is no codex"))
            .fail("set CODEX_BIN, or `codex_bin` in numerus.toml, to the codex program");
    };
    let found = about(format!("{number} ({path})"));
    let is_near = series(number) == series(TESTED_CODEX);
    if is_near {
        found
    } else {
        let hint = format!(
            "Numerus is tested with {TESTED_CODEX}; if jobs fail in odd ways, install that one: \
             npm install -g @openai/codex@{TESTED_CODEX}"
        );
        found.warn(hint)
    }
}

/// Major and minor number: within these codex keeps its words.
fn series(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Whether codex gets at a model, as far as can be told without asking one.
pub fn login(how: &Login) -> Finding {
    let about = |said: String| Finding::ok("login", Part::Codex, said);
    match how {
        Login::NotNeeded { provider } => {
            about(format!("provider {provider} of codex's config.toml needs none"))
        }
        Login::Key { provider, variable, is_set: true } => {
            about(format!("provider {provider} has its key in {variable}"))
        }
        Login::Key { provider, variable, is_set: false } => {
            about(format!("provider {provider} has no key: {variable} is not set"))
                .fail(format!("set {variable} where Numerus is started, a service included"))
        }
        Login::Status { said, is_in: true } => about(said.clone()),
        Login::Unknown(why) => about(format!("`codex login status` gave no answer: {why}"))
            .warn("ask it yourself; a job whose codex is not logged in rests, and says so"),
        Login::Status { is_in: false, .. } => about("codex is not logged in".into())
            .fail("log in with `codex login`, or set CODEX_API_KEY"),
    }
}

fn sandbox(tried: &Result<bool, Lack>) -> Finding {
    let about = |said: &str| Finding::ok("sandbox", Part::Codex, said);
    match tried {
        Ok(true) => about("commands of agents can write in their directory and nowhere else"),
        Ok(false) => about("not tried: `sandbox` allows jobs to run without it")
            .warn("jobs that ask for `danger-full-access` can change whatever you can"),
        Err(lack) => about(&lack.what).fail(lack.hint.clone()),
    }
}

fn root(root: &Root) -> Vec<Finding> {
    let about = |said: String| Finding::ok("root", Part::Root, said);
    let mut all = Vec::new();
    all.push(match (&root.refused, root.is_there) {
        (Some((why, hint)), _) => about(why.clone()).fail(hint.clone()),
        (None, true) => about(root.path.clone()),
        (None, false) => about(format!("no root at {} yet", root.path))
            .warn("`numerus init` makes it; so do `submit`, `run`, `start` and `daemon`"),
    });
    all.extend(root.told.iter().map(|told| {
        about(told.clone()).warn("see docs/security.md; where that is meant to be so, let it be")
    }));
    all.push(files(&root.tried));
    all.extend(events(&root.tried));
    if !root.volumes.is_empty() {
        all.push(room(root));
    }
    all
}

fn files(tried: &[Tried]) -> Finding {
    let about = |said: String| Finding::ok("files", Part::Root, said);
    match tried.iter().find_map(|t| Some((t, t.problem.as_ref()?))) {
        None => about("writing, renaming and locking work".into()),
        Some((_, problem)) => about(problem.clone())
            .fail("let your user write there, or name another root with --root"),
    }
}

/// Told only where it could be tried.
fn events(tried: &[Tried]) -> Option<Finding> {
    let could = tried.iter().filter(|t| t.problem.is_none()).collect::<Vec<_>>();
    let deaf = could.iter().find(|t| !t.has_events);
    let about = |said: String| Finding::ok("events", Part::Root, said);
    match deaf {
        None => could.first().map(|_| about("changes of files are heard of at once".into())),
        Some(t) => Some(about(format!("no word of changes comes from {}", t.place)).warn(
            "files are found at the next scan: set `rescan` in numerus.toml lower, such as \"5s\"",
        )),
    }
}

fn room(root: &Root) -> Finding {
    let about = |said: String| Finding::ok("disk", Part::Other, said);
    if let Some(why) = health::short_of(&root.volumes, root.min_free) {
        return about(why).fail("or set `min_free` in numerus.toml lower");
    }
    let least = root.volumes.iter().min_by_key(|v| v.free_bytes);
    let free = least.map_or(0, |v| v.free_bytes);
    let kept = least.map_or(0, |v| v.kept_free(root.min_free));
    about(format!("{} are free; new work begins above {}", size(free), size(kept)))
}

/// Whether this git will do; `said` is what `git --version` says, nothing where there is none.
pub fn git(said: Option<&str>) -> Finding {
    let about = |said: String| Finding::ok("git", Part::Other, said);
    let (major, minor) = OLDEST_GIT;
    let hint = format!("install git {major}.{minor} or later");
    let Some(said) = said else { return about("git is not on the search path".into()).fail(hint) };
    let number = said.trim_start_matches("git version ");
    match series(number) {
        Some(found) if found >= OLDEST_GIT => about(number.to_owned()),
        Some(_) => about(format!("git {number} is too old")).fail(hint),
        None => about(format!("git says {said:?}, which is no version")).warn(hint),
    }
}

fn inotify(found: Inotify) -> Finding {
    let Inotify { instances, used_instances, watches, used_watches } = found;
    let finding = Finding::ok(
        "inotify",
        Part::Other,
        format!(
            "{used_instances} of {instances} instances and {used_watches} of {watches} watches in use"
        ),
    );
    let is_short = instances.saturating_sub(used_instances) < INSTANCES_LEFT
        || watches.saturating_sub(used_watches) < WATCHES_LEFT;
    if is_short {
        finding.warn(
            "without them changes are found by scans alone; raise fs.inotify.max_user_instances and \
             fs.inotify.max_user_watches with sysctl",
        )
    } else {
        finding
    }
}

fn open_files(most: Option<u64>) -> Finding {
    let about = |said: String| Finding::ok("open files", Part::Other, said);
    let hint = format!("raise it: `ulimit -n {0}`, or LimitNOFILE={0} in the service", 4096);
    match most {
        None => about("no limit".into()),
        Some(n) if n < OPEN_FILES.0 => about(format!("only {n} a process")).fail(hint),
        Some(n) if n < OPEN_FILES.1 => about(format!("only {n} a process")).warn(hint),
        Some(n) => about(format!("{n} a process")),
    }
}

fn clock(facts: &Facts) -> Finding {
    let now = facts.now;
    let about = |said: String| Finding::ok("clock", Part::Other, said);
    let set = "set the clock: times of limits and `not_before` are moments of it";
    if now.as_second() < EARLIEST_SECOND {
        return about(format!("it shows {now}, which is over")).fail(set);
    }
    if let Some(last) = facts.root.last_record.filter(|at| is_after(*at, now)) {
        return about(format!("it shows {now}, but the daemon's journal is of {last}")).warn(set);
    }
    let apart = facts.root.tried.iter().find_map(|t| {
        let at = t.file_time?;
        (is_after(at, now) || is_after(now, at)).then_some((t, at))
    });
    match apart {
        Some((tried, at)) => about(format!("it shows {now}, the files of {} {at}", tried.place))
            .warn("set both clocks: ages of files are judged by them"),
        None => about("it agrees with the files".into()),
    }
}

fn is_after(at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(at.duration_since(now)).is_ok_and(|ahead| ahead > CLOCKS_APART)
}

fn daemon(root: &Root) -> Vec<Finding> {
    let about = |name, said: String| Finding::ok(name, Part::Other, said);
    let mut all = Vec::new();
    all.push(match (&root.notice, root.is_led, root.waiting) {
        (Some(why), _, _) => about("daemon", format!("it starts no new work: {why}"))
            .warn("it goes on by itself when that is mended"),
        (None, true, _) => about("daemon", "one is active".into()),
        (None, false, 0) => about("daemon", "none is active; `run` and `start` need none".into()),
        (None, false, n) => about(
            "daemon",
            format!("none is active, and spool/incoming holds {}", plural(n, "file")),
        )
        .warn("start one: `numerus daemon`"),
    });
    all.extend(root.hooks.iter().map(|why| {
        about("hooks", why.clone())
            .warn("mend it, or take it out of hooks/ (docs/protocol.md, Hooks)")
    }));
    all.extend(root.held.iter().map(|held| {
        about("account", held.clone()).warn("`numerus start JOB` tries the account at once")
    }));
    if root.rejected > 0 {
        let said = format!("spool/rejected holds {}", plural(root.rejected, "file"));
        let hint = "the .reason.json beside each says why; `numerus retry NAME` drops it again once it is mended";
        all.push(about("rejected", said).warn(hint));
    }
    all.extend(
        root.edits.iter().map(|(said, hint)| about("edit", said.clone()).warn(hint.clone())),
    );
    if let Copies { jobs: jobs @ 1.., bytes } = root.copies {
        let (jobs, bytes) = (plural(jobs, "removed job"), size(bytes));
        let said = format!("store/pruned holds what is kept of {jobs}, {bytes}: yours to remove");
        all.push(about("copies", said));
    }
    all
}

#[cfg(test)]
mod tests;
