//! Enforced claims: what was not claimed is refused while it is written, by the real codex's sandbox as by the stand-in, and
//! what was claimed lands.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model_server::{Answer, ModelRequest, ModelServer};
use crate::rehearsal::{Script, Stage, part};
use crate::site::{Ended, Site};

/// A single task on the real codex: what it claims, and the tool calls that it makes one after the other.
struct Play {
    site: Site,
    ended: Ended,
    job: String,
    /// What each call answered.
    outputs: Vec<String>,
}

impl Play {
    fn of(name: &str, enforce: &str, claim: &[String], calls: Vec<Answer>) -> Self {
        let site = Site::new(name);
        let repo = site.git_repo();
        for file in ["lib/one.txt", "lib/two.txt", "lib/sub/deep.txt", "src/b.txt"] {
            fs::create_dir_all(repo.join(file).parent().unwrap()).unwrap();
            fs::write(repo.join(file), "old\n").unwrap();
        }
        for n in 0..20 {
            fs::create_dir_all(repo.join(format!("d{n}"))).unwrap();
            fs::write(repo.join(format!("d{n}/f.txt")), "old\n").unwrap();
        }
        site.git(&repo, &["add", "--all"]);
        site.git(&repo, &["commit", "--quiet", "--message=more"]);
        let (claim, steps) = (json!(claim), calls.len());
        let server = ModelServer::start(move |request| answer(request, &claim, &calls));
        server.write_config(&site.codex_home());
        // What the user prefers elsewhere opens nothing here.
        let config = site.codex_home().join("config.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("sandbox_mode = \"danger-full-access\"\n{text}")).unwrap();
        let repo = repo.to_str().unwrap();
        let words = ["run", "do it", "--workspace", repo, "--plan", "single", "--no-amend"];
        let words = words.into_iter().chain(["--max-attempts", "1", "--enforce", enforce]);
        let ended = site.run(&mut site.numerus(words));
        let job = site.jobs().into_iter().next().expect("a job");
        let told =
            server.requests().iter().map(ModelRequest::tool_outputs).find(|o| o.len() == steps);
        let outputs = told.unwrap_or_else(|| panic!("{ended:?}\n{}", site.dump()));
        Self { site, ended, job, outputs }
    }

    /// A file of the job's branch; `None` when there is none.
    fn landed(&self, path: &str) -> Option<String> {
        let shown = format!("numerus/{}:{path}", self.job);
        let repo = self.site.path().join("repo");
        let ended =
            self.site.run(self.site.command("git").arg("-C").arg(repo).args(["show", &shown]));
        (ended.code == Some(0)).then_some(ended.stdout)
    }

    /// The start of the execution, as the journal has it.
    fn start(&self) -> Value {
        let journal = self.site.journal(&self.job);
        let of = |event: &&Value| event["payload"]["kind"] == "execute";
        let found = journal.iter().filter(of).find(|e| e["event"] == "terminal.session_starting");
        found.expect("an execution").clone()
    }

    /// How long the execution took.
    fn took(&self) -> Duration {
        let journal = self.site.journal(&self.job);
        let ended = journal
            .iter()
            .rfind(|e| e["event"] == "terminal.session_ended" && e["payload"]["kind"] == "execute");
        let at = |event: &Value| event["ts"].as_str().unwrap().parse::<Timestamp>().unwrap();
        at(ended.expect("its end")).duration_since(at(&self.start())).unsigned_abs()
    }
}

fn answer(request: &ModelRequest, claim: &Value, calls: &[Answer]) -> Answer {
    match request.marker().split(' ').next().unwrap_or_default() {
        "NUMERUS_CLAIM" => Answer::json(&json!({
            "task_id": request.fact("TASK_ID"), "resources": {"reads": [], "writes": claim},
            "execution": {"commands": []},
        })),
        "NUMERUS_EXECUTE" => {
            let done = request.tool_outputs().len();
            calls.get(done).cloned().unwrap_or_else(|| Answer::say("done"))
        }
        _ => Answer::json(&json!({"decision": "give_up", "advice": ""})),
    }
}

