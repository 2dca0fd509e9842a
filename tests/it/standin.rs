//! The stand-in as a supervisor meets it: a process with flags, JSON lines, files and signals.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test helpers may fail loudly and lay out files as they like"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A home, a trusted workspace and a script of its own.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new(scenes: &Value) -> Self {
        let lab = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["home", "work/.git"] {
            std::fs::create_dir_all(lab.path(folder)).unwrap();
        }
        let script = json!({"version": 1, "scenes": scenes}).to_string();
        std::fs::write(lab.path("script.json"), script).unwrap();
        lab
    }

    /// A lab with one scene that answers everything.
    fn playing(play: &Value) -> Self {
        Self::new(&json!([{"play": play}]))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_numerus"));
        command.arg("__codex").args(args.split_whitespace());
        command.current_dir(self.path("work"));
        command.env("CODEX_HOME", self.path("home"));
        command.env("NUMERUS_STANDIN_SCRIPT", self.path("script.json"));
        command.env("NUMERUS_STANDIN_COMMANDS", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, args: &str, prompt: &str) -> Child {
        let mut child = self.command(args).spawn().unwrap();
        // A run that refuses its flags may be gone before it reads.
        child.stdin.take().unwrap().write_all(prompt.as_bytes()).ok();
        child
    }

    fn run(&self, args: &str, prompt: &str) -> Run {
        Run::of(self.start(args, prompt).wait_with_output().unwrap())
    }

    /// The lines of the only rollout.
    fn rollout(&self) -> Vec<Value> {
        let files: Vec<PathBuf> = walkdir::WalkDir::new(self.path("home/sessions"))
            .into_iter()
            .map(|entry| entry.unwrap().into_path())
            .filter(|path| path.is_file())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let text = std::fs::read_to_string(&files[0]).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The payload of the rollout's last line of this kind.
    fn fact(&self, kind: &str) -> Value {
        let lines = self.rollout();
        let of_kind = |line: &&Value| line["type"] == kind || line["payload"]["type"] == kind;
        lines.iter().rev().find(of_kind).unwrap()["payload"].clone()
    }
}

/// What one run left behind.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn last(&self) -> Value {
        self.events().pop().unwrap()
    }

    fn thread(&self) -> String {
        self.events()[0]["thread_id"].as_str().unwrap().to_owned()
    }
}

