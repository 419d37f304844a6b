//! What each key had left a moment ago, as its last charge told. Work is refused before it is computed
//! where the quota has no room; asking the store each time would cost as much as charging does. The
//! charge decides: a wrong estimate wastes computing, nothing else.

use std::time::Duration;

use moka::sync::Cache;
use oscillink_domain::{KeyId, Units};
use oscillink_engine::UsageView;

const TTL: Duration = Duration::from_secs(2);
const MAX_KEYS: u64 = 10_000;

/// What keys had left.
#[derive(Clone)]
pub struct Estimates {
    left: Cache<KeyId, Units>,
}

impl Estimates {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        let left = Cache::builder().max_capacity(MAX_KEYS).time_to_live(TTL);
        Self { left: left.build() }
    }

    /// Whether `units` had room a moment ago.
    #[must_use]
    pub fn has_room(&self, key_id: &KeyId, units: Units) -> bool {
        self.left.get(key_id).is_some_and(|left| units <= left)
    }

    /// Notes what a charge left.
    pub fn note(&self, key_id: &KeyId, usage: &UsageView) {
        let unlimited = Units::new(u64::MAX);
        let window = usage.window.remaining().unwrap_or(unlimited);
        let month = usage.month.remaining().unwrap_or(unlimited);
        self.left.insert(key_id.clone(), window.min(month));
    }
}
