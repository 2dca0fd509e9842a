//! What the door does where something is in the way, is gone, or is not what it seems.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("scratch folder");
    let path = dir.path().to_owned();
    (dir, path)
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names = list(dir).expect("list");
    names.sort();
    names
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

#[test]
fn what_is_made_is_its_owners_alone() {
    let (_kept, d) = scratch();
    drop(create_new(&d.join("new")).expect("create"));
    drop(open_append(&d.join("log")).expect("open"));
    put(&d.join("put"), b"").expect("put");
    replace_derived(&d.join("derived"), b"").expect("replace");
    make_dirs(&d.join("a/b")).expect("folders");
    make_new_dir(&d.join("c")).expect("folder");
    assert_eq!(["new", "log", "put", "derived"].map(|f| mode(&d.join(f))), [0o600; 4]);
    assert_eq!(["a", "a/b", "c"].map(|f| mode(&d.join(f))), [0o700; 3]);
    make_dirs(&d.join("a/b")).expect("there already");
    assert_eq!(kind(make_new_dir(&d.join("c"))), Some(ErrorKind::AlreadyExists));
}

#[test]
fn nothing_is_written_through_a_link() {
    let (_kept, d) = scratch();
    put_new(&d.join("file"), b"1").expect("file");
    symlink(d.join("file"), d.join("link")).expect("link");
    symlink(d.join("gone"), d.join("dangling")).expect("link");
    for link in ["link", "dangling"] {
        assert!(open_append(&d.join(link)).is_err(), "{link}");
        assert_eq!(kind(create_new(&d.join(link))), Some(ErrorKind::AlreadyExists), "{link}");
    }
    put(&d.join("link"), b"2").expect("the link itself is replaced");
    assert_eq!(read_optional(&d.join("file")).expect("read").as_deref(), Some("1"));
    assert!(!d.join("gone").exists());
}

#[test]
fn a_put_that_fails_leaves_nothing_behind() {
    let (_kept, d) = scratch();
    make_new_dir(&d.join("taken")).expect("folder");
    put_new(&d.join("taken/x"), b"").expect("file");
    assert!(put(&d.join("taken"), b"1").is_err());
    assert!(put_new(&d.join("taken"), b"1").is_err());
    assert!(replace_derived(&d.join("taken"), b"1").is_err());
    assert_eq!(names(&d), ["taken"]);
    put(&d.join("a"), b"1").expect("file");
    let nowhere = [(d.join("b"), &b"1"[..]), (d.join("gone/c"), b"2"), (d.join("e"), b"3")];
    assert!(put_as_git_does(&nowhere).is_err());
    assert_eq!(names(&d), ["a", "taken"], "none is named before all are written");
    let again = [(d.join("b"), &b"1"[..]), (d.join("a"), b"2"), (d.join("e"), b"3")];
    assert!(put_as_git_does(&again).is_err());
    assert_eq!(
        names(&d),
        ["a", "b", "taken"],
        "in their order, and nothing new onto what is there"
    );
}

#[test]
fn each_way_to_replace_replaces() {
    let (_kept, d) = scratch();
    let read = |name: &str| read_optional(&d.join(name)).expect("read");
    for (name, bytes) in [("a", b"1"), ("b", b"2"), ("c", b"3")] {
        put(&d.join(name), bytes).expect("put");
    }
    assert_eq!(["a", "b", "c"].map(read), ["1", "2", "3"].map(|t| Some(t.to_owned())));
    replace_spare(&d.join("a"), b"0").expect("replace");
    assert_eq!(read("a").as_deref(), Some("0"));
    replace_derived(&d.join("a"), b"4").expect("replace");
    rename_over(&d.join("a"), &d.join("b")).expect("rename");
    rename_derived(&d.join("b"), &d.join("c")).expect("rename");
    assert_eq!(["a", "b", "c"].map(read), [None, None, Some("4".to_owned())]);
}

#[test]
fn what_is_gone_is_no_error_and_what_is_something_else_is() {
    let (_kept, d) = scratch();
    put_new(&d.join("file"), b"").expect("file");
    make_dirs(&d.join("dir/below")).expect("folder");
    remove(&d.join("gone")).expect("gone");
    remove_tree(&d.join("gone")).expect("gone");
    assert_eq!(read_optional(&d.join("gone")).expect("gone"), None);
    assert_eq!(
        (names(&d.join("gone")), list_os(&d.join("gone")).expect("gone").len()),
        (vec![], 0)
    );
    assert!(remove(&d.join("dir")).is_err() && remove_tree(&d.join("file")).is_err());
    assert!(read_optional(&d.join("dir")).is_err() && list(&d.join("file")).is_err());
    assert_eq!(names(&d), ["dir", "file"]);
    assert_eq!(list_os(&d).expect("list").len(), 2);
    remove(&d.join("file")).expect("remove");
    remove_tree(&d.join("dir")).expect("remove");
    assert_eq!(names(&d), [""; 0]);
}

#[test]
fn a_move_within_one_folder_and_between_two_is_a_move() {
    let (_kept, d) = scratch();
    make_new_dir(&d.join("to")).expect("folder");
    put_new(&d.join("a"), b"1").expect("file");
    move_to(&d.join("a"), &d.join("b")).expect("beside");
    move_to(&d.join("b"), &d.join("to/c")).expect("below");
    assert_eq!((names(&d), names(&d.join("to"))), (vec!["to".to_owned()], vec!["c".to_owned()]));
}

#[test]
fn only_what_an_unfinished_put_left_is_cleared_away() {
    let (_kept, d) = scratch();
    let temp = temp_beside(&d.join("x")).expect("a name");
    for name in ["a.tmp", ".tmp", ".hidden", ".b.tmp", ".c.tmp.d"] {
        put_new(&d.join(name), b"").expect("file");
    }
    put_new(&temp, b"").expect("file");
    clear_temps(&d).expect("clear");
    assert_eq!(names(&d), [".c.tmp.d", ".hidden", ".tmp", "a.tmp"]);
}

#[test]
fn the_end_of_a_file_is_read_and_no_more() {
    let (_kept, d) = scratch();
    put_new(&d.join("f"), b"12345").expect("file");
    for (limit, text) in [(0, ""), (2, "45"), (5, "12345"), (9, "12345")] {
        assert_eq!(read_tail(&d.join("f"), limit).expect("read"), text.as_bytes(), "{limit}");
    }
    assert_eq!(kind(read_bounded(&d, 9)), Some(ErrorKind::InvalidInput), "a folder is no file");
}

#[test]
fn a_name_alone_lies_in_the_folder_that_one_is_in() {
    for (path, lies_in) in [("a", "."), ("x/a", "x"), ("/a", "/"), ("/", ".")] {
        assert_eq!(parent(Path::new(path)), Path::new(lies_in), "{path}");
    }
}

#[test]
fn an_errors_number_is_found_with_a_path_and_without() {
    let plain = Error::from_raw_os_error(2);
    assert_eq!(raw_os_error(&plain), Some(2));
    assert_eq!(raw_os_error(&at(Path::new("x"))(plain)), Some(2));
    assert_eq!(raw_os_error(&Error::other("x")), None);
}
