//! The texts agree with the program: commands and flags that they show exist, the tables of the protocol name what the
//! code knows and nothing else, links lead somewhere.
//!
//! Each check is a function of texts that gives the offences; the program's side comes from the program itself where it
//! can be asked, else from its source. Each has a test that shows it biting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use numerus::error::{CODES, Exit};
use numerus::logic::admission::{Facts, Shape, admit};
use numerus::logic::state::JobState;
use numerus::model::id::JobId;
use numerus::model::job::{Job, Options, Origin};
use numerus::model::settings::Settings;
use serde_json::{Map, Value, json};

use crate::site::Site;

type Words = BTreeSet<String>;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every Markdown text for people, with its path from the top.
fn texts() -> Vec<(String, String)> {
    let walk = walkdir::WalkDir::new(repository().join("docs")).sort_by_file_name();
    let paths = walk.into_iter().map(|entry| entry.unwrap().into_path());
    let below = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let name =
        |path: PathBuf| path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned();
    let names = ["README.md".to_owned()].into_iter().chain(below.map(name));
    names.map(|name| (name.clone(), text(&name))).collect()
}

fn words<'a>(list: impl IntoIterator<Item = &'a str>) -> Words {
    list.into_iter().map(str::to_owned).collect()
}

/// What one side has and the other lacks, as a sentence each.
fn differences(what: &str, code: &Words, docs: &Words) -> Vec<String> {
    let missing = code.difference(docs).map(|w| format!("{what} {w:?} is not described"));
    let made_up = docs.difference(code).map(|w| format!("{what} {w:?} is described and unknown"));
    missing.chain(made_up).collect()
}

fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

// Reading Markdown.

/// The text between a heading and the next one of its rank or above.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let body = &text[start + heading.len() + 2..];
    let rank = heading.len() - heading.trim_start_matches('#').len();
    let ends = (1..=rank).filter_map(|n| body.find(&format!("\n{} ", "#".repeat(n))));
    &body[..ends.min().unwrap_or(body.len())]
}

/// The cells of every row of the tables in a text, but for heads and rules.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|---");
    let is_head = |n: usize| lines.get(n + 1).is_some_and(|next| is_rule(next));
    let cells = |line: &str| {
        let inner = line.trim_start_matches('|').trim_end().trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let is_row = |n: &usize| lines[*n].starts_with('|') && !is_rule(lines[*n]) && !is_head(*n);
    (0..lines.len()).filter(is_row).map(|n| cells(lines[n])).collect()
}

/// The words in backticks that stand in the first cells of a table.
fn first_cells(text: &str) -> Words {
    rows(text).iter().flat_map(|row| in_backticks(&row[0])).collect()
}

fn in_backticks(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Shell text of a Markdown text: fenced blocks for a shell, and pieces in backticks.
fn shell(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut block: Option<bool> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language.trim() == "sh"),
            (Some(_), Some(_)) => block = None,
            (None, Some(true)) => lines.push(line.to_owned()),
            (None, Some(false)) => {}
            (None, None) => lines.extend(in_backticks(line)),
        }
    }
    lines
}

/// The words of each call of `numerus` in shell text: `numerus`, then the rest up to the end of its command.
fn calls(text: &str) -> Vec<Vec<String>> {
    let joined = shell(text).join("\n").replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let line = line.split(" #").next().unwrap_or_default();
        let plain = line.trim_start_matches(|c: char| c.is_ascii_digit() || "* $".contains(c));
        for command in split_commands(plain) {
            if command.first().is_some_and(|word| word == "numerus") {
                found.push(command);
            }
        }
    }
    found
}

/// Words with quotes taken off, cut at `|`, `&&` and `;`.
fn split_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut word, mut quote) = (vec![Vec::new()], String::new(), None);
    for letter in line.chars().chain([' ']) {
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            ('|' | '&' | ';' | ' ', None) => {
                let last = commands.last_mut().expect("never empty");
                last.extend(Some(std::mem::take(&mut word)).filter(|w| !w.is_empty()));
                if letter != ' ' {
                    commands.push(Vec::new());
                }
            }
            (letter, _) => word.push(letter),
        }
    }
    commands
}

// The command line.

