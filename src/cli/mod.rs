//! Floor 4: the commands. One file a command; each reads files or asks a floor below, writes through `out` and answers
//! with an exit. They work with nothing running, but for `run`, `start` and `daemon`, which are what runs.

mod activity;
mod answer;
mod apply;
mod attach;
mod board;
mod completions;
mod daemon;
mod demo;
mod doctor;
mod edit;
mod editor;
mod ended;
mod events;
mod fold;
mod follow;
mod held;
mod here;
mod idle;
mod init;
mod ink;
mod jobfile;
mod kill;
mod live;
mod logs;
mod lookup;
mod man;
mod memory;
mod needed;
mod open;
mod out;
mod pause;
mod planedit;
mod prune;
mod rehearsal;
mod render;
mod resume;
mod retry;
mod row;
mod run;
mod seams;
mod send;
mod several;
mod snapshot;
mod start;
mod status;
mod staying;
mod story;
mod submit;
mod table;
mod tail;
mod top;
mod transcript;
mod unfit;
mod usage;
mod wait;
mod wakes;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::{Exit, Failure};
use crate::model::id::JobId;
use here::{Here, View};
use ink::Colour;
use out::Out;

/// Spool objectives for coding agents: drop a file, get a landed, explained result
#[derive(Debug, Parser)]
#[command(name = "numerus", bin_name = "numerus", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
struct Everywhere {
    /// Use this root instead of `NUMERUS_ROOT`, the nearest spool above, or the user's state directory
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Use colours: on a terminal without `NO_COLOR`, always, or never
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true
    )]
    color: Colour,
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
    /// Watch the spool on the whole screen
    #[command(after_help = "Example:\n  numerus top")]
    Top(top::Top),
    /// Show what the agents of a job said and did
    #[command(after_help = "Example:\n  numerus logs fix-the --follow\n  \
                            numerus logs fix-the/tests --raw | less -R")]
    Logs(logs::Logs),
    /// End jobs or tasks of them
    #[command(
        after_help = "Example:\n  numerus kill fix-the add-docs\n  numerus kill fix-the/tests"
    )]
    Kill(kill::Kill),
    /// Let jobs rest until they are resumed
    #[command(after_help = "Example:\n  numerus pause fix-the add-docs")]
    Pause(pause::Pause),
    /// Let paused jobs go on
    #[command(after_help = "Example:\n  numerus resume fix-the")]
    Resume(resume::Resume),
    /// Change a job that has not begun: another one takes its place
    #[command(
        after_help = "Example:\n  numerus edit fix-the\n  numerus edit fix-the --priority 20"
    )]
    Edit(edit::Edit),
    /// Do an ended job once more, try a task again now, or drop a rejected file again
    #[command(
        after_help = "Example:\n  numerus retry fix-the\n  numerus retry fix-the --model gpt-5 --from-scratch\n  \
                            numerus retry fix-the/tests\n  numerus retry notes.md"
    )]
    Retry(retry::Retry),
    /// Bring the result of a job into its repository's checkout
    #[command(after_help = "Example:\n  numerus apply fix-the --check\n  numerus apply fix-the")]
    Apply(apply::Apply),
    /// Tell the agents of a job or task something, with their next prompts
    #[command(after_help = "Example:\n  numerus send fix-the/tests \"Hurry\"\n  \
                            git diff | numerus send fix-the -")]
    Send(send::Send),
    /// Watch what the agent of a task says and does, until the task has ended
    #[command(
        after_help = "Example:\n  numerus attach fix-the/tests\n\nCtrl-C detaches; the agent goes on."
    )]
    Attach(attach::Attach),
    /// Remove jobs that have ended, but for a copy of what matters
    #[command(after_help = "Example:\n  numerus prune --older-than 30d --dry-run\n  \
                            numerus prune --keep 100 --max-size 10G --yes")]
    Prune(prune::Prune),
    /// Wait until jobs have ended, and end with the worst of their codes
    #[command(after_help = "Example:\n  numerus wait fix-the add-docs && echo both are done")]
    Wait(wait::Wait),
    /// Show the facts of one job, or of all of them in the order of time
    #[command(after_help = "Example:\n  numerus events fix-the\n  \
                            numerus events --follow --json --match 'job.*'")]
    Events(events::Events),
    /// Search and show what ended jobs left for later ones, or take it back
    #[command(after_help = "Example:\n  numerus memory search login --workspace .\n  \
                            numerus memory show fix-the\n  numerus memory forget fix-the")]
    Memory(memory::Memory),
    /// Make a root with a settings file in which every setting is explained
    #[command(after_help = "Example:\n  numerus init\n  numerus init /srv/numerus")]
    Init(init::Init),
    /// Look whether everything is there that work depends on
    #[command(after_help = "Example:\n  numerus doctor\n  numerus doctor --json | jq .findings")]
    Doctor(doctor::Doctor),
    /// Show the report of a job, or of all of them, in a browser
    #[command(after_help = "Example:\n  numerus open fix-the\n  numerus open --print")]
    Open(open::Open),
    /// Play two jobs on a scratch repository, with a scripted agent
    #[command(after_help = "Example:\n  numerus demo")]
    Demo(demo::Demo),
    /// Print what makes a shell complete commands, flags, jobs and tasks
    #[command(
        after_help = "Example:\n  numerus completions bash > ~/.local/share/bash-completion/completions/numerus\n  \
                            numerus completions fish > ~/.config/fish/completions/numerus.fish"
    )]
    Completions(completions::Completions),
    /// Print the manual page, or write those of all commands
    #[command(
        after_help = "Example:\n  numerus man | man -l -\n  numerus man --out ~/.local/share/man"
    )]
    Man(man::Man),
    /// Call hooks: started by whoever writes what they are called for
    #[command(hide = true, name = crate::hooks::RUNNER)]
    Hooks,
    /// Write the page of all jobs: started by the daemon
    #[command(hide = true, name = crate::report::WRITER)]
    Overview,
    /// Work on one job: started by the daemon and by run
    #[command(hide = true)]
    Worker {
        /// The job; `-` to be told on standard input
        job: String,
    },
}

