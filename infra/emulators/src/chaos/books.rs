//! What was accepted, what was done and what was billed, compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Time for every job to end once the failures are over.
const END_TIMEOUT: Duration = Duration::from_secs(120);
/// Time for one request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What the storm showed.
#[derive(Debug)]
pub struct Outcome {
    /// Jobs whose acceptance a client saw.
    pub accepted: usize,
    /// Jobs found afterwards.
    pub jobs: usize,
    /// Attempts that they took.
    pub attempts: u64,
    /// Ledger rows found afterwards.
    pub rows: usize,
    /// Events of Stripe's that were acknowledged.
    pub webhook_events: usize,
    /// From the last submission to the end of the last job.
    pub recovery: Duration,
}

/// A customer.
#[derive(Clone)]
pub struct Account {
    http: Client,
    url: String,
    key: String,
}

impl Account {
    /// The customer with this key at this gateway.
    pub fn new(url: &str, key: &str) -> Result<Self> {
        Ok(Self {
            http: Client::builder().timeout(REQUEST_TIMEOUT).build()?,
            url: url.to_owned(),
            key: key.to_owned(),
        })
    }

    /// A POST with the customer's key.
    pub fn post(&self, path: &str) -> RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.url));
        request.header("x-api-key", &self.key)
    }

    /// What a GET with the customer's key answers.
    pub async fn fetch(&self, path: &str) -> Result<Value> {
        let request = self.http.get(format!("{}{path}", self.url));
        let answer = request.header("x-api-key", &self.key).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn pages(&self, path: &str) -> Result<Vec<Value>> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let at = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let page = self.fetch(&format!("{path}?limit=100{at}")).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    /// Every job, once none is live.
    async fn ended(&self) -> Result<BTreeMap<String, Value>> {
        let began = Instant::now();
        loop {
            let usage = self.fetch("/v1/usage").await?;
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
        let jobs = self.pages("/v1/jobs").await?;
        let named = jobs
            .into_iter()
            .filter_map(|job| Some((job["job_id"].as_str()?.to_owned(), job)));
        Ok(named.collect())
    }

    /// Nothing accepted is lost, nothing is billed twice, and the sums agree.
    pub async fn balance(&self, accepted: &BTreeSet<String>) -> Result<Outcome> {
        let over = Instant::now();
        let jobs = self.ended().await?;
        let recovery = over.elapsed();
        for id in accepted {
            ensure!(jobs.contains_key(id), "{id} was accepted and is lost");
        }
        let rows = self.pages("/v1/usage/ledger").await?;
        let mut billed: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &rows {
            *billed
                .entry(row["job_id"].as_str().context("a row without a job")?)
                .or_default() += 1;
        }
        let (mut done_units, mut attempts) = (0, 0);
        for (id, job) in &jobs {
            ensure!(job["status"] == "done", "{job}");
            let times = billed.get(id.as_str()).copied().unwrap_or(0);
            ensure!(times == 1, "{id} was billed {times} times");
            done_units += job["units"].as_u64().context("a job without units")?;
            attempts += job["attempts"].as_u64().context("a job without attempts")?;
        }
        ensure!(rows.len() == jobs.len(), "rows of jobs that are not there");
        let billed_units: u64 = rows.iter().filter_map(|row| row["units"].as_u64()).sum();
        ensure!(
            billed_units == done_units,
            "{billed_units} units billed, {done_units} done"
        );
        let month = &self.fetch("/v1/usage").await?["month"];
        ensure!(month["used"] == billed_units, "the quota says {month}");
        ensure!(month["reserved"] == 0, "still reserved: {month}");
        Ok(Outcome {
            accepted: accepted.len(),
            jobs: jobs.len(),
            attempts,
            rows: rows.len(),
            webhook_events: 0,
            recovery,
        })
    }
}
