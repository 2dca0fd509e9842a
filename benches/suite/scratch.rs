//! Scratch folders on the disk that the project lies on, processes that end with what started them, and waiting.

use std::io::{self, Error, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::IFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::marks::Marks;

/// Folders that nobody uses any more.
static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder of its own, with an ear for marks. It stays until [`clear`].
pub(crate) struct Scratch {
    folder: PathBuf,
    /// What was started says so here.
    pub(crate) marks: Marks,
}

impl Scratch {
    /// Makes one.
    pub(crate) fn new() -> io::Result<Self> {
        // What was written before is not to be brought to the disk meanwhile.
        rustix::fs::sync();
        let folder = tempfile::Builder::new().prefix("b-").tempdir_in(ground()?)?.keep();
        let marks = Marks::in_dir(&folder)?;
        Ok(Self { folder, marks })
    }

    /// A path below it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A folder below it, made.
    pub(crate) fn dir(&self, name: &str) -> io::Result<PathBuf> {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        left().push(std::mem::take(&mut self.folder));
    }
}

fn left() -> MutexGuard<'static, Vec<PathBuf>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what a measure has left, which makes new files dear for minutes on some file systems: at its end, and not between two rows.
pub(crate) fn clear() {
    for folder in left().drain(..) {
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            eprintln!("{} stays: {error}", folder.display());
        }
    }
}

/// Where scratch folders lie: each in a part of the disk of its own, where the file system knows how. ext4 looks at each number of a
/// file that was deleted in the last minutes whenever one is made near it, and every measure leaves thousands behind.
fn ground() -> io::Result<PathBuf> {
    let ground = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&ground)?;
    let folder = std::fs::File::open(&ground)?;
    // Other file systems have no such mark, and may have no such cost.
    let _near_each_other = rustix::fs::ioctl_getflags(&folder)
        .and_then(|flags| rustix::fs::ioctl_setflags(&folder, flags | IFlags::TOPDIR));
    Ok(ground)
}

/// A command that is heard by nobody and has nothing of the caller's but the search path.
pub(crate) fn quiet(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1").current_dir(home);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A process and what it started in its group, which end with its owner: asked first, killed when they will not.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .process_group(0)
            .spawn()
            .map(Self)
            .map_err(|e| Error::new(e.kind(), format!("{name}: {e}")))
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        let _gone = kill_process_group(group, Signal::TERM);
        let has_ended =
            until("its end", Duration::from_secs(5), || Ok(self.0.try_wait()?.is_some()));
        if has_ended.is_err() {
            let _gone = kill_process_group(group, Signal::KILL);
            let _gone = self.0.wait();
        }
    }
}

/// Waits until something is so, looking 500 times a second: for what no mark tells of, outside of what is measured.
pub(crate) fn until(
    what: &str,
    patience: Duration,
    is_so: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    until_every(Duration::from_millis(2), what, patience, is_so)
}

/// The same for a look that costs something, or that lasts for long: so often.
pub(crate) fn until_every(
    rest: Duration,
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let started = Instant::now();
    while !is_so()? {
        if started.elapsed() > patience {
            let text = format!("{what}: not so after {patience:?}");
            return Err(Error::new(ErrorKind::TimedOut, text));
        }
        pause(rest);
    }
    Ok(())
}

/// Lets time pass.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Where a program is, if it is installed: among the peers that the script installs, or on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers").join("bin");
    let path = std::env::var_os("PATH")?;
    let mut dirs = std::iter::once(own).chain(std::env::split_paths(&path));
    dirs.find_map(|dir| Some(dir.join(name)).filter(|p| p.is_file()))
}
