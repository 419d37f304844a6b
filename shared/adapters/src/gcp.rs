//! Google Cloud: documents in Firestore, blobs in Cloud Storage, tasks in Cloud Tasks, events on
//! Pub/Sub. Each can be an emulator, by configuration and never by itself.

mod blobs;
mod config;
mod error;
mod firestore;
mod gax;
mod grpc;
mod no_tasks;
mod oidc;
mod pubsub;
mod retry;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use oscillink_domain::QueueName;
use oscillink_ports::{BlobStore, TaskQueue};

pub use blobs::ObjectBlobs;
pub use config::{BlobConfig, BlobPlace, FirestoreConfig, GcpConfig, PubSubConfig, TasksConfig};
pub use error::GcpError;
pub use firestore::FirestoreStore;
use no_tasks::NoTasks;
pub use oidc::{OidcConfig, OidcError, OidcVerifier};
pub use pubsub::PubSubBus;
pub use retry::Tries;
pub use tasks::{CloudTasksQueue, queue_limits};

/// Time for checking a token, the fetching of keys included.
const OIDC_TIMEOUT: Duration = Duration::from_secs(5);

/// The four backends of one project.
#[derive(Clone)]
pub struct Gcp {
    /// Documents.
    pub store: Arc<FirestoreStore>,
    /// Payloads and results.
    pub blobs: Arc<dyn BlobStore>,
    /// Tasks.
    pub queue: Arc<dyn TaskQueue>,
    /// Events.
    pub bus: Arc<PubSubBus>,
}

impl Gcp {
    /// Receives no more events, waits for handlers under way and removes what only this process
    /// used; `false` when that was not done within `limit`.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        self.bus.shutdown(limit).await
    }
}

/// Connects to everything that the configuration names. Emulators begin empty: their topics and
/// queues are made here.
///
/// # Errors
/// A service cannot be reached, there are no credentials, or an emulator cannot be set up.
pub async fn connect(config: GcpConfig) -> Result<Gcp, GcpError> {
    let blobs = open_blobs(config.blobs)?;
    let store = FirestoreStore::connect(config.firestore).await?;
    let queue: Arc<dyn TaskQueue> = match config.tasks {
        Some(tasks) => Arc::new(open_queues(tasks).await?),
        None => Arc::new(NoTasks),
    };
    let emulated_bus = config.pubsub.emulator.is_some();
    let bus = PubSubBus::connect(config.pubsub).await?;
    if emulated_bus {
        bus.ensure_topics().await?;
    }
    Ok(Gcp {
        store: Arc::new(store),
        blobs,
        queue,
        bus: Arc::new(bus),
    })
}

async fn open_queues(config: TasksConfig) -> Result<CloudTasksQueue, GcpError> {
    let emulated = config.endpoint.is_some();
    let queue = CloudTasksQueue::connect(config).await?;
    if emulated {
        let all = QueueName::ALL.iter();
        let queues: Vec<_> = all.map(|name| (*name, queue_limits(*name))).collect();
        queue.ensure_queues(&queues).await?;
    }
    Ok(queue)
}

fn open_blobs(config: BlobConfig) -> Result<Arc<dyn BlobStore>, GcpError> {
    match &config.place {
        BlobPlace::Bucket { .. } => Ok(Arc::new(ObjectBlobs::connect(config)?)),
        BlobPlace::Folder(folder) => open_folder(folder),
    }
}

#[cfg(feature = "embedded")]
fn open_folder(folder: &std::path::Path) -> Result<Arc<dyn BlobStore>, GcpError> {
    let blobs = crate::embedded::FolderBlobs::open(folder);
    Ok(Arc::new(
        blobs.map_err(error::connect_error("the blob folder"))?,
    ))
}

#[cfg(not(feature = "embedded"))]
fn open_folder(_: &std::path::Path) -> Result<Arc<dyn BlobStore>, GcpError> {
    Err(GcpError::NotBuilt {
        variable: "OSCILLINK_BLOB_URL",
        detail: "a folder needs a program built with the embedded adapters",
    })
}

impl GcpConfig {
    /// Whose tokens a pool that serves `queues` accepts.
    #[must_use]
    pub fn oidc(&self, queues: &[QueueName]) -> OidcConfig {
        let tasks = self.tasks.as_ref();
        let audience = |queue: &QueueName| tasks?.audience_of(*queue);
        let audiences = queues.iter().filter_map(audience);
        let mut audiences: Vec<String> = audiences.collect();
        audiences.sort_unstable();
        audiences.dedup();
        OidcConfig {
            audiences,
            // No token is for an account without a name.
            service_account: tasks.map_or_else(String::new, |t| t.service_account.clone()),
            jwks_url: self.jwks_url.clone(),
            timeout: OIDC_TIMEOUT,
        }
    }
}
