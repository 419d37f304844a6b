//! Results computed a moment ago: the same request of the same key is answered without computing it
//! again. Bounded in bytes and time. A hit is metered as any other answer.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use oscillink_domain::{KeyId, Sha256Hex, Tier};
use oscillink_wire::{Operation, RunOutput};

use crate::config::Config;

/// What a result takes besides its numbers, bytes.
const OVERHEAD_BYTES: usize = 4 * 1024;
const NULL_POINT_BYTES: usize = 40;

/// The results at hand.
#[derive(Clone)]
pub struct ResultCache {
    tiers: Vec<Tier>,
    results: Cache<Sha256Hex, Arc<RunOutput>>,
}

impl ResultCache {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let results = Cache::builder()
            .max_capacity(config.result_cache_bytes as u64)
            .weigher(|_, output: &Arc<RunOutput>| {
                u32::try_from(bytes_of(output)).unwrap_or(u32::MAX)
            })
            .time_to_live(config.result_cache_ttl.max(Duration::from_secs(1)))
            .build();
        Self {
            tiers: config.result_cache_tiers.clone(),
            results,
        }
    }

    /// Whether keys of `tier` have it.
    #[must_use]
    pub fn serves(&self, tier: Tier) -> bool {
        self.tiers.contains(&tier)
    }

    /// A result.
    #[must_use]
    pub fn get(&self, name: &Sha256Hex) -> Option<RunOutput> {
        self.results.get(name).map(|output| (*output).clone())
    }

    /// Remembers a result.
    pub fn insert(&self, name: Sha256Hex, output: &RunOutput) {
        self.results.insert(name, Arc::new(output.clone()));
    }
}

/// Names a result by everything that it depends on, and by its key: no one can tell from the time of
/// an answer what others have asked.
#[must_use]
pub fn name(key_id: &KeyId, operation: Operation, signed: bool, request: &Sha256Hex) -> Sha256Hex {
    Sha256Hex::of_parts([
        key_id.as_str().as_bytes(),
        operation.as_str().as_bytes(),
        &[u8::from(signed)],
        request.as_str().as_bytes(),
    ])
}

fn bytes_of(output: &RunOutput) -> usize {
    let arrays: usize = output
        .arrays
        .values()
        .map(|array| 4 * array.iter().count())
        .sum();
    let points = output
        .answer
        .receipt
        .as_ref()
        .map_or(0, |receipt| receipt.null_points.len());
    arrays + points * NULL_POINT_BYTES + OVERHEAD_BYTES
}
