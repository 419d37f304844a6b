//! Crashes in the rehearsed deployment: under load each service in turn is killed and started again,
//! and the task queue loses everything it held. Afterwards the books must balance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::rehearsal::{KEY, Rehearsal};

/// Clients that submit at once.
const CLIENTS: usize = 4;
/// Load between two crashes.
const BETWEEN: Duration = Duration::from_millis(1_500);
/// Time for every job to end once the crashes are over.
const END_TIMEOUT: Duration = Duration::from_secs(120);

/// Settings of the services that let them recover in seconds rather than minutes.
pub const VARIABLES: [(&str, &str); 2] = [
    ("OSCILLINK_JOB_LEASE", "3"),
    ("OSCILLINK_JOB_REDISPATCH", "4"),
];

/// What the storm showed.
#[derive(Debug)]
pub struct Outcome {
    /// Jobs whose acceptance a client saw.
    pub accepted: usize,
    /// Jobs found afterwards.
    pub jobs: usize,
    /// Ledger rows found afterwards.
    pub rows: usize,
    /// From the last crash to the end of the last job.
    pub recovery: Duration,
}

/// Storms through `rounds` crashes of every service and checks the books.
///
/// # Errors
/// A service does not come back, or the books do not balance.
pub async fn storm(rehearsal: &mut Rehearsal, rounds: usize) -> Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let http = Client::builder().timeout(Duration::from_secs(10)).build()?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            tokio::spawn(client(
                http.clone(),
                rehearsal.url().to_owned(),
                number,
                Arc::clone(&stop),
            ))
        })
        .collect();
    for _ in 0..rounds {
        for index in 0..rehearsal.services().len() {
            sleep(BETWEEN).await;
            rehearsal.crash(index).await?;
        }
        sleep(BETWEEN).await;
        rehearsal.lose_tasks().await?;
    }
    sleep(BETWEEN).await;
    stop.store(true, Ordering::Relaxed);
    let mut accepted = BTreeSet::new();
    for client in clients {
        accepted.extend(client.await?);
    }
    ensure!(
        accepted.len() > 20,
        "hardly any load: {} jobs",
        accepted.len()
    );
    let over = Instant::now();
    let jobs = ended(&http, rehearsal.url()).await?;
    let recovery = over.elapsed();
    let rows = balance(&http, rehearsal.url(), &accepted, &jobs).await?;
    Ok(Outcome {
        accepted: accepted.len(),
        jobs: jobs.len(),
        rows,
        recovery,
    })
}

/// Submits until told to stop; gives the ids that were accepted.
async fn client(http: Client, url: String, number: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let rows: Vec<Vec<f32>> = (0..24 + number)
        .map(|i| {
            (0..8)
                .map(|j| ((i * 5 + j * 3 + number) % 13) as f32 - 6.0)
                .collect()
        })
        .collect();
    let body = json!({"Y": rows, "options": {"bundle_k": 2}});
    let path = if number.is_multiple_of(2) {
        "settle"
    } else {
        "diffusion"
    };
    let mut accepted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = http
            .post(format!("{url}/v1/jobs/{path}"))
            .header("x-api-key", KEY)
            .json(&body)
            .send()
            .await;
        // While the gateway is away there is no answer, and nothing was promised.
        let answer = match sent {
            Ok(answer) if answer.status().as_u16() == 202 => answer.json::<Value>().await.ok(),
            _ => None,
        };
        match answer.and_then(|job| job["job_id"].as_str().map(str::to_owned)) {
            Some(id) => accepted.push(id),
            None => sleep(Duration::from_millis(50)).await,
        }
    }
    accepted
}

async fn fetch(http: &Client, url: &str, path: &str) -> Result<Value> {
    let answer = http
        .get(format!("{url}{path}"))
        .header("x-api-key", KEY)
        .send()
        .await?;
    Ok(answer.error_for_status()?.json().await?)
}

async fn pages(http: &Client, url: &str, path: &str) -> Result<Vec<Value>> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let at = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = fetch(http, url, &format!("{path}?limit=100{at}")).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(items),
        }
    }
}

/// Every job, once none is live.
async fn ended(http: &Client, url: &str) -> Result<BTreeMap<String, Value>> {
    let began = Instant::now();
    loop {
        let usage = fetch(http, url, "/v1/usage").await?;
        if usage["live_jobs"] == 0 {
            break;
        }
        ensure!(
            began.elapsed() < END_TIMEOUT,
            "{} jobs have not ended after {END_TIMEOUT:?}",
            usage["live_jobs"]
        );
        sleep(Duration::from_millis(200)).await;
    }
    let jobs = pages(http, url, "/v1/jobs").await?;
    let named = jobs
        .into_iter()
        .filter_map(|job| Some((job["job_id"].as_str()?.to_owned(), job)));
    Ok(named.collect())
}

/// Nothing accepted is lost, nothing is billed twice, and the sums agree.
async fn balance(
    http: &Client,
    url: &str,
    accepted: &BTreeSet<String>,
    jobs: &BTreeMap<String, Value>,
) -> Result<usize> {
    let rows = pages(http, url, "/v1/usage/ledger").await?;
    let mut billed: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        *billed
            .entry(row["job_id"].as_str().context("a row without a job")?)
            .or_default() += 1;
    }
    for id in accepted {
        ensure!(jobs.contains_key(id), "{id} was accepted and is lost");
    }
    let mut done_units = 0;
    for (id, job) in jobs {
        ensure!(job["status"] == "done", "{job}");
        ensure!(
            billed.get(id.as_str()) == Some(&1),
            "{id} was billed {:?} times",
            billed.get(id.as_str())
        );
        done_units += job["units"].as_u64().unwrap_or(0);
    }
    let billed_units: u64 = rows.iter().filter_map(|row| row["units"].as_u64()).sum();
    ensure!(
        billed_units == done_units,
        "{billed_units} units billed, {done_units} done"
    );
    let usage = fetch(http, url, "/v1/usage").await?;
    ensure!(
        usage["month"]["used"] == billed_units,
        "the quota says {}",
        usage["month"]
    );
    ensure!(
        usage["month"]["reserved"] == 0,
        "still reserved: {}",
        usage["month"]
    );
    Ok(rows.len())
}
