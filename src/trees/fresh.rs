//! The fresh repository of a job that names no workspace. It is the same for every job, a few small files in the layout that
//! git documents (gitrepository-layout), so they are written as they are: calls of git would be most of what lies between a
//! dropped file and its first agent. They wait for the disk, so that one is made [`ahead`] where an agent is at work. The ref
//! that is to be the job's tip is made with them, under no job's name, and gets that last: so nobody waits for it either.

use std::io::Result as IoResult;
use std::path::{Path, PathBuf};

use crate::model::workspace::{Isolation, Workspace};
use crate::os::fsx;
use crate::os::git::Git;
use crate::runs::RunFolder;

use super::workspace::resolve;
use super::{TIP, TreesError, ahead, own_ref};

/// The commit without files that each job begins with, made at the epoch by nobody.
pub(super) const COMMIT: &str = "2cb156adf1044d4a8c3ca401b60fdae2e5027aba";
/// The commit as git keeps it.
const OBJECT: &[u8] = b"\x78\x01\x8d\x8d\x41\x0a\xc2\x30\x10\x45\x5d\xe7\x14\xb3\x77\x13\xc3\x34\x24\x22\xe2\x09\xbc\xc3\x64\
                       \x3a\xa5\x62\xd3\x94\x64\x82\x78\x7b\x45\x3d\x80\x7f\xf5\x16\x8f\xf7\xb9\xe4\x7c\x53\x38\x78\xdc\x69\
                       \x15\x01\x4c\xc1\x0d\x23\x7b\x74\x9c\xbc\xa4\x48\xd6\x5b\x19\x30\x4d\x61\xf4\xd1\x85\x30\x25\x11\x8c\
                       \x16\x0d\x75\x9d\x4b\x85\x6b\xcf\x52\x7b\x83\xd3\xfa\x85\xcb\x52\x98\x96\xb9\x34\x3d\x83\x85\xbd\x7d\
                       \xcf\xf0\xe7\x43\xe5\x3f\xdb\xfc\x4a\x47\xa0\x15\x24\x6f\xfa\x84\x47\xa9\xf7\xb6\x11\x8b\x79\x01\x3a\
                       \x2b\x39\x8c";
/// What `git init` writes.
pub(super) const CONFIG: &[u8] =
    b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
                        \tlogallrefupdates = true\n";
/// The branch that is checked out, and the ref that it is.
const BRANCH: &str = "refs/heads/main";
const HEAD: &[u8] = b"ref: refs/heads/main\n";
/// The tip of the job whose repository it will be: no job has this name.
const NEXT_TIP: &str = "refs/numerus/next/tip";
/// The tree without files. Git knows it by heart, but misses it when it checks the repository.
const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const TREE_OBJECT: &[u8] = b"\x78\x01\x2b\x29\x4a\x4d\x55\x30\x60\x00\x00\x0a\x2c\x02\x01";
/// Folders that git expects, with nothing in them.
pub(super) const FOLDERS: [&str; 3] = ["objects/info", "objects/pack", "refs/tags"];

/// Finds it, or takes one that was made ahead, or makes it.
pub(super) fn own(folder: &RunFolder) -> Result<Workspace, TreesError> {
    let dir = folder.own_workspace();
    let there = dir.join(".git/HEAD").exists();
    let known = if there { resolve(&Git::at(&dir), BRANCH)? } else { None };
    if known.is_none() {
        // Where somebody died while it was made, nothing is in it yet but what is in the way.
        fsx::remove_tree(&dir)?;
        if !ahead::take(folder) {
            begin(&dir, fsx::put_as_git_does)?;
        }
    }
    let base = known.unwrap_or_else(|| COMMIT.to_owned());
    let dir = dir.canonicalize().map_err(fsx::at(&dir))?;
    put_tip(&dir.join(".git"), &own_ref(folder.job(), TIP), &base)?;
    Ok(Workspace {
        isolation: Isolation::Worktree,
        git_dir: dir.join(".git").display().to_string(),
        top: dir.display().to_string(),
        prefix: String::new(),
        base,
        dirty: false,
    })
}

/// Puts the job's tip where there is none: the one that was made with the repository, which only gets its name, or a new one.
fn put_tip(git_dir: &Path, name: &str, base: &str) -> IoResult<()> {
    let tip = git_dir.join(name);
    let refs = tip.parent().unwrap_or(git_dir);
    let made = git_dir.join(NEXT_TIP);
    if !tip.exists() && base == COMMIT {
        let _where_it_is_not_a_new_one_is_put =
            fsx::rename_spare(made.parent().unwrap_or(git_dir), refs);
    }
    if !tip.exists() {
        fsx::make_dirs(refs)?;
        // What is no ref must not lie among them.
        fsx::clear_temps(refs)?;
        fsx::put_as_git_does(&[(tip, format!("{base}\n").as_bytes())])?;
    }
    // It is a ref as long as it has that name.
    fsx::remove(&made)
}

/// Makes it; the branch comes last, and says that all of it is there.
pub(super) fn begin(
    dir: &Path,
    put: impl FnOnce(&[(PathBuf, &[u8])]) -> IoResult<()>,
) -> IoResult<()> {
    let git_dir = dir.join(".git");
    let files = files();
    let shelves = files.iter().filter_map(|(name, _)| name.parent().map(Path::to_owned));
    for folder in FOLDERS.iter().map(PathBuf::from).chain(shelves) {
        fsx::make_dirs(&git_dir.join(folder))?;
    }
    put(&files.each_ref().map(|(name, bytes)| (git_dir.join(name), bytes.as_slice())))
}

