//! What must hold of a world at rest, whatever happened to it: each broken promise is a sentence. Looked at from outside, with
//! own eyes: folders, journals line by line, git.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::world::{World, command_line, names};

/// The folders that hold files of jobs that have ended.
const ENDS: [(&str, &str); 3] = [("done", "succeeded"), ("failed", "failed"), ("killed", "killed")];

/// A file that was accepted: `submit` has returned 0, or it lay whole in `incoming/`.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    /// The beginning of the job's id, up to and without its tail: the slug of the file's stem.
    pub(crate) slug: String,
    /// The folders it may end in, such as `done`.
    pub(crate) ends: &'static [&'static str],
}

/// Everything that is wrong with a world in which nothing is left to do. Jobs nobody has accepted for certain may be there
/// too, whole.
pub(crate) fn broken(world: &World, accepted: &[Accepted]) -> Vec<String> {
    let mut faults = Vec::new();
    for one in accepted {
        faults.extend(of_accepted(world, one));
    }
    for job in world.jobs() {
        faults.extend(of_job(world, &job).into_iter().map(|fault| format!("{job}: {fault}")));
    }
    faults.extend(of_spool(world));
    faults.extend(of_files(world));
    for pid in world.processes() {
        faults.push(format!("process {pid} still lives: {}", command_line(pid)));
    }
    faults
}

fn of_accepted(world: &World, one: &Accepted) -> Vec<String> {
    let mut found = Vec::new();
    for place in ["incoming", "claimed", "done", "failed", "killed", "rejected"] {
        let of_slug = |name: &String| {
            name.strip_prefix(&one.slug).is_some_and(|rest| rest.starts_with(['-', '.']))
                && !name.ends_with(".reason.json")
        };
        found.extend(names(&world.folder(place)).into_iter().filter(of_slug).map(|_| place));
    }
    let copies = world.root().join("store/pruned");
    let is_removed = |job: &String| {
        job.strip_prefix(&one.slug).is_some_and(|rest| rest.starts_with('-'))
            && copies.join(job).join("job.json").is_file()
    };
    found.extend(names(&copies).into_iter().filter(is_removed).map(|_| "pruned"));
    match found.as_slice() {
        [] => vec![format!("lost: {} is nowhere", one.slug)],
        [place] if one.ends.contains(place) => Vec::new(),
        [place] => vec![format!("{} lies in {place}, expected {:?}", one.slug, one.ends)],
        several => vec![format!("doubled: {} lies in {several:?}", one.slug)],
    }
}

/// One job: its journal, its status, its file's place, and what it landed.
fn of_job(world: &World, job: &str) -> Vec<String> {
    let dir = world.root().join("runs").join(job);
    let journal = lines(&dir.join("events.ndjson"));
    let mut faults = of_journal(&journal);
    let end = journal.iter().find(|line| line["event"] == "job.finished");
    let state = end.and_then(|end| end["payload"]["state"].as_str()).unwrap_or("open");
    let places: Vec<&str> = ["claimed", "done", "failed", "killed"]
        .into_iter()
        .filter(|place| names(&world.folder(place)).iter().any(|name| stem(name) == job))
        .collect();
    let expected = ENDS.iter().find(|(_, end)| *end == state).map_or("claimed", |(place, _)| place);
    if places != [expected] {
        faults.push(format!("its journal says {state}, its file lies in {places:?}"));
    }
    match fs::read(dir.join("status.json")).map(|bytes| serde_json::from_slice::<Value>(&bytes)) {
        Ok(Ok(status)) if end.is_some() && status["state"] != state => {
            faults.push(format!("its status says {}, its journal {state}", status["state"]));
        }
        Ok(Ok(_)) => {}
        other => faults.push(format!("its status.json is torn or missing: {other:?}")),
    }
    if state == "succeeded" {
        faults.extend(of_result(world, &dir, job, &journal));
    }
    faults
}

/// Facts that contradict each other.
fn of_journal(journal: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut completed: BTreeMap<String, u64> = BTreeMap::new();
    let (mut finished, mut expected) = (0, 1);
    for line in journal {
        let seq = line["seq"].as_u64().unwrap_or_default();
        if seq != expected {
            faults.push(format!("its journal goes from seq {} to {seq}", expected - 1));
        }
        expected = seq + 1;
        let task = line["task_id"].as_str().unwrap_or_default().to_owned();
        let event = line["event"].as_str().unwrap_or_default();
        match event {
            "job.finished" => finished += 1,
            "job.task_completed" => *completed.entry(task).or_default() += 1,
            "terminal.session_starting" if completed.contains_key(&task) => {
                faults.push(format!("{task} runs again after it was completed"));
            }
            _ if finished > 0 => faults.push(format!("{event} after the job's end")),
            _ => {}
        }
    }
    if finished > 1 {
        faults.push(format!("it ended {finished} times"));
    }
    faults.extend(
        completed.iter().filter(|(_, n)| **n > 1).map(|(t, n)| format!("{t} completed {n} times")),
    );
    faults
}

