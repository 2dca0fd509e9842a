//! `numerus init`: a root with its folders and a `numerus.toml` in which every setting is explained.

use std::path::PathBuf;

use clap::Args;

use super::here::Here;
use super::seams;
use crate::error::{Exit, Failure};
use crate::model::root::Root;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Make the root here (default: the root that every command would use)
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Makes the root and says what to do next.
pub(super) fn run(here: &mut Here, asked: &Init) -> Result<Exit, Failure> {
    let root = match &asked.dir {
        None => here.root.clone(),
        Some(dir) => seams::root(Some(dir))?,
    };
    let path = root.path().display();
    if !seams::init(&root)? {
        let file = root.settings_file();
        return Err(Failure::usage(format!("{} is there already", file.display()))
            .hint("edit it, or remove it first: nothing was changed"));
    }
    here.out.line(&path.to_string())?;
    let words = if is_found_by_itself(&root) { String::new() } else { format!(" --root {path}") };
    here.out.note("a root with a numerus.toml in which every setting is explained; next:");
    for (command, does) in [
        ("doctor", "looks whether everything is there"),
        ("daemon", "works on what is submitted"),
        ("submit \"…\"", "submits an objective"),
    ] {
        here.out.note(&format!("  numerus{words} {command:<12} {does}"));
    }
    if !words.is_empty() {
        here.out.note(&format!("without --root: `cd {path}`, or `export NUMERUS_ROOT={path}`"));
    }
    Ok(Exit::Done)
}

fn is_found_by_itself(root: &Root) -> bool {
    seams::root(None).is_ok_and(|found| found.path() == root.path())
}
