//! The order of what is done to files, looked at in the list of calls that a program made: what a power cut could take away if
//! one of them came too early. Nothing has to crash for that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::calls::Call;
use crate::scenarios::{ALL, Scenario, named};
use crate::tracer::traced_trial;

/// Most flushes that Numerus and its git make for one job of one task, with what a daemon flushes when it begins: two more than it takes
/// on a machine that is quick enough for one fact to follow another within a moment. The agent makes its own.
const MOST_FLUSHES: usize = 54;
/// What is written into a journal where something follows from it.
const ACKNOWLEDGED: [&str; 3] = ["job.claimed", "job.finished", "terminal.session_starting"];
/// What must be on disk before a job's tip moves.
const INTENTS: [&str; 2] = ["job.task_landing", "job.base_advancing"];

/// What is known at one point of the list.
#[derive(Default)]
struct Disk<'a> {
    root: PathBuf,
    /// Files with a write that was not flushed yet.
    dirty: BTreeSet<PathBuf>,
    /// Names that were made or taken away, by the folder that was not flushed yet.
    pending: BTreeMap<PathBuf, Vec<String>>,
    /// Run folders made ahead whose mark was not flushed yet.
    unmarked: BTreeSet<PathBuf>,
    /// What was written into journals since their last flush.
    unflushed: BTreeMap<PathBuf, Vec<&'a str>>,
    /// What lies flushed in journals.
    flushed: BTreeMap<PathBuf, Vec<&'a str>>,
    /// How often each tip has moved.
    tips: BTreeMap<PathBuf, usize>,
    /// Whether a file came into `incoming/`.
    is_submitted: bool,
    /// How many sessions were started.
    launched: usize,
    faults: Vec<String>,
}

/// Everything that is out of order in a list of calls below a root. `word` is the file where `submit` gave its word.
pub(crate) fn lint(calls: &[Call], root: &Path, word: Option<&Path>) -> Vec<String> {
    let mut disk = Disk { root: root.to_owned(), ..Disk::default() };
    for call in calls.iter().filter(|call| call.result.is_none_or(|result| result >= 0)) {
        disk.hear(call, word);
    }
    disk.faults
}

impl<'a> Disk<'a> {
    fn hear(&mut self, call: &'a Call, word: Option<&Path>) {
        match call.name {
            "write" | "pwrite64" | "writev" | "pwritev" | "ftruncate" | "truncate"
            | "fallocate" | "copy_file_range" | "sendfile" => self.write(call, word),
            "fsync" | "fdatasync" => self.flush(&call.path),
            "open" | "openat" | "creat" if !call.existed => self.name(&call.path, call),
            "mkdir" | "mkdirat" => self.name(&call.path, call),
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => self.rename(call),
            "execve" => self.launch(call),
            _ => {}
        }
    }

    fn write(&mut self, call: &'a Call, word: Option<&Path>) {
        if word == Some(&call.path) {
            self.acknowledge("what submit prints");
            if !self.is_submitted {
                self.faults.push("what submit prints before a file lies in incoming".to_owned());
            }
        }
        if self.is_journal(&call.path) {
            let event = event_of(&call.head);
            if ACKNOWLEDGED.contains(&event) {
                self.acknowledge(event);
            }
            self.unflushed.entry(call.path.clone()).or_default().push(event);
        } else if self.is_ours(&call.path) && !is_log(&call.path) {
            self.faults.push(format!("{} is written in place, at {}", shown(call), call.number));
        }
        self.dirty.insert(call.path.clone());
    }

    fn flush(&mut self, path: &Path) {
        self.dirty.remove(path);
        self.pending.remove(path);
        self.unmarked.remove(path);
        let events = self.unflushed.remove(path).unwrap_or_default();
        self.flushed.entry(path.to_owned()).or_default().extend(events);
    }

    /// A name that was made.
    fn name(&mut self, path: &Path, call: &Call) {
        if path.ends_with("next.spare/taking") {
            self.unmarked.extend(path.parent().map(Path::to_owned));
        }
        if self.is_durable(path) {
            if path.starts_with(self.root.join("spool/keys")) {
                self.acknowledge("a key");
            }
            let folder = path.parent().unwrap_or(path).to_owned();
            self.pending.entry(folder).or_default().push(shown(call));
        }
    }

    fn rename(&mut self, call: &'a Call) {
        let Some(onto) = &call.onto else { return };
        if self.unmarked.remove(&call.path) {
            self.faults.push(format!("{} before its mark is flushed", shown(call)));
        }
        let is_dirty = self.dirty.remove(&call.path);
        if is_dirty && self.is_durable(onto) {
            self.faults.push(format!("{} before its bytes are flushed", shown(call)));
        }
        self.name(onto, call);
        if call.name.starts_with("rename") && call.path.parent() != onto.parent() {
            self.name(&call.path, call);
        }
        self.is_submitted |= onto.starts_with(self.root.join("spool/incoming"));
        self.end(&call.path, onto);
        self.move_tip(call, onto);
    }

