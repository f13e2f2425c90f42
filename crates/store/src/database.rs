//! Connections: how the database is opened, recognised, migrated and tuned.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{StoreErrorKind, kind_of};
use crate::folder::OpenError;
use crate::outbox;
use crate::writer::Use;

/// Marks the file as ours (`PRAGMA application_id`): "WNDL".
const APPLICATION_ID: i64 = 0x574e_444c;
/// Migration `n` brings schema `n` to schema `n + 1`; `PRAGMA user_version` holds the schema's number.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
];
/// Only a person's `sqlite3` shell can hold a lock against us; it is given this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// There are about eighty distinct statements; all of them stay prepared.
const STATEMENTS: usize = 128;

/// An embedded store holds claims and leases in the writer's connection alone: they cost no disk write, roll back with
/// their transaction, and die with the process.
const HELD: &str = "
    CREATE TEMP TABLE claims (work INTEGER PRIMARY KEY, generation INTEGER NOT NULL, owner INTEGER NOT NULL) STRICT;
    CREATE TEMP TABLE leases (name TEXT PRIMARY KEY, term INTEGER NOT NULL, owner INTEGER NOT NULL) STRICT;";

/// What a copy of a shared state has besides.
const SHARED: &str = include_str!("schema/shared.sql");

/// The newest schema that this program knows.
pub(crate) fn supported_schema() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("there are a few migrations")
}

/// Opens the one connection that writes: durable on every commit, and migrated. What the last process held is free, and
/// what it was sending is due again.
pub(crate) fn open_writer(path: &Path, use_of: Use) -> Result<Connection, OpenError> {
    let connection = connect(path, use_of)?;
    if use_of == Use::Embedded {
        outbox::interrupt(&connection, 0).map_err(|source| explain(path, source))?;
    }
    Ok(connection)
}

/// As [`open_writer`], in the place of a connection whose files are gone: what it holds is held on.
pub(crate) fn reopen_writer(path: &Path, use_of: Use, former: &Connection) -> Result<Connection, OpenError> {
    let connection = connect(path, use_of)?;
    if use_of == Use::Embedded {
        hold_on(former, &connection).map_err(|source| explain(path, source))?;
    }
    Ok(connection)
}

fn connect(path: &Path, use_of: Use) -> Result<Connection, OpenError> {
    let explain = |source| explain(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(explain)?;
    tune(&connection).map_err(explain)?;
    let identity = Identity::read(&connection).map_err(explain)?;
    identity.check(path)?;
    identity.check_use(path, use_of)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(explain)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog { path: path.to_owned() });
    }
    prepare_writer(&connection).map_err(explain)?;
    let prepared = match use_of {
        Use::Embedded => {
            migrate(&mut connection, identity.schema).and_then(|()| connection.execute_batch(HELD))
        }
        Use::Shared => share(&mut connection, identity.schema),
    };
    prepared.map_err(explain)?;
    // The first read makes the log's file.
    connection.query_row("SELECT count(*) FROM work", [], |_| Ok(())).map_err(explain)?;
    Ok(connection)
}

/// Opens a connection that only reads. The schema is not looked at; see [`check_readable`].
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    tune(&connection)?;
    Ok(connection)
}

/// Opens a reading connection on a database that this process did not migrate.
pub(crate) fn check_readable(path: &Path) -> Result<Connection, OpenError> {
    let connection = open_reader(path).map_err(|source| explain(path, source))?;
    let identity = Identity::read(&connection).map_err(|source| explain(path, source))?;
    identity.check(path)?;
    if identity.schema < supported_schema() {
        return Err(OpenError::OlderSchema {
            path: path.to_owned(),
            found: identity.schema,
            supported: supported_schema(),
        });
    }
    Ok(connection)
}

pub(crate) fn explain(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match kind_of(&source) {
        StoreErrorKind::Corrupt => OpenError::Corrupt { path, source },
        _ => OpenError::Database { path, source },
    }
}

/// Who wrote a database file.
struct Identity {
    application: i64,
    schema: i64,
    tables: i64,
    /// Whether it is a copy of a shared state.
    shared: bool,
}

impl Identity {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            application: connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
            schema: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            tables: connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
            shared: connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'position')",
                [],
                |row| row.get(0),
            )?,
        })
    }

    /// The state of an embedded store and a copy of a shared one are not taken for each other.
    fn check_use(&self, path: &Path, use_of: Use) -> Result<(), OpenError> {
        match use_of {
            Use::Embedded if self.shared => Err(OpenError::Shared { path: path.to_owned() }),
            Use::Shared if self.tables > 0 && !self.shared => {
                Err(OpenError::Embedded { path: path.to_owned() })
            }
            Use::Embedded | Use::Shared => Ok(()),
        }
    }

    fn check(&self, path: &Path) -> Result<(), OpenError> {
        let fresh = self.application == 0 && self.tables == 0;
        if self.application != APPLICATION_ID && !fresh {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        if self.schema > supported_schema() {
            return Err(OpenError::NewerSchema {
                path: path.to_owned(),
                found: self.schema,
                supported: supported_schema(),
            });
        }
        Ok(())
    }
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without this stability of plans, SQLite plans some prepared statements anew each time values are bound to them:
    // a sixth of the writer's work.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Without this, a damaged schema could run functions of ours.
    connection.pragma_update(None, "trusted_schema", false)
}

fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    // NORMAL would lose acknowledged transactions when the power fails.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // A burst's log file shrinks again: 64 MiB.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

/// Takes over the claims and leases of another connection.
fn hold_on(former: &Connection, connection: &Connection) -> rusqlite::Result<()> {
    let mut claims = former.prepare("SELECT work, generation, owner FROM claims")?;
    let mut claims = claims.query([])?;
    while let Some(row) = claims.next()? {
        let claim: (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        connection.execute("INSERT INTO claims VALUES (?1, ?2, ?3)", claim)?;
    }
    let mut leases = former.prepare("SELECT name, term, owner FROM leases")?;
    let mut leases = leases.query([])?;
    while let Some(row) = leases.next()? {
        let lease: (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        connection.execute("INSERT INTO leases VALUES (?1, ?2, ?3)", lease)?;
    }
    Ok(())
}

/// Makes the database a copy of a shared state. The mark comes first, so that a crash leaves no database of another use.
fn share(connection: &mut Connection, schema: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.execute_batch(SHARED)?;
    transaction.commit()?;
    // The log is what lasts; a copy that lost its end goes on from before it.
    connection.pragma_update(None, "synchronous", "normal")?;
    migrate(connection, schema)
}

/// A copy of a shared state that nothing happened in yet.
pub(crate) fn empty_copy() -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    share(&mut connection, 0)?;
    Ok(connection)
}

/// Each step is one transaction together with its number, so a crash leaves a known schema.
fn migrate(connection: &mut Connection, schema: i64) -> rusqlite::Result<()> {
    for (version, migration) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > schema) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
