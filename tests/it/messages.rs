//! What people read when something is not as it should be, word by word, through the real program: the commonest mistakes, each
//! with its exit code, and the help of every command. The texts lie in `snapshots/`; `SNAPSHOTS=overwrite cargo test --test it
//! messages` writes them anew, and what has changed is read before it is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::site::Ended;
use crate::yard::Yard;

/// Ids, sizes of this machine's disk and its paths have no say in a text.
fn redacted(yard: &Yard, text: &str) -> String {
    let mut text = text.replace(yard.site.path().to_str().unwrap(), "[SITE]");
    for word in text.clone().split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let tail = word.rsplit_once('-').filter(|(stem, tail)| !stem.is_empty() && is_tail(tail));
        if let Some((stem, _)) = tail {
            text = text.replace(word, &format!("{stem}-[ID]"));
        }
    }
    text
}

/// Six characters of which some are digits, as jobs' ids end in, or at least nothing that a word would be.
fn is_tail(tail: &str) -> bool {
    let is_base32 = |c: char| c.is_ascii_lowercase() || ('2'..='7').contains(&c);
    tail.len() == 6 && tail.chars().all(is_base32) && !WORDS.contains(&tail)
}

/// Words of the texts that look like the end of an id.
const WORDS: [&str; 4] = ["second", "before", "access", "folder"];

/// One command with how it ended and what it said.
fn told(yard: &Yard, command: &mut Command, words: &str) -> String {
    let Ended { code, stdout, stderr, .. } = yard.site.run(command);
    let code = code.map_or("ended by a signal".to_owned(), |code| format!("exit {code}"));
    let text = format!("$ {words}\n{stdout}--- stderr\n{stderr}--- {code}\n\n");
    redacted(yard, &text)
}

/// Several commands, one after another, in the directory given.
struct Telling<'a> {
    yard: &'a Yard,
    dir: PathBuf,
    text: String,
}

impl<'a> Telling<'a> {
    fn new(yard: &'a Yard, dir: impl AsRef<Path>) -> Self {
        Self { yard, dir: dir.as_ref().to_owned(), text: String::new() }
    }

    fn ask(&mut self, words: &[&str]) -> &mut Self {
        self.ask_with(words, |_| ())
    }

    fn ask_with(&mut self, words: &[&str], change: impl FnOnce(&mut Command)) -> &mut Self {
        let mut command = self.yard.numerus(words);
        command.current_dir(&self.dir);
        change(&mut command);
        let shown: Vec<String> =
            words
                .iter()
                .map(|w| {
                    if w.is_empty() || w.contains(' ') { format!("{w:?}") } else { (*w).to_owned() }
                })
                .collect();
        let shown = format!("numerus {}", shown.join(" "));
        self.text.push_str(&told(self.yard, &mut command, &shown));
        self
    }

    /// Holds it against what is kept under this name.
    fn is_as(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
        let kept = snapbox::Data::read_from(&path.join(format!("{name}.txt")), None);
        snapbox::assert_data_eq!(self.text.as_str(), kept.raw());
    }
}

#[test]
fn the_help_of_every_command_is_as_it_was_read_last() {
    let yard = Yard::new("help");
    let mut telling = Telling::new(&yard, yard.site.path());
    telling.ask(&["--help"]);
    let help = telling.text.clone();
    telling.is_as("help");
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        Telling::new(&yard, yard.site.path()).ask(&[name, "--help"]).is_as(&format!("help-{name}"));
    }
}

#[test]
fn words_that_are_none_are_answered_with_what_was_meant() {
    let yard = Yard::new("words");
    Telling::new(&yard, yard.site.path())
        .ask(&["fly"])
        .ask(&["statsu"])
        .ask(&["status", "--jsn"])
        .ask(&["submit"])
        .ask(&["kill"])
        .ask(&["submit", "x", "--plan", "maybe"])
        .ask(&["submit", "x", "--priority", "400"])
        .ask(&["submit", "x", "--not-before", "tomorrow"])
        .ask(&["submit", "x", "--timeout", "dance=1h"])
        .is_as("words");
}

