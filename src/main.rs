//! The program: hands its arguments on and turns the answer into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == "__codex") {
        return ExitCode::from(numerus::standin::run(args.collect()));
    }
    ExitCode::SUCCESS
}
