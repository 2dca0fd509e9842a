//! How the program is linked.

use std::process::Command;

use crate::site::not_run;

/// What std starts a program in another directory with.
const CHDIR: &str = "posix_spawn_file_actions_addchdir_np";

#[test]
fn what_starts_programs_in_other_directories_copies_no_memory_for_it() {
    let Ok(listed) = Command::new("nm").arg(env!("CARGO_BIN_EXE_numerus")).output() else {
        return not_run("nm");
    };
    let names = String::from_utf8(listed.stdout).unwrap();
    assert!(names.contains(" posix_spawnp"), "{}", String::from_utf8_lossy(&listed.stderr));
    // Without this one std falls back to `fork`. In a program with shared libraries a version follows the name.
    if names.lines().any(|name| name.trim() == format!("w {CHDIR}")) {
        assert!(!has_it(), "the C library has it, the program does not");
        not_run("glibc 2.29");
    }
}

/// Whether it could have been linked in.
fn has_it() -> bool {
    let asked = Command::new("cc").arg("-print-file-name=libc.a").output().unwrap();
    let archive = String::from_utf8(asked.stdout).unwrap();
    let listed = Command::new("nm").arg(archive.trim()).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).contains(CHDIR)
}
