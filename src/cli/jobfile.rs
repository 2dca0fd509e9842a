//! From words on the command line to a job file. Pure: what a key means and whether its value will do is judged by the
//! same admission that judges dropped files.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::Failure;
use crate::model::duration;
use crate::model::fields::missing;
use crate::model::id::JobId;
use crate::model::plan::Role;

/// Words of an objective that its job's id is made of.
const SLUG_WORDS: usize = 5;
/// Longest slug made of an objective, in characters.
const SLUG_CHARS: usize = 40;

/// The kinds of session that a deadline can be set for.
const KINDS: [&str; 8] =
    ["plan", "roles", "claim", "execute", "review", "queen", "verify", "no_progress"];

/// The options of a job, as flags.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Options of the job")]
pub(super) struct Flags {
    /// Work in this directory (default: the repository of the current one; with edit and retry, the job's)
    #[arg(long, value_name = "DIR", value_parser = NonEmptyStringValueParser::new())]
    pub(super) workspace: Option<String>,
    /// Start before jobs of lower priority, from -100 to 100
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-100..=100))]
    pub(super) priority: Option<i64>,
    /// Start after this job has ended well, or with `:any` at all (repeat for more)
    #[arg(long, value_name = "JOB[:any]")]
    pub(super) after: Vec<String>,
    /// Start not before this moment, such as 2031-05-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) not_before: Option<Timestamp>,
    /// Accept only one job of this key
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    /// Use this model
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// Use this profile of the codex configuration
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<String>,
    /// Let a planner split the objective, or do it as a single task
    #[arg(long, value_name = "HOW", value_parser = ["auto", "single"])]
    pub(super) plan: Option<String>,
    /// Run at most this many tasks at a time
    #[arg(long, value_name = "N")]
    pub(super) max_parallel: Option<u32>,
    /// Try each task at most this often
    #[arg(long, value_name = "N")]
    pub(super) max_attempts: Option<u32>,
    /// Give sessions of a kind this long, such as execute=2h (repeat for more)
    #[arg(long, value_name = "KIND=TIME", value_parser = timeout)]
    pub(super) timeout: Vec<(String, String)>,
    /// Spend at most this many tokens
    #[arg(long, value_name = "N")]
    pub(super) budget_tokens: Option<u64>,
    /// Spend at most this much time, such as 2h
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(super) budget_wall: Option<String>,
    /// Give each attempt a worktree of its own, or work in the directory itself
    #[arg(long, value_name = "HOW", value_parser = ["worktree", "in-place"])]
    pub(super) isolation: Option<String>,
    /// Run this command in each fresh worktree (repeat for more)
    #[arg(long, value_name = "COMMAND")]
    pub(super) setup: Vec<String>,
    /// Copy this ignored path into each fresh worktree (repeat for more)
    #[arg(long, value_name = "PATH")]
    pub(super) carry: Vec<String>,
    /// Require this command to pass before the job counts as done (repeat for more)
    #[arg(long, value_name = "COMMAND")]
    pub(super) verify: Vec<String>,
    /// Have the result judged against the objective
    #[arg(long)]
    pub(super) review: bool,
    /// Let executors use the network, where the settings allow it
    #[arg(long)]
    pub(super) network: bool,
    /// Run executors in this sandbox, where the settings allow it
    #[arg(long, value_name = "MODE",
          value_parser = ["read-only", "workspace-write", "danger-full-access"])]
    pub(super) sandbox: Option<String>,
    /// Let nothing land when the agent wrote beside its claim, even if nobody else holds it
    #[arg(long)]
    pub(super) no_amend: bool,
    /// Tell the job nothing of earlier ones, and remember nothing of it
    #[arg(long)]
    pub(super) no_memory: bool,
    /// Refuse what was not claimed while it is written, or only let it not land
    #[arg(long, value_name = "HOW", value_parser = ["audit", "strict"])]
    pub(super) enforce: Option<String>,
    /// Let a role use a model, profile or sandbox of its own, such as queen.model=NAME (repeat for more)
    #[arg(long, value_name = "ROLE.KEY=VALUE", value_parser = role)]
    pub(super) role: Vec<(String, String, String)>,
    /// Try again after a crash, or hold the job for a person
    #[arg(long, value_name = "HOW", value_parser = ["retry", "hold"])]
    pub(super) on_interrupt: Option<String>,
    /// Keep a word in the job's job.json, for scripts (repeat for more)
    #[arg(long, value_name = "WORD")]
    pub(super) label: Vec<String>,
    /// Let a script play the agent: the built-in one, or the file given
    #[arg(long, value_name = "SCRIPT", num_args = 0..=1, require_equals = true,
          default_missing_value = "builtin")]
    pub(super) rehearse: Option<String>,
}

