//! The engine's settings.

use std::time::Duration;

use oscillink_domain::Units;
use oscillink_domain::job::RetryPolicy;
use oscillink_domain::settings::{ConfigError, Lookup, Variables};
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
    /// Memory for contents kept in documents that this process wrote lately, bytes: for one that
    /// also works on them.
    pub recent_content_bytes: usize,
    /// Attempts and backoff.
    pub retry: RetryPolicy,
    /// Tasks of one queue under way at once; the rest wait in the outbox in fair order.
    pub dispatch_window: usize,
    /// Ids of jobs, tasks and ledger rows begin with the time they were made at, which keeps what a
    /// database on one machine writes together in place. A distributed one wants them scattered.
    pub time_ordered_ids: bool,
    /// Signs ledger rows for tiers with signed usage.
    pub ledger_secret: Option<SecretString>,
    /// What keys' callback secrets are derived from; without it there are no callbacks.
    pub callback_secret: Option<SecretString>,
    /// The one before it, which signs beside it during a rotation.
    pub callback_secret_old: Option<SecretString>,
    /// Failed attempts of a callback before it is a dead letter.
    pub callback_attempts: u32,
    /// Name of this service in events.
    pub source: String,
}

/// Shorter ones could be guessed.
const MIN_CALLBACK_SECRET_BYTES: usize = 32;

impl EngineConfig {
    /// From variables.
    ///
    /// # Errors
    /// Names every variable that cannot be used.
    pub fn from_lookup(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let mut read = Lookup::new(variables);
        let defaults = Self::default();
        let base = defaults.baseline;
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let time = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let mut units = |name| {
            read.optional::<u64>(name)
                .filter(|units| *units > 0)
                .map(Units::new)
        };
        let baseline = Baseline {
            window_units: units("OSCILLINK_KEY_NODE_UNITS_LIMIT"),
            monthly_units: units("OSCILLINK_MONTHLY_CAP"),
            max_nodes: read.count("OSCILLINK_MAX_NODES", base.max_nodes),
            max_dim: read.count("OSCILLINK_MAX_DIM", base.max_dim),
            max_job_nodes: read.count("OSCILLINK_MAX_JOB_NODES", base.max_job_nodes),
            max_job_dim: read.count("OSCILLINK_MAX_JOB_DIM", base.max_job_dim),
            result_ttl_ms: ms(read.seconds("OSCILLINK_RESULT_TTL", time(base.result_ttl_ms))),
        };
        let config = Self {
            baseline,
            window_ms: ms(read.seconds("OSCILLINK_KEY_NODE_UNITS_WINDOW", time(defaults.window_ms))),
            quota_shards: read.parsed("OSCILLINK_QUOTA_SHARDS", defaults.quota_shards),
            lease_ms: ms(read.seconds("OSCILLINK_JOB_LEASE", time(defaults.lease_ms))),
            redispatch_ms: ms(
                read.seconds("OSCILLINK_JOB_REDISPATCH", time(defaults.redispatch_ms))
            ),
            job_max_age_ms: ms(read.seconds("OSCILLINK_JOB_MAX_AGE", time(defaults.job_max_age_ms))),
            dispatch_window: read.count("OSCILLINK_DISPATCH_WINDOW", defaults.dispatch_window),
            retry: RetryPolicy {
                max_attempts: read
                    .parsed("OSCILLINK_JOB_MAX_ATTEMPTS", defaults.retry.max_attempts),
                ..defaults.retry
            },
            ledger_secret: read.secret("RECEIPT_HMAC_SECRET", 1),
            callback_secret: read.secret("OSCILLINK_CALLBACK_SECRET", MIN_CALLBACK_SECRET_BYTES),
            callback_secret_old: read
                .secret("OSCILLINK_CALLBACK_SECRET_OLD", MIN_CALLBACK_SECRET_BYTES),
            callback_attempts: read.parsed(
                "OSCILLINK_CALLBACK_MAX_ATTEMPTS",
                defaults.callback_attempts,
            ),
            ..defaults
        };
        if !(1..=64).contains(&config.quota_shards) {
            read.refuse("OSCILLINK_QUOTA_SHARDS", "must be 1 to 64");
        }
        if config.callback_attempts == 0 {
            read.refuse("OSCILLINK_CALLBACK_MAX_ATTEMPTS", "must be at least 1");
        }
        if config.retry.max_attempts == 0 {
            read.refuse("OSCILLINK_JOB_MAX_ATTEMPTS", "must be at least 1");
        }
        read.finish(config)
    }
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
            recent_content_bytes: 0,
            retry: RetryPolicy::default(),
            dispatch_window: 64,
            time_ordered_ids: false,
            ledger_secret: None,
            callback_secret: None,
            callback_secret_old: None,
            callback_attempts: 12,
            source: "oscillink".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_and_named_when_wrong() {
        let config = EngineConfig::from_lookup(&|name| match name {
            "OSCILLINK_MAX_NODES" => Some("70".into()),
            "OSCILLINK_MAX_JOB_DIM" => Some("9000".into()),
            "OSCILLINK_KEY_NODE_UNITS_LIMIT" => Some("1000".into()),
            "OSCILLINK_KEY_NODE_UNITS_WINDOW" => Some("60".into()),
            "OSCILLINK_MONTHLY_CAP" => Some("0".into()),
            _ => None,
        })
        .unwrap();
        assert_eq!(config.baseline.max_nodes, 70);
        assert_eq!(config.baseline.max_job_dim, 9_000);
        assert_eq!(config.baseline.window_units, Some(Units::new(1_000)));
        assert_eq!(
            (config.window_ms, config.baseline.monthly_units),
            (60_000, None)
        );
        for (name, value) in [
            ("OSCILLINK_MAX_DIM", "0"),
            ("OSCILLINK_QUOTA_SHARDS", "65"),
            ("OSCILLINK_MONTHLY_CAP", "-1"),
        ] {
            let wrong =
                EngineConfig::from_lookup(&|asked| (asked == name).then(|| value.to_owned()));
            assert!(wrong.unwrap_err().to_string().contains(name));
        }
    }
}
