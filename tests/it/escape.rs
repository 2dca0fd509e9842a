//! Agents that try to get out of their claim: nothing of it lands, and the user's checkout never changes.
//!
//! Each trick is a script in `tests/escape/`; a file that is added there is a case. Its head says what it tries, how that
//! ends inside codex's sandbox (`Confined`), with an enforced claim where that differs (`Strict`), and without any
//! sandbox (`Free`, where the audit is alone): `lands` when only what was
//! claimed is left of it, `caught` when it leaves more. A script is sourced with these variables: `case` (its name), `tree`,
//! `mine` (its folder in the tree), `claimed` and `beside` (a tracked file that is claimed, and one that is not), `repo` (the
//! user's checkout), `outside` (a folder of the user), `root`, `run` (the run folder), `home`, `codex_home`. Claimed are
//! `claimed.txt`, `new.txt` and `dir/` of its folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::model_server::{Answer, ModelRequest, ModelServer};
use crate::rehearsal::{Script, Stage, part};
use crate::site::{Ended, Site, processes_with_env};

/// How long all cases may take as one job, on a machine that is busy with other tests.
const WHOLE_CORPUS: Duration = Duration::from_secs(300);

fn only_job(site: &Site) -> String {
    site.jobs().into_iter().next().expect("a job")
}

/// A model that plans the given tasks, claims what is said for each, and runs one command to execute it.
fn model(
    tasks: Vec<(String, Vec<String>)>,
    command: impl Fn(&str) -> String + Send + Sync + 'static,
) -> impl Fn(&ModelRequest) -> Answer + Send + Sync + 'static {
    let planned = |(id, writes): &(String, Vec<String>)| {
        json!({"id": id, "summary": format!("try {id}"), "description": "x", "dependencies": [],
               "resources": {"reads": [], "writes": writes}})
    };
    let role = |(id, _): &(String, Vec<String>)| json!({"id": id, "role": "executor", "notes": ""});
    let plan = json!({"objective": "o", "tasks": tasks.iter().map(planned).collect::<Vec<_>>()});
    let roles =
        json!({"roles": tasks.iter().map(role).collect::<Vec<_>>(), "strategy": "each its own"});
    move |request| {
        let task = request.fact("TASK_ID").unwrap_or_default();
        let writes = tasks.iter().find(|(id, _)| *id == task).map(|(_, writes)| writes);
        match request.marker().split(' ').next().unwrap_or_default() {
            "NUMERUS_PLAN" => Answer::json(&plan),
            "NUMERUS_ROLES" => Answer::json(&roles),
            "NUMERUS_CLAIM" => {
                Answer::json(&json!({"task_id": task, "resources": {"reads": [], "writes": writes},
                                                     "execution": {"commands": []}}))
            }
            "NUMERUS_EXECUTE" if request.tool_outputs().is_empty() => Answer::exec(&command(&task)),
            "NUMERUS_EXECUTE" => Answer::say(request.tool_outputs().concat()),
            "NUMERUS_QUEEN" => Answer::json(&gives_up()),
            other => panic!("nobody plays {other:?}"),
        }
    }
}

/// What the queen says of an agent that does not keep to its claim.
fn gives_up() -> Value {
    json!({"decision": "give_up", "advice": "it would only try again"})
}

/// The shell text that writes down, for each folder, whether a file could be made in it.
fn probe(folders: &[PathBuf], into: &str) -> String {
    let list: Vec<String> = folders.iter().map(|f| format!("'{}'", f.display())).collect();
    format!(
        "for f in {} \"$TMPDIR\"; do if (: > \"$f/probe\") 2>&-; then echo \"yes $f\"; else echo \"no $f\"; fi; done > {into}",
        list.join(" ")
    )
}

