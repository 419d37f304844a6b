//! Settings of the embedded backends, with defaults fit for one machine.

use std::path::PathBuf;

use oscillink_domain::QueueName;
use oscillink_ports::QueueLimits;

/// Everything that [`open`](super::open) needs to know.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The folder; it is made with mode 0700 if it does not exist.
    pub data_dir: PathBuf,
    /// The database.
    pub database: DatabaseConfig,
    /// The task queues.
    pub queue: QueueConfig,
    /// The bus.
    pub bus: BusConfig,
}

impl EmbeddedConfig {
    /// The defaults, in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            database: DatabaseConfig::default(),
            queue: QueueConfig::default(),
            bus: BusConfig::default(),
        }
    }
}

/// How the database is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// Whether transactions that wait together are committed together, with one sync of the disk.
    pub group_commit: bool,
    /// Most transactions of one commit.
    pub max_batch: usize,
    /// Most transactions waiting; callers beyond that wait to be let in.
    pub max_waiting: usize,
    /// Connections and threads for reading.
    pub reader_threads: usize,
    /// How long to wait for another process's transaction, ms.
    pub busy_timeout_ms: u64,
    /// Write-ahead log size at which it is copied into the database in the background, bytes.
    pub checkpoint_bytes: u64,
    /// Write-ahead log size at which writing waits until it is copied, bytes.
    pub max_wal_bytes: u64,
    /// Memory for parsed documents that the writer used lately, bytes.
    pub document_cache_bytes: usize,
    /// Size at which the database is full, bytes; `None` leaves it to the disk.
    pub max_database_bytes: Option<u64>,
    /// Memory for database pages that the writer may keep, bytes.
    pub cache_bytes: u64,
    /// The same for each reader.
    pub reader_cache_bytes: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            group_commit: true,
            max_batch: 256,
            max_waiting: 1024,
            reader_threads: 2,
            busy_timeout_ms: 10_000,
            checkpoint_bytes: 64 << 20,
            max_wal_bytes: 256 << 20,
            document_cache_bytes: 16 << 20,
            max_database_bytes: None,
            // Ids are ordered by time, so what is written lies together; and after each commit SQLite
            // looks through all slots of a cache this large once pages were split.
            cache_bytes: 16 << 20,
            reader_cache_bytes: 16 << 20,
        }
    }
}

/// The task queues.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueConfig {
    /// Limits by queue; a queue not named here has [`QueueLimits::default`].
    pub limits: Vec<(QueueName, QueueLimits)>,
    /// Most unfinished tasks of one queue; creating more fails with `Exhausted`.
    pub max_depth: usize,
    /// How long the name of a finished task stays taken, ms.
    pub name_retention_ms: i64,
    /// Memory for bodies of waiting tasks, bytes a queue; others are read when their time comes.
    pub body_cache_bytes: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            limits: vec![(QueueName::Callback, QueueLimits::CALLBACKS)],
            max_depth: 1_000_000,
            name_retention_ms: 3_600_000,
            body_cache_bytes: 16 << 20,
        }
    }
}

impl QueueConfig {
    /// The limits of `queue`.
    #[must_use]
    pub fn limits_of(&self, queue: QueueName) -> QueueLimits {
        self.limits
            .iter()
            .rev()
            .find(|(name, _)| *name == queue)
            .map(|(_, limits)| *limits)
            .unwrap_or_default()
    }
}

/// The bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusConfig {
    /// Deliveries of an event to one subscription before it becomes a dead letter.
    pub max_deliveries: u32,
    /// Most events waiting for one subscription; publishing more fails with `Exhausted`.
    pub max_backlog: usize,
    /// Events that one subscription handles at once, each of another ordering key.
    pub max_concurrent: usize,
    /// Pause after the first refusal, ms; it doubles with each.
    pub min_backoff_ms: i64,
    /// Longest pause, ms.
    pub max_backoff_ms: i64,
    /// A handler that takes longer has refused, ms.
    pub handle_deadline_ms: i64,
    /// Events that no one took for this long are dropped, ms.
    pub retention_ms: i64,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            max_deliveries: 10,
            max_backlog: 100_000,
            max_concurrent: 16,
            min_backoff_ms: 100,
            max_backoff_ms: 60_000,
            handle_deadline_ms: 60_000,
            retention_ms: 7 * 24 * 3_600_000,
        }
    }
}
