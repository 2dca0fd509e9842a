//! The stories in which something goes wrong: how a world is made ready, what runs in it, how it is put right afterwards, and what
//! must have become of its jobs.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::promises::{Accepted, broken};
use crate::tracer::{Fault, Traced, Tracing};
use crate::world::{World, kill, names};

/// Most recoveries that one case makes.
const RECOVERIES: u32 = 3;
/// How long one traced program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same for one that may never end by itself.
const SHORT_PATIENCE: Duration = Duration::from_secs(4);

/// A story; see the head of this file.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// A prime number larger than the number of its points, so that a case number leads to each of them.
    pub(crate) reach: u64,
    /// Whether it needs a repository of its own.
    has_repository: bool,
    prepare: fn(&World),
    /// What something happens to.
    act: fn(&World) -> Command,
    /// What puts right what was left; it is run again until it is not interrupted.
    recover: fn(&World) -> Command,
    /// The files that were accepted, given what the act printed.
    accepted: fn(&Traced) -> Vec<Accepted>,
}

/// Ends that a job may have.
pub(crate) type Ends = &'static [&'static str];

/// How everything that has ended is removed.
const PRUNES: [&str; 5] = ["prune", "--keep", "0", "--unmerged", "--yes"];

/// How many there are.
pub(crate) const SCENARIOS: usize = 12;

/// The place in [`ALL`] of the removal of ended jobs.
pub(crate) const PRUNE: usize = 11;

/// All of them, in the order of their numbers.
pub(crate) static ALL: [Scenario; SCENARIOS] = [
    Scenario {
        name: "submit",
        reach: 131,
        has_repository: false,
        prepare: |_| (),
        act: |world| world.numerus(&["submit", "do it", "--plan", "single"]),
        recover: daemon,
        accepted: |traced| {
            // Its word counts from the moment it is given.
            let is_told = traced.stdout.starts_with("do-it-");
            if is_told { one("do-it", &["done"]) } else { Vec::new() }
        },
    },
    Scenario {
        name: "claim",
        reach: 257,
        has_repository: false,
        prepare: |world| {
            world.drop_file("bad.md", "---\nnonsense: 1\n---\nx\n");
            let options = "not_before: 2999-01-01T00:00:00Z\nkey: nightly\n";
            world.drop_job("good.md", "do good", options);
        },
        act: daemon,
        recover: daemon,
        accepted: |_| [one("good", &["claimed"]), one("bad", &["rejected"])].concat(),
    },
    Scenario {
        name: "run",
        reach: 1999,
        has_repository: false,
        prepare: |world| world.drop_job("job.md", "do it", ""),
        act: daemon,
        recover: daemon,
        accepted: |_| one("job", &["done"]),
    },
    Scenario {
        name: "plan",
        reach: 1999,
        has_repository: false,
        prepare: |world| world.drop_file("job.md", "do two\n"),
        act: daemon,
        recover: daemon,
        accepted: |_| one("job", &["done"]),
    },
    Scenario {
        name: "kill-queued",
        reach: 199,
        has_repository: false,
        prepare: |world| {
            world.drop_job("job.md", "do it", "not_before: 2999-01-01T00:00:00Z\n");
            assert_eq!(world.run(&mut daemon(world), PATIENCE).code, Some(4));
        },
        act: |world| world.numerus(&["kill", "job"]),
        recover: daemon,
        accepted: |traced| {
            let is_told = traced.code == Some(0);
            one("job", if is_told { &["killed"] } else { &["killed", "claimed"] })
        },
    },
    Scenario {
        name: "kill-running",
        reach: 1999,
        has_repository: false,
        prepare: |world| {
            hang_in_the_agent(world, false);
            world.drop_job("job.md", "do it", "");
        },
        act: |world| {
            let waits = "n=0; until [ -e ready ] || [ $n = 2000 ]; do sleep 0.01; n=$((n+1)); done";
            // One that died between its wish and its word to the worker is asked for again: nobody hears of it by itself.
            let kills = "\"$0\" kill job && echo told || \"$0\" kill job";
            in_shell(world, &format!("\"$0\" daemon --once & {waits}; {kills}; wait"))
        },
        recover: |world| {
            // Where the wish was not heard, the job is to go on; and then its agent does its work.
            fs::copy(world.path("works.json"), world.path("script.json")).unwrap();
            daemon(world)
        },
        accepted: |traced| {
            let is_told = traced.stdout.ends_with("told\n");
            one("job", if is_told { &["killed"] } else { &["killed", "done"] })
        },
    },
    Scenario {
        name: "recovery",
        reach: 1999,
        has_repository: false,
        prepare: |world| {
            hang_in_the_agent(world, false);
            world.drop_job("job.md", "do it", "");
            die_under_the_agent(world, |_| true);
            fs::copy(world.path("works.json"), world.path("script.json")).unwrap();
        },
        act: daemon,
        recover: daemon,
        accepted: |_| one("job", &["done"]),
    },
    Scenario {
        name: "index",
        reach: 97,
        has_repository: false,
        prepare: lose_the_index,
        act: |world| world.numerus(&["status", "--all"]),
        recover: daemon,
        accepted: |_| one("old", &["done"]),
    },
    Scenario {
        name: "index-daemon",
        reach: 257,
        has_repository: false,
        prepare: |world| {
            lose_the_index(world);
            world.drop_job("good.md", "do good", "not_before: 2999-01-01T00:00:00Z\n");
        },
        act: daemon,
        recover: daemon,
        accepted: |_| [one("old", &["done"]), one("good", &["claimed"])].concat(),
    },
    Scenario {
        name: "repository",
        reach: 1999,
        has_repository: true,
        prepare: |world| {
            let repo = world.repository();
            world.drop_file("job.md", format!("---\nworkspace: {}\n---\ndo two\n", repo.display()));
        },
        act: daemon,
        recover: daemon,
        accepted: |_| one("job", &["done"]),
    },
    Scenario {
        name: "orphan",
        reach: 1999,
        has_repository: false,
        prepare: |world| {
            hang_in_the_agent(world, true);
            world.drop_job("job.md", "do it", "");
            die_under_the_agent(world, |pid| !carries(pid, "NUMERUS_TASK"));
            fs::copy(world.path("works.json"), world.path("script.json")).unwrap();
        },
        act: daemon,
        recover: daemon,
        accepted: |_| one("job", &["done"]),
    },
    Scenario {
        name: "prune",
        reach: 397,
        has_repository: true,
        prepare: |world| {
            world.drop_job("job.md", "do it", "");
            world.drop_job("stays.md", "do later", "not_before: 2999-01-01T00:00:00Z\n");
            assert_eq!(world.run(&mut daemon(world), PATIENCE).code, Some(4));
        },
        act: |world| world.numerus(&PRUNES),
        recover: |world| {
            // A daemon in between must find nothing to run, and nothing to put right.
            in_shell(world, &format!("\"$0\" daemon --once; exec \"$0\" {}", PRUNES.join(" ")))
        },
        accepted: |_| [one("job", &["pruned"]), one("stays", &["claimed"])].concat(),
    },
];

