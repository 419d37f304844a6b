//! What the service says about a key: its jobs and its ledger, page by page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;

use crate::http::Client;
use crate::requests::get;

const JOBS: &str = "/v1/jobs?limit=100";
const LEDGER: &str = "/v1/usage/ledger?limit=100";
/// Pages read at most, for one list.
const MAX_PAGES: usize = 100_000;
/// Tries of one page; a service that has just been disturbed may need some.
const TRIES: u32 = 8;

/// A job as the service lists it.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// Its state.
    pub status: String,
    /// The id that its submission gave it.
    pub custom_id: Option<String>,
}

/// A row of the ledger.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// Which of the key's chains; a key whose meter is in several documents has one for each.
    pub chain: u64,
    /// Place in the chain.
    pub seq: u64,
    /// The job, if it was one.
    pub job: Option<String>,
    /// The request.
    pub request: String,
    /// N·D.
    pub units: u64,
    /// Hash of the row.
    pub hash: String,
    /// Hash of the row before.
    pub prev_hash: String,
}

/// All that the service says about a key's part in the run.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// Jobs, newest first.
    pub jobs: Vec<JobRow>,
    /// Ledger rows after the positions at the run's start, chain by chain, newest first.
    pub ledger: Vec<LedgerRow>,
}

/// What a key has from before the run.
#[derive(Debug, Clone, Default)]
pub struct Before {
    jobs: HashSet<String>,
    /// The last row of each chain.
    heads: BTreeMap<u64, u64>,
}

/// Reads what is there before the run.
///
/// # Errors
/// The service does not answer as it should.
pub async fn before(client: &Client, key: &HeaderValue) -> Result<Before, String> {
    let mut heads = BTreeMap::new();
    for row in list(client, key, LEDGER, ledger_row, |_| true).await? {
        let head = heads.entry(row.chain).or_insert(row.seq);
        *head = row.seq.max(*head);
    }
    let jobs = list(client, key, JOBS, job_row, |_| true).await?;
    Ok(Before {
        jobs: jobs.into_iter().map(|job| job.id).collect(),
        heads,
    })
}

/// Reads what has come since. Nothing is told apart by time, so that the order of the lists may
/// suffer from a clock that was put off.
///
/// # Errors
/// The service does not answer as it should.
pub async fn statement(
    client: &Client,
    key: &HeaderValue,
    before: &Before,
) -> Result<Statement, String> {
    let mut jobs = list(client, key, JOBS, job_row, |_| true).await?;
    jobs.retain(|job| !before.jobs.contains(&job.id));
    let new = |row: &LedgerRow| row.seq > before.heads.get(&row.chain).copied().unwrap_or(0);
    let mut ledger = list(client, key, LEDGER, ledger_row, |page| page.iter().any(new)).await?;
    ledger.retain(new);
    ledger.sort_by_key(|row| (row.chain, Reverse(row.seq)));
    Ok(Statement { jobs, ledger })
}

/// Reads a list until its end, or until `more` finds nothing of interest in a page.
async fn list<T>(
    client: &Client,
    key: &HeaderValue,
    path: &str,
    parse: impl Fn(&Value) -> Option<T>,
    more: impl Fn(&[T]) -> bool,
) -> Result<Vec<T>, String> {
    let mut rows = Vec::new();
    let mut next = path.to_owned();
    for _ in 0..MAX_PAGES {
        let page = page(client, key, &next).await?;
        let items = page["items"].as_array();
        let items = items.ok_or_else(|| format!("{path}: no items"))?.iter();
        let parsed: Option<Vec<T>> = items.map(&parse).collect();
        let parsed = parsed.ok_or_else(|| format!("{path}: a malformed item"))?;
        let enough = !more(&parsed);
        rows.extend(parsed);
        match page["next_cursor"].as_str() {
            Some(cursor) if !enough => next = format!("{path}&cursor={cursor}"),
            _ => return Ok(rows),
        }
    }
    Err(format!("{path}: more than {MAX_PAGES} pages"))
}

async fn page(client: &Client, key: &HeaderValue, path: &str) -> Result<Value, String> {
    let mut fault = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        }
        match client.call(get(client, path, key)).await {
            Ok(answer) if answer.status.is_success() => {
                return answer.json().map_err(|error| format!("{path}: {error}"));
            }
            Ok(answer) => fault = format!("{path}: {}", answer.status),
            Err(error) => fault = format!("{path}: {error}"),
        }
    }
    Err(fault)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn job_row(item: &Value) -> Option<JobRow> {
    Some(JobRow {
        id: text(&item["job_id"])?,
        status: text(&item["status"])?,
        custom_id: text(&item["custom_id"]),
    })
}

fn ledger_row(item: &Value) -> Option<LedgerRow> {
    Some(LedgerRow {
        chain: item["chain"].as_u64().unwrap_or(0),
        seq: item["seq"].as_u64()?,
        job: text(&item["job_id"]),
        request: text(&item["request_id"]).unwrap_or_default(),
        units: item["units"].as_u64()?,
        hash: text(&item["hash"])?,
        prev_hash: text(&item["prev_hash"])?,
    })
}
