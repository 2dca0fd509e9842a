//! Those that watch a folder or a file, into which jobs are dropped.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::Spooler;
use crate::floor::WATCHER;
use crate::marks;
use crate::scratch::{Running, Scratch, find, quiet};

type Started = io::Result<Box<dyn Spooler>>;

/// A folder that is watched: a job is a file that is written aside and renamed into it.
struct Folder {
    incoming: PathBuf,
    aside: PathBuf,
    _watcher: Running,
}

impl Spooler for Folder {
    fn offer(&mut self, number: usize) -> io::Result<u64> {
        let (aside, whole) =
            (self.aside.join(number.to_string()), self.incoming.join(number.to_string()));
        let before = marks::now();
        fs::write(&aside, "x\n")?;
        fs::rename(aside, whole)?;
        Ok(before)
    }
}

/// A file that is followed: a job is a line at its end.
struct Lines {
    file: fs::File,
    _follower: Running,
}

impl Spooler for Lines {
    fn offer(&mut self, number: usize) -> io::Result<u64> {
        let before = marks::now();
        self.file.write_all(format!("{number}\n").as_bytes())?;
        Ok(before)
    }
}

/// A line of a shell that watches `incoming`; `$JOB` and `$IN` are what to start and where to look.
fn shell(scratch: &Scratch, line: &str, jobs: usize) -> io::Result<Running> {
    let mut command = quiet("sh", &scratch.path(""));
    command.args(["-c", line]).env("JOB", scratch.marks.job()).env("JOBS", jobs.to_string());
    let peers = find("watchexec").and_then(|p| p.parent().map(ToOwned::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = peers.into_iter().chain(std::env::split_paths(&path)).collect();
    command.env("PATH", std::env::join_paths(dirs).map_err(io::Error::other)?);
    Running::start(command.env("IN", scratch.dir("in")?))
}

fn folder(scratch: &Scratch, watcher: Running) -> Started {
    let (incoming, aside) = (scratch.dir("in")?, scratch.dir("aside")?);
    Ok(Box::new(Folder { incoming, aside, _watcher: watcher }))
}

pub(super) fn floor(scratch: &Scratch, _jobs: usize) -> Started {
    least(scratch, "none")
}

pub(super) fn floor_with_sync(scratch: &Scratch, _jobs: usize) -> Started {
    least(scratch, "sync")
}

fn least(scratch: &Scratch, sync: &str) -> Started {
    let mut command = quiet(scratch.path(WATCHER), &scratch.path(""));
    command.arg(scratch.dir("in")?).arg(scratch.marks.job()).arg(sync);
    let watcher = Running::start(&mut command)?;
    folder(scratch, watcher)
}

pub(super) fn inotifywait(scratch: &Scratch, jobs: usize) -> Started {
    let line =
        "inotifywait -q -m -e moved_to --format %f \"$IN\" | xargs -n 1 -P \"$JOBS\" \"$JOB\"";
    let watcher = shell(scratch, line, jobs)?;
    folder(scratch, watcher)
}

pub(super) fn watchexec(scratch: &Scratch, jobs: usize) -> Started {
    let line = "exec watchexec -q -w \"$IN\" -p --on-busy-update queue -- \"$JOB\"";
    let watcher = shell(scratch, line, jobs)?;
    folder(scratch, watcher)
}

pub(super) fn incron(scratch: &Scratch, _jobs: usize) -> Started {
    let (tables, users) = (scratch.dir("tables")?, scratch.dir("users")?);
    let incoming = scratch.dir("in")?;
    let rule = format!("{} IN_MOVED_TO {} $#\n", incoming.display(), scratch.marks.job().display());
    fs::write(tables.join("suite"), rule)?;
    let settings = scratch.path("incron.conf");
    let text = format!(
        "system_table_dir = {}\nuser_table_dir = {}\nlockfile_dir = {}\nlockfile_name = incrond\n",
        tables.display(),
        users.display(),
        scratch.path("").display()
    );
    fs::write(&settings, text)?;
    let mut command = quiet(find("incrond").unwrap_or_default(), &scratch.path(""));
    let watcher = Running::start(command.arg("-n").arg("-f").arg(settings))?;
    folder(scratch, watcher)
}

pub(super) fn parallel(scratch: &Scratch, jobs: usize) -> Started {
    let queue = scratch.path("queue");
    let file = OpenOptions::new().create(true).append(true).open(&queue)?;
    let line = "tail -n +1 -f \"$IN/../queue\" | parallel --will-cite -j \"$JOBS\" \"$JOB\" {}";
    let follower = shell(scratch, line, jobs)?;
    Ok(Box::new(Lines { file, _follower: follower }))
}
