//! The checks of the house: floors, one door per package, sizes, head comments, and what tests may not do.
//!
//! Each rule is a function of a path and a text that gives the offending lines, and has a test that shows it biting.
//! `the_house_is_tidy` runs all of them over the repository and lists every offence at once, as `path:line: what`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A line and what is wrong with it.
type Offences = Vec<(usize, String)>;

const MAX_LINES: usize = 400;

/// What each module may name of this crate besides itself; `main` is the program, `lib` the list of modules. The order of the
/// floors stands in the code map of `docs/ARCHITECTURE.md`.
pub(crate) const FLOORS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("error", &[]),
    ("logic", &["model"]),
    ("os", &[]),
    ("spool", &["model", "os"]),
    ("runs", &["model", "os"]),
    ("store", &["model", "os"]),
    ("leases", &["model", "os"]),
    ("bus", &["model", "os"]),
    ("root", &["model", "os", "spool", "runs"]),
    ("health", &["model", "logic", "os"]),
    ("trees", &["model", "logic", "os", "runs"]),
    ("jobs", &["model", "logic", "os", "spool", "runs", "store"]),
    ("report", &["model", "logic", "os", "spool", "runs", "jobs"]),
    ("codex", &["model", "logic", "os", "spool", "runs", "store", "leases", "bus"]),
    ("standin", &["model", "logic", "os", "spool", "runs", "store", "leases", "bus"]),
    (
        "doctor",
        &["model", "logic", "os", "spool", "runs", "store", "codex", "root", "health", "hooks"],
    ),
    ("hooks", &["model", "logic", "os", "runs"]),
    (
        "ending",
        &[
            "model", "logic", "os", "spool", "runs", "store", "leases", "bus", "codex", "trees",
            "hooks", "report",
        ],
    ),
    (
        "worker",
        &[
            "model", "logic", "os", "spool", "runs", "store", "leases", "bus", "codex", "standin",
            "ending", "health", "hooks", "report", "root", "trees",
        ],
    ),
    (
        "daemon",
        &[
            "model", "logic", "os", "spool", "runs", "store", "leases", "bus", "codex", "standin",
            "ending", "error", "health", "hooks", "report", "root", "trees",
        ],
    ),
    (
        "cli",
        &[
            "model", "logic", "os", "spool", "runs", "store", "leases", "bus", "codex", "standin",
            "doctor", "ending", "worker", "daemon", "error", "health", "hooks", "jobs", "report",
            "root", "trees",
        ],
    ),
    ("main", &["cli", "os", "standin"]),
    ("lib", &[]),
];

/// The only places that may name a package; a folder ends in a slash.
const DOORS: &[(&str, &[&str])] = &[
    ("clap_complete", &["src/cli/completions.rs"]),
    ("clap_mangen", &["src/cli/man.rs"]),
    ("fs2", &["src/os/lock.rs"]),
    ("rusqlite", &["src/store.rs", "src/store/"]),
    ("nix", &["src/os/child.rs"]),
    ("notify", &["src/os/watch.rs"]),
    ("portable_pty", &["src/os/pty.rs"]),
    ("ratatui", &["src/os/screen.rs", "src/cli/row.rs", "src/cli/top/"]),
    ("signal_hook", &["src/os/signals.rs", "src/standin/"]),
    (
        "walkdir",
        &[
            "src/os/",
            "src/codex/",
            "src/standin/",
            "src/trees/",
            "src/runs.rs",
            "src/runs/",
            "src/store.rs",
            "src/store/",
        ],
    ),
];

/// Modules without tokio.
const SYNCHRONOUS: &[&str] = &["model", "logic", "os", "spool", "runs", "store"];

/// `src/os/fsx.rs` and `src/os.rs` belong to `os`.
fn module_of(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

/// The text with line comments blanked, so that words in prose are no code. Line numbers stay.
fn code_of(text: &str) -> String {
    let bare = |line: &str| line.split_once("//").map_or(line, |(code, _)| code).to_owned() + "\n";
    text.lines().map(bare).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where `name` stands as a word of its own, with the text before and after it.
fn words<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = (usize, &'a str, &'a str)> {
    let found =
        code.match_indices(name).map(move |(at, _)| (at, &code[..at], &code[at + name.len()..]));
    found.filter(|(_, before, after)| !before.ends_with(is_word) && !after.starts_with(is_word))
}

/// The first segments that `crate::…` or `numerus::…` names, with their lines; groups in braces are opened.
fn own_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate", "numerus"] {
        for (at, before, after) in words(code, root) {
            if let Some(rest) = after.strip_prefix("::").filter(|_| !before.ends_with("::")) {
                found.extend(heads(rest).into_iter().map(|head| (line_of(code, at), head)));
            }
        }
    }
    found
}

