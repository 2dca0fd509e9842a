//! Random histories of several jobs on one repository, with real git: whatever they do one after the other, their branches
//! merge cleanly in any order, with git's default settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::logic::audit::judge;
use crate::logic::claims::{PathKind, from_top, normalise};
use crate::model::claim::{ClaimPath, Resources};
use crate::model::id::{JobId, TaskId};
use crate::model::job::Options;
use crate::model::plan::Role;
use crate::model::root::Root;
use crate::runs::Runs;

/// Histories that are tried: as many as a few seconds allow.
const HISTORIES: u32 = 4;
/// Landings in each.
const LANDINGS: usize = 9;

/// What may be claimed, each as a file and as a directory.
const PLACES: [&str; 11] =
    ["a", "a/x", "a/y", "b", "b/x", "B/x", "c/p", "c/p/q", "c/p/r", "README", "readme"];

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A text that is long enough to be taken for a renamed one; few, so that changes back occur.
    fn text(&mut self) -> String {
        let mark = self.below(4);
        let line = |n: usize| format!("line {n} of {}\n", if n > 16 { mark } else { 9 });
        (0..20).map(line).collect::<Vec<_>>().concat()
    }
}

struct World {
    scratch: tempfile::TempDir,
    jobs: Vec<Trees>,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("scratch");
        let world = Self { scratch, jobs: Vec::new() };
        fsx::make_dirs(&world.repo()).expect("repo");
        fsx::make_dirs(&world.root().runs()).expect("runs");
        world.git(&["init", "-q", "-b", "main"]);
        world.git(&["config", "user.name", "Someone"]);
        world.git(&["config", "user.email", "someone@localhost"]);
        for path in ["a/x", "a/y", "b", "c/p/q", "c/p/r", "README"] {
            put(&world.repo().join(path), &Dice(7).text());
        }
        put(&world.repo().join(".gitattributes"), "* merge=binary\n");
        world.git(&["add", "-A"]);
        world.git(&["commit", "-q", "-m", "first"]);
        world
    }

    fn repo(&self) -> PathBuf {
        self.scratch.path().join("repo")
    }

    fn root(&self) -> Root {
        Root::new(self.scratch.path().join("root"))
    }

    fn ask(&self, args: &[&str]) -> (i32, String) {
        let mut git = Command::new("git");
        git.current_dir(self.repo()).args(args);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let out = git.output().expect("git");
        let text = String::from_utf8_lossy(&out.stdout).trim_end().to_owned();
        (out.status.code().expect("code"), text)
    }

    fn git(&self, args: &[&str]) -> String {
        let (code, text) = self.ask(args);
        assert_eq!(code, 0, "{args:?}: {text}");
        text
    }

    /// A further job, from where the user's branch stands now.
    fn begin(&mut self) -> usize {
        let name = format!("job-{}-abc234", self.jobs.len());
        let folder = Runs::of(&self.root()).create(&JobId::parse(&name).expect("id"));
        let folder = folder.expect("folder");
        let workspace = Some(self.repo().display().to_string());
        let options = Options { workspace, ..Options::default() };
        let root = self.root();
        let ground = Ground { root: root.path(), codex_home: None };
        let workspace = fix(&options, &folder, ground).expect("workspace");
        self.jobs.push(Trees::open(&workspace, &folder, &workspace.base).expect("trees"));
        self.jobs.len() - 1
    }

    /// One task of a job, from the lease to the landing; nobody else works meanwhile.
    fn task(
        &self,
        (job, number): (usize, usize),
        places: &[String],
        takes_in: bool,
        work: &mut dyn FnMut(&Path),
    ) {
        let trees = &self.jobs[job];
        let resources = Resources { reads: Vec::new(), writes: places.to_vec() };
        let claim = normalise(&resources, &|_| PathKind::Missing).expect("claim");
        let id = TaskId::parse(&format!("t{number}")).expect("id");
        let place = trees.folder.place(id.as_str());
        let mut tree = trees.add(&place, 1, &trees.tip().expect("tip")).expect("tree");
        if takes_in {
            take_in(trees, &from_top(&claim, "").writes);
        }
        trees.move_to(&mut tree, &trees.tip().expect("tip")).expect("untouched");
        work(&tree.cwd());
        let audited = trees.audit(&tree, &claim).expect("audit");
        let audit = judge(&audited.changes, &claim, "");
        assert_eq!((audit.outside.as_slice(), audited.violations.as_slice()), (&[][..], &[][..]));
        if takes_in {
            let vanished = trees.vanished(&audited).expect("paths");
            take_in(trees, &vanished.into_iter().map(ClaimPath::dir).collect::<Vec<_>>());
        }
        let words = Words { task: &id, role: Role::Executor, summary: "do it" };
        let judged = Judged { landing: &audit.landing, reads: &[] };
        let tip = trees.tip().expect("tip");
        match trees.prepare(&tree, &audited, judged, words, &tip).expect("prepare") {
            Landing::Ready { commit, parent } => {
                assert!(trees.advance(&commit, &parent).expect("advance"));
            }
            Landing::Nothing => {}
            Landing::Moved(paths) => panic!("nobody else was at work: {paths:?}"),
        }
        trees.remove(&tree).expect("remove");
    }

    /// Merges branches one after the other into the user's, as a user would; what conflicts.
    fn merge_all(&self, order: &[usize]) -> Option<String> {
        let mut ours = self.git(&["rev-parse", "main"]);
        for job in order {
            let theirs = self.jobs[*job].tip().expect("tip");
            let (code, tree) = self.ask(&["merge-tree", "--write-tree", &ours, &theirs]);
            if code != 0 {
                return Some(format!("job {job} in the order {order:?}: {tree}"));
            }
            ours = self.git(&["commit-tree", &tree, "-p", &ours, "-p", &theirs, "-m", "merge"]);
        }
        None
    }
}

