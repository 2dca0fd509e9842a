//! Opening a database: settings asked for and read back, damage put aside, migrations in one transaction.
//!
//! Promise: opening costs the same whatever is in the file. Damage is found where it is met, not looked for: a look at every page
//! would make the end of each job cost what all jobs before it have left behind. Nor does closing bring over what was written and
//! remove the log, as SQLite does by itself: that was a fourth of the flushes of a job.
//!
//! Diagnostics: damage (no database, not ours, pages that contradict one another) is put aside as `<name>.bad-<n>`; a newer
//! version and a setting that does not take are errors.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::StoreError;
use crate::os::fsx;
use crate::os::lock::FileLock;

pub(super) type Result<T> = std::result::Result<T, StoreError>;

/// Longest wait for another process that opens or appends.
const PATIENCE: Duration = Duration::from_secs(10);
/// A log that is longer than so many bytes, some twenty jobs, is brought over by who opens its database for writing: all of it is read
/// by who opens that while nobody else has it open.
const LONG_LOG: u64 = 400_000;
/// Damaged files that are kept of one database.
const MAX_PUT_ASIDE: u32 = 1000;

/// What every connection is told at once, without a statement: foreign keys count, what stands in a file calls no function, and the
/// log is left where it is when it is closed.
const SWITCHES: [(DbConfig, &str, bool); 3] = [
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, "foreign_keys", true),
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, "trusted_schema", false),
    (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, "no_ckpt_on_close", true),
];
/// How a database is written: a new one says otherwise, one that was opened before says so already.
const JOURNAL: Setting = ("journal_mode", "WAL", "wal");
/// A row that was written survives a power cut: nobody looks for a single one that is missing. As SQLite is built.
const FLUSHES: Setting = ("synchronous", "FULL", "2");
/// A page that contradicts itself is found when it is read. Not as SQLite is built.
const CELLS: Setting = ("cell_size_check", "ON", "1");
/// Longest wait of a statement for another process.
const BUSY: Duration = Duration::from_secs(5);

/// The name of a setting, what it is to be, and what it reads back as.
type Setting = (&'static str, &'static str, &'static str);

/// What a database of ours looks like.
pub(super) struct Schema {
    /// Marks the file as ours.
    pub(super) application_id: i32,
    /// `migrations[n]` makes version n + 1 of version n. Released ones never change.
    pub(super) migrations: &'static [&'static str],
}

/// Opens a database for writing, making, migrating or replacing it as needed. One process at a time opens, so that two
/// never put each other's new file aside.
pub(super) fn open(path: &Path, schema: &Schema) -> Result<Connection> {
    let _guard = lock_beside(path)?;
    match prepare(path, schema) {
        Err(error) if is_damage(&error) => {
            put_aside(path)?;
            prepare(path, schema)
        }
        prepared => prepared,
    }
}

/// Puts a database aside whose damage has just been met, so that the next who opens it makes it anew; gives back the error. The
/// caller does not hold the lock beside it.
pub(super) fn met(path: &Path, error: StoreError) -> StoreError {
    if is_damage(&error) {
        // Whoever meets it next tries again.
        let _aside = lock_beside(path).and_then(|_guard| put_aside(path));
    }
    error
}

/// Opens a database for reading alone; `None` if it is not there. Nothing is repaired.
pub(super) fn open_reader(path: &Path, schema: &Schema) -> Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, flags)?;
    // The rest is the writer's business.
    set(&connection, path, CELLS)?;
    let version = version_of(&connection, path, schema)?;
    Ok((version == schema.migrations.len()).then_some(connection))
}

/// A new database that lies in no file; `path` is what messages name.
pub(super) fn in_memory(path: &Path, schema: &Schema) -> Result<Connection> {
    let mut connection = Connection::open_in_memory().map_err(said(path))?;
    migrate(&mut connection, path, schema)?;
    Ok(connection)
}