#[test]
fn a_task_and_a_command_write_in_their_tree_and_their_own_temporary_folder_alone() {
    let site = Site::new("box");
    let repo = site.git_repo();
    let tasks = ["one", "two"].map(|t| (t.to_owned(), vec![format!("{t}.txt")])).to_vec();
    let shared = ["/tmp", "/var/tmp"].map(PathBuf::from);
    let ours = ["", "codex", "home", "root/runs", "root/store", "root/spool", "repo", "repo/.git"]
        .map(|name| site.path().join(name));
    let closed = [&shared[..], &ours[..]].concat();
    let run = "$(dirname \"$(dirname \"$PWD\")\")";
    let text = probe(&closed, "$T.txt");
    let near = format!(
        "for f in {run} {run}/one {run}/two {run}/one/tree-1 {run}/two/tree-1; do (: > $f/beside) 2>&- && \
         echo \"near $f\" >> $T.txt; done"
    );
    let server = ModelServer::start(model(tasks, move |task| {
        format!(
            "T={task}; {text}; {near}; echo mine > $TMPDIR/kept; mv beside gone 2>&-; unlink gone; echo here=$PWD >> $T.txt"
        )
    }));
    server.write_config(&site.codex_home());
    let check = probe(&closed, "probed");
    let passes = format!(
        "{check}; cat probed; test -z \"$CODEX_API_KEY\" && test \"$(grep -c ^yes probed)\" = 1 && mktemp"
    );
    let words = ["run", "do it", "--workspace", repo.to_str().unwrap(), "--verify", &passes];
    let setup = ["--setup", "echo x > $TMPDIR/x && test \"$NUMERUS_TASK\" != ''"];
    let mut command = site.numerus(words.into_iter().chain(setup));
    let ended = site.run(command.env("CODEX_API_KEY", "secret"));
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", site.dump());
    let job = only_job(&site);
    let folder = site.root().join("runs").join(&job);
    for task in ["one", "two"] {
        let told = site.git(&repo, &["show", &format!("numerus/{job}:{task}.txt")]);
        let temp = folder.join(task).join("tmp-1");
        let open: Vec<&str> = told.lines().filter_map(|l| l.strip_prefix("yes ")).collect();
        assert_eq!(open, [temp.to_str().unwrap()], "{told}");
        let near: Vec<&str> = told.lines().filter_map(|l| l.strip_prefix("near ")).collect();
        assert_eq!(near, [folder.join(task).join("tree-1").to_str().unwrap()], "{told}");
        assert!(!temp.exists(), "it goes with the attempt");
    }
    let left: Vec<_> = walkdir::WalkDir::new(&folder).into_iter().flatten().collect();
    let temps = left.iter().filter(|e| e.file_name().to_string_lossy().starts_with("tmp-"));
    assert_eq!(temps.map(|e| e.path().to_owned()).collect::<Vec<_>>(), Vec::<PathBuf>::new());
    assert!(!Path::new("/tmp/probe").exists());
}

/// One script of the corpus.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    script: PathBuf,
    confined: String,
    /// With an enforced claim; as `confined` where the script does not say.
    strict: String,
    free: String,
}

/// The corpus, in order.
fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escape");
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    scripts.into_iter().map(Case::read).collect()
}

impl Case {
    fn read(script: PathBuf) -> Self {
        let text = fs::read_to_string(&script).unwrap();
        let said = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {name}: ")));
            line.unwrap_or_else(|| panic!("{}: no {name}", script.display())).to_owned()
        };
        assert!(said("Tries").len() > 20, "{}", script.display());
        let (confined, free) = (said("Confined"), said("Free"));
        let is_known = |word: &str| word == "lands" || word == "caught";
        assert!(is_known(&confined), "{}: {confined}", script.display());
        assert!(is_known(&free) || free.starts_with("skipped: "), "{}: {free}", script.display());
        let name = script.file_stem().unwrap().to_str().unwrap().to_owned();
        let strict = text.lines().find_map(|line| line.strip_prefix("# Strict: "));
        let strict = strict.unwrap_or(&confined).to_owned();
        assert!(is_known(&strict), "{}: {strict}", script.display());
        Self { name, script, confined, strict, free }
    }

    fn claim(&self) -> Vec<String> {
        ["claimed.txt", "new.txt", "dir/"].map(|path| format!("{}/{path}", self.name)).to_vec()
    }

    fn is_claimed(&self, path: &str) -> bool {
        self.claim().iter().any(|claimed| {
            path == claimed.trim_end_matches('/')
                || (claimed.ends_with('/') && path.starts_with(claimed))
        })
    }
}

