//! Opening connections: files, modes and pragmas.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema;
use crate::embedded::config::DatabaseConfig;
use crate::embedded::error::EmbeddedError;
use crate::embedded::folder::FILE_MODE;

/// Larger than SQLite's own, since documents of several kilobytes are common.
const PAGE_BYTES: u32 = 4096;
const CACHED_STATEMENTS: usize = 512;

/// The writer's connection, on a database with the current schema.
pub(super) fn open_for_writing(
    path: &Path,
    config: &DatabaseConfig,
) -> Result<Connection, EmbeddedError> {
    create_private(path)?;
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = connect(path, access, config, config.cache_bytes)?;
    let prepared = prepare(&connection, path, config);
    prepared.map_err(|error| damaged(path, error))?;
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn open_for_reading(
    path: &Path,
    config: &DatabaseConfig,
) -> Result<Connection, EmbeddedError> {
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY;
    connect(path, access, config, config.reader_cache_bytes)
}

fn connect(
    path: &Path,
    access: OpenFlags,
    config: &DatabaseConfig,
    cache_bytes: u64,
) -> Result<Connection, EmbeddedError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_millis(config.busy_timeout_ms))?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    let cache_kib = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    Ok(connection)
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
                source,
            }
        }
        other => other,
    }
}
