//! `tasks.db`: the index of ended jobs and their tasks, which lists read instead of every run folder.
//!
//! Promise: it only repeats what `runs/` says. Missing, damaged or unfinished, it says so by
//! [`Index::needs_rebuild`], and the caller feeds it every status again. The short list and the counts cost the same however
//! many jobs have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::db::{self, Result, Schema, said};
use crate::model::id::JobId;
use crate::model::outcome::Tokens;
use crate::model::status::{Status, TaskStatus};
use crate::os::fsx;

/// Statuses that one transaction of a rebuild takes in, so that nobody waits long for the lock.
const REBUILD_BATCH: usize = 200;

/// Times are microseconds since 1970, so that they sort. What has ended is counted as it ends: a count of all rows would cost
/// every list what history holds.
const SCHEMA: Schema = Schema {
    application_id: 0x4e75_6d54,
    migrations: &["
        CREATE TABLE jobs(
            id TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL, reason TEXT, message TEXT NOT NULL,
            objective TEXT NOT NULL, workspace TEXT, branch TEXT,
            created_at INTEGER NOT NULL, ended_at INTEGER,
            input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
            status TEXT NOT NULL
        ) STRICT;
        CREATE INDEX jobs_by_end ON jobs(ended_at, id);
        CREATE TABLE tasks(
            job_id TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, id TEXT NOT NULL,
            role TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL,
            summary TEXT NOT NULL, message TEXT NOT NULL,
            input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
            PRIMARY KEY (job_id, id)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE is_complete(since INTEGER NOT NULL) STRICT;
    ", "
        DROP INDEX jobs_by_end;
        CREATE INDEX jobs_by_end ON jobs(ended_at DESC, id);
        CREATE TABLE ended(state TEXT PRIMARY KEY NOT NULL, jobs INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        INSERT INTO ended SELECT state, count(*) FROM jobs WHERE ended_at IS NOT NULL GROUP BY state;
        CREATE TRIGGER job_counted AFTER INSERT ON jobs WHEN NEW.ended_at IS NOT NULL BEGIN
            INSERT INTO ended VALUES (NEW.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
        END;
        CREATE TRIGGER job_uncounted AFTER DELETE ON jobs WHEN OLD.ended_at IS NOT NULL BEGIN
            UPDATE ended SET jobs = jobs - 1 WHERE state = OLD.state;
        END;
    "],
};

/// The statuses of those that ended last.
const RECENT: &str = "SELECT status FROM jobs ORDER BY ended_at DESC, id LIMIT ?1";
/// How many have ended, by their state.
const COUNTS: &str = "SELECT state, jobs FROM ended WHERE jobs > 0";

/// The index of one root.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    path: PathBuf,
}

impl Index {
    /// Opens the index for writing, making it if it is missing or damaged.
    ///
    /// # Errors
    /// One that a newer program wrote, and trouble with the file.
    pub fn open(store: &Path) -> Result<Self> {
        let path = store.join("tasks.db");
        fsx::refuse_irregular(&path)?;
        Ok(Self { connection: db::open(&path, &SCHEMA)?, path })
    }

    /// Opens the index for reading; `None` if it is missing or unfinished: the files are read instead, as they are
    /// after any error.
    ///
    /// # Errors
    /// A damaged or newer index, and trouble with the file.
    pub fn open_reader(store: &Path) -> Result<Option<Self>> {
        let path = store.join("tasks.db");
        fsx::refuse_irregular(&path)?;
        let Some(connection) = db::open_reader(&path, &SCHEMA)? else { return Ok(None) };
        let index = Self { connection, path };
        Ok((!index.needs_rebuild()?).then_some(index))
    }

    /// Whether it was made anew and not yet filled.
    ///
    /// # Errors
    /// Trouble with the file.
    pub fn needs_rebuild(&self) -> Result<bool> {
        let sql = "SELECT count(*) = 0 FROM is_complete";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(said(&self.path))
    }

    /// Takes in the status of every ended job, and is complete then. Rows recorded meanwhile stay.
    ///
    /// # Errors
    /// Trouble with the file; then it still needs a rebuild.
    pub fn rebuild(
        &mut self,
        statuses: impl IntoIterator<Item = Status>,
        now: Timestamp,
    ) -> Result<()> {
        let mut statuses = statuses.into_iter();
        loop {
            let batch: Vec<Status> = statuses.by_ref().take(REBUILD_BATCH).collect();
            if batch.is_empty() {
                break;
            }
            self.change(|t| batch.iter().try_for_each(|status| put_status(t, status)))?;
        }
        self.change(|t| {
            t.execute("INSERT INTO is_complete VALUES (?1)", [now.as_microsecond()]).map(drop)
        })
    }

    /// Puts a job's status in, in place of an earlier one.
    ///
    /// # Errors
    /// Trouble with the file; the index lacks the job until the next rebuild.
    pub fn record(&mut self, status: &Status) -> Result<()> {
        self.change(|t| put_status(t, status))
    }

    /// Takes a job out that was pruned; one that is not there is no error.
    ///
    /// # Errors
    /// Trouble with the file.
    pub fn forget(&mut self, job: &JobId) -> Result<()> {
        self.change(|t| t.execute("DELETE FROM jobs WHERE id = ?1", [job.as_str()]).map(drop))
    }

    /// A job's status.
    ///
    /// # Errors
    /// Trouble with the file.
    pub fn get(&self, job: &JobId) -> Result<Option<Status>> {
        let sql = "SELECT status FROM jobs WHERE id = ?1";
        self.connection
            .query_row(sql, [job.as_str()], read_status)
            .optional()
            .map_err(said(&self.path))
    }

    /// The jobs that ended last, the newest first.
    ///
    /// # Errors
    /// Trouble with the file.
    pub fn recent(&self, limit: u32) -> Result<Vec<Status>> {
        self.statuses(i64::from(limit))
    }

    /// Every job, the one that ended last first.
    ///
    /// # Errors
    /// Trouble with the file.
    pub fn all(&self) -> Result<Vec<Status>> {
        self.statuses(-1)
    }

    /// The ids of every job.
    ///
    /// # Errors
    /// Trouble with the file.
    pub fn known_ids(&self) -> Result<BTreeSet<JobId>> {
        let ids = || -> rusqlite::Result<BTreeSet<JobId>> {
            let mut statement = self.connection.prepare_cached("SELECT id FROM jobs")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.filter_map(|id| id.map(|id| JobId::parse(&id).ok()).transpose()).collect()
        };
        ids().map_err(said(&self.path))
    }

    /// How many jobs have ended, by the word of their state.
    ///
    /// # Errors
    /// Trouble with the file.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>> {
        let read = || -> rusqlite::Result<BTreeMap<String, u64>> {
            let mut statement = self.connection.prepare_cached(COUNTS)?;
            let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
            statement.query_map([], pair)?.collect()
        };
        read().map_err(said(&self.path))
    }

    /// Up to `limit` statuses; a negative limit is none.
    fn statuses(&self, limit: i64) -> Result<Vec<Status>> {
        let read = || -> rusqlite::Result<Vec<Status>> {
            let mut statement = self.connection.prepare_cached(RECENT)?;
            statement.query_map([limit], read_status)?.collect()
        };
        read().map_err(said(&self.path))
    }

    fn change(
        &mut self,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<()> {
        let change = || {
            let behavior = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            body(&transaction)?;
            transaction.commit()
        };
        change().map_err(|e| db::met(&self.path, said(&self.path)(e)))
    }
}

fn read_status(row: &Row<'_>) -> rusqlite::Result<Status> {
    let text: String = row.get(0)?;
    serde_json::from_str(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e))
    })
}

