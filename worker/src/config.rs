//! The worker's settings.

use std::time::Duration;

use oscillink_domain::QueueName;
use secrecy::SecretString;

/// The worker's settings.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Name of this worker in job records.
    pub name: String,
    /// Queues that it serves.
    pub queues: Vec<QueueName>,
    /// Threads of the compute pool.
    pub threads: usize,
    /// Memory that jobs may take together, bytes.
    pub memory_bytes: u64,
    /// Jobs computed at once.
    pub max_concurrent: usize,
    /// How long a delivery waits for memory before the queue must try again.
    pub admission_wait: Duration,
    /// Pause between heartbeats; several fit into a lease.
    pub heartbeat_every: Duration,
    /// Signs receipts.
    pub receipt_secret: Option<SecretString>,
    /// Most null points in a receipt.
    pub null_cap: Option<usize>,
}

impl WorkerConfig {
    /// Settings for a machine with `threads` cores and `memory_bytes` for jobs.
    #[must_use]
    pub fn new(name: &str, threads: usize, memory_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            queues: vec![QueueName::Settle, QueueName::Diffusion, QueueName::Priority],
            threads: threads.max(1),
            memory_bytes,
            max_concurrent: threads.max(1) * 2,
            admission_wait: Duration::from_secs(20),
            heartbeat_every: Duration::from_secs(5),
            receipt_secret: None,
            null_cap: None,
        }
    }
}