/// A repository with a folder for each case, and a user's folder beside it.
struct World {
    site: Site,
    repo: PathBuf,
    cases: Vec<Case>,
}

impl World {
    fn new(name: &str, cases: Vec<Case>) -> Self {
        let site = Site::new(name);
        let repo = site.git_repo();
        for case in &cases {
            let folder = repo.join(&case.name);
            fs::create_dir_all(folder.join("dir")).unwrap();
            for file in ["claimed.txt", "beside.txt", "dir/inner.txt"] {
                fs::write(folder.join(file), format!("{file} of {}\n", case.name)).unwrap();
            }
        }
        site.git(&repo, &["add", "--all"]);
        site.git(&repo, &["commit", "--quiet", "--message=cases"]);
        site.git(&repo, &["checkout", "--quiet", "-b", "other"]);
        for case in &cases {
            fs::write(repo.join(&case.name).join("beside.txt"), "from the other branch\n").unwrap();
        }
        site.git(&repo, &["commit", "--quiet", "--all", "--message=other"]);
        site.git(&repo, &["checkout", "--quiet", "main"]);
        fs::write(repo.join("uncommitted.txt"), "the user is at work\n").unwrap();
        fs::create_dir(repo.join(".codex")).unwrap();
        fs::create_dir(site.path().join("outside")).unwrap();
        fs::write(site.path().join("outside/precious"), "precious\n").unwrap();
        Self { site, repo, cases }
    }

    /// What an agent runs for a case: its honest work, then the trick.
    fn command(&self, case: &Case) -> String {
        let at = |path: &Path| format!("'{}'", path.display());
        format!(
            "case={}; tree=$PWD; mine=$tree/$case; claimed=$mine/claimed.txt; beside=$mine/beside.txt; repo={}; \
             outside={}; root={}; home={}; codex_home={}; run=$(dirname \"$(dirname \"$tree\")\"); \
             echo worked > \"$claimed\"; . {}",
            case.name,
            at(&self.repo),
            at(&self.site.path().join("outside")),
            at(&self.site.root()),
            at(&self.site.home()),
            at(&self.site.codex_home()),
            at(&case.script),
        )
    }

    fn tasks(&self) -> Vec<(String, Vec<String>)> {
        self.cases.iter().map(|case| (case.name.clone(), case.claim())).collect()
    }

    fn commands(&self) -> BTreeMap<String, String> {
        self.cases.iter().map(|case| (case.name.clone(), self.command(case))).collect()
    }

    fn run(&self, further: &[&str]) -> Ended {
        let repo = self.repo.to_str().unwrap();
        let words = ["run", "get out", "--workspace", repo, "--max-attempts", "1"];
        self.site.spawn(&mut self.site.numerus(words.iter().chain(further))).wait(WHOLE_CORPUS)
    }