/// The type of an event, of its item, and the keys of both: its shape.
fn shape(event: &Value) -> String {
    let keys = |value: &Value| -> String {
        value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(",")
    };
    let mut shape = format!("{}: {}", event["type"].as_str().unwrap(), keys(event));
    for inner in ["item", "usage", "error"] {
        if event[inner].is_object() {
            let kind = event[inner]["type"].as_str().unwrap_or_default();
            shape = format!("{shape} / {kind} {}", keys(&event[inner]));
        }
    }
    shape
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

/// Waits for a file that another process makes; the bound only turns a hang into a failure.
fn wait_for(path: &std::path::Path) -> String {
    for _ in 0..2000 {
        if let Ok(text) = std::fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text.trim().to_owned();
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{} never appeared", path.display());
}

fn alive(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z')
}

#[test]
fn a_run_prints_the_shapes_of_the_real_one() {
    let lab = Lab::playing(&json!([
        {"reasoning": "hm"}, {"command": "echo hi; exit 4"},
        {"write": {"path": "new.txt", "text": "a"}}, {"message": "All done."}
    ]));
    let run = lab.run("exec --json -s workspace-write -", "do it");
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    // As recorded from the real program: its tool, patch and reasoning runs.
    let command = "command_execution id,type,command,aggregated_output,exit_code,status";
    let change = "file_change id,type,changes,status";
    let usage = "input_tokens,cached_input_tokens,cache_write_input_tokens,output_tokens,reasoning_output_tokens";
    let want = [
        "thread.started: type,thread_id".to_owned(),
        "turn.started: type".to_owned(),
        "item.completed: type,item / reasoning id,type,text".to_owned(),
        format!("item.started: type,item / {command}"),
        format!("item.completed: type,item / {command}"),
        format!("item.started: type,item / {change}"),
        format!("item.completed: type,item / {change}"),
        "item.completed: type,item / agent_message id,type,text".to_owned(),
        format!("turn.completed: type,usage /  {usage}"),
    ];
    let events = run.events();
    assert_eq!(events.iter().map(shape).collect::<Vec<_>>(), want);
    assert_eq!(events[4]["item"]["exit_code"], 4);
    assert_eq!(events[4]["item"]["status"], "failed");
    assert_eq!(events[4]["item"]["aggregated_output"], "hi\n");
    let path = lab.path("work").canonicalize().unwrap().join("new.txt");
    assert_eq!(events[6]["item"]["changes"], json!([{"path": path, "kind": "add"}]));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "a");
}

#[test]
fn a_failed_turn_is_typed_in_the_rollout() {
    let fail =
        json!({"message": "limit", "info": "usage_limit_exceeded", "resets_at": 1_795_443_328});
    let lab = Lab::playing(&json!([{"message": "so far"}, {"fail": fail}]));
    let run = lab.run("exec --json -", "do it");
    assert_eq!(run.code, Some(1));
    let events = run.events();
    let ends: Vec<String> = events.iter().rev().take(2).map(shape).collect();
    assert_eq!(ends, ["turn.failed: type,error /  message", "error: type,message"]);
    let complete = lab.fact("task_complete");
    assert_eq!(
        complete["error"],
        json!({"message": "limit", "codex_error_info": "usage_limit_exceeded"})
    );
    assert_eq!(complete["last_agent_message"], Value::Null);
    assert_eq!(lab.fact("token_count")["rate_limits"]["primary"]["resets_at"], 1_795_443_328);

    let fail = json!({"message": "no", "info": "http_connection_failed", "status": 401});
    let lab = Lab::playing(&json!([{"fail": fail}]));
    lab.run("exec --json -", "do it");
    let info = lab.fact("task_complete")["error"]["codex_error_info"].clone();
    assert_eq!(info, json!({"http_connection_failed": {"http_status_code": 401}}));
}

#[test]
fn the_answer_file_is_opened_at_once_and_written_only_on_success() {
    let lab = Lab::new(&json!([
        {"when": {"contains": "fail"}, "play": [{"message": "half"}, {"fail": {"message": "no"}}]},
        {"when": {"contains": "silent"}, "play": [{"message": "half"}, {"no_message": true}]},
        {"play": [{"message": "first"}, {"message": {"a": 1, "cwd": "{{cwd}}"}}]}
    ]));
    let answer = lab.path("answer");
    let args = format!("exec --json -o {} -", answer.display());
    assert_eq!(lab.run(&args, "fail").code, Some(1));
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), "");
    std::fs::write(&answer, "what was there, and is longer than the answer will be ".repeat(9))
        .unwrap();
    assert_eq!(lab.run(&args, "fail").code, Some(1));
    assert!(std::fs::read_to_string(&answer).unwrap().starts_with("what was there"));
    assert_eq!(lab.run(&args, "well").code, Some(0));
    let cwd = lab.path("work").canonicalize().unwrap();
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), json!({"a": 1, "cwd": cwd}).to_string());
    let silent = lab.run(&args, "silent");
    assert!(silent.stderr.starts_with("Warning: no last agent message"), "{silent:?}");
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), "");
    let nowhere = lab.run("exec --json -o /nonexistent/x -", "well");
    assert_eq!((nowhere.code, nowhere.stdout.as_str()), (Some(1), ""));
}

#[test]
fn a_resumed_thread_goes_on_and_counts_on() {
    let lab = Lab::new(&json!([
        {"when": {"resumed": true}, "play": [{"message": "again"}]},
        {"play": [{"usage": {"input_tokens": 7, "output_tokens": 2}}, {"message": "once"}]}
    ]));
    let first = lab.run("exec --json -", "do it");
    let second =
        lab.run(&format!("exec -s workspace-write resume --json {} -", first.thread()), "do more");
    assert_eq!((second.code, second.thread()), (Some(0), first.thread()));
    assert_eq!(second.events()[2]["item"]["text"], "again");
    assert_eq!(first.last()["usage"]["input_tokens"], 7);
    assert_eq!(second.last()["usage"]["input_tokens"], 107);
    assert_eq!(second.last()["usage"]["output_tokens"], 22);
    let record = lab.fact("token_usage_record");
    let sums = ["usage", "turn_token_usage", "thread_token_usage"]
        .map(|key| record[key]["total_tokens"].clone());
    assert_eq!(sums, [120, 120, 129]);
    let ordinals: Vec<u64> =
        lab.rollout().iter().map(|line| line["ordinal"].as_u64().unwrap()).collect();
    assert_eq!(ordinals, (0..ordinals.len() as u64).collect::<Vec<_>>());
}

