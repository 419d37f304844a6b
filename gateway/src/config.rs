//! The gateway's settings, from the environment. A setting that cannot be used names its variable.

mod endpoints;
mod limit;
mod origins;
mod redis;

use std::time::Duration;

use oscillink_domain::Tier;
use oscillink_domain::billing::PriceMap;
use oscillink_domain::settings::{ConfigError, Lookup, Variables};
use secrecy::SecretString;

pub use endpoints::{Endpoint, EndpointLimits};
pub use limit::RequestLimit;
use limit::{proxies, seconds, tiers};
pub use origins::Origins;
pub use redis::RedisUrl;

const MIB: usize = 1 << 20;

/// The gateway's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Requests of all clients together (`OSCILLINK_RATE_LIMIT` per `OSCILLINK_RATE_WINDOW` seconds).
    pub rate_limit: Option<RequestLimit>,
    /// Requests of one address (`OSCILLINK_IP_RATE_LIMIT` per `OSCILLINK_IP_RATE_WINDOW` seconds).
    pub ip_rate_limit: Option<RequestLimit>,
    /// Requests of groups of routes (`OSCILLINK_ENDPOINT_RATE_LIMITS`).
    pub endpoint_limits: EndpointLimits,
    /// Where instances count them together (`OSCILLINK_REDIS_URL`).
    pub redis: Option<RedisUrl>,
    /// How many proxies in front append to `X-Forwarded-For`; 0 ignores the header (`OSCILLINK_TRUST_XFF`,
    /// where `true` means 1).
    pub trusted_proxies: usize,
    /// Opens operators' routes (`OSCILLINK_ADMIN_SECRET`).
    pub admin_secret: Option<SecretString>,
    /// Whether `/metrics` needs the admin secret (`OSCILLINK_METRICS_PROTECTED`).
    pub metrics_protected: bool,
    /// Origins that browsers may call from (`OSCILLINK_CORS_ALLOW_ORIGINS`).
    pub cors_origins: Origins,
    /// Signs receipts (`RECEIPT_HMAC_SECRET`).
    pub receipt_secret: Option<SecretString>,
    /// Most null points in a receipt, 0 for all (`OSCILLINK_RECEIPT_NULL_CAP`).
    pub null_cap: Option<usize>,
    /// Diffusion gates can be used at all (`ENABLE_DIFFUSION_GATES`).
    pub diffusion_enabled: bool,
    /// Largest body of a job, bytes (`OSCILLINK_MAX_BODY_BYTES`).
    pub max_body_bytes: usize,
    /// Largest body of a synchronous request, bytes (`OSCILLINK_MAX_SYNC_BODY_BYTES`).
    pub max_sync_body_bytes: usize,
    /// Bodies and results held in memory at once, bytes (`OSCILLINK_BODY_MEMORY_BYTES`).
    pub body_memory_bytes: usize,
    /// Lines of a batch (`OSCILLINK_BATCH_MAX_LINES`).
    pub batch_max_lines: usize,
    /// Largest line of a batch, bytes (`OSCILLINK_BATCH_LINE_BYTES`).
    pub batch_line_bytes: usize,
    /// Time for a whole body to arrive (`OSCILLINK_BODY_TIMEOUT` seconds).
    pub body_timeout: Duration,
    /// Threads that compute synchronous requests (`OSCILLINK_INLINE_THREADS`).
    pub inline_threads: usize,
    /// Synchronous requests computed at once (`OSCILLINK_INLINE_CONCURRENCY`).
    pub inline_concurrency: usize,
    /// Memory that they may take together, bytes (`OSCILLINK_INLINE_MEMORY_BYTES`).
    pub inline_memory_bytes: usize,
    /// How long a request waits for its turn (`OSCILLINK_INLINE_WAIT_MS`).
    pub inline_wait: Duration,
    /// How long a synchronous request may compute (`OSCILLINK_SYNC_TIMEOUT` seconds).
    pub sync_timeout: Duration,
    /// How long a key is trusted without asking the store (`OSCILLINK_KEY_CACHE_TTL` seconds).
    pub key_cache_ttl: Duration,
    /// Keys remembered (`OSCILLINK_KEY_CACHE_ENTRIES`).
    pub key_cache_entries: u64,
    /// Tiers whose repeated requests are answered from memory (`OSCILLINK_RESULT_CACHE_TIERS`).
    pub result_cache_tiers: Vec<Tier>,
    /// Memory for their results, bytes (`OSCILLINK_RESULT_CACHE_BYTES`).
    pub result_cache_bytes: usize,
    /// How long they are remembered (`OSCILLINK_RESULT_CACHE_TTL` seconds).
    pub result_cache_ttl: Duration,
    /// Connections at once (`OSCILLINK_MAX_CONNECTIONS`).
    pub max_connections: usize,
    /// Of these, from one address; 0 is no limit (`OSCILLINK_MAX_CONNECTIONS_PER_ADDRESS`).
    pub max_connections_per_address: usize,
    /// Callbacks may go to private addresses (`OSCILLINK_CALLBACK_ALLOW_PRIVATE`).
    pub callback_allow_private: bool,
    /// Which price buys which tier, for operators to look at (`OSCILLINK_STRIPE_PRICE_MAP`).
    pub prices: PriceMap,
}