    /// A job's file comes to its end: that has to stand in its journal.
    fn end(&mut self, from: &Path, onto: &Path) {
        let spool = self.root.join("spool");
        let is_end =
            ["done", "failed", "killed"].iter().any(|end| onto.starts_with(spool.join(end)));
        if !is_end || !from.starts_with(spool.join("claimed")) {
            return;
        }
        let job = onto.file_stem().unwrap_or_default();
        if !self.is_flushed(&self.root.join("runs").join(job).join("events.ndjson"), "job.finished")
        {
            self.faults.push(format!("{} before job.finished is on disk", onto.display()));
        }
    }

    fn is_flushed(&self, journal: &Path, event: &str) -> bool {
        self.flushed.get(journal).is_some_and(|events| events.contains(&event))
    }

    /// A tip moves: that it will has to stand in the job's journal. The first move makes it.
    fn move_tip(&mut self, call: &Call, onto: &Path) {
        let refs = "/refs/numerus/";
        let tip = match onto.parent() {
            // One that was made ahead comes with its folder.
            Some(above) if above.ends_with(&refs[1..]) => onto.join("tip"),
            _ if onto.ends_with("tip") && onto.to_string_lossy().contains(refs) => onto.to_owned(),
            _ => return,
        };
        let moves = self.tips.entry(tip.clone()).or_default();
        *moves += 1;
        let job = tip.parent().and_then(Path::file_name).unwrap_or_default();
        let journal = self.root.join("runs").join(job).join("events.ndjson");
        let events = self.flushed.get(&journal).map(Vec::as_slice).unwrap_or_default();
        let intents = events.iter().filter(|event| INTENTS.contains(event)).count();
        if *moves > intents + 1 {
            self.faults.push(format!("{} before its intent is on disk", shown(call)));
        }
    }

    /// A process becomes codex: that it will has to stand in the job's journal.
    fn launch(&mut self, call: &Call) {
        let mut words = call.head.split(' ').skip_while(|word| *word != "__codex");
        if words.nth(1) != Some("exec") {
            return;
        }
        self.launched += 1;
        let starts = |events: &Vec<&str>| {
            events.iter().filter(|event| **event == "terminal.session_starting").count()
        };
        if self.flushed.values().map(starts).sum::<usize>() < self.launched {
            self.faults.push("a session starts before that is on disk".to_owned());
        }
    }

    /// Something is promised: what it rests on must be on disk.
    fn acknowledge(&mut self, what: &str) {
        for (folder, names) in std::mem::take(&mut self.pending) {
            let first = names.join(", ");
            self.faults.push(format!("{what} before {} is flushed: {first}", folder.display()));
        }
    }

    fn is_journal(&self, path: &Path) -> bool {
        path.ends_with("events.ndjson") && self.below(path).is_some_and(|p| p.len() == 3)
    }

    /// The parts of a path below the root.
    fn below<'p>(&self, path: &'p Path) -> Option<Vec<&'p str>> {
        path.strip_prefix(&self.root).ok()?.iter().map(|part| part.to_str()).collect()
    }

    /// Whether a path is a file of our own under its name, not one that is only being made.
    fn is_ours(&self, path: &Path) -> bool {
        match self.below(path).as_deref() {
            Some(["spool" | "runs", _, name]) => !name.starts_with('.'),
            _ => false,
        }
    }

    /// Whether a path is one that must survive a power cut under its name.
    fn is_durable(&self, path: &Path) -> bool {
        match self.below(path).as_deref() {
            Some(["spool", "tmp" | ".lock", ..]) => false,
            Some([_, .., name]) if name.starts_with('.') => false,
            Some(["spool", _, _]) => true,
            // Whatever has a dot there is no job's folder.
            Some(["runs", name]) => !name.contains('.'),
            Some(["runs", _, name]) => {
                let durable = ["taking", "job.json", "events.ndjson", "summary.md"];
                durable.contains(name) || name.starts_with("want.")
            }
            Some(["store", name]) => *name == "memory.ndjson",
            _ => false,
        }
    }
}

/// Whether a file is only ever appended to.
fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "ndjson" || ending == "log")
}

/// The event of a line in a journal.
fn event_of(line: &str) -> &str {
    line.split_once("\"event\":\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
}

fn shown(call: &Call) -> String {
    call.to_string()
}

/// How many flushes a job made, those of its git among them, and those of its agent not.
fn flushes_of(calls: &[Call]) -> usize {
    let mut agents: BTreeSet<i32> = BTreeSet::new();
    let mut count = 0;
    for call in calls {
        if call.name == "execve" {
            let is_ours = call.path.ends_with("numerus") || call.path.ends_with("git");
            if is_ours && !call.head.contains("__codex") {
                agents.remove(&call.process);
            } else {
                agents.insert(call.process);
            }
        }
        count += usize::from(call.flushes() && !agents.contains(&call.process));
    }
    count
}

/// The order proof.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("order::rules_see_what_is_out_of_order", || {
            rules_see();
            Ok(())
        }),
        traced_trial("order::every_story_is_in_order", every_story),
        traced_trial("order::a_job_takes_few_flushes", || {
            a_job_takes_few_flushes();
            Ok(())
        }),
    ]
}

