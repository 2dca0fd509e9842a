//! What a person sees on a terminal: the live view of a job, the question of Ctrl-C, and `top`; and that the terminal is left
//! as it was found, whatever happens.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::site::Running;
use crate::terminal::Terminal;
use crate::yard::Yard;

/// The program in a repository of the yard: else jobs would work on the one that holds the tests.
fn numerus(yard: &Yard, words: &[&str]) -> Command {
    let repo = yard.path("repo");
    if !repo.exists() {
        yard.site.git_repo();
    }
    let mut command = yard.numerus(words);
    command.current_dir(repo);
    command
}

/// A job that `run` works on.
fn run(yard: &Yard, objective: &str) -> Command {
    numerus(yard, &["run", objective, "--plan", "single", "--max-attempts", "1"])
}

/// Started on a terminal, and come to where it waits to be let go.
fn held(yard: &Yard, objective: &str, columns: u16, rows: u16) -> Terminal {
    let terminal = Terminal::start(&run(yard, objective), columns, rows);
    terminal.until("executing");
    yard.until_reached(objective);
    terminal
}

#[test]
fn run_shows_its_tasks_while_it_works_and_leaves_a_clean_screen() {
    let yard = Yard::new("live-run");
    let mut terminal = held(&yard, "hold-a", 80, 40);
    let text = terminal.text();
    assert!(
        text.contains("running · 0 of 1 task · ") && text.contains("started, attempt 1"),
        "{text}"
    );
    terminal.until("executor  executing  2s");
    yard.let_go("hold-a");
    assert_eq!(terminal.end(), 0);
    terminal.until("look: numerus apply");
    let text = terminal.text();
    assert!(terminal.is_sane() && !text.contains("0 of 1 task"), "{text}");
    assert_eq!(text.matches("started, attempt 1").count(), 1, "{text}");
    let raw = terminal.raw();
    assert!(
        !raw.contains("\u{1b}[6n") && !raw.contains("\u{1b}[?25l"),
        "nothing is asked or hidden"
    );
}

#[test]
fn a_narrow_and_low_terminal_and_one_that_changes_its_size_show_the_job() {
    let yard = Yard::new("live-narrow");
    let mut terminal = held(&yard, "hold-n", 40, 6);
    terminal.until_so("nothing is wrapped", |text| {
        text.lines().any(|line| line.starts_with("  ") && line.contains("executing"))
    });
    terminal.resize(100, 30);
    terminal.until("executor  executing");
    terminal.signal(Signal::STOP);
    terminal.signal(Signal::CONT);
    terminal.until("executor  executing");
    yard.let_go("hold-n");
    assert_eq!(terminal.end(), 0);
    assert!(terminal.is_sane());
}

#[test]
fn a_job_that_is_detached_goes_on_when_its_terminal_has_gone() {
    let yard = Yard::new("live-detach");
    let mut terminal = held(&yard, "hold-d", 100, 30);
    terminal.press("\u{3}");
    terminal.until("[d]etach (the work goes on), [k]ill, or go on?");
    terminal.press("d\r");
    assert_eq!(terminal.end(), 4, "it has not ended");
    terminal.until("goes on without this command");
    let text = terminal.text();
    assert!(
        terminal.is_sane() && !text.contains("0 of 1 task") && !text.contains("[d]etach"),
        "{text}"
    );
    let said: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("numerus logs hold-d-") && said.contains(" -f follows it"), "{said}");
    terminal.hang_up();
    yard.let_go("hold-d");
    yard.until_in("done", "hold-d");
}

#[test]
fn ctrl_c_asks_and_only_a_clear_word_or_a_second_one_ends_the_job() {
    let yard = Yard::new("live-kill");
    for (objective, answer) in [("hold-k", "k\r"), ("hold-c", "\u{3}")] {
        let mut terminal = held(&yard, objective, 100, 30);
        terminal.press("\u{3}");
        terminal.until("or go on?");
        terminal.press("\r");
        terminal.until_so("it goes on", |text| {
            text.contains("executor  executing") && !text.contains("or go on?")
        });
        terminal.press("\u{3}");
        terminal.until("or go on?");
        terminal.press(answer);
        if answer == "\u{3}" {
            // At once it counts as the first one; whoever means it presses on.
            terminal.press_until(answer, ": killed (");
        }
        assert_eq!(terminal.end(), 130, "{}", terminal.text());
        terminal.until(": killed (");
        assert!(terminal.is_sane() && !terminal.text().contains("0 of 1 task"));
        yard.until_in("killed", objective);
    }
}

#[test]
fn what_was_said_while_the_question_was_open_is_told_afterwards() {
    let yard = Yard::new("live-question");
    let mut terminal = held(&yard, "hold-q", 100, 40);
    terminal.press("\u{3}");
    terminal.until("or go on?");
    yard.let_go("hold-q");
    let job = yard.until_in("done", "hold-q");
    assert_eq!(terminal.end(), 0, "a job that has ended needs no answer");
    terminal.until("look: numerus apply");
    let text = terminal.text();
    assert!(text.contains(&format!("the result is branch numerus/{job}")), "{text}");
    assert!(!text.contains("or go on?"), "{text}");
}

