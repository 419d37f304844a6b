//! Crashes in the rehearsed deployment: under load each service in turn is killed and started again,
//! and each emulator fails in its way. Afterwards the books must balance.

mod books;
mod load;
mod stripe;
mod victim;

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Client;
use serde_json::json;
use tokio::time::sleep;

use crate::rehearsal::{ADMIN_SECRET, KEY, Rehearsal};
use books::{Account, Outcome};
use load::Load;
use stripe::Events;
use victim::under_way;

/// Load between two crashes.
const BETWEEN: Duration = Duration::from_millis(1_500);
/// How long the document store answers nobody.
const OUTAGE: Duration = Duration::from_secs(3);

/// Settings of the services that let them recover in seconds rather than minutes.
pub const VARIABLES: [(&str, &str); 2] = [
    ("OSCILLINK_JOB_LEASE", "3"),
    ("OSCILLINK_JOB_REDISPATCH", "4"),
];

/// Storms through `rounds` of failures under load and checks the books: every service is killed, the
/// task queue and the bus lose everything they hold, the document store does not answer for a while.
/// Each of Stripe's events that was acknowledged is handled, once.
///
/// # Errors
/// A service does not come back, or the books do not balance.
pub async fn storm(rehearsal: &mut Rehearsal, rounds: usize) -> Result<Outcome> {
    let account = Account::new(rehearsal.url(), KEY)?;
    let load = Load::start(&account);
    let events = Events::start(rehearsal.billing_url());
    let mut victims = Vec::new();
    for _ in 0..rounds {
        for index in 0..rehearsal.services().len() {
            sleep(BETWEEN).await;
            if let Some(kind) = rehearsal.services()[index].computes() {
                victims.extend(under_way(&account, kind).await?);
            }
            rehearsal.crash(index).await?;
        }
        sleep(BETWEEN).await;
        rehearsal.lose_tasks().await?;
        sleep(BETWEEN).await;
        rehearsal.lose_events()?;
        sleep(BETWEEN).await;
        rehearsal.freeze_documents(OUTAGE).await?;
    }
    sleep(BETWEEN).await;
    let mut accepted = load.stop(50).await?;
    accepted.extend(victims);
    let sent = events.stop().await?;
    let mut outcome = account.balance(&accepted).await?;
    stripe::all_handled(rehearsal.url(), &sent).await?;
    outcome.webhook_events = sent.len();
    ensure!(
        outcome.attempts > outcome.jobs as u64,
        "no failure hit a job under way: {outcome:?}"
    );
    Ok(outcome)
}

/// The document store is killed under load and comes back with nothing: the same processes work on,
/// with a new customer, whose books balance.
///
/// # Errors
/// A service does not work again by itself, or the books do not balance.
pub async fn begin_anew(rehearsal: &mut Rehearsal) -> Result<Outcome> {
    let load = Load::start(&Account::new(rehearsal.url(), KEY)?);
    sleep(BETWEEN).await;
    rehearsal.lose_documents()?;
    rehearsal.all_ready().await?;
    // What this load was promised went with the store.
    load.stop(1).await?;
    let key = new_key(rehearsal.url()).await?;
    let account = Account::new(rehearsal.url(), &key)?;
    let load = Load::start(&account);
    sleep(BETWEEN * 2).await;
    let accepted = load.stop(1).await?;
    account.balance(&accepted).await
}

async fn new_key(url: &str) -> Result<String> {
    let made = Client::new()
        .post(format!("{url}/v1/admin/keys"))
        .header("x-admin-secret", ADMIN_SECRET)
        .json(&json!({"name": "after the loss", "tier": "pro"}))
        .send()
        .await?;
    let key: serde_json::Value = made.error_for_status()?.json().await?;
    let secret = key["api_key"].as_str().map(str::to_owned);
    secret.ok_or_else(|| anyhow::anyhow!("no key in {key}"))
}