/// The root and its databases are there already: they are made once.
fn a_job_takes_few_flushes() {
    let scenario = named("run");
    let world = scenario.ready(None);
    assert_eq!(scenario.record(&world).code, Some(0));
    world.drop_job("second.md", "do more", "");
    let traced = scenario.record(&world);
    assert_eq!(traced.code, Some(0), "{}", traced.stderr);
    let flushes = flushes_of(&traced.record);
    eprintln!("one job takes {flushes} flushes");
    assert!((10..=MOST_FLUSHES).contains(&flushes), "one job takes {flushes} flushes");
}

fn every_story() -> Result<(), Failed> {
    for scenario in &ALL {
        let faults = faults_of(scenario, None);
        if !faults.is_empty() {
            return Err(format!("{}:\n  {}", scenario.name, faults.join("\n  ")).into());
        }
    }
    Ok(())
}

/// What is out of order in a scenario.
pub(crate) fn faults_of(scenario: &Scenario, bug: Option<&str>) -> Vec<String> {
    let world = scenario.ready(bug);
    let traced = scenario.record(&world);
    assert!(traced.count > 5, "{}: nothing was seen", scenario.name);
    let word = world.path("traced").join("traced.out");
    let word = (scenario.name == "submit").then_some(word.as_path());
    lint(&traced.record, &world.root(), word)
}

fn rules_see() {
    let at = |name: &'static str, path: &str| Call {
        name,
        path: PathBuf::from(path),
        result: Some(0),
        ..Call::default()
    };
    let onto =
        |from: &str, onto: &str| Call { onto: Some(PathBuf::from(onto)), ..at("renameat2", from) };
    let line = |event: &str| Call {
        head: format!("{{\"seq\":1,\"event\":\"{event}\"}}"),
        ..at("write", "/r/runs/j/events.ndjson")
    };
    let (temp, file) = ("/r/spool/done/.x.tmp", "/r/spool/done/j.md");
    let dropped = "/r/spool/incoming/j.md";
    let journal = || at("fdatasync", "/r/runs/j/events.ndjson");
    let exec = |head: &str| Call { head: head.to_owned(), ..at("execve", "/bin/numerus") };
    let session = || exec("numerus __codex exec -");
    let taken = || onto("/r/spool/incoming/a", "/r/spool/claimed/j.md");
    let tip = || onto("/w/refs/numerus/j/tip.lock", "/w/refs/numerus/j/tip");
    let print = || at("write", "/out");
    let cases: Vec<(Vec<Call>, &str)> = vec![
        (vec![at("write", temp), at("fsync", temp), onto(temp, file)], ""),
        (vec![at("write", temp), onto(temp, file), at("fsync", file)], "before its bytes"),
        (vec![at("fsync", temp), at("write", temp), onto(temp, file)], "before its bytes"),
        (vec![at("write", "/r/runs/j/job.json")], "in place"),
        (vec![at("write", "/r/runs/j/status.json")], "in place"),
        (vec![at("write", "/r/runs/j/t1/last-1.txt")], ""),
        (vec![onto(temp, dropped), print()], "before /r/spool/incoming is flushed"),
        (vec![onto(temp, dropped), at("fsync", "/r/spool/incoming"), print()], ""),
        (vec![print(), onto(temp, dropped)], "before a file lies in incoming"),
        (
            vec![taken(), at("fsync", "/r/spool/claimed"), line("job.claimed")],
            "before /r/spool/inc",
        ),
        (vec![taken(), onto(temp, "/r/spool/keys/k")], "a key before /r/spool/claimed is flushed"),
        (vec![at("mkdir", "/r/spool/done/x"), line("job.claimed")], "before /r/spool/done is"),
        (vec![onto("/r/spool/claimed/j.md", file)], "before job.finished"),
        (
            vec![line("job.finished"), onto("/r/spool/claimed/j.md", file), journal()],
            "before job.f",
        ),
        (vec![line("job.finished"), journal(), onto("/r/spool/claimed/j.md", file)], ""),
        (vec![line("terminal.session_starting"), session(), journal()], "a session starts"),
        (vec![line("terminal.session_starting"), journal(), session()], ""),
        (vec![line("terminal.session_starting"), journal(), session(), session()], "a session"),
        (vec![tip(), line("job.task_landing"), tip(), journal()], "before its intent"),
        (vec![tip(), line("job.task_landing"), journal(), tip()], ""),
        (vec![Call { result: Some(-2), ..onto("/r/spool/claimed/j.md", file) }], ""),
    ];
    for (number, (calls, says)) in cases.into_iter().enumerate() {
        let faults = lint(&calls, Path::new("/r"), Some(Path::new("/out")));
        let is_right = match says {
            "" => faults.is_empty(),
            says => faults.iter().any(|fault| fault.contains(says)),
        };
        assert!(is_right, "case {number}: expected {says:?}, found {faults:?}");
    }
}
