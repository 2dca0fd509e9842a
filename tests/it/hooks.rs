//! Programs that are called when something has happened: in order, at least once, bounded, and never in a job's way.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::site::{Ended, PATIENCE};
use crate::yard::{Yard, kill, not_run};

fn hooks(yard: &Yard) -> PathBuf {
    yard.site.root().join("hooks")
}

/// Puts a hook in place; `OUT` in it is the folder beside the root.
fn put(yard: &Yard, name: &str, script: &str) {
    fs::create_dir_all(hooks(yard)).unwrap();
    fs::set_permissions(hooks(yard), Permissions::from_mode(0o700)).unwrap();
    let out = yard.site.path().display().to_string();
    let path = hooks(yard).join(name);
    fs::write(&path, format!("#!/bin/sh\n{}", script.replace("OUT", &out))).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
}

fn set(yard: &Yard, line: &str) {
    let path = yard.site.root().join("numerus.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}{line}\n")).unwrap();
}

/// The numbers of the events that a hook was told of, in the order of its calls.
fn told(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    events.map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn once(yard: &Yard) -> Ended {
    yard.ask(&["daemon", "--once"])
}

fn failures(yard: &Yard, job: &str) -> Vec<Value> {
    let text = fs::read_to_string(yard.run(job).join("hooks/failed.ndjson")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn a_hook_is_called_for_every_event_in_order_without_our_keys_and_its_end_is_waited_for() {
    let yard = Yard::new("hooks");
    put(&yard, "all", "cat >> OUT/all; env > OUT/env; pwd > OUT/pwd");
    put(&yard, "job.finished", "cat >> OUT/finished");
    fs::write(hooks(&yard).join("README"), "no hook").unwrap();
    yard.drop_job("a", "good", "");
    let mut daemon = yard.numerus(&["daemon", "--once"]);
    daemon.env("CODEX_API_KEY", "s3cret").env("MY_TOKEN", "s3cret");
    let ended = yard.site.run(&mut daemon);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let job = yard.job("a-").unwrap();
    let events = yard.site.journal(&job).len() as u64;
    assert!(events > 10);
    assert_eq!(told(&yard.path("all")), (1..=events).collect::<Vec<_>>());
    assert_eq!(told(&yard.path("finished")), [events]);
    let environment = fs::read_to_string(yard.path("env")).unwrap();
    assert!(!environment.contains("s3cret"), "{environment}");
    for line in [
        "NUMERUS_EVENT=job.finished".to_owned(),
        format!("NUMERUS_EVENT_JOB={job}"),
        format!("NUMERUS_EVENT_SEQ={events}"),
        format!("NUMERUS_RUN={}", yard.run(&job).display()),
        format!("NUMERUS_ROOT={}", yard.site.root().display()),
    ] {
        assert!(environment.lines().any(|found| found == line), "{line}: {environment}");
    }
    assert_eq!(
        fs::read_to_string(yard.path("pwd")).unwrap().trim(),
        yard.run(&job).to_str().unwrap()
    );
    assert_eq!(failures(&yard, &job).len(), 0);
    let left = fs::read_dir(yard.site.root().join("store/hooks")).unwrap().flatten();
    assert_eq!(left.filter(|e| e.file_name() != ".lock").count(), 0, "no mark is left");
}

#[test]
fn hooks_that_fail_flood_or_could_be_changed_by_others_cost_the_job_nothing_and_are_told_of() {
    let yard = Yard::new("bad-hooks");
    put(&yard, "job.claimed", "echo oh no >&2; exit 3");
    put(&yard, "job.landed", "setsid sleep 1000 & head -c 3000000 /dev/zero | tr '\\0' x");
    put(&yard, "job.finished", "touch OUT/refused");
    fs::set_permissions(hooks(&yard).join("job.finished"), Permissions::from_mode(0o702)).unwrap();
    put(&yard, "job.finnished", "true");
    yard.drop_job("a", "good", "");
    let ended = once(&yard);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for said in ["mode 0702", "\"job.finnished\" is no event"] {
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
    let job = yard.job("a-").unwrap();
    let failed = failures(&yard, &job);
    let of = |hook: &str| failed.iter().find(|f| f["hook"] == hook).map(|f| f["why"].to_string());
    assert!(of("job.claimed").unwrap().contains("code 3"), "{failed:?}");
    assert!(of("job.finished").unwrap().contains("mode 0702"), "{failed:?}");
    assert_eq!(of("job.landed"), None, "{failed:?}");
    assert!(!yard.path("refused").exists());
    let kept = |hook: &str| {
        let names = fs::read_dir(yard.run(&job).join("hooks")).unwrap().flatten();
        let mut logs = names.filter(|e| e.file_name().to_string_lossy().starts_with(hook));
        logs.next().map(|log| fs::read(log.path()).unwrap()).unwrap_or_default()
    };
    assert_eq!(kept("job.claimed"), b"oh no\n");
    assert_eq!(kept("job.landed").len(), 64 * 1024);
    // The runner ends by itself, a moment after it has called the last one.
    yard.until("nothing that a hook has started lives", || yard.processes().is_empty());
    let shown = yard.ask(&["status", &job]);
    assert!(
        shown.stdout.contains("2 calls of hooks failed, the last of job.finished"),
        "{shown:?}"
    );
    let shown = yard.ask(&["status"]);
    assert!(shown.stdout.contains("a hook is not called: others may write"), "{shown:?}");
}

#[test]
fn a_hook_that_hangs_is_ended_in_time_with_all_that_it_has_started_and_told_of() {
    let yard = Yard::new("hanging-hook");
    // Short, so that no other hook may be held to it: how long one takes is the machine's affair.
    set(&yard, "hook_timeout = \"300ms\"");
    put(&yard, "job.plan_created", "setsid sleep 1000 & sleep 1000");
    yard.drop_job("a", "good", "");
    let ended = once(&yard);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let job = yard.job("a-").unwrap();
    // Who ends waits for no hook longer than twice that; it is told of all the same.
    yard.until("it is told of", || !failures(&yard, &job).is_empty());
    let failed = failures(&yard, &job);
    assert!(failed[0]["why"].to_string().contains("longer than 300ms"), "{failed:?}");
    yard.until("nothing that it has started lives", || yard.processes().is_empty());
}

#[test]
fn what_a_killed_runner_leaves_is_called_by_the_next_one_and_nothing_is_skipped() {
    let yard = Yard::new("hook-runner");
    // The one that hangs is not to be ended for it, however long the job takes.
    set(&yard, "hook_timeout = \"10m\"");
    put(
        &yard,
        "all",
        "echo $PPID > OUT/runner.new; mv OUT/runner.new OUT/runner; cat >> OUT/all; \
         [ $NUMERUS_EVENT != job.workspace_fixed ] || until [ -e OUT/go ]; do sleep 0.05; done",
    );
    let daemon = yard.daemon(&[]);
    yard.drop_job("a", "good", "");
    let job = yard.until_in("done", "a-");
    yard.until("the hook hangs", || told(&yard.path("all")).len() >= 4);
    let runner = fs::read_to_string(yard.path("runner")).unwrap().trim().parse().unwrap();
    kill(daemon.pid());
    kill(runner);
    // Who is about to be gone may hold the lock of the lead for a moment.
    daemon.wait(PATIENCE);
    // The worker of a job that has ended tidies up, and nobody waits for what it may still write.
    let gone = [runner, yard.worker(&job)];
    yard.until("they are gone", || yard.processes().iter().all(|pid| !gone.contains(pid)));
    fs::write(yard.path("go"), "").unwrap();
    let ended = once(&yard);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut seen = told(&yard.path("all"));
    let events = yard.site.journal(&job).len() as u64;
    assert!(seen.len() as u64 > events, "the call that was cut is made again: {seen:?}");
    seen.dedup();
    assert_eq!(seen, (1..=events).collect::<Vec<_>>());
}

#[test]
fn jobs_without_a_daemon_have_their_hooks_called_too() {
    let yard = Yard::new("hooks-run");
    put(&yard, "job.finished", "cat >> OUT/finished");
    let repo = yard.site.git_repo().display().to_string();
    for (words, jobs) in [
        (vec!["run", "good", "--plan", "single"], 1),
        (vec!["submit", "rests", "--not-before", "2999-01-01T00:00:00Z"], 1),
    ] {
        let ended = yard.ask(&[words, vec!["--workspace", &repo]].concat());
        assert_eq!((ended.code, told(&yard.path("finished")).len()), (Some(0), jobs), "{ended:?}");
    }
    once(&yard);
    let ended = yard.ask(&["kill", "rests"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    yard.until("the end by kill is told of", || told(&yard.path("finished")).len() == 2);
}

#[test]
fn an_idle_daemon_replaces_a_killed_runner_and_what_that_one_had_called_is_ended() {
    let yard = Yard::new("hook-left");
    set(&yard, "rescan = \"1s\"");
    let script = "[ ! -e OUT/hung ] || { cat >> OUT/finished; exit; }\n\
                  echo $PPID > OUT/runner; echo $$ > OUT/hung.new; mv OUT/hung.new OUT/hung; exec sleep 1000";
    put(&yard, "job.finished", script);
    let _daemon = yard.daemon(&[]);
    yard.drop_job("a", "good", "");
    yard.until_in("done", "a-");
    yard.until("the hook hangs", || yard.path("hung").exists());
    let pid = |name: &str| -> u32 {
        fs::read_to_string(yard.path(name)).unwrap().trim().parse().unwrap()
    };
    let (runner, hook) = (pid("runner"), pid("hung"));
    kill(runner);
    yard.until("the hook is called again", || told(&yard.path("finished")).len() == 1);
    assert!(!yard.processes().contains(&hook), "what nobody looked after is ended first");
}

#[test]
fn a_job_is_not_removed_before_its_hooks_were_called() {
    let yard = Yard::new("hook-prune");
    yard.drop_job("bad-1", "bad-1", "");
    assert_eq!(once(&yard).code, Some(1));
    let job = yard.job("bad-1-").unwrap();
    put(&yard, "all", "touch OUT/begun; until [ -e OUT/go ]; do sleep 0.05; done");
    put(&yard, "job.finished", "cat >> OUT/finished");
    let marks = yard.site.root().join("store/hooks");
    fs::create_dir_all(&marks).unwrap();
    fs::write(marks.join(&job), "").unwrap();
    let _runner = yard.site.spawn(&mut yard.numerus(&["__hooks"]));
    yard.until("they are being called", || yard.path("begun").exists());
    let prune = ["prune", "--keep", "0", "--unmerged", "--yes"];
    // Waits for twice as long as one may take, which counts for this command alone.
    let early = yard.site.run(yard.numerus(&prune).env("NUMERUS_HOOK_TIMEOUT", "100ms"));
    assert!(early.stderr.contains("its hooks are being called"), "{early:?}");
    assert!(yard.run(&job).exists());
    fs::write(yard.path("go"), "").unwrap();
    yard.until("all were called", || !marks.join(&job).exists());
    assert_eq!(told(&yard.path("finished")).len(), 1);
    assert_eq!(yard.ask(&prune).code, Some(0));
    assert!(!yard.run(&job).exists());
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/hooks").join(name)
}

#[test]
fn the_examples_do_what_they_say() {
    for name in ["notify-desktop", "webhook"] {
        let ended = Command::new("sh").arg("-n").arg(example(name)).status().unwrap();
        assert!(ended.success(), "{name}");
        assert_ne!(fs::metadata(example(name)).unwrap().permissions().mode() & 0o111, 0, "{name}");
    }
    if Command::new("curl").arg("--version").output().is_err() {
        return not_run("curl");
    }
    let yard = Yard::new("hook-examples");
    put(&yard, "job.finished", &fs::read_to_string(example("webhook")).unwrap());
    put(&yard, "job.claimed", &fs::read_to_string(example("notify-desktop")).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in\n", listener.local_addr().unwrap());
    fs::write(hooks(&yard).join("webhook.url"), url).unwrap();
    fs::write(hooks(&yard).join("webhook.headers"), "Authorization: Bearer s3cret\n").unwrap();
    let bin = yard.path("bin");
    fs::create_dir(&bin).unwrap();
    let notify = "#!/bin/sh\nprintf '%s\\n' \"$@\" > OUT/notified\n"
        .replace("OUT", &yard.path("").display().to_string());
    fs::write(bin.join("notify-send"), notify).unwrap();
    fs::set_permissions(bin.join("notify-send"), Permissions::from_mode(0o700)).unwrap();
    let server = std::thread::spawn(move || one_request(&listener));
    yard.drop_job("a", "good", "");
    let mut daemon = yard.numerus(&["daemon", "--once"]);
    let path = std::env::var("PATH").unwrap();
    let ended = yard.site.run(daemon.env("PATH", format!("{}:{path}", bin.display())));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let job = yard.job("a-").unwrap();
    assert_eq!(failures(&yard, &job).len(), 0, "{:?}", failures(&yard, &job));
    let (head, body) = server.join().unwrap();
    for header in ["Authorization: Bearer s3cret", &format!("Idempotency-Key: {job}/")] {
        assert!(head.contains(header), "{header}: {head}");
    }
    let event: Value = serde_json::from_str(&body).expect(&body);
    assert_eq!((&event["event"], &event["job_id"]), (&"job.finished".into(), &job.as_str().into()));
    let words = fs::read_to_string(yard.path("notified")).unwrap();
    assert_eq!(words, format!("--app-name=numerus\n--\n{job}: claimed\nnumerus status {job}\n"));
}

/// Answers one request with a good word, and gives its head and its body.
fn one_request(listener: &TcpListener) -> (String, String) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    (head, String::from_utf8(body).unwrap())
}
