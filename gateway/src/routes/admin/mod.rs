//! What operators can do. The routes exist only where an admin secret is configured.

pub mod jobs;
pub mod keys;
pub mod queues;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use oscillink_domain::tier::Overrides;
use oscillink_domain::{Limits, QueueName, Tier};
use serde::Serialize;
use serde_json::{Value, json};

use super::views::TierView;
use crate::error::Problem;
use crate::extract::Admin;
use crate::openapi::{self as api, Api, Operation};
use crate::state::Gateway;

/// `GET /v1/admin/tiers`: the table in force.
pub async fn tiers(State(app): State<Gateway>, _: Admin) -> Response {
    let baseline = &app.engine().config().baseline;
    let rows = Tier::ALL.into_iter().map(|tier| {
        let limits = Limits::of(tier, baseline, &Overrides::default());
        TierView::of(tier, &limits)
    });
    let items: Vec<_> = rows.collect();
    Json(json!({"items": items, "next_cursor": null})).into_response()
}

/// What one sweep did.
#[derive(Serialize)]
struct SweepView {
    redispatched: usize,
    leases_lost: usize,
    expired: usize,
    removed: usize,
    forgotten: usize,
}

/// `POST /v1/admin/system/sweep`: one pass of the sweeper, now.
pub async fn sweep(State(app): State<Gateway>, _: Admin) -> Result<Response, Problem> {
    let report = app.engine().sweep().await?;
    let view = SweepView {
        redispatched: report.redispatched,
        leases_lost: report.leases_lost,
        expired: report.expired,
        removed: report.removed,
        forgotten: report.forgotten,
    };
    Ok(Json(view).into_response())
}

fn queue_names() -> Value {
    let names: Vec<_> = QueueName::ALL.iter().map(|queue| queue.as_str()).collect();
    json!({"type": "string", "enum": names})
}

