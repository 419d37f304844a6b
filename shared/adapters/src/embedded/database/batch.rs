//! What a job sees of the transaction that it shares with others.

use oscillink_ports::PortError;
use rusqlite::Connection;

use crate::embedded::error::EmbeddedError;
use crate::embedded::store::PendingDocuments;

/// The transaction under way.
pub(crate) struct Batch<'c> {
    /// The writer's connection, inside the transaction.
    pub(crate) connection: &'c Connection,
    /// Documents read and written so far in this transaction; they reach the tables before the commit.
    pub(crate) documents: &'c mut PendingDocuments,
}

/// Why a job did not do its work.
#[derive(Debug)]
pub(crate) enum JobError {
    /// It refused and wrote nothing; the others of its transaction are not concerned.
    Refused(PortError),
    /// Something broke half way; the whole transaction has to be undone.
    Broken(EmbeddedError),
}

impl From<EmbeddedError> for JobError {
    fn from(error: EmbeddedError) -> Self {
        Self::Broken(error)
    }
}

impl From<rusqlite::Error> for JobError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<PortError> for JobError {
    fn from(error: PortError) -> Self {
        Self::Refused(error)
    }
}
