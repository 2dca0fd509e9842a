//! The operator's settings: flag > environment > `numerus.toml` > these defaults.

use std::time::Duration;

use serde_json::{Map, Value};

use super::fields::{Fields, quoted};
use super::job::{Enforce, MAX_OBJECTIVE_BYTES, RoleOptions, Roles, Sandbox};
use super::plan::Role;

/// What the processes of one session may use up; `None` is no bound of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Processes and threads: in the session's control group where it can bound them, else of the user as a whole.
    pub processes: Option<u64>,
    /// Bytes of memory: of the control group where it can bound them, else of each process.
    pub memory: Option<u64>,
    /// Bytes of the largest file.
    pub file: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
}

impl Default for Resources {
    fn default() -> Self {
        let (processes, open_files) = (Some(16_384), Some(65_536));
        Self { processes, memory: None, file: Some(65_536 * MIB), open_files }
    }
}

const MIB: u64 = 1024 * 1024;

impl Resources {
    /// Takes over what is named; 0 is no bound.
    fn overlaid(mut self, f: &mut Fields) -> Self {
        let Some(mut named) = f.object("resources") else { return self };
        for (key, unit, bound) in [
            ("processes", 1, &mut self.processes),
            ("memory_mib", MIB, &mut self.memory),
            ("file_mib", MIB, &mut self.file),
            ("open_files", 1, &mut self.open_files),
        ] {
            if let Some(n) = named.number(key, 0..=1 << 32) {
                *bound = (n > 0).then_some(n.unsigned_abs() * unit);
            }
        }
        f.merge(named);
        self
    }
}

/// Everything that an operator can set for a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Jobs that are worked on at a time in the whole root.
    pub max_jobs: usize,
    /// How long a file written in place must be quiet before it is taken.
    pub settle: Duration,
    /// Time between two scans that look for what events missed; `None` is by what the root lies on.
    pub rescan: Option<Duration>,
    /// How long a hook may take.
    pub hook_timeout: Duration,
    /// Largest objective file in bytes.
    pub max_objective_bytes: u64,
    /// What each log of one session keeps, in bytes: half of its beginning, half of its end.
    pub max_log: u64,
    /// What all logs of one job may have on disk, in bytes.
    pub max_job_logs: u64,
    /// What the logs of all jobs of the root may have on disk, in bytes.
    pub max_logs: u64,
    /// Bytes that stay free on the file systems of spool, runs and store; `None` is 256 MiB or 2 %, whichever is more.
    pub min_free: Option<u64>,
    /// The users whose files are taken; empty is this program's own and the owner of `incoming/`.
    pub allowed_uids: Vec<u32>,
    /// Most jobs of another user that are taken and have not ended.
    pub max_open_per_user: usize,
    /// Whether the root is worked on although others could change it, or what it lies on may lose it.
    pub trust_root: bool,
    /// What the processes of one session may use up.
    pub resources: Resources,
    /// Directory that dropped files work in when they name none; `None` is a fresh repository each.
    pub workspace: Option<String>,
    /// The codex binary; `None` is `codex` on the search path.
    pub codex_bin: Option<String>,
    /// Codex's home; `None` leaves it to codex.
    pub codex_home: Option<String>,
    /// Model for jobs that name none.
    pub model: Option<String>,
    /// Profile for jobs that name none.
    pub profile: Option<String>,
    /// What the agents of single roles use, in jobs that do not say otherwise.
    pub roles: Roles,
    /// The widest sandbox that a job may ask for.
    pub sandbox: Sandbox,
    /// Whether a job may ask for the network.
    pub network: bool,
    /// Whether a job may widen its claims at landing by what nobody else holds.
    pub amend: bool,
    /// Whether jobs are told of earlier ones, and remembered for later ones.
    pub memory: bool,
    /// How claims are kept while agents work; a job may be stricter.
    pub enforce: Enforce,
    /// Whether a job takes in what other jobs of the repository have landed before it writes there.
    pub take_in: bool,
    /// Names of further environment variables that codex gets.
    pub env: Vec<String>,
    /// Whether verify and setup commands run outside codex's sandbox.
    pub verify_unsandboxed: bool,
    /// Script that plays codex's part for every job that names none; empty is the built-in one.
    pub rehearse: Option<String>,
    /// Whether a rehearsal's script may run commands and write anywhere.
    pub rehearsal_commands: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_jobs: 4,
            settle: Duration::from_millis(100),
            rescan: None,
            hook_timeout: Duration::from_secs(30),
            max_objective_bytes: MAX_OBJECTIVE_BYTES,
            max_log: 128 * MIB,
            max_job_logs: 2048 * MIB,
            max_logs: 32 * 1024 * MIB,
            min_free: None,
            allowed_uids: Vec::new(),
            max_open_per_user: 1000,
            trust_root: false,
            resources: Resources::default(),
            workspace: None,
            codex_bin: None,
            codex_home: None,
            model: None,
            profile: None,
            roles: Roles::new(),
            sandbox: Sandbox::WorkspaceWrite,
            network: false,
            amend: true,
            memory: true,
            enforce: Enforce::Audit,
            take_in: true,
            env: Vec::new(),
            verify_unsandboxed: false,
            rehearse: None,
            rehearsal_commands: false,
        }
    }
}