impl Default for Config {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            rate_limit: None,
            ip_rate_limit: None,
            endpoint_limits: EndpointLimits::default(),
            redis: None,
            trusted_proxies: 0,
            admin_secret: None,
            metrics_protected: false,
            cors_origins: Origins::None,
            receipt_secret: None,
            null_cap: None,
            diffusion_enabled: true,
            max_body_bytes: 256 * MIB,
            max_sync_body_bytes: 64 * MIB,
            body_memory_bytes: 1_024 * MIB,
            batch_max_lines: 10_000,
            batch_line_bytes: 8 * MIB,
            body_timeout: Duration::from_secs(60),
            inline_threads: threads,
            inline_concurrency: threads * 4,
            inline_memory_bytes: 2_048 * MIB,
            inline_wait: Duration::from_secs(2),
            sync_timeout: Duration::from_secs(30),
            key_cache_ttl: Duration::from_secs(60),
            key_cache_entries: 10_000,
            result_cache_tiers: vec![Tier::Enterprise],
            result_cache_bytes: 64 * MIB,
            result_cache_ttl: Duration::from_secs(300),
            max_connections: 16_384,
            max_connections_per_address: 0,
            callback_allow_private: false,
            prices: PriceMap::default(),
        }
    }
}

impl Config {
    /// From any source of variables.
    ///
    /// # Errors
    /// Names every variable that cannot be used.
    pub fn from_lookup(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let mut read = Lookup::new(variables);
        let defaults = Self::default();
        let config = Self {
            rate_limit: RequestLimit::read(
                &mut read,
                "OSCILLINK_RATE_LIMIT",
                "OSCILLINK_RATE_WINDOW",
            ),
            ip_rate_limit: RequestLimit::read(
                &mut read,
                "OSCILLINK_IP_RATE_LIMIT",
                "OSCILLINK_IP_RATE_WINDOW",
            ),
            endpoint_limits: read
                .parsed("OSCILLINK_ENDPOINT_RATE_LIMITS", EndpointLimits::default()),
            redis: read.optional("OSCILLINK_REDIS_URL"),
            trusted_proxies: proxies(&mut read, "OSCILLINK_TRUST_XFF"),
            admin_secret: read.secret("OSCILLINK_ADMIN_SECRET", 16),
            metrics_protected: read.flag("OSCILLINK_METRICS_PROTECTED", false),
            cors_origins: read.parsed("OSCILLINK_CORS_ALLOW_ORIGINS", Origins::None),
            receipt_secret: read.secret("RECEIPT_HMAC_SECRET", 1),
            null_cap: read.optional("OSCILLINK_RECEIPT_NULL_CAP"),
            diffusion_enabled: read.flag("ENABLE_DIFFUSION_GATES", true),
            max_body_bytes: read.bytes("OSCILLINK_MAX_BODY_BYTES", defaults.max_body_bytes),
            max_sync_body_bytes: read.bytes(
                "OSCILLINK_MAX_SYNC_BODY_BYTES",
                defaults.max_sync_body_bytes,
            ),
            body_memory_bytes: read
                .bytes("OSCILLINK_BODY_MEMORY_BYTES", defaults.body_memory_bytes),
            batch_max_lines: read.count("OSCILLINK_BATCH_MAX_LINES", defaults.batch_max_lines),
            batch_line_bytes: read.bytes("OSCILLINK_BATCH_LINE_BYTES", defaults.batch_line_bytes),
            body_timeout: seconds(&mut read, "OSCILLINK_BODY_TIMEOUT", defaults.body_timeout),
            inline_threads: read.parallel("OSCILLINK_INLINE_THREADS", defaults.inline_threads),
            inline_concurrency: read
                .parallel("OSCILLINK_INLINE_CONCURRENCY", defaults.inline_concurrency),
            inline_memory_bytes: read.bytes(
                "OSCILLINK_INLINE_MEMORY_BYTES",
                defaults.inline_memory_bytes,
            ),
            inline_wait: read.millis("OSCILLINK_INLINE_WAIT_MS", defaults.inline_wait),
            sync_timeout: seconds(&mut read, "OSCILLINK_SYNC_TIMEOUT", defaults.sync_timeout),
            key_cache_ttl: seconds(&mut read, "OSCILLINK_KEY_CACHE_TTL", defaults.key_cache_ttl),
            key_cache_entries: read
                .parsed("OSCILLINK_KEY_CACHE_ENTRIES", defaults.key_cache_entries),
            result_cache_tiers: tiers(
                &mut read,
                "OSCILLINK_RESULT_CACHE_TIERS",
                defaults.result_cache_tiers,
            ),
            result_cache_bytes: read
                .bytes("OSCILLINK_RESULT_CACHE_BYTES", defaults.result_cache_bytes),
            result_cache_ttl: seconds(
                &mut read,
                "OSCILLINK_RESULT_CACHE_TTL",
                defaults.result_cache_ttl,
            ),
            max_connections: read.count("OSCILLINK_MAX_CONNECTIONS", defaults.max_connections),
            max_connections_per_address: read.parsed(
                "OSCILLINK_MAX_CONNECTIONS_PER_ADDRESS",
                defaults.max_connections_per_address,
            ),
            callback_allow_private: read.flag("OSCILLINK_CALLBACK_ALLOW_PRIVATE", false),
            prices: read.parsed("OSCILLINK_STRIPE_PRICE_MAP", PriceMap::default()),
        };
        if config.metrics_protected && config.admin_secret.is_none() {
            read.refuse(
                "OSCILLINK_METRICS_PROTECTED",
                "needs OSCILLINK_ADMIN_SECRET",
            );
        }
        if config.body_memory_bytes < config.max_body_bytes.max(config.max_sync_body_bytes) {
            let detail = "must hold at least one body of OSCILLINK_MAX_BODY_BYTES";
            read.refuse("OSCILLINK_BODY_MEMORY_BYTES", detail);
        }
        read.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let map: BTreeMap<_, _> = pairs.iter().copied().collect();
        Config::from_lookup(&|name| map.get(name).map(|v| (*v).to_owned()))
    }

