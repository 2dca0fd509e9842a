//! Admission: the bytes of a dropped file become a job's objective and options, or the reason why not. Everything is
//! checked here, once; behind it no option is looked at with suspicion again.

mod places;
mod rights;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::places::{check_carry, lexical, usable};
use self::rights::{Rights, can_enforce};
use super::frontmatter;
use crate::model::fields::{Fields, missing, quoted};
use crate::model::id::JobId;
use crate::model::job::{After, Budget, OnInterrupt, Options, Planning, RetryOf, Timeouts};
use crate::model::rejection::{Code, Reason};
use crate::model::settings::{ENFORCE, SANDBOXES, Settings, overlaid_roles, rehearsal, roles};
use crate::model::workspace::Isolation;

/// Longest path that an option may hold, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// Most entries of a list among the options.
const MAX_LIST: usize = 64;
/// Most jobs that a reason names.
const MOST_NAMED: usize = 8;

/// How the bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Options as front matter, then the objective.
    Markdown,
    /// An object with `objective` and the options.
    Json,
    /// The objective alone.
    Text,
}

/// What admission has to know of the world.
pub struct Facts<'a> {
    /// The operator's settings.
    pub settings: &'a Settings,
    /// Resolves a directory's path through all links; an error says in words why it cannot be used.
    pub resolve: &'a dyn Fn(&str) -> Result<String, String>,
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("settings", self.settings).finish_non_exhaustive()
    }
}

/// What was accepted; `after` still holds the prefixes that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What is to be done.
    pub objective: String,
    /// How.
    pub options: Options,
}

/// Reads a dropped file.
///
/// # Errors
/// The reason why it is not accepted.
pub fn admit(bytes: &[u8], shape: Shape, facts: &Facts<'_>) -> Result<Admitted, Reason> {
    if bytes.len() as u64 > facts.settings.max_objective_bytes {
        return Err(too_large(bytes.len() as u64, facts.settings.max_objective_bytes));
    }
    let text = decode(bytes)?;
    let (objective, object) = match shape {
        Shape::Text => (text.to_owned(), Map::new()),
        Shape::Markdown => from_markdown(text)?,
        Shape::Json => from_json(text)?,
    };
    if objective.trim().is_empty() {
        return Err(empty());
    }
    Ok(Admitted { objective, options: options(object, facts)? })
}

/// The jobs that a dropped file names in `after` and `retry_of`, as they are written there, whatever else is wrong with it.
pub fn named(bytes: &[u8], shape: Shape) -> Vec<String> {
    let read = decode(bytes).and_then(|text| match shape {
        Shape::Text => Ok((String::new(), Map::new())),
        Shape::Markdown => from_markdown(text),
        Shape::Json => from_json(text),
    });
    let Ok((_, object)) = read else { return Vec::new() };
    let mut f = Fields::new(object, "");
    let after = after(&mut f).into_iter().map(|after| after.job);
    let earlier = retry_of(&mut f).map(|retry| retry.job.into());
    after.chain(earlier).collect()
}

/// The reason for a file over the limit, for callers who need not even read it.
pub fn too_large(bytes: u64, limit: u64) -> Reason {
    let message = format!("the file has {bytes} bytes, the limit is {limit}");
    Reason::new(
        Code::TooLarge,
        message,
        "put the material into the workspace and name it in the objective",
    )
}

fn empty() -> Reason {
    Reason::new(Code::Empty, "there is no objective in it", "write what is to be done")
}

fn decode(bytes: &[u8]) -> Result<&str, Reason> {
    if bytes.is_empty() {
        return Err(empty());
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let message = format!("not UTF-8 at byte {}", e.valid_up_to());
        Reason::new(Code::Utf8, message, "save the file as UTF-8 text")
    })?;
    match text.find('\0') {
        Some(at) => Err(Reason::new(
            Code::Nul,
            format!("a NUL byte at byte {at}"),
            "save the file as UTF-8 text, not as UTF-16 or binary",
        )),
        None => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
    }
}

fn syntax(message: impl Into<String>) -> Reason {
    Reason::new(Code::Syntax, message, "see docs/protocol.md for the form of a job file")
}