#[test]
fn a_terminal_that_knows_no_cursor_gets_plain_lines() {
    let yard = Yard::new("live-dumb");
    let mut command = run(&yard, "plain");
    let mut terminal = Terminal::start(command.env("TERM", "dumb"), 80, 24);
    assert_eq!(terminal.end(), 0);
    terminal.until("look: numerus apply");
    assert!(!terminal.raw().contains('\u{1b}'), "{:?}", terminal.raw());
}

#[test]
fn colours_are_there_when_they_are_wanted_and_nowhere_else() {
    let yard = Yard::new("live-colour");
    yard.site.run(&mut numerus(&yard, &["submit", "x", "--plan", "single"]));
    yard.ask(&["daemon", "--once"]);
    let seen = |words: &[&str]| yard.ask(words).stdout.contains('\u{1b}');
    assert!(!seen(&["status"]), "a file");
    assert!(seen(&["status", "--color", "always"]));
    assert!(!seen(&["--color=never", "status"]));
    for (name, value, words, coloured) in [
        ("TERM", "xterm", vec!["status"], true),
        ("TERM", "dumb", vec!["status"], false),
        ("NO_COLOR", "1", vec!["status"], false),
        ("NO_COLOR", "1", vec!["status", "--color=always"], true),
        ("TERM", "xterm", vec!["status", "--color=never"], false),
    ] {
        let mut command = yard.numerus(&words);
        let mut terminal = Terminal::start(command.env(name, value), 100, 24);
        assert_eq!(terminal.end(), 0);
        terminal.until("succeeded");
        assert_eq!(terminal.raw().contains("\u{1b}["), coloured, "{name}={value} {words:?}");
    }
    assert_eq!(yard.ask(&["status", "--color", "blue"]).code, Some(2));
}

#[test]
fn those_who_wait_for_a_daemons_job_see_it_too() {
    let yard = Yard::new("live-wait");
    let _daemon = yard.daemon(&[]);
    let submit = numerus(&yard, &["submit", "hold-w", "--plan", "single", "--wait"]);
    let mut waiting = Terminal::start(&submit, 90, 30);
    waiting.until("executor  executing");
    let mut logs = Terminal::start(&yard.numerus(&["logs", "hold-w", "--follow"]), 90, 30);
    logs.until("executor  executing");
    let mut left = Terminal::start(&yard.numerus(&["logs", "hold-w", "--follow"]), 90, 30);
    left.until("executor  executing");
    left.press("\u{3}");
    assert_eq!(left.end(), 130);
    yard.let_go("hold-w");
    for terminal in [&mut waiting, &mut logs] {
        assert_eq!(terminal.end(), 0, "{}", terminal.text());
    }
    waiting.until(": succeeded");
    logs.until("t1 | done");
    for terminal in [waiting, logs, left] {
        let text = terminal.text();
        assert!(terminal.is_sane() && !text.contains("0 of 1 task"), "{text}");
    }
}

/// A daemon with three jobs on one repository: one at work, one that waits for it, one that waits for a person.
fn three_jobs(yard: &Yard) -> (Running, PathBuf) {
    let repo = yard.site.git_repo();
    let daemon = yard.daemon(&[]);
    let of_repo = |more: &str| format!("workspace: {}\n{more}", repo.display());
    yard.drop_job("one", "hold-one", &of_repo(""));
    yard.until_reached("hold-one");
    yard.drop_job("two", "two", &of_repo(""));
    yard.drop_job("three", "three", &of_repo("approve: true\n"));
    (daemon, repo)
}

fn top(yard: &Yard, columns: u16, rows: u16) -> Terminal {
    Terminal::start(&yard.numerus(&["top"]), columns, rows)
}