fn put(path: &Path, text: &str) {
    fsx::make_dirs(path.parent().expect("parent")).expect("dirs");
    fsx::put(path, text.as_bytes()).expect("file");
}

/// What a worker does before its task may write.
fn take_in(trees: &Trees, writes: &[ClaimPath]) {
    for foreign in trees.wanted(writes, |_| false).expect("tips") {
        match trees.prepare_intake(&foreign).expect("merge") {
            Intake::Ready { commit, parent } => {
                assert!(trees.advance(&commit, &parent).expect("advance"));
            }
            Intake::Contained => {}
            Intake::Diverged(paths) => panic!("{foreign:?} conflicts in {paths:?}"),
        }
    }
    assert_eq!(trees.wanted(writes, |_| false).expect("tips"), [], "nothing is left");
}

/// Writes, removes or moves something at one of the places, or below it.
fn change(top: &Path, places: &[String], dice: &mut Dice) {
    let place = |dice: &mut Dice| {
        let names: Vec<&str> = places.iter().map(|p| p.trim_end_matches('/')).collect();
        top.join(dice.pick(&names))
    };
    let at = place(dice);
    // A file above a claimed path is not the task's to remove.
    let is_blocked = |path: &Path| path.ancestors().skip(1).any(Path::is_file);
    if is_blocked(&at) {
        return;
    }
    match dice.below(5) {
        0 => clear(&at),
        1 => {
            let to = place(dice);
            let apart = !to.starts_with(&at) && !at.starts_with(&to) && !is_blocked(&to);
            if apart && at.exists() {
                clear(&to);
                fsx::make_dirs(to.parent().expect("parent")).expect("dirs");
                fsx::rename_derived(&at, &to).expect("move");
            }
        }
        2 => {
            let inside = at.join(dice.pick(&["x", "y", "new", "X"]));
            if at.is_file() {
                clear(&at);
            }
            clear(&inside);
            put(&inside, &dice.text());
        }
        _ => {
            clear(&at);
            put(&at, &dice.text());
        }
    }
}

fn clear(path: &Path) {
    if path.is_dir() {
        fsx::remove_tree(path).expect("tree");
    } else {
        fsx::remove(path).expect("file");
    }
}

/// Plays one history; what conflicts in the end.
fn play(seed: u64, takes_in: bool) -> Option<String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51);
    let mut world = World::new();
    let most = 2 + dice.below(3);
    world.begin();
    world.begin();
    for number in 0..LANDINGS {
        if world.jobs.len() < most && dice.below(3) == 0 {
            put(&world.repo().join("user.txt"), &format!("{number}\n"));
            world.git(&["add", "user.txt"]);
            world.git(&["commit", "-q", "-m", "the user goes on"]);
            world.begin();
        }
        let job = dice.below(world.jobs.len());
        let places: Vec<String> =
            (0..=dice.below(3)).map(|_| format!("{}/", dice.pick(&PLACES))).collect();
        world.task((job, number), &places, takes_in, &mut |top| {
            for _ in 0..=dice.below(3) {
                change(top, &places, &mut dice);
            }
        });
    }
    orders(world.jobs.len()).iter().find_map(|order| world.merge_all(order))
}

/// Every pair in both orders, and all jobs from each one on, there and back.
fn orders(jobs: usize) -> Vec<Vec<usize>> {
    let mut orders = Vec::new();
    for first in 0..jobs {
        for second in (0..jobs).filter(|second| *second != first) {
            orders.push(vec![first, second]);
        }
        let around: Vec<usize> = (0..jobs).map(|n| (first + n) % jobs).collect();
        orders.push(around.iter().rev().copied().collect());
        orders.push(around);
    }
    orders
}

