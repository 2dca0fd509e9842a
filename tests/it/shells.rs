//! What shells and `man` are given: the key for completion is pressed in each shell, every page is formatted and linted.

use std::fs;
use std::path::Path;

use numerus::error::CODES;

use crate::site::Ended;
use crate::yard::{Yard, not_run};

/// Whether a program is there.
fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}

/// Runs a shell's script where `numerus` is on the path, on a root with one job that waits and one that has ended.
fn shell(yard: &Yard, program: &str, words: &[&str]) -> Ended {
    let own = Path::new(env!("CARGO_BIN_EXE_numerus")).parent().unwrap();
    let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap());
    let mut command = yard.site.command(program);
    command.env("NUMERUS_ROOT", yard.site.root()).env("PATH", path).env("TERM", "dumb");
    yard.site.run(command.args(words))
}

/// A root with two jobs; the second has tasks.
fn two_jobs(name: &str) -> (Yard, String, String) {
    let yard = Yard::new(name);
    yard.drop_job("worked", "write it", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let waits = yard.ask(&["submit", "hello"]).stdout.trim().to_owned();
    let worked = yard.job("worked-").unwrap();
    (yard, waits, worked)
}

#[test]
fn bash_completes_commands_flags_jobs_and_tasks() {
    let (yard, waits, worked) = two_jobs("bash");
    let task = yard.ask(&["status", &worked, "--json"]).stdout;
    let task: serde_json::Value = serde_json::from_str(&task).unwrap();
    let task = task["tasks"][0]["id"].as_str().unwrap().to_owned();
    for (line, expected) in [
        ("numerus stat", "status".to_owned()),
        ("numerus submit --prio", "--priority".to_owned()),
        ("numerus submit --isolation in", "in-place".to_owned()),
        ("numerus kill he", waits.clone()),
        ("numerus --root ROOT status he", waits.clone()),
        ("numerus wait wor", worked.clone()),
        ("numerus logs worked-", worked.clone()),
        ("numerus logs worked/", format!("worked/{task}")),
        ("numerus submit x --after he", waits.clone()),
        ("numerus completions zs", "zsh".to_owned()),
        ("numerus kill nothing-like-it", String::new()),
        // Only what has not ended can be killed, only what has be applied.
        ("numerus kill wor", String::new()),
        ("numerus apply wor", worked.clone()),
        ("numerus apply he", String::new()),
        // A job that has ended is retried, or a task of one that has not.
        ("numerus retry he", waits.clone()),
        ("numerus retry wor", worked.clone()),
        ("numerus edit x --after wor", worked.clone()),
    ] {
        let root = yard.site.root();
        let words: Vec<String> =
            line.split(' ').map(|w| w.replace("ROOT", root.to_str().unwrap())).collect();
        let last = words.last().unwrap();
        let script = format!(
            "source <(numerus completions bash); COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; \
             _clap_complete_numerus numerus {last} x; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1,
        );
        let ended = shell(&yard, "bash", &["--norc", "-c", &script]);
        assert_eq!(ended.stdout.trim(), expected, "{line}: {ended:?}");
    }
}

#[test]
fn fish_completes_commands_and_jobs() {
    if !has("fish") {
        return not_run("fish");
    }
    let (yard, waits, _) = two_jobs("fish");
    for (line, expected) in
        [("numerus stat", "status"), ("numerus kill he", &waits), ("numerus run --rev", "--review")]
    {
        let script = format!("numerus completions fish | source; complete -C '{line}'");
        let ended = shell(&yard, "fish", &["--no-config", "-c", &script]);
        let first = ended.stdout.split(['\t', '\n']).next().unwrap_or_default();
        assert_eq!(first, expected, "{line}: {ended:?}");
    }
}

#[test]
fn zsh_completes_commands_and_jobs() {
    if !has("zsh") {
        return not_run("zsh");
    }
    let (yard, waits, _) = two_jobs("zsh");
    for (line, expected) in [("numerus stat", "status"), ("numerus kill he", &waits)] {
        // A zsh in a terminal of its own is typed to, as somebody would.
        let script = format!(
            "zmodload zsh/zpty; zpty z zsh -f -i; \
             zpty -w z 'PS1=; unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u -D'; \
             zpty -w z 'source <(numerus completions zsh); print rea''dy'; zpty -r -m z out '*ready*'; \
             zpty -w -n z $'{line}\\t'; zpty -r -m z out '*{expected}*'; print -r -- \"$out\"; zpty -d z"
        );
        let ended = shell(&yard, "zsh", &["-f", "-c", &script]);
        assert!(ended.stdout.contains(expected), "{line}: {ended:?}");
    }
}

#[test]
fn a_root_that_is_not_there_completes_nothing_and_is_not_made() {
    let yard = Yard::new("complete-nowhere");
    let nowhere = yard.path("nowhere");
    let mut command = yard.site.command(env!("CARGO_BIN_EXE_numerus"));
    command.env("NUMERUS_COMPLETE", "fish").env("NUMERUS_ROOT", &nowhere);
    let ended = yard.site.run(command.args(["--", "numerus", "kill", "x"]));
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), ""), "{ended:?}");
    assert!(!nowhere.exists());
}

#[test]
fn every_command_has_a_page_that_man_takes_without_a_warning() {
    let yard = Yard::new("man");
    let out = yard.path("man");
    let ended = yard.ask(&["man", "--out", out.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let help = yard.ask(&["--help"]).stdout;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    let mut pages: Vec<String> = names.map(|name| format!("man1/numerus-{name}.1")).collect();
    assert!(pages.len() > 10, "{help}");
    pages.extend(["man1/numerus.1".to_owned(), "man5/numerus.toml.5".to_owned()]);
    pages.sort();
    let within = |section: &str| {
        let names = crate::yard::names(&out.join(section));
        names.into_iter().map(move |name| format!("{section}/{name}")).collect::<Vec<_>>()
    };
    let mut written = [within("man1"), within("man5")].concat();
    written.sort();
    assert_eq!(written, pages);
    let page = fs::read_to_string(out.join("man1/numerus-kill.1")).unwrap();
    for part in CODES.map(|(_, meaning)| meaning) {
        assert!(page.contains(part), "{part}: {page}");
    }
    for part in [".SH EXAMPLES", ".SH \"EXIT STATUS\"", "numerus kill fix"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let printed = yard.ask(&["man"]).stdout;
    assert_eq!(printed, fs::read_to_string(out.join("man1/numerus.1")).unwrap());
    for (program, words) in
        [("man", &["--warnings", "-l"][..]), ("mandoc", &["-T", "lint", "-W", "error"])]
    {
        if !has(program) {
            not_run(program);
            continue;
        }
        for page in &pages {
            let mut command = yard.site.command(program);
            let ended =
                yard.site.run(command.env("MANPAGER", "cat").args(words).arg(out.join(page)));
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{program} {page}");
        }
    }
}
