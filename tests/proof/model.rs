//! Random sequences of what people, programs and mishaps do to a root, each step held against a model of what should be so:
//! where each job lies, what `status` says of it, how commands end.
//!
//! One case is one sequence; its number is the seed of it. One that fails is made smaller, printed, and its world is kept.

mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine as _, StateMachineTest};
use serde_json::{Value, json};

use self::reference::{Ask, Hand, Job, Model, Place, Step, Way};
use crate::ledger::Bounds;
use crate::promises::{Accepted, broken};
use crate::world::{Ended, World, kill, names};

/// Sequences of a short run.
const SHORT: u64 = 40;
/// Sequences at a time: half of one is waiting.
const AT_A_TIME: usize = 4;
/// Steps of a sequence.
const STEPS: std::ops::Range<usize> = 3..9;
/// Sequences in which a mistake on purpose has to be seen.
const TEETH: u64 = 150;
/// Tries to make a failing sequence smaller.
const SHRINKS: u32 = 60;

/// The cases of this proof.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("model::sequences_come_to_what_the_model_says", || {
        prove();
        Ok(())
    })];
    if cfg!(feature = "seeded-bugs") {
        for bug in ["key-not-kept", "rescan-blind", "status-behind"] {
            let name = format!("teeth::model_{}", bug.replace('-', "_"));
            trials.push(Trial::test(name, move || {
                let seen = (0..TEETH).find_map(|case| sequence(case, Some(bug)).err());
                assert!(seen.is_some(), "{bug}: no sequence has seen it");
                Ok(())
            }));
        }
    }
    trials
}

fn prove() {
    let bounds = Bounds::of("model", SHORT);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let faults = Mutex::new(Vec::new());
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if !bounds.allow(case) || !faults.lock().unwrap().is_empty() {
                        break;
                    }
                    if let Err(fault) = sequence(bounds.first + case, None) {
                        faults.lock().unwrap().push(fault);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (faults, done) = (faults.into_inner().unwrap(), done.into_inner());
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = (done as f64 / started.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    eprintln!("model: {done} sequences, {rate} a second");
    let figures = json!({"sequences_per_second": rate});
    bounds.record(done, u64::try_from(faults.len()).unwrap_or(u64::MAX), &figures);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// One sequence; what was wrong, with the smallest sequence that shows it.
pub(crate) fn sequence(case: u64, bug: Option<&'static str>) -> Result<(), String> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&case.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: if bug.is_none() { SHRINKS } else { 1 },
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config.clone(), rng);
    let run = |mut model: Model, steps, seen, keeps| {
        (model.bug, model.keeps) = (bug, keeps);
        Sut::test_sequential(config.clone(), model, steps, seen);
    };
    let outcome = runner.run(&Model::sequential_strategy(STEPS), |(model, steps, seen)| {
        run(model, steps, seen, false);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, (model, steps, _))) => {
            if bug.is_none() {
                // Once more, so that its world can be looked at.
                let again = || run(model.clone(), steps.clone(), None, true);
                drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(again)));
            }
            Err(format!("sequence {case}: {why}\n{steps:#?}"))
        }
        Err(TestError::Abort(why)) => Err(format!("sequence {case}: {why}")),
    }
}

/// The real thing.
struct Sut {
    world: Option<World>,
    keeps: bool,
    /// How the last command ended.
    ended: Option<Ended>,
}

impl Drop for Sut {
    fn drop(&mut self) {
        if let Some(world) = self.world.take()
            && self.keeps
            && thread::panicking()
        {
            eprintln!("kept in {}", world.keep().display());
        }
    }
}

