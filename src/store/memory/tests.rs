//! What the memory promises, over files as deaths, disks and people leave them.

use std::io::Write;

use super::*;
use crate::model::status::JobPhase;

fn entry(job: &str, bank: &str, objective: &str) -> Entry {
    Entry {
        version: 1,
        job_id: JobId::parse(job).expect("id"),
        bank: bank.into(),
        at: Timestamp::UNIX_EPOCH,
        objective: objective.into(),
        plan: "one: write the parser".into(),
        claims: vec!["src/parser.rs".into(), "docs/".into()],
        outcome: JobPhase::Succeeded,
        claim_precision: Some(0.5),
        claim_recall: Some(0.25),
        missed: vec!["src/lib.rs".into()],
        wrote: vec!["src/parser.rs".into()],
    }
}

fn filled(dir: &tempfile::TempDir) -> Memory {
    let mut memory = Memory::open(dir.path()).expect("open");
    for (job, bank, objective, is_new) in [
        ("a-abc234", "one", "Fix the login page", true),
        ("b-abc234", "one", "Write release notes", false),
        ("c-abc234", "two", "Fix the build, NOT the \"tests\"", true),
    ] {
        assert_eq!(memory.remember(&entry(job, bank, objective)).expect("add"), is_new, "{job}");
    }
    memory
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| e.job_id.as_str()).collect()
}

#[test]
fn a_job_is_remembered_once_and_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("scratch");
    let mut memory = filled(&dir);
    assert!(!memory.remember(&entry("a-abc234", "three", "other")).expect("again"));
    assert!(!memory.has(BANK, "three").expect("look"));
    assert_eq!(ids(&memory.entries("one").expect("entries")), ["b-abc234", "a-abc234"]);
    assert_eq!(
        memory.entries("two").expect("entries")[0],
        entry("c-abc234", "two", "Fix the build, NOT the \"tests\"")
    );
    let lines = std::fs::read_to_string(dir.path().join("memory.ndjson")).expect("truth");
    assert_eq!(lines.lines().count(), 3);
}

#[test]
fn the_last_jobs_of_a_bank_say_how_good_their_claims_were_and_old_lines_still_read() {
    let dir = tempfile::tempdir().expect("scratch");
    drop(filled(&dir));
    let mut old = serde_json::to_value(entry("old-abc234", "one", "x")).expect("json");
    let keys = old.as_object_mut().expect("object");
    assert!(keys.remove("claim_recall").is_some() && keys.remove("missed").is_some());
    let line = format!("{old}\n");
    let truth = dir.path().join("memory.ndjson");
    fsx::open_append(&truth).and_then(|mut f| f.write_all(line.as_bytes())).expect("append");
    let memory = Memory::open(dir.path()).expect("open");
    let last = memory.last("one", 2).expect("last");
    assert_eq!(ids(&last), ["old-abc234", "b-abc234"]);
    assert_eq!((last[0].quality().precision, last[0].quality().recall), (Some(0.5), None));
    assert_eq!(last[1].quality().recall, Some(0.25));
    assert_eq!(last[1].quality().missed, ["src/lib.rs"]);
}

#[test]
fn what_was_forgotten_stays_so_when_the_database_is_made_anew() {
    let dir = tempfile::tempdir().expect("scratch");
    let mut memory = filled(&dir);
    let job = |id: &str| JobId::parse(id).expect("id");
    assert!(memory.forget(&job("a-abc234"), Timestamp::UNIX_EPOCH).expect("forget"));
    assert!(!memory.forget(&job("a-abc234"), Timestamp::UNIX_EPOCH).expect("again"));
    assert!(memory.forget(&job("c-abc234"), Timestamp::UNIX_EPOCH).expect("the last of a bank"));
    for is_truth_lost in [true, false] {
        assert_eq!(ids(&memory.entries("one").expect("entries")), ["b-abc234"]);
        assert_eq!(memory.search("login", None, 9).expect("search").len(), 0);
        let banks = ["one", "two"].map(|bank| memory.has(BANK, bank).expect("look"));
        assert_eq!(banks, [true, false]);
        drop(memory);
        fsx::remove(&dir.path().join("memory.db")).expect("remove");
        if is_truth_lost {
            fsx::remove(&dir.path().join("memory.ndjson")).expect("remove");
        }
        memory = Memory::open(dir.path()).expect("anew");
    }
}

