//! The program: hands its arguments on and turns the answer into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    ExitCode::from(match args.next() {
        Some(word) if word == "__codex" => numerus::standin::run(args.collect()),
        _ => numerus::cli::main(std::env::args_os()),
    })
}