/// The scenario of a name.
pub(crate) fn named(name: &str) -> &'static Scenario {
    ALL.iter().find(|one| one.name == name).unwrap()
}

/// What goes wrong in one case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mishap {
    /// At which call of the act, counted from 1, and what.
    pub(crate) act: (u64, Fault),
    /// The same for the recovery after it.
    pub(crate) recovery: Option<(u64, Fault)>,
    /// Whether files that are only read count when they are opened.
    pub(crate) all_opens: bool,
    /// Whether the act may have to be killed: what lasts may keep it from ever ending.
    pub(crate) may_hang: bool,
}

/// What a case has shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The places where something happened.
    pub(crate) hits: Vec<String>,
    /// How many calls the act made.
    pub(crate) count: u64,
    /// How many the recovery that was traced made.
    pub(crate) recovery_count: u64,
    pub(crate) faults: Vec<String>,
}

impl Scenario {
    /// A world in which the act can begin.
    pub(crate) fn ready(&self, bug: Option<&str>) -> World {
        let mut world = if self.has_repository { World::on_disk() } else { World::new() };
        if let Some(bug) = bug {
            world.seed(bug);
        }
        fs::create_dir(world.path("traced")).unwrap();
        (self.prepare)(&world);
        world
    }

    /// Runs the act without any mishap, writing down its calls.
    pub(crate) fn record(&self, world: &World) -> Traced {
        Tracing { records: true, ..tracing(world) }.run(&(self.act)(world))
    }

    /// How many calls the act makes to which such a thing can happen.
    pub(crate) fn count(&self, fault: Option<Fault>, all_opens: bool) -> u64 {
        let world = self.ready(None);
        let fault = fault.map(|fault| (u64::MAX, fault));
        Tracing { fault, all_opens, ..tracing(&world) }.run(&(self.act)(&world)).count
    }

