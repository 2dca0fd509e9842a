//! The words of the processes that stay, daemons and workers, read by what these two commands know alone.
//!
//! To know all the others is a fifth of the time in which a worker begins, and what of the program was used for it would stay in
//! memory as long as the process. Words that mean anything else are nobody's here: all commands together say what is wrong
//! with them, or show help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches};

use super::daemon::Daemon;
use super::ink::Colour;
use super::{Cli, Command, Everywhere};

/// The commands' names.
const DAEMON: &str = "daemon";
const WORKER: &str = "worker";

/// What the words ask for, if that is a process that stays.
pub(super) fn read(words: &[OsString]) -> Option<Cli> {
    match words {
        // As `os::process::own_call` puts them.
        [_, flag, root, worker, job] if flag == "--root" && worker == WORKER => {
            let job = job.to_str().filter(|job| *job == "-" || !job.starts_with('-'))?;
            // No folder, or one that looks like a flag, is for the whole parser to refuse.
            root.as_encoded_bytes().first().filter(|first| **first != b'-')?;
            let everywhere = Everywhere { root: Some(PathBuf::from(root)), color: Colour::Auto };
            Some(Cli { everywhere, command: Command::Worker { job: job.to_owned() } })
        }
        _ if words.iter().any(|word| word == DAEMON) => daemon(words),
        _ => None,
    }
}

fn daemon(words: &[OsString]) -> Option<Cli> {
    let daemon = Daemon::augment_args(clap::Command::new(DAEMON));
    let known = Everywhere::augment_args(clap::Command::new("numerus")).subcommand(daemon);
    let found = known.try_get_matches_from(words).ok()?;
    let everywhere = Everywhere::from_arg_matches(&found).ok()?;
    let asked = Daemon::from_arg_matches(found.subcommand_matches(DAEMON)?).ok()?;
    Some(Cli { everywhere, command: Command::Daemon(asked) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::os::process::own_call;

    #[test]
    fn what_is_read_here_means_what_all_commands_together_make_of_it() {
        for (line, is_ours) in [
            ("numerus --root /r worker a-abc234", true),
            ("numerus --root /r worker -", true),
            ("numerus --root /r worker --help", false),
            ("numerus --root --help worker a-abc234", false),
            ("numerus --root -- worker a-abc234", false),
            ("numerus --root -x worker -", false),
            ("numerus worker a-abc234", false),
            ("numerus daemon", true),
            ("numerus --root /r daemon --once", true),
            ("numerus daemon --max-jobs 3 --root /r --stop-jobs", true),
            ("numerus daemon --color never --root=/r", true),
            ("numerus --color always daemon", true),
            ("numerus --root daemon daemon", true),
            ("numerus --root daemon status", false),
            ("numerus daemon --max-jobs 0", false),
            ("numerus daemon --help", false),
            ("numerus daemon x", false),
            ("numerus submit daemon", false),
            ("numerus help daemon", false),
            ("numerus status", false),
            ("numerus", false),
            ("", false),
        ] {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let whole = Cli::try_parse_from(&words).ok();
            let read = read(&words).map(|cli| format!("{cli:?}"));
            assert_eq!(read.is_some(), is_ours, "{line}");
            assert!(read.is_none() || read == whole.map(|cli| format!("{cli:?}")), "{line}");
        }
    }

    #[test]
    fn a_worker_is_called_by_words_that_are_read_here() {
        let call = own_call(Path::new("numerus"), Path::new("/r"), &[WORKER, "-"]);
        let words = std::iter::once(call.get_program()).chain(call.get_args());
        let words: Vec<OsString> = words.map(OsString::from).collect();
        assert!(read(&words).is_some(), "{words:?}");
        let without: Vec<OsString> =
            ["numerus", "--root", "", WORKER, "-"].map(OsString::from).into();
        assert!(read(&without).is_none());
    }
}
