//! The caller's own quota and ledger.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use oscillink_domain::{KeyId, LedgerRow};
use serde::Deserialize;

use super::lists::{PageQuery, opaque};
use super::views::{ListView, UsageAnswer};
use crate::error::Problem;
use crate::extract::{Caller, Queried, prefers};
use crate::quota_headers;
use crate::state::Gateway;

/// `GET /v1/usage`
pub async fn get(State(app): State<Gateway>, caller: Caller) -> Result<Response, Problem> {
    let usage = app.engine().usage(&caller.key_id, &caller.limits).await?;
    let mut headers = HeaderMap::new();
    quota_headers::insert(&mut headers, &usage, app.engine().now());
    Ok((headers, Json(UsageAnswer::of(&caller.record, &usage))).into_response())
}

/// The query of `GET /v1/usage/ledger`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerQuery {
    limit: Option<String>,
    cursor: Option<String>,
    format: Option<String>,
}

/// `GET /v1/usage/ledger`: newest first. Rows are given as they are hashed, times in milliseconds
/// since the epoch, so that their chain can be checked.
pub async fn ledger(
    State(app): State<Gateway>,
    caller: Caller,
    Queried(query): Queried<LedgerQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    ledger_of(&app, &caller.key_id, query, &headers).await
}

/// The ledger of a key in the form asked for.
pub async fn ledger_of(
    app: &Gateway,
    key_id: &KeyId,
    query: LedgerQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let csv = match query.format.as_deref() {
        None => prefers(headers, "text/csv", "application/json"),
        Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Problem::field("format", "must be json or csv")),
    };
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let page = app
        .engine()
        .ledger(key_id, page.limit()?, page.cursor()?)
        .await?;
    let next_cursor = opaque(page.next.as_ref());
    if csv {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("text/csv"),
        );
        if let Some(value) = next_cursor.and_then(|c| c.parse().ok()) {
            headers.insert("x-next-cursor", value);
        }
        return Ok((headers, table(&page.items)).into_response());
    }
    let items = page.items;
    Ok(Json(ListView { items, next_cursor }).into_response())
}

/// Rows as CSV. No field can hold a comma or a quote: they are numbers, ids and fixed names.
fn table(rows: &[LedgerRow]) -> String {
    let mut out = String::from(
        "ts,id,key_id,key_hash,job_id,request_id,event,N,D,units,duration_ms,tier,diffusion,\
         chain,seq,prev_hash,hash,signature\n",
    );
    for row in rows {
        let job_id = row.job_id.as_deref().unwrap_or_default();
        let signature = row.signature.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{},{},{},{},{job_id},{},{},{},{},{},{},{},{},{},{},{},{},{signature}",
            row.ts,
            row.id,
            row.key_id,
            row.key_hash,
            row.request_id,
            row.event,
            row.n,
            row.d,
            row.units,
            row.duration_ms,
            row.tier,
            row.diffusion,
            row.chain,
            row.seq,
            row.prev_hash,
            row.hash,
        );
    }
    out
}
