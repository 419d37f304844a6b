//! Every route with its handler and its description.

use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::openapi::{self as api, Api, Operation};
use crate::routes::{
    batch, callbacks, docs, events, health, jobs, keys, result, settle, submit, usage,
};

/// What clients use.
pub fn v1() -> Api {
    let api = Api::under("/v1")
        .route(
            "/settle",
            post(settle::settle),
            [work(
                "settle",
                "Settle, with receipt, bundle and chain receipt as asked",
                &[],
            )],
        )
        .route(
            "/receipt",
            post(settle::receipt),
            [work("receipt", "The receipt alone", &[])],
        )
        .route(
            "/bundle",
            post(settle::bundle),
            [work("bundle", "The bundle alone", &[])],
        )
        .route(
            "/chain/receipt",
            post(settle::chain_receipt),
            [work("chainReceipt", "The verdict on a chain of rows", &[])],
        )
        .route(
            "/settle/diffusion",
            post(settle::diffusion),
            [work(
                "settleDiffusion",
                "Settle behind diffusion gates",
                &[402],
            )],
        )
        .route(
            "/jobs/settle",
            post(submit::settle),
            [submits("submitSettle", "Settle as a job", &[])],
        )
        .route(
            "/jobs/diffusion",
            post(submit::diffusion),
            [submits(
                "submitDiffusion",
                "Settle behind diffusion gates as a job",
                &[],
            )],
        )
        .route(
            "/jobs/chain",
            post(submit::chain),
            [submits("submitChain", "A chain receipt as a job", &[])],
        );
    account(jobs_of(api))
}

fn jobs_of(api: Api) -> Api {
    api.route("/jobs/batch", post(batch::post), [batch_operation()])
        .route(
            "/jobs",
            get(jobs::list),
            [api::get("jobs", "listJobs", "The key's jobs, newest first")
                .query("status", "Only jobs in this state", names(&["queued", "running", "done", "error", "cancelled", "expired"]))
                .query("kind", "Only jobs of this kind", names(&["settle", "diffusion", "chain"]))
                .query("since", "Accepted at or after this time", json!({"type": "string", "format": "date-time"}))
                .paged()
                .answers(200, "A page", "JobList", &[])],
        )
        .route(
            "/jobs/{id}",
            get(jobs::get).delete(jobs::cancel),
            [
                api::get("jobs", "getJob", "A job, with its result once done")
                    .path("id", "The job's id")
                    .query("wait", "Seconds to hold the answer until the job has ended or changed, at most 60", json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}))
                    .header("Prefer", "wait=S does the same", json!({"type": "string"}))
                    .header("If-None-Match", "An ETag of this job", json!({"type": "string"}))
                    .answers(200, "The job", "Job", &["ETag"])
                    .gives(304, "The job is as If-None-Match says", &["ETag"]),
                api::delete("jobs", "cancelJob", "Cancel: at once when queued, at the next check point when running")
                    .path("id", "The job's id")
                    .answers(200, "The job as it is now", "Job", &[]),
            ],
        )
        .route(
            "/jobs/{id}/events",
            get(events::get),
            [api::get("jobs", "jobEvents", "A job's states as server-sent events, until its end")
                .describe("Events `status` (a Job) and `progress` (a Progress). The stream ends after the job has.")
                .path("id", "The job's id")
                .header("Last-Event-ID", "Id of the last event seen", json!({"type": "string"}))
                .gives(200, "The events", &[])
                .content(200, "text/event-stream", event())
                .gives(204, "The last event seen was the job's end", &[])],
        )
        .route(
            "/jobs/{id}/callback/redeliver",
            post(callbacks::redeliver),
            [api::post("jobs", "redeliverCallback", "Have the job's callback delivered once more")
                .describe("Under the same webhook-id. The job says what became of it.")
                .path("id", "The job's id")
                .idempotent()
                .answers(202, "The job", "Job", &["Idempotency-Replayed"])],
        )
        .route(
            "/jobs/{id}/result",
            get(result::get),
            [api::get("jobs", "getResult", "A job's answer, or one of its arrays")
                .path("id", "The job's id")
                .query("array", "The array, as npy", names(&["u", "ustar", "gates"]))
                .answers(200, "The answer, or the array", "Answer", &[])
                .content(200, "application/x-npy", json!({"type": "string", "format": "binary"}))
                .problems(&[406, 409])],
        )
}