/// What a job that ended well has landed: each task that wrote is one commit, and each file has its line once.
fn of_result(world: &World, dir: &Path, job: &str, journal: &[Value]) -> Vec<String> {
    let status: Value = fs::read(dir.join("status.json"))
        .ok()
        .and_then(|b| serde_json::from_slice(&b).ok())
        .unwrap_or_default();
    let (Some(workspace), Some(branch)) = (status["workspace"].as_str(), status["branch"].as_str())
    else {
        return vec![format!("it succeeded without a branch: {status}")];
    };
    let workspace = Path::new(workspace);
    let format = "--format=%(trailers:key=Numerus-Job,valueonly,separator=)/%(trailers:key=Numerus-Task,valueonly,separator=)";
    let Some(log) = world.git(workspace, &["log", format, branch]) else {
        return vec![format!("its branch {branch} cannot be read")];
    };
    let mut faults = Vec::new();
    let landed = journal
        .iter()
        .filter(|l| l["event"] == "job.task_completed" && l["payload"]["commit"].is_string());
    for task in landed.filter_map(|line| line["task_id"].as_str()) {
        let commits = log.lines().filter(|line| *line == format!("{job}/{task}")).count();
        if commits != 1 {
            faults.push(format!("{task} has {commits} commits on {branch}"));
        }
        let objective = journal_objective(dir);
        let file = if ["one", "two"].contains(&task) {
            format!("{task}.txt")
        } else if objective.contains(" solo") {
            format!("{objective}.txt")
        } else {
            "out.txt".to_owned()
        };
        let text = world.git(workspace, &["show", &format!("{branch}:{file}")]).unwrap_or_default();
        let count = text.lines().filter(|line| *line == objective).count();
        // The same session goes on in the same tree when it was cut, and the stand-in does not look what is there.
        let again = |l: &&Value| l["event"] == "terminal.session_retried" && l["task_id"] == task;
        let is_too_few = count == 0 && !could_not_write(&dir.join(task));
        if is_too_few || count > 1 + journal.iter().filter(again).count() {
            faults.push(format!("{file} has its line {count} times: {text:?}"));
        }
    }
    faults
}

/// Whether the agent of a task has said that it could not write, as on a full disk: then its work is worth what it did.
fn could_not_write(task: &Path) -> bool {
    let logs = names(task).into_iter().filter(|name| name.starts_with("stdout.log"));
    let texts = logs.map(|name| fs::read(task.join(name)).unwrap_or_default());
    texts.into_iter().any(|text| {
        lines_of(&text)
            .any(|line| line["item"]["type"] == "file_change" && line["item"]["status"] == "failed")
    })
}

fn journal_objective(dir: &Path) -> String {
    fs::read_to_string(dir.join("objective.md")).unwrap_or_default().trim().to_owned()
}

/// Nothing is under way, every rejected file has its reason, and no removal is left half done.
fn of_spool(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    for dir in ["runs", "store/pruned"] {
        let entries = fs::read_dir(world.root().join(dir)).into_iter().flatten().flatten();
        for name in entries.map(|e| e.file_name().to_string_lossy().into_owned()) {
            if name.starts_with(".pruning-")
                || (dir != "runs" && name.starts_with('.') && name != ".lock")
            {
                faults.push(format!("a removal is half done: {dir}/{name}"));
            }
        }
    }
    let rejected = names(&world.folder("rejected"));
    for name in rejected.iter().filter(|name| !name.ends_with(".reason.json")) {
        if !rejected.contains(&format!("{name}.reason.json")) {
            faults.push(format!("rejected/{name} has no reason"));
        }
    }
    let mut files: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for place in ["claimed", "done", "failed", "killed"] {
        for name in names(&world.folder(place)) {
            files.entry(stem(&name).to_owned()).or_default().push(place);
        }
    }
    for (job, places) in files {
        if places.len() != 1 {
            faults.push(format!("{job} lies in {places:?}"));
        }
        let run = world.root().join("runs").join(&job);
        let is_withdrawn = places == ["killed"] && !run.exists();
        if !is_withdrawn && !run.join("job.json").is_file() {
            faults.push(format!("{job} has no run folder"));
        }
    }
    faults
}

