//! The worker's settings.

use std::time::Duration;

use oscillink_domain::QueueName;
use oscillink_domain::settings::{ConfigError, Lookup, Variables};
use secrecy::SecretString;

use crate::callback::CallbackConfig;

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
    /// Small jobs held at once: being read, computed or written.
    pub max_held: usize,
    /// Large jobs held at once, and small ones computed at once: fewer than are held, so that
    /// computing does not wait for the store.
    pub max_concurrent: usize,
    /// How long a delivery waits for memory before the queue must try again.
    pub admission_wait: Duration,
    /// Pause between heartbeats; several fit into a lease.
    pub heartbeat_every: Duration,
    /// How long a job computes without leaving a checkpoint.
    pub checkpoint_every: Duration,
    /// Signs receipts.
    pub receipt_secret: Option<SecretString>,
    /// Most null points in a receipt.
    pub null_cap: Option<usize>,
    /// The callback pool.
    pub callback: CallbackConfig,
}

impl WorkerConfig {
    /// Settings for a machine with `threads` cores and `memory_bytes` for jobs.
    #[must_use]
    pub fn new(name: &str, threads: usize, memory_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            queues: QueueName::ALL.to_vec(),
            threads: threads.max(1),
            memory_bytes,
            max_held: (threads.max(1) * 2).max(DEFAULT_HELD),
            max_concurrent: threads.max(1) * 2,
            admission_wait: Duration::from_secs(20),
            heartbeat_every: Duration::from_secs(5),
            checkpoint_every: Duration::from_secs(20),
            receipt_secret: None,
            null_cap: None,
            callback: CallbackConfig::default(),
        }
    }

    /// From variables.
    ///
    /// # Errors
    /// Names every variable that cannot be used.
    pub fn from_lookup(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let mut read = Lookup::new(variables);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = read.parallel("OSCILLINK_WORKER_THREADS", cores);
        let memory = read.bytes("OSCILLINK_WORKER_MEMORY_BYTES", DEFAULT_MEMORY_BYTES);
        let name = read
            .text("OSCILLINK_WORKER_NAME")
            .unwrap_or_else(|| format!("worker-{}", std::process::id()));
        let defaults = Self::new(&name, threads, memory as u64);
        let lease = read.seconds("OSCILLINK_JOB_LEASE", Duration::from_secs(30));
        let max_concurrent = read.parallel("OSCILLINK_WORKER_CONCURRENCY", defaults.max_concurrent);
        let config = Self {
            max_held: defaults.max_held.max(max_concurrent),
            max_concurrent,
            queues: queues(&mut read, "OSCILLINK_WORKER_QUEUES").unwrap_or(defaults.queues.clone()),
            admission_wait: read
                .seconds("OSCILLINK_WORKER_ADMISSION_WAIT", defaults.admission_wait),
            // Several heartbeats fit into a lease, so that one may be lost.
            heartbeat_every: (lease / 6).max(Duration::from_millis(100)),
            checkpoint_every: read.seconds(
                "OSCILLINK_WORKER_CHECKPOINT_EVERY",
                defaults.checkpoint_every,
            ),
            receipt_secret: read.secret("RECEIPT_HMAC_SECRET", 1),
            null_cap: read
                .optional("OSCILLINK_RECEIPT_NULL_CAP")
                .filter(|cap| *cap > 0),
            callback: CallbackConfig::read(&mut read),
            ..defaults
        };
        read.finish(config)
    }
}

/// Jobs held at once, where there are few threads: enough for small jobs to share commits.
const DEFAULT_HELD: usize = 64;
/// Memory for jobs when the variable does not say, bytes.
const DEFAULT_MEMORY_BYTES: usize = 4 << 30;

fn queues(read: &mut Lookup<'_>, name: &str) -> Option<Vec<QueueName>> {
    let text = read.text(name)?;
    let mut queues = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.parse::<QueueName>() {
            Ok(queue) => queues.push(queue),
            Err(error) => read.refuse(name, error),
        }
    }
    Some(queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_named_and_wrong_ones_refused() {
        let with = |value: &'static str| {
            WorkerConfig::from_lookup(&move |name| {
                (name == "OSCILLINK_WORKER_QUEUES").then(|| value.to_owned())
            })
        };
        assert_eq!(
            with("settle, diffusion").unwrap().queues,
            [QueueName::Settle, QueueName::Diffusion]
        );
        assert!(
            with("settle,other")
                .unwrap_err()
                .to_string()
                .contains("OSCILLINK_WORKER_QUEUES")
        );
    }
    #[test]
    fn threads_and_jobs_at_once_have_a_most() {
        for name in [
            "OSCILLINK_WORKER_THREADS",
            "OSCILLINK_WORKER_CONCURRENCY",
            "OSCILLINK_CALLBACK_CONCURRENCY",
            "OSCILLINK_CALLBACK_HOST_CONCURRENCY",
        ] {
            let with = |value: &'static str| {
                WorkerConfig::from_lookup(&move |asked| (asked == name).then(|| value.to_owned()))
            };
            assert!(with("1024").is_ok(), "{name}");
            for wrong in ["0", "1025", "100000000"] {
                let text = with(wrong).unwrap_err().to_string();
                assert!(text.starts_with(name), "{name}={wrong}: {text}");
            }
        }
    }
}
