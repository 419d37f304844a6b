//! Synchronous work: computed here, charged, answered.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use oscillink_engine::{ChargeError, SyncWork, UsageView};
use oscillink_telemetry::metrics::StatusLabel;
use oscillink_wire::{Monthly, NumberArray, Operation, Quota, RunOutput, npy};

use super::submit;
use crate::cache;
use crate::error::{Kind, Problem};
use crate::extract::{Caller, DIRECT_VALUES, Inbound, ReadBody, ReadLimits, prefers};
use crate::quota_headers;
use crate::replay;
use crate::request_id::RequestId;
use crate::state::Gateway;

/// Attempts to charge when the store does not answer. The charge has the request's id, so that it
/// happens once however often it is tried.
const CHARGE_ATTEMPTS: u32 = 3;

macro_rules! operation {
    ($(#[$doc:meta])* $name:ident, $operation:expr) => {
        $(#[$doc])*
        pub async fn $name(
            State(app): State<Gateway>,
            Extension(id): Extension<RequestId>,
            caller: Caller,
            inbound: Inbound,
        ) -> Result<Response, Problem> {
            answer(&app, &id, &caller, inbound, $operation).await
        }
    };
}
operation!(
    /// `POST /v1/settle`
    settle, Operation::Settle
);
operation!(
    /// `POST /v1/receipt`
    receipt, Operation::Receipt
);
operation!(
    /// `POST /v1/bundle`
    bundle, Operation::Bundle
);
operation!(
    /// `POST /v1/chain/receipt`
    chain_receipt, Operation::ChainReceipt
);
operation!(
    /// `POST /v1/settle/diffusion`
    diffusion, Operation::Diffusion
);

/// Answers and measures.
async fn answer(
    app: &Gateway,
    id: &RequestId,
    caller: &Caller,
    inbound: Inbound,
    operation: Operation,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let outcome = respond(app, id, caller, inbound, operation).await;
    let metrics = app.metrics();
    let status = StatusLabel {
        status: match &outcome {
            Ok(_) => "ok",
            Err(problem) if problem.status().is_client_error() => "rejected",
            Err(_) => "error",
        },
    };
    metrics.settle_requests.get_or_create(&status).inc();
    metrics.settle_latency.observe(started.elapsed());
    if operation == Operation::Diffusion {
        metrics.diffusion_requests.get_or_create(&status).inc();
    }
    outcome
}

async fn respond(
    app: &Gateway,
    id: &RequestId,
    caller: &Caller,
    inbound: Inbound,
    operation: Operation,
) -> Result<Response, Problem> {
    let respond_async = inbound.preferences.respond_async;
    let limits = if respond_async {
        ReadLimits::either(app.config(), &caller.limits)
    } else {
        ReadLimits::sync(app.config(), &caller.limits)
    };
    let wants_npy = accepts_npy(inbound.headers());
    let fresh = wants_fresh(inbound.headers());
    let mut inbound = inbound;
    inbound.with_digest = app.cache().serves(caller.tier);
    let mut body = inbound.read(app, limits.clone()).await?;
    body.parsed.request.check_for(operation)?;
    app.check_features(caller, &body.parsed.request)?;
    let too_large = exceeds_inline(app, caller, &body);
    // Who names a callback or an id of their own for the job expects a job.
    if respond_async && (too_large || job_fields(&body).next().is_some()) {
        body.parsed.request = body.parsed.request.with_parts_of(operation);
        let kind = submit::kind_for(operation);
        let accepted = submit::submit(app, id, caller, body, kind).await?;
        return Ok(([("preference-applied", "respond-async")], accepted).into_response());
    }
    if too_large {
        return Err(limits.too_large_for_now(&body));
    }
    if let Some(field) = job_fields(&body).next() {
        let detail = "is for jobs; this request is answered at once, unless it is sent with \
                      Prefer: respond-async";
        return Err(Problem::field(field, detail));
    }
    let idempotency = body.idempotency.clone();
    let work = async |row_id| {
        let job = Work {
            row_id,
            operation,
            wants_npy,
            fresh,
        };
        compute(app, id, caller, body, job).await
    };
    replay::answer_once(app, id, caller, idempotency.as_ref(), work).await
}

/// What is to be computed, besides the body.
struct Work {
    /// Id of the ledger row.
    row_id: String,
    operation: Operation,
    wants_npy: bool,
    /// Results at hand will not do.
    fresh: bool,
}

/// Whether the work is too large to be done while the client waits.
fn exceeds_inline(app: &Gateway, caller: &Caller, body: &ReadBody) -> bool {
    body.parsed.request.n() > caller.limits.max_nodes
        || body.parsed.request.d() > caller.limits.max_dim
        || body.length > app.config().max_sync_body_bytes
        || !app.inline().fits(&body.parsed.request)
}

/// The fields of the body that only jobs have.
fn job_fields(body: &ReadBody) -> impl Iterator<Item = &'static str> {
    let fields = [
        ("callback_url", &body.parsed.callback_url),
        ("custom_id", &body.parsed.custom_id),
    ];
    fields
        .into_iter()
        .filter_map(|(name, given)| given.as_ref().map(|_| name))
}

async fn compute(
    app: &Gateway,
    id: &RequestId,
    caller: &Caller,
    body: ReadBody,
    job: Work,
) -> Result<Response, Problem> {
    let ReadBody {
        parsed,
        share,
        digest,
        ..
    } = body;
    let request = parsed.request;
    let Work {
        row_id, operation, ..
    } = job;
    let work = SyncWork {
        key_id: caller.key_id.clone(),
        key_hash: caller.key_hash.clone(),
        tier: caller.tier,
        limits: caller.limits.clone(),
        row_id,
        request_id: id.id.clone(),
        event: operation.as_str().to_owned(),
        n: request.n(),
        d: request.d(),
        diffusion: request.wants_diffusion(),
    };
    let span = tracing::Span::current();
    span.record("N", work.n).record("D", work.d);
    let limited = caller.limits.window_units.is_some() || caller.limits.monthly_units.is_some();
    if limited && !app.estimates().has_room(&caller.key_id, request.units()) {
        // Refused before it costs anything; the charge below decides.
        app.engine()
            .check_quota(&caller.key_id, &caller.limits, request.units())
            .await?;
    }
    let context = app.run_context(caller);
    let signed = context.receipt_secret.is_some();
    let name = digest.filter(|_| app.cache().serves(caller.tier));
    let name = name.map(|digest| cache::name(&caller.key_id, operation, signed, &digest));
    let known = name.as_ref().filter(|_| !job.fresh);
    let known = known.and_then(|name| app.cache().get(name));
    let hit = known.is_some();
    let output = match known {
        // The answer counts as any other; it took no time.
        Some(output) => RunOutput {
            duration_ms: 0.0,
            ..output
        },
        None => app.inline().run(request, operation, context).await?,
    };
    drop(share);
    let usage = charge(app, &work, output.duration_ms).await?;
    if limited {
        app.estimates().note(&caller.key_id, &usage);
    }
    measure(app, &work, &output);
    let mut headers = HeaderMap::new();
    if let Some(name) = name {
        let state = HeaderValue::from_static(if hit { "hit" } else { "miss" });
        headers.insert("x-cache", state);
        if !hit {
            app.cache().insert(name, &output);
        }
    }
    quota_headers::insert(&mut headers, &usage, app.engine().now());
    quota_headers::record(&usage);
    let body = render(output, id, usage, job.wants_npy).await?;
    Ok((headers, body).into_response())
}

async fn charge(app: &Gateway, work: &SyncWork, duration_ms: f64) -> Result<UsageView, Problem> {
    let mut attempt = 1;
    loop {
        match app.engine().charge(work, duration_ms).await {
            Err(ChargeError::Port(error)) if error.is_transient() && attempt < CHARGE_ATTEMPTS => {
                attempt += 1;
            }
            outcome => return Ok(outcome?),
        }
    }
}

fn measure(app: &Gateway, work: &SyncWork, output: &RunOutput) {
    let metrics = app.metrics();
    metrics.usage_nodes.inc_by(work.n as u64);
    metrics.usage_units.inc_by(work.n as u64 * work.d as u64);
    if let Some(ms) = output.answer.timings_ms.get("diffusion_gate_ms") {
        metrics.diffusion_gate_ms.observe(*ms);
        metrics.diffusion_gate.observe_ms(*ms);
    }
}

/// The answer's body: JSON, or the one array asked for as npy.
async fn render(
    output: RunOutput,
    id: &RequestId,
    usage: UsageView,
    wants_npy: bool,
) -> Result<Response, Problem> {
    if wants_npy && output.arrays.len() == 1 {
        let npy = output
            .arrays
            .values()
            .map(npy::write)
            .next()
            .unwrap_or_default();
        return Ok(([(header::CONTENT_TYPE, "application/x-npy")], npy).into_response());
    }
    let values: usize = output.arrays.values().map(NumberArray::len).sum();
    let mut answer = output.into_answer_with_arrays();
    answer.meta.request_id = Some(id.id.clone());
    answer.meta.usage.monthly = monthly(&usage);
    answer.meta.quota = quota(&usage);
    if values == 0 {
        return Ok(Json(answer).into_response());
    }
    let json = if values <= DIRECT_VALUES {
        answer.to_json().ok()
    } else {
        let written = tokio::task::spawn_blocking(move || answer.to_json()).await;
        written.ok().and_then(Result::ok)
    };
    let json = json.ok_or_else(|| {
        Problem::new(
            Kind::Internal,
            "the answer could not be written; it has been logged",
        )
    })?;
    let content_type = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, content_type)], json).into_response())
}

fn monthly(usage: &UsageView) -> Option<Monthly> {
    Some(Monthly {
        limit: usage.month.limit?,
        used: usage.month.tally.total(),
        remaining: usage.month.remaining()?,
        period: usage.period.clone(),
    })
}

fn quota(usage: &UsageView) -> Option<Quota> {
    Some(Quota {
        limit: usage.window.limit?,
        remaining: usage.window.remaining()?,
        reset: usage.window.resets_at.to_string(),
    })
}

/// Whether the client asks for an answer that is computed now.
fn wants_fresh(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let mut directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','));
    directives.any(|directive| {
        let directive = directive.trim();
        directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("no-store")
    })
}

/// Whether the client would rather have an array as npy than within JSON.
fn accepts_npy(headers: &HeaderMap) -> bool {
    prefers(headers, "application/x-npy", "application/json")
}
