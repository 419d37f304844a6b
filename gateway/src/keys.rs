//! Which key a secret opens, remembered for a while.
//!
//! Entries live for the configured time and are refreshed in the background from half of it on. An
//! entitlement event drops a key's entries at once; a look-up that was under way then does not put
//! back what it read before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::sync::Cache;
use oscillink_domain::{KeyRecord, Sha256Hex};
use oscillink_engine::Engine;
use oscillink_ports::{EventHandler, PortError, Received};
use oscillink_telemetry::Metrics;

use crate::config::Config;

/// How long a hash is known to open nothing. Short: the key may just be on its way.
const UNKNOWN_TTL: Duration = Duration::from_secs(5);

/// Remembers keys by the hash of their secret.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    metrics: Metrics,
    known: Cache<Sha256Hex, Arc<Entry>>,
    unknown: Cache<Sha256Hex, ()>,
    refresh_after: Duration,
    /// Raised by every invalidation.
    epoch: AtomicU64,
}

struct Entry {
    record: Arc<KeyRecord>,
    loaded_at: Instant,
    refreshing: AtomicBool,
}

impl Keys {
    /// An empty memory.
    #[must_use]
    pub fn new(engine: Engine, metrics: Metrics, config: &Config) -> Self {
        let cache = |ttl| {
            Cache::builder()
                .max_capacity(config.key_cache_entries)
                .time_to_live(ttl)
        };
        let inner = Inner {
            engine,
            metrics,
            known: cache(config.key_cache_ttl).build(),
            unknown: Cache::builder()
                .max_capacity(config.key_cache_entries)
                .time_to_live(UNKNOWN_TTL.min(config.key_cache_ttl))
                .build(),
            refresh_after: config.key_cache_ttl / 2,
            epoch: AtomicU64::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The key that a secret with this hash opens now, whatever the key's status.
    ///
    /// # Errors
    /// The key is not remembered and the store failed.
    pub async fn find(&self, hash: &Sha256Hex) -> Result<Option<Arc<KeyRecord>>, PortError> {
        let inner = &self.inner;
        if let Some(entry) = inner.known.get(hash) {
            inner.metrics.key_cache_hits.inc();
            self.refresh_if_old(hash, &entry);
            let record = Arc::clone(&entry.record);
            // A secret can end while it is remembered.
            return Ok(Some(record).filter(|r| r.accepts(hash, inner.engine.now())));
        }
        if inner.unknown.contains_key(hash) {
            inner.metrics.key_cache_hits.inc();
            return Ok(None);
        }
        inner.metrics.key_cache_misses.inc();
        self.load(hash).await
    }

    /// Forgets what is known of a secret.
    pub fn invalidate(&self, hash: &Sha256Hex) {
        // First the epoch: a look-up that reads the old value after this does not store it.
        self.inner.epoch.fetch_add(1, Ordering::SeqCst);
        self.inner.known.invalidate(hash);
        self.inner.unknown.invalidate(hash);
    }

    async fn load(&self, hash: &Sha256Hex) -> Result<Option<Arc<KeyRecord>>, PortError> {
        let inner = &self.inner;
        let epoch = inner.epoch.load(Ordering::SeqCst);
        let found = inner.engine.find_key(hash).await?.map(Arc::new);
        match &found {
            Some(record) => {
                let entry = Entry {
                    record: Arc::clone(record),
                    loaded_at: Instant::now(),
                    refreshing: AtomicBool::new(false),
                };
                inner.known.insert(hash.clone(), Arc::new(entry));
            }
            None => {
                inner.known.invalidate(hash);
                inner.unknown.insert(hash.clone(), ());
            }
        }
        if inner.epoch.load(Ordering::SeqCst) != epoch {
            // Something changed in between, perhaps this: the next look-up reads it anew.
            inner.known.invalidate(hash);
            inner.unknown.invalidate(hash);
        }
        Ok(found)
    }

    fn refresh_if_old(&self, hash: &Sha256Hex, entry: &Arc<Entry>) {
        let old = entry.loaded_at.elapsed() >= self.inner.refresh_after;
        if !old || entry.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (keys, hash, entry) = (self.clone(), hash.clone(), Arc::clone(entry));
        tokio::spawn(async move {
            if let Err(error) = keys.load(&hash).await {
                tracing::warn!(%error, key = hash.prefix(), "a key could not be refreshed");
                entry.refreshing.store(false, Ordering::Release);
            }
        });
    }
}

/// Entitlement events name the hashes of the key that changed.
#[async_trait]
impl EventHandler for Keys {
    async fn handle(&self, received: Received) -> bool {
        let hashes = received.event.data.get("keyHashes").cloned();
        let hashes: Option<Vec<Sha256Hex>> = hashes.and_then(|h| serde_json::from_value(h).ok());
        for hash in hashes.iter().flatten() {
            self.invalidate(hash);
        }
        if hashes.is_none() {
            let id = received.event.event_id;
            tracing::warn!(event = %id, "an entitlement event without key hashes: all keys forgotten");
            self.inner.epoch.fetch_add(1, Ordering::SeqCst);
            self.inner.known.invalidate_all();
            self.inner.unknown.invalidate_all();
        }
        true
    }
}