#[test]
fn an_unknown_thread_is_refused_and_a_name_that_is_none_starts_anew() {
    let lab = Lab::playing(&json!([{"message": "hi"}]));
    let unknown = lab.run("exec resume --json 01a2088c-1324-7950-8711-c689c16e2600 -", "x");
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(1), ""));
    let words =
        "Error: thread/resume: thread/resume failed: no rollout found for thread id 01a2088c-";
    assert!(unknown.stderr.starts_with(words), "{unknown:?}");
    let anew = lab.run("exec resume --json no-such-name -", "x");
    assert_eq!(anew.code, Some(0));
    assert_ne!(anew.thread(), "no-such-name");
}

#[test]
fn a_thread_in_use_cannot_be_resumed() {
    let lab = Lab::playing(&json!([{"hang": true}]));
    let mut holder = lab.start("exec --json -", "x");
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let thread =
        serde_json::from_str::<Value>(&line).unwrap()["thread_id"].as_str().unwrap().to_owned();
    let second = lab.run(&format!("exec resume --json {thread} -"), "x");
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("already has an active writer"), "{second:?}");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn an_interrupt_ends_the_run_and_the_group_of_its_command() {
    let lab = Lab::playing(&json!([
        {"spawn": "echo $$ > ../spawned; exec sleep 600"},
        {"command": "sleep 600 & trap '' INT TERM; echo $! > ../child; wait"},
        {"message": "never"}
    ]));
    let child = lab.start("exec --json -", "x");
    let (grandchild, spawned) = (wait_for(&lab.path("child")), wait_for(&lab.path("spawned")));
    interrupt(&child);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.last()["type"].as_str()), (Some(1), Some("item.started")));
    assert_eq!(lab.fact("turn_aborted")["reason"], "interrupted");
    while alive(&grandchild) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(alive(&spawned), "what has a session of its own outlives the run");
    let spawned = rustix::process::Pid::from_raw(spawned.parse().unwrap()).unwrap();
    rustix::process::kill_process(spawned, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn an_interrupt_ends_a_hang_and_a_run_that_nobody_reads() {
    for play in [json!([{"hang": true}]), json!([{"flood_bytes": 4_000_000}, {"message": "never"}])]
    {
        let mut all = vec![json!({"touch_ready": {"path": "../ready"}})];
        all.extend(play.as_array().unwrap().iter().cloned());
        let lab = Lab::playing(&json!(all));
        let mut child = lab.start("exec --json -", "x");
        for _ in 0..2000 {
            if lab.path("ready").exists() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        interrupt(&child);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{play}");
    }
}

#[test]
fn a_run_ends_as_the_script_says() {
    let cases = [
        (json!([{"exit": 3}]), Some(3), None),
        (json!([{"die_by_signal": 9}]), None, Some(9)),
        (json!([{"die_by_signal": 11}]), None, Some(11)),
        (json!([{"die_by_signal": 15}]), None, Some(15)),
        (json!([{"wait_for": {"path": "absent", "deadline_ms": 20}}, {"exit": 3}]), Some(1), None),
    ];
    for (play, code, signal) in cases {
        let run = Lab::playing(&play).run("exec --json -", "x");
        assert_eq!((run.code, run.signal), (code, signal), "{play}");
        assert_ne!(run.last()["type"], "turn.completed", "{play}");
    }
}

#[test]
fn a_deaf_run_outlives_signals() {
    let lab = Lab::playing(&json!([
        {"ignore_signals": true}, {"touch_ready": {"path": "../ready"}},
        {"wait_for": {"path": "../go", "deadline_ms": 20_000}}, {"message": "still here"}
    ]));
    let child = lab.start("exec --json -", "x");
    while !lab.path("ready").exists() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    for signal in
        [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP]
    {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    std::fs::write(lab.path("go"), "").unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.last()["type"].as_str()), (Some(0), Some("turn.completed")));
}

#[test]
fn a_refused_write_is_a_failed_item_and_the_run_goes_on() {
    let play = json!([{"write": {"path": "a", "text": "x"}}, {"message": "done"}]);
    let lab = Lab::playing(&play);
    let run = lab.run("exec --json -s read-only -", "x");
    assert_eq!(run.code, Some(0));
    assert_eq!(run.events()[3]["item"]["status"], "failed");
    assert!(run.stderr.contains("Read-only file system"), "{run:?}");
    assert!(!lab.path("work/a").exists());
    let outside = json!([{"write": {"path": "../a", "text": "x"}}, {"message": "done"}]);
    let lab = Lab::playing(&outside);
    let mut command = lab.command("exec --json -s danger-full-access hello");
    let run = Run::of(command.env_remove("NUMERUS_STANDIN_COMMANDS").output().unwrap());
    assert_eq!(run.events()[3]["item"]["status"], "failed");
    assert!(!lab.path("a").exists());
}

#[test]
fn commands_are_declined_unless_the_gate_is_open() {
    let lab = Lab::playing(
        &json!([{"command": "touch ran"}, {"spawn": "touch ran"}, {"message": "done"}]),
    );
    let mut command = lab.command("exec --json hello");
    let run = Run::of(command.env_remove("NUMERUS_STANDIN_COMMANDS").output().unwrap());
    assert_eq!(run.code, Some(0));
    let declined =
        run.events().iter().filter(|event| event["item"]["status"] == "declined").count();
    assert_eq!(declined, 2);
    assert!(!lab.path("work/ran").exists());
}

#[test]
fn commands_carry_the_marks_of_their_session() {
    let lab = Lab::playing(
        &json!([{"command": "echo $CODEX_THREAD_ID $NUMERUS_TASK; ps -o sid= -p $$ | tr -d ' '; echo $$"}, {"message": "m"}]),
    );
    let mut command = lab.command("exec --json -c");
    command.arg(r#"shell_environment_policy.set={NUMERUS_TASK="t1"}"#).arg("hello");
    let run = Run::of(command.output().unwrap());
    let output = run.events()[3]["item"]["aggregated_output"].as_str().unwrap().to_owned();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], format!("{} t1", run.thread()));
    assert_eq!(lines[1], lines[2], "a session of its own");
}