fn account(api: Api) -> Api {
    api.route(
        "/usage",
        get(usage::get),
        [
            api::get("account", "getUsage", "The key's window and month").answers(
                200,
                "Usage",
                "Usage",
                &["X-Quota-Remaining", "X-Monthly-Remaining"],
            ),
        ],
    )
    .route(
        "/usage/ledger",
        get(usage::ledger),
        [
            api::get("account", "getLedger", "Ledger rows, newest first")
                .paged()
                .query(
                    "format",
                    "The form; Accept: text/csv does the same",
                    names(&["json", "csv"]),
                )
                .answers(200, "A page", "LedgerList", &[])
                .content(200, "text/csv", json!({"type": "string"})),
        ],
    )
    .route(
        "/keys/self",
        get(keys::get),
        [
            api::get("account", "getKey", "The key's tier, features and limits").answers(
                200,
                "The key",
                "Key",
                &[],
            ),
        ],
    )
    .route(
        "/keys/self/callback-secret",
        get(callbacks::secret),
        [api::get(
            "account",
            "getCallbackSecret",
            "The secret that signs the key's callbacks (Standard Webhooks)",
        )
        .ok("The secret", "CallbackSecret")],
    )
    .route(
        "/keys/self/callback-secret/rotate",
        post(callbacks::rotate),
        [api::post(
            "account",
            "rotateCallbackSecret",
            "A new callback secret; the present one signs beside it for a while",
        )
        .query(
            "overlap_seconds",
            "How long both sign",
            json!({"type": "integer", "minimum": 0, "maximum": 2_592_000, "default": 86_400}),
        )
        .idempotent()
        .body(
            "application/json",
            "Rotation",
            json!({"overlap_seconds": 3_600}),
        )
        .may_be_empty()
        .answers(
            200,
            "The new secret",
            "CallbackSecret",
            &["Idempotency-Replayed"],
        )],
    )
    .route(
        "/keys/self/rotate",
        post(keys::rotate),
        [api::post(
            "account",
            "rotateKey",
            "A new secret; the old one works for a while",
        )
        .describe("With Idempotency-Key, a repeat with the old secret gives the same new one.")
        .query(
            "overlap_seconds",
            "How long the old secret works",
            json!({"type": "integer", "minimum": 0, "maximum": 2_592_000, "default": 86_400}),
        )
        .idempotent()
        .body(
            "application/json",
            "Rotation",
            json!({"overlap_seconds": 3_600}),
        )
        .may_be_empty()
        .answers(
            200,
            "The new secret",
            "RotatedKey",
            &["Idempotency-Replayed"],
        )],
    )
}

/// For everyone.
pub fn probes() -> Api {
    Api::under("")
        .route(
            "/health",
            get(health::live),
            [api::get("probes", "health", "The process runs").answers(
                200,
                "It does",
                "Health",
                &[],
            )],
        )
        .route(
            "/ready",
            get(health::ready),
            [api::get("probes", "ready", "The process can do its work")
                .answers(200, "It can", "Ready", &[])
                .problems(&[503])],
        )
        .route(
            "/metrics",
            get(health::metrics),
            [api::get("probes", "metrics", "Metrics for Prometheus")
                .gives(200, "As `Accept` says", &[])
                .content(200, "text/plain", json!({"type": "string"}))
                .content(
                    200,
                    "application/openmetrics-text",
                    json!({"type": "string"}),
                )
                .problems(&[401])],
        )
        .route(
            "/openapi.json",
            get(docs::document),
            [api::get("probes", "openapi", "This document")
                .gives(200, "OpenAPI 3.1", &["ETag"])
                .content(200, "application/json", json!({"type": "object"}))
                .gives(304, "As If-None-Match says", &["ETag"])],
        )
        .route(
            "/docs",
            get(docs::page),
            [api::get("probes", "docs", "This document for people")
                .gives(200, "A page", &[])
                .content(200, "text/html", json!({"type": "string"}))],
        )
        .route(
            "/docs/{file}",
            get(docs::file),
            [api::get("probes", "docsFile", "What the page is made of")
                .path_of(
                    "file",
                    "A file of the page",
                    names(&["docs.js", "docs.css"]),
                )
                .gives(200, "The file", &[])
                .content(200, "text/javascript", json!({"type": "string"}))
                .content(200, "text/css", json!({"type": "string"}))
                .problems(&[404])],
        )
}

