//! Traces: one from a client's request to the callback that tells of its end, as a collector sees it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use oscillink_emulators::collector::{Collector, Span};
use serde_json::json;

use crate::receiver::receiver;
use crate::support::{DEADLINE, Server, eventually, matrix, ok};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

/// A server that exports to `collector`, half of what no client decides, and at once.
fn traced(endpoint: &str, variables: &[(&str, &str)]) -> Server {
    Server::start_with(&with_traces(endpoint, variables))
}

fn with_traces<'a>(endpoint: &'a str, variables: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OSCILLINK_CALLBACK_ALLOW_PRIVATE", "true"),
    ];
    all.extend(variables);
    all
}

/// The spans of a trace by name, once all of `names` are there.
fn spans(collector: &Collector, trace: &str, names: &[&str]) -> BTreeMap<String, Span> {
    eventually("the whole trace", || {
        let spans = collector.spans().into_iter();
        let ours = spans.filter(|span| span.trace_id == trace);
        let by_name: BTreeMap<_, _> = ours.map(|span| (span.name.clone(), span)).collect();
        names
            .iter()
            .all(|name| by_name.contains_key(*name))
            .then_some(by_name)
    })
}

#[test]
fn a_job_is_one_trace_from_the_client_to_the_callback() {
    let collector = Collector::start().unwrap();
    let server = traced(&collector.endpoint(), &[("OTEL_TRACES_SAMPLER_ARG", "0")]);
    let (address, incoming) = receiver();
    let body = json!({"Y": matrix(30, 8), "callback_url": format!("http://{address}/hook")});
    let request = server.post("/v1/jobs/settle").json(&body);
    let request = request.header("traceparent", format!("00-{TRACE}-{CLIENT}-01"));
    let job = ok(request.send().unwrap());
    let callback = incoming.recv_timeout(DEADLINE).unwrap();
    let received = callback.traceparent.clone();
    callback.answer(204);

    // Each with its kind and the span above it.
    let expected = [
        ("POST /v1/jobs/settle", "server", CLIENT),
        ("store submit", "client", "POST /v1/jobs/settle"),
        ("send settle", "producer", "POST /v1/jobs/settle"),
        ("process settle", "consumer", "send settle"),
        ("store claim", "client", "process settle"),
        ("compute", "internal", "process settle"),
        ("store complete", "client", "process settle"),
        ("send callback", "producer", "process settle"),
        ("process callback", "consumer", "send callback"),
        ("POST", "client", "process callback"),
        ("store record callback", "client", "process callback"),
    ];
    let spans = spans(&collector, TRACE, &expected.map(|(name, ..)| name));
    for (name, kind, parent) in expected {
        let span = &spans[name];
        let above = spans.get(parent).map_or(parent, |parent| &parent.span_id);
        assert_eq!((span.kind, &*span.parent_id), (kind, above), "{name}");
        assert_eq!(span.service, "oscillink");
    }
    assert_eq!(spans.len(), expected.len(), "{:?}", spans.keys());
    let sent = format!("00-{TRACE}-{}-01", spans["POST"].span_id);
    assert_eq!(received, sent, "the receiver continues from the attempt");
    let attribute = |span: &str, name: &str| spans[span].attributes[name].clone();
    assert_eq!(
        attribute("POST /v1/jobs/settle", "http.response.status_code"),
        "202"
    );
    assert_eq!(
        attribute("process settle", "job_id"),
        job["job_id"].as_str().unwrap()
    );
    assert_eq!(attribute("process settle", "N"), "30");
    assert_eq!(attribute("POST", "http.response.status_code"), "204");
    assert!(spans["send settle"].nanos > 0 && spans["compute"].nanos > 0);
}

#[test]
fn a_synchronous_request_is_computed_and_charged_within_its_span() {
    let collector = Collector::start().unwrap();
    let server = traced(&collector.endpoint(), &[("OTEL_TRACES_SAMPLER_ARG", "1")]);
    let request = server.post("/v1/settle").json(&json!({"Y": matrix(30, 8)}));
    // Not of the form: as good as none.
    let malformed = format!("00-{TRACE}-{CLIENT}-01-x");
    ok(request.header("traceparent", malformed).send().unwrap());
    let root = eventually("a trace", || {
        let spans = collector.spans().into_iter();
        spans
            .into_iter()
            .find(|span| span.name == "POST /v1/settle")
    });
    assert_eq!(root.parent_id, "");
    assert_ne!(root.trace_id, TRACE);
    let names = ["POST /v1/settle", "compute", "store charge"];
    let spans = spans(&collector, &root.trace_id, &names);
    for name in &names[1..] {
        assert_eq!(spans[*name].parent_id, root.span_id);
    }
    // The scraper is shown where to look.
    let request = server.get("/metrics");
    let request = request.header("accept", "application/openmetrics-text");
    let text = request.send().unwrap().text().unwrap();
    let exemplar = format!("# {{trace_id=\"{}\"}}", root.trace_id);
    for metric in ["settle_latency_seconds", "http_request_duration_seconds"] {
        let line = text.lines().find(|line| {
            line.starts_with(&format!("oscillink_{metric}_bucket")) && line.contains(&exemplar)
        });
        assert!(line.is_some(), "no exemplar of {metric} in\n{text}");
    }
}

