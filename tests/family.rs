//! A family is ended to its last process, also where no control group helps. In a process of its own: all orphans come to it.

use std::process::{Command, Stdio};
use std::time::Duration;

use numerus::os::family::{self, Born};
use numerus::os::{clock, fsx, lock};

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

#[test]
fn a_process_that_is_always_another_one_is_caught() {
    let marks = [("NUMERUS_JOB", "fleeting"), ("NUMERUS_TASK", "t1")];
    family::adopt_orphans("fleeting").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [held, program, source] = ["held", "program", "source.c"].map(|name| dir.path().join(name));
    fsx::put(&source, FLEETING.as_bytes()).unwrap();
    assert!(Command::new("cc").arg("-o").args([&program, &source]).status().unwrap().success());
    for born in [Born::BelowUs, Born::WithUs].repeat(5) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "setsid env -i \"$0\" \"$1\" &"]).args([&program, &held]);
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        let mut shell = family::spawn(|| shell.spawn(), std::process::Child::id).unwrap();
        shell.wait().unwrap();
        let deadline = clock::since_boot() + Duration::from_secs(20);
        while !lock::is_held(&held).unwrap() {
            assert!(clock::since_boot() < deadline, "it begins");
        }
        assert_eq!(family::sweep(&marks, born), [0_u32; 0]);
        assert!(!lock::is_held(&held).unwrap(), "{born:?}");
    }
}