#[test]
fn a_truth_that_is_removed_while_a_line_is_written_loses_no_other() {
    let dir = tempfile::tempdir().expect("scratch");
    let truth = dir.path().join("memory.ndjson");
    let mut memory = filled(&dir);
    fsx::remove(&truth).expect("remove");
    memory.catch_up().expect("nothing is said by what is not there");
    memory.write(&entry("d-abc234", "one", "Somebody removed the rest")).expect("write");
    fsx::remove(&truth).expect("remove");
    memory.restore().expect("from the database");
    // Right after it was written again, before anybody has read it.
    fsx::remove(&truth).expect("remove");
    // Longer than all that was there.
    let long = "As soon as that. ".repeat(200);
    memory.write(&entry("f-abc234", "three", &long)).expect("write");
    fsx::remove(&truth).expect("remove");
    assert!(!memory.remember(&entry("e-abc234", "two", "And once more")).expect("remember"));
    fsx::remove(&truth).expect("remove");
    let forget = JobId::parse("a-abc234").expect("id");
    assert!(memory.forget(&forget, Timestamp::UNIX_EPOCH).expect("forget"));
    let all = ["d-abc234", "b-abc234"];
    assert_eq!(ids(&memory.entries("one").expect("entries")), all);
    drop(memory);
    fsx::remove(&dir.path().join("memory.db")).expect("remove");
    let memory = Memory::open(dir.path()).expect("from the truth alone");
    assert_eq!(memory.restored(), None);
    assert_eq!(ids(&memory.entries("one").expect("entries")), all);
    assert_eq!(ids(&memory.entries("two").expect("entries")), ["e-abc234", "c-abc234"]);
    assert_eq!(ids(&memory.entries("three").expect("entries")), ["f-abc234"]);
}

#[test]
fn one_that_is_opened_again_is_as_it_would_be_opened_anew() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = |name: &str| dir.path().join(name);
    let opened = filled(&dir);
    let mut other = Memory::open(dir.path()).expect("open");
    assert!(!other.remember(&entry("d-abc234", "one", "By somebody else")).expect("add"));
    let memory = opened.open_again().expect("the same");
    let all = ["d-abc234", "b-abc234", "a-abc234"];
    assert_eq!(ids(&memory.entries("one").expect("entries")), all);
    fsx::remove(&path("memory.ndjson")).expect("lose the truth");
    let memory = memory.open_again().expect("the same");
    assert!(memory.restored().is_some_and(|said| said.contains("memory.db")));
    let memory = memory.open_again().expect("the same");
    assert_eq!(memory.restored(), None, "it is told of once");
    fsx::move_to(&path("memory.db"), &path("elsewhere.db")).expect("another takes its place");
    let memory = memory.open_again().expect("anew");
    assert!(path("memory.db").exists(), "nothing is written where nobody looks");
    assert_eq!(ids(&memory.entries("one").expect("entries")), all);
    for name in fsx::list(dir.path()).expect("list") {
        fsx::remove(&path(&name)).expect("forget everything");
    }
    let mut memory = memory.open_again().expect("anew");
    assert!(memory.remember(&entry("e-abc234", "one", "x")).expect("add"), "a new bank");
    let truth = std::fs::read_to_string(path("memory.ndjson")).expect("truth");
    assert_eq!(truth.lines().count(), 1);
    let alone = Memory::of_truth(dir.path()).expect("without a file");
    assert!(alone.open_again().expect("open").file.is_some());
}