#[test]
fn what_is_not_sampled_is_not_exported() {
    let collector = Collector::start().unwrap();
    let server = traced(&collector.endpoint(), &[("OTEL_TRACES_SAMPLER_ARG", "0")]);
    let settle = |traceparent: Option<&str>| {
        let mut request = server.post("/v1/settle").json(&json!({"Y": matrix(9, 4)}));
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        ok(request.send().unwrap());
    };
    let other = "11111111111111111111111111111111";
    settle(None);
    settle(Some(&format!("00-{other}-{CLIENT}-00")));
    let (address, incoming) = receiver();
    let body = json!({"Y": matrix(9, 4), "callback_url": format!("http://{address}/")});
    let request = server.post("/v1/jobs/settle").json(&body);
    let request = request.header("traceparent", format!("00-{other}-{CLIENT}-00"));
    ok(request.send().unwrap());
    let callback = incoming.recv_timeout(DEADLINE).unwrap();
    // The receiver still learns which trace it is in, and that it is not recorded.
    let parts: Vec<&str> = callback.traceparent.split('-').collect();
    assert_eq!((parts[1], parts[3]), (other, "00"));
    assert_ne!(parts[2], CLIENT);
    callback.answer(200);
    server.get("/health").send().unwrap();

    settle(Some(&format!("00-{TRACE}-{CLIENT}-01")));
    spans(
        &collector,
        TRACE,
        &["POST /v1/settle", "compute", "store charge"],
    );
    // Spans of one process are exported in the order of their ends.
    let all = collector.spans();
    assert!(all.iter().all(|span| span.trace_id == TRACE), "{all:?}");
    let recorded = server.get("/metrics").send().unwrap().text().unwrap();
    assert!(
        recorded.contains("oscillink_trace_spans_recorded_total 3"),
        "{recorded}"
    );
}

/// A port on which nobody answers.
fn silence() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn unreachable(log: &Path, endpoint: &str) {
    let variables = [
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
    ];
    let server = Server::start_logged(log, &with_traces(endpoint, &variables));
    // Many times as much as the queue takes.
    let begun = Instant::now();
    for _ in 0..200 {
        ok(server
            .post("/v1/settle")
            .json(&json!({"Y": matrix(9, 4)}))
            .send()
            .unwrap());
    }
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "requests waited for the collector: {took:?}"
    );
    let failed = eventually("failed exports", || {
        let text = server.get("/metrics").send().unwrap().text().unwrap();
        let line = "oscillink_trace_spans_exported_total{result=\"failed\"} ";
        let line = text.lines().find_map(|l| l.strip_prefix(line));
        line.and_then(|count| count.parse::<u64>().ok())
            .filter(|count| *count > 32)
    });
    assert!(failed <= 600);
    let begun = Instant::now();
    assert!(server.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(5));
    let text = fs::read_to_string(log).unwrap();
    let told = text.matches("traces cannot be exported").count();
    assert_eq!(told, 1, "{text}");
}

#[test]
fn a_collector_that_is_away_or_silent_slows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let away = silence().local_addr().unwrap();
    unreachable(&dir.path().join("away"), &format!("http://{away}"));
    let silent = silence();
    let address = silent.local_addr().unwrap();
    unreachable(&dir.path().join("silent"), &format!("http://{address}"));
}

#[test]
fn spans_that_wait_are_exported_at_the_end() {
    let collector = Collector::start().unwrap();
    let endpoint = collector.endpoint();
    let server = traced(
        &endpoint,
        &[
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
            ("OTEL_SERVICE_NAME", "named"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test",
            ),
        ],
    );
    ok(server
        .post("/v1/settle")
        .json(&json!({"Y": matrix(9, 4)}))
        .send()
        .unwrap());
    assert!(collector.spans().is_empty());
    assert!(server.terminate().success());
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert!(spans.iter().all(|span| span.service == "named"));
    assert!(collector.text().contains("deployment.environment.name"));
}
