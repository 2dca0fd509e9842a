//! `numerus daemon`: the watcher in the foreground.

use std::io::Write;

use clap::Args;

use super::held::held;
use super::here::Here;
use super::{rehearsal, seams};
use crate::codex::sandbox;
use crate::daemon::log::Fact;
use crate::daemon::{Options, Standing};
use crate::error::{Exit, Failure};
use crate::logic::words::plural;
use crate::os::console::one_line;
use crate::spool::Spool;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// Take what is there, see it through, and end
    #[arg(long)]
    once: bool,
    /// Run at most this many jobs at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_jobs: Option<u16>,
    /// Stop the jobs too when the daemon is told to stop
    #[arg(long)]
    stop_jobs: bool,
}

/// Runs the daemon until it is told to stop or, with `--once`, has nothing left to do.
pub(super) fn run(here: &mut Here, asked: &Daemon) -> Result<Exit, Failure> {
    let Daemon { once, max_jobs, stop_jobs } = *asked;
    for line in seams::preflight(&here.root)? {
        here.out.note(&format!("warning: {line}"));
    }
    for line in seams::hook_problems(&here.root) {
        here.out.note(&format!("warning: {line}"));
    }
    let settings = seams::codex_is_there(&here.root, false, sandbox::PATIENCE)?;
    if let Some(lack) = seams::lacks_login(&settings, None) {
        let hints = lack.hints.join("; ");
        here.out.note(&format!(
            "warning: {}: jobs will rest until it can be used: {hints}",
            lack.message
        ));
    }
    here.out.note(&format!("watching {}", here.root.spool().join("incoming").display()));
    rehearsal::tell(here, settings.rehearse.as_deref());
    let max_jobs = max_jobs.map(usize::from);
    let options = Options {
        once,
        max_jobs,
        stop_jobs,
        program: None,
        tell: Some(tell),
        tell_standing: Some(tell_standing),
    };
    let exit = seams::daemon(&here.root, settings, options)?;
    // Beside another daemon it ends so as well, with nothing left to do.
    if once && exit == Exit::Blocked && !Spool::of(&here.root).is_drained() {
        here.out.note("not everything is done; numerus status says what waits for what");
    }
    Ok(exit)
}

/// Says what a daemon does beside an active one.
fn tell_standing(standing: Standing, leader: Option<u32>) {
    let who = leader.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    say(&match standing {
        Standing::By => format!("another daemon is active{who}; standing by"),
        Standing::Back => {
            format!("another daemon is active{who} and takes what is there; this one ends")
        }
        Standing::In => "the other daemon has ended; this one is active now".to_owned(),
    });
}

fn say(line: &str) {
    // Whoever watched may have gone; the daemon stays.
    let _nobody_watches = writeln!(std::io::stderr(), "{}", one_line(line));
}

/// What becomes of the jobs that are being worked on.
fn leaving(jobs: usize, stops: bool) -> String {
    let (jobs, goes, is) = (
        plural(jobs, "job"),
        if jobs == 1 { "goes" } else { "go" },
        if jobs == 1 { "is" } else { "are" },
    );
    if stops {
        format!("{jobs} {is} asked to stop, and {goes} on with the next daemon")
    } else {
        format!("{jobs} {goes} on without a daemon; numerus status shows what comes of that")
    }
}

/// One line for each thing that somebody who watches wants to know.
fn tell(fact: &Fact) {
    let line = match fact {
        Fact::Taken { job, name } => format!("{job}: taken from {name}"),
        Fact::Rejected { name, kept_as, message, .. } => {
            format!("{name}: rejected: {message} (see spool/rejected/{kept_as}.reason.json)")
        }
        Fact::Started { job, pid } => format!("{job}: worker {pid} has started"),
        Fact::Adopted { job } => format!("{job}: its worker goes on"),
        Fact::Ended { job, state } => format!("{job}: {state}"),
        Fact::Held { account, reason, until, message } => held(account, *reason, *until, message),
        Fact::Leaving { jobs, stops } => leaving(*jobs, *stops),
        Fact::Repaired { job, repair } => format!("{job}: {repair}"),
        Fact::Ignored { name, message } => format!("{name}: left where it is: {message}"),
        Fact::Degraded { reason } => format!("no new work is started: {reason}"),
        Fact::Recovered { reason } => format!("goes on; it was: {reason}"),
        Fact::Trouble { message } => message.clone(),
        Fact::DaemonStarted { .. } | Fact::DaemonStopped { .. } => return,
    };
    say(&line);
}
