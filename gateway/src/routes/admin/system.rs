//! The table of tiers, and the sweeper.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use oscillink_domain::tier::Overrides;
use oscillink_domain::{Limits, Tier};
use serde::Serialize;
use serde_json::json;

use crate::error::Problem;
use crate::extract::Admin;
use crate::openapi::{self as api, Api};
use crate::routes::views::TierView;
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

pub(super) fn describe(api: Api) -> Api {
    let table = api::get("admin", "adminTiers", "The table of tiers in force");
    let swept = api::post("admin", "adminSweep", "One pass of the sweeper, now");
    api.route("/tiers", get(tiers), [table.ok("The table", "TierList")])
        .route(
            "/system/sweep",
            post(sweep),
            [swept.idempotent().ok("What it did", "Swept")],
        )
}
