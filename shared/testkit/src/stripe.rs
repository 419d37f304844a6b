//! A server that answers like Stripe's API, as far as billing uses it: subscriptions, checkout
//! sessions, portal sessions, meter events and their summaries.
//!
//! It holds callers to Stripe's rules about idempotency keys: a call that changes something must bring
//! one (portal sessions excepted), the same key with the same content gets the first answer again,
//! with another content an error.

mod objects;
mod routes;
mod signer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use objects::{event, subscription};
pub use signer::sign;

/// Fields of a form, with Stripe's brackets as they came: `subscription_data[metadata][x]`.
pub type Form = BTreeMap<String, String>;

/// A call that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `POST /v1/checkout/sessions`.
    pub what: String,
    /// The idempotency key.
    pub idempotency_key: Option<String>,
    /// What was sent.
    pub form: Form,
    /// The answer had been given before.
    pub repeated: bool,
}

/// What the server knows.
#[derive(Debug, Default)]
pub struct State {
    /// Subscriptions by id.
    pub subscriptions: BTreeMap<String, Value>,
    /// Checkout sessions by id.
    pub sessions: BTreeMap<String, Value>,
    /// Meter events by identifier: customer, value.
    pub meter_events: BTreeMap<String, (String, u64)>,
    /// Calls in order.
    pub calls: Vec<Call>,
    /// The next so many calls fail with this status.
    pub failing: Option<(u32, u16)>,
    /// The next so many calls take effect, and their answer comes this late.
    pub late: Option<(u32, Duration)>,
    answers: BTreeMap<String, (String, u16, Value)>,
    counter: u64,
}

/// The server. It ends when this is dropped.
pub struct FakeStripe {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl FakeStripe {
    /// Starts on a free port of this machine.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let router = routes::router(Arc::clone(&state));
        let task = tokio::spawn(async move {
            // It ends with the task; a listener on this machine does not fail by itself.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { addr, state, task })
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it knows, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a subscription; see [`subscription`].
    pub fn put_subscription(&self, subscription: Value) {
        let id = subscription["id"].as_str().unwrap_or_default().to_owned();
        self.state().subscriptions.insert(id, subscription);
    }

    /// Pays a checkout: the session is complete and its subscription active. Gives the subscription.
    ///
    /// # Panics
    /// There is no such session.
    pub fn pay(&self, session: &str) -> Value {
        let mut state = self.state();
        state.counter += 1;
        let id = format!("sub_{}", state.counter);
        let known = state.sessions.get_mut(session).expect("a session");
        let price = known["_price"].as_str().unwrap_or_default().to_owned();
        let metadata = known["_subscription_metadata"].clone();
        known["status"] = "complete".into();
        known["payment_status"] = "paid".into();
        known["subscription"] = id.clone().into();
        if known["customer"].is_null() {
            known["customer"] = format!("cus_{id}").into();
        }
        let customer = known["customer"].as_str().unwrap_or_default().to_owned();
        let made = subscription(&id, &customer, "active", &price, &metadata);
        state.subscriptions.insert(id, made.clone());
        made
    }
}

impl Drop for FakeStripe {
    fn drop(&mut self) {
        self.task.abort();
    }
}
