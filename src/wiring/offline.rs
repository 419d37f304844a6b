//! An engine over the documents of a data folder only, for commands beside a server.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use oscillink_adapters::embedded::{
    EmbeddedConfig, EmbeddedError, has_database, open_store_only, open_without_lock,
};
use oscillink_domain::event::Topic;
use oscillink_domain::{Event, QueueName};
use oscillink_engine::{Engine, EngineConfig, Ports};
use oscillink_ports::{
    BlobStore, Bus, EventHandler, OsClock, PortError, QueueLimits, QueueStats, Store, Task,
    TaskQueue,
};

use super::entropy::OsEntropy;
use crate::exit::{Exit, Failure};

/// An embedded backend that could not be opened, with the exit code: a folder that cannot be used is a
/// setting at fault.
pub fn unopened(error: EmbeddedError) -> anyhow::Error {
    if error.is_unusable_folder() {
        return Failure::usage(format!("OSCILLINK_DATA_DIR cannot be used: {error}")).into();
    }
    error.into()
}

/// Makes sure that there is a database in a folder, for commands that have nothing to do with a new
/// one: a name that was mistyped must not look like a server without keys.
pub fn expect_database(data_dir: &Path) -> Result<()> {
    if has_database(data_dir).map_err(unopened)? {
        return Ok(());
    }
    let folder = data_dir.display();
    let text = format!("no database in {folder}: give --data-dir or set OSCILLINK_DATA_DIR");
    Err(Failure::new(Exit::NotFound, text).into())
}

/// The engine of a data folder whose server may be running: it reads and writes documents; what
/// must happen beyond them stays in the outbox for the server. The folder is made if need be.
pub fn open_offline(data_dir: &Path) -> Result<Engine> {
    let store = open_store_only(&EmbeddedConfig::new(data_dir)).map_err(unopened)?;
    let config = EngineConfig::default();
    Ok(beside(Arc::new(store), Arc::new(Absent), config))
}

/// The same with the folder's blobs, and with the settings of its server; only where there is one.
pub fn open_folder(data_dir: &Path, config: EngineConfig) -> Result<Engine> {
    expect_database(data_dir)?;
    let opened = open_without_lock(&EmbeddedConfig::new(data_dir));
    let (store, blobs) = opened.map_err(unopened)?;
    Ok(beside(Arc::new(store), Arc::new(blobs), config))
}

fn beside(store: Arc<dyn Store>, blobs: Arc<dyn BlobStore>, config: EngineConfig) -> Engine {
    let ports = Ports {
        store,
        blobs,
        queue: Arc::new(Absent),
        bus: Arc::new(Absent),
        clock: Arc::new(OsClock),
        entropy: Arc::new(OsEntropy),
    };
    Engine::new(ports, config)
}

/// Stands where this command has nothing: every use is refused.
struct Absent;

impl Absent {
    fn refuse<T>(&self) -> Result<T, PortError> {
        Err(PortError::Refused {
            detail: "this command works on documents only".to_owned(),
        })
    }
}

#[async_trait::async_trait]
impl BlobStore for Absent {
    async fn create(&self, _: &str, _: Bytes) -> Result<(), PortError> {
        self.refuse()
    }

    async fn get(&self, _: &str) -> Result<Bytes, PortError> {
        self.refuse()
    }

    async fn get_range(&self, _: &str, _: Range<u64>) -> Result<Bytes, PortError> {
        self.refuse()
    }

    async fn delete(&self, _: &str) -> Result<(), PortError> {
        self.refuse()
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, PortError> {
        self.refuse()
    }

    async fn check(&self) -> Result<(), PortError> {
        self.refuse()
    }
}

#[async_trait::async_trait]
impl TaskQueue for Absent {
    async fn create(&self, tasks: Vec<Task>) -> Vec<Result<(), PortError>> {
        tasks.iter().map(|_| self.refuse()).collect()
    }

    async fn delete(&self, _: QueueName, _: &str) -> Result<(), PortError> {
        self.refuse()
    }

    async fn pause(&self, _: QueueName) -> Result<(), PortError> {
        self.refuse()
    }

    async fn resume(&self, _: QueueName) -> Result<(), PortError> {
        self.refuse()
    }

    async fn limits(&self, _: QueueName) -> Result<QueueLimits, PortError> {
        self.refuse()
    }

    async fn set_limits(&self, _: QueueName, _: QueueLimits) -> Result<(), PortError> {
        self.refuse()
    }

    async fn stats(&self, _: QueueName) -> Result<QueueStats, PortError> {
        self.refuse()
    }
}

#[async_trait::async_trait]
impl Bus for Absent {
    async fn publish(&self, _: Topic, _: &str, _: &Event) -> Result<(), PortError> {
        self.refuse()
    }

    async fn subscribe(
        &self,
        _: Topic,
        _: &str,
        _: bool,
        _: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        self.refuse()
    }

    async fn subscribe_dead_letters(
        &self,
        _: Topic,
        _: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        self.refuse()
    }
}
