//! Finds a root, makes it, checks that its three folders belong together, and reads its settings.
//!
//! Diagnostics: folders of different roots, a root newer than this program, and settings that cannot be read are fatal,
//! with the file and the key; nothing is repaired over a doubt.

mod preflight;

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::model::PROTOCOL_VERSION;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::{env, fsx, random};
use crate::runs::Runs;
use crate::spool::Spool;

pub use preflight::preflight;

/// Why a root cannot be used.
#[derive(Debug, Error)]
pub enum RootError {
    /// A folder belongs to another root, or is not mounted.
    #[error("{} does not belong to this root: {why}", folder.display())]
    Mismatch {
        /// The folder.
        folder: PathBuf,
        /// What was found.
        why: String,
    },
    /// A later version of this program wrote it.
    #[error("{} was written by a later version ({found}; this one knows {PROTOCOL_VERSION})", folder.display())]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The version found.
        found: u32,
    },
    /// Others could change it, or what it lies on does not keep what is written.
    #[error("{} cannot be trusted: {why}", folder.display())]
    Unsafe {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The settings have unknown keys or wrong values.
    #[error("{source_name}: {}", problems.join("; "))]
    Settings {
        /// The file, or the environment.
        source_name: String,
        /// Each problem, with its key.
        problems: Vec<String>,
    },
    /// The system says no.
    #[error(transparent)]
    Io(#[from] Error),
}

impl RootError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Mismatch { .. } => "mount what is missing, or name another root with --root",
            Self::Newer { .. } => "use that version, or name another root with --root",
            Self::Unsafe { .. } => {
                "where that is meant to be so, set `trust_root = true` in numerus.toml; see docs/security.md"
            }
            Self::Settings { .. } => {
                "mend the file or the variable; README.md and the page numerus.toml(5) list every setting"
            }
            Self::Io(_) => "let your user write there, or name another root with --root",
        }
    }
}

/// `numerus.toml` as `numerus init` writes it: every setting with its default, all of it commented out.
pub const TEMPLATE: &str = include_str!("root/numerus.toml");

/// Makes a root with such a file; false if there is one already, which stays as it is.
///
/// # Errors
/// What is wrong with the root, or those of the system.
pub fn init(root: &Root) -> Result<bool, RootError> {
    if root.settings_file().symlink_metadata().is_ok() {
        return Ok(false);
    }
    check_instance(root, true)?;
    Spool::of(root).create()?;
    match fsx::put_new(&root.settings_file(), TEMPLATE.as_bytes()) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        made => Ok(made.map(|()| true)?),
    }
}

/// `.instance` in each of the three folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Instance {
    version: u32,
    id: String,
}

/// Finds the root: the flag, else `NUMERUS_ROOT`, else the nearest folder above that has `spool/incoming`, else the
/// user's state folder. The folder need not exist.
///
/// # Errors
/// When there is no flag, no variable, no root above and no home.
pub fn discover(flag: Option<&Path>) -> std::io::Result<Root> {
    let named = flag.map(Path::to_owned).or_else(|| env::var_os("NUMERUS_ROOT").map(PathBuf::from));
    if let Some(path) = named {
        return Ok(Root::new(std::path::absolute(path)?));
    }
    if let Some(path) = above(&std::env::current_dir()?) {
        return Ok(Root::new(path));
    }
    let state = state_dir().ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "no root: neither --root, NUMERUS_ROOT nor HOME is set")
    })?;
    Ok(Root::new(std::path::absolute(state)?))
}

/// The user's state folder for this program; `None` without a home.
pub fn state_dir() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.or_else(home)?.join("numerus"))
}

fn above(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|d| d.join("spool/incoming").is_dir()).map(Path::to_owned)
}

/// Opens a root: makes what is missing if `create`, checks that its folders belong together, reads its settings. With
/// `create` false, a root that is not there yet is an empty one.
///
/// # Errors
/// What is wrong with the root or its settings.
pub fn open(root: &Root, create: bool) -> Result<Settings, RootError> {
    check_instance(root, create)?;
    if create {
        Spool::of(root).create()?;
    }
    load_settings(root, &env::var)
}

/// The settings of a root, whatever state its folders are in.
///
/// # Errors
/// What is wrong with them.
pub fn settings(root: &Root) -> Result<Settings, RootError> {
    load_settings(root, &env::var)
}

/// Checks that the folders of a root belong together; the answer is their id, `None` for a root that is not made yet, or gone.
///
/// # Errors
/// What is wrong with them.
pub fn check(root: &Root) -> Result<Option<String>, RootError> {
    check_instance(root, false)
}

