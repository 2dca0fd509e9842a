//! Whatever is dropped into the spool, the daemon stays up, puts it aside with the reason or takes it, keeps its bytes,
//! and goes on with the next file. Here: what is asked in each case, and entries that are no plain files of our own; the other
//! kinds of cases are in the files beside. `docs/hostile.md` lists all of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, makedev, mknodat};
use serde_json::Value;

use crate::site::Running;
use crate::yard::{Yard, not_run};

/// How long the job may take that is dropped right after something hostile. It is done within 5 s on a machine that has
/// nothing else to do; this one may be busy with all the other tests.
const CONTROL: Duration = Duration::from_secs(30);

/// The reason beside a rejected file.
pub(crate) fn reason(yard: &Yard, name: &OsStr) -> Option<Value> {
    let mut beside = name.to_owned();
    beside.push(".reason.json");
    serde_json::from_slice(&fs::read(yard.folder("rejected").join(beside)).ok()?).ok()
}

/// A job dropped now is done in time, by the daemon that was there from the start, and nothing raw reaches a terminal.
pub(crate) fn control(yard: &Yard, daemon: &mut Running) {
    yard.drop_job("control", "control", "");
    let dropped = Instant::now();
    let job = yard.until_in("done", "control-");
    let took = dropped.elapsed();
    assert!(took < CONTROL, "the control job took {took:?}; 5 s are usual, {CONTROL:?} allowed");
    assert!(daemon.ends_within(Duration::ZERO).is_none(), "the daemon stays up");
    assert_eq!(yard.facts("daemon_started").len(), 1);
    assert_eq!(yard.facts("trouble"), [] as [Value; 0]);
    for words in [&["status", "--all"][..], &["logs", &job], &["events", &job]] {
        let said = yard.ask(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        is_plain(&said.stdout);
        is_plain(&said.stderr);
    }
    is_plain(&daemon.stderr());
}

/// Nothing in it moves a cursor, colours, rings or hides.
pub(crate) fn is_plain(text: &str) {
    let is_raw =
        |c: char| (c.is_control() && !"\n\t".contains(c)) || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(is_raw), "{text:?}");
}

pub(crate) fn until_rejected(yard: &Yard, count: usize) {
    yard.until("all are rejected", || yard.facts("rejected").len() >= count);
}

