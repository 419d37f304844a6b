//! What the service's parts share.

use std::sync::{Arc, Mutex, PoisonError};

use oscillink_domain::Timestamp;
use oscillink_engine::Engine;
use oscillink_telemetry::Metrics;
use oscillink_telemetry::metrics::ResultLabel;
use tokio::sync::Notify;

use crate::api::StripeApi;
use crate::config::Config;

/// The billing service. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Billing {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    config: Config,
    api: Option<Arc<dyn StripeApi>>,
    metrics: Metrics,
    /// An event was stored.
    arrived: Notify,
    checkouts: Allowance,
    lookups: Allowance,
}

/// So many in a window of time.
#[derive(Default)]
struct Allowance(Mutex<(Timestamp, usize)>);

impl Allowance {
    /// Whether one more is allowed at `now`.
    fn take(&self, now: Timestamp, window_ms: i64, most: usize) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !(0..window_ms).contains(&now.millis_since(window.0)) {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
        window.1 <= most
    }
}

impl Billing {
    /// A service over `engine`. Without `api`, events are taken at their word: nothing can be asked
    /// and no checkout be started.
    #[must_use]
    pub fn new(
        engine: Engine,
        config: Config,
        api: Option<Arc<dyn StripeApi>>,
        metrics: Metrics,
    ) -> Self {
        let inner = Inner {
            engine,
            config,
            api,
            metrics,
            arrived: Notify::new(),
            checkouts: Allowance::default(),
            lookups: Allowance::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The use cases.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Stripe's API, if there is a way to ask it.
    #[must_use]
    pub fn api(&self) -> Option<&dyn StripeApi> {
        self.inner.api.as_deref()
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn arrived(&self) -> &Notify {
        &self.inner.arrived
    }

    pub(crate) fn count(&self, result: &'static str) {
        let events = &self.inner.metrics.stripe_events;
        events.get_or_create(&ResultLabel { result }).inc();
    }

    /// Whether one more checkout may be started in this minute.
    pub(crate) fn may_start_checkout(&self) -> bool {
        let most = self.inner.config.checkouts_per_minute;
        self.inner
            .checkouts
            .take(self.inner.engine.now(), 60_000, most)
    }

    /// Whether Stripe may be asked about one more checkout in this second. Whoever waits for a key
    /// asks often; Stripe is asked no more than this, so that events are not kept waiting.
    pub(crate) fn may_look_up(&self) -> bool {
        const PER_SECOND: usize = 5;
        self.inner
            .lookups
            .take(self.inner.engine.now(), 1_000, PER_SECOND)
    }
}
