//! A job that is under way when its pool is killed: chance alone may spare every one of them.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::books::Account;

/// Rows and columns: some tenths of a second of work, many times what it takes to see it and to kill.
const SIZE: (usize, usize) = (6_000, 96);
/// Time for one to be seen under way.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Submits jobs of `kind`, `settle` or `diffusion`, until one is seen under way. Gives the ids of all
/// that were accepted.
///
/// # Errors
/// None is, in time.
pub async fn under_way(account: &Account, kind: &str) -> Result<Vec<String>> {
    let (rows, columns) = SIZE;
    let rows: Vec<Vec<f32>> = (0..rows)
        .map(|i| {
            let row = (0..columns).map(|j| ((i * 7 + j * 11 + i * j % 31) % 17) as f32 - 8.0);
            row.collect()
        })
        .collect();
    let body = json!({"Y": rows, "options": {"bundle_k": 2}});
    let began = Instant::now();
    let mut accepted = Vec::new();
    while began.elapsed() < TIMEOUT {
        let sent = account.post(&format!("/v1/jobs/{kind}")).json(&body).send();
        // Another service may just have been killed.
        let Ok(answer) = sent.await else {
            sleep(LOOK).await;
            continue;
        };
        if answer.status().as_u16() != 202 {
            sleep(LOOK).await;
            continue;
        }
        let job: Value = answer.json().await?;
        let id = job["job_id"].as_str().context("a job without an id")?;
        accepted.push(id.to_owned());
        if seen_running(account, id, began).await? {
            return Ok(accepted);
        }
    }
    bail!("no {kind} job was seen under way within {TIMEOUT:?}")
}

/// Whether it was seen running, and not only before and after.
async fn seen_running(account: &Account, id: &str, began: Instant) -> Result<bool> {
    while began.elapsed() < TIMEOUT {
        let job = account.fetch(&format!("/v1/jobs/{id}")).await?;
        match job["status"].as_str() {
            Some("running") => return Ok(true),
            Some("done") => return Ok(false),
            _ => sleep(LOOK).await,
        }
    }
    Ok(false)
}