impl Command {
    /// Whether it has a root of its own, asks none, or tells itself all that is wrong with this one.
    fn needs_no_root(&self) -> bool {
        use Command::{Completions, Demo, Doctor, Init, Man};
        matches!(self, Demo(_) | Doctor(_) | Init(_) | Completions(_) | Man(_))
    }

    /// Whether it may have ended a job that no worker had.
    fn may_end_jobs(&self) -> bool {
        use Command::{Edit, Kill, Run, Start, Top};
        matches!(self, Kill(_) | Edit(_) | Run(_) | Start(_) | Top(_))
    }
}

/// Runs the command that the words ask for; the answer is the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    match completions::answer(&words, Cli::command) {
        Ok(true) => return Exit::Done.code(),
        Ok(false) => {}
        Err(failure) => return failed(&mut Out::standard(Colour::Auto), &failure).code(),
    }
    let Cli { everywhere: Everywhere { root, color }, command } =
        match staying::read(&words).map_or_else(|| Cli::try_parse_from(&words), Ok) {
            Ok(cli) => cli,
            Err(refusal) => return said(&mut Out::standard(Colour::Auto), &refusal, &words).code(),
        };
    let mut out = Out::standard(color);
    let mut here = match seams::root(root.as_deref()) {
        Ok(root) => Here { root, out, view: View::of_terminal(color) },
        Err(failure) => return failed(&mut out, &failure).code(),
    };
    let exit = if command.needs_no_root() { Ok(()) } else { seams::check(&here.root) };
    let exit = exit.and_then(|()| dispatch(&mut here, &command));
    if command.may_end_jobs() {
        // However it went: what it did to jobs before is done.
        seams::see_to_overview(&here.root);
    }
    exit.unwrap_or_else(|failure| failed(&mut here.out, &failure)).code()
}

fn dispatch(here: &mut Here, command: &Command) -> Result<Exit, Failure> {
    // These see it for themselves.
    let sees_it = matches!(
        command,
        Command::Daemon(_) | Command::Worker { .. } | Command::Hooks | Command::Overview
    );
    if !sees_it && !command.needs_no_root() {
        unfit::tell(here);
    }
    match command {
        Command::Submit(asked) => submit::run(here, asked),
        Command::Run(asked) => run::run(here, asked),
        Command::Start(asked) => start::run(here, asked),
        Command::Daemon(asked) => daemon::run(here, asked),
        Command::Status(asked) => status::run(here, asked),
        Command::Top(asked) => top::run(here, asked),
        Command::Logs(asked) => logs::run(here, asked),
        Command::Kill(asked) => kill::run(here, asked),
        Command::Pause(asked) => pause::run(here, asked),
        Command::Resume(asked) => resume::run(here, asked),
        Command::Edit(asked) => edit::run(here, asked),
        Command::Retry(asked) => retry::run(here, asked),
        Command::Apply(asked) => apply::run(here, asked),
        Command::Send(asked) => send::run(here, asked),
        Command::Attach(asked) => attach::run(here, asked),
        Command::Prune(asked) => prune::run(here, asked),
        Command::Wait(asked) => wait::run(here, asked),
        Command::Events(asked) => events::run(here, asked),
        Command::Memory(asked) => memory::run(here, asked),
        Command::Init(asked) => init::run(here, asked),
        Command::Doctor(asked) => doctor::run(here, asked),
        Command::Completions(asked) => completions::run(here, asked),
        Command::Man(asked) => man::run(here, asked, Cli::command()),
        Command::Open(asked) => open::run(here, asked),
        Command::Demo(asked) => demo::run(here, asked),
        Command::Hooks => seams::run_hooks(&here.root),
        Command::Overview => seams::write_overview(&here.root),
        Command::Worker { job } if job == "-" => seams::work_when_told(&here.root),
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
fn said(out: &mut Out, refusal: &clap::Error, words: &[OsString]) -> Exit {
    let text = refusal.render().to_string();
    if refusal.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        out.note_text(&text);
        return Exit::Usage;
    }
    if refusal.use_stderr() {
        let known = Cli::command();
        let called = words.iter().skip(1).filter_map(|word| word.to_str());
        let called = called.clone().find(|word| known.find_subcommand(word).is_some());
        return failed(out, &usage::failure(&text, called));
    }
    out.text(&text).map_or_else(|failure| failure.kind, |()| Exit::Done)
}

#[cfg(test)]
mod tests {
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
                let words = line.1.split(['|', '&', '>']).next().unwrap_or_default();
                let words = words.replace(['"', '\''], "");
                // What stood in quotes becomes many words; one is enough here.
                let words = words.replace("Fix the login", "Fix").replace("cargo test", "cargo");
                let words = std::iter::once("numerus").chain(words.split_whitespace());
                assert!(Cli::try_parse_from(words).is_ok(), "{}", line.1);
            }
        }
    }
}