#[test]
fn objectives_and_options_that_will_not_do_say_why() {
    let yard = Yard::new("options");
    yard.set_settings("rehearse = \"builtin\"\nmax_objective = 1000\n");
    let file = |name: &str, text: &str| fs::write(yard.path(name), text).unwrap();
    file("unknown.md", "---\nworkspce: /srv\n---\nhello\n");
    file("time.md", "---\nnot_before: tomorrow\n---\nhello\n");
    file("yaml.md", "---\nlabels: [a\n---\nhello\n");
    file("large.md", &"x".repeat(1001));
    let repo = yard.site.git_repo();
    let mut telling = Telling::new(&yard, &repo);
    for words in [
        &["submit", ""][..],
        &["submit", "-f", "../large.md"],
        &["submit", "-f", "../gone.md"],
        &["submit", "-f", "../unknown.md"],
        &["submit", "-f", "../time.md"],
        &["submit", "-f", "../yaml.md"],
        &["submit", "x", "--after", "nosuch"],
        &["submit", "x", "--label", ""],
        &["submit", "x", "--sandbox", "danger-full-access"],
        &["submit", "x", "--network"],
        &["submit", "x", "--workspace", "../gone"],
        &["run", "x", "--after", "y"],
    ] {
        telling.ask(words);
    }
    telling.is_as("options");
}

#[test]
fn the_place_of_work_is_told_and_one_that_will_not_do_is_refused_with_the_reason() {
    let yard = Yard::new("places");
    let repo = yard.site.git_repo();
    let outside = tempfile::tempdir().unwrap();
    Telling::new(&yard, outside.path()).ask(&["submit", "hello"]).is_as("no-repository");
    fs::write(repo.join("README"), "changed\n").unwrap();
    Telling::new(&yard, &repo).ask(&["submit", "hello"]).is_as("dirty-checkout");
    yard.site.git(yard.site.path(), &["init", "--quiet", "--bare", "bare"]);
    let mut refused = Telling::new(&yard, yard.site.path());
    refused.ask(&["run", "hello", "--workspace", "bare", "--plan", "single"]);
    fs::write(repo.join(".gitattributes"), "* filter=own\n").unwrap();
    yard.site.git(&repo, &["config", "filter.own.clean", "cat"]);
    yard.site.git(&repo, &["add", "--all"]);
    yard.site.git(&repo, &["commit", "--quiet", "--message=filters"]);
    refused.ask(&["run", "hello", "--workspace", "repo", "--plan", "single"]);
    // Times and ages have no say.
    refused.text = refused
        .text
        .lines()
        .filter(|line| !line.starts_with("taken ") && !line.contains("worker started"))
        .map(|line| {
            line.split_once(' ')
                .filter(|(at, _)| at.len() == 8 && at.contains(':'))
                .map_or(line, |(_, rest)| rest)
        })
        .fold(String::new(), |text, line| text + line + "\n");
    refused.is_as("refused-workspace");
}

#[test]
fn jobs_and_tasks_that_are_not_meant_are_told_apart() {
    let yard = Yard::new("jobs");
    yard.drop_job("worked", "write it", "key: once\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let job = yard.job("worked-").unwrap();
    for name in ["one-abc234", "one-abc235"] {
        yard.drop_file(&format!("{name}.json"), json!({"objective": "x"}).to_string());
    }
    let mut telling = Telling::new(&yard, yard.site.path());
    let (task, verify) = (format!("{job}/nosuch"), format!("{job}/verify"));
    for words in [
        &["status", "wroked"][..],
        &["status", "nothing-like-it"],
        &["kill", "one"],
        &["kill", &job],
        &["kill", &task],
        &["logs", &task],
        &["logs", &verify],
        &["kill", "one-abc234"],
        &["status", "one-abc234"],
        &["submit", "again", "--key", "once"],
    ] {
        telling.ask(words);
    }
    telling.is_as("jobs");
}

#[test]
fn a_task_that_did_not_begin_says_why_there_is_no_log() {
    let yard = Yard::new("silent");
    let _daemon = yard.daemon(&[]);
    let job = yard.resting("waits");
    let mut telling = Telling::new(&yard, yard.site.path());
    telling.ask(&["logs", &job]);
    // As a session leaves it whose agent says nothing.
    let place = yard.run(&job).join("plan");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("events.ndjson"), "").unwrap();
    telling.ask(&["logs", &job]).ask(&["kill", &job]).ask(&["logs", &job]).is_as("silent");
}

