//! Copies the write-ahead log into the database before it grows too long.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::embedded::config::DatabaseConfig;
use crate::embedded::error::EmbeddedError;

/// When to checkpoint.
pub(super) struct Checkpoints {
    limit_pages: u64,
    log_pages: Arc<AtomicU64>,
}

impl Checkpoints {
    pub(super) fn start(
        connection: &mut Connection,
        _path: &Path,
        config: &DatabaseConfig,
    ) -> Result<Self, EmbeddedError> {
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let this = Self {
            limit_pages: config.checkpoint_bytes / u64::from(page_bytes.max(1)),
            log_pages: Arc::default(),
        };
        this.watch(connection)?;
        Ok(this)
    }

    /// Counts the pages that `connection` writes to the log.
    pub(super) fn watch(&self, connection: &mut Connection) -> Result<(), EmbeddedError> {
        let log_pages = Arc::clone(&self.log_pages);
        connection.wal_hook(Some(move |_: &mut _, pages: i32| {
            log_pages.store(u64::from(pages.unsigned_abs()), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(())
    }

    /// To be called after each commit. `true` when the caller waited for a checkpoint.
    pub(super) fn after_commit(&mut self, connection: &Connection) -> bool {
        if self.log_pages.load(Ordering::Relaxed) < self.limit_pages {
            return false;
        }
        if let Err(error) = run(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
            tracing::warn!(%error, "checkpoint failed");
        }
        true
    }

    /// Ends the background work and empties the log.
    pub(super) fn stop(self, connection: &Connection) {
        if let Err(error) = run(connection, "PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "last checkpoint failed");
        }
    }
}

fn run(connection: &Connection, pragma: &str) -> Result<(), rusqlite::Error> {
    connection.query_row(pragma, [], |_| Ok(()))
}
