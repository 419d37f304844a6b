//! What the tests stand on: a data folder that can be opened again, a clock that can be set.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use oscillink_adapters::embedded::{self, Embedded, EmbeddedConfig};
use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::{
    Clock, Collection, DocKey, OsClock, PortError, Store, Task, TaskTarget, Write,
};
use serde_json::Value;
use tempfile::TempDir;

/// A data folder of a test.
pub(crate) struct Folder {
    pub(crate) root: TempDir,
    pub(crate) config: EmbeddedConfig,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig::new(root.path().join("data"));
        Self { root, config }
    }

    pub(crate) fn open(&self) -> Embedded {
        self.open_at(Arc::new(OsClock))
    }

    pub(crate) fn open_at(&self, clock: Arc<dyn Clock>) -> Embedded {
        embedded::open(&self.config, clock).unwrap()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.config.data_dir.join("oscillink.db")
    }
}

/// A clock that stands still until it is set.
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn at(ms: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(ms)))
    }

    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// An address in a collection without indexes.
pub(crate) fn key(id: &str) -> DocKey {
    DocKey::new(Collection::Customers, id)
}

/// Writes documents that depend on nothing.
pub(crate) async fn put(store: &dyn Store, writes: Vec<(DocKey, Value)>) -> Result<(), PortError> {
    let writes: Vec<Write> = writes
        .into_iter()
        .map(|(k, v)| Write::Put(k, v.into()))
        .collect();
    store
        .transact(Vec::new(), Arc::new(move |_| writes.clone()))
        .await
}

/// A task for one queue.
pub(crate) fn task(name: &str) -> Task {
    Task {
        queue: QueueName::Settle,
        name: name.to_owned(),
        body: Bytes::from(format!("body of {name}")),
        not_before: None,
        traceparent: None,
    }
}

/// Begins deliveries of every queue to one target.
pub(crate) fn start(opened: &Embedded, target: &Arc<impl TaskTarget>) {
    let target: Arc<dyn TaskTarget> = target.clone();
    opened.queue.start(|_| Some(Arc::clone(&target)));
}
