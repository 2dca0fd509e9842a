//! Control groups (version 2), where this user may make them: the one way to end a process family as a whole, whatever
//! its members did to hide.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::Access;

use super::bounds::Bounds;
use super::process::Target;
use super::{clock, fsx};

/// Rounds to wait until a killed group is empty.
const EMPTY_ROUNDS: u32 = 1000;
/// Rest between two rounds.
const EMPTY_REST: Duration = Duration::from_millis(2);

/// A control group made for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// Where a group below the one this process is in [can be made](Self::make); `None` where that is not allowed.
    pub fn planned(name: &str) -> Option<Self> {
        let above = own_dir()?;
        rustix::fs::access(&above, Access::WRITE_OK).ok()?;
        Some(Self { dir: above.join(format!("numerus-{name}")) })
    }

    /// Makes it, unless it is there; whether it is now.
    pub fn make(&self) -> bool {
        match fs::create_dir(&self.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return false,
            _ => {}
        }
        let can_be_ended = self.procs().exists() && self.dir.join("cgroup.kill").exists();
        if !can_be_ended {
            self.remove();
        }
        can_be_ended
    }

    /// Makes a group below the one this process is in; `None` where that is not possible or not allowed.
    pub fn create(name: &str) -> Option<Self> {
        Self::planned(name).filter(Self::make)
    }

    /// The groups below the one this process is in whose names begin so.
    pub fn named(prefix: &str) -> Vec<Self> {
        let begins = format!("numerus-{prefix}");
        let Some(entries) = own_dir().and_then(|dir| fs::read_dir(dir).ok()) else {
            return Vec::new();
        };
        let found = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_meant = |dir: &PathBuf| {
            dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begins))
        };
        found.filter(is_meant).map(|dir| Self { dir }).collect()
    }

    /// A group that was written down by its path; it need not exist any more.
    pub fn recorded(path: &str) -> Option<Self> {
        let dir = PathBuf::from(path);
        let is_ours = dir.file_name().is_some_and(|n| n.to_string_lossy().starts_with("numerus-"));
        (is_ours && dir.starts_with(mount_point()?)).then_some(Self { dir })
    }

    /// Bounds what is in it, where its parent hands the means down to it.
    pub fn bound(&self, bounds: Bounds) {
        for (file, bound) in [("pids.max", bounds.processes), ("memory.max", bounds.memory)] {
            if let Some(bound) = bound {
                let _no_means =
                    fsx::tell_kernel(&self.dir.join(file), bound.to_string().as_bytes());
            }
        }
    }

    /// Its path, to be written down.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The file that takes in whoever writes `0` to it.
    pub fn procs(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    /// Moves a process in. One that has ended meanwhile may have left its number to somebody else, who is put where this process
    /// is, which nobody ends.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn take_in(&self, target: &Target) -> std::io::Result<()> {
        let number = target.pid().to_string();
        fsx::tell_kernel(&self.procs(), number.as_bytes())?;
        if !target.lives() && self.members().contains(&target.pid()) {
            let above = self.dir.with_file_name("cgroup.procs");
            fsx::tell_kernel(&above, number.as_bytes())?;
        }
        Ok(())
    }

    /// Ends everything in it and waits until it is empty; gives back what would not die.
    pub fn kill(&self) -> Vec<u32> {
        if self.members().is_empty() {
            return Vec::new();
        }
        let _seen_by_who_is_left = fsx::tell_kernel(&self.dir.join("cgroup.kill"), b"1");
        let is_in = |pid| self.members().contains(&pid);
        for _ in 0..EMPTY_ROUNDS {
            if self.members().is_empty() {
                return Vec::new();
            }
            clock::pause(EMPTY_REST);
            // A process whose first thread has ended is not reached by that.
            let left = self.members().into_iter().filter_map(|pid| Target::open(pid, is_in));
            left.for_each(|target| target.kill());
        }
        self.members()
    }

    /// The processes in it; none if it is gone.
    pub fn members(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.procs()).unwrap_or_default();
        text.lines().filter_map(|l| l.trim().parse().ok()).collect()
    }

    /// Removes it, if it is empty.
    pub fn remove(&self) {
        drop(fs::remove_dir(&self.dir));
    }
}

/// Where version 2 is mounted.
fn mount_point() -> Option<&'static Path> {
    // Once found it stays where it is, and the list of mounts may be long.
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Some(found);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|l| l.contains(" - cgroup2 "))?;
    let found = line.split_whitespace().nth(4)?;
    Some(FOUND.get_or_init(|| found.into()))
}

/// The folder of the group that this process is in.
fn own_dir() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|l| l.strip_prefix("0::"))?;
    let dir = mount_point()?.join(own.trim_start_matches('/'));
    dir.is_dir().then_some(dir)
}
