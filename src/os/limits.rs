//! What the kernel allows this user: open files, and how much may be watched and is.
//!
//! Diagnostics: what the kernel does not say is `None`; processes that cannot be looked into are not counted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::{Resource, getrlimit};

use super::{env, process};

/// Most open files of this process; `None` is no bound.
pub fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Most instances and most watches of inotify for this user; `None` where the kernel does not say.
pub fn watchable() -> Option<(u64, u64)> {
    let most = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some((most("max_user_instances")?, most("max_user_watches")?))
}

/// Instances and watches in use by processes of this user that can be looked into.
pub fn watched() -> (u64, u64) {
    let mut all = (0, 0);
    for pid in process::pids() {
        let dir = format!("/proc/{pid}/fdinfo");
        if fs::metadata(&dir).is_ok_and(|meta| meta.uid() == env::own_uid()) {
            let (instances, watches) = watched_in(&dir);
            all = (all.0 + instances, all.1 + watches);
        }
    }
    all
}

fn watched_in(dir: &str) -> (u64, u64) {
    let (mut instances, mut watches) = (0, 0);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let link = entry.path().to_string_lossy().replacen("/fdinfo/", "/fd/", 1);
        if fs::read_link(link).is_ok_and(|to| to.as_os_str() == "anon_inode:inotify") {
            instances += 1;
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            watches += text.lines().filter(|line| line.starts_with("inotify wd:")).count() as u64;
        }
    }
    (instances, watches)
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
        let (most, used) = (watchable().expect("the kernel says"), watched());
        assert!(used.0 >= 1 && used.1 >= 1, "{used:?}");
        assert!(most.0 >= used.0 && open_files() != Some(0), "{most:?} {used:?}");
    }
}
