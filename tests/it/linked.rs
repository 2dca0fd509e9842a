//! How the program is linked.

use std::process::Command;

use crate::site::not_run;

#[test]
fn what_starts_programs_in_other_directories_copies_no_memory_for_it() {
    let Ok(listed) = Command::new("nm").arg(env!("CARGO_BIN_EXE_numerus")).output() else {
        return not_run("nm");
    };
    let names = String::from_utf8(listed.stdout).unwrap();
    assert!(names.contains(" posix_spawnp"), "{}", String::from_utf8_lossy(&listed.stderr));
    // Without this one std falls back to `fork`. In a program with shared libraries a version follows the name.
    let lacks = |name: &str| name.trim() == "w posix_spawn_file_actions_addchdir_np";
    assert!(!names.lines().any(lacks));
}