impl Flags {
    /// Refuses what has a meaning only where a daemon starts the job.
    ///
    /// # Errors
    /// When `--after` or `--not-before` is given; `command` is the one that works at once.
    pub(super) fn begin_at_once(&self, command: &str) -> Result<(), Failure> {
        let waits = match (self.after.is_empty(), self.not_before) {
            (false, _) => "--after",
            (true, Some(_)) => "--not-before",
            (true, None) => return Ok(()),
        };
        Err(Failure::usage(format!("{command} works at once and cannot wait for {waits}"))
            .hint(format!("use numerus submit with {waits}, and let a daemon start the job")))
    }
}

fn timeout(text: &str) -> Result<(String, String), String> {
    let (kind, time) = text.split_once('=').ok_or("write KIND=TIME, such as execute=2h")?;
    let kind = kind.replace('-', "_");
    if !KINDS.contains(&kind.as_str()) {
        return Err(format!("no kind of session is called {kind:?}: use {}", KINDS.join(", ")));
    }
    span(time).map(|time| (kind, time))
}

fn role(text: &str) -> Result<(String, String, String), String> {
    let parts = text.split_once('=').and_then(|(name, value)| {
        let (role, key) = name.split_once('.')?;
        Some((role, key, value))
    });
    let (role, key, value) = parts.ok_or("write ROLE.KEY=VALUE, such as queen.model=NAME")?;
    let words = Role::ALL.map(Role::as_str);
    if !words.contains(&role) {
        return Err(format!("no role is called {role:?}: use {}", words.join(", ")));
    }
    if !["model", "profile", "sandbox"].contains(&key) {
        return Err(format!("a role has no {key:?}: use model, profile, sandbox"));
    }
    Ok((role.to_owned(), key.to_owned(), value.to_owned()))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let forms = "write it as 2031-05-01T08:00:00Z, or with an offset as 2031-05-01T08:00:00+02:00";
    text.parse().map_err(|_| forms.to_owned())
}

fn span(text: &str) -> Result<String, String> {
    let read = duration::parse(text).filter(|d| !d.is_zero());
    read.map(|_| text.to_owned()).ok_or_else(|| format!("{text:?} is not a time like 90s, 10m, 2h"))
}

/// What is to be done and the options it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// The objective.
    pub(super) objective: String,
    /// Options that stood in the file, under their keys in a job file.
    pub(super) options: Map<String, Value>,
    /// What the id's slug is made of.
    pub(super) stem: String,
}

impl Draft {
    /// An objective given as text.
    pub(super) fn of_text(text: &str) -> Self {
        let stem = stem_of(text);
        Self { objective: text.to_owned(), options: Map::new(), stem }
    }

    /// A job file's object with its options.
    ///
    /// # Errors
    /// When it is no object with an `objective`.
    pub(super) fn of_json(text: &str, stem: &str) -> Result<Self, Failure> {
        let broken =
            |e: serde_json::Error| Failure::usage(format!("{stem}.json is no JSON object: {e}"));
        let mut options: Map<String, Value> = serde_json::from_str(text).map_err(broken)?;
        let Some(Value::String(objective)) = options.remove("objective") else {
            let missing = missing("objective", options.keys());
            return Err(Failure::usage(format!("{stem}.json cannot be used: {missing}"))
                .hint("write {\"objective\": \"what is to be done\"}"));
        };
        Ok(Self { objective, options, stem: stem.to_owned() })
    }

    /// The job's id, with a random tail.
    pub(super) fn id(&self, tail: &str) -> JobId {
        JobId::compose(&self.stem, tail)
    }
}