fn from_markdown(text: &str) -> Result<(String, Map<String, Value>), Reason> {
    let parts = frontmatter::split(text).map_err(syntax)?;
    let object = parts.front.map_or(Ok(Map::new()), frontmatter::parse).map_err(syntax)?;
    Ok((parts.body.to_owned(), object))
}

fn from_json(text: &str) -> Result<(String, Map<String, Value>), Reason> {
    if text.trim().is_empty() {
        return Err(empty());
    }
    let value: Value = serde_json::from_str(text).map_err(|e| syntax(e.to_string()))?;
    let Value::Object(mut object) = value else {
        return Err(syntax("the file must hold one object, such as {\"objective\": \"...\"}"));
    };
    match object.remove("objective") {
        Some(Value::String(objective)) if objective.contains('\0') => {
            Err(Reason::new(Code::Nul, "a NUL in `objective`", "remove it"))
        }
        Some(Value::String(objective)) => Ok((objective, object)),
        Some(_) => Err(field(&["`objective` must be a text".to_owned()])),
        None => Err(field(&[missing("objective", object.keys())])),
    }
}

fn field(problems: &[String]) -> Reason {
    Reason::new(Code::Field, problems.join("; "), "see docs/protocol.md for the options of a job")
}

/// Reads the options; what is not said comes from the settings.
fn options(object: Map<String, Value>, facts: &Facts<'_>) -> Result<Options, Reason> {
    if object.values().any(has_nul) {
        return Err(field(&["an option holds a NUL".to_owned()]));
    }
    let settings = facts.settings;
    let mut f = Fields::new(object, "");
    let own_roles = roles(&mut f);
    let asked = Rights {
        network: f.flag("network"),
        sandbox: f.choice("sandbox", &SANDBOXES),
        widest_role: own_roles.values().filter_map(|r| r.sandbox).max(),
        amend: f.flag("amend"),
        memory: f.flag("memory"),
        enforce: f.choice("enforce", &ENFORCE),
    };
    let workspace = f.text("workspace", MAX_PATH_BYTES).or_else(|| settings.workspace.clone());
    let script = rehearsal(&mut f);
    let defaults = Options::default();
    let mut options = Options {
        model: f.word("model").or_else(|| settings.model.clone()),
        profile: f.word("profile").or_else(|| settings.profile.clone()),
        sandbox: asked.sandbox.unwrap_or(defaults.sandbox.min(settings.sandbox)),
        network: asked.network.unwrap_or(false),
        amend: asked.amend.unwrap_or(settings.amend),
        memory: asked.memory.unwrap_or(settings.memory),
        enforce: asked.enforce.unwrap_or(settings.enforce),
        roles: overlaid_roles(own_roles, &settings.roles),
        rehearse: script.clone().or_else(|| settings.rehearse.clone()),
        ..when(&mut f, defaults)
    };
    options = how(&mut f, options);
    f.finish().map_err(|problems| field(&problems))?;
    asked.granted(settings)?;
    can_enforce(&options, settings)?;
    if let Some(path) = script.filter(|s| !s.is_empty()) {
        lexical("rehearse", &path)?;
    }
    options.workspace = workspace.map(|w| usable(&w, facts)).transpose()?;
    check_carry(&options.carry)?;
    Ok(options)
}

/// The options that say when a job runs.
fn when(f: &mut Fields, defaults: Options) -> Options {
    Options {
        priority: f.number("priority", -100..=100).unwrap_or(defaults.priority),
        after: after(f),
        not_before: f.timestamp("not_before"),
        key: f.text("key", 128),
        budget: budget(f),
        timeouts: timeouts(f),
        on_interrupt: f
            .choice("on_interrupt", &[("retry", OnInterrupt::Retry), ("hold", OnInterrupt::Hold)])
            .unwrap_or(defaults.on_interrupt),
        labels: f.texts("labels", MAX_LIST).unwrap_or_default(),
        ..defaults
    }
}

