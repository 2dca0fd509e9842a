//! Signs of life that a silent program gives without meaning to: processor time, and changes of files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::family::{self, Born};

/// Clock ticks a second in what the kernel tells of processes: the same on every architecture, whatever the kernel's own
/// clock is.
const TICKS_PER_SECOND: u64 = 100;
/// The fields of `/proc/PID/stat` after the name: time of its own and of children that it has waited for, in user and
/// kernel mode.
const TIMES: std::ops::RangeInclusive<usize> = 11..=14;

/// The processor time that all processes with these variables in their environment have used so far, with that of their
/// children that have ended.
pub fn processor_time(marks: &[(&str, &str)]) -> Duration {
    let ticks: u64 = family::carriers(marks, Born::WithUs).into_iter().filter_map(ticks).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Times of children are signed.
    let times = fields.get(TIMES)?.iter().filter_map(|field| field.parse::<i64>().ok());
    Some(times.map(|time| u64::try_from(time).unwrap_or(0)).sum())
}

/// How many entries lie below a directory, and when the newest of them was changed, since the epoch. Git's own folders are
/// passed over, links are not followed, and after `most` entries it is enough.
pub fn files(dir: &Path, most: u64) -> (u64, Duration) {
    let (mut count, mut newest) = (0, changed(dir));
    let mut folders: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_name() != ".git") {
            if count >= most {
                return (count, newest);
            }
            count += 1;
            newest = newest.max(changed(&entry.path()));
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    (count, newest)
}

fn changed(path: &Path) -> Duration {
    let Ok(meta) = path.symlink_metadata() else { return Duration::ZERO };
    let seconds = u64::try_from(meta.ctime()).unwrap_or(0);
    Duration::new(seconds, u32::try_from(meta.ctime_nsec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{clock, fsx};

    #[test]
    fn each_kind_of_change_below_a_directory_shows() {
        let d = tempfile::tempdir().expect("scratch");
        let deep = d.path().join("a/b");
        fsx::make_dirs(&deep).expect("dirs");
        let mut last = files(d.path(), 100);
        let file = deep.join("f");
        let changes: [&dyn Fn(); 4] = [
            &|| fsx::put_new(&file, b"1").expect("new"),
            &|| fsx::put(&file, b"2").expect("again"),
            &|| fsx::remove(&file).expect("gone"),
            &|| fsx::make_dirs(&d.path().join("c")).expect("dir"),
        ];
        for change in changes {
            // File systems count in ticks of their own clock.
            clock::pause(Duration::from_millis(20));
            change();
            let now = files(d.path(), 100);
            assert_ne!(now, last);
            last = now;
        }
        assert_eq!(files(d.path(), 100), last);
        fsx::make_dirs(&d.path().join(".git/x")).expect("git");
        assert_eq!(files(d.path(), 100).0, last.0);
        assert_eq!(files(d.path(), 2).0, 2);
    }

    #[test]
    fn work_of_children_counts_when_they_have_ended() {
        use std::process::Command;
        let mark = format!("vitals-{}", crate::os::process::own_pid());
        let burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; ";
        let script = format!("sh -c '{burn}'; echo; read end");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .env("NUMERUS_JOB", &mark)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("spawn");
        let mut line = [0];
        let mut out = child.stdout.take().expect("piped");
        std::io::Read::read_exact(&mut out, &mut line).expect("the burning is over");
        let used = processor_time(&[("NUMERUS_JOB", &mark)]);
        assert!(used > Duration::ZERO, "{used:?}");
        assert_eq!(processor_time(&[("NUMERUS_JOB", "nobody")]), Duration::ZERO);
        drop(child.stdin.take());
        child.wait().expect("ended");
    }
}