/// The first words of an objective, few enough for a name.
fn stem_of(text: &str) -> String {
    let line = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let words = line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let mut stem = String::new();
    for word in words.take(SLUG_WORDS) {
        if !stem.is_empty() && stem.len() + word.len() >= SLUG_CHARS {
            break;
        }
        stem = if stem.is_empty() { word.to_owned() } else { format!("{stem}-{word}") };
    }
    stem.chars().take(SLUG_CHARS).collect()
}

/// The job file: the draft's options, with the flags over them.
pub(super) fn compose(draft: &Draft, flags: &Flags) -> Value {
    let mut job = Map::new();
    job.insert("objective".into(), json!(draft.objective));
    job.extend(draft.options.clone());
    let mut put = |key: &str, value: Value| {
        let is_given = !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
        if is_given {
            job.insert(key.into(), value);
        }
    };
    put("workspace", json!(flags.workspace));
    put("priority", json!(flags.priority));
    put("after", json!(flags.after));
    put("not_before", json!(flags.not_before));
    put("key", json!(flags.key));
    put("model", json!(flags.model));
    put("profile", json!(flags.profile));
    put("plan", json!(flags.plan));
    put("max_parallel", json!(flags.max_parallel));
    put("max_attempts", json!(flags.max_attempts));
    put("isolation", json!(flags.isolation));
    put("setup", json!(flags.setup));
    put("carry", json!(flags.carry));
    put("verify", json!(flags.verify));
    put("review", if flags.review { json!(true) } else { Value::Null });
    put("network", if flags.network { json!(true) } else { Value::Null });
    put("sandbox", json!(flags.sandbox));
    put("amend", if flags.no_amend { json!(false) } else { Value::Null });
    put("memory", if flags.no_memory { json!(false) } else { Value::Null });
    put("enforce", json!(flags.enforce));
    put("on_interrupt", json!(flags.on_interrupt));
    put("labels", json!(flags.label));
    put("rehearse", json!(flags.rehearse));
    overlay(&mut job, "timeouts", timeouts(flags));
    overlay(&mut job, "budget", budget(flags));
    for (role, key, value) in &flags.role {
        let roles = job.entry("roles").or_insert_with(|| json!({}));
        if let Some(roles) = roles.as_object_mut() {
            overlay(roles, role, Map::from_iter([(key.clone(), json!(value))]));
        }
    }
    Value::Object(job)
}

fn timeouts(flags: &Flags) -> Map<String, Value> {
    flags.timeout.iter().map(|(kind, time)| (kind.clone(), json!(time))).collect()
}

fn budget(flags: &Flags) -> Map<String, Value> {
    let tokens = flags.budget_tokens.map(|n| ("tokens".to_owned(), json!(n)));
    let wall = flags.budget_wall.as_ref().map(|t| ("wall".to_owned(), json!(t)));
    tokens.into_iter().chain(wall).collect()
}

