//! Stories over HTTP that need the whole program: keys, limits, jobs, health.

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::{Server, eventually, matrix, npy, ok};

#[test]
fn the_health_of_the_server_needs_no_key() {
    let server = Server::start();
    let http = Client::new();
    for path in ["/health", "/ready", "/metrics"] {
        let response = http.get(format!("{}{path}", server.url)).send().unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    let without_key = http.get(format!("{}/v1/jobs", server.url)).send().unwrap();
    assert_eq!(without_key.status(), 401);
    let unknown = http
        .get(format!("{}/v1/jobs", server.url))
        .header("x-api-key", "ok_not-a-known-key");
    assert_eq!(unknown.send().unwrap().status(), 401);
    let bearer = http
        .get(format!("{}/v1/jobs", server.url))
        .bearer_auth(&server.key);
    assert_eq!(bearer.send().unwrap().status(), 200);
}

#[test]
fn numpy_bytes_and_json_give_the_same_answer() {
    let server = Server::start();
    let rows = matrix(50, 12);
    let from_json = json!({"Y": rows, "psi": rows[7], "options": {"bundle_k": 4}});
    let from_json = ok(server.post("/v1/settle").json(&from_json).send().unwrap());
    let from_npy = server
        .post("/v1/settle?psi_row=7&bundle_k=4")
        .header("content-type", "application/x-npy")
        .body(npy(&rows));
    let from_npy = ok(from_npy.send().unwrap());
    assert_eq!(from_json["state_sig"], from_npy["state_sig"]);
    assert_eq!(from_json["bundle"], from_npy["bundle"]);
}

#[test]
fn tiers_and_quotas_hold() {
    let server = Server::start_with(&[
        ("OSCILLINK_API_KEYS", "free-key-0001,pro-key-00001"),
        ("OSCILLINK_KEY_TIERS", "pro-key-00001:pro"),
        ("OSCILLINK_KEY_NODE_UNITS_LIMIT", "1000"),
        ("OSCILLINK_HOST", "127.0.0.1"),
    ]);
    assert!(
        server.key.is_empty(),
        "configured keys leave no room for a development key"
    );
    let http = Client::new();
    let settle = |key: &str, route: &str, rows: usize| {
        let mut request = json!({"Y": matrix(rows, 10), "options": {"include_receipt": false}});
        if route.ends_with("diffusion") {
            request["diffusion"] = json!({"gamma": 0.2});
        }
        let request = http
            .post(format!("{}{route}", server.url))
            .header("x-api-key", key)
            .json(&request);
        request.send().unwrap()
    };
    assert_eq!(
        settle("free-key-0001", "/v1/settle/diffusion", 5).status(),
        402
    );
    assert_eq!(
        settle("pro-key-00001", "/v1/settle/diffusion", 5).status(),
        200
    );
    assert_eq!(settle("free-key-0001", "/v1/settle", 60).status(), 200);
    let over = settle("free-key-0001", "/v1/settle", 60);
    assert_eq!(over.status(), 429);
    assert!(over.headers().contains_key("retry-after"));
    assert_eq!(
        settle("free-key-0001", "/v1/settle", 40).status(),
        200,
        "what is left can be used"
    );
}

#[test]
fn a_running_job_stops_when_it_is_cancelled() {
    let server = Server::start_with(&[
        ("OSCILLINK_WORKER_CONCURRENCY", "1"),
        ("OSCILLINK_WORKER_THREADS", "1"),
        ("OSCILLINK_JOB_LEASE", "2"),
    ]);
    let large = npy(&matrix(30_000, 256));
    let running = server.submit_npy(&large);
    let waiting = server.submit_npy(&large);
    eventually("the first job at work", || {
        (server.fetch(&format!("/v1/jobs/{running}"))["status"] == "running").then_some(())
    });
    let cancel = |id: &str| ok(server.delete(&format!("/v1/jobs/{id}")).send().unwrap());
    assert_eq!(cancel(&waiting)["status"], "cancelled");
    cancel(&running);
    let ended = server.ended(&running);
    assert!(
        ["cancelled", "done"].contains(&ended["status"].as_str().unwrap()),
        "{ended}"
    );
    let expected = usize::from(ended["status"] == "done");
    assert_eq!(
        server.ledger().len(),
        expected,
        "cancelled work is not charged"
    );
}

#[test]
fn an_idempotency_key_makes_one_job() {
    let server = Server::start();
    let submit = |rows: usize| {
        let request = json!({"Y": matrix(rows, 4)});
        server
            .post("/v1/jobs/settle")
            .header("idempotency-key", "a")
            .json(&request)
            .send()
            .unwrap()
    };
    let first: Value = ok(submit(10));
    assert_eq!(ok(submit(10))["job_id"], first["job_id"]);
    assert_eq!(submit(11).status(), 422);
}

#[test]
fn work_too_large_to_wait_for_becomes_a_job_with_the_parts_of_its_route() {
    let server = Server::start_with(&[("OSCILLINK_MAX_NODES", "20")]);
    let request = json!({"Y": matrix(60, 4), "options": {"bundle_k": 3}});
    for (path, parts) in [
        ("/v1/settle", [true, true]),
        ("/v1/receipt", [true, false]),
        ("/v1/bundle", [false, true]),
    ] {
        let sent = server.post(path).header("prefer", "respond-async");
        let accepted = sent.json(&request).send().unwrap();
        assert_eq!(accepted.status(), 202, "{path}");
        let id = accepted.json::<Value>().unwrap()["job_id"].clone();
        let result = &server.ended(id.as_str().unwrap())["result"];
        let has = ["receipt", "bundle"].map(|part| !result[part].is_null());
        assert_eq!(has, parts, "{path}: {result}");
    }
}