/// Spool last: where it has an id, the other two must have it.
fn folders(root: &Root) -> [PathBuf; 3] {
    [root.store(), root.runs(), root.spool()]
}

/// Looks once more before it says that something is missing: somebody may just have made the root, and taken its first job.
fn check_instance(root: &Root, create: bool) -> Result<Option<String>, RootError> {
    match look_at_instances(root, create) {
        Err(RootError::Mismatch { .. }) => look_at_instances(root, create),
        looked => looked,
    }
}

fn look_at_instances(root: &Root, create: bool) -> Result<Option<String>, RootError> {
    // Read from the last one made to the first: a root that somebody is just making never looks as if one were missing.
    let mut found = Vec::new();
    for folder in folders(root).into_iter().rev() {
        let instance = read_instance(&folder)?;
        found.insert(0, (folder, instance));
    }
    let known: Option<Instance> = found.iter().find_map(|(_, i)| i.clone());
    // A root that was never finished has no jobs: one that has some was whole.
    let is_complete = found.last().is_some_and(|(_, i)| i.is_some())
        || (known.is_some() && !Runs::of(root).jobs()?.is_empty());
    for (folder, instance) in &found {
        match (instance, &known) {
            (Some(own), Some(first)) if own.id != first.id => {
                let why = format!("its id is {}, that of the others {}", own.id, first.id);
                return Err(RootError::Mismatch { folder: folder.clone(), why });
            }
            (None, Some(_)) if is_complete => {
                let why = "it has no .instance file; is a volume not mounted?".to_owned();
                return Err(RootError::Mismatch { folder: folder.clone(), why });
            }
            _ => {}
        }
    }
    if create && !is_complete {
        return mark(&found, known).map(Some);
    }
    Ok(known.map(|instance| instance.id))
}

fn read_instance(folder: &Path) -> Result<Option<Instance>, RootError> {
    let path = folder.join(".instance");
    let Some(text) = fsx::read_optional(&path)? else { return Ok(None) };
    let instance: Instance = serde_json::from_str(&text).map_err(|e| RootError::Mismatch {
        folder: folder.to_owned(),
        why: format!("its .instance file cannot be read: {e}"),
    })?;
    if instance.version > PROTOCOL_VERSION {
        return Err(RootError::Newer { folder: folder.to_owned(), found: instance.version });
    }
    Ok(Some(instance))
}

/// Makes the folders and gives each the same id, which is the answer; two programs that do so at once agree on the first one's.
fn mark(
    found: &[(PathBuf, Option<Instance>)],
    known: Option<Instance>,
) -> Result<String, RootError> {
    let fresh = || -> Result<Instance, Error> {
        Ok(Instance { version: PROTOCOL_VERSION, id: random::base32(26)? })
    };
    let mut instance = known.map_or_else(fresh, Ok)?;
    for (folder, _) in found {
        fsx::make_kept_dirs(folder)?;
        put_if_absent(&folder.join(".gitignore"), b"*\n")?;
        let json = serde_json::to_vec(&instance).map_err(Error::from)?;
        put_if_absent(&folder.join(".instance"), &json)?;
        instance = read_instance(folder)?.unwrap_or(instance);
    }
    Ok(instance.id)
}