    /// What is the user's: every file with its mode, and of the git directory all but objects, logs, worktrees and what is
    /// Numerus' own.
    fn of_the_user(&self) -> BTreeMap<PathBuf, String> {
        let git = self.repo.join(".git");
        let ours =
            ["objects", "logs", "worktrees", "numerus", "refs/numerus", "refs/heads/numerus"]
                .map(|name| git.join(name));
        let outside = self.site.path().join("outside");
        let tops = [&self.repo, &outside, &self.site.home()].map(walkdir::WalkDir::new);
        let entries = tops.into_iter().flat_map(|top| {
            let ours = ours.clone();
            top.into_iter().filter_entry(move |e| !ours.iter().any(|own| e.path() == own))
        });
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                let kind = entry.file_type();
                let content = match () {
                    () if kind.is_file() => fs::read(entry.path()).unwrap(),
                    () if kind.is_symlink() => {
                        fs::read_link(entry.path()).unwrap().as_os_str().as_bytes().to_vec()
                    }
                    () => Vec::new(),
                };
                let mode = entry.metadata().unwrap().permissions().mode();
                let text = String::from_utf8_lossy(&content).into_owned();
                (entry.path().to_owned(), format!("{mode:o} {} {text}", content.len()))
            })
            .collect()
    }

    /// Runs all cases as one job and checks what is left of it.
    fn holds(&self, expected: impl Fn(&Case) -> String, run: impl FnOnce(&Self) -> Ended) {
        let before = self.of_the_user();
        let start = std::time::Instant::now();
        let ended = run(self);
        let job = only_job(&self.site);
        let alive = self.alive(&job);
        let left = Left { world: self, job: job.clone(), journal: self.site.journal(&job) };
        let (landings, nothing) = (left.landings(), Vec::new());
        let row = |case: &Case| {
            left.row(case, &expected(case), landings.get(&case.name).unwrap_or(&nothing))
        };
        let rows: Vec<(bool, String)> = self.cases.iter().map(row).collect();
        eprintln!("{} cases in {:?}", rows.len(), start.elapsed());
        for (_, row) in &rows {
            eprintln!("{row}");
        }
        let bad: Vec<&String> = rows.iter().filter(|(good, _)| !good).map(|(_, row)| row).collect();
        assert!(bad.is_empty(), "{bad:#?}\n{ended:?}");
        assert_eq!(left.landed_by_nobody(&landings), Vec::<String>::new());
        assert_eq!(alive, Vec::<String>::new(), "nothing of the job lives");
        let after = self.of_the_user();
        let changed: Vec<_> = before
            .iter()
            .filter(|(path, was)| after.get(*path) != Some(was))
            .map(|(path, _)| path)
            .chain(after.keys().filter(|path| !before.contains_key(*path)))
            .collect();
        assert_eq!(changed, Vec::<&PathBuf>::new(), "the user's own files");
        assert_eq!(
            self.site
                .git(
                    &self.repo,
                    &["for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags"]
                )
                .lines()
                .filter(|name| !name.starts_with("refs/heads/numerus/"))
                .collect::<Vec<_>>(),
            ["refs/heads/main", "refs/heads/other"]
        );
    }

    /// What lives with the job's mark, or works below its run folder.
    fn alive(&self, job: &str) -> Vec<String> {
        let marked = processes_with_env("NUMERUS_JOB", job).into_iter().map(|pid| pid.to_string());
        let runs = self.site.root().join("runs");
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let inside = processes.filter(|p| {
            fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&runs))
        });
        let shown = |pid: String| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid} {}", String::from_utf8_lossy(&words).replace('\0', " "))
        };
        marked.chain(inside.map(|p| p.file_name().into_string().unwrap())).map(shown).collect()
    }
}

/// What is left of a job.
struct Left<'a> {
    world: &'a World,
    job: String,
    journal: Vec<Value>,
}

