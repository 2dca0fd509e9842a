//! Floor 3a: one codex session, from the command line to its fenced end. No model is called but through the `codex`
//! binary, and nothing that it says is believed before it was checked.
//!
//! - `program`: which codex, with which home and environment
//! - `command`: the words it is called with
//! - `opening`: what a session begins with; `session`: spawn, stream, deadlines; `reader`: its two threads; `pulse`: its vital signs; `conclusion`: its end on disk
//! - `log`, `log_budget`: how much of what it prints is kept; `capture`: what comes through a pipe
//! - `rollout`: codex's own record of the thread: typed errors, tokens
//! - `account`: whose limit and login it is, and whether it is held
//! - `login`: how it gets at a model, and its version; `look`: a bounded call without a session
//! - `sandbox`: whether it confines anything here
//! - `fence`: nothing of an ended session lives on; `enclosing`: the control group that helps with it
//! - `question`, `schema`, `prompt`, `ask`: questions and structured answers

pub mod account;
pub mod ask;
pub mod capture;
pub mod command;
mod conclusion;
mod enclosing;
pub mod fence;
pub mod log;
pub mod log_budget;
pub mod login;
mod look;
mod opening;
pub mod program;
pub mod prompt;
mod pulse;
pub mod question;
pub mod reader;
pub mod rollout;
pub mod sandbox;
pub mod schema;
pub mod session;

pub use ask::Asker;
pub use program::Codex;
pub use question::{Question, Reply};
pub use session::{Ended, Record, SessionSpec};

use crate::model::plan::PlanAnswer;

/// Makes ready, and keeps, what the first session of a process would have to wait for.
pub fn get_ready() {
    prompt::get_ready();
    let _kept = schema::strict::<PlanAnswer>();
}
