//! Floor 4: the commands. One file a command; each reads files or asks a floor below, writes through `out` and answers
//! with an exit. They work with nothing running, but for `run`, `start` and `daemon`, which are what runs.

mod answer;
mod daemon;
mod demo;
mod ended;
mod events;
mod follow;
mod held;
mod here;
mod ink;
mod jobfile;
mod kill;
mod logs;
mod lookup;
mod memory;
mod open;
mod out;
mod render;
mod run;
mod seams;
mod snapshot;
mod start;
mod status;
mod story;
mod submit;
mod table;
mod tail;
mod transcript;
mod unfit;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::error::{Exit, Failure};
use crate::model::id::JobId;
use here::{Here, View};
use out::Out;

/// Spool objectives for coding agents: drop a file, get a landed, explained result
#[derive(Debug, Parser)]
#[command(name = "numerus", version, max_term_width = 100)]
struct Cli {
    /// Use this root instead of `NUMERUS_ROOT`, the nearest spool above, or the user's state directory
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put an objective into the spool and print the job's id
    #[command(
        after_help = "Example:\n  numerus submit \"Fix the login\" --verify \"cargo test\"\n  \
                            numerus submit -f fix-login.md --priority 10\n  \
                            git diff | numerus submit - --label review"
    )]
    Submit(submit::Submit),
    /// Submit an objective and work on it in the foreground
    #[command(after_help = "Example:\n  numerus run \"Fix the login\" --max-parallel 2")]
    Run(run::Run),
    /// Plan an objective, show the plan, and ask before anything is executed
    #[command(after_help = "Example:\n  numerus start \"Fix the login\"\n  numerus start fix-the")]
    Start(start::Start),
    /// Watch the spool and run its jobs
    #[command(after_help = "Example:\n  numerus daemon --max-jobs 2\n  numerus daemon --once")]
    Daemon(daemon::Daemon),
    /// Show jobs, or one job with its tasks
    #[command(after_help = "Example:\n  numerus status\n  numerus status fix-the --json")]
    Status(status::AskStatus),
    /// Show what the agents of a job said and did
    #[command(after_help = "Example:\n  numerus logs fix-the --follow\n  \
                            numerus logs fix-the/tests --raw | less -R")]
    Logs(logs::Logs),
    /// End a job or one of its tasks
    #[command(after_help = "Example:\n  numerus kill fix-the\n  numerus kill fix-the/tests")]
    Kill(kill::Kill),
    /// Wait until jobs have ended, and end with the worst of their codes
    #[command(after_help = "Example:\n  numerus wait fix-the add-docs && echo both are done")]
    Wait(wait::Wait),
    /// Show the facts of one job, or of all of them in the order of time
    #[command(after_help = "Example:\n  numerus events fix-the\n  \
                            numerus events --follow --json --match 'job.*'")]
    Events(events::Events),
    /// Take a job out of what later jobs are told
    #[command(after_help = "Example:\n  numerus memory forget fix-the")]
    Memory(memory::Memory),
    /// Show the report of a job, or of all of them, in a browser
    #[command(after_help = "Example:\n  numerus open fix-the\n  numerus open --print")]
    Open(open::Open),
    /// Play two jobs on a scratch repository, with a scripted agent
    #[command(after_help = "Example:\n  numerus demo")]
    Demo(demo::Demo),
    /// Work on one job: started by the daemon and by run
    #[command(hide = true)]
    Worker {
        /// The job
        job: String,
    },
}

/// Runs the command that the words ask for; the answer is the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    let mut out = Out::standard();
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(refusal) => return said(&mut out, &refusal).code(),
    };
    let mut here = match seams::root(cli.root.as_deref()) {
        Ok(root) => Here { root, out, view: View::of_terminal() },
        Err(failure) => return failed(&mut out, &failure).code(),
    };
    let exit = match &cli.command {
        // It has a root of its own.
        Command::Demo(_) => Ok(()),
        _others => seams::check(&here.root),
    };
    let exit = exit.and_then(|()| dispatch(&mut here, &cli.command));
    exit.unwrap_or_else(|failure| failed(&mut here.out, &failure)).code()
}

/// The hidden first step of a session: becomes codex, or answers with a code.
pub fn session(words: &[OsString]) -> u8 {
    seams::session(words).code()
}

fn dispatch(here: &mut Here, command: &Command) -> Result<Exit, Failure> {
    // These two see it for themselves, and the demo has a root of its own.
    if !matches!(command, Command::Daemon(_) | Command::Worker { .. } | Command::Demo(_)) {
        unfit::tell(here);
    }
    match command {
        Command::Submit(asked) => submit::run(here, asked),
        Command::Run(asked) => run::run(here, asked),
        Command::Start(asked) => start::run(here, asked),
        Command::Daemon(asked) => daemon::run(here, asked),
        Command::Status(asked) => status::run(here, asked),
        Command::Logs(asked) => logs::run(here, asked),
        Command::Kill(asked) => kill::run(here, asked),
        Command::Wait(asked) => wait::run(here, asked),
        Command::Events(asked) => events::run(here, asked),
        Command::Memory(asked) => memory::run(here, asked),
        Command::Open(asked) => open::run(here, asked),
        Command::Demo(asked) => demo::run(here, asked),
        Command::Worker { job } => {
            let job = JobId::parse(job).map_err(|e| Failure::usage(e.to_string()))?;
            seams::work(&here.root, &job)
        }
    }
}

fn failed(out: &mut Out, failure: &Failure) -> Exit {
    out.note_text(&failure.render());
    failure.kind
}

/// Help and versions go to stdout, wrong usage to stderr.
fn said(out: &mut Out, refusal: &clap::Error) -> Exit {
    let text = refusal.render().to_string();
    if refusal.use_stderr() {
        out.note_text(&text);
        return Exit::Usage;
    }
    out.text(&text).map_or_else(|failure| failure.kind, |()| Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_make_sense_to_clap() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_and_speaks_in_the_imperative_without_a_full_stop() {
        for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example:\n  numerus "), "{name}: {help}");
            let mut texts = vec![command.get_about().map(ToString::to_string)];
            texts.extend(command.get_arguments().map(|a| a.get_help().map(ToString::to_string)));
            for text in texts {
                let text = text.unwrap_or_default();
                assert!(!text.is_empty() && !text.ends_with('.'), "{name}: {text:?}");
                assert!(text.starts_with(char::is_uppercase), "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn every_example_parses() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter_map(|l| l.split_once("numerus ")) {
                let words = line.1.split(['|', '&']).next().unwrap_or_default();
                let words = words.replace(['"', '\''], "");
                // What stood in quotes becomes many words; one is enough here.
                let words = words.replace("Fix the login", "Fix").replace("cargo test", "cargo");
                let words = std::iter::once("numerus").chain(words.split_whitespace());
                assert!(Cli::try_parse_from(words).is_ok(), "{}", line.1);
            }
        }
    }
}