#[test]
fn a_search_finds_by_any_word_and_no_text_is_syntax() {
    let dir = tempfile::tempdir().expect("scratch");
    let memory = filled(&dir);
    for (text, bank, expected) in [
        ("login", None, vec!["a-abc234"]),
        ("LOGIN notes", None, vec!["a-abc234", "b-abc234"]),
        ("fix", Some("two"), vec!["c-abc234"]),
        ("\"login", None, vec!["a-abc234"]),
        ("log*", None, vec![]),
        ("objective:login", None, vec!["a-abc234"]),
        ("NOT tests", None, vec!["c-abc234"]),
        ("login) OR (", None, vec!["a-abc234"]),
        ("NEAR(login, 3", None, vec!["a-abc234"]),
        ("login -- '; DROP TABLE entries", None, vec!["a-abc234"]),
        ("\" * ^ : - + ( ) {} \0 \\", None, vec![]),
        ("", None, vec![]),
        ("parser.rs", Some("one"), vec!["a-abc234", "b-abc234"]),
    ] {
        let found = memory.search(text, bank, 10).expect(text);
        let mut found: Vec<&str> = found.iter().map(|f| f.entry.job_id.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{text:?}");
    }
    assert_eq!(memory.search("fix", None, 1).expect("limit").len(), 1);
    let many: String = (0..5000).fold(String::new(), |text, n| text + " w" + &n.to_string());
    assert!(memory.search(&many, None, 10).expect("long").is_empty());
}

#[test]
fn a_lost_or_spoiled_database_is_made_anew_from_the_truth() {
    let dir = tempfile::tempdir().expect("scratch");
    let before = filled(&dir).entries("one").expect("entries");
    let path = dir.path().join("memory.db");
    for spoil in [None, Some(b"garbage".repeat(100))] {
        db::settle(&path);
        fsx::remove(&path).expect("remove");
        if let Some(bytes) = spoil {
            fsx::put(&path, &bytes).expect("spoil");
        }
        let memory = Memory::open(dir.path()).expect("open");
        assert_eq!(memory.entries("one").expect("entries"), before);
        let found = memory.search("login", None, 9).expect("search");
        assert_eq!(found[0].entry.job_id.as_str(), "a-abc234");
    }
    assert!(dir.path().join("memory.db.bad-1").exists());
}

#[test]
fn a_database_whose_damage_is_met_is_put_aside_and_made_anew() {
    let dir = tempfile::tempdir().expect("scratch");
    let before = filled(&dir).entries("one").expect("entries");
    let path = dir.path().join("memory.db");
    db::settle(&path);
    let mut bytes = std::fs::read(&path).expect("bytes");
    // The tables' names are whole, and nothing else.
    bytes[2 * 4096..].fill(0xff);
    fsx::put(&path, &bytes).expect("spoil");
    let remembered = Memory::open(dir.path())
        .and_then(|mut memory| memory.remember(&entry("d-abc234", "one", "late")));
    let aside = dir.path().join("memory.db.bad-1");
    assert!(aside.exists(), "{remembered:?}");
    let memory = Memory::open(dir.path()).expect("open");
    assert!(memory.entries("one").expect("entries").len() >= before.len());
}

#[test]
fn damage_that_only_a_question_meets_is_read_around_and_mended() {
    let dir = tempfile::tempdir().expect("scratch");
    drop(filled(&dir));
    let path = dir.path().join("memory.db");
    let database = rusqlite::Connection::open(&path).expect("open");
    database.execute_batch("UPDATE entries SET entry = CAST(x'ff22' AS TEXT)").expect("spoil");
    drop(database);
    let found = Memory::ask(dir.path(), |memory| memory.search("login", None, 9)).expect("found");
    assert_eq!(found[0].entry.job_id.as_str(), "a-abc234");
    assert!(dir.path().join("memory.db.bad-1").exists());
    let memory = Memory::open(dir.path()).expect("open");
    assert_eq!(memory.search("login", None, 9).expect("search"), found);
}

#[test]
fn a_database_that_lags_behind_takes_in_the_rest_and_a_torn_line_is_closed() {
    let dir = tempfile::tempdir().expect("scratch");
    drop(filled(&dir));
    let truth = dir.path().join("memory.ndjson");
    append(&truth, &line_of(&entry("d-abc234", "one", "late")).expect("line"))
        .expect("as a dead writer did");
    fsx::open_append(&truth).and_then(|mut f| f.write_all(b"{\"torn")).expect("tear");
    let mut memory = Memory::open(dir.path()).expect("open");
    assert_eq!(memory.entries("one").expect("entries").len(), 3);
    memory.remember(&entry("e-abc234", "one", "next")).expect("add");
    drop(memory);
    fsx::remove(&dir.path().join("memory.db")).expect("remove");
    let memory = Memory::open(dir.path()).expect("open");
    assert_eq!(memory.entries("one").expect("entries").len(), 4);
}

#[test]
fn a_truth_that_is_lost_is_written_again_from_the_database_else_from_a_copy_and_said_once() {
    for (truth_left, has_database, source) in [
        (None, true, "memory.db"),
        (Some(&b"\0\0\0\0\0\0"[..]), true, "memory.db"),
        (None, false, "memory.ndjson.bak-1"),
        (Some(&b"garbage\nand more"[..]), false, "memory.ndjson.bak-1"),
    ] {
        let dir = tempfile::tempdir().expect("scratch");
        let before = filled(&dir).entries("one").expect("entries");
        let truth = dir.path().join("memory.ndjson");
        assert!(truth.with_file_name("memory.ndjson.bak-1").exists());
        fsx::remove(&truth).expect("remove");
        if let Some(bytes) = truth_left {
            fsx::put(&truth, bytes).expect("put");
        }
        db::settle(&dir.path().join("memory.db"));
        if !has_database {
            fsx::put(&dir.path().join("memory.db"), &b"garbage".repeat(100)).expect("spoil");
        }
        let mut memory = Memory::open(dir.path()).expect("open");
        let said = memory.restored().expect("it is said").to_owned();
        assert!(said.ends_with(source), "{said}");
        // The copy was put with the first entry.
        let expected = if has_database { &before[..] } else { &before[1..] };
        assert_eq!(memory.entries("one").expect("entries"), expected, "{source}");
        assert_eq!(dir.path().join("memory.ndjson.bad-1").exists(), truth_left.is_some());
        assert!(memory.remember(&entry("n-abc234", "new", "next")).expect("remember"));
        drop(memory);
        fsx::remove(&dir.path().join("memory.db")).expect("remove");
        let memory = Memory::open(dir.path()).expect("open");
        assert_eq!(memory.restored(), None, "said once");
        assert_eq!(memory.entries("one").expect("entries"), expected, "{source}");
    }
}

#[test]
fn a_truth_with_one_line_that_can_be_read_is_left_as_it_is() {
    let dir = tempfile::tempdir().expect("scratch");
    drop(filled(&dir));
    let truth = dir.path().join("memory.ndjson");
    let text = std::fs::read_to_string(&truth).expect("truth");
    let torn = format!("{{torn\n{}\n{{torn", text.lines().next().expect("a line"));
    fsx::put(&truth, torn.as_bytes()).expect("put");
    let memory = Memory::open(dir.path()).expect("open");
    assert_eq!(memory.restored(), None);
    assert_eq!(std::fs::read_to_string(&truth).expect("truth"), torn);
}

#[test]
fn a_database_that_is_full_loses_no_entry() {
    let dir = tempfile::tempdir().expect("scratch");
    let mut memory = filled(&dir);
    memory.connection.execute_batch("PRAGMA max_page_count = 1").expect("pragma");
    let long = entry("long-abc234", "one", &"words without end ".repeat(20_000));
    let error = memory.remember(&long).expect_err("it does not fit");
    assert!(error.to_string().contains("full"), "{error}");
    drop(memory);
    for _ in 0..2 {
        remember_without_database(dir.path(), &long).expect("remember");
    }
    remember_without_database(dir.path(), &entry("z-abc234", "one", "x")).expect("remember");
    let memory = Memory::open(dir.path()).expect("open");
    let all = memory.entries("one").expect("entries");
    assert_eq!(ids(&all), ["z-abc234", "long-abc234", "b-abc234", "a-abc234"]);
    let lines = std::fs::read_to_string(dir.path().join("memory.ndjson")).expect("truth");
    assert_eq!(lines.lines().count(), 5, "remembered once");
}

#[test]
fn an_objective_finds_what_is_like_it_in_its_bank_by_the_words_that_tell_something() {
    let dir = tempfile::tempdir().expect("scratch");
    let mut memory = filled(&dir);
    let newer = Entry {
        at: Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(9),
        ..entry("d-abc234", "one", "Fix the login page")
    };
    memory.remember(&newer).expect("add");
    let of_truth = Memory::of_truth(dir.path()).expect("read");
    for memory in [&memory, &of_truth] {
        let similar = |text, bank| memory.similar(text, bank, 5).expect("search");
        assert_eq!(
            ids(&similar("the login of an app", "one")),
            ["d-abc234", "a-abc234"],
            "newest first"
        );
        assert_eq!(ids(&similar("Fix the app", "one")), Vec::<&str>::new(), "too short to tell");
        assert_eq!(ids(&similar("login", "two")), Vec::<&str>::new());
        let found = memory.search("notes", None, 1).expect("search");
        assert_eq!(found[0].snippet, "Write release notes");
        assert_eq!(memory.find(&newer.job_id).expect("find"), Some(newer.clone()));
    }
}

#[test]
fn a_truth_that_became_shorter_is_taken_in_from_its_start() {
    let dir = tempfile::tempdir().expect("scratch");
    drop(filled(&dir));
    let truth = dir.path().join("memory.ndjson");
    let text = std::fs::read_to_string(&truth).expect("truth");
    let first = text.lines().next().expect("a line").to_owned() + "\n";
    for (left, expected) in [(first.as_str(), 1), ("", 0)] {
        fsx::put(&truth, left.as_bytes()).expect("put");
        let memory = Memory::open(dir.path()).expect("open");
        assert_eq!(memory.entries("one").expect("entries").len(), expected);
    }
}

#[test]
fn several_workers_may_remember_at_once() {
    let dir = tempfile::tempdir().expect("scratch");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let store = dir.path();
            scope.spawn(move || {
                let mut memory = Memory::open(store).expect("open");
                for n in 0..5 {
                    let one = entry(&format!("w{worker}-{n}"), "one", "x");
                    memory.remember(&one).expect("remember");
                }
            });
        }
    });
    let memory = Memory::open(dir.path()).expect("open");
    assert_eq!(memory.entries("one").expect("entries").len(), 20);
}