/// What `numerus COMMAND --help` prints; `None` if there is no such command.
pub(crate) fn help(command: Option<&str>) -> Option<String> {
    let mut numerus = Command::new(env!("CARGO_BIN_EXE_numerus"));
    let output = numerus.args(command).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// What is wrong with the calls that a text shows.
pub(crate) fn wrong_calls(
    text: &str,
    help_of: &dyn Fn(Option<&str>) -> Option<String>,
) -> Vec<String> {
    calls(text).iter().filter_map(|call| wrong_call(&call[1..], help_of)).collect()
}

fn wrong_call(call: &[String], help_of: &dyn Fn(Option<&str>) -> Option<String>) -> Option<String> {
    let rest = match call {
        [flag, _, rest @ ..] if flag == "--root" => rest,
        rest => rest,
    };
    let shown = || format!("numerus {}", call.join(" "));
    let command = rest.first().filter(|word| !word.starts_with('-'));
    // The stand-in has no help: it is called by the program alone.
    if command.is_some_and(|name| name.starts_with("__")) {
        return None;
    }
    let Some(help) = help_of(command.map(String::as_str)) else {
        return Some(format!("{}: there is no such command", shown()));
    };
    let flags = rest.iter().filter(|word| word.starts_with('-') && word.len() > 1);
    let mut names = flags.map(|flag| flag.split('=').next().unwrap_or(flag));
    let known = |name: &str| {
        help.split(|c: char| c.is_whitespace() || ",[=".contains(c)).any(|word| word == name)
    };
    let unknown = names.find(|name| !known(name))?;
    Some(format!("{}: {unknown} is not in its help", shown()))
}

#[test]
fn every_call_in_the_texts_is_one_that_the_program_takes() {
    let mut offences = Vec::new();
    let mut count = 0;
    for (path, text) in texts() {
        count += calls(&text).len();
        offences.extend(wrong_calls(&text, &help).iter().map(|o| format!("{path}: {o}")));
    }
    assert_none(&offences);
    assert!(count > 15, "only {count} calls found");
}

#[test]
fn wrong_calls_are_found() {
    let bad = "`numerus fly`\n```sh\nls; numerus status --jsn   # x\n0 3 * * * numerus --root R daemon \\\n  --onec\n```\n";
    assert_eq!(wrong_calls(bad, &help).len(), 3, "{:?}", wrong_calls(bad, &help));
    let good = "`numerus status | head -1` `numerus/<job>` `numerus __codex --x` ```sh\n\n```text\nnumerus fly\n```\n";
    assert_none(&wrong_calls(good, &help));
}

#[test]
fn the_readme_shows_its_two_commands_and_ci_runs_the_one_that_tests() {
    let readme = text("README.md");
    let block = readme.split("```").nth(1).unwrap_or_default();
    assert_eq!(block, "sh\ncargo run --release -- demo\ncargo test\n");
    assert_eq!(readme.lines().filter(|line| line.starts_with("cargo test")).count(), 1);
    let ci = text(".ci/run");
    assert!(ci.contains("grep -m 1 -x 'cargo test.*' README.md"), "read from the README");
    assert!(ci.contains("step \"${test_words[@]}\""), "and run");
    let mode = fs::metadata(repository().join(".ci/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "it can be executed");
}

#[test]
fn the_changelog_opens_with_this_version() {
    let changelog = text("docs/changelog.md");
    let first = changelog.lines().find(|line| line.starts_with("## ")).unwrap_or_default();
    assert_eq!(first.split(' ').nth(1), Some(env!("CARGO_PKG_VERSION")));
}

// The journal.

/// The names of events on disk with the variants they belong to.
fn events(source: &str) -> BTreeMap<String, String> {
    let pieces = source.split("#[serde(rename = \"").skip(1);
    let named = pieces.filter_map(|piece| {
        let (name, rest) = piece.split_once("\")]\n")?;
        let variant: String =
            rest.trim_start().chars().take_while(|c| c.is_alphanumeric()).collect();
        name.contains('.').then(|| (variant, name.to_owned()))
    });
    named.collect()
}

/// The events that the table of the journal gives a mark.
fn journal_table(protocol: &str, mark: &str) -> Words {
    let table = rows(section(protocol, "### The journal"));
    let marked = table.iter().filter(|row| row[1] == mark);
    marked.flat_map(|row| in_backticks(&row[0])).collect()
}

/// The variants that a piece of the book names.
fn named_in(list: &str) -> BTreeSet<&str> {
    let pieces = list.split("Fact::").skip(1);
    pieces.filter_map(|piece| piece.split(|c: char| !c.is_alphanumeric()).next()).collect()
}

fn journal_offences(protocol: &str, source: &str, book: &str) -> Vec<String> {
    let events = events(source);
    let list = book.split("fn due").nth(1).unwrap_or_default();
    let (soon, never) = list.split_once("=> Due::Soon").unwrap_or_default();
    let (soon, evidence) =
        (named_in(soon), named_in(never.split("=> Due::Never").next().unwrap_or_default()));
    let mark = |variant: &str| match (soon.contains(variant), evidence.contains(variant)) {
        (true, _) => "S",
        (_, true) => "",
        _ => "F",
    };
    let offences = ["F", "S", ""].into_iter().flat_map(|wanted| {
        let names = events.iter().filter(|(variant, _)| mark(variant) == wanted);
        let names: Words = names.map(|(_, name)| name.clone()).collect();
        differences("the event", &names, &journal_table(protocol, wanted))
    });
    offences.collect()
}

#[test]
fn the_journals_table_names_every_event_and_whether_it_is_flushed() {
    let (protocol, source) = (text("docs/protocol.md"), text("src/model/fact.rs"));
    let book = text("src/worker/book.rs");
    assert!(events(&source).len() > 30, "the source is read");
    assert_none(&journal_offences(&protocol, &source, &book));
    let less = protocol.replace("| `job.landed` | F |", "| `job.lnded` | F |");
    assert_eq!(journal_offences(&less, &source, &book).len(), 2, "a misspelt one is found");
    let wrong = protocol.replace("| `job.task_started` | |", "| `job.task_started` | F |");
    assert_eq!(journal_offences(&wrong, &source, &book).len(), 2, "a wrong mark is found");
}

#[test]
fn states_name_no_event_that_is_none() {
    let known: Words = events(&text("src/model/fact.rs")).into_values().collect();
    let unknown = |text: &str| -> Vec<String> {
        let names = in_backticks(text).into_iter();
        let events = names.filter(|n| n.starts_with("job.") || n.starts_with("terminal."));
        events.filter(|n| !known.contains(n)).collect()
    };
    for path in ["docs/states.md", "docs/ARCHITECTURE.md", "docs/protocol.md"] {
        let beside: Vec<String> =
            unknown(&text(path)).into_iter().filter(|name| name != "job.json").collect();
        assert_none(&beside);
    }
    assert_eq!(unknown("`job.exploded` `job.landed`"), ["job.exploded"]);
}

// Keys.

/// The keys that a complaint about an unknown one lists.
fn listed(complaint: &str) -> Words {
    let (_, list) = complaint.split_once("known keys are ").expect("the keys are listed");
    list.split(';').next().unwrap_or_default().split(", ").map(str::to_owned).collect()
}

fn setting_keys() -> Words {
    let unknown = Map::from_iter([("x".repeat(40), json!(1))]);
    let problems = Settings::default().overlaid(unknown).expect_err("unknown");
    listed(&problems.join("; "))
}

/// The keys of a job file, or of one of its objects.
fn job_keys(within: Option<&str>) -> Words {
    let unknown = json!({ "x".repeat(40): 1 });
    let mut job = match within {
        Some(key) => json!({ key: unknown }),
        None => unknown,
    };
    job["objective"] = json!("x");
    let settings = Settings::default();
    let facts = Facts { settings: &settings, resolve: &|path| Ok(path.to_owned()) };
    let reason = admit(job.to_string().as_bytes(), Shape::Json, &facts).expect_err("unknown");
    listed(&reason.message)
}

#[test]
fn the_readme_lists_every_setting_with_its_variable() {
    let readme = text("README.md");
    let table = section(&readme, "## Settings");
    assert_none(&differences("the setting", &setting_keys(), &first_cells(table)));
    let source = text("src/root.rs");
    let list = source.split("const VARIABLES").nth(1).unwrap().split("];").next().unwrap();
    let pairs = list.lines().filter_map(|line| {
        let mut texts = line.split('"').skip(1).step_by(2);
        Some((texts.next()?.to_owned(), texts.next()?.to_owned()))
    });
    let code: Words = pairs.map(|(variable, key)| format!("{key}: {variable}")).collect();
    let pair = |row: &Vec<String>| format!("{}: {}", row[0], row[2]).replace('`', "");
    let docs: Words = rows(table).iter().map(pair).collect();
    assert_none(&differences("the variable of", &code, &docs));
}

#[test]
fn the_job_files_table_has_every_key_with_its_default() {
    let protocol = text("docs/protocol.md");
    let table = section(&protocol, "## The job file");
    let table = table.split("\n### ").next().unwrap_or_default();
    let mut docs = first_cells(table);
    assert!(docs.remove("objective"), "which no list of options has");
    assert_none(&differences("the key", &job_keys(None), &docs));
    let defaults = serde_json::to_value(Options::default()).unwrap();
    let mut offences = Vec::new();
    for row in rows(table) {
        let key = row[0].replace('`', "");
        let simple = defaults.get(&key).filter(|v| !v.is_null() && !v.is_object());
        let Some(default) = simple else { continue };
        if !row[2].contains(&format!("`{default}`")) {
            offences.push(format!("the default of {key} is {default}, not {}", row[2]));
        }
    }
    assert_none(&offences);
    for object in ["timeouts", "budget"] {
        let named: Words =
            in_backticks(section(&protocol, "## The job file")).into_iter().collect();
        let missing: Vec<String> = job_keys(Some(object)).difference(&named).cloned().collect();
        assert_none(&missing);
    }
}

#[test]
fn status_and_job_records_are_described_key_by_key() {
    let job = Job {
        version: 1,
        id: JobId::parse("a-abc234").unwrap(),
        objective: "x".to_owned(),
        options: Options::default(),
        origin: Origin { name: String::new(), bytes: 0, sha256: String::new(), uid: 0 },
        created_at: "2026-11-23T00:00:00Z".parse().unwrap(),
    };
    let protocol = text("docs/protocol.md");
    let status = serde_json::to_value(JobState::default().status(&job)).unwrap();
    let record = serde_json::to_value(&job).unwrap();
    for (value, place) in [
        (&status, section(&protocol, "### `status.json`")),
        (&record, section(&protocol, "## The run folder, `runs/JOB/`")),
        (&record["origin"], section(&protocol, "## The run folder, `runs/JOB/`")),
    ] {
        let named: BTreeSet<&str> =
            place.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let keys = value.as_object().unwrap().keys();
        let missing: Vec<String> =
            keys.filter(|key| !named.contains(key.as_str())).cloned().collect();
        assert_none(&missing);
    }
}

// Words.

/// The texts that the arms of a `match` in the `impl` of a type give.
fn words_of(source: &str, of: &str) -> Words {
    let body = source.split(&format!("\nimpl {of} {{")).nth(1).unwrap_or_default();
    let body = body.split("\n}").next().unwrap_or_default();
    let texts = body.split("=> \"").skip(1).filter_map(|piece| piece.split('"').next());
    words(texts)
}

/// The variants of an `enum`, in lower case.
fn variants(source: &str, of: &str) -> Words {
    let body = source.split(&format!("enum {of} {{")).nth(1).unwrap_or_default();
    let lines = body.split("\n}").next().unwrap_or_default().lines();
    let names = lines.filter_map(|line| {
        let name = line.strip_prefix("    ")?;
        let word: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
        name.starts_with(char::is_uppercase).then(|| word.to_lowercase())
    });
    names.collect()
}

#[test]
fn rejections_are_all_in_their_table() {
    let codes = words_of(&text("src/model/rejection.rs"), "Code");
    assert!(codes.len() > 10, "the source is read");
    let protocol = text("docs/protocol.md");
    assert_none(&differences(
        "the code",
        &codes,
        &first_cells(section(&protocol, "### Rejection"))
            .into_iter()
            .filter(|word| word.starts_with("E_"))
            .collect(),
    ));
}

#[test]
fn states_are_all_in_their_tables() {
    let (states, source) = (text("docs/states.md"), text("src/model/status.rs"));
    for (of, heading, from) in [
        ("JobPhase", "## Jobs", "| state |"),
        ("PauseReason", "## Jobs", "| reason |"),
        ("TaskPhase", "## Tasks", "| state |"),
    ] {
        let code = words_of(&source, of);
        assert!(code.len() > 3, "the source of {of} is read");
        let place = section(&states, heading).trim_start();
        let table = place.split("\n\n").find(|part| part.starts_with(from)).unwrap_or_default();
        assert_none(&differences(of, &code, &first_cells(table)));
    }
    let kinds = variants(&text("src/model/outcome.rs"), "FailureKind");
    let table =
        section(&states, "## Tasks").split("\n\n").find(|part| part.starts_with("| kind |"));
    assert_none(&differences("the failure", &kinds, &first_cells(table.unwrap_or_default())));
    let phases = variants(&text("src/logic/supervise.rs"), "Phase");
    let sessions = section(&states, "## Sessions");
    let named: Words = rows(sessions)
        .iter()
        .flat_map(|row| row[0].split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_none(&differences("the session's phase", &phases, &named));
    assert!(phases.len() == 5 && kinds.len() > 5, "the sources are read");
    assert_eq!(differences("x", &words(["a", "b"]), &words(["b", "c"])).len(), 2);
}

#[test]
fn exit_codes_are_the_same_everywhere() {
    let all = [
        Exit::Done,
        Exit::JobFailed,
        Exit::Usage,
        Exit::Unknown,
        Exit::Blocked,
        Exit::Root,
        Exit::Codex,
    ];
    let codes: Words = all.iter().map(|exit| exit.code().to_string()).collect();
    let told = CODES.iter().map(|(code, _)| *code).filter(|code| code.len() == 1);
    assert_none(&differences("error.rs", &codes, &words(told)));
    for path in ["README.md", "docs/protocol.md"] {
        let text = text(path);
        let table = rows(section(&text, "## Exit codes"));
        let shown = table.iter().map(|row| row[0].clone()).filter(|code| code.len() == 1).collect();
        assert_none(&differences(path, &codes, &shown));
        assert_none(&other_meanings(path, &table));
    }
}

/// The codes that a table gives another meaning than the program does: a README the same words, the protocol maybe more.
fn other_meanings(path: &str, table: &[Vec<String>]) -> Vec<String> {
    let is_told = |code: &str, meaning: &str| {
        let row = table.iter().find(|row| row[0] == code);
        row.is_none_or(|row| {
            if path.starts_with("README") { row[1] == meaning } else { row[1].starts_with(meaning) }
        })
    };
    let wrong = CODES.iter().filter(|(code, meaning)| !is_told(code, meaning));
    wrong.map(|(code, meaning)| format!("{path}: {code} is not {meaning:?}")).collect()
}

#[test]
fn another_meaning_of_an_exit_code_is_found() {
    let row = |code: &str, meaning: &str| vec![code.to_owned(), meaning.to_owned()];
    let table = [row("3", "no such job"), row("1", "the job failed or was killed, or")];
    assert_eq!(other_meanings("README.md", &table).len(), 2);
    assert_eq!(other_meanings("docs/protocol.md", &table).len(), 1);
}

// Files.

/// Whether a path of a run folder is one that a pattern of the protocol means: `N` stands for a number, `TASK` for one of
/// the tasks, `PLACE` for those and the other folders that sessions write in.
fn is_meant(pattern: &str, path: &str, tasks: &[&str]) -> bool {
    let places = || tasks.iter().copied().chain(["plan", "roles"]);
    let opened: Vec<String> = match () {
        () if pattern.contains("PLACE") => places().map(|p| pattern.replace("PLACE", p)).collect(),
        () if pattern.contains("TASK") => {
            tasks.iter().map(|t| pattern.replace("TASK", t)).collect()
        }
        () => vec![pattern.to_owned()],
    };
    let number = |text: &str| text.replace("-N", "-1");
    let plain: String = path
        .split_inclusive('-')
        .map(|piece| {
            let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
            if rest.len() < piece.len() { format!("1{rest}") } else { piece.to_owned() }
        })
        .collect();
    opened.iter().any(|pattern| number(pattern) == plain)
}

/// The files below a folder, relative to it; `store/rehearsal` and the like are named whole by a pattern with a slash.
fn files_below(folder: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = walk.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    files.map(|entry| name(entry.path())).collect()
}

#[test]
fn every_file_that_a_job_leaves_is_described() {
    let site = Site::new("docs-files");
    let repo = site.git_repo();
    let words = [
        "run",
        "Write a greeting",
        "--rehearse",
        "--plan",
        "single",
        "--verify",
        "true",
        "--setup",
        "true",
    ];
    let ended = site.run(site.numerus(words).current_dir(&repo));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let job = site.root().join("runs").join(&site.jobs()[0]);
    let status: Value =
        serde_json::from_str(&fs::read_to_string(job.join("status.json")).unwrap()).unwrap();
    let tasks = status["tasks"].as_array().unwrap();
    let tasks: Vec<&str> = tasks.iter().filter_map(|task| task["id"].as_str()).collect();
    let protocol = text("docs/protocol.md");
    let run = first_cells(section(&protocol, "## The run folder, `runs/JOB/`"));
    let is_described = |path: &String| run.iter().any(|pattern| is_meant(pattern, path, &tasks));
    let files = files_below(&job);
    assert!(files.len() > 20 && files.contains(&"verify/verify.log".to_owned()), "{files:?}");
    let unknown: Vec<&String> = files.iter().filter(|path| !is_described(path)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let store = first_cells(section(&protocol, "## The store, `store/`"));
    let is_described = |path: &&String| {
        let path = path.trim_end_matches("-wal").trim_end_matches("-shm").trim_end_matches(".lock");
        store.iter().any(|pattern| match pattern.strip_suffix('/') {
            Some(folder) => path.starts_with(folder),
            None => is_meant(pattern, path, &[]) || path.starts_with("starts/"),
        })
    };
    let files = files_below(&site.root().join("store"));
    let own = |path: &&String| !matches!(path.as_str(), ".instance" | ".gitignore");
    let unknown: Vec<&String> =
        files.iter().filter(own).filter(|path| !is_described(path)).collect();
    assert!(files.contains(&"memory.ndjson".to_owned()), "{files:?}");
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn patterns_of_paths_mean_what_they_say() {
    for (pattern, path, is_meant_by_it) in [
        ("plan-N.json", "plan-12.json", true),
        ("TASK_claim.json", "a-b_claim.json", true),
        ("PLACE/prompt-N.md", "a-b/prompt-3.md", true),
        ("PLACE/prompt-N.md", "roles/prompt-1.md", true),
        ("TASK/diff.patch", "roles/diff.patch", false),
        ("status.json", "stats.json", false),
    ] {
        assert_eq!(is_meant(pattern, path, &["a-b"]), is_meant_by_it, "{pattern} {path}");
    }
}

// The map.

#[test]
fn the_code_map_has_every_module_of_the_shared_floors() {
    let map = text("docs/ARCHITECTURE.md");
    let map = section(&map, "## Code map");
    let named: Words = in_backticks(map).into_iter().collect();
    let mut missing = Vec::new();
    for folder in ["src", "src/logic", "src/os"] {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let stem = name.trim_end_matches(".rs");
            let is_root = matches!(stem, "main" | "lib" | "mod" | "prompts");
            let is_named = named.contains(stem) || named.contains(&name);
            if !is_root && !is_named {
                missing.push(format!("{folder}/{name}"));
            }
        }
    }
    assert_none(&missing);
}

/// Where a map of files and what lies in their folder disagree.
fn unmapped(map: &str, files: &[&str]) -> Vec<String> {
    let named: Words = rows(map).iter().flat_map(|row| in_backticks(&row[1])).collect();
    let stems: Words =
        files.iter().filter_map(|file| file.strip_suffix(".rs")).map(Into::into).collect();
    named
        .symmetric_difference(&stems)
        .filter(|stem| *stem != "mod")
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_map_of_the_commands_has_every_file_and_no_other() {
    let map = text("docs/ARCHITECTURE.md");
    let entries = fs::read_dir(repository().join("src/cli")).unwrap().flatten();
    let names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_none(&unmapped(section(&map, "## Files of `src/cli`"), &names));
}

#[test]
fn a_file_that_is_not_on_its_map_is_noticed() {
    let map = "| | files |\n|---|---|\n| x | `a`, `gone` (what was) |\n";
    assert_eq!(unmapped(map, &["a.rs", "mod.rs", "new.rs", "a"]), ["gone", "new"]);
}

/// Where the code map and what modules may name disagree: `floors` is that list, `heads` what the file of a module says first.
fn misplaced(map: &str, floors: &[(&str, &[&str])], heads: &dyn Fn(&str) -> String) -> Vec<String> {
    let rows = rows(map);
    let modules = |row: &Vec<String>| in_backticks(&row[1]);
    let row_of =
        |module: &str| rows.iter().position(|row| modules(row).iter().any(|m| m == module));
    let mut wrong = Vec::new();
    for (module, below) in floors.iter().filter(|(m, _)| !["main", "lib", "error"].contains(m)) {
        let Some(own) = row_of(module) else {
            wrong.push(format!("{module} has no row"));
            continue;
        };
        for other in below.iter().filter(|other| **other != "error") {
            if row_of(other).is_none_or(|row| row <= own) {
                wrong.push(format!("{module} may name {other}, which has no row below"));
            }
        }
        let head = heads(module);
        let told = head.strip_prefix("//! Floor ").and_then(|rest| rest.split(':').next());
        if told.is_some_and(|told| told != rows[own][0]) {
            wrong.push(format!("{module} says that it is on another floor: {head}"));
        }
    }
    wrong
}

#[test]
fn the_code_map_orders_the_modules_as_they_may_name_each_other() {
    let map = text("docs/ARCHITECTURE.md");
    let head = |module: &str| {
        let files = [format!("src/{module}/mod.rs"), format!("src/{module}.rs")];
        let file = files.iter().find(|file| repository().join(file).is_file()).expect(module);
        text(file).lines().next().unwrap_or_default().to_owned()
    };
    assert_none(&misplaced(section(&map, "## Code map"), crate::tidy::FLOORS, &head));
}

#[test]
fn a_module_on_the_wrong_floor_is_noticed() {
    let map = "| floor | module |\n|---|---|\n| 2 | `top` |\n| 1 | `left`, `right` |\n";
    let head = |module: &str| format!("//! Floor {}: x", if module == "top" { 2 } else { 1 });
    let wrong = |floors: &[(&str, &[&str])]| misplaced(map, floors, &head).len();
    assert_eq!(wrong(&[("top", &["left", "right"]), ("left", &[]), ("main", &["top"])]), 0);
    assert_eq!(wrong(&[("left", &["right"])]), 1, "beside it");
    assert_eq!(wrong(&[("left", &["top"])]), 1, "above it");
    assert_eq!(wrong(&[("other", &[])]), 1);
    assert_eq!(misplaced(map, &[("top", &[])], &|_| "//! Floor 3: x".into()).len(), 1);
}

// Links.

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Relative links of a text that lead nowhere; `read` gives what lies at a path from the top.
fn broken_links(path: &str, text: &str, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let targets = text.split("](").skip(1).filter_map(|piece| piece.split(')').next());
    let is_broken = |target: &&str| {
        let (file, name) = target.split_once('#').unwrap_or((target, ""));
        let to = if file.is_empty() { PathBuf::from(path) } else { folder.join(file) };
        let Some(there) = read(&to) else { return true };
        let mut headings = there.lines().filter(|line| line.starts_with('#'));
        !name.is_empty() && !headings.any(|heading| anchor(heading) == name)
    };
    let local = targets.filter(|target| !target.contains("://"));
    local.filter(is_broken).map(|target| format!("{path}: {target} leads nowhere")).collect()
}

#[test]
fn links_lead_somewhere() {
    let read = |path: &Path| {
        let path = repository().join(path);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if path.is_dir() { Some(String::new()) } else { fs::read(path).ok().map(text) }
    };
    let texts = texts();
    let offences = texts.iter().flat_map(|(path, text)| broken_links(path, text, &read));
    assert_none(&offences.collect::<Vec<_>>());
    let bad =
        "[a](gone.md) [b](protocol.md#nowhere) [c](protocol.md#leases) [d](../README.md#settings)";
    assert_eq!(broken_links("docs/states.md", bad, &read).len(), 2);
}

/// The tests that a table of threats names which are not there, and the numbers that it lacks.
fn untested_threats(security: &str) -> Vec<String> {
    let mut offences = Vec::new();
    for number in 1..=28 {
        let row = security.lines().find(|line| line.starts_with(&format!("| {number} | ")));
        let Some(tests) = row.and_then(|row| row.trim_end_matches('|').rsplit('|').next()) else {
            offences.push(format!("threat {number} has no row"));
            continue;
        };
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            offences.push(format!("threat {number} has no test"));
        }
        offences.extend(
            names.iter().filter(|name| !is_test(name)).map(|name| format!("{name} is no test")),
        );
    }
    offences
}

/// Whether a test of that name is in the file that its path names: of this program, else of the source.
fn is_test(name: &str) -> bool {
    let Some((module, function)) = name.rsplit_once("::") else { return false };
    let path = module.replace("::", "/");
    let files =
        [format!("tests/it/{path}.rs"), format!("src/{path}.rs"), format!("src/{path}/tests.rs")];
    let has = |file: &String| {
        fs::read_to_string(repository().join(file)).is_ok_and(|text| {
            text.split("#[test]").skip(1).any(|rest| {
                rest.trim_start()
                    .strip_prefix("fn ")
                    .is_some_and(|rest| rest.starts_with(&format!("{function}(")))
            })
        })
    };
    files.iter().any(has)
}

#[test]
fn every_threat_has_a_rule_and_tests_that_are_there() {
    assert_none(&untested_threats(&text("docs/security.md")));
    let bad = "| 1 | high | x | y | `fence::no_such_test` |\n| 2 | low | x | y | none |\n";
    assert_eq!(untested_threats(bad).len(), 28);
}

#[test]
fn decisions_are_numbered_and_dated() {
    let records: Vec<(String, String)> =
        texts().into_iter().filter(|(path, _)| path.starts_with("docs/decisions/")).collect();
    let mut last = 0;
    for (path, text) in &records {
        let number = path.strip_prefix("docs/decisions/").and_then(|name| name.get(..4));
        let number: u32 = number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{path}"));
        assert!(number > last, "{path}: its number is taken");
        last = number;
        assert!(text.starts_with(&format!("# {number}. ")), "{path}: its title has its number");
        let status = text.lines().nth(2).unwrap_or_default();
        let date = status.strip_prefix("Date: ").and_then(|rest| rest.get(..10));
        let is_date = date.is_some_and(|date| date.parse::<jiff::civil::Date>().is_ok());
        assert!(is_date && status.contains("Status: "), "{path}: {status:?}");
    }
    assert!(!records.is_empty());
}

#[test]
fn values_of_the_example_are_those_of_the_job_file() {
    // The front matter that the README shows is accepted as it stands.
    let readme = text("README.md");
    let (_, rest) = readme.split_once("<<'END'\n").expect("the example");
    let (file, _) = rest.split_once("END\n").expect("its end");
    let settings = Settings::default();
    let facts = Facts { settings: &settings, resolve: &|path| Ok(path.to_owned()) };
    let admitted = admit(file.as_bytes(), Shape::Markdown, &facts);
    let options = admitted.map(|a| serde_json::to_value(a.options).unwrap());
    let priority = options.as_ref().map(|o| o["priority"].clone()).ok();
    assert_eq!(priority, Some(Value::from(10)), "{options:?}");
}

#[test]
fn the_example_of_a_rehearsal_plays_a_whole_job_with_a_review() {
    let site = Site::new("example-script");
    let (repo, script) = (site.git_repo(), site.path().join("script.json"));
    let page = text("docs/rehearsal.md");
    let example = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    fs::write(&script, example).unwrap();
    let rehearse = format!("--rehearse={}", script.display());
    let words = ["run", "be polite", "--workspace", repo.to_str().unwrap(), &rehearse];
    let ended = site.run(&mut site.numerus(words));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let branches = site.git(&repo, &["branch", "--list", "--format=%(refname:short)", "numerus/*"]);
    let shown = site.git(&repo, &["show", &format!("{}:hello.txt", branches.trim())]);
    assert_eq!(shown, "Hello.\nHello.\n");
}

#[test]
fn each_row_of_the_hostile_inputs_names_a_test_that_is_there() {
    let rows = rows(&text("docs/hostile.md"));
    assert!(rows.len() > 50, "{}", rows.len());
    for row in &rows {
        let [test] = in_backticks(&row[2]).try_into().expect("one test a row");
        let (file, function) = test.rsplit_once("::").expect("FILE::FUNCTION");
        let path = match file.strip_prefix("src::") {
            Some(inner) => format!("src/{}.rs", inner.replace("::", "/")),
            None => format!("tests/it/{file}.rs"),
        };
        let is_there = text(&path).contains(&format!("#[test]\nfn {function}()"))
            || text(&path).contains(&format!("#[test]\n    fn {function}()"));
        assert!(is_there, "{path} has no test {function}");
    }
}

// The tour.

/// The frames of a recording, by their headings.
fn frames(recording: &str) -> BTreeMap<String, String> {
    let frames = recording.split("=== ").skip(1);
    let named = frames.filter_map(|frame| frame.split_once('\n'));
    named.map(|(name, frame)| (name.to_owned(), frame.to_owned())).collect()
}

/// What a page shows that was not recorded so; `recorded` tells the text of a recording.
fn unrecorded(page: &str, recorded: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut offences = Vec::new();
    for piece in page.split("\n<!-- ").skip(1) {
        let (name, rest) = piece.split_once(" -->\n").expect("the end of a comment");
        let (file, caption) = name.split_once(": ").expect("FILE: CAPTION");
        let shown = rest.strip_prefix("```text\n").and_then(|rest| rest.split_once("```\n"));
        let frames = frames(&recorded(file));
        if shown.is_none() || shown.map(|(shown, _)| shown) != frames.get(caption).map(|f| &**f) {
            offences.push(format!("{name}: not as it was recorded; docs/captures/make does it"));
        }
    }
    offences
}

#[test]
fn the_tour_shows_what_was_recorded_and_the_recorder_calls_what_there_is() {
    let (page, maker) = (text("docs/tour.md"), text("docs/captures/make"));
    assert_none(&unrecorded(&page, &|file| text(&format!("docs/captures/{file}"))));
    assert!(page.matches("\n<!-- ").count() > 10, "the blocks are found");
    let other = |_: &str| "=== three jobs\nnone\n".to_owned();
    assert_eq!(unrecorded("\n<!-- top.txt: three jobs -->\n```text\nfour\n```\n", &other).len(), 1);
    assert_none(&unrecorded("\n<!-- top.txt: three jobs -->\n```text\nnone\n```\n", &other));
    let typed = maker.replace("on_screen numerus", "numerus").replace(">/dev/null", "");
    let typed = format!("```sh\n{}\n```\n", typed.replace("    numerus", "numerus"));
    assert_none(&wrong_calls(&typed, &help));
    assert!(calls(&typed).len() > 4, "{:?}", calls(&typed));
    let mode = fs::metadata(repository().join("docs/captures/make")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "it can be executed");
    let mut check = Command::new("bash");
    let checked = check.arg("-n").arg(repository().join("docs/captures/make")).status().unwrap();
    assert!(checked.success(), "the shell reads it");
}
