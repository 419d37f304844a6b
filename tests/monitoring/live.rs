//! Every expression, evaluated by a Prometheus that scrapes a server which has done some work.

use std::collections::BTreeSet;

use serde_json::json;

use crate::expressions::references;
use crate::prometheus::Prometheus;
use crate::support::{Server, eventually, matrix, ok};
use crate::{cloud, dashboard};

/// Labels whose values come into being with what they are about.
const OPEN: [&str; 1] = ["problem"];

fn some_traffic(server: &Server) {
    let request = json!({"Y": matrix(24, 8), "psi": vec![1.0; 8]});
    let gated = json!({"Y": matrix(24, 8), "psi": vec![1.0; 8], "diffusion": {"enable": true}});
    ok(server.post("/v1/settle").json(&request).send().unwrap());
    ok(server
        .post("/v1/settle/diffusion")
        .json(&gated)
        .send()
        .unwrap());
    let job = server.submit("settle", &request);
    assert_eq!(server.ended(&job)["status"], "done");
    let unknown = server.get("/v1/jobs/job_0000000000000000000000").send();
    assert_eq!(unknown.unwrap().status(), 404);
}

/// The story of this file.
pub fn everything() {
    let server = Server::start();
    some_traffic(&server);
    let prometheus = Prometheus::start(Some(server.addr()));
    eventually("an evaluation of every recording rule", || {
        let rules = prometheus.rules("recording");
        let done = rules.iter().all(|rule| rule["health"] == "ok");
        let rates = "job:oscillink_http_requests:rate5m".to_owned();
        (done && prometheus.values_of("__name__").contains(&rates)).then_some(())
    });
    let recorded = prometheus.rules("recording");
    let names = |field: &str| -> Vec<String> {
        recorded
            .iter()
            .map(|rule| rule[field].as_str().unwrap().to_owned())
            .collect()
    };
    let mut metrics: BTreeSet<String> = prometheus.values_of("__name__").into_iter().collect();
    metrics.extend(names("name"));
    let labels: BTreeSet<String> =
        serde_json::from_value(prometheus.ask("/api/v1/labels", &[])).unwrap();

    let alerts = prometheus.rules("alerting");
    assert!(
        alerts.iter().all(|rule| rule["health"] == "ok"),
        "{alerts:?}"
    );
    let mut expressions = names("query");
    expressions.extend(
        alerts
            .iter()
            .map(|rule| rule["query"].as_str().unwrap().to_owned()),
    );
    expressions.extend(dashboard::expressions());
    expressions.extend(cloud::expressions());
    assert!(expressions.len() > 80, "{}", expressions.len());
    for expression in expressions {
        prometheus.ask("/api/v1/query", &[("query", &expression)]);
        let asked = references(&expression);
        for metric in asked.metrics {
            assert!(
                metrics.contains(&metric),
                "{metric} in {expression} is not exported"
            );
        }
        for label in asked.labels {
            assert!(
                labels.contains(&label),
                "no metric has the label {label} of {expression}"
            );
        }
        for (label, value) in asked.values {
            let known =
                OPEN.contains(&label.as_str()) || prometheus.values_of(&label).contains(&value);
            assert!(known, "{label} is never {value}, as {expression} asks");
        }
    }
    // Work was done: what shows it is not empty.
    for expression in [
        "sum(oscillink_jobs_total) > 0",
        "sum(oscillink_usage_node_dim_units_total) > 0",
        "oscillink_diffusion_gate_seconds_count > 0",
        "count(oscillink_build_info) == 1",
    ] {
        let answer = prometheus.ask("/api/v1/query", &[("query", expression)]);
        assert_eq!(
            answer["result"].as_array().unwrap().len(),
            1,
            "{expression}"
        );
    }
}
