//! What can go wrong underneath, and what it means in the ports' terms.

use std::path::{Path, PathBuf};

use oscillink_ports::PortError;
use rusqlite::ErrorCode;

/// A failure of the embedded backends.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A file or folder could not be made, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another server has the data folder.
    #[error("data folder {} is being served by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The database was written by a newer program.
    #[error(
        "database {} has schema version {found}; this program knows versions up to {known}: use a newer one",
        path.display()
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file exists and is not a database, or is a damaged one.
    #[error("database {} is damaged or not a database: {source}", path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite found.
        source: rusqlite::Error,
    },
    /// A statement failed.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value does not have its form.
    #[error("stored {what} is malformed: {detail}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Code run by the database thread panicked.
    #[error("the operation panicked: {0}")]
    Panicked(String),
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
}

impl EmbeddedError {
    /// For `map_err` on file operations.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// A value that does not have its form.
    pub(crate) fn malformed(what: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Malformed {
            what: what.into(),
            detail: detail.to_string(),
        }
    }

    /// Whether SQLite found no room on the disk, for the log or for the log's index.
    pub(crate) fn is_disk_full(&self) -> bool {
        let Self::Sqlite(error) = self else {
            return false;
        };
        error.sqlite_error().is_some_and(|error| {
            error.code == ErrorCode::DiskFull
                || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        })
    }

    /// Whether the machine is at fault (disk, memory, another process), so that each operation of a
    /// failed batch would fail in the same way.
    pub(crate) fn is_environment(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::OutOfMemory
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                        | ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                )
            ),
            Self::Io { .. } | Self::InUse { .. } | Self::Closed => true,
            _ => false,
        }
    }
}

impl From<EmbeddedError> for PortError {
    fn from(error: EmbeddedError) -> Self {
        let detail = error.to_string();
        match error {
            EmbeddedError::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Self::Exhausted { detail }
                }
                _ => Self::Unavailable { detail },
            },
            EmbeddedError::Sqlite(source) => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::Exhausted { detail },
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Corrupt { detail }
                }
                Some(ErrorCode::TooBig) => Self::Refused { detail },
                _ => Self::Unavailable { detail },
            },
            EmbeddedError::Damaged { .. }
            | EmbeddedError::Malformed { .. }
            | EmbeddedError::NewerSchema { .. } => Self::Corrupt { detail },
            EmbeddedError::Panicked(_) => Self::Refused { detail },
            EmbeddedError::InUse { .. } | EmbeddedError::Closed => Self::Unavailable { detail },
        }
    }
}