#[test]
fn what_is_no_file_is_never_opened_and_lies_in_rejected_as_it_was() {
    let yard = Yard::new("no-files");
    let mut daemon = yard.daemon(&[]);
    let at = |name: &str| yard.incoming().join(name);
    symlink("/etc/passwd", at("passwd.md")).unwrap();
    symlink("/not/here", at("dangling.md")).unwrap();
    symlink("loop.md", at("loop.md")).unwrap();
    symlink("/proc/self/environ", at("environ.md")).unwrap();
    let read_write = Mode::from_raw_mode(0o600);
    mknodat(rustix::fs::CWD, at("fifo.md"), FileType::Fifo, read_write, 0).unwrap();
    // A socket's address has to be short, its file may move.
    let short = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(short.path().join("s")).unwrap();
    let moved = fs::rename(short.path().join("s"), at("socket.md"));
    let mut expected =
        vec!["dangling.md", "environ.md", "fifo.md", "folder.md", "loop.md", "passwd.md"];
    if moved.is_ok() {
        expected.push("socket.md");
    }
    fs::create_dir_all(yard.path("folder/inner")).unwrap();
    fs::write(yard.path("folder/inner/a.md"), "x").unwrap();
    fs::rename(yard.path("folder"), at("folder.md")).unwrap();
    control(&yard, &mut daemon);
    until_rejected(&yard, expected.len());
    for name in &expected {
        assert_eq!(reason(&yard, OsStr::new(name)).unwrap()["code"], "E_NOT_REGULAR", "{name}");
    }
    let rejected = yard.folder("rejected");
    assert_eq!(fs::read_link(rejected.join("passwd.md")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::read_to_string(rejected.join("folder.md/inner/a.md")).unwrap(), "x");
    assert_eq!(yard.facts("rejected").len(), expected.len());
}

#[test]
fn a_device_is_never_opened() {
    let yard = Yard::new("device");
    let mut daemon = yard.daemon(&[]);
    let (zero, mode) = (makedev(1, 5), Mode::from_raw_mode(0o666));
    let path = yard.incoming().join("zero.md");
    if mknodat(rustix::fs::CWD, &path, FileType::CharacterDevice, mode, zero).is_err() {
        return not_run("the right to make devices");
    }
    control(&yard, &mut daemon);
    until_rejected(&yard, 1);
    assert_eq!(reason(&yard, OsStr::new("zero.md")).unwrap()["code"], "E_NOT_REGULAR");
}

/// Runs the daemon as somebody else, who owns everything in the yard but what the test makes later.
fn daemon_of_another(yard: &Yard) -> Option<Running> {
    const NOBODY: u32 = 65534;
    let numerus = env!("CARGO_BIN_EXE_numerus");
    let as_nobody = |program: &str| {
        let mut command = yard.site.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
        command.env("NUMERUS_ROOT", yard.site.root());
        command
    };
    let can = |command: &mut Command| yard.site.run(command).code == Some(0);
    if !rustix::process::geteuid().is_root() || !can(as_nobody("test").args(["-x", numerus])) {
        not_run("root, and a target folder that other users may read");
        return None;
    }
    for entry in walkdir::WalkDir::new(yard.site.path()) {
        let owner = Some(NOBODY);
        std::os::unix::fs::lchown(entry.unwrap().path(), owner, owner).unwrap();
    }
    let daemon = yard.site.spawn(as_nobody(numerus).arg("daemon"));
    yard.until("the daemon leads", || yard.facts("daemon_started").len() == 1);
    Some(daemon)
}

#[test]
fn what_belongs_to_others_is_taken_only_where_it_may_be_read_and_told_of_once() {
    let yard = Yard::new("others");
    let plain = fs::read_to_string(yard.site.root().join("numerus.toml")).unwrap();
    yard.set_settings(&format!("{plain}rescan = \"200ms\"\n"));
    let Some(mut daemon) = daemon_of_another(&yard) else { return };
    let aside = yard.path("secret");
    fs::write(&aside, "a secret of root's").unwrap();
    // Root's file that nobody else may read; one that all may read, by a further name; root's folder, which only root can move.
    fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::hard_link(&aside, yard.incoming().join("secret.md")).unwrap();
    let open = yard.path("open");
    fs::write(&open, "open to all").unwrap();
    fs::hard_link(&open, yard.incoming().join("linked.md")).unwrap();
    fs::create_dir(yard.path("folder")).unwrap();
    fs::rename(yard.path("folder"), yard.incoming().join("folder.md")).unwrap();
    yard.drop_job("plain", "plain", "");
    yard.until_in("done", "plain-");
    until_rejected(&yard, 2);
    let unreadable = reason(&yard, OsStr::new("secret.md")).unwrap();
    assert_eq!(unreadable["code"], "E_UNREADABLE");
    let words = unreadable["message"].as_str().unwrap();
    assert!(words.contains("owner 0") && words.contains("0600"), "{words}");
    assert_eq!(reason(&yard, OsStr::new("linked.md")).unwrap()["code"], "E_OWNER");
    yard.until("the folder is told of", || !yard.facts("ignored").is_empty());
    // Looked at again and again, for as long as another job takes.
    control(&yard, &mut daemon);
    let ignored = yard.facts("ignored");
    assert_eq!(ignored.len(), 1, "{ignored:?}");
    assert_eq!(ignored[0]["name"], "folder.md");
    assert!(yard.incoming().join("folder.md").is_dir(), "it is left where it is");
}
