//! The engine's settings.

use oscillink_domain::job::RetryPolicy;
use oscillink_domain::tier::Baseline;
use secrecy::SecretString;

/// The engine's settings. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Limits before tiers scale them.
    pub baseline: Baseline,
    /// Length of the quota window.
    pub window_ms: i64,
    /// Meters per key. More than one where a single document would be written too often.
    pub quota_shards: u32,
    /// Length of a lease; a worker sends heartbeats several times within it.
    pub lease_ms: i64,
    /// How long a queued job waits for its task before it is sent another.
    pub redispatch_ms: i64,
    /// How long a job may wait and run altogether before it expires.
    pub job_max_age_ms: i64,
    /// Contents up to this many bytes are kept in a document beside the job.
    pub inline_content_bytes: usize,
    /// Attempts and backoff.
    pub retry: RetryPolicy,
    /// Tasks of one queue under way at once; the rest wait in the outbox in fair order.
    pub dispatch_window: usize,
    /// Signs ledger rows for tiers with signed usage.
    pub ledger_secret: Option<SecretString>,
    /// Name of this service in events.
    pub source: String,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            baseline: Baseline::default(),
            window_ms: 3_600_000,
            quota_shards: 1,
            lease_ms: 30_000,
            redispatch_ms: 60_000,
            job_max_age_ms: 24 * 3_600_000,
            inline_content_bytes: 96 * 1024,
            retry: RetryPolicy::default(),
            dispatch_window: 32,
            ledger_secret: None,
            source: "oscillink".to_owned(),
        }
    }
}