/// The options that say how it works.
fn how(f: &mut Fields, defaults: Options) -> Options {
    let max_parallel = f.number("max_parallel", 1..=64).and_then(|n| usize::try_from(n).ok());
    let max_attempts = f.number("max_attempts", 1..=20).and_then(|n| u32::try_from(n).ok());
    Options {
        plan: f
            .choice("plan", &[("auto", Planning::Auto), ("single", Planning::Single)])
            .unwrap_or(defaults.plan),
        max_parallel: max_parallel.unwrap_or(defaults.max_parallel),
        max_attempts: max_attempts.unwrap_or(defaults.max_attempts),
        isolation: f
            .choice(
                "isolation",
                &[("worktree", Isolation::Worktree), ("in-place", Isolation::InPlace)],
            )
            .unwrap_or(defaults.isolation),
        setup: f.texts("setup", MAX_LIST).unwrap_or_default(),
        carry: f.texts("carry", MAX_LIST).unwrap_or_default(),
        verify: f.texts("verify", MAX_LIST).unwrap_or_default(),
        review: f.flag("review").unwrap_or(defaults.review),
        approve: f.flag("approve").unwrap_or(defaults.approve),
        retry_of: retry_of(f),
        ..defaults
    }
}

fn retry_of(f: &mut Fields) -> Option<RetryOf> {
    let text = f.text("retry_of", 128)?;
    RetryOf::try_from(text).map_err(|problem| f.problem(format!("`retry_of`: {problem}"))).ok()
}

fn after(f: &mut Fields) -> Vec<After> {
    let mut list = Vec::new();
    for text in f.texts("after", MAX_LIST).unwrap_or_default() {
        match After::try_from(text) {
            Ok(after) => list.push(after),
            Err(problem) => f.problem(format!("`after`: {problem}")),
        }
    }
    list
}

fn budget(f: &mut Fields) -> Budget {
    let Some(mut b) = f.object("budget") else { return Budget::default() };
    let budget = Budget {
        tokens: b.number("tokens", 1..=i64::MAX).map(i64::unsigned_abs),
        wall_seconds: b.duration("wall").map(|d| d.as_secs().max(1)),
    };
    f.merge(b);
    budget
}

