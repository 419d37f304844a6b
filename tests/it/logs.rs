//! Log lines of the real server: for collectors and for people.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Server, eventually, matrix, ok};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text
        .lines()
        .filter(|line| !line.contains("\"event\":\"ready\""));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

#[test]
fn lines_are_what_cloud_logging_reads() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Server::start_logged(
        &log,
        &[
            ("OSCILLINK_LOG", "info"),
            ("OSCILLINK_LOG_FORMAT", "json"),
            ("GOOGLE_CLOUD_PROJECT", "some-project"),
        ],
    );
    let settle = server.post("/v1/settle").json(&json!({"Y": matrix(9, 4)}));
    let settle = settle.header("x-request-id", "the-request");
    let settle = settle.header("traceparent", format!("00-{TRACE}-{CLIENT}-01"));
    ok(settle.send().unwrap());
    let job = server.submit("settle", &json!({"Y": matrix(7, 3)}));
    server.ended(&job);
    server.get("/health").send().unwrap();
    server.get("/v1/nothing").send().unwrap();
    assert!(server.terminate().success());

    let lines = json_lines(&fs::read_to_string(&log).unwrap());
    for line in &lines {
        assert!(
            ["INFO", "WARNING"].contains(&line["severity"].as_str().unwrap()),
            "{line}"
        );
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(line["message"].is_string(), "{line}");
    }
    let of = |what: &str, test: &dyn Fn(&&Value) -> bool| {
        lines
            .iter()
            .find(test)
            .unwrap_or_else(|| panic!("no line of {what} in {lines:#?}"))
    };
    let answered = of("the request", &|line| line["request_id"] == "the-request");
    assert_eq!(answered["message"], "answered");
    assert_eq!((&answered["N"], &answered["D"]), (&json!(9), &json!(4)));
    assert!(answered["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(answered["quota_remaining"].as_u64().unwrap() > 0);
    assert_eq!(
        answered["key_hash"].as_str().unwrap().len(),
        12,
        "{answered}"
    );
    let http = &answered["httpRequest"];
    assert_eq!(http["requestMethod"], "POST");
    assert_eq!(http["requestUrl"], "/v1/settle");
    assert_eq!(http["status"], 200);
    assert!(http["latency"].as_str().unwrap().ends_with('s'));
    // The caller's trace, since the server makes none of its own.
    let trace = &answered["logging.googleapis.com/trace"];
    assert_eq!(trace, &format!("projects/some-project/traces/{TRACE}"));
    assert_eq!(answered["logging.googleapis.com/spanId"], CLIENT);
    assert_eq!(answered["logging.googleapis.com/trace_sampled"], true);

    let done = of("the job", &|line| line["message"] == "job done");
    assert_eq!(
        (&done["job_id"], &done["N"], &done["D"]),
        (&json!(job), &json!(7), &json!(3))
    );
    assert!(done["duration_ms"].is_f64() && done["request_id"].is_string());
    let unknown = of("the unknown path", &|line| {
        line["httpRequest"]["status"] == 404
    });
    assert_eq!(unknown["httpRequest"]["requestUrl"], "unmatched");
    let health = lines
        .iter()
        .find(|line| line.to_string().contains("/health"));
    assert!(health.is_none(), "probes are not logged: {health:?}");
}

#[cfg(feature = "otlp")]
#[test]
fn lines_name_the_span_that_they_were_written_in() {
    let collector = oscillink_emulators::collector::Collector::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let endpoint = collector.endpoint();
    let server = Server::start_logged(
        &log,
        &[
            ("OSCILLINK_LOG", "info"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_TRACES_SAMPLER", "always_on"),
        ],
    );
    let job = server.submit("settle", &json!({"Y": matrix(7, 3)}));
    server.ended(&job);
    assert!(server.terminate().success());
    let lines = json_lines(&fs::read_to_string(&log).unwrap());
    let done = lines
        .iter()
        .find(|line| line["message"] == "job done")
        .unwrap();
    let spans = collector.spans();
    let process = spans
        .iter()
        .find(|span| span.name == "process settle")
        .unwrap();
    assert_eq!(done["trace_id"], process.trace_id);
    assert_eq!(done["span_id"], process.span_id);
    assert_eq!(done["trace_sampled"], true);
}

#[test]
fn people_get_lines_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let variables = [("OSCILLINK_LOG", "info"), ("OSCILLINK_LOG_FORMAT", "human")];
    let server = Server::start_logged(&log, &variables);
    ok(server
        .post("/v1/settle")
        .json(&json!({"Y": matrix(9, 4)}))
        .send()
        .unwrap());
    let line = eventually("the line", || {
        let text = fs::read_to_string(&log).unwrap();
        text.lines()
            .find(|l| l.contains("answered"))
            .map(str::to_owned)
    });
    for part in [
        " INFO ",
        "request{",
        "http.route=\"/v1/settle\"",
        "N=9",
        "duration_ms=",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    assert!(
        !line.contains("otel.") && !line.contains('\u{1b}'),
        "{line}"
    );
}