#[test]
fn a_root_that_is_not_there_or_cannot_be_used_is_told_by_every_command() {
    let yard = Yard::new("roots");
    let typo = yard.path("typo");
    let typo = typo.to_str().unwrap();
    let mut telling = Telling::new(&yard, yard.site.path());
    for words in
        [&["status"][..], &["status", "--json"], &["kill", "x"], &["logs", "x"], &["wait", "x"]]
    {
        telling.ask(&[&["--root", typo][..], words].concat());
    }
    assert!(!Path::new(typo).exists(), "nobody made it");
    fs::write(yard.path("README-is-no-folder"), "").unwrap();
    let broken = telling.ask(&["--root", "README-is-no-folder/x", "submit", "x"]);
    broken.is_as("roots");
    let mut telling = Telling::new(&yard, yard.site.path());
    yard.set_settings("max_jobs = 2\nrehearse = [\n");
    telling.ask(&["status"]).ask(&["submit", "x"]).ask(&["daemon", "--once"]);
    yard.set_settings("max_jbos = 2\n");
    telling.ask(&["status"]).ask(&["submit", "x"]);
    yard.set_settings("");
    telling.ask_with(&["submit", "x"], |command| {
        command.env("NUMERUS_MAX_JOBS", "many");
    });
    telling.is_as("settings");
}

#[test]
fn without_codex_nothing_is_begun_and_a_script_that_does_not_play_fails_its_job_alone() {
    let yard = Yard::new("no-codex");
    yard.set_settings("");
    let repo = yard.site.git_repo();
    let mut telling = Telling::new(&yard, &repo);
    telling.ask_with(&["run", "x"], |command| {
        command.env("CODEX_BIN", "/nonexistent/codex");
    });
    telling.ask_with(&["daemon", "--once"], |command| {
        command.env("CODEX_BIN", "/nonexistent/codex");
    });
    telling.is_as("no-codex");
    fs::write(yard.path("broken.json"), "{\"version\": 1, \"scenes\": [").unwrap();
    let script = format!("--rehearse={}", yard.path("broken.json").display());
    let ended =
        yard.site.run(yard.numerus(&["run", "x", "--plan", "single", &script]).current_dir(&repo));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("the rehearsal's script does not play"), "{ended:?}");
    assert!(!ended.stdout.contains("log in") && !ended.stderr.contains("log in"), "{ended:?}");
    let held = yard.site.root().join("store/holds");
    assert_eq!(crate::yard::names(&held), [""; 0]);
}

/// A script for two tasks of which the second needs the first, which fails.
fn failing_first() -> String {
    let task = |id: &str, needs: &[&str]| {
        json!({"id": id, "summary": id, "description": id, "dependencies": needs,
               "resources": {"reads": [], "writes": [format!("{id}.txt")]}})
    };
    let plan = json!({"objective": "x", "tasks": [task("first", &[]), task("then", &["first"])]});
    let role = |id: &str| json!({"id": id, "role": "executor", "notes": ""});
    let roles = json!({"roles": [role("first"), role("then")], "strategy": "x"});
    let claim = json!({"task_id": "{{task}}", "execution": {"commands": []},
                       "resources": {"reads": [], "writes": ["{{task}}.txt"]}});
    let scene =
        |marker: &str, play: serde_json::Value| json!({"when": {"marker": marker}, "play": [play]});
    let queen = json!({"decision": "give_up", "advice": "no"});
    json!({"version": 1, "scenes": [
        scene("NUMERUS_PLAN", json!({"message": plan})),
        scene("NUMERUS_ROLES", json!({"message": roles})),
        scene("NUMERUS_CLAIM", json!({"message": claim})),
        scene("NUMERUS_EXECUTE", json!({"fail": {"message": "it does not compile", "info": "other"}})),
        scene("NUMERUS_QUEEN", json!({"message": queen})),
    ]})
    .to_string()
}

#[test]
fn a_task_that_was_left_undone_says_so_instead_of_showing_an_empty_log() {
    let yard = Yard::new("undone");
    fs::write(yard.path("failing.json"), failing_first()).unwrap();
    let rehearse = format!("rehearse: {}\n", yard.path("failing.json").display());
    let text = format!("---\nmax_attempts: 1\n{rehearse}---\nboth\n");
    yard.drop_file("both.md", text);
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let job = yard.job("both-").unwrap();
    let (then, gone) = (format!("{job}/then"), format!("{job}/nosuch"));
    Telling::new(&yard, yard.site.path())
        .ask(&["logs", &then])
        .ask(&["kill", &gone])
        .is_as("undone");
}