#[test]
fn wrong_calls_fail_before_anything_is_printed() {
    let lab = Lab::playing(&json!([{"message": "hi"}]));
    let cases = [
        ("exec --json --bogus -", "x", 2, "error: unexpected argument '--bogus' found"),
        ("exec --json -", "", 1, "No prompt provided via stdin."),
        (
            "exec --json --output-schema /nonexistent -",
            "x",
            1,
            "Failed to read output schema file /nonexistent",
        ),
    ];
    for (args, prompt, code, words) in cases {
        let run = lab.run(args, prompt);
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{args}");
        assert!(run.stderr.starts_with(words), "{args}: {run:?}");
    }
    let untrusted = lab.run("exec --json -C / -", "x");
    let words = "Not inside a trusted directory and --skip-git-repo-check was not specified.\n";
    assert_eq!((untrusted.code, untrusted.stderr.as_str()), (Some(1), words));
    assert_eq!(lab.run("exec --json -C / --skip-git-repo-check -", "x").code, Some(0));
    let mut homeless = lab.command("exec --json hello");
    let run = Run::of(homeless.env("CODEX_HOME", "/nonexistent").output().unwrap());
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            Some(1),
            "Error finding codex home: CODEX_HOME points to \"/nonexistent\", but that path does not exist\n"
        )
    );
}

#[test]
fn a_bad_script_and_an_unanswered_prompt_say_what_is_missing() {
    let lab = Lab::new(&json!([{"when": {"marker": "OTHER"}, "play": [{"message": "hi"}]}]));
    let run = lab.run("exec --json -", "NUMERUS_CLAIM V1\nTASK_ID: t9\n");
    assert_eq!(run.code, Some(1));
    let message = run.last()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`NUMERUS_CLAIM V1`") && message.contains("`t9`"), "{message}");
    std::fs::write(
        lab.path("script.json"),
        r#"{"version":1,"scenes":[{"play":[{"mesage":"x"}]}]}"#,
    )
    .unwrap();
    let run = lab.run("exec --json -", "x");
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("script.json") && run.stderr.contains("`mesage`"), "{run:?}");
}

#[test]
fn raw_output_floods_and_complaints_come_through() {
    let lab = Lab::playing(&json!([
        {"stdout": "not json\n"}, {"stderr": "WARNING: x\n"}, {"flood_bytes": 200_000}, {"message": "m"}
    ]));
    let run = lab.run("exec --json -", "x");
    assert_eq!(run.stdout.lines().nth(2), Some("not json"));
    assert_eq!(run.stdout.lines().nth(4).unwrap().len(), 200_000);
    assert_eq!(run.stderr, "WARNING: x\n");
}

