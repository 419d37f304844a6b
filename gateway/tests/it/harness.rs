//! A gateway with keys of every tier, and a client for it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use oscillink_domain::tier::{Baseline, Overrides};
use oscillink_domain::{ApiKey, Tier, Timestamp, Units};
use oscillink_engine::{Engine, EngineConfig, NewKey, Ports};
use oscillink_gateway::{Config, Gateway, router};
use oscillink_ports::{Collection, Received};
use oscillink_telemetry::{Metrics, Shutdown, ShutdownHandle};
use oscillink_testkit::{
    FaultRates, Faults, ManualClock, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore,
    SeededEntropy,
};
use serde_json::Value;
use tower::ServiceExt;

/// A gateway and everything behind it.
pub struct House {
    pub gateway: Gateway,
    pub router: Router,
    pub clock: ManualClock,
    pub faults: Faults,
    store: MemoryStore,
    bus: MemoryBus,
    _shutdown: ShutdownHandle,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The problem's detail; checks that the answer is a problem of this status.
    pub fn problem(&self, status: u16) -> String {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{text}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["type"]
                .as_str()
                .unwrap()
                .starts_with("urn:oscillink:problem:")
        );
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        problem["detail"].as_str().unwrap().to_owned()
    }

    /// The fields at fault.
    pub fn fields(&self) -> Vec<String> {
        self.problem(400);
        let errors = self.json()["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        errors
            .iter()
            .map(|e| e["field"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl House {
    pub fn new() -> Self {
        Self::with(Config::default(), EngineConfig::default())
    }

    pub fn with(config: Config, engine: EngineConfig) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
        let faults = Faults::new(1, FaultRates::default());
        let store = MemoryStore::new(faults.clone());
        let bus = MemoryBus::new(Faults::none());
        let ports = Ports {
            store: Arc::new(store.clone()),
            blobs: Arc::new(MemoryBlobs::new(faults.clone())),
            queue: Arc::new(MemoryQueue::new(Faults::none())),
            bus: Arc::new(bus.clone()),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SeededEntropy::new(7)),
        };
        let (handle, shutdown) = Shutdown::new();
        let engine = Engine::new(ports, engine);
        let gateway = Gateway::new(config, engine, Metrics::new(), shutdown).unwrap();
        Self {
            router: router(gateway.clone()),
            gateway,
            clock,
            faults,
            store,
            bus,
            _shutdown: handle,
        }
    }

    /// Small limits: 20 rows at once and 60 as a job, 8 columns and 30, 1,000 units per hour.
    pub fn small() -> Self {
        let baseline = Baseline {
            max_nodes: 20,
            max_dim: 8,
            max_job_nodes: 60,
            max_job_dim: 30,
            window_units: Some(Units::new(1_000)),
            ..Baseline::default()
        };
        let engine = EngineConfig {
            baseline,
            ..EngineConfig::default()
        };
        Self::with(Config::default(), engine)
    }

    /// Another instance over the same adapters; it has heard of nothing yet.
    pub fn second_instance(&self) -> (Gateway, Router) {
        let (handle, shutdown) = Shutdown::new();
        // Its shutdown never begins.
        std::mem::forget(handle);
        let engine = self.gateway.engine().clone();
        let gateway = Gateway::new(Config::default(), engine, Metrics::new(), shutdown).unwrap();
        (gateway.clone(), router(gateway))
    }

    /// The events published so far, as subscribers get them.
    pub fn events(&self) -> Vec<Received> {
        let published = self.bus.published().into_iter();
        published
            .map(|(_, ordering_key, event)| Received {
                event,
                attributes: Default::default(),
                ordering_key,
            })
            .collect()
    }

    /// Every document, as text.
    pub fn stored(&self) -> String {
        let all = Collection::ALL.map(|collection| self.store.all(collection));
        format!("{all:?}")
    }

    /// A new key of a tier.
    pub async fn key(&self, tier: Tier) -> ApiKey {
        self.key_with(tier, Overrides::default()).await
    }

    /// A new key of a tier with limits of its own.
    pub async fn key_with(&self, tier: Tier, overrides: Overrides) -> ApiKey {
        let new = NewKey {
            name: tier.to_string(),
            tier,
            overrides,
        };
        let engine = self.gateway.engine().clone();
        busy(async move { engine.create_key(new).await.unwrap().secret }).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = busy(self.router.clone().oneshot(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: busy(body.collect()).await.unwrap().to_bytes().into(),
        }
    }

    /// As `send`, but lets paused time pass: for requests that do not reach the adapters any more.
    pub async fn send_patiently(&self, request: Request<Body>) -> Answer {
        let warm =
            Request::get("/v1/usage").header("x-api-key", request.headers()["x-api-key"].clone());
        self.send(warm.body(Body::empty()).unwrap()).await;
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().into(),
        }
    }

    pub async fn get(&self, key: &ApiKey, path: &str) -> Answer {
        self.send(request(Method::GET, path, key).body(Body::empty()).unwrap())
            .await
    }

    pub async fn post(&self, key: &ApiKey, path: &str, json: &str) -> Answer {
        let request = request(Method::POST, path, key).header("content-type", "application/json");
        self.send(request.body(Body::from(json.to_owned())).unwrap())
            .await
    }
}

/// A request with a key.
pub fn request(method: Method, path: &str, key: &ApiKey) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("x-api-key", key.reveal())
}

/// A body of `n` different rows.
pub fn rows(n: usize) -> String {
    let rows: Vec<String> = (0..n).map(|i| format!("[{}, 1, 0.5]", i % 7)).collect();
    format!("[{}]", rows.join(","))
}

/// Adapters in memory give way without waking; this polls until the end.
pub async fn busy<F: Future>(future: F) -> F::Output {
    struct Busy<F>(F);
    impl<F: Future + Unpin> Future for Busy<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            let outcome = Pin::new(&mut self.0).poll(context);
            if outcome.is_pending() {
                context.waker().wake_by_ref();
            }
            outcome
        }
    }
    Busy(pin!(future)).await
}
