//! What can go wrong underneath, and what it means in the ports' terms.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oscillink_ports::PortError;
use rusqlite::ErrorCode;

/// A failure of the embedded backends. Each text holds its whole cause: none is given as the error's
/// source as well, or it would be shown twice.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A file or folder could not be made, read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
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
    #[error("database {} is damaged or not a database: {cause}", path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite found.
        cause: rusqlite::Error,
    },
    /// A statement failed.
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
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
        move |cause| Self::Io { path, cause }
    }

    /// Whether a data folder cannot be one where it is: not to be made, entered or written. Another
    /// process, a full disk and damaged files are not meant.
    #[must_use]
    pub fn is_unusable_folder(&self) -> bool {
        match self {
            Self::Io { cause, .. } => !matches!(
                cause.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::Interrupted
            ),
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
            ),
            _ => false,
        }
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

impl From<rusqlite::Error> for EmbeddedError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<EmbeddedError> for PortError {
    fn from(error: EmbeddedError) -> Self {
        let detail = error.to_string();
        match error {
            EmbeddedError::Io { cause, .. } => match cause.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Exhausted { detail },
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
