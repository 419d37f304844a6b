//! A billing service over adapters in memory, with a Stripe in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use oscillink_domain::billing::{BillingId, MeterBatch, Subscription};
use oscillink_domain::{KeyId, Timestamp, Units};
use oscillink_engine::{Engine, EngineConfig, Ports};
use oscillink_ports::Clock as _;
use oscillink_telemetry::Metrics;
use oscillink_testkit::{
    Faults, ManualClock, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore, SeededEntropy, give_way,
    stripe,
};
use oscillink_webhook::{
    ApiError, Billing, CancelWhen, Checkout, Config, NewCheckout, StripeApi, SubscriptionPage,
    router, subscription,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub const SECRET: &str = "whsec_current";
pub const OLD_SECRET: &str = "whsec_previous";
pub const START: i64 = 1_790_000_000_000;

/// Stripe's side, in memory.
#[derive(Default)]
pub struct Remote {
    pub subscriptions: BTreeMap<String, Subscription>,
    pub sessions: BTreeMap<String, Option<BillingId>>,
    pub checkouts: Vec<NewCheckout>,
    pub metered: BTreeMap<String, (BillingId, Units)>,
    pub identifiers: BTreeSet<String>,
    pub sends: u64,
    /// Does not answer.
    pub down: bool,
    /// Refuses usage with this status.
    pub refuses: Option<u16>,
    /// Takes usage, but the answer is lost.
    pub forgets_to_answer: bool,
}

/// Clones share their state.
#[derive(Clone, Default)]
pub struct FakeStripe(Arc<Mutex<Remote>>);

impl FakeStripe {
    pub fn remote(&self) -> MutexGuard<'_, Remote> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, state: &Value) {
        let state = subscription(state).unwrap();
        let id = state.id.as_str().to_owned();
        self.remote().subscriptions.insert(id, state);
    }

    async fn answer<T>(&self, with: impl FnOnce(&mut Remote) -> T) -> Result<T, ApiError> {
        give_way().await;
        if self.remote().down {
            return Err(ApiError::Unreachable("down".into()));
        }
        let answer = with(&mut self.remote());
        give_way().await;
        Ok(answer)
    }
}

#[async_trait]
impl StripeApi for FakeStripe {
    async fn subscription(&self, id: &BillingId) -> Result<Option<Subscription>, ApiError> {
        self.answer(|remote| remote.subscriptions.get(id.as_str()).cloned())
            .await
    }

    async fn subscriptions(&self, _: Option<&BillingId>) -> Result<SubscriptionPage, ApiError> {
        let items = self
            .answer(|remote| remote.subscriptions.values().cloned().collect())
            .await?;
        Ok(SubscriptionPage { items, more: false })
    }

    async fn subscription_of_session(
        &self,
        session: &BillingId,
    ) -> Result<Option<BillingId>, ApiError> {
        self.answer(|remote| remote.sessions.get(session.as_str()).cloned().flatten())
            .await
    }

    async fn create_checkout(&self, new: &NewCheckout) -> Result<Checkout, ApiError> {
        self.answer(|remote| {
            remote.checkouts.push(new.clone());
            let session = format!("cs_test_{}", remote.checkouts.len());
            remote.sessions.insert(session.clone(), None);
            Checkout {
                url: format!("https://checkout.example/{session}"),
                session: session.parse().unwrap(),
            }
        })
        .await
    }

    async fn create_portal(&self, customer: &BillingId, back: &str) -> Result<String, ApiError> {
        self.answer(|_| format!("https://portal.example/{customer}?back={back}"))
            .await
    }

    async fn cancel(
        &self,
        id: &BillingId,
        when: CancelWhen,
        _: &str,
    ) -> Result<Subscription, ApiError> {
        self.answer(|remote| {
            let Some(state) = remote.subscriptions.get_mut(id.as_str()) else {
                let detail = format!("No such subscription: '{id}'");
                return Err(ApiError::Refused {
                    status: 404,
                    detail,
                });
            };
            match when {
                CancelWhen::PeriodEnd => state.cancel_at_period_end = true,
                CancelWhen::Now => {
                    state.status = oscillink_domain::billing::SubscriptionStatus::Canceled;
                }
            }
            Ok(state.clone())
        })
        .await?
    }

    async fn report_usage(&self, _: &str, batch: &MeterBatch) -> Result<(), ApiError> {
        let refused = self.remote().refuses;
        if let Some(status) = refused {
            let detail = "Invalid API Key".to_owned();
            return Err(ApiError::Refused { status, detail });
        }
        let lost = self
            .answer(|remote| {
                remote.sends += 1;
                if remote.identifiers.insert(batch.identifier.clone()) {
                    let entry = (batch.customer.clone(), batch.units);
                    remote.metered.insert(batch.identifier.clone(), entry);
                }
                remote.forgets_to_answer
            })
            .await?;
        if lost {
            return Err(ApiError::Unreachable("the answer was lost".into()));
        }
        Ok(())
    }

