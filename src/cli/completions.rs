//! `numerus completions`: what makes a shell complete the words of this program, jobs and tasks included.
//!
//! The shell asks this very program at each press of the key, by the variable [`VARIABLE`], so that new commands, flags and
//! jobs are known without anything being installed anew. Only folders are read then; what cannot be read completes nothing.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};

use super::here::Here;
use super::lookup::Known;
use super::{lookup, seams, snapshot};
use crate::error::{Exit, Failure};
use crate::model::root::Root;
use crate::runs::Runs;

/// By this a shell asks.
pub(super) const VARIABLE: &str = "NUMERUS_COMPLETE";

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell to write for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// A shell that can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints what the shell is to read.
pub(super) fn run(here: &mut Here, asked: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let write: &dyn EnvCompleter = match asked.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    write
        .write_registration(VARIABLE, "numerus", "numerus", "numerus", &mut script)
        .map_err(|e| Failure::system("write the script", &e))?;
    here.out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Answers a shell that asks; false if nobody does.
///
/// # Errors
/// What the shell asked in a way that cannot be answered.
pub(super) fn answer(words: &[OsString], command: fn() -> Command) -> Result<bool, Failure> {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| knowing_jobs(command()))
        .var(VARIABLE)
        .bin("numerus")
        .try_complete(words.iter().cloned(), here.as_deref())
        .map_err(|e| Failure::usage(format!("cannot complete: {e}")))
}

/// Which jobs an argument may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    Live,
    Ended,
}

impl Whose {
    /// What the words of a command name; its flags, such as `--after`, may name any.
    fn of(command: &str, arg: &Arg) -> Self {
        match command {
            "kill" | "pause" | "resume" | "edit" | "send" | "attach" if arg.is_positional() => {
                Self::Live
            }
            // `retry` is for jobs that have ended, and for tasks of those that have not.
            "apply" if arg.is_positional() => Self::Ended,
            _ => Self::All,
        }
    }

    fn has(self, known: &Known) -> bool {
        match self {
            Self::All => true,
            Self::Live => !known.has_ended,
            Self::Ended => known.has_ended,
        }
    }
}

/// The commands, with jobs and tasks as what completes every argument that is called so.
fn knowing_jobs(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let names = |arg: &Arg| {
        let all = arg.get_value_names().unwrap_or_default();
        all.iter().map(ToString::to_string).collect::<String>()
    };
    let command = command.mut_args(|arg| {
        let (names, whose) = (names(&arg), Whose::of(&name, &arg));
        if names.contains("TASK") {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| jobs_and_tasks(whose, typed)))
        } else if names.contains("JOB") {
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| jobs(whose, typed)))
        } else {
            arg
        }
    });
    command.mut_subcommands(knowing_jobs)
}

/// The root that the words name which are being completed.
fn root() -> Option<Root> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let after = words.iter().position(|word| word == "--root").and_then(|at| words.get(at + 1));
    let joined = words.iter().find_map(|word| word.to_str()?.strip_prefix("--root="));
    let named = after.map(PathBuf::from).or_else(|| joined.map(PathBuf::from));
    seams::root(named.as_deref()).ok()
}

fn jobs(whose: Whose, typed: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(typed), Some(root)) = (typed.to_str(), root()) else { return Vec::new() };
    let mut all = lookup::all(&root).unwrap_or_default();
    all.retain(|known| known.job.as_str().starts_with(typed) && whose.has(known));
    all.into_iter().map(|known| CompletionCandidate::new(known.job.to_string())).collect()
}

fn jobs_and_tasks(whose: Whose, typed: &OsStr) -> Vec<CompletionCandidate> {
    let text = typed.to_str().unwrap_or_default();
    let Some((job, task)) = text.split_once('/') else { return jobs(whose, typed) };
    let known = root().and_then(|root| Some((lookup::find_live(&root, job).ok()?, root)));
    let Some((known, root)) = known else { return Vec::new() };
    let status = snapshot::status(&Runs::of(&root).folder(&known.job)).ok().flatten();
    let tasks = status.map(|status| status.tasks).unwrap_or_default();
    let fitting = tasks.iter().filter(|t| t.id.as_str().starts_with(task));
    fitting.map(|t| CompletionCandidate::new(format!("{job}/{}", t.id))).collect()
}