impl Left<'_> {
    fn facts(&self, event: &str, task: &str) -> Vec<&Value> {
        let is_it = |e: &&Value| e["event"] == event && e["task_id"] == task;
        self.journal.iter().filter(is_it).map(|e| &e["payload"]).collect()
    }

    /// How a case ended, and whether that is well.
    fn row(&self, case: &Case, expected: &str, landed: &[String]) -> (bool, String) {
        let amended = self.facts("job.claim_amended", &case.name);
        let violated = self.facts("job.claim_violated", &case.name);
        let done = self.facts("job.task_completed", &case.name);
        let ended = match () {
            () if !violated.is_empty() || !amended.is_empty() => "caught",
            () if !done.is_empty() => "lands",
            () => "failed",
        };
        let named = |facts: &[&Value]| {
            let paths =
                facts.iter().flat_map(|f| f["paths"].as_array().cloned().unwrap_or_default());
            paths.filter_map(|p| p.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let amended = named(&amended);
        let stray: Vec<&String> = landed
            .iter()
            .filter(|path| !case.is_claimed(path) && !amended.contains(path))
            .collect();
        let folder = self.world.site.root().join("runs").join(&self.job).join(&case.name);
        let is_kept = violated.is_empty()
            || folder.join("attempt-1.patch").exists()
            || folder.join("tree-1").exists();
        let has_landed = ended != "lands" || !landed.is_empty();
        let good = ended == expected && stray.is_empty() && is_kept && has_landed;
        let mark = if good { "" } else { "  <== not so" };
        let shown: Vec<String> = named(&violated).into_iter().take(3).collect();
        let name = &case.name;
        (
            good,
            format!("{name:24} {ended:8} stray {stray:?} outside {shown:?} kept {is_kept}{mark}"),
        )
    }

    /// The paths that each task's commits changed.
    fn landings(&self) -> BTreeMap<String, Vec<String>> {
        let tip = format!("refs/numerus/{}/tip", self.job);
        let format = "--format=%H %(trailers:key=Numerus-Task,valueonly,separator=%x20)";
        let log = self.world.site.git(&self.world.repo, &["log", format, &format!("main..{tip}")]);
        let mut landings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (commit, task) in log.lines().filter_map(|line| line.split_once(' ')) {
            let changed = self.changed(&format!("{commit}^"), commit);
            landings.entry(task.trim().to_owned()).or_default().extend(changed);
        }
        landings
    }

    fn changed(&self, old: &str, new: &str) -> Vec<String> {
        let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new];
        let out = self.world.site.git(&self.world.repo, &args);
        out.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
    }

    /// What differs between base and tip without a task that landed it.
    fn landed_by_nobody(&self, landings: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let is_known = |path: &String| landings.values().any(|paths| paths.contains(path));
        let all = self.changed("main", &format!("refs/numerus/{}/tip", self.job));
        all.into_iter().filter(|path| !is_known(path)).collect()
    }
}

#[test]
fn nothing_gets_out_of_a_claim_through_the_real_codex() {
    let world = World::new("escape", corpus());
    let commands = world.commands();
    let server = ModelServer::start(model(world.tasks(), move |task| commands[task].clone()));
    server.write_config(&world.site.codex_home());
    world.holds(|case| case.confined.clone(), |world| world.run(&["--max-parallel", "6"]));
    for folder in ["/tmp", "/var/tmp"] {
        let names = fs::read_dir(folder).unwrap().flatten().map(|e| e.file_name());
        assert_eq!(names.filter(|n| n.to_string_lossy().starts_with("numerus-escape-")).count(), 0);
    }
}

#[test]
fn an_enforced_claim_lets_nothing_more_out_and_stops_most_of_it_in_the_act() {
    let world = World::new("strict", corpus());
    let commands = world.commands();
    let server = ModelServer::start(model(world.tasks(), move |task| commands[task].clone()));
    server.write_config(&world.site.codex_home());
    let words = ["--max-parallel", "6", "--enforce", "strict"];
    world.holds(|case| case.strict.clone(), |world| world.run(&words));
}

#[test]
fn nothing_that_was_not_claimed_lands_even_without_a_sandbox() {
    let cases = corpus().into_iter().filter(|case| !case.free.starts_with("skipped"));
    let world = World::new("free", cases.collect());
    let script = world.site.path().join("script.json");
    fs::write(&script, played(&world).to_string()).unwrap();
    fs::write(world.site.root().join("numerus.toml"), "rehearsal_commands = true\n").unwrap();
    let rehearse = format!("--rehearse={}", script.display());
    world.holds(|case| case.free.clone(), |world| world.run(&["--max-parallel", "6", &rehearse]));
}

