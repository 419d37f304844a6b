//! The rules of Oscillink Cloud, written once over the ports.
//!
//! Every use case is one transaction over documents (see [`oscillink_ports::Store`]); what must
//! happen outside the store is written to the outbox in the same transaction and carried out by
//! the [relay](Engine::relay_dispatches). Whatever is repeated, late or out of order finds in the
//! documents that it has already happened.

mod admin;
mod billing;
mod callback;
mod charge;
mod checkpoint;
mod config;
mod content;
mod dead_letters;
mod ended;
mod error;
mod finish;
mod jobs;
mod keys;
mod orphans;
mod recent;
mod relay;
mod replay;
mod rotate;
mod run;
mod submit;
mod sweep;
mod usage;
mod window;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::{BlobStore, Bus, Clock, Entropy, Store, TaskQueue};

pub use admin::{Bulk, JobsMatching};
pub use billing::{
    Announcement, Applied, BillingError, BillingRules, Change, Claimed, EventFilter, ExportError,
    ExportReport, ExportSummary, ProviderView, Recorded, Replayed, verify_export,
};
pub use callback::{
    CallbackSecret, PendingCallback, RecordedCallback, RedeliverError, SecretRotation,
};
pub use charge::SyncWork;
pub use config::EngineConfig;
pub use error::{ChargeError, EngineError, KeyError, QuotaExceeded, SubmitError};
pub use jobs::{CancelOutcome, JobFilter, Page};
pub use keys::{IssuedKey, NewKey};
pub use relay::{CallbackTask, JOB_QUEUES, TaskBody};
pub use replay::{Begun, MAX_STORED_ANSWER_BYTES, ReplayError, Ticket};
pub use rotate::{RotateError, Rotation, derived_key};
pub use run::Backlog;
pub use submit::{Idempotency, Submission, Submitted};
pub use sweep::SweepReport;
pub use usage::{PeriodUsage, UsageView};
pub use work::{Attempt, Claim, Computed, Heartbeat};

/// The adapters that the engine works with.
#[derive(Clone)]
pub struct Ports {
    /// Documents.
    pub store: Arc<dyn Store>,
    /// Large contents.
    pub blobs: Arc<dyn BlobStore>,
    /// Task queues.
    pub queue: Arc<dyn TaskQueue>,
    /// Events.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The use cases. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    ports: Ports,
    config: EngineConfig,
    /// Virtual time of each queue's fair order: the largest start tag dispatched so far.
    virtual_time: Mutex<BTreeMap<QueueName, u64>>,
    /// Something was written to the outbox, or a place in the dispatch window came free.
    outbox_changed: run::OutboxChanged,
    /// Tasks under way.
    windows: window::Windows,
    /// Contents staged by this process.
    recent: recent::RecentContents,
    /// Is told of every job that ends here.
    ended: ended::Ended,
}

/// Target of the spans that a sampled trace has of the engine's work.
const TRACE: &str = "oscillink::trace";

impl Engine {
    /// An engine over `ports`.
    #[must_use]
    pub fn new(ports: Ports, config: EngineConfig) -> Self {
        let inner = Inner {
            recent: recent::RecentContents::new(config.recent_content_bytes),
            ports,
            config,
            virtual_time: Mutex::default(),
            outbox_changed: run::OutboxChanged::default(),
            windows: window::Windows::default(),
            ended: ended::Ended::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// The adapters, for health checks and subscriptions.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.inner.ports
    }

    /// The present, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.ports.clock.now()
    }

    /// The bytes of a new id, made now.
    #[must_use]
    pub fn new_id_bytes(&self) -> [u8; 16] {
        self.id_bytes(self.now())
    }

    /// Random bytes, behind the time in milliseconds if ids are to be ordered; eighty random bits remain.
    fn id_bytes(&self, now: Timestamp) -> [u8; 16] {
        let mut bytes = self.inner.ports.entropy.id_bytes();
        if self.config().time_ordered_ids {
            bytes[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        }
        bytes
    }

    fn store(&self) -> &dyn Store {
        &*self.inner.ports.store
    }

    fn virtual_time(&self, queue: QueueName) -> u64 {
        let times = self
            .inner
            .virtual_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        times.get(&queue).copied().unwrap_or(0)
    }

    fn advance_virtual_time(&self, queue: QueueName, tag: u64) {
        let mut times = self
            .inner
            .virtual_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let time = times.entry(queue).or_default();
        *time = tag.max(*time);
    }
}
