//! The stand-in for the agent: plays the part of `codex exec` from a script.
//!
//! It owns the flags, the JSON lines, the `-o` file, the rollout and the signals of the program
//! that Numerus drives, and none of its thinking: what it answers comes from a JSON script. It is
//! the model of the demo and of `--rehearse`, and the one fake in tests and benchmarks. It promises
//! that a supervisor which works with it meets the same shapes from the real one, and that it
//! touches nothing but its working directory, its `CODEX_HOME` and its own output.

mod args;
mod calls;
mod change;
mod command;
mod door;
mod exec;
mod item;
mod output;
mod play;
mod policy;
mod rollout;
mod scene;
mod script;
mod signals;
mod turn;

use std::ffi::OsString;

use args::Call;

/// The version line of the program played, and of the stand-in that plays it.
const VERSION: &str = "codex-cli 0.169.0 (numerus stand-in)";

/// The version alone, as it stands in rollouts and in the environment of commands.
const CLI_VERSION: &str = "0.169.0";

/// Plays one call of `codex`; `args` are the words after the program's name. Returns the exit code.
pub fn run(args: Vec<OsString>) -> u8 {
    match args::parse(args) {
        Ok(Call::Version) => output::print_line(VERSION),
        Ok(Call::LoginStatus) => said("Logged in as the numerus stand-in", 0),
        Ok(Call::Sandbox(sandbox)) => command::run_in_place(&sandbox),
        Ok(Call::Exec(exec)) => exec::run(&exec),
        Err(refusal) => said(&refusal.message, refusal.code),
    }
}

/// Says one line on stderr and answers with `code`.
fn said(message: &str, code: u8) -> u8 {
    output::complain(message);
    code
}
