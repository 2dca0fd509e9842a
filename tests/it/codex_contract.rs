//! What Numerus relies on in codex, held against the real binary and a scripted model: each test states one measured fact.
//!
//! When a newer codex breaks one of these, the code that leans on that fact has to be looked at before the pin moves.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, getsockname, socket};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::codex_bin::codex_bin;
use crate::model_server::{Answer, ModelRequest, ModelServer, Usage, base_url, provider_args};
use crate::site::{Ended, PATIENCE, Running, Site, processes_with_env};

const QUIET: [&str; 12] = [
    "--disable",
    "plugins",
    "--disable",
    "shell_snapshot",
    "--disable",
    "unbounded_connection_retries",
    "-c",
    "analytics.enabled=false",
    "-c",
    "agents.enabled=false",
    "-c",
    "allow_login_shell=false",
];

/// A site with a repository to work in.
struct Bench {
    site: Site,
    repo: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let site = Site::new(name);
        let repo = site.git_repo();
        Self { site, repo }
    }

    /// `codex exec` in the repository: `before` comes after the quieting flags, `after` at the end.
    fn exec(&self, provider: &[String], before: &[&str], after: &[&str]) -> Command {
        let mut command = self.site.command(codex_bin());
        command
            .current_dir(&self.repo)
            .arg("exec")
            .arg("--json")
            .args(QUIET)
            .args(provider)
            .args(before)
            .args(after);
        command
    }

    fn run(&self, server: &ModelServer, before: &[&str], after: &[&str]) -> Ended {
        self.site.run(&mut self.exec(&server.config_args(), before, after))
    }

    fn start(&self, server: &ModelServer, before: &[&str], after: &[&str]) -> Running {
        self.site.spawn(&mut self.exec(&server.config_args(), before, after))
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.site.path().join(name);
        fs::write(&file, content).unwrap();
        file
    }

    /// The lines of every rollout of this codex home.
    fn rollout(&self) -> Vec<Value> {
        let tree = walkdir::WalkDir::new(self.site.codex_home().join("sessions"));
        let files =
            tree.into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
        files.flat_map(|file| lines(&fs::read_to_string(file.path()).unwrap())).collect()
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

fn kinds(ended: &Ended) -> Vec<String> {
    let events = lines(&ended.stdout);
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn count(ended: &Ended, kind: &str) -> usize {
    kinds(ended).iter().filter(|found| *found == kind).count()
}

fn event(ended: &Ended, kind: &str) -> Value {
    let events = lines(&ended.stdout);
    let found = events.into_iter().rfind(|event| event["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {ended:?}"))
}

fn thread_id(ended: &Ended) -> String {
    event(ended, "thread.started")["thread_id"].as_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn assert_completed(ended: &Ended) {
    let kinds = kinds(ended);
    assert_eq!(
        (ended.code, kinds.last().map(String::as_str)),
        (Some(0), Some("turn.completed")),
        "{ended:?}"
    );
}

#[track_caller]
fn assert_failed(ended: &Ended, message: &str) {
    let kinds = kinds(ended);
    assert_eq!(
        (ended.code, kinds.last().map(String::as_str)),
        (Some(1), Some("turn.failed")),
        "{ended:?}"
    );
    let said = event(ended, "turn.failed")["error"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains(message), "{said}");
}

/// First the command, then its output as the message.
fn run_and_tell(command: &'static str) -> impl Fn(&ModelRequest) -> Answer + Send + Sync {
    move |request| match request.tool_outputs().last() {
        None => Answer::exec(command),
        Some(output) => Answer::say(output.clone()),
    }
}

#[test]
fn exec_prints_thread_started_then_turn_completed() {
    let bench = Bench::new("completed");
    let server = ModelServer::start(|_| Answer::say("hello"));
    let ended = bench.run(&server, &[], &["say hello"]);
    assert_completed(&ended);
    assert_eq!(
        kinds(&ended),
        ["thread.started", "turn.started", "item.completed", "turn.completed"]
    );
    assert_eq!(event(&ended, "item.completed")["item"]["text"], "hello");
    assert_eq!(server.requests()[0].prompt(), "say hello");
}

#[test]
fn a_users_own_configuration_is_used() {
    let bench = Bench::new("config");
    let server = ModelServer::start(|_| Answer::say("hello"));
    server.write_config(&bench.site.codex_home());
    assert_completed(&bench.site.run(&mut bench.exec(&[], &[], &["hi"])));
    assert_eq!(server.requests()[0].body["model"], "gpt-5.5");
}

#[test]
fn output_schema_is_not_checked_by_codex() {
    let bench = Bench::new("schema");
    let schema = bench.file(
        "schema.json",
        r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}"#,
    );
    let server = ModelServer::start(|_| Answer::say("this is not JSON"));
    let ended = bench.run(&server, &["--output-schema", text(&schema)], &["answer"]);
    assert_completed(&ended);
    assert!(server.requests()[0].has_schema());
}

#[test]
fn last_message_file_holds_the_last_message_alone() {
    let bench = Bench::new("last");
    let file = bench.site.path().join("last.txt");
    let server = ModelServer::start(|_| Answer::say("first").and_say("second"));
    assert_completed(&bench.run(&server, &["-o", text(&file)], &["hi"]));
    assert_eq!(fs::read_to_string(&file).unwrap(), "second");
}

#[test]
fn last_message_file_keeps_old_text_on_failure() {
    let bench = Bench::new("keeps");
    let file = bench.file("last.txt", "old");
    let server = ModelServer::start(|_| Answer::status(400, "no"));
    assert_failed(&bench.run(&server, &["-o", text(&file)], &["hi"]), "no");
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn usage_is_cumulative_over_the_thread_on_resume() {
    let bench = Bench::new("usage");
    let usage = Usage { input: 100, cached: 20, output: 10, reasoning: 5 };
    let server = ModelServer::start(move |_| Answer::say("ok").usage(usage));
    let first = bench.run(&server, &[], &["one"]);
    let second = bench.run(&server, &[], &["resume", &thread_id(&first), "two"]);
    assert_eq!(event(&first, "turn.completed")["usage"]["input_tokens"], 100);
    let usage = &event(&second, "turn.completed")["usage"];
    assert_eq!(usage["input_tokens"], 200);
    assert_eq!(usage["cached_input_tokens"], 40);
    assert_eq!(usage["output_tokens"], 20);
    assert_eq!(usage["reasoning_output_tokens"], 10);
}

#[test]
fn the_rollout_holds_the_usage_of_each_response_and_turn() {
    let bench = Bench::new("tokens");
    let server = ModelServer::start(|_| Answer::say("ok"));
    let first = bench.run(&server, &[], &["one"]);
    bench.run(&server, &[], &["resume", &thread_id(&first), "two"]);
    let rollout = bench.rollout();
    let records = rollout.iter().filter(|line| line["type"] == "token_usage_record");
    let turns: Vec<u64> = records
        .filter_map(|line| line["payload"]["turn_token_usage"]["input_tokens"].as_u64())
        .collect();
    assert_eq!(turns, [100, 100], "{rollout:?}");
}

#[test]
fn resume_keeps_the_thread_id_but_not_the_sandbox() {
    let bench = Bench::new("resume");
    let server = ModelServer::start(run_and_tell("touch made && echo MADE"));
    let first = bench.run(&server, &["-s", "workspace-write"], &["one"]);
    assert_completed(&first);
    assert!(bench.repo.join("made").exists(), "{first:?}");
    fs::remove_file(bench.repo.join("made")).unwrap();
    let second = bench.run(&server, &[], &["resume", &thread_id(&first), "two"]);
    assert_completed(&second);
    assert_eq!(thread_id(&second), thread_id(&first));
    assert!(!bench.repo.join("made").exists(), "{second:?}");
    let asked = server.requests().pop().unwrap();
    assert_eq!(asked.prompt(), "two");
    assert!(
        asked.tool_outputs()[0].contains("Read-only file system"),
        "{:?}",
        asked.tool_outputs()
    );
    assert!(asked.body["input"].to_string().contains("MADE"), "the history goes along");
}

#[test]
fn resume_in_workspace_write_takes_the_flag_before_the_word() {
    let bench = Bench::new("again");
    let server = ModelServer::start(run_and_tell("touch made"));
    let first = bench.run(&server, &[], &["one"]);
    let id = thread_id(&first);
    let refused = bench.run(&server, &[], &["resume", "-s", "workspace-write", &id, "two"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert_completed(&bench.run(&server, &["-s", "workspace-write"], &["resume", &id, "two"]));
    assert!(bench.repo.join("made").exists());
}

#[test]
fn resume_of_an_unknown_name_starts_a_new_thread() {
    let bench = Bench::new("unknown");
    let server = ModelServer::start(|_| Answer::say("ok"));
    let first = bench.run(&server, &[], &["one"]);
    let second = bench.run(&server, &[], &["resume", "no-such-thread", "two"]);
    assert_completed(&second);
    assert_ne!(thread_id(&second), thread_id(&first));
}

#[test]
fn resume_of_an_unknown_id_fails_before_any_event() {
    let bench = Bench::new("unknown-id");
    let server = ModelServer::start(|_| Answer::say("ok"));
    let ended = bench.run(&server, &[], &["resume", "01a206e0-410e-7f70-89fb-b8a970dda034", "two"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("no rollout found"), "{}", ended.stderr);
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_thread_is_resumed_after_sigkill() {
    let bench = Bench::new("sigkill");
    let server = ModelServer::start(|request| match request.number {
        1 => Answer::exec("echo kept"),
        2 => Answer::hang(),
        _ => Answer::say("ok"),
    });
    let running = bench.start(&server, &[], &["one"]);
    server.wait_for_requests(2, PATIENCE);
    running.signal(Signal::KILL);
    let first = running.wait(PATIENCE);
    assert_eq!(first.signal, Some(9));
    let second = bench.run(&server, &[], &["resume", &thread_id(&first), "two"]);
    assert_completed(&second);
    assert_eq!(thread_id(&second), thread_id(&first));
    let input = server.requests().pop().unwrap().body["input"].to_string();
    assert!(input.contains("kept") && input.contains("one"), "{input}");
}

#[test]
fn error_events_are_not_terminal() {
    let bench = Bench::new("error");
    let server = ModelServer::start(|request| match request.number {
        1 => Answer::say("cut").cut_after(1),
        _ => Answer::say("whole"),
    });
    let ended = bench.run(&server, &[], &["hi"]);
    assert_completed(&ended);
    assert!(
        event(&ended, "error")["message"].as_str().unwrap().contains("Reconnecting... 1/1"),
        "{ended:?}"
    );
}

#[test]
fn typed_error_is_in_the_rollout() {
    let bench = Bench::new("typed");
    let server = ModelServer::start(|_| Answer::usage_limit(3600));
    assert_failed(&bench.run(&server, &[], &["hi"]), "usage limit");
    assert_eq!(server.requests().len(), 1);
    let rollout = bench.rollout();
    let end = rollout.iter().rfind(|line| line["payload"]["type"] == "task_complete").unwrap();
    assert_eq!(end["payload"]["error"]["codex_error_info"], "usage_limit_exceeded", "{end}");
}

#[test]
fn retry_after_is_obeyed() {
    let bench = Bench::new("retry-after");
    let server = ModelServer::start(|request| match request.number {
        1 => Answer::status(429, "{}").header("retry-after", "2"),
        _ => Answer::say("ok"),
    });
    let start = Instant::now();
    assert_completed(&bench.run(&server, &[], &["hi"]));
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_429_without_retry_after_is_a_failed_turn() {
    let bench = Bench::new("429");
    let server = ModelServer::start(|_| Answer::status(429, "{}"));
    assert_failed(&bench.run(&server, &[], &["hi"]), "429 Too Many Requests");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_401_is_a_failed_turn() {
    let bench = Bench::new("401");
    let server = ModelServer::start(|_| Answer::status(401, r#"{"error":{"message":"bad key"}}"#));
    assert_failed(&bench.run(&server, &[], &["hi"]), "401 Unauthorized: bad key");
    let rollout = bench.rollout();
    let end = rollout.iter().rfind(|line| line["payload"]["type"] == "task_complete").unwrap();
    let known = json!({"http_connection_failed": {"http_status_code": 401}});
    assert_eq!(end["payload"]["error"]["codex_error_info"], known, "{end}");
}

#[test]
fn a_500_is_a_failed_turn() {
    let bench = Bench::new("500");
    let server = ModelServer::start(|_| Answer::status(500, "oops"));
    assert_failed(&bench.run(&server, &[], &["hi"]), "high demand");
    assert_eq!(server.requests().len(), 2, "one try, one retry");
}

#[test]
fn a_stream_that_is_always_cut_is_a_failed_turn() {
    let bench = Bench::new("cut");
    let server = ModelServer::start(|_| Answer::say("never whole").cut_after(3));
    assert_failed(&bench.run(&server, &[], &["hi"]), "stream closed before response.completed");
    assert_eq!(server.requests().len(), 2, "one try, one retry");
}

#[test]
fn a_silent_stream_ends_by_the_idle_timeout() {
    let bench = Bench::new("idle");
    let server = ModelServer::start(|_| Answer::hang_after_headers());
    let idle = ["-c", "model_providers.mock.stream_idle_timeout_ms=300"];
    assert_failed(&bench.run(&server, &idle, &["hi"]), "idle timeout waiting for SSE");
}

#[test]
fn unreachable_server_ends_when_unbounded_retries_are_off() {
    let bench = Bench::new("unreachable");
    // Bound but not listening: the port refuses, and nobody else can take it meanwhile.
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = SocketAddrV4::try_from(getsockname(&held).unwrap()).unwrap().port();
    let provider = provider_args(&base_url(port));
    assert_failed(&bench.site.run(&mut bench.exec(&provider, &[], &["hi"])), "Connection failed");
}

#[test]
fn sigint_ends_a_call_that_gets_no_headers() {
    let bench = Bench::new("headers");
    let server = ModelServer::start(|_| Answer::hang());
    let running = bench.start(&server, &[], &["hi"]);
    server.wait_for_requests(1, PATIENCE);
    running.signal(Signal::INT);
    let ended = running.wait(PATIENCE);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        count(&ended, "turn.completed") + count(&ended, "turn.failed"),
        0,
        "no event tells of it"
    );
}

#[test]
fn prompt_from_a_file_on_stdin_is_taken_whole() {
    let bench = Bench::new("prompt");
    let server = ModelServer::start(|_| Answer::say("ok"));
    let prompt = format!("NUMERUS_PLAN V1\n{}end", "0123456789abcdef\n".repeat(200 * 1024 / 17));
    let file = fs::File::open(bench.file("prompt.md", &prompt)).unwrap();
    let ended = bench.site.run(bench.exec(&server.config_args(), &[], &["-"]).stdin(file));
    assert_completed(&ended);
    let request = server.requests().remove(0);
    assert_eq!(request.prompt().len(), prompt.len());
    assert_eq!(request.prompt(), prompt);
    assert_eq!(request.marker(), "NUMERUS_PLAN V1");
}

#[test]
fn tools_write_in_workspace_write_and_not_in_read_only() {
    for (sandbox, writes) in [("workspace-write", true), ("read-only", false)] {
        let bench = Bench::new(sandbox);
        let server =
            ModelServer::start(run_and_tell("echo b > made; git commit --allow-empty -m x"));
        let ended = bench.run(&server, &["-s", sandbox], &["write"]);
        assert_completed(&ended);
        assert_eq!(bench.repo.join("made").exists(), writes, "{ended:?}");
        assert_eq!(
            bench.site.git(&bench.repo, &["log", "--format=%s"]),
            "first\n",
            "no commit in either"
        );
        assert!(!ended.stderr.contains("PATH aliases"), "{}", ended.stderr);
    }
}

#[test]
fn a_patch_is_applied_and_told_as_a_file_change() {
    let bench = Bench::new("patch");
    let server = ModelServer::start(|request| match request.tool_outputs().last() {
        None => Answer::patch(
            "*** Begin Patch\n*** Update File: src/a.txt\n@@\n-a\n+b\n*** End Patch\n",
        ),
        Some(output) => Answer::say(output.clone()),
    });
    let ended = bench.run(&server, &["-s", "workspace-write"], &["patch"]);
    assert_completed(&ended);
    assert_eq!(fs::read_to_string(bench.repo.join("src/a.txt")).unwrap(), "b\n");
    let mut changes =
        lines(&ended.stdout).into_iter().filter(|event| event["item"]["type"] == "file_change");
    let change = changes.next_back().expect("a file change is told")["item"]["changes"][0].clone();
    assert_eq!(change["path"], text(&bench.repo.join("src/a.txt")));
}

#[test]
fn a_failing_command_does_not_fail_the_turn() {
    let bench = Bench::new("failing");
    let server = ModelServer::start(run_and_tell("exit 7"));
    let ended = bench.run(&server, &[], &["fail"]);
    assert_completed(&ended);
    assert!(lines(&ended.stdout).iter().any(|event| event["item"]["exit_code"] == 7), "{ended:?}");
}

#[test]
fn tools_get_the_variables_that_are_set_for_them() {
    let bench = Bench::new("variables");
    let server = ModelServer::start(run_and_tell("echo job=$NUMERUS_JOB"));
    let set = ["-c", r#"shell_environment_policy.set={NUMERUS_JOB="j-1"}"#];
    assert_completed(&bench.run(&server, &set, &["tell"]));
    let outputs = server.requests().pop().unwrap().tool_outputs();
    assert!(outputs[0].contains("job=j-1"), "{outputs:?}");
}

/// Says of each folder whether a file could be made in it.
fn probe(folders: &[&Path]) -> String {
    let list: Vec<String> = folders.iter().map(|folder| format!("'{}'", text(folder))).collect();
    format!(
        "for f in {} \"$TMPDIR\"; do if (: > \"$f/probe\"); then echo \"yes $f\"; else echo \"no $f\"; fi; done; mktemp",
        list.join(" ")
    )
}

#[test]
fn a_private_folder_for_temporary_files_is_all_that_tools_can_write_beside_the_tree_also_on_resume()
{
    let bench = Bench::new("tmpdir");
    let [temp, other] = ["private", "other"].map(|name| bench.site.path().join(name));
    fs::create_dir(&temp).unwrap();
    fs::create_dir(&other).unwrap();
    let (home, codexs_own) = (bench.site.codex_home(), bench.site.path().join("tmp"));
    let closed = [Path::new("/tmp"), Path::new("/var/tmp"), &home, &codexs_own, &other];
    let command = probe(&[&closed[..], &[&bench.repo]].concat());
    let server = ModelServer::start(move |request| match request.tool_outputs().last() {
        None => Answer::exec(&command),
        Some(output) => Answer::say(output.clone()),
    });
    let roots = format!("sandbox_workspace_write.writable_roots=[\"{}\"]", text(&temp));
    let set = format!("shell_environment_policy.set={{TMPDIR=\"{}\"}}", text(&temp));
    let flags = [
        "-s",
        "workspace-write",
        "-c",
        "sandbox_workspace_write.exclude_slash_tmp=true",
        "-c",
        "sandbox_workspace_write.exclude_tmpdir_env_var=true",
        "-c",
        &roots,
        "-c",
        &set,
    ];
    let first = bench.run(&server, &flags, &["one"]);
    let second = bench.run(&server, &flags, &["resume", &thread_id(&first), "two"]);
    for ended in [first, second] {
        assert_completed(&ended);
        let said = event(&ended, "item.completed")["item"]["text"].as_str().unwrap().to_owned();
        for folder in closed {
            assert!(said.contains(&format!("no {}\n", text(folder))), "{said}");
        }
        for folder in [&bench.repo, &temp] {
            assert!(said.contains(&format!("yes {}\n", text(folder))), "{said}");
        }
        assert!(said.contains(&format!("{}/tmp.", text(&temp))), "mktemp works: {said}");
        assert!(!ended.stderr.contains("PATH aliases"), "{}", ended.stderr);
    }
}

#[test]
fn sandboxed_tools_die_with_sigint() {
    sandboxed_tools_die_with(Signal::INT);
}

#[test]
fn sandboxed_tools_die_with_sigkill() {
    sandboxed_tools_die_with(Signal::KILL);
}

fn sandboxed_tools_die_with(signal: Signal) {
    let bench = Bench::new("tools-die");
    let mark = text(bench.site.path()).to_owned();
    let server = ModelServer::start(run_and_tell("setsid sleep 1000 & touch started; sleep 1000"));
    let set = format!("shell_environment_policy.set={{NUMERUS_JOB={}}}", json!(mark));
    let running = bench.start(&server, &["-s", "workspace-write", "-c", &set], &["wait"]);
    bench.site.until("the tool runs", PATIENCE, || bench.repo.join("started").exists());
    assert_ne!(processes_with_env("NUMERUS_JOB", &mark), [0_u32; 0]);
    running.signal(signal);
    running.wait(PATIENCE);
    let gone = || processes_with_env("NUMERUS_JOB", &mark).is_empty();
    bench.site.until("nothing of the tool lives", PATIENCE, gone);
}

#[test]
fn one_thread_has_one_writer() {
    let bench = Bench::new("writer");
    let server =
        ModelServer::start(
            |request| if request.number == 2 { Answer::hang() } else { Answer::say("ok") },
        );
    let id = thread_id(&bench.run(&server, &[], &["one"]));
    let running = bench.start(&server, &[], &["resume", &id, "two"]);
    server.wait_for_requests(2, PATIENCE);
    let refused = bench.run(&server, &[], &["resume", &id, "three"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("already has an active writer"), "{}", refused.stderr);
    running.signal(Signal::KILL);
    running.wait(PATIENCE);
    assert_completed(&bench.run(&server, &[], &["resume", &id, "four"]));
}

#[test]
fn a_codex_home_below_tmpdir_is_warned_of_and_no_failure() {
    let bench = Bench::new("below");
    let server = ModelServer::start(|_| Answer::say("ok"));
    let mut command = bench.exec(&server.config_args(), &[], &["hi"]);
    let ended = bench.site.run(command.env("TMPDIR", bench.site.path()));
    assert_completed(&ended);
    assert!(ended.stderr.contains("could not create PATH aliases"), "{}", ended.stderr);
}