/// No file of ours is torn, and nothing half-made is left behind.
fn of_files(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let inside = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        // What a killed `submit` left unfinished in `spool/tmp/` is nobody's.
        let is_ours = entry.path() != world.root().join("spool/tmp");
        is_ours
            && name != ".git"
            && !name.starts_with("tree-")
            && name != "workspace"
            && name != "rehearsal"
    };
    let tree = walkdir::WalkDir::new(world.root()).into_iter().filter_entry(inside);
    for entry in tree.filter_map(Result::ok).filter(|e| e.file_type().is_file()) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy());
        let shown = path.strip_prefix(world.root()).unwrap_or(path).display().to_string();
        if name.starts_with('.') && name.ends_with(".tmp") && !is_shared(path.parent()) {
            faults.push(format!("an unfinished file is left: {shown}"));
        }
        if name.ends_with(".json") {
            let bytes = fs::read(path).unwrap_or_default();
            if serde_json::from_slice::<Value>(&bytes).is_err() {
                faults.push(format!("torn: {shown} has {} bytes", bytes.len()));
            }
        }
        if name.ends_with(".log") || name.ends_with(".ndjson") {
            let bytes = fs::read(path).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains("panicked at") {
                faults.push(format!("a panic stands in {shown}"));
            }
        }
    }
    faults
}

/// Whether anybody writes in a folder who submits, takes or makes the root: what is left there is cleared away once it is
/// old.
fn is_shared(folder: Option<&Path>) -> bool {
    let spool = ["root/spool/tmp", "root/spool", "root/spool/rejected", "root/spool/keys"];
    let shared = spool.into_iter().chain(["root/runs", "root/store"]);
    folder.is_some_and(|folder| shared.into_iter().any(|one| folder.ends_with(one)))
}

/// The whole lines of a journal; one that was torn by a death is closed and passed over.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    lines_of(&fs::read(path).unwrap_or_default()).collect()
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = Value> + '_ {
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Shows that a sound world breaks no promise, and that each kind of damage is seen.
pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("promises::each_kind_of_damage_is_seen", || {
        each_kind_of_damage_is_seen();
        Ok(())
    })]
}

fn each_kind_of_damage_is_seen() {
    let world = World::new();
    world.drop_job("a.md", "do a", "");
    world.drop_file("bad.md", "---\nnonsense: 1\n---\nx\n");
    let ended = world.ask(&["daemon", "--once"]);
    assert_eq!(ended.code, Some(2), "a file was rejected: {ended:?}");
    let accepted = |slug: &str, ends| Accepted { slug: slug.into(), ends };
    let sound = [accepted("a", &["done"][..]), accepted("bad", &["rejected"][..])];
    assert_eq!(broken(&world, &sound), [""; 0]);
    assert!(broken(&world, &[accepted("b", &["done"])])[0].contains("lost"));
    assert!(broken(&world, &[accepted("a", &["failed"])])[0].contains("expected"));
    let job = world.jobs().remove(0);
    let run = world.root().join("runs").join(&job);
    let file = format!("{job}.md");
    let damages: [(&str, &dyn Fn()); 5] = [
        ("doubled", &|| fs::write(world.folder("failed").join(&file), "x").unwrap()),
        ("after the job's end", &|| append(&run, r#"{"seq":SEQ,"event":"job.paused"}"#)),
        ("ended 2 times", &|| {
            append(&run, r#"{"seq":SEQ,"event":"job.finished","payload":{"state":"succeeded"}}"#);
        }),
        ("torn", &|| fs::write(run.join("plan.json"), "").unwrap()),
        ("unfinished", &|| fs::write(run.join(".x.tmp"), "").unwrap()),
    ];
    for (says, damage) in damages {
        damage();
        let faults = broken(&world, &sound);
        assert!(faults.iter().any(|fault| fault.contains(says)), "{says}: {faults:?}");
    }
}

fn append(run: &Path, line: &str) {
    let path = run.join("events.ndjson");
    let next = lines(&path).len() + 1;
    let text = fs::read_to_string(&path).unwrap() + &line.replace("SEQ", &next.to_string()) + "\n";
    fs::write(path, text).unwrap();
}