    async fn metered(
        &self,
        _: &BillingId,
        customer: &BillingId,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Units, ApiError> {
        self.answer(|remote| {
            let own = remote.metered.values().filter(|(who, _)| who == customer);
            own.map(|(_, units)| *units).sum()
        })
        .await
    }
}

/// A service and everything behind it.
pub struct House {
    pub billing: Billing,
    pub router: Router,
    pub engine: Engine,
    pub stripe: FakeStripe,
    pub store: MemoryStore,
    pub bus: MemoryBus,
    pub blobs: MemoryBlobs,
    pub clock: ManualClock,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

pub fn config(more: &[(&str, &str)]) -> Config {
    let mut variables: BTreeMap<String, String> = [
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("STRIPE_WEBHOOK_SECRET_OLD", OLD_SECRET),
        ("STRIPE_API_KEY", "sk_test_0123456789"),
        (
            "OSCILLINK_STRIPE_PRICE_MAP",
            "price_pro:pro;price_year:pro;price_ent:enterprise",
        ),
        ("OSCILLINK_PUBLIC_URL", "https://billing.example"),
        ("OSCILLINK_STRIPE_METER_EVENT", "units"),
        ("OSCILLINK_STRIPE_METER_ID", "mtr_1"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    for (name, value) in more {
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    Config::from_lookup(&|name| variables.get(name).cloned()).unwrap()
}

impl House {
    pub fn new() -> Self {
        Self::with(config(&[]), Faults::none(), 7, true)
    }

    pub fn with(config: Config, faults: Faults, seed: u64, asks: bool) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(START));
        let store = MemoryStore::new(faults.clone());
        let bus = MemoryBus::new(faults.clone());
        let blobs = MemoryBlobs::new(faults.clone());
        let ports = Ports {
            store: Arc::new(store.clone()),
            blobs: Arc::new(blobs.clone()),
            queue: Arc::new(MemoryQueue::new(faults)),
            bus: Arc::new(bus.clone()),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SeededEntropy::new(seed)),
        };
        let engine_config = EngineConfig {
            ledger_secret: Some("ledger secret".to_owned().into()),
            ..EngineConfig::default()
        };
        let engine = Engine::new(ports, engine_config);
        let stripe = FakeStripe::default();
        let api = asks.then(|| Arc::new(stripe.clone()) as Arc<dyn StripeApi>);
        let billing = Billing::new(engine.clone(), config, api, Metrics::new());
        Self {
            router: router(billing.clone()),
            billing,
            engine,
            stripe,
            store,
            bus,
            blobs,
            clock,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    pub async fn post_json(&self, path: &str, body: &Value, key: Option<&str>) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    pub async fn post_form(&self, path: &str, body: &str) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.send(request).await
    }

    /// Delivers an event as Stripe does.
    pub async fn deliver(&self, raw: &str) -> Answer {
        self.deliver_bytes(raw.as_bytes()).await
    }

    /// The same with any bytes.
    pub async fn deliver_bytes(&self, raw: &[u8]) -> Answer {
        let header = stripe::sign(raw, SECRET, self.clock.now().as_millis() / 1_000);
        let request = Request::post("/stripe/webhook")
            .header("stripe-signature", header)
            .body(Body::from(raw.to_vec()))
            .unwrap();
        self.send(request).await
    }

    pub async fn deliver_signed(&self, raw: &str, header: &str) -> Answer {
        let request = Request::post("/stripe/webhook")
            .header("stripe-signature", header)
            .body(Body::from(raw.to_owned()))
            .unwrap();
        self.send(request).await
    }

    /// Handles everything that is due.
    pub async fn handle_all(&self) {
        while self.billing.handle_due().await.unwrap() > 0 {}
    }
}

pub fn key_id() -> KeyId {
    KeyId::from_random([5; 16])
}

/// A subscription as Stripe writes it.
pub fn sub(status: &str, price: &str, key: Option<&KeyId>) -> Value {
    json!({
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status,
        "metadata": key.map_or(json!({}), |key| json!({"oscillink_key_id": key})),
        "items": {"data": [{"price": {"id": price}, "current_period_end": START / 1_000 + 86_400}]},
        "cancel_at_period_end": false,
    })
}

/// An event as Stripe writes it, so many seconds after the start.
pub fn event(id: &str, kind: &str, seconds: i64, object: &Value) -> String {
    stripe::event(id, kind, START / 1_000 + seconds, object)
}
