//! The storm: two daemons of one spool, jobs that come by every way, and all the while a process of theirs that is killed,
//! stopped or asked to leave. When it is over one more start must be enough: each accepted job has its one end, nothing
//! lives, nobody else was hit, and whoever read along never saw half of a file.
//!
//! One generation is one world with [`JOBS`] jobs; its number decides all that chance decides.

mod deeds;
mod drops;
mod full;
mod reader;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use self::deeds::{Stopped, Strangers};
use self::drops::{Drop, Way};
use self::full::Filler;
use crate::dice::Dice;
use crate::ledger::Bounds;
use crate::world::World;

/// Jobs of a generation. It stays: the number of a case says which generation it belongs to.
const JOBS: u64 = 40;
/// Generations of a short run.
const SHORT: u64 = 2;
/// Generations at a time: most of a storm is rest.
const AT_A_TIME: usize = 5;
/// How long a storm goes on while jobs are open; a full disk stops them for seconds, and is over sooner.
const LONGEST_STORM: Duration = Duration::from_secs(40);
const LONGEST_FULL: Duration = Duration::from_secs(12);
/// How long commands may take to end once nobody disturbs them.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// How far a process's clock may be off, in seconds.
const OFFSETS: [i64; 6] = [86_400, -86_400, 35_000_000, -35_000_000, 315_000_000, -315_000_000];

/// What happened, by its name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: &str, times: u64) {
        *self.0.entry(what.to_owned()).or_default() += times;
    }

    fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.count(what, *times);
        }
    }
}

/// The cases of this proof.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("chaos::a_storm_loses_and_doubles_nothing", || {
            prove("chaos", SHORT, Ground::Wide);
            Ok(())
        }),
        Trial::test(full::TRIAL, || {
            full::prove();
            Ok(())
        }),
    ];
    if cfg!(feature = "seeded-bugs") {
        for bug in ["key-not-kept", "rescan-blind", "status-behind"] {
            let name = format!("teeth::chaos_{}", bug.replace('-', "_"));
            trials.push(Trial::test(name, move || {
                let seen = (0..5).any(|number| is_seen(number, bug));
                assert!(seen, "{bug}: no storm has seen it");
                Ok(())
            }));
        }
    }
    trials
}

fn is_seen(number: u64, bug: &str) -> bool {
    let (faults, _) = generation(number, Ground::Wide, Some(bug));
    eprintln!("{bug}, generation {number}: {faults:?}");
    !faults.is_empty()
}

/// What a world lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// More room than is ever needed.
    Wide,
    /// A file system of its own, which is full now and then.
    Small,
}

fn prove(proof: &'static str, short: u64, ground: Ground) {
    let bounds = Bounds::of(proof, short * JOBS);
    let first = bounds.first.div_ceil(JOBS);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let seen = Mutex::new((Vec::new(), Tally::default()));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if !bounds.allow(number * JOBS) || !seen.lock().unwrap().0.is_empty() {
                        break;
                    }
                    let (faults, tally) = generation(first + number, ground, None);
                    let mut seen = seen.lock().unwrap();
                    seen.0.extend(faults);
                    seen.1.add(&tally);
                    done.fetch_add(JOBS, Ordering::Relaxed);
                }
            });
        }
    });
    let (faults, tally) = seen.into_inner().unwrap();
    let jobs = done.into_inner();
    let figures = figures(jobs, started.elapsed(), &tally);
    eprintln!("{proof}: {jobs} jobs: {figures}");
    bounds.record(jobs, u64::try_from(faults.len()).unwrap_or(u64::MAX), &figures);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn figures(jobs: u64, time: Duration, tally: &Tally) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = (jobs as f64 / time.as_secs_f64() * 100.0).round() / 100.0;
    let mut figures = json!({"generations": jobs / JOBS, "jobs_per_second": rate});
    figures["clocks"] = json!(cfg!(debug_assertions));
    for (what, times) in &tally.0 {
        figures[what] = json!(times);
    }
    figures
}

