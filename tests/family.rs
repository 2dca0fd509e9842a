//! A family is ended to its last process, also where no control group helps. In a process of its own: all orphans come to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use numerus::codex::fence;
use numerus::model::id::JobId;
use numerus::os::family::{self, Born};
use numerus::os::{clock, digest, fsx, lock, process};

/// The job of these families, whose orphans come to this process.
const OUTER: &str = "outer-abc234";

/// All orphans come to this process, whichever test they are of: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    family::adopt_orphans(OUTER).expect("adopts");
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that locks a file and is another process every fraction of a millisecond: each starts the next and ends.
const FLEETING: &str = r"
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
int main(int count, char **words) {
    flock(open(words[count - 1], O_RDWR | O_CREAT, 0600), LOCK_EX);
    for (int hops = 0; hops < 100000; hops++) {
        for (volatile int spin = 0; spin < 50000; spin++)
            ;
        if (fork() > 0)
            _exit(0);
    }
    return 0;
}
";

/// Waits until somebody holds a lock.
fn until_held(path: &Path) {
    let deadline = clock::since_boot() + Duration::from_secs(20);
    while !lock::is_held(path).expect("a lock") {
        assert!(clock::since_boot() < deadline, "it begins");
    }
}

#[test]
fn a_process_that_is_always_another_one_is_caught() {
    let _alone = alone();
    let marks = [("NUMERUS_JOB", OUTER), ("NUMERUS_TASK", "t1")];
    let dir = tempfile::tempdir().unwrap();
    let [held, program, source] = ["held", "program", "source.c"].map(|name| dir.path().join(name));
    fsx::put(&source, FLEETING.as_bytes()).unwrap();
    assert!(Command::new("cc").arg("-o").args([&program, &source]).status().unwrap().success());
    for _ in 0..1000 {
        // As a job has many behind it: they do not slow down the chase.
        let mut before = family::spawn(|| Command::new("true").spawn(), Child::id).unwrap();
        before.wait().unwrap();
    }
    for is_below in [true, false].repeat(5) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "setsid env -i \"$0\" \"$1\" &"]).args([&program, &held]);
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        let mut shell = family::spawn(|| shell.spawn(), std::process::Child::id).unwrap();
        let born = if is_below { Born::Below(shell.id()) } else { Born::WithUs };
        shell.wait().unwrap();
        until_held(&held);
        assert_eq!(family::sweep(&marks, born), [0_u32; 0]);
        assert!(!lock::is_held(&held).unwrap(), "{born:?}");
    }
}

/// The seal of a family, as `os::family` makes it.
fn seal(outer: &str, inner: &str) -> u64 {
    let part = |value: &str| {
        u64::from_str_radix(&digest::sha256_hex(value.as_bytes())[..8], 16).expect("digits")
    };
    (1 << 62) | ((part(outer) >> 2) << 32) | part(inner)
}

/// A child of ours that leads a sealed family, and an orphan of it that carries nothing but the seal.
fn sealed_family(inner: &str) -> (Child, u32) {
    let seal = seal(OUTER, inner);
    let script = "(setsid env -i sleep 60 >/dev/null & echo $!); exec sleep 60 >/dev/null";
    let mut command = Command::new("prlimit");
    command.arg(format!("--locks={seal}:{seal}")).args(["sh", "-c", script]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut leader = family::spawn(|| command.spawn(), Child::id).expect("prlimit");
    let mut said = String::new();
    let mut lines = BufReader::new(leader.stdout.take().expect("pipe"));
    lines.read_line(&mut said).expect("it says whom");
    (leader, said.trim().parse().expect("a number"))
}

#[test]
fn an_orphan_ends_with_its_own_family_and_with_no_other() {
    let _alone = alone();
    let lives = |pid| process::look(pid).is_some_and(|look| !look.is_zombie);
    let (mut one, of_one) = sealed_family("t1");
    let (mut other, of_other) = sealed_family("t2");
    let marks = |task| [("NUMERUS_JOB", OUTER), ("NUMERUS_TASK", task)];
    assert_eq!(family::sweep(&marks("t1"), Born::Below(one.id())), [0_u32; 0]);
    assert!(!one.wait().unwrap().success());
    assert!(!lives(of_one), "it hides, and came to us");
    assert!(other.try_wait().unwrap().is_none() && lives(of_other), "another family's");
    assert_eq!(family::sweep(&marks("t2"), Born::Below(other.id())), [0_u32; 0]);
    assert!(!other.wait().unwrap().success() && !lives(of_other));
}

#[test]
fn who_holds_the_lock_of_a_session_is_looked_for_everywhere() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let held = dir.path().join("session.lock");
    let mut first = family::spawn(|| Command::new("true").spawn(), Child::id).unwrap();
    first.wait().unwrap();
    // A child of ours that is below no session, as one is that a session made with `CLONE_PARENT`.
    let mut holder = Command::new("flock");
    holder.arg(&held).args(["sleep", "60"]).env("NUMERUS_JOB", OUTER).env("NUMERUS_TASK", "t1");
    let mut holder = family::spawn(|| holder.spawn(), Child::id).unwrap();
    until_held(&held);
    let job = JobId::parse(OUTER).unwrap();
    let ended = fence::end_session(&job, "t1", None, &held, Born::Below(first.id()));
    assert_eq!(ended, [0_u32; 0]);
    assert!(!holder.wait().unwrap().success());
}
