//! One job of the demo: submitted, waited for and checked over HTTP, as any client would.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use oscillink_lattice::signature::Required;
use oscillink_wire::Format;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

use super::data::Glosses;
use crate::client::{Client, JobView};
use crate::commands::submit::{Kind, submit};
use crate::commands::{verify, wait};
use crate::output::Output;

/// Longest wait for a job of the demo, seconds.
const TIMEOUT_S: u64 = 60;

/// What is asked for.
pub struct Ask<'a> {
    /// Settle or diffusion.
    pub kind: Kind,
    /// The row that is the query; it is not among the rows sent.
    pub query: usize,
    /// The rows sent, the most similar to the query first.
    pub rows: &'a [usize],
    /// Rows of the bundle.
    pub bundle: usize,
    /// The request's `params`.
    pub params: Value,
    /// The request's `diffusion`.
    pub diffusion: Option<Value>,
}

/// One entry of a selection.
#[derive(Clone, Debug, Serialize)]
pub struct Pick {
    /// Row of the shipped data.
    pub row: usize,
    /// Its text.
    pub text: &'static str,
    /// Plain cosine similarity with the query.
    pub similarity: f64,
    /// Place among all entries by plain cosine, from 1.
    pub cosine_rank: usize,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Settle or diffusion.
    pub kind: &'static str,
    /// The request's parameters.
    pub params: Value,
    /// The job.
    pub job_id: String,
    /// Rows.
    #[serde(rename = "N")]
    pub n: usize,
    /// Columns.
    #[serde(rename = "D")]
    pub d: usize,
    /// The entries most similar to the query.
    pub cosine: Vec<Pick>,
    /// Mean similarity of the pairs among them.
    pub cosine_likeness: f64,
    /// The bundle.
    pub bundle: Vec<Pick>,
    /// Mean similarity of the pairs in it.
    pub bundle_likeness: f64,
    /// Energy that settling removed.
    #[serde(rename = "deltaH_total")]
    pub delta_h_total: f64,
    /// Rows with an edge that stands out.
    pub null_points: usize,
    /// The two texts whose tie resists most.
    pub strongest_null: Option<[&'static str; 2]>,
    /// Iterations of settle step and stationary solve.
    pub iterations: [u64; 2],
    /// The server's own timings.
    pub timings_ms: Value,
    /// From submission to result, ms.
    pub wall_ms: f64,
    /// Smallest, largest and mean gate, behind diffusion.
    pub gates: Option<[f64; 3]>,
    /// Signature of inputs and graph.
    pub state_sig: String,
    /// What the receipt's signature vouches for.
    pub signed: Value,
    /// The row of the usage ledger.
    pub ledger_row: Value,
}

/// Submits, waits, verifies, and looks the ledger row up.
pub async fn tell(
    client: &Client,
    glosses: &Glosses,
    ask: &Ask<'_>,
    secret: &SecretString,
    output: Output,
) -> Result<Told> {
    let vectors: Vec<Vec<f32>> = ask.rows.iter().map(|row| glosses.vector(*row)).collect();
    let mut request = json!({
        "Y": vectors,
        "psi": glosses.vector(ask.query),
        "params": ask.params,
        "options": {"bundle_k": ask.bundle},
    });
    let mut params = json!({"params": ask.params});
    if let Some(diffusion) = &ask.diffusion {
        request["diffusion"] = diffusion.clone();
        params["diffusion"] = diffusion.clone();
    }
    let started = Instant::now();
    let body = serde_json::to_vec(&request)?;
    let accepted = submit(client, ask.kind, Format::Json, body, &[], None).await?;
    let job_id = JobView::of(&accepted)?.job_id;
    let job = wait::until_ended(client, &job_id, TIMEOUT_S, output).await?;
    let wall_ms = started.elapsed().as_secs_f64() * 1e3;
    ensure!(
        JobView::of(&job)?.status == "done",
        "job {job_id} did not finish: {job}"
    );

    let result = job.get("result").context("the job has no result")?;
    let receipt = result.get("receipt").context("the result has no receipt")?;
    let verified = verify::check_receipt(receipt, &[secret], Required::default())
        .map_err(anyhow::Error::msg)
        .context("the receipt's signature")?;
    let number = |path: &str| result.pointer(path).and_then(Value::as_f64);
    let pick = |row: usize| Pick {
        row,
        text: glosses.text(row),
        similarity: glosses.similarity(ask.query, row),
        cosine_rank: ask
            .rows
            .iter()
            .position(|other| *other == row)
            .map_or(0, |place| place + 1),
    };
    let top = &ask.rows[..ask.bundle];
    let bundle = bundle_rows(result, ask.rows)?;
    Ok(Told {
        kind: ask.kind.as_str(),
        params,
        n: ask.rows.len(),
        d: glosses.dim(),
        cosine: top.iter().map(|row| pick(*row)).collect(),
        cosine_likeness: glosses.likeness(top),
        bundle: bundle.iter().map(|row| pick(*row)).collect(),
        bundle_likeness: glosses.likeness(&bundle),
        delta_h_total: number("/receipt/deltaH_total")
            .context("the receipt has no deltaH_total")?,
        null_points: receipt
            .get("null_points")
            .and_then(Value::as_array)
            .map_or(0, Vec::len),
        strongest_null: strongest_null(receipt, ask.rows, glosses),
        iterations: ["/cg_iters", "/meta/ustar_iters"]
            .map(|path| receipt.pointer(path).and_then(Value::as_u64).unwrap_or(0)),
        timings_ms: result.get("timings_ms").cloned().unwrap_or_default(),
        wall_ms,
        gates: gates(result),
        state_sig: result
            .get("state_sig")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        signed: verified.payload,
        ledger_row: ledger_row(client, &job_id).await?,
        job_id,
    })
}

fn bundle_rows(result: &Value, rows: &[usize]) -> Result<Vec<usize>> {
    let items = result
        .get("bundle")
        .and_then(Value::as_array)
        .context("the result has no bundle")?;
    items
        .iter()
        .map(|item| {
            let id = item
                .get("id")
                .and_then(Value::as_u64)
                .and_then(|id| usize::try_from(id).ok());
            id.and_then(|id| rows.get(id).copied())
                .context("the bundle names an unknown row")
        })
        .collect()
}

fn strongest_null(receipt: &Value, rows: &[usize], glosses: &Glosses) -> Option<[&'static str; 2]> {
    let z = |point: &Value| point.get("z").and_then(Value::as_f64).unwrap_or(f64::MIN);
    let points = receipt.get("null_points")?.as_array()?;
    let strongest = points.iter().max_by(|a, b| z(a).total_cmp(&z(b)))?;
    let end = |place: usize| {
        let id = strongest.get("edge")?.get(place)?.as_u64()?;
        Some(glosses.text(*rows.get(usize::try_from(id).ok()?)?))
    };
    Some([end(0)?, end(1)?])
}

fn gates(result: &Value) -> Option<[f64; 3]> {
    let meta = result.pointer("/meta/diffusion")?;
    let gate = |name: &str| meta.get(name).and_then(Value::as_f64);
    Some([gate("gate_min")?, gate("gate_max")?, gate("gate_mean")?])
}

async fn ledger_row(client: &Client, job_id: &str) -> Result<Value> {
    let page = client.get("/v1/usage/ledger", &[]).await?;
    let rows = page.get("items").and_then(Value::as_array);
    let row = rows
        .into_iter()
        .flatten()
        .find(|row| row.get("job_id").and_then(Value::as_str) == Some(job_id));
    row.cloned().context("the job has no ledger row")
}