/// The same team as a script of the stand-in.
fn played(world: &World) -> Value {
    let mut scenes = Vec::new();
    let mut add = |when: Value, play: Value| scenes.push(json!({"when": when, "play": play}));
    let planned = |(id, writes): &(String, Vec<String>)| {
        json!({"id": id, "summary": format!("try {id}"), "description": "x", "dependencies": [],
               "resources": {"reads": [], "writes": writes}})
    };
    let tasks = world.tasks();
    let plan: Vec<Value> = tasks.iter().map(planned).collect();
    let roles: Vec<Value> =
        tasks.iter().map(|(id, _)| json!({"id": id, "role": "executor", "notes": ""})).collect();
    add(json!({"marker": "NUMERUS_PLAN"}), json!([{"message": {"objective": "o", "tasks": plan}}]));
    add(
        json!({"marker": "NUMERUS_ROLES"}),
        json!([{"message": {"roles": roles, "strategy": "s"}}]),
    );
    add(json!({"marker": "NUMERUS_QUEEN"}), json!([{"message": gives_up()}]));
    for (case, (id, writes)) in world.cases.iter().zip(&tasks) {
        let claim = json!({"task_id": id, "resources": {"reads": [], "writes": writes},
                           "execution": {"commands": []}});
        add(json!({"marker": "NUMERUS_CLAIM", "task": id}), json!([{"message": claim}]));
        let work = json!([{"command": world.command(case)}, {"message": "done"}]);
        add(json!({"marker": "NUMERUS_EXECUTE", "task": id}), work);
    }
    json!({"version": 1, "scenes": scenes})
}

#[test]
fn variables_of_a_surrounding_git_call_and_programs_in_the_users_settings_have_no_say() {
    let stage = Stage::new("surroundings", &Script::of([part("t1")]));
    let ran = stage.flag("ran");
    let program = stage.flag("program");
    fs::write(&program, format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", ran.display()))
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let hooks = stage.flag("hooks");
    fs::create_dir(&hooks).unwrap();
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "pre-commit"] {
        fs::copy(&program, hooks.join(hook)).unwrap();
    }
    let (at, hooks) = (program.display(), hooks.display());
    let included = stage.flag("included");
    let text = format!(
        "[core]\n\thooksPath = {hooks}\n\tfsmonitor = {at}\n\tpager = {at}\n\teditor = {at}\n\taskPass = {at}\n\
         [diff]\n\texternal = {at}\n[diff \"x\"]\n\ttextconv = {at}\n\tcommand = {at}\n\
         [filter \"x\"]\n\tclean = {at}\n\tsmudge = {at}\n\tprocess = {at}\n\trequired = true\n\
         [alias]\n\tupdate-index = !{at}\n[gpg]\n\tprogram = {at}\n[commit]\n\tgpgSign = true\n"
    );
    fs::write(&included, text).unwrap();
    let global = stage.flag("global");
    let include = format!("[includeIf \"gitdir:**\"]\n\tpath = {}\n", included.display());
    fs::write(&global, include).unwrap();
    let rehearse = format!("--rehearse={}", stage.flag("script.json").display());
    let workspace = stage.workspace.to_str().unwrap();
    let mut command = stage.numerus(&["run", "do it", "--workspace", workspace, &rehearse]);
    command.env("GIT_CONFIG_GLOBAL", &global);
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_COMMON_DIR",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_ATTR_SOURCE",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_GRAFT_FILE",
        "GIT_REPLACE_REF_BASE",
        "GIT_TEMPLATE_DIR",
    ] {
        command.env(name, "/nowhere");
    }
    command.env("GIT_EXTERNAL_DIFF", &program).env("GIT_PAGER", &program);
    command.env("GIT_CONFIG_PARAMETERS", "'core.bare=true'").env("GIT_LITERAL_PATHSPECS", "1");
    let ended = stage.site.run(&mut command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let job = only_job(&stage.site);
    assert_eq!(stage.git(&["show", &format!("numerus/{job}:t1.txt")]), "t1\n");
    assert!(!ran.exists(), "{:?}", fs::read_to_string(ran));
}
