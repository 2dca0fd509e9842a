//! What a session's end means: the typed error of codex's own record first, the message only where that is silent.

use jiff::Timestamp;
use serde_json::Value;

use super::supervise::StopReason;
use crate::model::outcome::{Failure, FailureKind, Tokens};

/// What was seen of a session until its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Codex's exit code; `None` when a signal ended it.
    pub exit: Option<i32>,
    /// Its thread, if it got that far.
    pub thread_id: Option<String>,
    /// The last terminal event.
    pub turn: Option<Turn>,
    /// The last error event, terminal or not.
    pub last_error: Option<String>,
    /// The agent's last words.
    pub last_message: Option<String>,
    /// Why we ended it, if we did.
    pub stop: Option<StopReason>,
    /// Whether codex warned that it has no sandbox helper.
    pub helper_missing: bool,
    /// What codex wrote to stderr, its end.
    pub stderr: String,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Well; the tokens are the whole thread's.
    Completed(Tokens),
    /// Badly.
    Failed(String),
}

/// What codex's own record of the thread (its rollout) says about the last turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// The typed error: a word, or an object with one key.
    pub error: Option<Value>,
    /// When the fullest limit is refilled.
    pub resets_at: Option<Timestamp>,
    /// Tokens of this turn, counted from each answer of the service; survives a kill.
    pub turn_tokens: Option<Tokens>,
    /// When this turn began.
    pub started_at: Option<Timestamp>,
}

/// Judges a session that has ended.
///
/// # Errors
/// The failure, typed, when it did not end well.
pub fn judge(seen: &Seen, record: &Record) -> Result<(), Failure> {
    if let Some(reason) = seen.stop.filter(|r| *r != StopReason::BadStart) {
        return Err(stopped(reason));
    }
    if seen.helper_missing {
        return Err(Failure::new(FailureKind::Start, "codex started without its sandbox helper"));
    }
    match (&seen.turn, seen.exit) {
        (Some(Turn::Completed(_)), Some(0)) => Ok(()),
        (Some(Turn::Failed(message)), _) => Err(failed(message, record)),
        (Some(Turn::Completed(_)), exit) => Err(unclean(exit, "after its turn had ended well")),
        (None, Some(0)) => Err(unclean(Some(0), "without saying how its turn ended")),
        (None, _) if seen.thread_id.is_none() => Err(not_started(seen)),
        (None, exit) => match (&record.error, &seen.last_error) {
            (Some(_), message) => Err(failed(message.as_deref().unwrap_or("codex failed"), record)),
            (None, _) => Err(unclean(exit, "in the middle of its turn")),
        },
    }
}

/// What it means for a task that its session, or its waiting, was ended by us.
pub fn stopped(reason: StopReason) -> Failure {
    match reason {
        StopReason::BadStart => {
            Failure::new(FailureKind::Start, "codex started without its sandbox helper")
        }
        StopReason::NoProgress => {
            let looked_at = "no event, no output, no processor time, no change of a file";
            let message = format!("the agent did nothing for too long: {looked_at}");
            Failure::new(FailureKind::Task, message)
        }
        StopReason::Total => Failure::new(FailureKind::Task, "the agent took too long"),
        StopReason::Leave => Failure::new(FailureKind::Left, "the worker was asked to leave"),
        StopReason::Kill => Failure::new(FailureKind::Stopped, "killed"),
    }
}

/// What the service says of an address that is not there: it may be a model that the job alone has named.
const NOT_THERE: &str = "404 Not Found";

/// Whether a failure to log in is the account's and not only this job's.
pub fn is_of_account(failure: &Failure) -> bool {
    !failure.message.contains(NOT_THERE)
}

/// Whether codex does not know the thread that it was to go on with.
pub fn is_lost_thread(failure: &Failure) -> bool {
    failure.message.contains("no rollout found")
}

fn unclean(exit: Option<i32>, when: &str) -> Failure {
    let how = exit
        .map_or_else(|| "was ended by a signal".to_owned(), |code| format!("exited with {code}"));
    Failure::new(FailureKind::Transient, format!("codex {how} {when}"))
}

/// How the stand-in begins what it says of its script.
const STAND_IN: &str = "numerus stand-in: ";

/// Nothing was said on stdout: codex refused its command line, its configuration or the thread.
fn not_started(seen: &Seen) -> Failure {
    let last =
        seen.stderr.lines().map(str::trim).rfind(|l| !l.is_empty() && !l.starts_with("Reading "));
    if let Some(why) = last.and_then(|line| line.strip_prefix(STAND_IN)) {
        // No login and no limit is at stake: whoever wrote the script has to mend it.
        let message = format!("the rehearsal's script does not play: {why}");
        return Failure::new(FailureKind::Bug, message);
    }
    let message = format!("codex did not start: {}", last.unwrap_or("it said nothing"));
    let kind = match seen.exit {
        None => FailureKind::Transient,
        Some(_) if seen.stderr.contains("active writer") => FailureKind::Transient,
        Some(_) if seen.stderr.contains("no rollout found") => FailureKind::Task,
        Some(_) => FailureKind::Auth,
    };
    Failure::new(kind, message)
}

fn failed(message: &str, record: &Record) -> Failure {
    let kind = record.error.as_ref().and_then(typed).unwrap_or_else(|| from_message(message));
    let resets_at = if kind == FailureKind::Limit { record.resets_at } else { None };
    let hint = if kind == FailureKind::Auth && message.contains(NOT_THERE) {
        " (is the model's name right, and the provider's address?)"
    } else {
        ""
    };
    Failure { kind, message: format!("{message}{hint}"), resets_at }
}

