//! Accepting jobs.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oscillink_domain::JobKind;
use oscillink_domain::callback::check_url;
use oscillink_engine::{Submission, Submitted};
use oscillink_telemetry::current_traceparent;
use oscillink_wire::{Operation, encode_payload};

use super::callbacks;
use super::views::JobView;
use crate::error::{Kind, Problem};
use crate::extract::{Caller, DIRECT_VALUES, Inbound, ReadBody, ReadLimits};
use crate::quota_headers;
use crate::replay::REPLAYED;
use crate::request_id::RequestId;
use crate::state::Gateway;

macro_rules! job {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        pub async fn $name(
            State(app): State<Gateway>,
            Extension(id): Extension<RequestId>,
            caller: Caller,
            inbound: Inbound,
        ) -> Result<Response, Problem> {
            let limits = ReadLimits::job(app.config(), &caller.limits);
            let body = inbound.read(&app, limits).await?;
            submit(&app, &id, &caller, body, $kind).await
        }
    };
}
job!(
    /// `POST /v1/jobs/settle`
    settle, JobKind::Settle
);
job!(
    /// `POST /v1/jobs/diffusion`
    diffusion, JobKind::Diffusion
);
job!(
    /// `POST /v1/jobs/chain`
    chain, JobKind::Chain
);

/// The kind of job that does the operation's work. The answer of a settle job has the parts that its
/// request asks for.
pub fn kind_for(operation: Operation) -> JobKind {
    match operation {
        Operation::Settle | Operation::Receipt | Operation::Bundle => JobKind::Settle,
        Operation::Diffusion => JobKind::Diffusion,
        Operation::ChainReceipt => JobKind::Chain,
    }
}

/// Submits a job and answers 202.
pub async fn submit(
    app: &Gateway,
    id: &RequestId,
    caller: &Caller,
    body: ReadBody,
    kind: JobKind,
) -> Result<Response, Problem> {
    let span = tracing::Span::current();
    span.record("N", body.parsed.request.n());
    span.record("D", body.parsed.request.d());
    let submitted = accept(app, id, caller, body, kind).await?;
    accepted(app, caller, &submitted).await
}

/// Checks what only jobs have to keep to, and hands the job to the engine.
pub async fn accept(
    app: &Gateway,
    id: &RequestId,
    caller: &Caller,
    body: ReadBody,
    kind: JobKind,
) -> Result<Submitted, Problem> {
    let request = &body.parsed.request;
    request.check_for(kind.into())?;
    app.check_features(caller, request)?;
    ReadLimits::check_job(app.config(), &caller.limits, request.n(), request.d())?;
    if let Some(url) = &body.parsed.callback_url {
        check_url(url, app.config().callback_allow_private)
            .map_err(|detail| Problem::field("callback_url", detail))?;
        if !app.engine().has_callbacks() {
            return Err(callbacks::switched_off());
        }
    }
    let submission = submission(app, id, caller, body, kind).await?;
    Ok(app.engine().submit(submission).await?)
}

async fn submission(
    app: &Gateway,
    id: &RequestId,
    caller: &Caller,
    body: ReadBody,
    kind: JobKind,
) -> Result<Submission, Problem> {
    let ReadBody {
        parsed,
        idempotency,
        traceparent,
        mut share,
        ..
    } = body;
    let request = parsed.request.or_all_arrays();
    let (n, d) = (request.n(), request.d());
    let memory_bytes = request.estimated_memory_bytes(app.inline().threads());
    // The request and its encoding.
    share.grow_to(8 * n * d).await?;
    let payload = if n * d <= DIRECT_VALUES {
        encode_payload(&request)
    } else {
        let encoded = tokio::task::spawn_blocking(move || encode_payload(&request)).await;
        encoded.map_err(|_| {
            Problem::new(
                Kind::Internal,
                "the request could not be encoded; it has been logged",
            )
        })?
    };
    Ok(Submission {
        key_id: caller.key_id.clone(),
        key_hash: caller.key_hash.clone(),
        tier: caller.tier,
        limits: caller.limits.clone(),
        kind,
        n,
        d,
        memory_bytes,
        payload,
        request_id: id.id.clone(),
        traceparent: current_traceparent(traceparent.as_deref()),
        idempotency,
        custom_id: parsed.custom_id,
        callback_url: parsed.callback_url,
    })
}

async fn accepted(
    app: &Gateway,
    caller: &Caller,
    submitted: &Submitted,
) -> Result<Response, Problem> {
    let job = &submitted.job;
    let mut headers = HeaderMap::new();
    let usage = match &submitted.usage {
        Some(usage) => Some(usage.clone()),
        // The job is accepted whether or not its headers can be told.
        None => {
            let usage = app.engine().usage(&caller.key_id, &caller.limits).await;
            usage.ok()
        }
    };
    if let Some(usage) = usage {
        quota_headers::insert(&mut headers, &usage, app.engine().now());
        quota_headers::record(&usage);
    }
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)) {
        headers.insert(header::LOCATION, location);
    }
    if submitted.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    let view = axum::Json(JobView::of(job, None));
    Ok((StatusCode::ACCEPTED, headers, view).into_response())
}
