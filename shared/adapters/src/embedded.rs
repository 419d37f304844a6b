//! Everything in one process and one folder: documents, tasks and events in a SQLite file, blobs in
//! a folder beside it. No cloud, no account; durable all the same.
//!
//! One process at a time serves a folder ([`open`] holds its lock). Other processes may read and
//! write documents meanwhile through [`open_store_only`].

mod blobs;
mod bus;
mod config;
mod database;
mod error;
mod folder;
mod queue;
mod store;

use std::sync::Arc;
use std::time::Duration;

use oscillink_ports::Clock;

pub use blobs::FolderBlobs;
pub use bus::LocalBus;
pub use config::{BusConfig, DatabaseConfig, EmbeddedConfig, QueueConfig};
pub use database::WriteCounts;
pub use error::EmbeddedError;
pub use folder::has_database;
pub use queue::SqliteQueue;
pub use store::SqliteStore;

use database::Database;
use folder::DataFolder;

/// The four backends of one data folder. The folder stays locked until all of them are dropped.
#[derive(Clone)]
pub struct Embedded {
    /// Documents.
    pub store: Arc<SqliteStore>,
    /// Payloads and results.
    pub blobs: Arc<FolderBlobs>,
    /// Tasks. Nothing is delivered before [`SqliteQueue::start`].
    pub queue: Arc<SqliteQueue>,
    /// Events.
    pub bus: Arc<LocalBus>,
}

impl Embedded {
    /// Drains as [`Self::drain`] does, then closes the files and gives the folder's lock back; `false`
    /// when `limit` passed before that, because deliveries or other holders of a backend remained.
    pub async fn close(self, limit: Duration) -> bool {
        let until = tokio::time::Instant::now() + limit;
        let mut closed = self.store.closed();
        let drained = self.drain(limit).await;
        drop(self);
        // An error means that the writer is gone, and the lock with it.
        let closed = tokio::time::timeout_at(until, closed.wait_for(|closed| *closed)).await;
        drained && closed.is_ok()
    }

    /// Starts no further deliveries and waits for those under way, up to `limit`; `false` when some
    /// were still running then. What was not delivered is delivered after the next start.
    pub async fn drain(&self, limit: Duration) -> bool {
        let (tasks, events) = tokio::join!(self.queue.drain(limit), self.bus.drain(limit));
        tasks && events
    }
}

/// Opens a data folder for serving: makes it if need be, takes its lock, recovers what an earlier
/// process left.
///
/// # Errors
/// Another process serves the folder; the folder or the database cannot be made, read or trusted.
pub fn open(config: &EmbeddedConfig, clock: Arc<dyn Clock>) -> Result<Embedded, EmbeddedError> {
    let folder = DataFolder::create(&config.data_dir)?;
    let lock = folder.lock()?;
    let database = Database::open(&folder.database(), &config.database, Some(lock))?;
    Ok(Embedded {
        store: Arc::new(SqliteStore::new(Arc::clone(&database))),
        blobs: Arc::new(FolderBlobs::open(&folder.blobs())?),
        queue: Arc::new(SqliteQueue::open(
            Arc::clone(&database),
            &config.queue,
            Arc::clone(&clock),
        )?),
        bus: Arc::new(LocalBus::open(database, config.bus, clock)?),
    })
}

/// Opens documents and blobs of a data folder, without its lock: for a command beside a server.
///
/// # Errors
/// The folder or the database cannot be made, read or trusted.
pub fn open_without_lock(
    config: &EmbeddedConfig,
) -> Result<(SqliteStore, FolderBlobs), EmbeddedError> {
    let store = open_store_only(config)?;
    let folder = DataFolder::create(&config.data_dir)?;
    Ok((store, FolderBlobs::open(&folder.blobs())?))
}

/// Opens only the documents of a data folder, without its lock: for a command beside a server.
///
/// # Errors
/// The folder or the database cannot be made, read or trusted.
pub fn open_store_only(config: &EmbeddedConfig) -> Result<SqliteStore, EmbeddedError> {
    let folder = DataFolder::create(&config.data_dir)?;
    let database = Database::open(&folder.database(), &config.database, None)?;
    Ok(SqliteStore::new(database))
}