fn put_status(t: &Transaction<'_>, status: &Status) -> rusqlite::Result<()> {
    let json = serde_json::to_string(status)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    let ended_at = status.state.is_final().then(|| status.updated_at.as_microsecond());
    let (input, cached, output) = columns(status.tokens);
    t.prepare_cached("DELETE FROM jobs WHERE id = ?1")?.execute([status.job_id.as_str()])?;
    t.prepare_cached(
        "INSERT INTO jobs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        status.job_id.as_str(),
        status.state.as_str(),
        status.reason,
        status.message,
        status.objective,
        status.workspace,
        status.branch,
        status.created_at.as_microsecond(),
        ended_at,
        input,
        cached,
        output,
        json,
    ])?;
    status.tasks.iter().try_for_each(|task| put_task(t, &status.job_id, task))
}

fn put_task(t: &Transaction<'_>, job: &JobId, task: &TaskStatus) -> rusqlite::Result<()> {
    let (input, cached, output) = columns(task.tokens);
    t.prepare_cached(
        "INSERT OR REPLACE INTO tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        job.as_str(),
        task.id.as_str(),
        task.role.as_str(),
        task.state.as_str(),
        task.attempt,
        task.summary,
        task.message,
        input,
        cached,
        output,
    ])
    .map(drop)
}