fn put_if_absent(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    match fsx::put_new(path, bytes) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// A kind of value that a variable of the environment is read as.
#[derive(Clone, Copy)]
enum As {
    Text,
    Number,
    Flag,
    /// An object or a list, as JSON.
    Table,
}

/// The variables and the keys that they set.
const VARIABLES: [(&str, &str, As); 29] = [
    ("NUMERUS_MAX_JOBS", "max_jobs", As::Number),
    ("NUMERUS_MAX_OBJECTIVE", "max_objective", As::Number),
    ("NUMERUS_MAX_LOG", "max_log", As::Number),
    ("NUMERUS_MAX_JOB_LOGS", "max_job_logs", As::Number),
    ("NUMERUS_MAX_LOGS", "max_logs", As::Number),
    ("NUMERUS_MIN_FREE", "min_free", As::Number),
    ("NUMERUS_ALLOWED_UIDS", "allowed_uids", As::Table),
    ("NUMERUS_MAX_OPEN_PER_USER", "max_open_per_user", As::Number),
    ("NUMERUS_TRUST_ROOT", "trust_root", As::Flag),
    ("NUMERUS_RESOURCES", "resources", As::Table),
    ("NUMERUS_SETTLE", "settle", As::Text),
    ("NUMERUS_RESCAN", "rescan", As::Text),
    ("NUMERUS_HOOK_TIMEOUT", "hook_timeout", As::Text),
    ("NUMERUS_WORKSPACE", "workspace", As::Text),
    ("CODEX_BIN", "codex_bin", As::Text),
    ("CODEX_HOME", "codex_home", As::Text),
    ("NUMERUS_MODEL", "model", As::Text),
    ("NUMERUS_PROFILE", "profile", As::Text),
    ("NUMERUS_ROLES", "roles", As::Table),
    ("NUMERUS_SANDBOX", "sandbox", As::Text),
    ("NUMERUS_NETWORK", "network", As::Flag),
    ("NUMERUS_AMEND", "amend", As::Flag),
    ("NUMERUS_MEMORY", "memory", As::Flag),
    ("NUMERUS_ENFORCE", "enforce", As::Text),
    ("NUMERUS_TAKE_IN", "take_in", As::Flag),
    ("NUMERUS_ENV", "env", As::Text),
    ("NUMERUS_VERIFY_UNSANDBOXED", "verify_unsandboxed", As::Flag),
    ("NUMERUS_REHEARSE", "rehearse", As::Text),
    ("NUMERUS_REHEARSAL_COMMANDS", "rehearsal_commands", As::Flag),
];

fn load_settings(
    root: &Root,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, RootError> {
    let file = root.settings_file();
    let name = file.display().to_string();
    let problem = |problems| RootError::Settings { source_name: name.clone(), problems };
    let mut settings = Settings::default();
    if let Some(text) = fsx::read_optional(&file)? {
        let table: toml::Table =
            toml::from_str(&text).map_err(|e| problem(vec![in_one_line(&text, &e)]))?;
        settings = settings.overlaid(to_object(table)).map_err(&problem)?;
    }
    for (variable_name, key, kind) in VARIABLES {
        let Some(text) = variable(variable_name) else { continue };
        let object = Map::from_iter([(key.to_owned(), read_as(&text, kind))]);
        settings = settings.overlaid(object).map_err(|problems| RootError::Settings {
            source_name: format!("the environment's {variable_name}"),
            problems,
        })?;
    }
    Ok(settings)
}

/// What is wrong with a text that is no TOML, and in which line.
fn in_one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim();
    let Some(span) = error.span() else { return message.to_owned() };
    let before = text.get(..span.start).unwrap_or(text);
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default().trim();
    format!("line {}, `{line}`: {message}", number + 1)
}

fn read_as(text: &str, kind: As) -> Value {
    match (kind, text) {
        (As::Flag, "true" | "1") => Value::Bool(true),
        (As::Flag, "false" | "0") => Value::Bool(false),
        (As::Number, _) => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        (As::Table, _) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        (As::Text | As::Flag, _) => Value::from(text),
    }
}

fn to_object(table: toml::Table) -> Map<String, Value> {
    table.into_iter().map(|(key, value)| (key, to_json(value))).collect()
}

fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(list) => Value::Array(list.into_iter().map(to_json).collect()),
        toml::Value::Table(table) => Value::Object(to_object(table)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Root) {
        let d = tempfile::tempdir().expect("scratch");
        let root = Root::new(d.path().join("root"));
        (d, root)
    }

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_root_is_made_once_and_keeps_its_id() {
        let (_d, root) = scratch();
        check_instance(&root, false).expect("a root that is not there is empty");
        assert!(!root.path().exists(), "looking makes nothing");
        open(&root, true).expect("made");
        let first = read_instance(&root.spool()).expect("read");
        assert!(first.is_some());
        for folder in folders(&root) {
            assert_eq!(read_instance(&folder).expect("read"), first);
            let ignore = fsx::read_optional(&folder.join(".gitignore")).expect("read");
            assert_eq!(ignore.as_deref(), Some("*\n"));
        }
        fsx::put(&root.runs().join(".gitignore"), b"*\n!README.md\n").expect("edit");
        open(&root, true).expect("again");
        assert_eq!(read_instance(&root.spool()).expect("read"), first);
        let ignore = fsx::read_optional(&root.runs().join(".gitignore")).expect("read");
        assert_eq!(ignore.as_deref(), Some("*\n!README.md\n"), "an existing one is kept");
    }

    #[test]
    fn folders_of_two_roots_and_missing_volumes_are_refused() {
        let (_d, root) = scratch();
        open(&root, true).expect("made");
        let other = Instance { version: 1, id: "other".into() };
        let json = serde_json::to_vec(&other).expect("json");
        let path = root.runs().join(".instance");
        fsx::put(&path, &json).expect("put");
        assert!(matches!(open(&root, false), Err(RootError::Mismatch { .. })));
        fsx::remove(&path).expect("remove");
        assert!(matches!(open(&root, true), Err(RootError::Mismatch { .. })));
        let newer = Instance { version: PROTOCOL_VERSION + 1, id: "other".into() };
        fsx::put(&path, &serde_json::to_vec(&newer).expect("json")).expect("put");
        assert!(matches!(open(&root, false), Err(RootError::Newer { .. })));
    }

    #[test]
    fn each_volume_that_is_missing_is_refused_once_there_are_jobs() {
        for at in 0..3 {
            let (_d, root) = scratch();
            open(&root, true).expect("made");
            fsx::make_dirs(&root.runs().join("a-abc234")).expect("a job");
            let [store, runs, spool] = folders(&root);
            let missing = [&store, &runs, &spool][at];
            fsx::remove_tree(missing).expect("unmounted");
            for is_empty_folder in [false, true] {
                let error = open(&root, true).expect_err("refused").to_string();
                assert!(error.contains("not mounted"), "{error}");
                assert!(error.contains(&missing.display().to_string()), "{error}");
                assert_eq!(missing.exists(), is_empty_folder, "nothing is made over a doubt");
                fsx::make_dirs(missing).expect("an empty mount point");
            }
        }
    }

    #[test]
    fn a_killed_making_is_finished_with_the_same_id() {
        let (_d, root) = scratch();
        open(&root, true).expect("made");
        let first = read_instance(&root.store()).expect("read");
        fsx::remove(&root.spool().join(".instance")).expect("as if killed before");
        fsx::remove(&root.runs().join(".instance")).expect("as if killed before");
        open(&root, true).expect("finished");
        assert_eq!(read_instance(&root.spool()).expect("read"), first);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let (_d, root) = scratch();
        open(&root, true).expect("made");
        let toml = b"max_jobs = 2\nsettle = \"1s\"\nenv = [\"A\", \"B\"]\n";
        fsx::put(&root.settings_file(), toml).expect("put");
        let settings = load_settings(&root, &none).expect("good");
        assert_eq!((settings.max_jobs, settings.settle), (2, Duration::from_secs(1)));
        assert_eq!(settings.env, ["A", "B"]);
        let from = |name: &str| match name {
            "NUMERUS_MAX_JOBS" => Some("9".to_owned()),
            "NUMERUS_NETWORK" => Some("1".to_owned()),
            "CODEX_BIN" => Some("/opt/codex".to_owned()),
            _ => None,
        };
        let settings = load_settings(&root, &from).expect("good");
        assert_eq!((settings.max_jobs, settings.network), (9, true));
        assert_eq!(settings.codex_bin.as_deref(), Some("/opt/codex"));
        assert_eq!(settings.settle, Duration::from_secs(1));
    }

    #[test]
    fn wrong_settings_name_their_source_and_key() {
        let (_d, root) = scratch();
        open(&root, true).expect("made");
        for (toml, says) in
            [("max_jbos = 2", "`max_jobs`"), ("max_jobs = 0", "`max_jobs`"), ("a = ", "line 1")]
        {
            fsx::put(&root.settings_file(), toml.as_bytes()).expect("put");
            let error = load_settings(&root, &none).expect_err(toml).to_string();
            assert!(error.contains(says) && error.contains("numerus.toml"), "{error}");
        }
        fsx::remove(&root.settings_file()).expect("remove");
        let from = |name: &str| (name == "NUMERUS_MAX_JOBS").then(|| "many".to_owned());
        let error = load_settings(&root, &from).expect_err("many").to_string();
        assert!(error.contains("NUMERUS_MAX_JOBS") && error.contains("whole number"), "{error}");
    }

    #[test]
    fn the_nearest_root_above_is_found() {
        let d = tempfile::tempdir().expect("scratch");
        fsx::make_dirs(&d.path().join("a/spool/incoming")).expect("dirs");
        fsx::make_dirs(&d.path().join("a/b/c")).expect("dirs");
        assert_eq!(above(&d.path().join("a/b/c")), Some(d.path().join("a")));
        assert_eq!(discover(Some(d.path())).expect("flag"), Root::new(d.path()));
    }
}