fn claim(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

/// Writes to each path, and says for each whether that went.
fn try_to_write(paths: &[&str]) -> Answer {
    let list = paths.join(" ");
    Answer::exec(&format!(
        "for f in {list} \"$TMPDIR/x\"; do if echo mine > $f; then echo \"yes ${{f##*/}}\"; else echo \"no ${{f##*/}}\"; fi; done"
    ))
}

fn patch(lines: &str) -> Answer {
    Answer::patch(&format!("*** Begin Patch\n{lines}\n*** End Patch\n"))
}

fn says(output: &str, word: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_prefix(word)).map(|l| l.trim().to_owned()).collect()
}

#[test]
fn an_unclaimed_write_is_refused_while_it_happens_and_the_claimed_file_lands() {
    let play = Play::of(
        "enforce-file",
        "strict",
        &claim(&["src/a.txt"]),
        vec![
            try_to_write(&["src/a.txt", "src/b.txt", "README", "src/new.txt", "top.txt"]),
            patch("*** Update File: README\n@@\n-hello\n+bye"),
            patch("*** Add File: src/more.txt\n+more"),
            patch("*** Update File: src/a.txt\n@@\n-mine\n+patched"),
            Answer::exec("unlink src/a.txt; mv src gone; echo mine > .git; git commit -qam x"),
        ],
    );
    let [shell, readme, added, patched, tricks] = play.outputs.as_slice() else { panic!("five") };
    assert_eq!(says(shell, "yes "), ["a.txt", "x"], "{shell}");
    assert_eq!(says(shell, "no "), ["b.txt", "README", "new.txt", "top.txt"], "{shell}");
    assert!(shell.contains("Read-only file system"), "{shell}");
    for refused in [readme, added] {
        assert!(refused.contains("patch rejected"), "{refused}");
    }
    assert!(patched.contains("Success"), "{patched}");
    assert!(tricks.contains("unlink"), "{tricks}");
    assert_eq!(play.ended.code, Some(0), "{:?}\n{}", play.ended, play.site.dump());
    assert_eq!(play.landed("src/a.txt").as_deref(), Some("patched\n"));
    assert_eq!(play.landed("README").as_deref(), Some("hello\n"));
    assert_eq!(play.start()["payload"]["writable"], json!(["src/a.txt"]));
}

#[test]
fn new_files_and_claimed_directories_can_be_written_and_what_lies_beside_them_cannot() {
    let claimed = claim(&["src/new.txt", "lib/", "made/deep/x.txt"]);
    let play = Play::of(
        "enforce-new",
        "strict",
        &claimed,
        vec![
            try_to_write(&[
                "src/new.txt",
                "lib/one.txt",
                "src/a.txt",
                "README",
                "d1/f.txt",
                "d1/new",
            ]),
            Answer::exec(
                "mkdir -p made/deep && echo x > made/deep/x.txt && mv lib/one.txt lib/three.txt && unlink lib/two.txt && \
             echo again > src/tmp && mv src/tmp src/new.txt && echo all-went",
            ),
            patch("*** Update File: src/b.txt\n@@\n-old\n+new"),
            patch("*** Add File: lib/added.txt\n+added"),
            patch("*** Update File: src/new.txt\n@@\n-again\n+patched"),
        ],
    );
    let [shell, moves, beside, added, patched] = play.outputs.as_slice() else { panic!("five") };
    assert_eq!(says(shell, "yes "), ["new.txt", "one.txt", "x"], "{shell}");
    assert_eq!(says(shell, "no "), ["a.txt", "README", "f.txt", "new"], "{shell}");
    assert!(moves.contains("all-went"), "{moves}");
    assert!(beside.contains("patch rejected"), "{beside}");
    assert!(added.contains("Success") && patched.contains("Success"), "{added} {patched}");
    assert_eq!(play.ended.code, Some(0), "{:?}\n{}", play.ended, play.site.dump());
    for (path, text) in [
        ("src/new.txt", Some("patched\n")),
        ("lib/three.txt", Some("mine\n")),
        ("lib/two.txt", None),
        ("lib/added.txt", Some("added\n")),
        ("made/deep/x.txt", Some("x\n")),
        ("src/b.txt", Some("old\n")),
    ] {
        assert_eq!(play.landed(path).as_deref(), text, "{path}");
    }
    let start = play.start();
    assert_eq!(start["payload"]["writable"], json!(["lib/", "./", "src/"]));
    assert!(start["payload"]["shut"].as_array().unwrap().contains(&json!("src/b.txt")), "{start}");
}

