//! One trace through a rehearsed deployment: from a client's request through gateway and worker, which
//! are processes of their own, to the callback.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::collector::{Collector, Span};
use crate::rehearsal::{KEY, Rehearsal};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";
/// Longest wait for anything that should happen.
const DEADLINE: Duration = Duration::from_secs(60);

const GATEWAY: &[&str] = &["oscillink-gateway"];
const WORKER: &[&str] = &["oscillink-worker"];
/// What a worker's transaction wrote for the bus is sent by whichever relay finds it first.
const EVENT_RELAYS: &[&str] = &["oscillink-gateway", "oscillink-webhook"];

/// Each span with the services one of which it is of, and the span above it.
const EXPECTED: [(&str, &[&str], &str); 14] = [
    ("POST /v1/jobs/settle", GATEWAY, CLIENT),
    ("store submit", GATEWAY, "POST /v1/jobs/settle"),
    ("send settle", GATEWAY, "POST /v1/jobs/settle"),
    ("POST /tasks/{queue}", WORKER, ""),
    ("process settle", WORKER, ""),
    ("store claim", WORKER, "process settle"),
    ("compute", WORKER, "process settle"),
    ("store complete", WORKER, "process settle"),
    ("send job-events", EVENT_RELAYS, "process settle"),
    ("send usage-events", EVENT_RELAYS, "process settle"),
    ("send callback", GATEWAY, "process settle"),
    ("process callback", WORKER, ""),
    ("POST", WORKER, "process callback"),
    ("store record callback", WORKER, "process callback"),
];

/// Variables for the deployment: no trace but those that a client asks for, and those at once.
#[must_use]
pub fn variables(collector: &Collector) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_TRACES_SAMPLER_ARG", "0".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ("OSCILLINK_CALLBACK_ALLOW_PRIVATE", "true".to_owned()),
    ]
}

/// Submits a job and follows its trace. Gives the number of its spans.
///
/// # Errors
/// A span is missing or in the wrong place.
pub async fn follow(rehearsal: &Rehearsal, collector: &Collector) -> Result<usize> {
    let (sender, mut callbacks) = mpsc::unbounded_channel();
    let receive = move |headers: HeaderMap| async move {
        // The other end may have what it waited for.
        let _ = sender.send(headers);
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let receiver = Router::new().route("/hook", post(receive));
    let serving = tokio::spawn(async move { axum::serve(listener, receiver).await });

    let body = json!({"Y": [[1, 0], [0.9, 0.1], [0, 1]], "callback_url": format!("http://{address}/hook")});
    let accepted = reqwest::Client::new()
        .post(format!("{}/v1/jobs/settle", rehearsal.url()))
        .header("x-api-key", KEY)
        .header("traceparent", format!("00-{TRACE}-{CLIENT}-01"))
        .json(&body)
        .send()
        .await?;
    ensure!(accepted.status() == 202, "submit: {}", accepted.status());
    let headers = timeout(DEADLINE, callbacks.recv()).await?;
    let headers = headers.context("the receiver ended")?;
    serving.abort();
    let spans = whole(collector).await?;
    for (name, services, parent) in EXPECTED {
        let span = &spans[name];
        ensure!(
            services.contains(&span.service.as_str()),
            "{name} is of {}",
            span.service
        );
        let above = spans.get(parent).map_or(parent, |span| &span.span_id);
        // Deliveries of both queues have one name: which is above which is seen by their number.
        ensure!(
            parent.is_empty() || span.parent_id == above,
            "{name} is below {}, not below {parent}",
            span.parent_id
        );
    }
    let sent = headers.get("traceparent").and_then(|v| v.to_str().ok());
    let expected = format!("00-{TRACE}-{}-01", spans["POST"].span_id);
    ensure!(sent == Some(&expected), "the callback came with {sent:?}");
    let all = collector.spans();
    ensure!(
        all.iter().all(|span| span.trace_id == TRACE),
        "a trace that nobody asked for"
    );
    Ok(all.len())
}

/// The spans by name, once all are there and each is below another, or below the client's.
async fn whole(collector: &Collector) -> Result<BTreeMap<String, Span>> {
    let begun = Instant::now();
    loop {
        let all = collector.spans();
        let orphan = all.iter().find(|span| {
            span.parent_id != CLIENT && all.iter().all(|above| above.span_id != span.parent_id)
        });
        let spans = all.iter().map(|span| (span.name.clone(), span.clone()));
        let spans: BTreeMap<_, _> = spans.collect();
        let missing = EXPECTED
            .iter()
            .find(|(name, ..)| !spans.contains_key(*name));
        if missing.is_none() && orphan.is_none() {
            return Ok(spans);
        }
        ensure!(
            begun.elapsed() < DEADLINE,
            "missing: {missing:?}; below no span: {orphan:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}