impl StateMachineTest for Sut {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let mut world = World::new();
        if let Some(bug) = model.bug {
            world.seed(bug);
        }
        fs::create_dir_all(world.folder("incoming")).unwrap();
        Self { world: Some(world), keeps: model.keeps, ended: None }
    }

    fn apply(mut sut: Self, model: &Model, step: Step) -> Self {
        sut.ended = sut.take(model, step);
        sut
    }

    fn check_invariants(sut: &Self, model: &Model) {
        if let (Some(code), Some(ended)) = (model.code, &sut.ended) {
            assert_eq!(ended.code, Some(code), "{ended:?}");
        }
        for (at, job) in model.jobs.iter().enumerate() {
            sut.check_place(at, job);
        }
        sut.check_status(model);
    }

    fn teardown(mut sut: Self, model: Model) {
        let model = Model::apply(model, &Step::Once);
        sut = Self::apply(sut, &model, Step::Once);
        Self::check_invariants(&sut, &model);
        let ends = |job: &Job| -> &'static [&'static str] {
            match job.at() {
                Some(Place::Done) => &["done"],
                Some(Place::Failed) => &["failed"],
                Some(Place::Killed) => &["killed"],
                Some(Place::Rejected) => &["rejected"],
                Some(Place::Claimed) => &["claimed"],
                _ => &["done", "failed", "killed", "claimed", "rejected"],
            }
        };
        let plain = model.jobs.iter().enumerate().filter(|(_, job)| job.copies == 0);
        let accepted: Vec<Accepted> =
            plain.map(|(at, job)| Accepted { slug: slug(at), ends: ends(job) }).collect();
        assert_eq!(broken(sut.world(), &accepted), [""; 0]);
    }
}

/// How a job's id begins.
fn slug(at: usize) -> String {
    format!("j{at}")
}

impl Sut {
    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    fn take(&self, model: &Model, step: Step) -> Option<Ended> {
        let world = self.world();
        let id = |at: usize| self.id(at).unwrap_or_else(|| slug(at));
        match step {
            Step::Drop(way, ask, priority) => return self.drop_job(model, way, ask, priority),
            Step::Kill(at) => return Some(world.ask(&["kill", &id(at)])),
            Step::Start(at) => return Some(world.agree(&["start", &id(at)])),
            Step::Wait(at) => return Some(world.ask(&["wait", &id(at)])),
            Step::Once => return Some(world.ask(&["daemon", "--once"])),
            Step::OnceKilled(after, alone) => self.once_killed(after, alone),
            Step::Pause(at) => fs::write(self.run(at).join("want.paused"), "").unwrap(),
            Step::Move(at, to) => {
                let from = self.file(at).unwrap();
                let to = world.folder(to.name()).join(from.file_name().unwrap());
                fs::rename(from, to).unwrap();
            }
            Step::Unlink(at) => fs::remove_file(self.file(at).unwrap()).unwrap(),
            Step::ForgetRun(at) => fs::remove_dir_all(self.run(at)).unwrap(),
            Step::ForgetStatus(at) => {
                let status = self.run(at).join("status.json");
                // It may have been forgotten before, with nobody since who writes it anew.
                if status.exists() {
                    fs::remove_file(status).unwrap();
                }
            }
            Step::ForgetIndex => {
                for name in names(&world.root().join("store")) {
                    if name.starts_with("tasks.db") {
                        fs::remove_file(world.root().join("store").join(name)).unwrap();
                    }
                }
            }
        }
        None
    }

    fn drop_job(&self, model: &Model, way: Way, ask: Ask, priority: i8) -> Option<Ended> {
        let world = self.world();
        let slug = match model.code {
            Some(2) => "refused".to_owned(),
            _ => slug(model.jobs.len() - 1),
        };
        let mut options = vec![("plan", "single".to_owned()), ("priority", priority.to_string())];
        let far = ("not_before", "2200-01-01T00:00:00Z".to_owned());
        match ask {
            Ask::Now => {}
            Ask::Far => options.push(far),
            Ask::Bad => options.push(("model", String::new())),
            Ask::Keyed(key) => options.extend([far, ("key", format!("key-{key}"))]),
            Ask::After(other, any) => {
                let id = self.id(other).unwrap();
                options.push(("after", if any { format!("{id}:any") } else { id }));
            }
        }
        if way == Way::Submit {
            let mut command = world.numerus(&["submit", &format!("{slug} do")]);
            for (key, value) in options {
                command.arg(format!("--{}={value}", key.replace('_', "-")));
            }
            return Some(world.run(&mut command, crate::world::PATIENCE));
        }
        let lines = options.iter().map(|(key, value)| format!("{key}: {value:?}\n"));
        let lines = lines
            .collect::<String>()
            .replace(&format!("{:?}", priority.to_string()), &priority.to_string());
        let text = format!("---\n{lines}---\n{slug} do\n");
        let name = format!("{slug}.md");
        if way == Way::Rename {
            world.drop_file(&name, text);
        } else {
            fs::write(world.path("linked"), text).unwrap();
            fs::hard_link(world.path("linked"), world.folder("incoming").join(name)).unwrap();
            fs::remove_file(world.path("linked")).unwrap();
        }
        None
    }