#[test]
fn calls_are_counted_over_processes() {
    let lab = Lab::new(&json!([
        {"when": {"calls": [1, 2]}, "play": [{"fail": {"message": "not yet"}}]},
        {"play": [{"message": "now"}]}
    ]));
    let codes: Vec<Option<i32>> = (0..4).map(|_| lab.run("exec --json -", "x").code).collect();
    assert_eq!(codes, [Some(1), Some(1), Some(0), Some(0)]);
}

#[test]
fn a_reader_that_leaves_ends_the_run_as_it_ends_the_real_one() {
    let lab = Lab::playing(
        &json!([{"wait_for": {"path": "../go", "deadline_ms": 20_000}}, {"message": "m"}]),
    );
    let mut child = lab.start("exec --json -", "x");
    drop(child.stdout.take());
    std::fs::write(lab.path("go"), "").unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, Some(101), "{run:?}");
}

#[test]
fn the_other_calls_answer_too() {
    let lab = Lab::playing(&json!([{"message": "plain"}]));
    assert_eq!(lab.run("--version", "").stdout, "codex-cli 0.169.0 (numerus stand-in)\n");
    assert_eq!(lab.run("login status", "").code, Some(0));
    assert_eq!(lab.run("exec -", "x").stdout, "plain\n");
    let mut command = lab.command("sandbox -c a=b -- sh -c");
    let run = Run::of(command.arg("pwd; exit 3").output().unwrap());
    let cwd = lab.path("work").canonicalize().unwrap();
    assert_eq!((run.code, run.stdout), (Some(3), format!("{}\n", cwd.display())));
}

/// The claims and the changes of one demo task, played in the given lab.
fn play_demo_task(lab: &Lab, id: &str) -> (Value, Vec<String>) {
    let session = |args: &str, prompt: &str| {
        let mut command = lab.command(args);
        let mut child = command.env_remove("NUMERUS_STANDIN_SCRIPT").spawn().unwrap();
        child.stdin.take().unwrap().write_all(prompt.as_bytes()).unwrap();
        Run::of(child.wait_with_output().unwrap())
    };
    let claim = session("exec --json -", &format!("NUMERUS_CLAIM V1\nTASK_ID: {id}\n"));
    let answer = claim
        .events()
        .iter()
        .rev()
        .find_map(|event| event["item"]["text"].as_str().map(str::to_owned));
    let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
    let args = format!("exec -s workspace-write resume --json {} -", claim.thread());
    let execute = session(&args, &format!("NUMERUS_EXECUTE V1\nTASK_ID: {id}\nOBJECTIVE: greet\n"));
    let home = lab.path("work").canonicalize().unwrap();
    let changed = execute.events().into_iter().filter(|event| event["type"] == "item.completed");
    let changed =
        changed.filter_map(|event| event["item"]["changes"][0]["path"].as_str().map(PathBuf::from));
    let changed = changed
        .map(|path| path.strip_prefix(&home).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(execute.last()["type"], "turn.completed", "{execute:?}");
    (answer, changed)
}

#[test]
fn the_demo_writes_what_it_claims_and_what_it_writes_works() {
    let lab = Lab::new(&json!([]));
    let mut command = lab.command("exec");
    command.env_remove("NUMERUS_STANDIN_SCRIPT").arg("NUMERUS_PLAN V1\nOBJECTIVE: say \"hi\"\n");
    let plan: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(plan["objective"], "say \"hi\"");
    let tasks = plan["tasks"].as_array().unwrap();
    let writing =
        tasks.iter().filter(|task| !task["resources"]["writes"].as_array().unwrap().is_empty());
    let mut played: Vec<(Value, Vec<String>)> = std::thread::scope(|scope| {
        let lab = &lab;
        let threads: Vec<_> = writing
            .map(|task| scope.spawn(|| play_demo_task(lab, task["id"].as_str().unwrap())))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    played.push(play_demo_task(&lab, "some-other-task"));
    assert_eq!(played.len(), 6);
    for (claim, changed) in &played {
        assert_eq!(claim["resources"]["writes"], json!(changed), "{claim}");
    }
    let contested = played.iter().filter(|(_, changed)| changed == &["greeting/README.md"]).count();
    assert_eq!(contested, 2, "two tasks want the same file");
    let tested = Command::new("sh").arg(lab.path("work/greeting/test.sh")).status().unwrap();
    assert!(tested.success());
}