/// One generation: what was wrong, and what happened. With a `bug` every process makes that mistake.
fn generation(number: u64, ground: Ground, bug: Option<&str>) -> (Vec<String>, Tally) {
    let mut world = match ground {
        Ground::Wide => World::new(),
        Ground::Small => World::small(full::MEBIBYTES).unwrap(),
    };
    if let Some(bug) = bug {
        world.seed(bug);
    }
    let strangers = Strangers::new(&world);
    let ends = AtomicBool::new(false);
    let (mut faults, tally) = thread::scope(|scope| {
        let reader = scope.spawn(|| reader::read_on(&world, &ends));
        let mut storm = Storm::new(&world, number, ground);
        storm.rage();
        storm.calm();
        ends.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap();
        storm.tally.count("reads", read.files);
        storm.faults.extend(read.torn);
        verdict::judge(&mut storm);
        (storm.faults, storm.tally)
    });
    faults.extend(strangers.hit());
    if !faults.is_empty() && bug.is_none() {
        faults.truncate(20);
        let kept = world.keep();
        faults.insert(0, format!("generation {number}, kept in {}:", kept.display()));
    }
    (faults, tally)
}

/// A command that runs beside the storm.
struct Errand {
    slug: String,
    is_kill: bool,
    child: Child,
    log: std::path::PathBuf,
}

/// How an errand ended: its status, and what it said.
struct Told {
    slug: String,
    is_kill: bool,
    status: ExitStatus,
    words: String,
}

/// A place for a daemon, and when it is filled again.
struct Post {
    child: Option<Child>,
    due: Instant,
}

struct Storm<'w> {
    world: &'w World,
    dice: Dice,
    /// Rests between two deeds, in milliseconds.
    pace: (u64, u64),
    shared: std::path::PathBuf,
    drops: Vec<Drop>,
    /// Jobs dropped so far, in the order of `drops`.
    dropped: usize,
    unwanted: Vec<String>,
    errands: Vec<Errand>,
    told: Vec<Told>,
    posts: [Post; 2],
    stopped: Stopped,
    /// What fills the disk, where it may be full.
    filler: Option<Filler>,
    faults: Vec<String>,
    tally: Tally,
}

