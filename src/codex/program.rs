//! Which codex is driven: the real one with the user's own settings, or the built-in stand-in with a script.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::logic::doctor::Lack;
use crate::model::job::Job;
use crate::model::root::Root;
use crate::model::settings::{Resources, Settings};
use crate::os::bounds::Bounds;
use crate::os::{env, fsx};

/// Variables that codex gets from our own environment, if they are set.
const PASSED: [&str; 22] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TERM",
    "TZ",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "CODEX_API_KEY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CODEX_CA_CERTIFICATE",
];

/// The word by which this program becomes the stand-in.
const STAND_IN: &str = "__codex";

/// Codex as a job uses it.
#[derive(Debug, Clone)]
pub struct Codex {
    /// The program and the words before its own.
    pub program: Vec<OsString>,
    /// Its home: login, settings, transcripts.
    pub home: PathBuf,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// What its processes may use up.
    pub bounds: Bounds,
}

impl Codex {
    /// Finds the codex that a job is to use.
    ///
    /// # Errors
    /// A sentence that says what is missing and what to do.
    pub fn for_job(root: &Root, settings: &Settings, job: &Job) -> Result<Self, String> {
        match Self::script_of(job.options.rehearse.as_deref(), settings) {
            Some(script) => Self::rehearsal(root, settings, script),
            None => Self::real(settings).map_err(|lack| lack.to_string()),
        }
    }

    /// The script that plays a job's agent: the job's own, else that of the settings; `None` where codex is asked.
    pub fn script_of<'a>(own: Option<&'a str>, settings: &'a Settings) -> Option<&'a str> {
        own.or(settings.rehearse.as_deref())
    }

    /// The home of the codex that a job is to use, whether it is there or not.
    pub fn home_for(root: &Root, settings: &Settings, job: &Job) -> PathBuf {
        match Self::script_of(job.options.rehearse.as_deref(), settings) {
            Some(_) => rehearsal_home(root),
            None => real_home(settings),
        }
    }

    /// The real codex, as the settings and the environment name it.
    ///
    /// # Errors
    /// When there is no such program or no home for it, with what to do.
    pub fn real(settings: &Settings) -> Result<Self, Lack> {
        let named = settings.codex_bin.as_deref().unwrap_or("codex");
        let program = env::find_program(Path::new(named)).ok_or_else(|| Lack {
            what: format!("codex was not found ({named})"),
            hint: "install it with `npm install -g @openai/codex`, or set CODEX_BIN".to_owned(),
        })?;
        let home = real_home(settings);
        if !home.is_dir() {
            return Err(Lack {
                what: format!("codex's home {} is not there", home.display()),
                hint: "log in with `codex login`, or set CODEX_HOME".to_owned(),
            });
        }
        let mut env = passed(&settings.env);
        env.extend(passed(&keys_of_providers(&home)));
        env.push(("CODEX_HOME".into(), home.clone().into()));
        Ok(Self { program: vec![program.into()], home, env, bounds: bounds(settings) })
    }

    /// Whether it is the stand-in, which confines nothing and need not.
    pub fn is_rehearsal(&self) -> bool {
        self.program.get(1).is_some_and(|word| word == STAND_IN)
    }

    fn rehearsal(root: &Root, settings: &Settings, script: &str) -> Result<Self, String> {
        let own =
            env::own_binary().map_err(|e| format!("cannot find this program's own file: {e}"))?;
        let home = rehearsal_home(root);
        fsx::make_dir(&home).map_err(|e| format!("cannot make the stand-in's home: {e}"))?;
        let mut env = passed(&settings.env);
        env.push(("CODEX_HOME".into(), home.clone().into()));
        if !script.is_empty() {
            env.push(("NUMERUS_STANDIN_SCRIPT".into(), script.into()));
        }
        if settings.rehearsal_commands {
            env.push(("NUMERUS_STANDIN_COMMANDS".into(), "1".into()));
        }
        let program = vec![own.into(), STAND_IN.into()];
        Ok(Self { program, home, env, bounds: bounds(settings) })
    }
}

/// What a session may take of the machine, as the operator set it.
pub(super) fn bounds(settings: &Settings) -> Bounds {
    let Resources { processes, memory, file, open_files } = settings.resources;
    Bounds { processes, memory, file, open_files }
}

fn real_home(settings: &Settings) -> PathBuf {
    match &settings.codex_home {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".codex"),
    }
}

fn rehearsal_home(root: &Root) -> PathBuf {
    root.store().join("rehearsal")
}

/// The always-passed variables and further ones, those that are set.
fn passed(further: &[String]) -> Vec<(OsString, OsString)> {
    let names = PASSED.iter().copied().chain(further.iter().map(String::as_str));
    names.filter_map(|name| Some((name.into(), env::var_os(name)?))).collect()
}

/// The variables in which the user's codex settings expect the keys of model providers.
fn keys_of_providers(home: &Path) -> Vec<String> {
    let text = fsx::read_optional(&home.join("config.toml")).ok().flatten().unwrap_or_default();
    let Ok(config) = text.parse::<toml::Table>() else { return Vec::new() };
    let providers = config.get("model_providers").and_then(toml::Value::as_table);
    let keys = providers
        .into_iter()
        .flatten()
        .filter_map(|(_, p)| p.get("env_key")?.as_str().map(str::to_owned));
    keys.collect()
}