#[test]
fn an_interrupted_session_leaves_nothing_in_the_directories_that_were_opened() {
    let site = Site::new("enforce-residue");
    let repo = site.git_repo();
    let claimed = json!(claim(&["src/"]));
    let calls = [Answer::exec("echo x > src/a.txt; sleep 1000")];
    let server = ModelServer::start(move |request| answer(request, &claimed, &calls));
    server.write_config(&site.codex_home());
    let words = ["run", "do it", "--workspace", repo.to_str().unwrap(), "--plan", "single"];
    let words = words.into_iter().chain(["--max-attempts", "1", "--enforce", "strict"]);
    let ended = site.run(&mut site.numerus(words.chain(["--timeout", "execute=3s"])));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let kept = walkdir::WalkDir::new(site.root().join("runs")).into_iter().flatten();
    let src = kept.map(walkdir::DirEntry::into_path).find(|path| path.ends_with("tree-1/src"));
    let left = fs::read_dir(src.expect("the tree is kept")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.txt"], "an empty .git would make it a repository of its own");
}

#[test]
fn what_an_enforced_claim_costs_is_printed() {
    let files = |n| (0..n).map(|n| format!("d{n}/f.txt")).collect::<Vec<_>>();
    let dirs = |n| (0..n).map(|n| format!("d{n}/")).collect::<Vec<_>>();
    for (what, enforce, claimed) in [
        ("nothing enforced", "audit", files(1)),
        ("1 file", "strict", files(1)),
        ("8 files", "strict", files(8)),
        ("12 files, by their directories", "strict", files(12)),
        ("1 directory", "strict", dirs(1)),
        ("20 directories", "strict", dirs(20)),
        ("a new file, with 23 names shut", "strict", claim(&["top.txt"])),
    ] {
        let path = claimed[0].trim_end_matches('/').to_owned();
        let path = if path == "d0" { "d0/f.txt".to_owned() } else { path };
        let calls = (0..3).map(|_| Answer::exec(&format!("echo x >> {path}"))).collect();
        let play = Play::of("enforce-cost", enforce, &claimed, calls);
        assert_eq!(play.ended.code, Some(0), "{what}: {:?}", play.ended);
        eprintln!("an execution with three commands, {what}: {:?}", play.took());
    }
}

#[test]
fn the_stand_in_keeps_an_enforced_claim_as_well() {
    let steps = [
        json!({"write": {"path": "one.txt", "text": "mine\n"}}),
        json!({"write": {"path": "README", "text": "no\n"}}),
        json!({"message": "done"}),
    ];
    let script = Script::of([part("one")]).working("one", &steps);
    let stage = Stage::new("enforce-standin", &script);
    let job = stage.ends_with(0, &["--enforce", "strict", "--no-amend"]);
    assert_eq!(job.on_branch("one.txt").as_deref(), Some("mine\none\n"));
    assert!(job.read("one/events.ndjson").contains("\"status\":\"failed\""));
    assert!(job.read("one/prompt-2.md").contains("\nWRITABLE: {"));
    let lax = Stage::new("enforce-standin", &script);
    lax.ends_with(1, &["--enforce", "audit", "--no-amend", "--max-attempts", "1"]);
}
