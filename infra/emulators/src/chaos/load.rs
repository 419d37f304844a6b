//! Clients that submit until told to stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::books::Account;

/// Clients that submit at once.
const CLIENTS: usize = 4;
/// Pause of a client between two jobs: the emulators are not built for speed.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Clients under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    /// Starts them.
    pub fn start(account: &Account) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(account.clone(), number, Arc::clone(&stop)));
        }
        Self { stop, clients }
    }

    /// Stops them; the ids of the jobs whose acceptance they saw, `fewest` at least: fewer would prove
    /// nothing.
    pub async fn stop(self, fewest: usize) -> Result<BTreeSet<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let accepted: BTreeSet<String> = self
            .clients
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect();
        ensure!(
            accepted.len() >= fewest,
            "hardly any load: {} jobs",
            accepted.len()
        );
        Ok(accepted)
    }
}

/// Clients 0 and 1 send small jobs, the others jobs of a second or so, that are under way when a pool
/// is killed.
async fn client(account: Account, number: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let (rows, columns) = if number < 2 { (24, 8) } else { (1_500, 64) };
    let rows: Vec<Vec<f32>> = (0..rows + number)
        .map(|i| {
            (0..columns)
                .map(|j| ((i * 5 + j * 3 + i * j % 7 + number) % 13) as f32 - 6.0)
                .collect()
        })
        .collect();
    let body = json!({"Y": rows, "options": {"bundle_k": 2}});
    let kind = if number.is_multiple_of(2) {
        "settle"
    } else {
        "diffusion"
    };
    let mut accepted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = account.post(&format!("/v1/jobs/{kind}")).json(&body).send();
        // While the gateway is away there is no answer, and nothing was promised.
        let answer = match sent.await {
            Ok(answer) if answer.status().as_u16() == 202 => answer.json::<Value>().await.ok(),
            _ => None,
        };
        match answer.and_then(|job| job["job_id"].as_str().map(str::to_owned)) {
            Some(id) => {
                accepted.push(id);
                sleep(PAUSE).await;
            }
            None => sleep(PAUSE_AFTER_FAILURE).await,
        }
    }
    accepted
}