#[test]
fn top_shows_who_works_who_waits_for_whom_and_who_for_a_person() {
    let yard = Yard::new("top");
    let (_daemon, _repo) = three_jobs(&yard);
    let mut terminal = top(&yard, 80, 24);
    let (one, two) = (yard.until_in("claimed", "one"), yard.until_in("claimed", "two"));
    terminal.until("2 running · 1 paused");
    terminal.until(&format!("waits for {one}/t1"));
    terminal.until("the plan waits");
    let text = terminal.text();
    assert!(text.contains("daemon active") && text.contains("t1  executor  executing"), "{text}");
    assert!(text.contains(&format!("> {one}")), "the oldest that works is selected: {text}");
    terminal.press("\r");
    terminal.until(" 0 of 1 task · ");
    terminal.press("\u{1b}[B");
    terminal.until(&format!("── {one}/t1 ──"));
    terminal.press("\u{1b}");
    terminal.until("JOB  ");
    terminal.press("jK");
    terminal.until(&format!("kill {two}? [y/n]"));
    terminal.press("n");
    terminal.until("nothing was done");
    terminal.press("K");
    terminal.until(&format!("kill {two}? [y/n]"));
    terminal.press("y");
    terminal.until(&format!("{two}: killed ("));
    terminal.until("1 running · 1 paused · 1 killed");
    yard.until_in("killed", "two");
    terminal.press("gp");
    terminal.until(&format!("{one}: paused"));
    terminal.until("2 paused · 1 killed");
    terminal.press("p");
    terminal.until("1 running · 1 paused · 1 killed");
    terminal.press("o");
    terminal.until("no browser could be started");
    terminal.press("Gr");
    terminal.until("[y/n]");
    terminal.press("n");
    terminal.until("nothing was done");
    terminal.press("g");
    // A key in the very moment of a resize is heard with the next one: crossterm drops what else it was told of with the signal.
    terminal.until(&format!("> {one}"));
    terminal.resize(40, 12);
    terminal.until_so("it fits", |text| {
        text.lines().next().is_some_and(|line| line.ends_with("daemon active"))
            && text.contains("Enter open")
    });
    yard.let_go("hold-one");
    terminal.until("1 succeeded");
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
    assert!(terminal.is_sane() && terminal.text().trim().is_empty(), "{}", terminal.text());
}

#[test]
fn a_plan_is_approved_in_top_and_the_daemon_goes_on_with_its_job() {
    let yard = Yard::new("top-approve");
    let (_daemon, _repo) = three_jobs(&yard);
    let mut terminal = top(&yard, 80, 24);
    let three = yard.until_in("claimed", "three");
    terminal.until("2 running · 1 paused");
    assert!(!terminal.text().contains("a approve"), "{}", terminal.text());
    // Whoever waits for a person stands behind those that are worked on.
    terminal.press("G");
    terminal.until("a approve");
    terminal.press("a");
    terminal.until(&format!("approve {three}? [y/n]"));
    terminal.press("n");
    terminal.until("nothing was done");
    terminal.press("a");
    terminal.until("[y/n]");
    terminal.press("y");
    terminal.until(&format!("{three}: goes on"));
    terminal.until("plan approved");
    terminal.until_so("nothing waits for a person", |text| !text.contains("1 paused"));
    yard.let_go("hold-one");
    yard.until_in("done", "three");
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn top_gives_the_screen_back_whatever_ends_it() {
    let yard = Yard::new("top-end");
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut terminal = top(&yard, 80, 24);
        terminal.until("no jobs");
        assert!(!terminal.is_sane(), "it has the screen");
        terminal.signal(signal);
        assert_eq!(terminal.end(), code);
        assert!(terminal.is_sane());
    }
    let mut terminal = top(&yard, 80, 24);
    terminal.until("no jobs");
    terminal.press("\u{3}");
    assert_eq!(terminal.end(), 0);
    assert!(terminal.is_sane());
}

#[test]
fn what_an_agent_says_moves_nothing_on_the_screen() {
    let yard = Yard::new("top-evil");
    let claim = r#"{"message": {"task_id": "{{task}}", "resources": {"reads": [], "writes": ["o"]}, "execution": {"commands": []}}}"#;
    let (ready, go) = (yard.path("ready-evil"), yard.path("go-evil"));
    let script = format!(
        r#"{{"version": 1, "scenes": [{{"when": {{"marker": "NUMERUS_CLAIM"}}, "play": [{claim}]}},
        {{"play": [{{"message": "evil\u001b[2J\u001b[?1049l\u202etext"}}, {{"touch_ready": {{"path": "{}"}}}},
        {{"wait_for": {{"path": "{}", "deadline_ms": 60000}}}}, {{"message": "done"}}]}}]}}"#,
        ready.display(),
        go.display()
    );
    fs::write(yard.path("script.json"), script).unwrap();
    let mut running = Terminal::start(&run(&yard, "evil"), 100, 30);
    running.until(r"evil\x1b[2J\x1b[?1049l\u{202e}text");
    let mut terminal = top(&yard, 100, 30);
    terminal.until(r"evil\x1b[2J\x1b[?1049l\u{202e}text");
    assert!(!terminal.is_sane(), "it still has the screen");
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
    yard.let_go("evil");
    assert_eq!(running.end(), 0);
    assert!(!running.raw().contains("\u{1b}[2J") && !running.raw().contains('\u{202e}'));
}

#[test]
fn top_without_a_terminal_names_what_prints_the_same() {
    let yard = Yard::new("top-none");
    let ended = yard.ask(&["top"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("hint: numerus status"), "{ended:?}");
    let mut command = yard.numerus(&["top"]);
    let mut terminal = Terminal::start(command.env("TERM", "dumb"), 80, 24);
    assert_eq!(terminal.end(), 2);
}