impl<'w> Storm<'w> {
    fn new(world: &'w World, number: u64, ground: Ground) -> Self {
        let mut dice = Dice::of(number);
        let lanes = dice.between(2, 5);
        world.set_settings(&format!("max_jobs = {lanes}\nrescan = \"3s\"\nmin_free = 2000000\n"));
        fs::create_dir_all(world.folder("incoming")).unwrap();
        let drops = drops::all(&mut dice, JOBS);
        let pace = *dice.pick(&[(20, 300), (100, 600), (200, 2000)]).unwrap();
        let post = || Post { child: None, due: Instant::now() };
        Self {
            world,
            dice,
            pace,
            shared: world.repository(),
            drops,
            dropped: 0,
            unwanted: Vec::new(),
            errands: Vec::new(),
            told: Vec::new(),
            posts: [post(), post()],
            stopped: Stopped::default(),
            filler: (ground == Ground::Small).then(|| Filler::of(world)),
            faults: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Until every job has an end, or the time is up.
    fn rage(&mut self) {
        let longest = if self.filler.is_some() { LONGEST_FULL } else { LONGEST_STORM };
        let deadline = Instant::now() + longest;
        while Instant::now() < deadline && (self.dropped < self.drops.len() || self.has_open()) {
            self.fill_posts();
            if let Some(filler) = &mut self.filler {
                filler.turn(&mut self.dice, &mut self.tally);
            }
            self.drop_some();
            self.kill_some();
            self.hear_errands();
            deeds::strike(self.world, &mut self.dice, &mut self.stopped, &mut self.tally);
            let rest = self.dice.between(self.pace.0, self.pace.1);
            let until = Instant::now() + Duration::from_millis(rest);
            while Instant::now() < until {
                self.stopped.go_on(false);
                thread::park_timeout(Duration::from_millis(rest.min(20)));
            }
        }
    }

    fn has_open(&self) -> bool {
        let open = |place| !crate::world::names(&self.world.folder(place)).is_empty();
        !self.errands.is_empty() || open("incoming") || open("claimed")
    }

    fn fill_posts(&mut self) {
        for at in 0..self.posts.len() {
            if let Some(child) = &mut self.posts[at].child {
                let Some(status) = child.try_wait().unwrap() else { continue };
                if status.code().is_some_and(|code| code != 0) {
                    self.faults.push(format!("a daemon ended by itself: {status}"));
                }
                self.posts[at].child = None;
                let rest = Duration::from_millis(self.dice.between(0, 2 * self.pace.1));
                self.posts[at].due = Instant::now() + rest;
            }
            if self.posts[at].due <= Instant::now() {
                let offset = if self.dice.percent(50) { self.dice.pick(&OFFSETS) } else { None };
                let mut command = self.world.numerus(&["daemon"]);
                // Programs without debug assertions have no such thing, and pass it by.
                command.env("NUMERUS_TEST_CLOCK_OFFSET", offset.unwrap_or(&0).to_string());
                self.posts[at].child = Some(spawn(self.world, &mut command).0);
                self.tally.count("daemons started", 1);
            }
        }
    }

    fn drop_some(&mut self) {
        let many = self.dice.between(0, 8);
        if self.filler.as_ref().is_some_and(Filler::is_there) {
            // Who drops a file sees that it cannot be written.
            return;
        }
        for _ in 0..many {
            let Some(one) = self.drops.get(self.dropped).cloned() else { return };
            self.dropped += 1;
            if let Some(mut command) = one.drop_into(self.world, &self.shared) {
                self.send(&one.slug, false, &mut command);
            }
            if one.is_unwanted {
                self.unwanted.push(one.slug);
            }
        }
    }

    /// Kills a job that was dropped some time ago.
    fn kill_some(&mut self) {
        if self.unwanted.is_empty() || self.dice.percent(60) {
            return;
        }
        let slug = self.unwanted.remove(0);
        let mut command = self.world.numerus(&["kill", &slug]);
        self.send(&slug, true, &mut command);
    }

    fn send(&mut self, slug: &str, is_kill: bool, command: &mut Command) {
        let (child, log) = spawn(self.world, command);
        self.errands.push(Errand { slug: slug.to_owned(), is_kill, child, log });
    }

    fn hear_errands(&mut self) {
        for mut errand in std::mem::take(&mut self.errands) {
            let Some(status) = errand.child.try_wait().unwrap() else {
                self.errands.push(errand);
                continue;
            };
            let words = fs::read_to_string(&errand.log).unwrap_or_default();
            self.told.push(Told { slug: errand.slug, is_kill: errand.is_kill, status, words });
        }
    }

    /// Nobody disturbs any more: what runs ends, daemons are killed, and one start does the rest.
    fn calm(&mut self) {
        self.stopped.go_on(true);
        if let Some(filler) = &mut self.filler {
            filler.free();
        }
        let deadline = Instant::now() + LAST_WORDS;
        while !self.errands.is_empty() && Instant::now() < deadline {
            self.hear_errands();
            thread::park_timeout(Duration::from_millis(5));
        }
        for mut errand in std::mem::take(&mut self.errands) {
            let words = fs::read_to_string(&errand.log).unwrap_or_default();
            self.faults.push(format!("stuck: a command about {}: {words}", errand.slug));
            drop(errand.child.kill());
            drop(errand.child.wait());
        }
        for post in &mut self.posts {
            if let Some(child) = &mut post.child {
                drop(child.kill());
                drop(child.wait());
            }
        }
        verdict::settle(self);
    }
}

/// Starts a command whose words go to a file of their own.
fn spawn(world: &World, command: &mut Command) -> (Child, std::path::PathBuf) {
    let log = tempfile::Builder::new().tempfile_in(world.logs()).unwrap();
    let (file, path) = log.keep().unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    (command.spawn().unwrap(), path)
}

impl Drop {
    /// Whether it counts as accepted by lying where it was dropped.
    fn is_accepted_by_lying_there(&self) -> bool {
        self.way != Way::Submit
    }
}