/// Lays the keys of `over` over an object of the job file; one that is no object there is left to admission.
fn overlay(job: &mut Map<String, Value>, key: &str, over: Map<String, Value>) {
    if over.is_empty() {
        return;
    }
    if let Value::Object(object) = job.entry(key).or_insert_with(|| json!({})) {
        object.extend(over);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(words: &[&str]) -> Result<Flags, String> {
        let words = std::iter::once(&"x").chain(words);
        Line::try_parse_from(words).map(|l| l.flags).map_err(|e| e.to_string())
    }

    fn job(words: &[&str]) -> Value {
        compose(&Draft::of_text("do it"), &flags(words).expect("flags"))
    }

    #[test]
    fn nothing_given_is_nothing_written() {
        assert_eq!(job(&[]), json!({"objective": "do it"}));
    }

    #[test]
    fn every_option_reaches_its_key() {
        for (words, key, value) in [
            (vec!["--workspace", "/w"], "workspace", json!("/w")),
            (vec!["--priority", "-3"], "priority", json!(-3)),
            (vec!["--after", "a", "--after", "b:any"], "after", json!(["a", "b:any"])),
            (
                vec!["--not-before", "2031-05-01T08:00:00Z"],
                "not_before",
                json!("2031-05-01T08:00:00Z"),
            ),
            (vec!["--key", "k"], "key", json!("k")),
            (vec!["--model", "m"], "model", json!("m")),
            (vec!["--profile", "p"], "profile", json!("p")),
            (vec!["--plan", "single"], "plan", json!("single")),
            (vec!["--max-parallel", "2"], "max_parallel", json!(2)),
            (vec!["--max-attempts", "5"], "max_attempts", json!(5)),
            (
                vec!["--timeout", "execute=2h", "--timeout", "no-progress=90s"],
                "timeouts",
                json!({"execute": "2h", "no_progress": "90s"}),
            ),
            (
                vec!["--budget-tokens", "9", "--budget-wall", "1h30m"],
                "budget",
                json!({"tokens": 9, "wall": "1h30m"}),
            ),
            (vec!["--isolation", "in-place"], "isolation", json!("in-place")),
            (vec!["--setup", "make", "--setup", "b"], "setup", json!(["make", "b"])),
            (vec!["--carry", ".env"], "carry", json!([".env"])),
            (vec!["--verify", "cargo test"], "verify", json!(["cargo test"])),
            (vec!["--review"], "review", json!(true)),
            (vec!["--network"], "network", json!(true)),
            (vec!["--sandbox", "read-only"], "sandbox", json!("read-only")),
            (vec!["--no-amend"], "amend", json!(false)),
            (vec!["--no-memory"], "memory", json!(false)),
            (vec!["--enforce", "strict"], "enforce", json!("strict")),
            (
                vec!["--role", "queen.model=m", "--role", "queen.sandbox=read-only"],
                "roles",
                json!({"queen": {"model": "m", "sandbox": "read-only"}}),
            ),
            (vec!["--on-interrupt", "hold"], "on_interrupt", json!("hold")),
            (vec!["--label", "a", "--label", "b"], "labels", json!(["a", "b"])),
            (vec!["--rehearse"], "rehearse", json!("builtin")),
            (vec!["--rehearse=/s.json"], "rehearse", json!("/s.json")),
        ] {
            assert_eq!(job(&words), json!({"objective": "do it", key: value}), "{words:?}");
        }
    }

    #[test]
    fn what_works_at_once_takes_no_time_to_wait_for() {
        for (words, refused) in [
            (vec![], None),
            (vec!["--after", "a"], Some("run works at once and cannot wait for --after")),
            (
                vec!["--not-before", "2031-05-01T08:00:00Z"],
                Some("run works at once and cannot wait for --not-before"),
            ),
        ] {
            let answer = flags(&words).expect("flags").begin_at_once("run");
            assert_eq!(answer.err().map(|e| e.message).as_deref(), refused, "{words:?}");
        }
    }

    #[test]
    fn wrong_values_are_refused_before_anything_is_written() {
        for words in [
            ["--priority", "101"],
            ["--plan", "maybe"],
            ["--timeout", "execute"],
            ["--timeout", "dance=1h"],
            ["--timeout", "plan=0s"],
            ["--budget-wall", "long"],
            ["--not-before", "tomorrow"],
            ["--sandbox", "none"],
            ["--role", "king.model=m"],
            ["--role", "queen=m"],
            ["--role", "queen.hat=m"],
        ] {
            assert!(flags(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn flags_win_over_the_options_of_a_file() {
        let text = r#"{"objective": "o", "priority": 1, "budget": {"tokens": 5, "wall": "1h"}}"#;
        let draft = Draft::of_json(text, "fix").expect("draft");
        let flags = flags(&["--priority", "2", "--budget-tokens", "7"]).expect("flags");
        let expected =
            json!({"objective": "o", "priority": 2, "budget": {"tokens": 7, "wall": "1h"}});
        assert_eq!(compose(&draft, &flags), expected);
        assert_eq!(draft.id("abc234").as_str(), "fix-abc234");
        assert!(Draft::of_json("[]", "x").is_err());
        assert!(Draft::of_json("{}", "x").is_err());
    }

    #[test]
    fn an_id_is_made_of_the_first_words() {
        for (text, id) in [
            ("\n\n# Fix the login, please, and all\nmore", "fix-the-login-please-and-abc234"),
            ("Überarbeiten", "berarbeiten-abc234"),
            ("…", "job-abc234"),
        ] {
            assert_eq!(Draft::of_text(text).id("abc234").as_str(), id, "{text:?}");
        }
        assert!(stem_of(&"long".repeat(50)).len() <= SLUG_CHARS);
    }
}