/// Takes the lock file that lies beside a file of the store.
pub(super) fn lock_beside(path: &Path) -> Result<FileLock> {
    let lock = with_ending(path, ".lock");
    FileLock::acquire(&lock, PATIENCE)?.ok_or(StoreError::Busy(lock))
}

/// Adds the file to what the database said.
pub(super) fn said(path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError + '_ {
    move |source| StoreError::Database { path: path.to_owned(), source }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn prepare(path: &Path, schema: &Schema) -> Result<Connection> {
    if !path.exists() {
        // For its owner alone, which SQLite would not do; an empty file is a new database.
        drop(fsx::open_append(path)?);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(path, flags)?;
    for setting in [JOURNAL, FLUSHES] {
        // To set what is set already costs a statement more.
        if otherwise(&connection, path, setting)?.is_some() {
            set(&connection, path, setting)?;
        }
    }
    set(&connection, path, CELLS)?;
    if version_of(&connection, path, schema)? < schema.migrations.len() {
        migrate(&mut connection, path, schema)?;
    }
    if with_ending(path, "-wal").metadata().is_ok_and(|log| log.len() > LONG_LOG) {
        bring_over(&connection).map_err(said(path))?;
        connection.busy_timeout(BUSY).map_err(said(path))?;
    }
    Ok(connection)
}

/// A connection with its switches set.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags).map_err(said(path))?;
    connection.busy_timeout(BUSY).map_err(said(path))?;
    for (switch, pragma, wanted) in SWITCHES {
        let is_on = connection.set_db_config(switch, wanted).map_err(said(path))?;
        if is_on != wanted {
            let found = is_on.to_string();
            return Err(StoreError::Setting { path: path.to_owned(), pragma, found });
        }
    }
    Ok(connection)
}

/// Brings what was written over from the log into the database, and empties the log, unless somebody reads or writes at this moment:
/// this connection waits for nobody any more.
fn bring_over(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    match connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        brought => brought,
    }
}

fn set(connection: &Connection, path: &Path, setting: Setting) -> Result<()> {
    let (pragma, value, _) = setting;
    connection.execute_batch(&format!("PRAGMA {pragma} = {value}")).map_err(said(path))?;
    match otherwise(connection, path, setting)? {
        None => Ok(()),
        Some(found) => Err(StoreError::Setting { path: path.to_owned(), pragma, found }),
    }
}

/// What a setting is, where it is not as it is to be.
fn otherwise(
    connection: &Connection,
    path: &Path,
    (pragma, _, expected): Setting,
) -> Result<Option<String>> {
    let found = read_pragma(connection, pragma).map_err(said(path))?;
    Ok((found != expected).then_some(found))
}

pub(super) fn read_pragma(connection: &Connection, pragma: &str) -> rusqlite::Result<String> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(n) => n.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => String::new(),
        })
    })
}

/// The version of a file that is ours or still empty.
fn version_of(connection: &Connection, path: &Path, schema: &Schema) -> Result<usize> {
    let read = |pragma| read_pragma(connection, pragma).map_err(said(path));
    let (id, version) = (read("application_id")?, read("user_version")?);
    let is_new = id == "0" && version == "0" && is_empty(connection).map_err(said(path))?;
    if !is_new && id != schema.application_id.to_string() {
        return Err(damaged(path, format!("its application id {id} is not ours")));
    }
    let known = schema.migrations.len();
    match version.parse::<usize>() {
        Ok(found) if found > known => {
            Err(StoreError::Newer { path: path.to_owned(), found, known })
        }
        Ok(found) => Ok(found),
        Err(_) => Err(damaged(path, format!("its version is {version}"))),
    }
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn damaged(path: &Path, what: String) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), what }
}

