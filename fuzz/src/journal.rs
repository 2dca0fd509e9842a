//! A job's journal: whatever its bytes are, it opens, it goes on, and nothing that was whole is lost.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use numerus::logic::state::JobState;
use numerus::model::event::{Event, Fact};
use numerus::model::id::JobId;
use numerus::model::job::{Job, Options, Origin};
use numerus::model::status::Status;
use numerus::runs::{Journal, JournalReader, Replay};

use super::scratch;

/// Reads, follows, appends to and adds up a journal that holds these bytes.
pub fn holds(bytes: &[u8]) {
    scratch::folder(|dir| {
        let path = dir.join("events.ndjson");
        fs::write(&path, bytes).expect("the file");
        let read = replay(&path);
        is_followed_alike(&path, bytes, &read);
        fs::write(&path, bytes).expect("the file");
        goes_on(&path, bytes, &read);
        adds_up(&read.events);
    });
}

fn replay(path: &Path) -> Replay {
    JournalReader::open(path).and_then(JournalReader::read_all).expect("no bytes are an error")
}

/// A follower that looks while a line is half there sees the same events, each once.
fn is_followed_alike(path: &Path, bytes: &[u8], read: &Replay) {
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    fs::write(path, head).expect("the file");
    let mut reader = JournalReader::open(path).expect("it opens");
    let mut seen = Vec::new();
    let mut look = |reader: &mut JournalReader| {
        while let Some(event) = reader.next_event().expect("no bytes are an error") {
            seen.push(event);
        }
    };
    look(&mut reader);
    let mut file = fs::OpenOptions::new().append(true).open(path).expect("the file");
    file.write_all(tail).expect("the rest");
    look(&mut reader);
    assert_eq!(seen, read.events);
}

/// Opening closes a torn line and keeps every byte; what is appended comes behind all that was whole.
fn goes_on(path: &Path, bytes: &[u8], read: &Replay) {
    let job = JobId::parse("a-abc234").expect("an id");
    let (mut journal, opened) = Journal::open(path, &job).expect("it opens");
    assert!(opened.events.starts_with(&read.events), "what was whole is there");
    // A last line may be whole but for its newline: it counts once it is closed.
    assert!(opened.events.len() <= read.events.len() + 1);
    let fact = Fact::ClaimUnblocked { attempt: 1 };
    let event = journal.append(fact, None, Timestamp::UNIX_EPOCH).expect("it goes on");
    if opened.last_seq == u64::MAX {
        // There is no number behind the last one; a job that writes so much does not exist.
        return;
    }
    assert!(event.seq > opened.last_seq, "{} after {}", event.seq, opened.last_seq);
    let after = replay(path);
    assert_eq!(after.events.split_last(), Some((&event, &opened.events[..])));
    assert_eq!(after.skipped, opened.skipped, "nothing new is torn");
    assert!(fs::read(path).expect("the file").starts_with(bytes), "a journal is never rewritten");
}

/// Any events in any order add up to a state that can be shown and read again.
fn adds_up(events: &[Event]) {
    let job = Job {
        version: 1,
        id: JobId::parse("a-abc234").expect("an id"),
        objective: "x".to_owned(),
        options: Options::default(),
        origin: Origin { name: String::new(), bytes: 0, sha256: String::new(), uid: 0 },
        created_at: Timestamp::UNIX_EPOCH,
    };
    let status = JobState::replay(events).status(&job);
    let json = serde_json::to_vec(&status).expect("json");
    let again: Status = serde_json::from_slice(&json).expect("what was written can be read");
    assert_eq!(again, status);
}