    /// One case: the act with its mishap, recovery with its own, recovery without any, and a look at what must hold. `ends`
    /// are further ends that are allowed for jobs that were to end well.
    pub(crate) fn play(&self, world: &World, mishap: Mishap, ends: Ends) -> Shown {
        let mut shown = Shown::default();
        let base = Tracing { all_opens: mishap.all_opens, ..tracing(world) };
        let patience = if mishap.may_hang { SHORT_PATIENCE } else { PATIENCE };
        let mut act = Tracing { fault: Some(mishap.act), patience, ..base }.run(&(self.act)(world));
        act.hung &= !mishap.may_hang;
        shown.count = act.count;
        shown.hear("the act", &act);
        if let Some(fault) = mishap.recovery.filter(|_| act.hit.is_some()) {
            let again =
                Tracing { fault: Some(fault), ..tracing(world) }.run(&(self.recover)(world));
            shown.recovery_count = again.count;
            shown.hear("the recovery", &again);
        }
        self.put_right(world, &mut shown);
        let mut accepted = (self.accepted)(&act);
        for one in accepted.iter_mut().filter(|one| one.ends == ["done"]) {
            one.ends = ends;
        }
        shown.faults.extend(broken(world, &accepted));
        shown
    }

    fn put_right(&self, world: &World, shown: &mut Shown) {
        for _ in 0..RECOVERIES {
            let ended = world.run(&mut (self.recover)(world), PATIENCE);
            if ended.hung || ended.stderr.contains("panicked") {
                shown.faults.push(format!("the last recovery: {ended:?}"));
            }
            // 1: a job failed, 4: one rests. What is allowed is said by the promises.
            if matches!(ended.code, Some(0 | 1 | 4)) {
                return;
            }
        }
        shown.faults.push(format!("not put right by {RECOVERIES} recoveries"));
    }
}

impl Shown {
    fn hear(&mut self, who: &str, traced: &Traced) {
        self.hits.extend(traced.hit.iter().map(|call| format!("{who} at {call}")));
        if traced.hung {
            self.faults.push(format!("{who} did not end: {}", traced.stderr));
        }
        if traced.stderr.contains("panicked") || traced.stdout.contains("panicked") {
            self.faults.push(format!("{who} panicked: {}", traced.stderr));
        }
    }
}

fn tracing(world: &World) -> Tracing<'_> {
    Tracing {
        below: world.folder_path(),
        fault: None,
        records: false,
        all_opens: false,
        patience: PATIENCE,
        logs: world.path("traced"),
    }
}

fn one(slug: &str, ends: Ends) -> Vec<Accepted> {
    vec![Accepted { slug: slug.into(), ends }]
}

fn daemon(world: &World) -> Command {
    world.numerus(&["daemon", "--once"])
}

fn in_shell(world: &World, script: &str) -> Command {
    let mut command = world.outside("sh");
    command.current_dir(world.path("")).args(["-c", script, env!("CARGO_BIN_EXE_numerus")]);
    command
}

/// From here on the agent says that it is there and does nothing more, perhaps whatever it is asked; what it did before lies in
/// `works.json`.
fn hang_in_the_agent(world: &World, deaf: bool) {
    let script = world.path("script.json");
    let text = fs::read_to_string(&script).unwrap();
    fs::write(world.path("works.json"), &text).unwrap();
    let mut script_now: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut play =
        vec![json!({"touch_ready": {"path": world.path("ready")}}), json!({"hang": true})];
    if deaf {
        play.insert(0, json!({"ignore_signals": true}));
    }
    let hangs = json!({"when": {"marker": "NUMERUS_EXECUTE"}, "play": play});
    script_now["scenes"].as_array_mut().unwrap().insert(0, hangs);
    fs::write(script, script_now.to_string()).unwrap();
}

/// While the agent is at work, those die that are named.
fn die_under_the_agent(world: &World, dies: fn(u32) -> bool) {
    let mut child = daemon(world).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !world.path("ready").exists() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    assert!(world.path("ready").exists(), "the agent never came");
    for _ in 0..1000 {
        let doomed: Vec<u32> = world.processes().into_iter().filter(|pid| dies(*pid)).collect();
        if doomed.is_empty() {
            break;
        }
        doomed.into_iter().for_each(kill);
        drop(child.try_wait());
    }
    drop(child.wait());
}

/// Whether a process has a variable in its environment.
fn carries(pid: u32, name: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|one| one.starts_with(format!("{name}=").as_bytes()))
}

fn lose_the_index(world: &World) {
    world.drop_job("old.md", "do old", "");
    assert_eq!(world.run(&mut daemon(world), PATIENCE).code, Some(0));
    let store = world.root().join("store");
    for name in names(&store).iter().filter(|name| name.starts_with("tasks.db")) {
        fs::remove_file(store.join(name)).unwrap();
    }
}