pub use crate::routes::admin::api as admin;

fn names(names: &[&str]) -> Value {
    json!({"type": "string", "enum": names})
}

/// One server-sent event.
fn event() -> Value {
    json!({"type": "object", "properties": {
        "id": {"type": "string"},
        "event": names(&["status", "progress"]),
        "data": {"type": "string", "description": "A Job or a Progress as JSON"},
        "retry": {"type": "integer"}
    }})
}

fn example() -> Value {
    json!({
        "Y": [[0.1, 0.9, 0.2], [0.2, 0.8, 0.1], [0.9, 0.1, 0.4], [0.8, 0.2, 0.3]],
        "psi": [0.1, 0.9, 0.2],
        "chain": [0, 1, 2],
        "params": {"kneighbors": 2},
        "options": {"bundle_k": 2}
    })
}

/// Operations that need a chain, for which a matrix alone has no place.
const CHAINS: [&str; 2] = ["chainReceipt", "submitChain"];

/// Bodies besides JSON, and compressed ones.
fn with_arrays(operation: Operation, id: &str) -> Operation {
    let operation = operation.describe("Bodies may be compressed: Content-Encoding gzip or zstd.");
    let operation = if CHAINS.contains(&id) {
        operation
    } else {
        operation.bytes(
            "application/x-npy",
            "Y as numpy.save writes it; parameters go in the query",
        )
    };
    operation
        .bytes(
            "application/zip",
            "Y, psi, gates, chain and chain_weights as numpy.savez writes them",
        )
        .parts(
            json!({
                "type": "object",
                "required": ["Y"],
                "additionalProperties": false,
                "properties": {
                    "Y": {"type": "string", "format": "binary", "description": "The array file: npy or npz"},
                    "params": {"$ref": "#/components/schemas/Parameters"}
                }
            }),
            json!({
                "Y": {"contentType": "application/octet-stream"},
                "params": {"contentType": "application/json"}
            }),
        )
}

/// An operation that computes while the client waits.
fn work(id: &str, summary: &str, problems: &[u16]) -> Operation {
    let headers = [
        "RateLimit",
        "RateLimit-Policy",
        "X-Quota-Remaining",
        "X-Monthly-Remaining",
        "Idempotency-Replayed",
        "X-Cache",
    ];
    let operation = api::post("settle", id, summary)
        .idempotent()
        .header(
            "Prefer",
            "respond-async: work above the limit becomes a job, and so does work with a callback_url or custom_id",
            json!({"type": "string"}),
        )
        .body("application/json", "SolveRequest", example());
    with_arrays(operation, id)
        .answers(200, "The answer", "Answer", &headers)
        .content(200, "application/x-npy", json!({"type": "string", "format": "binary", "description": "With Accept: application/x-npy and one array asked for, unless JSON has the higher weight"}))
        .answers(202, "The work has become a job", "Job", &["Location"])
        // Any request may carry a diffusion block, which not every tier has.
        .problems(&[402])
        .problems(problems)
}

/// An operation that submits a job.
fn submits(id: &str, summary: &str, problems: &[u16]) -> Operation {
    let mut body = example();
    body["custom_id"] = "mine".into();
    let operation =
        api::post("jobs", id, summary)
            .idempotent()
            .body("application/json", "JobRequest", body);
    let headers = [
        "Location",
        "RateLimit",
        "RateLimit-Policy",
        "Idempotency-Replayed",
    ];
    with_arrays(operation, id)
        .answers(202, "The job, durable", "Job", &headers)
        .problems(&[402])
        .problems(problems)
}

fn batch_operation() -> Operation {
    let mut line = example();
    line["custom_id"] = "first".into();
    line["kind"] = "settle".into();
    api::post("jobs", "submitBatch", "Many jobs: one JSON object a line, one answer a line")
        .describe(
            "Lines are answered in their order as they are accepted. A line at fault costs itself only. \
             The Idempotency-Key stands for each line by its place.",
        )
        .idempotent()
        .body("application/x-ndjson", "BatchLine", line)
        .gives(200, "One BatchAnswer a line", &[])
        .content(200, "application/x-ndjson", json!({"$ref": "#/components/schemas/BatchAnswer"}))
}