fn timeouts(f: &mut Fields) -> Timeouts {
    let mut all = Timeouts::default();
    let Some(mut t) = f.object("timeouts") else { return all };
    let kinds = [
        ("plan", &mut all.plan),
        ("roles", &mut all.roles),
        ("claim", &mut all.claim),
        ("execute", &mut all.execute),
        ("review", &mut all.review),
        ("queen", &mut all.queen),
        ("verify", &mut all.verify),
        ("no_progress", &mut all.no_progress),
    ];
    for (key, timeout) in kinds {
        *timeout = t.duration(key).unwrap_or(*timeout);
    }
    f.merge(t);
    all
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains('\0') || has_nul(v)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The jobs that `after` may name, each with whether it has ended.
pub type Known = BTreeMap<JobId, bool>;

/// Turns each prefix in `after` into the whole id of a known job: of several of the same name, such as one and its retry, the
/// only one that has not ended is meant.
///
/// # Errors
/// When a prefix fits none of them, or several.
pub fn resolve_after(after: &[After], known: &Known) -> Result<Vec<After>, Reason> {
    after.iter().map(|one| Ok(After { job: resolve(&one.job, known)?, any: one.any })).collect()
}

fn resolve(prefix: &str, known: &Known) -> Result<String, Reason> {
    let fits = |(id, _): &(&JobId, &bool)| id.as_str().starts_with(prefix);
    let fitting: Vec<(&JobId, &bool)> = known.iter().filter(fits).collect();
    if let Some((exact, _)) = fitting.iter().find(|(id, _)| id.as_str() == prefix) {
        return Ok(exact.to_string());
    }
    match fitting.as_slice() {
        [(one, _)] => return Ok(one.to_string()),
        [] => {
            let problem = format!("`after`: there is no job {}", quoted(prefix));
            return Err(Reason::new(Code::After, problem, "`numerus status --all` lists the jobs"));
        }
        [(first, _), others @ ..] if others.iter().all(|(id, _)| id.slug() == first.slug()) => {
            let mut live = fitting.iter().filter(|(_, has_ended)| !**has_ended);
            if let (Some((only, _)), None) = (live.next(), live.next()) {
                return Ok(only.to_string());
            }
        }
        _ => {}
    }
    let said = |(id, has_ended): &(&JobId, &bool)| {
        if **has_ended { format!("{id} (has ended)") } else { id.to_string() }
    };
    let mut names: Vec<String> = fitting.iter().take(MOST_NAMED).map(said).collect();
    if fitting.len() > MOST_NAMED {
        names.push(format!("{} more", fitting.len() - MOST_NAMED));
    }
    let (count, names) = (fitting.len(), names.join(", "));
    let problem = format!("`after`: {} names {count} jobs: {names}", quoted(prefix));
    Err(Reason::new(Code::After, problem, "give more of the id"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::job::{Enforce, RoleOptions, Roles, Sandbox};
    use crate::model::plan::Role;

    fn facts_with(settings: &Settings, mut check: impl FnMut(&Facts<'_>)) {
        let resolve = |path: &str| match path {
            "/srv/link" => Ok("/etc/secret".to_owned()),
            "/srv/gone" => Err("is not there".to_owned()),
            other => Ok(other.to_owned()),
        };
        check(&Facts { settings, resolve: &resolve });
    }

    fn code(bytes: &[u8], shape: Shape) -> Result<(), Code> {
        let mut answer = Ok(());
        facts_with(&Settings::default(), |facts| {
            answer = admit(bytes, shape, facts).map(drop).map_err(|r| r.code);
        });
        answer
    }

    #[test]
    fn a_workspace_that_cannot_be_used_gets_a_hint_that_fits() {
        for (path, hint) in [
            ("/srv/gone", "name a directory that is there"),
            ("/dev/shm", "nor in or below /bin, /boot, /dev, /etc"),
            ("/srv/link", "name a directory elsewhere"),
            ("a/b", "name an absolute path"),
        ] {
            let file = format!(r#"{{"objective": "x", "workspace": "{path}"}}"#);
            facts_with(&Settings::default(), |facts| {
                let reason = admit(file.as_bytes(), Shape::Json, facts).expect_err("refused");
                assert!(reason.hint.contains(hint), "{path}: {reason:?}");
            });
        }
    }

    #[test]
    fn an_ended_job_is_named_by_its_whole_id() {
        for retry_of in ["A", "a:any", "", "../a"] {
            let json = format!(r#"{{"objective": "x", "retry_of": "{retry_of}"}}"#);
            assert_eq!(code(json.as_bytes(), Shape::Json), Err(Code::Field), "{retry_of}");
        }
    }

    #[test]
    fn each_broken_file_has_its_code() {
        use Shape::{Json, Markdown, Text};
        let big = vec![b'x'; 512 * 1024 + 1];
        let deep = "[".repeat(200_000);
        for (bytes, shape, expected) in [
            (&b""[..], Text, Code::Empty),
            (b" \r\n\t", Text, Code::Empty),
            (b"\xef\xbb\xbf \n", Text, Code::Empty),
            (b"---\na: 1\n---\n", Markdown, Code::Empty),
            (b"", Json, Code::Empty),
            (b" ", Json, Code::Empty),
            (br#"{"objective": " "}"#, Json, Code::Empty),
            (b"abc\xff", Text, Code::Utf8),
            (b"\xff\xfea\0", Text, Code::Utf8),
            (b"\xed\xa0\x80", Text, Code::Utf8),
            (b"a\0b", Text, Code::Nul),
            (br#"{"objective": "a\u0000"}"#, Json, Code::Nul),
            (&big, Text, Code::TooLarge),
            (b"---\na: [\n---\nx", Markdown, Code::Syntax),
            (b"---\na: 1\nx", Markdown, Code::Syntax),
            (b"{", Json, Code::Syntax),
            (b"[]", Json, Code::Syntax),
            (deep.as_bytes(), Json, Code::Syntax),
            (b"{}", Json, Code::Field),
            (br#"{"objective": 3}"#, Json, Code::Field),
            (b"---\nprioritty: 3\n---\nx", Markdown, Code::Field),
            (b"---\nPriority: 3\n---\nx", Markdown, Code::Field),
            (b"---\npriority: high\n---\nx", Markdown, Code::Field),
            (b"---\nid: ../../x\n---\nx", Markdown, Code::Field),
            (b"---\nLD_PRELOAD: x\n---\nx", Markdown, Code::Field),
            (b"---\nafter: [\"A B\"]\n---\nx", Markdown, Code::Field),
            (b"---\nmodel: -c\n---\nx", Markdown, Code::Field),
            (b"---\nlabels: [\"a\\0b\"]\n---\nx", Markdown, Code::Field),
            (b"---\nlabels: [\"\"]\n---\nx", Markdown, Code::Field),
            (b"---\nverify: [\" \"]\n---\nx", Markdown, Code::Field),
            (b"---\nbudget: {tokens: 0}\n---\nx", Markdown, Code::Field),
            (b"---\nworkspace: /etc\n---\nx", Markdown, Code::Path),
            (b"---\nworkspace: /\n---\nx", Markdown, Code::Path),
            (b"---\nworkspace: ~root\n---\nx", Markdown, Code::Path),
            (b"---\nworkspace: src\n---\nx", Markdown, Code::Path),
            (b"---\nworkspace: /srv/../etc\n---\nx", Markdown, Code::Path),
            (b"---\nworkspace: /proc/self/root\n---\nx", Markdown, Code::Path),
            (b"---\nworkspace: /srv/link\n---\nx", Markdown, Code::Path),
            (b"---\nworkspace: /srv/gone\n---\nx", Markdown, Code::Path),
            (b"---\nrehearse: script.toml\n---\nx", Markdown, Code::Path),
            (b"---\ncarry: [../x]\n---\nx", Markdown, Code::Path),
            (b"---\nsandbox: danger-full-access\n---\nx", Markdown, Code::Policy),
            (b"---\nnetwork: true\n---\nx", Markdown, Code::Policy),
        ] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            assert_eq!(code(bytes, shape), Err(expected), "{shown:?}");
        }
    }

    #[test]
    fn what_looks_dangerous_but_is_data_is_accepted() {
        let limit = vec![b'x'; 512 * 1024];
        for bytes in [
            &limit[..],
            b"{{7*7}} $(id) `x` %s%n \"; rm -rf /",
            b"a\r\nb\rc",
            b"--- not front matter",
            "e\u{301}".repeat(1000).as_bytes(),
        ] {
            assert_eq!(code(bytes, Shape::Text), Ok(()));
        }
    }

    #[test]
    fn the_objective_is_kept_to_the_byte_but_for_the_mark() {
        facts_with(&Settings::default(), |facts| {
            let text = b"\xef\xbb\xbf---\npriority: 3\n---\nDo\r\n it \r\n";
            let admitted = admit(text, Shape::Markdown, facts).expect("good");
            assert_eq!(admitted.objective, "Do\r\n it \r\n");
            assert_eq!(admitted.options.priority, 3);
        });
    }

    #[test]
    fn every_option_arrives() {
        let json = br#"{"objective": "x", "workspace": "/srv/repo", "priority": -5,
            "after": ["a-abc234", "b:any"], "not_before": "2031-05-01T08:00:00Z", "key": "k",
            "model": "m", "profile": "p", "plan": "single", "max_parallel": 2, "max_attempts": 1,
            "timeouts": {"execute": "2h", "no_progress": "30s"},
            "budget": {"tokens": 1000, "wall": "1h"}, "isolation": "in-place",
            "setup": ["make"], "carry": [".env"], "verify": "cargo test", "review": true,
            "network": false, "sandbox": "read-only", "amend": false, "memory": false, "enforce": "audit",
            "on_interrupt": "hold",
            "labels": ["night"], "rehearse": "builtin", "approve": true,
            "retry_of": "old-abc234:scratch",
            "roles": {"queen": {"model": "q"}, "planner": {"profile": "deep"}}}"#;
        facts_with(&Settings::default(), |facts| {
            let o = admit(json, Shape::Json, facts).expect("good").options;
            let hour = Duration::from_secs(3600);
            let expected = Options {
                workspace: Some("/srv/repo".into()),
                priority: -5,
                after: vec![
                    After { job: "a-abc234".into(), any: false },
                    After { job: "b".into(), any: true },
                ],
                not_before: "2031-05-01T08:00:00Z".parse().ok(),
                key: Some("k".into()),
                model: Some("m".into()),
                profile: Some("p".into()),
                plan: Planning::Single,
                max_parallel: 2,
                max_attempts: 1,
                timeouts: Timeouts {
                    execute: hour * 2,
                    no_progress: Duration::from_secs(30),
                    ..Timeouts::default()
                },
                budget: Budget { tokens: Some(1000), wall_seconds: Some(3600) },
                isolation: Isolation::InPlace,
                setup: vec!["make".into()],
                carry: vec![".env".into()],
                verify: vec!["cargo test".into()],
                review: true,
                network: false,
                sandbox: Sandbox::ReadOnly,
                amend: false,
                memory: false,
                enforce: Enforce::Audit,
                on_interrupt: OnInterrupt::Hold,
                roles: Roles::from([
                    (Role::Planner, role(None, Some("deep"), None)),
                    (Role::Queen, role(Some("q"), None, None)),
                ]),
                labels: vec!["night".into()],
                rehearse: Some(String::new()),
                approve: true,
                retry_of: RetryOf::try_from("old-abc234:scratch".to_owned()).ok(),
            };
            assert_eq!(o, expected);
        });
    }

    fn role(model: Option<&str>, profile: Option<&str>, sandbox: Option<Sandbox>) -> RoleOptions {
        RoleOptions { model: model.map(Into::into), profile: profile.map(Into::into), sandbox }
    }

    #[test]
    fn what_a_role_uses_is_the_jobs_word_over_the_settings_word_and_never_wider() {
        let roles = Roles::from([
            (Role::Planner, role(Some("small"), Some("deep"), None)),
            (Role::Reviewer, role(None, None, Some(Sandbox::WorkspaceWrite))),
        ]);
        let settings = Settings { roles, model: Some("usual".into()), ..Settings::default() };
        facts_with(&settings, |facts| {
            let text = br#"{"objective": "x", "roles": {"planner": {"model": "large"}}}"#;
            let o = admit(text, Shape::Json, facts).expect("good").options;
            let all = [Role::Planner, Role::Executor, Role::Reviewer, Role::Queen];
            let models = all.map(|r| o.model_of(r).map(String::as_str));
            assert_eq!(models, [Some("large"), Some("usual"), Some("usual"), Some("usual")]);
            assert_eq!(o.profile_of(Role::Planner).map(String::as_str), Some("deep"));
            let sandboxes = all.map(|r| o.sandbox_of(r).as_str());
            let (none, tree) = ("read-only", "workspace-write");
            assert_eq!(sandboxes, [none, tree, tree, none]);
            for (roles, code, piece) in [
                (r#"{"queen": {"sandbox": "danger-full-access"}}"#, Code::Policy, "wider"),
                (r#"{"king": {}}"#, Code::Field, "king"),
                (r#"{"queen": {"hat": 1}}"#, Code::Field, "hat"),
                (r#"{"queen": {"model": "-x"}}"#, Code::Field, "roles.queen.model"),
            ] {
                let text = format!(r#"{{"objective": "x", "roles": {roles}}}"#);
                let reason = admit(text.as_bytes(), Shape::Json, facts).expect_err(piece);
                assert_eq!(reason.code, code, "{roles}");
                assert!(reason.message.contains(piece), "{}", reason.message);
            }
        });
    }

    #[test]
    fn what_a_job_does_not_say_comes_from_the_settings() {
        let settings = Settings {
            workspace: Some("/srv/repo".into()),
            model: Some("m".into()),
            sandbox: Sandbox::ReadOnly,
            network: true,
            rehearse: Some(String::new()),
            ..Settings::default()
        };
        facts_with(&settings, |facts| {
            let o = admit(b"x", Shape::Text, facts).expect("good").options;
            assert_eq!(o.workspace.as_deref(), Some("/srv/repo"));
            assert_eq!((o.model.as_deref(), o.rehearse.as_deref()), (Some("m"), Some("")));
            assert_eq!((o.sandbox, o.network), (Sandbox::ReadOnly, false));
            let asked = br#"{"objective": "x", "network": true}"#;
            assert!(admit(asked, Shape::Json, facts).expect("granted").options.network);
        });
    }

    #[test]
    fn an_operator_who_wants_no_widened_claims_is_not_outvoted() {
        let amend = |settings: bool, job: &str| {
            let settings = Settings { amend: settings, ..Settings::default() };
            let json = format!(r#"{{"objective": "x"{job}}}"#);
            let mut found = Err(Code::Empty);
            facts_with(&settings, |facts| {
                let admitted = admit(json.as_bytes(), Shape::Json, facts);
                found = admitted.map(|a| a.options.amend).map_err(|r| r.code);
            });
            found
        };
        assert_eq!(amend(true, ""), Ok(true));
        assert_eq!(amend(true, r#", "amend": false"#), Ok(false));
        assert_eq!(amend(false, ""), Ok(false));
        assert_eq!(amend(false, r#", "amend": false"#), Ok(false));
        assert_eq!(amend(false, r#", "amend": true"#), Err(Code::Policy));
    }

    #[test]
    fn a_job_may_leave_the_memory_out_and_not_bring_it_back() {
        for (setting, job, expected) in [
            (true, "", Ok(true)),
            (true, r#", "memory": false"#, Ok(false)),
            (false, "", Ok(false)),
            (false, r#", "memory": true"#, Err(Code::Policy)),
        ] {
            let settings = Settings { memory: setting, ..Settings::default() };
            let json = format!(r#"{{"objective": "x"{job}}}"#);
            facts_with(&settings, |facts| {
                let found = admit(json.as_bytes(), Shape::Json, facts);
                let found = found.map(|a| a.options.memory).map_err(|r| r.code);
                assert_eq!(found, expected, "{setting} {job}");
            });
        }
    }

    #[test]
    fn a_job_may_be_stricter_than_the_settings_and_never_laxer() {
        let enforce = |enforce: Enforce, job: &str| {
            let settings =
                Settings { enforce, sandbox: Sandbox::DangerFullAccess, ..Settings::default() };
            let text = format!(r#"{{"objective": "x"{job}}}"#);
            let mut found = Err(Code::Empty);
            facts_with(&settings, |facts| {
                let admitted = admit(text.as_bytes(), Shape::Json, facts);
                found = admitted.map(|a| a.options.enforce).map_err(|r| r.code);
            });
            found
        };
        let (audit, strict) = (Enforce::Audit, Enforce::Strict);
        for (settings, job, want) in [
            (audit, "", Ok(audit)),
            (audit, r#", "enforce": "strict""#, Ok(strict)),
            (strict, "", Ok(strict)),
            (strict, r#", "enforce": "strict""#, Ok(strict)),
            (strict, r#", "enforce": "audit""#, Err(Code::Policy)),
            (audit, r#", "enforce": "loose""#, Err(Code::Field)),
            // Where it could not be kept it is not promised.
            (strict, r#", "sandbox": "danger-full-access""#, Err(Code::Policy)),
            (strict, r#", "isolation": "in-place""#, Err(Code::Policy)),
            (audit, r#", "enforce": "strict", "isolation": "in-place""#, Err(Code::Field)),
            (audit, r#", "enforce": "strict", "sandbox": "danger-full-access""#, Err(Code::Field)),
            (
                audit,
                r#", "enforce": "strict", "roles": {"executor": {"sandbox": "danger-full-access"}}"#,
                Err(Code::Field),
            ),
            (audit, r#", "enforce": "strict", "sandbox": "read-only""#, Ok(strict)),
            (audit, r#", "isolation": "in-place""#, Ok(audit)),
        ] {
            assert_eq!(enforce(settings, job), want, "{settings:?} {job}");
        }
    }

    #[test]
    fn a_prefix_names_one_job_or_none() {
        let id = |text: &str| JobId::parse(text).expect("id");
        let mut known = Known::from([
            (id("fix-abc234"), false),
            (id("fix-login-abc234"), true),
            (id("x-abc234"), false),
        ]);
        let one = |text: &str| [After { job: text.into(), any: true }];
        let whole = |id: &str| Ok(one(id).to_vec());
        let told = |known: &Known, text: &str| {
            resolve_after(&one(text), known).expect_err("refused").message
        };
        assert_eq!(resolve_after(&one("x"), &known), whole("x-abc234"));
        assert_eq!(resolve_after(&one("fix-abc234"), &known), whole("fix-abc234"));
        assert_eq!(
            told(&known, "fix"),
            "`after`: \"fix\" names 2 jobs: fix-abc234, fix-login-abc234 (has ended)",
            "of another name"
        );
        assert_eq!(told(&known, "nope"), "`after`: there is no job \"nope\"");
        // One that was withdrawn, and what took its place.
        known.extend([(id("x-abc233"), true), (id("x-abc235"), true)]);
        assert_eq!(resolve_after(&one("x"), &known), whole("x-abc234"));
        known.insert(id("x-abc236"), false);
        assert!(told(&known, "x").contains("x-abc234, x-abc235 (has ended), x-abc236"));
    }
}