/// The routes with their description.
pub fn api() -> Api {
    let name = |text: &str| json!({"name": text, "tier": "pro"});
    let key = |method: Operation| method.path("id", "The key's id");
    let job = |method: Operation| method.path("id", "The job's id");
    let queue = |method: Operation| method.path_of("queue", "The queue's name", queue_names());
    let filter = json!({"queue": "settle", "created_before": "2026-01-31T12:00:00Z", "limit": 100});
    let overlap = json!({"type": "integer", "minimum": 0, "maximum": 2_592_000, "default": 86_400});
    Api::under("/v1/admin")
        .route(
            "/keys",
            get(keys::list).post(keys::create),
            [
                api::get("admin", "adminListKeys", "Keys, newest first")
                    .paged()
                    .answers(200, "A page", "AdminKeyList", &[]),
                api::post(
                    "admin",
                    "adminCreateKey",
                    "A new key; enterprise keys start pending",
                )
                .body("application/json", "KeyCreate", name("Acme"))
                .answers(201, "The key with its secret", "AdminKey", &[]),
            ],
        )
        .route(
            "/keys/introspect",
            post(keys::introspect),
            [
                api::post("admin", "adminIntrospect", "Which key a secret opens")
                    .body("application/json", "Introspect", json!({"api_key": "ok_…"}))
                    .answers(200, "The key", "AdminKey", &[]),
            ],
        )
        .route(
            "/keys/{id}",
            get(keys::get).patch(keys::change).delete(keys::revoke),
            [
                key(api::get("admin", "adminGetKey", "A key")).answers(
                    200,
                    "The key",
                    "AdminKey",
                    &[],
                ),
                key(api::patch(
                    "admin",
                    "adminChangeKey",
                    "Change name, tier, status or overrides",
                ))
                .body(
                    "application/json",
                    "KeyChange",
                    json!({"tier": "enterprise", "status": "active"}),
                )
                .answers(200, "The key", "AdminKey", &[])
                .problems(&[409]),
                key(api::delete("admin", "adminDeleteKey", "Revoke for good")).answers(
                    200,
                    "The key",
                    "AdminKey",
                    &[],
                ),
            ],
        )
        .route(
            "/keys/{id}/rotate",
            post(keys::rotate),
            [key(api::post(
                "admin",
                "adminRotateKey",
                "A new secret for a key",
            ))
            .query("overlap_seconds", "How long the old secret works", overlap)
            .answers(200, "The key with its secret", "AdminKey", &[])
            .problems(&[409])],
        )
        .route(
            "/keys/{id}/revoke",
            post(keys::revoke),
            [
                key(api::post("admin", "adminRevokeKey", "Revoke for good")).answers(
                    200,
                    "The key",
                    "AdminKey",
                    &[],
                ),
            ],
        )
        .route(
            "/keys/{id}/usage",
            get(keys::usage),
            [
                key(api::get("admin", "adminUsage", "What a key has used")).answers(
                    200,
                    "Usage",
                    "Usage",
                    &[],
                ),
            ],
        )
        .route(
            "/keys/{id}/ledger",
            get(keys::ledger),
            [key(api::get(
                "admin",
                "adminLedger",
                "A key's ledger, newest first",
            ))
            .paged()
            .query(
                "format",
                "The form",
                json!({"type": "string", "enum": ["json", "csv"]}),
            )
            .answers(200, "A page", "LedgerList", &[])
            .content(200, "text/csv", json!({"type": "string"}))],
        )
        .route(
            "/tiers",
            get(tiers),
            [
                api::get("admin", "adminTiers", "The table of tiers in force").answers(
                    200,
                    "The table",
                    "TierList",
                    &[],
                ),
            ],
        )
        .route(
            "/queues",
            get(queues::list),
            [
                api::get("admin", "adminQueues", "Queues: depth, age, limits").answers(
                    200,
                    "The queues",
                    "QueueList",
                    &[],
                ),
            ],
        )
        .route(
            "/queues/{queue}/pause",
            post(queues::pause),
            [queue(api::post(
                "admin",
                "adminPause",
                "Start no further deliveries",
            ))
            .answers(200, "The queue", "Queue", &[])],
        )
        .route(
            "/queues/{queue}/resume",
            post(queues::resume),
            [
                queue(api::post("admin", "adminResume", "Start deliveries again")).answers(
                    200,
                    "The queue",
                    "Queue",
                    &[],
                ),
            ],
        )
        .route(
            "/jobs",
            get(jobs::list),
            [api::get(
                "admin",
                "adminListJobs",
                "Jobs of a key, or a queue's live jobs",
            )
            .query(
                "key_id",
                "Of this key, newest first",
                json!({"type": "string"}),
            )
            .query(
                "queue",
                "Live on this queue, oldest first",
                json!({"type": "string"}),
            )
            .query("status", "With key_id", json!({"type": "string"}))
            .query("kind", "With key_id", json!({"type": "string"}))
            .query("since", "With key_id", json!({"type": "string"}))
            .paged()
            .answers(200, "A page", "AdminJobList", &[])],
        )
        .route(
            "/jobs/dead-letters",
            get(jobs::dead_letters),
            [api::get(
                "admin",
                "adminDeadLetters",
                "Jobs that failed for good, with their history",
            )
            .paged()
            .answers(200, "A page", "AdminJobList", &[])],
        )
        .route(
            "/jobs/cancel",
            post(jobs::cancel_matching),
            [
                api::post("admin", "adminCancelJobs", "Cancel live jobs that match")
                    .body("application/json", "JobFilter", filter.clone())
                    .answers(200, "What was done", "CancelledMany", &[]),
            ],
        )
        .route(
            "/jobs/retry",
            post(jobs::retry_matching),
            [
                api::post("admin", "adminRetryJobs", "Retry dead letters that match")
                    .body("application/json", "JobFilter", filter)
                    .answers(200, "What was done", "RetriedMany", &[]),
            ],
        )
        .route(
            "/jobs/{id}",
            get(jobs::get),
            [
                job(api::get("admin", "adminGetJob", "A job of any key")).answers(
                    200,
                    "The job",
                    "AdminJob",
                    &[],
                ),
            ],
        )
        .route(
            "/jobs/{id}/retry",
            post(jobs::retry),
            [job(api::post(
                "admin",
                "adminRetryJob",
                "A dead letter's work as a new job",
            ))
            .answers(202, "The new job", "AdminJob", &[])],
        )
        .route(
            "/system/sweep",
            post(sweep),
            [
                api::post("admin", "adminSweep", "One pass of the sweeper, now").answers(
                    200,
                    "What it did",
                    "Swept",
                    &[],
                ),
            ],
        )
}
