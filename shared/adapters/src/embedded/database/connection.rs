//! Opening connections: files, modes and pragmas.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::file::DatabaseFile;
use super::schema;
use crate::embedded::config::DatabaseConfig;
use crate::embedded::error::EmbeddedError;
use crate::embedded::folder::FILE_MODE;

/// Larger than SQLite's own, since documents of several kilobytes are common.
const PAGE_BYTES: u32 = 4096;
const CACHED_STATEMENTS: usize = 512;

/// An open connection.
pub(super) struct Session {
    // In this order: the handle must outlive the connection.
    connection: Connection,
    file: DatabaseFile,
}

impl Session {
    /// Makes what checkpoints have copied durable, so that the last one has little left to do.
    pub(super) fn sync_file(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Room left on the disk that the database is on.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        self.file.free_bytes()
    }
}

impl Deref for Session {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// A connection that can write, on a database with the current schema.
pub(super) fn open_for_writing(
    path: &Path,
    config: &DatabaseConfig,
) -> Result<Session, EmbeddedError> {
    create_private(path)?;
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let opened = connect(path, access, config, config.cache_bytes).and_then(|session| {
        prepare(&session, path, config)?;
        Ok(session)
    });
    opened.map_err(|error| damaged(path, error))
}

/// A connection that cannot write.
pub(super) fn open_for_reading(
    path: &Path,
    config: &DatabaseConfig,
) -> Result<Session, EmbeddedError> {
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY;
    connect(path, access, config, config.reader_cache_bytes)
}

fn connect(
    path: &Path,
    access: OpenFlags,
    config: &DatabaseConfig,
    cache_bytes: u64,
) -> Result<Session, EmbeddedError> {
    let file = DatabaseFile::open(path)?;
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_millis(config.busy_timeout_ms))?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Otherwise a statement with a range or a limit is planned anew each time that another value is
    // bound to it, which costs more than it does. The indexes are named in the queries anyway.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let cache_kib = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    Ok(Session { connection, file })
}

fn prepare(
    connection: &Connection,
    path: &Path,
    config: &DatabaseConfig,
) -> Result<(), EmbeddedError> {
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The writer decides when to copy the log into the database.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let keep = i64::try_from(config.max_wal_bytes).unwrap_or(i64::MAX);
    connection.pragma_update(None, "journal_size_limit", keep)?;
    if let Some(most) = config.max_database_bytes {
        let pages = i64::try_from(most / u64::from(PAGE_BYTES)).unwrap_or(i64::MAX);
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    schema::bring_up_to_date(connection, path)
}

/// Makes the file with its mode before SQLite sees it; the log files take the mode over. A file that
/// exists must not be opened here: closing it would drop SQLite's locks in this process.
fn create_private(path: &Path) -> Result<(), EmbeddedError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(EmbeddedError::io(path)(error)),
    }
}

fn damaged(path: &Path, error: EmbeddedError) -> EmbeddedError {
    match error {
        EmbeddedError::Sqlite(source)
            if matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
            ) =>
        {
            EmbeddedError::Damaged {
                path: path.to_owned(),
                cause: source,
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_planned_once_whatever_is_bound_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let session = open_for_writing(&path, &DatabaseConfig::default()).unwrap();
        session
            .execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY, y); INSERT INTO t VALUES (1, 1), (2, 1), (3, 2);")
            .unwrap();
        let mut statement = session
            .prepare("SELECT x FROM t WHERE x > ? AND x <= ? ORDER BY x LIMIT ?")
            .unwrap();
        for most in 1..4 {
            let found = statement.query_map([0, 3, most], |row| row.get::<_, i64>(0));
            assert_eq!(found.unwrap().count(), usize::try_from(most).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
