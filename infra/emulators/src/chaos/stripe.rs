//! Stripe's side: events sent until each is acknowledged, some of them twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::books::REQUEST_TIMEOUT;
use crate::rehearsal::{ADMIN_SECRET, WEBHOOK_SECRET};

/// Pause between two events, and after a refusal.
const PAUSE: Duration = Duration::from_millis(50);
/// Time for every event to be handled once the failures are over.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// Events under way.
pub struct Events {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<Vec<String>>>,
}

impl Events {
    /// Starts sending to the webhook at `url`.
    pub fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = tokio::spawn(send(url.to_owned(), Arc::clone(&stop)));
        Self { stop, sender }
    }

    /// Stops; the ids of all events, every one of them acknowledged.
    pub async fn stop(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.await?
    }
}

async fn send(url: String, stop: Arc<AtomicBool>) -> Result<Vec<String>> {
    let http = Client::builder().timeout(REQUEST_TIMEOUT).build()?;
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let id = format!("evt_{}", acknowledged.len());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let seconds = now.as_secs();
        let body = json!({
            "id": id, "object": "event", "type": "product.created", "created": seconds,
            "livemode": false, "data": {"object": {"id": "prod_1", "object": "product"}},
        })
        .to_string();
        let times = if acknowledged.len() % 3 == 0 { 2 } else { 1 };
        for _ in 0..times {
            let again = Instant::now();
            while !delivered(&http, &url, &body, seconds).await {
                ensure!(again.elapsed() < END_TIMEOUT, "{id} is not acknowledged");
                sleep(PAUSE).await;
            }
        }
        acknowledged.push(id);
        sleep(PAUSE).await;
    }
    Ok(acknowledged)
}

/// Whether it was acknowledged: anything else has Stripe send it again.
async fn delivered(http: &Client, url: &str, body: &str, seconds: u64) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).expect("any length");
    mac.update(format!("{seconds}.{body}").as_bytes());
    let digest: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sent = http
        .post(format!("{url}/stripe/webhook"))
        .header("stripe-signature", format!("t={seconds},v1={digest}"))
        .body(body.to_owned())
        .send();
    sent.await.is_ok_and(|answer| answer.status().is_success())
}

/// Waits until every event has been handled; each is there once, and no other.
pub async fn all_handled(gateway: &str, sent: &[String]) -> Result<()> {
    let http = Client::builder().timeout(REQUEST_TIMEOUT).build()?;
    let began = Instant::now();
    loop {
        let events = stored(&http, gateway).await?;
        ensure!(
            events.len() == sent.len(),
            "{} events acknowledged, {} stored",
            sent.len(),
            events.len()
        );
        for id in sent {
            ensure!(events.contains_key(id), "{id} was acknowledged and is lost");
        }
        let open = events.values().filter(|status| *status != "ignored");
        let open = open.count();
        if open == 0 {
            return Ok(());
        }
        ensure!(began.elapsed() < END_TIMEOUT, "{open} events stay open");
        sleep(Duration::from_millis(200)).await;
    }
}

/// The status of every event by its id.
async fn stored(http: &Client, gateway: &str) -> Result<BTreeMap<String, String>> {
    let (mut events, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = http
            .get(format!(
                "{gateway}/v1/admin/webhook-events?limit=100{cursor}"
            ))
            .header("x-admin-secret", ADMIN_SECRET)
            .send()
            .await?;
        let page: Value = page.error_for_status()?.json().await?;
        for event in page["items"].as_array().context("a page without items")? {
            let text = |name: &str| event[name].as_str().map(str::to_owned);
            let id = text("id").context("an event without an id")?;
            let status = text("status").context("an event without a status")?;
            ensure!(events.insert(id, status).is_none(), "listed twice: {event}");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(events),
        }
    }
}
