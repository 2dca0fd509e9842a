//! One turn as two records: the JSON lines on stdout and the rollout, kept in step.
//!
//! It knows the order in which the real program says things; what happens in the turn is told to it
//! step by step.

use std::io;

use serde_json::{Value, json};

use super::door;
use super::output::Output;
use super::rollout::{Rollout, Usage, fresh_id};
use super::script::Fail;

/// A turn under way.
#[derive(Debug)]
pub(super) struct Turn {
    out: Output,
    rollout: Rollout,
    id: String,
    started_ms: u64,
    items: u32,
    responses: u32,
    used: Usage,
    /// The last thing the agent said.
    pub(super) last_message: Option<String>,
}

impl Turn {
    /// Opens the turn on both records.
    pub(super) fn open(out: Output, rollout: Rollout) -> io::Result<Self> {
        let started_ms = door::now_ms();
        let (id, used) = (fresh_id(started_ms), Usage::default());
        let mut turn =
            Self { out, rollout, id, started_ms, items: 0, responses: 0, used, last_message: None };
        turn.out.event(&json!({"type": "thread.started", "thread_id": turn.rollout.thread}))?;
        turn.out.event(&json!({"type": "turn.started"}))?;
        let started =
            json!({"type": "task_started", "turn_id": turn.id, "started_at": started_ms / 1000});
        turn.rollout.line("event_msg", &started);
        Ok(turn)
    }

    /// The thread's id.
    pub(super) fn thread(&self) -> &str {
        &self.rollout.thread
    }

    /// The id for the next item.
    pub(super) fn next_item(&mut self) -> String {
        let id = format!("item_{}", self.items);
        self.items += 1;
        id
    }

    /// Prints an item that has just begun.
    pub(super) fn item_started(&self, item: &Value) -> io::Result<()> {
        self.out.item("started", item)
    }

    /// Prints an item that is done.
    pub(super) fn item_completed(&self, item: &Value) -> io::Result<()> {
        self.out.item("completed", item)
    }

    /// Prints raw bytes.
    pub(super) fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.out.raw(bytes)
    }

    /// The agent says something.
    pub(super) fn say(&mut self, text: String) -> io::Result<()> {
        let item = super::item::message(&self.next_item(), &text);
        let said = json!({"type": "AgentMessage", "content": [{"type": "Text", "text": text}]});
        self.rollout.line(
            "event_msg",
            &json!({"type": "item_completed", "turn_id": self.id, "item": said}),
        );
        self.last_message = Some(text);
        self.item_completed(&item)
    }

    /// Records the tokens of one model response.
    pub(super) fn respond(&mut self, usage: Usage) {
        self.responses += 1;
        self.used = self.used.plus(usage);
        let record = json!({
            "thread_id": self.rollout.thread,
            "turn_id": self.id,
            "session_id": self.rollout.thread,
            "response_id": format!("resp_{}", self.responses),
            "usage": usage.in_rollout(),
            "turn_token_usage": self.used.in_rollout(),
            "thread_token_usage": self.total().in_rollout(),
        });
        self.rollout.line("token_usage_record", &record);
        let info = json!({
            "total_token_usage": self.total().in_rollout(),
            "last_token_usage": usage.in_rollout(),
            "model_context_window": 258_400,
        });
        self.limits(&info, None);
    }

    /// Ends the turn well; a turn without any recorded response gets one of `usual` tokens.
    pub(super) fn complete(&mut self, usual: Usage) -> io::Result<()> {
        if self.responses == 0 {
            self.respond(usual);
        }
        self.task_complete(None);
        self.out.last_message(self.last_message.as_deref())?;
        self.out.event(&json!({"type": "turn.completed", "usage": self.total().in_events()}))
    }

    /// Ends the turn badly.
    pub(super) fn fail(&mut self, fail: &Fail) -> io::Result<()> {
        if fail.resets_at.is_some() {
            self.limits(&Value::Null, fail.resets_at);
        }
        self.task_complete(Some(
            &json!({"message": fail.message, "codex_error_info": error_info(fail)}),
        ));
        self.out.event(&json!({"type": "error", "message": fail.message}))?;
        self.out.event(&json!({"type": "turn.failed", "error": {"message": fail.message}}))
    }

    /// Records that an interrupt ended the turn; nothing is printed.
    pub(super) fn abort(&mut self) {
        let mut payload =
            json!({"type": "turn_aborted", "turn_id": self.id, "reason": "interrupted"});
        self.close(&mut payload);
        self.rollout.line("event_msg", &payload);
    }

    fn total(&self) -> Usage {
        self.rollout.before.plus(self.used)
    }

    fn limits(&mut self, info: &Value, resets_at: Option<i64>) {
        let primary = resets_at
            .map(|at| json!({"used_percent": 100.0, "window_minutes": 300, "resets_at": at}));
        let limits = json!({
            "limit_id": "codex",
            "limit_name": null,
            "primary": primary,
            "secondary": null,
            "credits": null,
            "plan_type": null,
            "rate_limit_reached_type": null,
        });
        self.rollout.line(
            "event_msg",
            &json!({"type": "token_count", "info": info, "rate_limits": limits}),
        );
    }

    fn task_complete(&mut self, error: Option<&Value>) {
        let message = if error.is_some() { None } else { self.last_message.as_deref() };
        let mut payload =
            json!({"type": "task_complete", "turn_id": self.id, "last_agent_message": message});
        if let Some(error) = error {
            payload["error"] = error.clone();
        }
        self.close(&mut payload);
        self.rollout.line("event_msg", &payload);
    }

    fn close(&self, payload: &mut Value) {
        let now = door::now_ms();
        payload["started_at"] = json!(self.started_ms / 1000);
        payload["completed_at"] = json!(now / 1000);
        payload["duration_ms"] = json!(now.saturating_sub(self.started_ms));
    }
}

/// The typed cause: a word, or a word with the HTTP status inside.
fn error_info(fail: &Fail) -> Value {
    let word = fail.info.as_deref().unwrap_or("other");
    match fail.status {
        Some(status) => json!({word: {"http_status_code": status}}),
        None => json!(word),
    }
}
