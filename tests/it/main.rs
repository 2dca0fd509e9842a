//! Everything that is tested from outside: the real program, the real codex binary, a scripted model server, real folders.
//!
//! One binary, so that the helpers are compiled once. A test is added in the file named after what it promises about;
//! [`tidy`] fails when a file of this folder is not listed here.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests watch the program from outside: they write files, read clocks and the environment, and fail by panicking"
)]

mod any_bytes;
mod claims;
mod cli;
mod codex_bin;
mod codex_contract;
mod daemon;
mod death;
mod degraded;
mod deploy;
mod docs;
mod doctor;
mod early_trees;
mod edge;
mod enforce;
mod escape;
mod failures;
mod fence;
mod first_use;
mod floods;
mod french;
mod grounds;
mod hooks;
mod hostile;
mod hostile_content;
mod hostile_names;
mod hostile_timing;
mod init;
mod jobs;
mod kept_worker;
mod limits;
mod linked;
mod meanwhile;
mod memory;
mod messages;
mod metrics;
mod model_server;
mod mounts;
mod odd_records;
mod other_writers;
mod pages;
mod real_jobs;
mod rehearsal;
mod safe;
mod screens;
mod second_thoughts;
mod shells;
mod site;
mod stall;
mod standin;
mod steering;
mod steering_again;
mod steering_apply;
mod steering_doors;
mod steering_edit;
mod steering_go;
mod steering_prune;
mod steering_say;
mod terminal;
mod tidy;
mod told;
mod yard;