/// What is in it, in the order in which git could do without what follows.
pub(super) fn files() -> [(PathBuf, Vec<u8>); 6] {
    let ref_file = || format!("{COMMIT}\n").into_bytes();
    [
        (object(TREE), TREE_OBJECT.to_vec()),
        (object(COMMIT), OBJECT.to_vec()),
        ("config".into(), CONFIG.to_vec()),
        ("HEAD".into(), HEAD.to_vec()),
        (NEXT_TIP.into(), ref_file()),
        (BRANCH.into(), ref_file()),
    ]
}

/// Where an object lies.
pub(super) fn object(name: &str) -> PathBuf {
    let (shelf, rest) = name.split_at_checked(2).unwrap_or((name, ""));
    Path::new("objects").join(shelf).join(rest)
}

#[cfg(test)]
mod tests {
    use crate::model::id::JobId;
    use crate::model::root::Root;
    use crate::runs::Runs;

    use super::*;

    #[test]
    fn it_is_what_git_would_have_made() {
        let d = tempfile::tempdir().expect("tempdir");
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&Root::new(d.path())).folder(&job);
        let made = own(&folder).expect("made");
        assert_eq!(made.base, COMMIT);
        let git = Git::at(Path::new(&made.top));
        let says = |args: &[&str]| {
            let text = git.read(args).run().expect("git takes it");
            String::from_utf8(text).expect("text").trim().to_owned()
        };
        assert_eq!(says(&["fsck", "--strict", "--no-dangling"]), "");
        assert_eq!(says(&["rev-parse", "HEAD"]), COMMIT);
        assert_eq!(says(&["rev-parse", "refs/numerus/a-abc234/tip"]), COMMIT);
        assert_eq!(
            says(&["log", "--format=%an %ae %s"]),
            "Numerus numerus@localhost numerus: an empty workspace"
        );
        assert_eq!(says(&["ls-tree", "HEAD"]), "");
        assert_eq!(says(&["status", "--porcelain"]), "");
        let other = d.path().join("other");
        std::fs::create_dir(&other).expect("other");
        Git::at(&other)
            .write(["init", "-q", "--template=", "--object-format=sha1", "--initial-branch=main"])
            .run()
            .expect("git makes one");
        for name in ["config", "HEAD"] {
            let of = |top: &Path| fsx::read_optional(&top.join(".git").join(name)).expect("read");
            assert_eq!(of(Path::new(&made.top)), of(&other), "{name}");
        }
    }

    #[test]
    fn the_tip_that_was_made_with_it_gets_the_jobs_name_and_nothing_else_of_that_name_is_lost() {
        use std::os::unix::fs::MetadataExt;
        let d = tempfile::tempdir().expect("tempdir");
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&Root::new(d.path())).folder(&job);
        let git_dir = folder.own_workspace().join(".git");
        begin(&folder.own_workspace(), fsx::put_as_git_does).expect("made");
        let made = git_dir.join(NEXT_TIP).metadata().expect("there").ino();
        own(&folder).expect("the job's");
        let tip = git_dir.join("refs/numerus/a-abc234/tip");
        assert_eq!(tip.metadata().expect("there").ino(), made);
        assert!(!git_dir.join("refs/numerus/next").exists());
        fsx::make_dirs(&git_dir.join("refs/numerus/next")).expect("folder");
        fsx::put(&git_dir.join(NEXT_TIP), b"left over").expect("put");
        own(&folder).expect("again");
        assert_eq!(tip.metadata().expect("there").ino(), made);
        assert!(!git_dir.join(NEXT_TIP).exists(), "there is one tip");
        fsx::remove_tree(&git_dir.join("refs/numerus/next")).expect("removed");
        fsx::rename_derived(tip.parent().expect("refs"), &git_dir.join("refs/numerus/next"))
            .expect("as a power cut leaves it");
        own(&folder).expect("again");
        assert_eq!(tip.metadata().expect("there").ino(), made);
    }

    #[test]
    fn one_that_was_cut_short_is_made_anew_and_a_whole_one_is_kept() {
        let d = tempfile::tempdir().expect("tempdir");
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&Root::new(d.path())).folder(&job);
        let top = own(&folder).expect("made").top;
        let main = Path::new(&top).join(".git/refs/heads/main");
        fsx::remove(&main).expect("cut short");
        fsx::put(&Path::new(&top).join("left"), b"x").expect("left");
        assert_eq!(own(&folder).expect("anew").base, COMMIT);
        assert!(main.exists() && !Path::new(&top).join("left").exists());
        let refs = Path::new(&top).join(".git/refs/numerus/a-abc234");
        fsx::remove(&refs.join("tip")).expect("cut short");
        fsx::put(&fsx::temp_beside(&refs.join("tip")).expect("name"), b"half").expect("half");
        fsx::put(&Path::new(&top).join("kept"), b"x").expect("kept");
        assert_eq!(own(&folder).expect("again").base, COMMIT);
        assert!(Path::new(&top).join("kept").exists());
        assert_eq!(fsx::list(&refs).expect("refs"), ["tip"]);
    }
}
