//! What the kernel allows this user: open files, and how much may be watched and is.
//!
//! Diagnostics: what the kernel does not say is `None`; processes that cannot be looked into are not counted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::{Resource, getrlimit};

use super::{env, process};

/// What may be watched through inotify, and what is watched by processes of this user that can be looked into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watching {
    /// Most instances of a user.
    pub most_instances: u64,
    /// Most watches of a user.
    pub most_watches: u64,
    /// Instances in use.
    pub instances: u64,
    /// Watches in use.
    pub watches: u64,
}

/// Most open files of this process; `None` is no bound.
pub fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// What may be watched and what is; `None` where the kernel does not say.
pub fn watching() -> Option<Watching> {
    let most = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let mut all = Watching {
        most_instances: most("max_user_instances")?,
        most_watches: most("max_user_watches")?,
        ..Watching::default()
    };
    for pid in process::pids() {
        let dir = format!("/proc/{pid}/fdinfo");
        if fs::metadata(&dir).is_ok_and(|meta| meta.uid() == env::own_uid()) {
            count(&dir, &mut all);
        }
    }
    Some(all)
}

fn count(dir: &str, all: &mut Watching) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let link = entry.path().to_string_lossy().replacen("/fdinfo/", "/fd/", 1);
        if fs::read_link(link).is_ok_and(|to| to.as_os_str() == "anon_inode:inotify") {
            all.instances += 1;
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            all.watches +=
                text.lines().filter(|line| line.starts_with("inotify wd:")).count() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::watch::Watch;

    #[test]
    fn a_watch_of_ours_is_counted() {
        let d = tempfile::tempdir().expect("scratch");
        let mut watch = Watch::new(|_| ()).expect("watch");
        watch.add(d.path()).expect("add");
        let all = watching().expect("the kernel says");
        assert!(all.instances >= 1 && all.watches >= 1, "{all:?}");
        assert!(all.most_instances >= all.instances && open_files() != Some(0), "{all:?}");
    }
}