/// Brings the file to the newest version, in one transaction; another process may have done so meanwhile.
fn migrate(connection: &mut Connection, path: &Path, schema: &Schema) -> Result<()> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(said(path))?;
    let version = version_of(&transaction, path, schema)?;
    let run = |sql: &str| transaction.execute_batch(sql).map_err(said(path));
    for migration in &schema.migrations[version..] {
        run(migration)?;
    }
    if version < schema.migrations.len() {
        run(&format!("PRAGMA application_id = {}", schema.application_id))?;
        run(&format!("PRAGMA user_version = {}", schema.migrations.len()))?;
    }
    transaction.commit().map_err(said(path))
}

pub(super) fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. } => true,
        StoreError::Database { source, .. } => match source {
            // A column that holds what we never put there.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => true,
            other => matches!(
                other.sqlite_error_code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
            ),
        },
        StoreError::Io(_)
        | StoreError::Newer { .. }
        | StoreError::Setting { .. }
        | StoreError::Busy(_) => false,
    }
}

/// Renames a damaged database with its log, so that a person can still look at it.
fn put_aside(path: &Path) -> Result<()> {
    let aside = (1..MAX_PUT_ASIDE)
        .map(|n| with_ending(path, &format!(".bad-{n}")))
        .find(|aside| !aside.exists());
    let aside = aside.ok_or_else(|| damaged(path, "too many damaged ones beside it".into()))?;
    fsx::move_to(path, &aside)?;
    for ending in ["-wal", "-shm"] {
        match fsx::move_to(&with_ending(path, ending), &with_ending(&aside, ending)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Has all of a database that nobody has open in its one file, for who spoils that.
#[cfg(test)]
pub(super) fn settle(path: &Path) {
    Connection::open(path).and_then(|database| bring_over(&database)).expect("bring over");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema = Schema {
        application_id: 77,
        migrations: &["CREATE TABLE a(x INTEGER) STRICT", "CREATE TABLE b(x INTEGER) STRICT"],
    };
    const OLDER: Schema = Schema { migrations: &["CREATE TABLE a(x INTEGER) STRICT"], ..SCHEMA };

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("x.db");
        (dir, path)
    }

    fn count(connection: &Connection, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).expect("count")
    }

    #[test]
    fn settings_are_what_was_asked_for() {
        let (_dir, path) = scratch();
        let writer = open(&path, &SCHEMA).expect("open");
        let reader = open_reader(&path, &SCHEMA).expect("open").expect("there");
        for (pragma, expected) in [
            ("busy_timeout", "5000"),
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("foreign_keys", "1"),
            ("trusted_schema", "0"),
            ("cell_size_check", "1"),
            // As SQLite is built with the program.
            ("mmap_size", "0"),
        ] {
            for connection in [&writer, &reader] {
                assert_eq!(read_pragma(connection, pragma).expect("read"), expected, "{pragma}");
            }
        }
        assert!(reader.execute_batch("INSERT INTO a VALUES (1)").is_err());
    }

    #[test]
    fn a_setting_that_does_not_take_is_an_error() {
        let (_dir, path) = scratch();
        let connection = Connection::open_in_memory().expect("open");
        let error = set(&connection, &path, JOURNAL).expect_err("no log in memory");
        assert!(error.to_string().contains("journal_mode stays memory"), "{error}");
    }

    #[test]
    fn an_older_file_is_migrated_and_keeps_its_rows() {
        let (_dir, path) = scratch();
        open(&path, &OLDER).expect("old").execute_batch("INSERT INTO a VALUES (1)").expect("row");
        assert!(open_reader(&path, &SCHEMA).expect("look").is_none(), "a reader does not migrate");
        let connection = open(&path, &SCHEMA).expect("new");
        assert_eq!((count(&connection, "a"), count(&connection, "b")), (1, 0));
    }

    #[test]
    fn a_newer_file_is_refused_and_left_as_it_is() {
        let (dir, path) = scratch();
        drop(open(&path, &SCHEMA).expect("new"));
        for error in [open(&path, &OLDER).err(), open_reader(&path, &OLDER).err()] {
            let text = error.expect("refused").to_string();
            assert!(text.ends_with("its version is 2, this program knows up to 1"), "{text}");
        }
        assert!(!dir.path().join("x.db.bad-1").exists());
        drop(open(&path, &SCHEMA).expect("still good"));
    }

    #[test]
    fn damage_is_put_aside_and_the_file_made_anew() {
        for (name, spoil) in [
            (
                "no database",
                b"this is no database, and long enough to have a header of 100 bytes; ".repeat(20),
            ),
            ("cut off", Vec::new()),
        ] {
            let (dir, path) = scratch();
            let bytes = if spoil.is_empty() { torn_database(&path) } else { spoil };
            fsx::put(&path, &bytes).expect("spoil");
            let connection = open(&path, &SCHEMA).expect(name);
            assert_eq!(count(&connection, "a"), 0, "{name}");
            let aside = std::fs::read(dir.path().join("x.db.bad-1")).expect("kept");
            assert_eq!(aside, bytes, "{name}");
        }
    }

    /// The first page and a half of a database with many rows.
    fn torn_database(path: &Path) -> Vec<u8> {
        let connection = open(path, &SCHEMA).expect("new");
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)
                    INSERT INTO a SELECT i FROM n";
        connection.execute_batch(rows).expect("rows");
        drop(connection);
        settle(path);
        let mut bytes = std::fs::read(path).expect("bytes");
        bytes.truncate(6000);
        bytes
    }

    #[test]
    fn what_was_written_stays_in_the_log_which_is_brought_over_before_it_is_long() {
        let (_dir, path) = scratch();
        let log = with_ending(&path, "-wal");
        drop(open(&path, &SCHEMA).expect("new"));
        let made = log.metadata().expect("it stays").len();
        assert!(made > 0);
        for n in 0..200 {
            let connection = open(&path, &SCHEMA).expect("open");
            connection.execute_batch("INSERT INTO a VALUES (1)").expect("row");
            assert_eq!(count(&connection, "a"), n + 1);
        }
        let reader = open_reader(&path, &SCHEMA).expect("open").expect("there");
        assert_eq!(count(&reader, "a"), 200);
        // Each of these takes 4120 bytes.
        let left = log.metadata().expect("still there").len();
        assert!((1..LONG_LOG + 2 * 4120).contains(&left), "{left}");
    }

    #[test]
    fn a_long_log_stays_while_somebody_writes_and_the_database_opens_all_the_same() {
        let (_dir, path) = scratch();
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)
                    INSERT INTO a SELECT i FROM n";
        let writer = open(&path, &SCHEMA).expect("new");
        writer.execute_batch(rows).expect("rows");
        writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO a VALUES (1)").expect("begin");
        let connection = open(&path, &SCHEMA).expect("open");
        assert_eq!(count(&connection, "a"), 100_000);
        assert_eq!(read_pragma(&connection, "busy_timeout").expect("read"), "5000");
        writer.execute_batch("COMMIT").expect("commit");
        drop(open(&path, &SCHEMA).expect("open"));
        let log = with_ending(&path, "-wal");
        assert_eq!(log.metadata().expect("it stays").len(), 0, "nobody is in its way");
    }

    #[test]
    fn a_database_of_someone_else_is_put_aside_not_written() {
        let (dir, path) = scratch();
        let foreign = Connection::open(&path).expect("open");
        foreign.execute_batch("CREATE TABLE theirs(x)").expect("table");
        drop(foreign);
        drop(open(&path, &SCHEMA).expect("open"));
        let kept = Connection::open(dir.path().join("x.db.bad-1")).expect("kept");
        assert_eq!(count(&kept, "theirs"), 0);
    }

    #[test]
    fn many_may_open_a_new_file_at_once() {
        let (dir, path) = scratch();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| drop(open(&path, &SCHEMA).expect("open")));
            }
        });
        assert!(!dir.path().join("x.db.bad-1").exists());
    }
}