/// Counts as the database takes them; it has no larger ones.
fn columns(tokens: Tokens) -> (i64, i64, i64) {
    let column = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    (column(tokens.input), column(tokens.cached), column(tokens.output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::TaskId;
    use crate::model::plan::Role;
    use crate::model::status::{JobPhase, TaskPhase};
    use crate::model::tally::Counts;

    fn status(id: &str, ended: &str) -> Status {
        let task = |id: &str| TaskStatus {
            id: TaskId::parse(id).expect("id"),
            summary: "do".into(),
            role: Role::Executor,
            state: TaskPhase::Succeeded,
            attempt: 1,
            waits_for: vec!["x".into()],
            until: None,
            message: String::new(),
            tokens: Tokens { input: u64::MAX, cached: 1, output: 2 },
        };
        Status {
            version: 1,
            job_id: JobId::parse(id).expect("id"),
            state: JobPhase::Succeeded,
            reason: None,
            message: "done; it's \"fine\"".into(),
            until: None,
            pid: None,
            workspace: Some("/w".into()),
            branch: None,
            takes_in: Vec::new(),
            objective: "objective".into(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: ended.parse().expect("time"),
            tokens: Tokens::default(),
            spent: [(Role::Queen, Tokens { input: 1, cached: 0, output: 2 })].into(),
            counts: Counts { sessions: 3, go: 2, no_go: 1, waited_ms: 1500 },
            tasks: vec![task("t1"), task("t2")],
        }
    }

    fn three() -> Vec<Status> {
        vec![
            status("a-abc234", "2026-01-02T03:04:05.5Z"),
            status("b-abc234", "2026-01-02T03:04:05Z"),
            status("c-abc234", "2026-01-02T03:04:06Z"),
        ]
    }

    fn open(dir: &tempfile::TempDir) -> Index {
        let store = dir.path().join("store");
        fsx::make_dir(&store).expect("store");
        Index::open(&store).expect("open")
    }

    fn ids(statuses: &[Status]) -> Vec<&str> {
        statuses.iter().map(|s| s.job_id.as_str()).collect()
    }

    #[test]
    fn a_status_comes_back_as_it_was_and_a_later_one_replaces_it() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut index = open(&dir);
        let mut one = status("a-abc234", "2026-01-02T03:04:05Z");
        index.record(&one).expect("record");
        assert_eq!(index.get(&one.job_id).expect("get"), Some(one.clone()));
        one.state = JobPhase::Failed;
        one.tasks.pop();
        index.record(&one).expect("again");
        assert_eq!(index.all().expect("all"), [one.clone()]);
        let tasks = "SELECT count(*) FROM tasks";
        let count: i64 = index.connection.query_row(tasks, [], |r| r.get(0)).expect("count");
        assert_eq!(count, 1);
        index.forget(&one.job_id).expect("forget");
        assert_eq!(index.get(&one.job_id).expect("get"), None);
    }

    #[test]
    fn the_job_that_ended_last_comes_first() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut index = open(&dir);
        for status in three() {
            index.record(&status).expect("record");
        }
        assert_eq!(ids(&index.recent(2).expect("recent")), ["c-abc234", "a-abc234"]);
        assert_eq!(ids(&index.all().expect("all")), ["c-abc234", "a-abc234", "b-abc234"]);
        assert_eq!(index.known_ids().expect("ids").len(), 3);
    }

    #[test]
    fn a_lost_or_spoiled_index_is_rebuilt_to_the_same_rows() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("store/tasks.db");
        let mut index = open(&dir);
        assert!(index.needs_rebuild().expect("look"));
        index.rebuild(three(), Timestamp::UNIX_EPOCH).expect("rebuild");
        let before = index.all().expect("all");
        drop(index);
        db::settle(&path);
        for spoil in [None, Some(b"garbage".repeat(100))] {
            fsx::remove(&path).expect("remove");
            if let Some(bytes) = spoil {
                fsx::put(&path, &bytes).expect("spoil");
                assert!(Index::open_reader(&dir.path().join("store")).is_err());
            }
            let mut index = open(&dir);
            assert!(index.needs_rebuild().expect("look"));
            assert!(Index::open_reader(&dir.path().join("store")).expect("look").is_none());
            index.rebuild(three(), Timestamp::UNIX_EPOCH).expect("rebuild");
            assert_eq!(index.all().expect("all"), before);
            drop(index);
            db::settle(&path);
        }
        let reader = Index::open_reader(&dir.path().join("store")).expect("open").expect("there");
        assert_eq!(reader.all().expect("all"), before);
    }

    #[test]
    fn damage_that_is_met_puts_the_index_aside() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut index = open(&dir);
        let many = (0..200).map(|n| status(&format!("j{n}-abc234"), "2026-01-02T03:04:05Z"));
        index.rebuild(many, Timestamp::UNIX_EPOCH).expect("rebuild");
        drop(index);
        let path = dir.path().join("store/tasks.db");
        db::settle(&path);
        let mut bytes = std::fs::read(&path).expect("bytes");
        // The first page and the tables' names are whole, and nothing else.
        bytes[2 * 4096..].fill(0xff);
        fsx::put(&path, &bytes).expect("spoil");
        let mut index = open(&dir);
        assert!(!dir.path().join("store/tasks.db.bad-1").exists(), "nobody has looked");
        index.record(&status("new-abc234", "2026-01-02T03:04:05Z")).expect_err("it is met");
        assert!(dir.path().join("store/tasks.db.bad-1").exists());
        assert!(open(&dir).needs_rebuild().expect("look"));
    }

    #[test]
    fn what_has_ended_is_counted_as_it_is_recorded_and_forgotten() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut index = open(&dir);
        for mut one in three() {
            index.record(&one).expect("record");
            one.state = JobPhase::Failed;
            index.record(&one).expect("again");
        }
        index.record(&status("a-abc234", "2026-01-02T03:04:05Z")).expect("record");
        let counts =
            |index: &Index| index.counts().expect("counts").into_iter().collect::<Vec<_>>();
        assert_eq!(counts(&index), [("failed".to_owned(), 2), ("succeeded".to_owned(), 1)]);
        index.forget(&JobId::parse("a-abc234").expect("id")).expect("forget");
        assert_eq!(counts(&index), [("failed".to_owned(), 2)]);
    }

    #[test]
    fn an_index_of_the_first_version_is_counted_when_it_is_opened() {
        let dir = tempfile::tempdir().expect("scratch");
        let first = Schema { migrations: &SCHEMA.migrations[..1], ..SCHEMA };
        let path = dir.path().join("tasks.db");
        let connection = db::open(&path, &first).expect("old");
        let mut old = Index { connection, path };
        old.rebuild(three(), Timestamp::UNIX_EPOCH).expect("rebuild");
        drop(old);
        assert!(
            Index::open_reader(dir.path()).expect("look").is_none(),
            "a reader does not migrate"
        );
        let index = Index::open(dir.path()).expect("open");
        assert!(!index.needs_rebuild().expect("look"));
        assert_eq!(index.counts().expect("counts"), [("succeeded".to_owned(), 3)].into());
    }

    #[test]
    fn the_short_list_and_the_counts_read_no_more_than_they_give() {
        let dir = tempfile::tempdir().expect("scratch");
        let index = open(&dir);
        for sql in [RECENT, COUNTS] {
            let plan = format!("EXPLAIN QUERY PLAN {sql}").replace("?1", "10");
            let mut statement = index.connection.prepare(&plan).expect("plan");
            let lines = statement.query_map([], |row| row.get::<_, String>(3)).expect("rows");
            let plan = lines.collect::<rusqlite::Result<Vec<_>>>().expect("lines").join("\n");
            assert!(!plan.contains("B-TREE") && !plan.contains("SCAN jobs\n"), "{plan}");
        }
    }

    #[test]
    fn a_fifo_in_the_place_of_the_index_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("tasks.db");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).expect("fifo");
        for refused in [Index::open(dir.path()).map(drop), Index::open_reader(dir.path()).map(drop)]
        {
            let why = refused.expect_err("it is no file").to_string();
            assert!(why.contains("tasks.db: it is no regular file"), "{why}");
        }
    }

    #[test]
    fn several_workers_may_record_at_once() {
        let dir = tempfile::tempdir().expect("scratch");
        drop(open(&dir));
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let mut index = open(&dir);
                scope.spawn(move || {
                    for n in 0..10 {
                        let one = status(&format!("w{worker}-{n}"), "2026-01-02T03:04:05Z");
                        index.record(&one).expect("record");
                    }
                });
            }
        });
        assert_eq!(open(&dir).known_ids().expect("ids").len(), 40);
    }
}