    fn once_killed(&self, after: u64, alone: bool) {
        let world = self.world();
        let mut command = world.numerus(&["daemon", "--once"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut daemon = command.spawn().unwrap();
        thread::park_timeout(Duration::from_millis(after));
        drop(daemon.kill());
        drop(daemon.wait());
        if !alone {
            for pid in world.processes() {
                kill(pid);
            }
        }
    }

    /// The whole id of a job, where its file or its run folder tells it.
    fn id(&self, at: usize) -> Option<String> {
        let world = self.world();
        let front = format!("{}-", slug(at));
        let places = ["claimed", "done", "failed", "killed", "incoming"].map(|p| world.folder(p));
        let all = places.into_iter().chain([world.root().join("runs")]).flat_map(|dir| names(&dir));
        let mut own = all.filter(|name| name.starts_with(&front));
        own.next().map(|name| name.split('.').next().unwrap_or_default().to_owned())
    }

    fn run(&self, at: usize) -> PathBuf {
        self.world().root().join("runs").join(self.id(at).unwrap())
    }

    /// Every folder in which a file of the job lies, copies that were rejected apart.
    fn places(&self, at: usize) -> Vec<(Place, PathBuf)> {
        use Place::{Claimed, Done, Failed, Incoming, Killed, Rejected};
        let slug = slug(at);
        let mut found = Vec::new();
        for place in [Incoming, Claimed, Done, Failed, Killed, Rejected] {
            let folder = self.world().folder(place.name());
            for name in names(&folder) {
                let is_own = name.strip_prefix(&slug).is_some_and(|n| n.starts_with(['-', '.']));
                if is_own && !name.ends_with(".reason.json") {
                    found.push((place, folder.join(name)));
                }
            }
        }
        found
    }

    fn file(&self, at: usize) -> Option<PathBuf> {
        self.places(at).into_iter().find(|(p, _)| *p != Place::Rejected).map(|(_, path)| path)
    }

    /// A job lies in one place, and that is one it may be in.
    fn check_place(&self, at: usize, job: &Job) {
        if job.is_stirred {
            return;
        }
        let mut places: Vec<Place> = self.places(at).into_iter().map(|(place, _)| place).collect();
        for _ in 0..job.copies {
            let copy = places.iter().position(|place| *place == Place::Rejected);
            places.remove(copy.expect("the copy was rejected"));
        }
        let is_well = match (&job.by_hand, places.as_slice()) {
            (Some(Hand::Moved(to)), places) => places == [*to],
            (Some(Hand::Removed), places) => places.is_empty(),
            (None, [place]) => job.may.contains(place),
            (None, _) => false,
        };
        assert!(is_well, "j{at} lies in {places:?}: {job:?}");
        if job.is_open() {
            let accepted = fs::read(self.run(at).join("job.json")).unwrap();
            let accepted: Value = serde_json::from_slice(&accepted).unwrap();
            assert_eq!(accepted["options"]["priority"], job.priority, "{accepted}");
        }
    }

    /// `status` names each job once, in the state that it has.
    fn check_status(&self, model: &Model) {
        let ended = self.world().ask(&["status", "--all", "--json"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in ended.stdout.lines() {
            let status: Value = serde_json::from_str(line).expect("a line of JSON");
            let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
            let slug = text("job_id").split('-').next().unwrap_or_default().to_owned();
            told.entry(slug).or_default().push(text("state"));
        }
        for (at, job) in model.jobs.iter().enumerate() {
            if job.by_hand.is_some() || job.is_lost {
                continue;
            }
            let states = told.get(&slug(at)).cloned().unwrap_or_default();
            let is_well = match (job.at(), states.as_slice()) {
                (None, states) => states.len() < 2,
                (Some(Place::Incoming | Place::Rejected), states) => states.is_empty(),
                (Some(Place::Done), [state]) => state == "succeeded",
                (Some(Place::Failed), [state]) => state == "failed",
                (Some(Place::Killed), []) => {
                    self.id(at).is_none_or(|id| !self.world().root().join("runs").join(id).exists())
                }
                (Some(Place::Killed), [state]) => state == "killed",
                (Some(Place::Claimed), [state]) => state == "queued" || state == "paused",
                _ => false,
            };
            assert!(is_well, "status says {states:?} of j{at}: {job:?}");
        }
    }
}