/// The least that a log may be made to keep, and the most, in bytes.
const LOG_BYTES: std::ops::RangeInclusive<i64> = 4096..=1 << 50;
/// Longest text that a setting may hold, in bytes.
const MAX_TEXT_BYTES: usize = 4096;

/// Most users that may be named.
const MAX_UIDS: usize = 1024;

impl Settings {
    /// The users whose files are taken: our own and root, who need no leave, and those named, or if none is whoever owns
    /// `incoming/`.
    pub fn droppers(&self, own: u32, owner_of_incoming: u32) -> Vec<u32> {
        let named = match self.allowed_uids.as_slice() {
            [] => &[owner_of_incoming],
            named => named,
        };
        let mut users: Vec<u32> = named.iter().copied().chain([own, 0]).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Lays the keys of a `numerus.toml` over these settings.
    ///
    /// # Errors
    /// Every unknown key and wrong value.
    pub fn overlaid(mut self, object: Map<String, Value>) -> Result<Self, Vec<String>> {
        let mut f = Fields::new(object, "");
        if let Some(n) = f.number("max_jobs", 1..=1024) {
            self.max_jobs = usize::try_from(n).unwrap_or(self.max_jobs);
        }
        if let Some(n) = f.number("max_objective", 1..=16 * 1024 * 1024) {
            self.max_objective_bytes = n.unsigned_abs();
        }
        for (key, bytes) in [
            ("max_log", &mut self.max_log),
            ("max_job_logs", &mut self.max_job_logs),
            ("max_logs", &mut self.max_logs),
        ] {
            *bytes = f.number(key, LOG_BYTES).map_or(*bytes, i64::unsigned_abs);
        }
        self.min_free = f.number("min_free", 0..=i64::MAX).map(i64::unsigned_abs).or(self.min_free);
        if let Some(n) = f.number("max_open_per_user", 1..=1_000_000) {
            self.max_open_per_user = usize::try_from(n).unwrap_or(self.max_open_per_user);
        }
        self.allowed_uids = f.uids("allowed_uids", MAX_UIDS).unwrap_or(self.allowed_uids);
        self.trust_root = f.flag("trust_root").unwrap_or(self.trust_root);
        self.resources = self.resources.overlaid(&mut f);
        self.settle = f.duration("settle").unwrap_or(self.settle);
        self.rescan = f.duration("rescan").or(self.rescan);
        self.hook_timeout = f.duration("hook_timeout").unwrap_or(self.hook_timeout);
        self.workspace = workspace(&mut f).or(self.workspace);
        self.codex_bin = f.text("codex_bin", MAX_TEXT_BYTES).or(self.codex_bin);
        self.codex_home = f.text("codex_home", MAX_TEXT_BYTES).or(self.codex_home);
        self.model = f.text("model", 128).or(self.model);
        self.profile = f.text("profile", 128).or(self.profile);
        self.roles = overlaid_roles(roles(&mut f), &self.roles);
        self.sandbox = f.choice("sandbox", &SANDBOXES).unwrap_or(self.sandbox);
        self.network = f.flag("network").unwrap_or(self.network);
        self.amend = f.flag("amend").unwrap_or(self.amend);
        self.memory = f.flag("memory").unwrap_or(self.memory);
        self.enforce = f.choice("enforce", &ENFORCE).unwrap_or(self.enforce);
        self.take_in = f.flag("take_in").unwrap_or(self.take_in);
        self.env = f.texts("env", 64).unwrap_or(self.env);
        self.verify_unsandboxed = f.flag("verify_unsandboxed").unwrap_or(self.verify_unsandboxed);
        self.rehearse = absolute_rehearsal(&mut f).or(self.rehearse);
        self.rehearsal_commands = f.flag("rehearsal_commands").unwrap_or(self.rehearsal_commands);
        f.finish().map(|()| self)
    }
}

/// Where jobs work that name no place: relative to nothing that every command has in common.
fn workspace(fields: &mut Fields) -> Option<String> {
    let path = fields.text("workspace", MAX_TEXT_BYTES)?;
    if !path.starts_with('/') {
        fields.problem(format!("`workspace` must be an absolute path, not {}", quoted(&path)));
    }
    Some(path)
}

/// `rehearse` is `"builtin"` or the path of a script.
pub fn rehearsal(fields: &mut Fields) -> Option<String> {
    let script = fields.text("rehearse", MAX_TEXT_BYTES)?;
    Some(if script == "builtin" { String::new() } else { script })
}

/// The same of the settings: the path is relative to nothing that every command has in common.
fn absolute_rehearsal(fields: &mut Fields) -> Option<String> {
    let script = rehearsal(fields)?;
    if !script.is_empty() && !script.starts_with('/') {
        let given = quoted(&script);
        fields.problem(format!("`rehearse` must be \"builtin\" or an absolute path, not {given}"));
    }
    Some(script)
}

/// `roles`: an object of roles, each with what its agents use.
pub fn roles(fields: &mut Fields) -> Roles {
    let Some(mut named) = fields.object("roles") else { return Roles::new() };
    let mut all = Roles::new();
    for role in Role::ALL {
        let Some(mut f) = named.object(role.as_str()) else { continue };
        let options = RoleOptions {
            model: f.word("model"),
            profile: f.word("profile"),
            sandbox: f.choice("sandbox", &SANDBOXES),
        };
        named.merge(f);
        all.insert(role, options);
    }
    fields.merge(named);
    all
}

/// Lays what is said of roles over what was said before.
pub fn overlaid_roles(over: Roles, under: &Roles) -> Roles {
    let mut all = under.clone();
    for (role, options) in over {
        let known = all.entry(role).or_default();
        known.model = options.model.or(known.model.take());
        known.profile = options.profile.or(known.profile.take());
        known.sandbox = options.sandbox.or(known.sandbox);
    }
    all
}

/// The words for sandboxes, narrowest first.
pub const SANDBOXES: [(&str, Sandbox); 3] = [
    ("read-only", Sandbox::ReadOnly),
    ("workspace-write", Sandbox::WorkspaceWrite),
    ("danger-full-access", Sandbox::DangerFullAccess),
];

/// The words for how claims are kept, laxest first.
pub const ENFORCE: [(&str, Enforce); 2] = [("audit", Enforce::Audit), ("strict", Enforce::Strict)];
