//! The seams to the pages for people: writing them, and handing one to a browser.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::{Exit, Failure};
use crate::model::root::Root;
use crate::os::{clock, env, process};
use crate::report;
use crate::runs::RunFolder;

/// How often, and how many times, a worker's first page is looked for.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 100;

/// The report of a job, fresh: written here, or by the worker that has the job.
pub(in crate::cli) fn report(folder: &RunFolder) -> Result<PathBuf, Failure> {
    let path = report::path(folder);
    match folder.try_lock() {
        Ok(Some(_lock)) => written(report::refresh(folder, false), &path),
        Ok(None) => by_worker(folder, &path),
        // As on a root that cannot be written.
        Err(e) => written(Err(e), &path),
    }?;
    Ok(path)
}

/// A page that is there, though not fresh, is better than none.
fn written(refreshed: io::Result<()>, path: &Path) -> Result<(), Failure> {
    match refreshed {
        Err(e) if !path.is_file() => Err(Failure::system("write the page", &e)),
        _written_or_there => Ok(()),
    }
}

fn by_worker(folder: &RunFolder, path: &Path) -> Result<(), Failure> {
    for _look in 0..LOOKS {
        if path.is_file() {
            return Ok(());
        }
        clock::pause(LOOK);
    }
    let (job, log) = (folder.job(), folder.worker_log());
    Err(Failure::new(Exit::Blocked, format!("the worker of {job} has not written its report yet"))
        .hint(format!("if it cannot, {} says why", log.display())))
}

/// The overview of all jobs, fresh.
pub(in crate::cli) fn overview(root: &Root) -> Result<PathBuf, Failure> {
    let path = report::overview_path(root);
    written(report::refresh_overview(root), &path)?;
    Ok(path)
}

/// Writes the overview where jobs have ended here and no daemon does it. Nothing depends on it.
pub(in crate::cli) fn see_to_overview(root: &Root) {
    let _behind_until_the_next_one = report::see_to_overview(root);
}

/// Writes the overview once, for a daemon, whose terminal is not this one's.
pub(in crate::cli) fn write_overview(root: &Root) -> Result<Exit, Failure> {
    process::leave_session();
    process::keep_private();
    report::refresh_overview(root).map_err(|e| Failure::system("write the overview", &e))?;
    Ok(Exit::Done)
}

/// Hands a page to the first of the user's browsers that takes it; false if there is none, or nothing to show it on. One that
/// shows it on the terminal finds none unless it may have it.
pub(in crate::cli) fn open_page(path: &Path, may_have_terminal: bool) -> bool {
    let named = env::var("BROWSER");
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some());
    let browsers = match &named {
        Some(names) => names.as_str(),
        None if has_display => "xdg-open",
        None => return false,
    };
    browsers
        .split(':')
        .filter(|words| !words.trim().is_empty())
        .any(|words| hand_over(words, path, may_have_terminal))
}

/// A browser is a program with its words; `%s` stands for the page, which comes last where it is not named.
fn hand_over(browser: &str, path: &Path, may_have_terminal: bool) -> bool {
    let mut words = browser.split_whitespace();
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    let mut is_named = false;
    for word in words {
        if word == "%s" {
            command.arg(path);
            is_named = true;
        } else {
            command.arg(word);
        }
    }
    if !is_named {
        command.arg(path);
    }
    if !may_have_terminal {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    }
    command.status().is_ok_and(|status| status.success())
}