/// The first segments of a path or of a group of paths.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![rest.chars().take_while(|letter| is_word(*letter)).collect()];
    };
    let (mut depth, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, letter) in group.char_indices() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            letter if fresh && is_word(letter) => {
                heads.extend(self::heads(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// Imports go down only.
fn floors(path: &str, text: &str) -> Offences {
    let module = module_of(path);
    let Some((_, below)) = FLOORS.iter().find(|(name, _)| *name == module) else {
        return vec![(
            1,
            format!("module `{module}` has no floor: give it one in tests/it/tidy.rs"),
        )];
    };
    let code = code_of(text);
    let is_floor = |head: &String| FLOORS.iter().any(|(name, _)| name == head);
    let mut offences: Offences = own_paths(&code)
        .into_iter()
        .filter(|(_, head)| is_floor(head) && head != module && !below.contains(&head.as_str()))
        .map(|(line, head)| (line, format!("`{module}` may not import `{head}`")))
        .collect();
    let climbs = code.match_indices("super::super::").map(|(at, _)| at);
    offences.extend(
        climbs.map(|at| {
            (line_of(&code, at), "climbs by `super::super::`: write `crate::`".to_owned())
        }),
    );
    offences
}

/// Lines that name a package as a path or in an import.
fn names_package(code: &str, package: &str) -> Vec<usize> {
    let as_path = words(code, package).filter(|(_, before, after)| {
        let imported = before.ends_with("use ") || before.ends_with("extern crate ");
        let inner = before.ends_with('.') || (before.ends_with("::") && !before.ends_with(" ::"));
        imported || (after.starts_with("::") && !inner)
    });
    as_path.map(|(at, ..)| line_of(code, at)).collect()
}

/// A package with sharp edges is named in its own file alone, and some modules know no tokio.
fn doors(path: &str, text: &str) -> Offences {
    let code = code_of(text);
    let may =
        |place: &&str| if place.ends_with('/') { path.starts_with(*place) } else { path == *place };
    let shut = DOORS.iter().filter(|(_, places)| !places.iter().any(&may));
    let mut offences: Offences = shut
        .flat_map(|(package, places)| {
            names_package(&code, package).into_iter().map(move |line| (line, *package, *places))
        })
        .map(|(line, package, places)| {
            (line, format!("`{package}` belongs in {} alone", places.join(", ")))
        })
        .collect();
    if SYNCHRONOUS.contains(&module_of(path)) {
        let lines = names_package(&code, "tokio").into_iter();
        offences.extend(
            lines.map(|line| (line, format!("`{}` is synchronous: no tokio", module_of(path)))),
        );
    }
    offences
}

/// The one file that may be unsafe says why it is not.
fn unsafe_code(path: &str, text: &str) -> Offences {
    let code = code_of(text);
    let begins = |after: &str| {
        let mut next = after.trim_start().split(|c: char| !is_word(c));
        after.trim_start().starts_with('{')
            || ["fn", "impl", "trait", "extern"].contains(&next.next().unwrap_or(""))
    };
    let blocks = words(&code, "unsafe").filter(|(.., after)| begins(after));
    let found = blocks.chain(words(&code, "unsafe_code"));
    let lines = found.map(|(at, ..)| line_of(&code, at)).filter(|_| path != "src/os/child.rs");
    lines.map(|line| (line, "`unsafe` belongs in src/os/child.rs alone".to_owned())).collect()
}

/// Of the commands only the seams write what is asked of a job.
fn seams(path: &str, text: &str) -> Offences {
    if !path.starts_with("src/cli/") || path.starts_with("src/cli/seams") {
        return vec![];
    }
    let code = code_of(text);
    let calls = ["folder.wish(", ".wish(Want::", ".wish_of_task(", ".unwish", ".put_note("];
    let found = calls.iter().flat_map(|call| code.match_indices(call).map(|(at, _)| at));
    let lines: BTreeSet<usize> = found.map(|at| line_of(&code, at)).collect();
    lines
        .into_iter()
        .map(|line| (line, "a wish or note: only `cli::seams` puts one".to_owned()))
        .collect()
}

/// A file says first what it owns.
fn head_comment(_: &str, text: &str) -> Offences {
    if text.starts_with("//! ") { vec![] } else { vec![(1, "does not open with `//!`".to_owned())] }
}

/// Non-test lines are those before the first `#[cfg(test)]`; a file of tests alone has none.
fn size(path: &str, text: &str) -> Offences {
    if path.ends_with("tests.rs") {
        return vec![];
    }
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    if lines <= MAX_LINES {
        vec![]
    } else {
        vec![(MAX_LINES, format!("{lines} lines before its tests: split it"))]
    }
}

/// No test is skipped, none waits for time to pass. The words are put together here, or this line would offend.
fn honest_tests(_: &str, text: &str) -> Offences {
    let banned = [concat!("#[ign", "ore"), concat!("sle", "ep(")];
    let code = code_of(text);
    let found = banned.iter().flat_map(|word| code.match_indices(word).map(|(at, _)| at));
    found
        .map(|at| {
            (line_of(&code, at), "a skipped test, or one that waits for time to pass".to_owned())
        })
        .collect()
}

/// The only places that say that a case cannot be set up here: there that is a failure where every case has to run.
const LEFT_OUT: &[&str] = &["src/os/env.rs", "tests/it/site.rs", "tests/proof/world.rs"];

/// No test leaves a case out by its own word.
fn cases_left_out(path: &str, text: &str) -> Offences {
    let found = text.match_indices(concat!("not run", ": needs")).map(|(at, _)| at);
    let elsewhere = found.filter(|_| !LEFT_OUT.contains(&path));
    let what = "leaves a case out without failing where all have to run: call `not_run`";
    elsewhere.map(|at| (line_of(text, at), what.to_owned())).collect()
}

/// The part of a source file that only tests see.
fn tests_in(text: &str) -> String {
    let at = text.find("#[cfg(test)]").unwrap_or(text.len());
    "\n".repeat(text[..at].matches('\n').count()) + &text[at..]
}

/// Nothing names a place that only one machine has.
fn portable_paths(_: &str, text: &str) -> Offences {
    let places = [
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
    ];
    let starts = |at: &usize| {
        !text[..*at].ends_with(|before: char| is_word(before) || "./-}>~*]".contains(before))
    };
    let found =
        places.iter().flat_map(|place| text.match_indices(place).map(|(at, _)| at)).filter(starts);
    found.map(|at| (line_of(text, at), "an absolute path of one machine".to_owned())).collect()
}

/// The files of this folder that `main.rs` does not list.
fn unlisted(main: &str, stems: &[String]) -> Offences {
    let listed: BTreeSet<&str> =
        main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    let missing = stems.iter().filter(|stem| *stem != "main" && !listed.contains(stem.as_str()));
    missing.map(|stem| (1, format!("`{stem}` is not listed"))).collect()
}

/// Dependencies and their reasons name the same packages.
fn reasons(manifest: &str, record: &str) -> Offences {
    let manifest: toml::Table = manifest.parse().unwrap();
    let tables = ["dependencies", "dev-dependencies"]
        .into_iter()
        .filter_map(|table| manifest.get(table)?.as_table());
    let used: BTreeSet<&str> = tables.flat_map(|table| table.keys().map(String::as_str)).collect();
    let named: Vec<(usize, &str)> = record
        .lines()
        .enumerate()
        .filter_map(|(at, line)| Some((at + 1, line.strip_prefix("- `")?.split_once("`: ")?.0)))
        .collect();
    let is_named = |name: &&&str| !named.iter().any(|(_, found)| *found == **name);
    let mut offences: Offences =
        used.iter().filter(is_named).map(|name| (1, format!("no reason for `{name}`"))).collect();
    let gone = named.iter().filter(|(_, name)| !used.contains(name));
    offences.extend(gone.map(|(line, name)| (*line, format!("`{name}` is no dependency"))));
    offences
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text files below a folder of the repository (or the one file), with their paths from its top.
fn files(place: &str) -> Vec<(String, String)> {
    let tree = walkdir::WalkDir::new(repository().join(place)).sort_by_file_name().into_iter();
    let files = tree.filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
    let read = files.filter_map(|file| {
        let path = file.path().strip_prefix(repository()).ok()?.to_str()?.to_owned();
        Some((path, fs::read_to_string(file.path()).ok()?))
    });
    read.collect()
}

fn rust(place: &str) -> Vec<(String, String)> {
    files(place)
        .into_iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|end| end == "rs"))
        .collect()
}

fn check(found: &mut Vec<String>, path: &str, offences: Offences) {
    found.extend(offences.into_iter().map(|(line, what)| format!("{path}:{line}: {what}")));
}

#[test]
fn the_house_is_tidy() {
    let mut found = Vec::new();
    for (path, text) in rust("src") {
        for rule in [floors, doors, unsafe_code, seams, head_comment, size, cases_left_out] {
            check(&mut found, &path, rule(&path, &text));
        }
        check(&mut found, &path, honest_tests(&path, &tests_in(&text)));
    }
    let tests = rust("tests");
    for (path, text) in &tests {
        for rule in [head_comment, honest_tests, cases_left_out] {
            check(&mut found, path, rule(path, text));
        }
    }
    for (path, text) in rust("fuzz") {
        for rule in [head_comment, size] {
            check(&mut found, &path, rule(&path, &text));
        }
    }
    let written = [
        "src",
        "tests",
        "fuzz",
        "docs",
        "README.md",
        "Cargo.toml",
        "Dockerfile",
        ".ci",
        ".cargo",
        ".config",
        ".clippy.toml",
    ];
    for (path, text) in written.into_iter().flat_map(files) {
        check(&mut found, &path, portable_paths(&path, &text));
    }
    let main = fs::read_to_string(repository().join("tests/it/main.rs")).unwrap();
    let stems =
        tests.iter().filter_map(|(path, _)| path.strip_prefix("tests/it/")?.strip_suffix(".rs"));
    let stems: Vec<String> = stems
        .map(|stem| stem.trim_end_matches("/mod").to_owned())
        .filter(|stem| !stem.contains('/'))
        .collect();
    check(&mut found, "tests/it/main.rs", unlisted(&main, &stems));
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let record = "docs/decisions/0001-dependencies.md";
    let text = fs::read_to_string(repository().join(record)).unwrap_or_default();
    check(&mut found, record, reasons(&manifest, &text));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn at(offences: &Offences) -> Vec<usize> {
    offences.iter().map(|(line, _)| *line).collect()
}

#[test]
fn floors_catch_an_import_upwards_or_sideways() {
    let none: [usize; 0] = [];
    assert_eq!(
        at(&floors("src/spool/mod.rs", "use crate::model::JobId;\nuse crate::os::{fsx, lock};\n")),
        none
    );
    assert_eq!(at(&floors("src/spool/mod.rs", "//! x\nuse crate::runs::Run;\n")), [2], "sideways");
    assert_eq!(
        at(&floors("src/model/mod.rs", "fn f() -> crate::logic::X {}")),
        [1],
        "a path without an import"
    );
    let group = "use crate::{\n  model::{Job, runs::X},\n  os, worker::W,\n};\n";
    assert_eq!(
        at(&floors("src/daemon.rs", group)),
        [1],
        "worker, but not the `runs` inside `model`"
    );
    assert_eq!(at(&floors("src/os/fsx.rs", "use crate::model::X;")), [1]);
    assert_eq!(at(&floors("src/os/fsx.rs", "use super::lock; // not crate::model\n")), none);
    assert_eq!(at(&floors("src/codex/x.rs", "use super::super::cli::X;")), [1]);
    assert_eq!(
        at(&floors("src/main.rs", "fn main() { numerus::cli::main(); numerus::store::x(); }")),
        [1]
    );
    assert_eq!(at(&floors("src/helpers.rs", "")), [1], "a module of no floor");
}

#[test]
fn doors_catch_a_package_outside_its_file() {
    let none: [usize; 0] = [];
    assert_eq!(at(&doors("src/os/lock.rs", "use fs2::FileExt;")), none);
    assert_eq!(at(&doors("src/runs/mod.rs", "\nuse fs2::FileExt;")), [2]);
    assert_eq!(
        at(&doors("src/os/pty.rs", "use notify;\nuse fs2::X;")),
        [2, 1],
        "in the order of the table"
    );
    assert_eq!(at(&doors("src/store/index.rs", "use rusqlite::Row; use walkdir::WalkDir;")), none);
    assert_eq!(
        at(&doors("src/worker/mod.rs", "bell.notify(); self.notify::<u8>(); use walkdir as w;")),
        [1]
    );
    assert_eq!(
        at(&doors("src/cli/mod.rs", "fn f(x: ::rusqlite::Row, y: crate::os::notify::Z) {}")),
        [1]
    );
    assert_eq!(at(&doors("src/logic/mod.rs", "tokio::spawn(x);")), [1]);
    assert_eq!(at(&doors("src/daemon/mod.rs", "tokio::spawn(x);")), none);
}

#[test]
fn unsafe_code_outside_its_file_is_caught() {
    let code = "// unsafe {\n#![expect(unsafe_code)]\nunsafe fn f() { unsafe { g() } }\n\"unsafe\"; is_unsafe {}";
    assert_eq!(at(&unsafe_code("src/os/pty.rs", code)), [3, 3, 2]);
    assert!(unsafe_code("src/os/child.rs", code).is_empty());
}

#[test]
fn commands_that_pass_by_the_seams_are_caught() {
    let calls = "folder.wish(want);\nself.wish(act);\nf().put_note(None, x);\nseams::wish(f, Want::Killed);\n";
    assert_eq!(at(&seams("src/cli/x.rs", calls)), [1, 3]);
    assert!(seams("src/cli/seams/x.rs", calls).is_empty());
    assert!(seams("src/worker/x.rs", calls).is_empty());
}

#[test]
fn heads_and_sizes_are_caught() {
    assert_eq!(at(&head_comment("x", "use std::fs;")), [1]);
    assert!(head_comment("x", "//! Owns x.\n").is_empty());
    let long = "x\n".repeat(MAX_LINES + 1);
    assert_eq!(at(&size("x", &long)), [MAX_LINES]);
    assert!(size("x", &format!("x\n#[cfg(test)]\n{long}")).is_empty());
}

#[test]
fn skipped_and_sleeping_tests_are_caught() {
    let text = concat!("#[ign", "ore = \"slow\"]\nthread::sle", "ep(x);\n");
    assert_eq!(at(&honest_tests("x", text)), [1, 2]);
    assert_eq!(
        at(&honest_tests(
            "x",
            &tests_in(concat!("fn f() {\n}\n#[cfg(test)]\nmod t { sle", "ep(1) }"))
        )),
        [4]
    );
    assert!(honest_tests("x", &tests_in(concat!("fn f() { sle", "ep(1) }"))).is_empty());
    assert!(honest_tests("x", "run(\"sleep 5\")").is_empty());
}

#[test]
fn a_case_that_is_left_out_by_a_tests_own_word_is_caught() {
    let text = concat!("x\neprintln!(\"not run", ": needs root\");\n");
    assert_eq!(at(&cases_left_out("src/x.rs", text)), [2]);
    assert!(cases_left_out("tests/it/site.rs", text).is_empty());
}

#[test]
fn paths_of_one_machine_are_caught() {
    let text = concat!("a\n\"/ho", "me/me/x\"\ntarget/wo", "rk/x\n");
    assert_eq!(at(&portable_paths("x", text)), [2]);
}

#[test]
fn an_unlisted_test_file_is_caught() {
    let stems = ["main".to_owned(), "a".to_owned(), "b".to_owned()];
    assert_eq!(unlisted("mod a;\n// mod b;\n", &stems), [(1, "`b` is not listed".to_owned())]);
}

#[test]
fn a_dependency_without_a_reason_is_caught() {
    let manifest = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = \"1\"\n";
    assert!(reasons(manifest, "- `a`: why\n- `b`: why\n").is_empty());
    let found = reasons(manifest, "# x\n- `a`: why\n- `c`: why\n");
    assert_eq!(
        found,
        [(1, "no reason for `b`".to_owned()), (3, "`c` is no dependency".to_owned())]
    );
}