    #[test]
    fn every_variable_is_read() {
        let config = from(&[
            ("OSCILLINK_RATE_LIMIT", "100"),
            ("OSCILLINK_IP_RATE_LIMIT", "5"),
            ("OSCILLINK_IP_RATE_WINDOW", "10"),
            ("OSCILLINK_TRUST_XFF", "true"),
            (
                "OSCILLINK_CORS_ALLOW_ORIGINS",
                "https://a.example, http://localhost:3000",
            ),
            ("ENABLE_DIFFUSION_GATES", "0"),
            ("OSCILLINK_MAX_BODY_BYTES", "1000"),
            ("OSCILLINK_MAX_SYNC_BODY_BYTES", "500"),
            ("OSCILLINK_INLINE_WAIT_MS", "250"),
            ("RECEIPT_HMAC_SECRET", "s"),
            ("OSCILLINK_RECEIPT_NULL_CAP", "3"),
        ])
        .unwrap();
        let ip = config.ip_rate_limit.unwrap();
        assert_eq!((ip.requests.get(), ip.window.as_secs()), (5, 10));
        assert_eq!(config.rate_limit.unwrap().window.as_secs(), 60);
        assert_eq!(config.trusted_proxies, 1);
        assert!(!config.diffusion_enabled);
        assert_eq!(config.max_body_bytes, 1_000);
        assert_eq!(config.inline_wait.as_millis(), 250);
        assert_eq!(config.null_cap, Some(3));
        assert_eq!(
            from(&[("OSCILLINK_TRUST_XFF", "2")])
                .unwrap()
                .trusted_proxies,
            2
        );
        assert!(
            from(&[("OSCILLINK_RATE_LIMIT", "0")])
                .unwrap()
                .rate_limit
                .is_none()
        );
        assert!(
            from(&[("OSCILLINK_RATE_LIMIT", "")])
                .unwrap()
                .rate_limit
                .is_none()
        );
    }

    #[test]
    fn failures_name_the_variable() {
        for (name, value) in [
            ("OSCILLINK_RATE_LIMIT", "many"),
            ("OSCILLINK_RATE_LIMIT", "-1"),
            ("OSCILLINK_IP_RATE_LIMIT", "4294967296"),
            ("OSCILLINK_TRUST_XFF", "maybe"),
            ("OSCILLINK_ADMIN_SECRET", "short"),
            ("OSCILLINK_METRICS_PROTECTED", "true"),
            ("OSCILLINK_METRICS_PROTECTED", "si"),
            ("OSCILLINK_CORS_ALLOW_ORIGINS", "a.example"),
            ("OSCILLINK_CORS_ALLOW_ORIGINS", "https://a.example/path"),
            ("OSCILLINK_MAX_BODY_BYTES", "0"),
            ("OSCILLINK_MAX_BODY_BYTES", "1e9"),
            ("OSCILLINK_BODY_MEMORY_BYTES", "1000"),
            ("OSCILLINK_INLINE_THREADS", "0"),
            ("OSCILLINK_SYNC_TIMEOUT", "0"),
            ("OSCILLINK_KEY_CACHE_TTL", "99999999999"),
        ] {
            let error = from(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
        let both = from(&[
            ("OSCILLINK_RATE_LIMIT", "x"),
            ("OSCILLINK_SYNC_TIMEOUT", "y"),
        ]);
        let text = both.unwrap_err().to_string();
        assert!(text.contains("OSCILLINK_RATE_LIMIT") && text.contains("OSCILLINK_SYNC_TIMEOUT"));
    }

    #[test]
    fn secrets_do_not_reach_debug_output() {
        let config = from(&[("RECEIPT_HMAC_SECRET", "very-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
