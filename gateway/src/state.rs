//! What every request shares.

use std::sync::Arc;

use axum::http::HeaderMap;
use oscillink_domain::event::Topic;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{ApiKey, Limits, Sha256Hex};
use oscillink_engine::{Engine, derived_key};
use oscillink_ports::{EventHandler, PortError};
use oscillink_telemetry::{Metrics, Shutdown};
use oscillink_wire::{RunContext, SolveRequest};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use crate::budget::Budget;
use crate::cache::ResultCache;
use crate::compute::Inline;
use crate::config::Config;
use crate::error::{Kind, Problem};
use crate::estimate::Estimates;
use crate::extract::Caller;
use crate::keys::Keys;
use crate::rate::RequestLimits;
use crate::routes::events::Streams;

/// The gateway's shared state. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    engine: Engine,
    metrics: Metrics,
    shutdown: Shutdown,
    keys: Keys,
    inline: Inline,
    budget: Budget,
    limits: RequestLimits,
    streams: Streams,
    cache: ResultCache,
    estimates: Estimates,
}

impl Gateway {
    /// A gateway over `engine`. Requests that wait end when `shutdown` begins.
    ///
    /// # Errors
    /// The threads of the compute pool cannot be started.
    pub fn new(
        config: Config,
        engine: Engine,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let inner = Inner {
            keys: Keys::new(engine.clone(), metrics.clone(), &config),
            inline: Inline::new(&config)?,
            budget: Budget::new(config.body_memory_bytes),
            limits: RequestLimits::new(&config, &metrics),
            streams: Streams::default(),
            cache: ResultCache::new(&config),
            estimates: Estimates::new(),
            config,
            engine,
            metrics,
            shutdown,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Has entitlement events drop remembered keys, for as long as the process runs.
    ///
    /// # Errors
    /// The bus failed.
    pub async fn subscribe(&self) -> Result<(), PortError> {
        let handler: Arc<dyn EventHandler> = Arc::new(self.keys().clone());
        let bus = &self.engine().ports().bus;
        bus.subscribe(Topic::EntitlementEvents, "gateway-keys", true, handler)
            .await
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The use cases.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Ends waits.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    /// Remembered keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn inline(&self) -> &Inline {
        &self.inner.inline
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    pub(crate) fn cache(&self) -> &ResultCache {
        &self.inner.cache
    }

    pub(crate) fn estimates(&self) -> &Estimates {
        &self.inner.estimates
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    pub(crate) fn request_limits(&self) -> &RequestLimits {
        &self.inner.limits
    }

    /// Whether the caller may have what the request asks for.
    pub(crate) fn check_features(
        &self,
        caller: &Caller,
        request: &SolveRequest,
    ) -> Result<(), Problem> {
        if !request.wants_diffusion() {
            return Ok(());
        }
        if !self.config().diffusion_enabled {
            let detail = "diffusion gates are switched off; leave the diffusion block out";
            return Err(Problem::new(Kind::FeatureDisabled, detail));
        }
        if !caller.limits.diffusion {
            let baseline = &self.engine().config().baseline;
            let plan = Limits::of(caller.tier, baseline, &Overrides::default());
            let detail = if plan.diffusion {
                String::from(
                    "diffusion gates are switched off for this key; ask the operator to switch them \
                     on, or leave the diffusion block out",
                )
            } else {
                format!(
                    "diffusion gates are part of the pro and enterprise plans and this key is on \
                     {}; upgrade the key, or leave the diffusion block out",
                    caller.tier
                )
            };
            return Err(Problem::new(Kind::TierRequired, detail));
        }
        Ok(())
    }

    /// What runs for the caller are given.
    pub(crate) fn run_context(&self, caller: &Caller) -> RunContext {
        let secret = self.config().receipt_secret.clone();
        RunContext {
            receipt_secret: secret.filter(|_| caller.limits.signed_receipts),
            null_cap: self.config().null_cap,
        }
    }

    /// The key that an operator's request makes, named by its effect's id. Without an admin secret
    /// there are no operators.
    pub(crate) fn admin_key(&self, effect_id: &str) -> ApiKey {
        let secret = self.config().admin_secret.as_ref();
        let secret = secret.map_or("", |secret| secret.expose_secret());
        derived_key(secret.as_bytes(), "oscillink admin ", effect_id)
    }

    /// Whether the headers carry the admin secret. Without one configured, nothing does.
    pub(crate) fn is_admin(&self, headers: &HeaderMap) -> bool {
        let given = headers.get("x-admin-secret").map(|value| value.as_bytes());
        match (&self.config().admin_secret, given) {
            (Some(secret), Some(given)) => {
                // Digests have one length, so that not even the secret's length shows in the time.
                let expected = Sha256Hex::of(secret.expose_secret().as_bytes());
                let given = Sha256Hex::of(given);
                expected
                    .as_str()
                    .as_bytes()
                    .ct_eq(given.as_str().as_bytes())
                    .into()
            }
            _ => false,
        }
    }
}