/// The kind that a typed error stands for; `None` where it says nothing (`other`, or a word of a later version).
fn typed(error: &Value) -> Option<FailureKind> {
    if let Some(status) =
        error.as_object().and_then(|o| o.values().next()?.get("http_status_code")?.as_u64())
    {
        return from_status(status);
    }
    let word = error.as_str().or_else(|| error.as_object()?.keys().next().map(String::as_str))?;
    match word {
        "usage_limit_exceeded" => Some(FailureKind::Limit),
        "server_overloaded"
        | "internal_server_error"
        | "http_connection_failed"
        | "response_stream_disconnected"
        | "response_stream_connection_failed" => Some(FailureKind::Transient),
        "unauthorized" => Some(FailureKind::Auth),
        "context_window_exceeded" | "bad_request" | "sandbox_error" => Some(FailureKind::Task),
        _ => None,
    }
}

fn from_status(status: u64) -> Option<FailureKind> {
    match status {
        401 | 403 | 404 => Some(FailureKind::Auth),
        429 => Some(FailureKind::Limit),
        408 | 500..=599 => Some(FailureKind::Transient),
        _ => None,
    }
}

/// Pieces of messages that codex 0.169.0 was seen to print where its record is silent.
const PIECES: [(&str, FailureKind); 10] = [
    ("usage limit", FailureKind::Limit),
    ("Quota exceeded", FailureKind::Limit),
    ("429 Too Many Requests", FailureKind::Limit),
    ("401 Unauthorized", FailureKind::Auth),
    ("403 Forbidden", FailureKind::Auth),
    ("Missing environment variable", FailureKind::Auth),
    ("stream disconnected", FailureKind::Transient),
    ("Connection failed", FailureKind::Transient),
    ("high demand", FailureKind::Transient),
    ("at capacity", FailureKind::Transient),
];

fn from_message(message: &str) -> FailureKind {
    let found = PIECES.iter().find(|(piece, _)| message.contains(piece));
    found.map_or(FailureKind::Task, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(exit: Option<i32>, turn: Option<Turn>) -> Seen {
        Seen { exit, turn, thread_id: Some("t".into()), ..Seen::default() }
    }

    #[test]
    fn only_exit_0_with_a_completed_turn_is_success() {
        let done = Some(Turn::Completed(Tokens::default()));
        let record = Record::default();
        assert_eq!(judge(&ended(Some(0), done.clone()), &record), Ok(()));
        for seen in [
            ended(Some(1), done.clone()),
            ended(None, done.clone()),
            ended(Some(0), None),
            ended(None, None),
        ] {
            assert_eq!(
                judge(&seen, &record).map_err(|f| f.kind),
                Err(FailureKind::Transient),
                "{seen:?}"
            );
        }
        let blind = Seen { helper_missing: true, ..ended(Some(0), done) };
        assert_eq!(judge(&blind, &record).map_err(|f| f.kind), Err(FailureKind::Start));
    }

    #[test]
    fn of_an_address_that_is_not_there_one_hears_what_to_look_at() {
        let message = "unexpected status 404 Not Found: no such model";
        let seen = ended(Some(1), Some(Turn::Failed(message.into())));
        let record = Record {
            error: Some(json!({"http_connection_failed": {"http_status_code": 404}})),
            ..Record::default()
        };
        let failure = judge(&seen, &record).expect_err("it failed");
        assert_eq!(failure.kind, FailureKind::Auth);
        assert!(
            failure.message.ends_with("(is the model's name right, and the provider's address?)")
        );
        assert!(!is_of_account(&failure));
    }

    #[test]
    fn the_typed_error_comes_before_the_message() {
        let kind_of = |error: Value, message: &str| {
            let record = Record { error: Some(error), ..Record::default() };
            judge(&ended(Some(1), Some(Turn::Failed(message.into()))), &record).map_err(|f| f.kind)
        };
        for (error, message, kind) in [
            (json!("usage_limit_exceeded"), "?", FailureKind::Limit),
            (json!("server_overloaded"), "?", FailureKind::Transient),
            (json!({"http_connection_failed": {"http_status_code": 401}}), "?", FailureKind::Auth),
            (
                json!({"response_too_many_failed_attempts": {"http_status_code": 429}}),
                "?",
                FailureKind::Limit,
            ),
            (
                json!({"http_connection_failed": {"http_status_code": 502}}),
                "401 Unauthorized",
                FailureKind::Transient,
            ),
            (json!("context_window_exceeded"), "?", FailureKind::Task),
            (json!("other"), "stream disconnected before completion", FailureKind::Transient),
            (json!("other"), "the model refused", FailureKind::Task),
            (json!("a_word_of_tomorrow"), "You’ve hit your usage limit.", FailureKind::Limit),
        ] {
            assert_eq!(kind_of(error.clone(), message), Err(kind), "{error} {message}");
        }
    }

    #[test]
    fn a_script_that_does_not_play_is_nobodys_login() {
        let seen = Seen {
            exit: Some(1),
            stderr: "numerus stand-in: cannot understand the script x: EOF\n".into(),
            ..Seen::default()
        };
        let failure = judge(&seen, &Record::default()).expect_err("failed");
        assert_eq!(failure.kind, FailureKind::Bug);
        assert!(failure.message.ends_with("does not play: cannot understand the script x: EOF"));
    }

    #[test]
    fn a_codex_that_never_started_says_why() {
        let seen = Seen {
            exit: Some(2),
            stderr: "error: unexpected argument '-x' found\n".into(),
            ..Seen::default()
        };
        let failure = judge(&seen, &Record::default()).expect_err("failed");
        assert_eq!(failure.kind, FailureKind::Auth);
        assert!(failure.message.contains("unexpected argument"), "{}", failure.message);
    }
}