#[test]
fn a_job_that_has_landed_nothing_is_not_taken_in_for_what_the_user_committed() {
    let mut world = World::new();
    let early = world.begin();
    put(&world.repo().join("README"), "the user goes on\n");
    world.git(&["commit", "-q", "-a", "-m", "the user goes on"]);
    let late = world.begin();
    let resources = Resources { reads: Vec::new(), writes: vec!["README".to_owned()] };
    let claim = normalise(&resources, &|_| PathKind::File).expect("claim");
    let writes = from_top(&claim, "").writes;
    let concerned =
        |world: &World| !world.jobs[early].wanted(&writes, |_| false).expect("tips").is_empty();
    assert!(!concerned(&world));
    world.task((late, 1), &["other".to_owned()], false, &mut |top| put(&top.join("other"), "x"));
    assert!(concerned(&world), "what it landed stands on what the user committed");
}

#[test]
fn a_job_that_only_took_others_in_brings_back_nothing_that_the_user_threw_away() {
    let mut world = World::new();
    let (first, second, third) = (world.begin(), world.begin(), world.begin());
    world.task((first, 1), &["a/x".to_owned()], true, &mut |top| put(&top.join("a/x"), "one\n"));
    // It takes the first in, and then its agent does nothing.
    world.task((second, 2), &["a/x".to_owned()], true, &mut |_| {});
    let tips = [second, third].map(|job| world.jobs[job].tip().expect("tip"));
    assert_ne!(tips[0], tips[1], "it took the first in");
    let tip = world.jobs[first].tip().expect("tip");
    let published = world.jobs[first].create_branch(&tip).expect("branch");
    world.git(&["branch", "-q", "-D", &published]);
    world.task((third, 3), &["a/x".to_owned()], true, &mut |top| put(&top.join("a/x"), "three\n"));
    let tip = world.jobs[third].tip().expect("tip");
    let landed = world.git(&["log", "--format=%s", &tip]);
    assert_eq!(landed, "do it\nfirst", "nothing but its own");
}

proptest! {
    // A seed says nothing about the size of its history: there is none smaller to be looked for.
    #![proptest_config(ProptestConfig {
        cases: HISTORIES, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_branches_of_any_history_merge_cleanly(seed in any::<u64>()) {
        prop_assert_eq!(play(seed, true), None);
    }
}

#[test]
fn without_taking_in_they_do_not() {
    assert!((0..u64::from(HISTORIES)).any(|seed| play(seed, false).is_some()));
}

/// Two jobs: one moves all files of a directory away, each claimed by its name; the other puts a file there.
fn moved_away(is_first: bool) -> World {
    let mut world = World::new();
    let (mover, writer) = (world.begin(), world.begin());
    let moves = |world: &World| {
        let places = ["a/x", "a/y", "n/x", "n/y"].map(String::from);
        world.task((mover, 1), &places, true, &mut |top| {
            fsx::make_dirs(&top.join("n")).expect("dirs");
            for name in ["x", "y"] {
                let (from, to) = (top.join("a").join(name), top.join("n").join(name));
                fsx::rename_derived(&from, &to).expect("move");
            }
        });
    };
    if is_first {
        moves(&world);
    }
    let place = ["a/new".to_owned()];
    world.task((writer, 2), &place, true, &mut |top| put(&top.join("a/new"), "new\n"));
    if !is_first {
        moves(&world);
    }
    world
}

#[test]
fn a_directory_that_one_job_moves_away_and_another_writes_to_does_not_conflict() {
    for is_first in [true, false] {
        let world = moved_away(is_first);
        for order in orders(2) {
            assert_eq!(world.merge_all(&order), None, "moved first: {is_first}");
        }
        let head = world.jobs[usize::from(is_first)].tip().expect("tip");
        assert_eq!(world.git(&["show", &format!("{head}:a/new")]), "new");
        assert!(world.git(&["ls-tree", "-r", "--name-only", &head]).contains("n/x"));
    }
}

#[test]
fn of_jobs_that_took_one_another_in_the_newest_does_for_all_unless_it_is_apart() {
    let mut world = World::new();
    let jobs: Vec<usize> = (0..4).map(|_| world.begin()).collect();
    let place = ["a/x".to_owned()];
    for (number, job) in jobs[..3].iter().enumerate() {
        let text = format!("{number}\n");
        world.task((*job, 1), &place, true, &mut |top| put(&top.join("a/x"), &text));
    }
    let resources = Resources { reads: Vec::new(), writes: place.to_vec() };
    let claim = normalise(&resources, &|_| PathKind::File).expect("claim");
    let writes = from_top(&claim, "").writes;
    let tips: Vec<String> = jobs.iter().map(|job| world.jobs[*job].tip().expect("tip")).collect();
    let last = &world.jobs[jobs[3]];
    let wanted = |is_apart: &dyn Fn(&String) -> bool| {
        let found = last.wanted(&writes, is_apart).expect("tips");
        found.into_iter().map(|foreign| foreign.tip).collect::<Vec<_>>()
    };
    assert_eq!(wanted(&|_| false), [tips[2].clone()]);
    assert_eq!(wanted(&|tip| *tip == tips[2]), [tips[1].clone()]);
    assert_eq!(wanted(&|tip| *tip != tips[0]), [tips[0].clone()]);
}
