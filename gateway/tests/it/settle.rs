//! Synchronous work: answers, quota, charges.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Method;
use oscillink_domain::Tier;
use oscillink_gateway::Config;
use serde_json::Value;

use super::harness::{House, request, rows};

#[tokio::test]
async fn the_answer_has_the_documented_form() {
    let config = Config {
        receipt_secret: Some("receipt-secret".into()),
        ..Config::default()
    };
    let house = House::with(config, House::small().gateway.engine().config().clone());
    let key = house.key(Tier::Pro).await;
    let body = format!(
        r#"{{"Y": {}, "psi": [1, 0, 0], "chain": [0, 1, 2], "params": {{"kneighbors": 3}},
             "options": {{"bundle_k": 4, "signature_mode": "extended"}},
             "diffusion": {{"enable": true, "beta": 1.0, "gamma": 0.2, "kneighbors": 2}}}}"#,
        rows(10)
    );
    let answer = house.post(&key, "/v1/settle/diffusion", &body).await;
    let json = answer.json();
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let expected =
        |names: &[&str]| -> BTreeSet<String> { names.iter().map(|n| (*n).to_owned()).collect() };
    assert_eq!(
        keys(&json),
        expected(&[
            "bundle",
            "chain_receipt",
            "meta",
            "receipt",
            "state_sig",
            "timings_ms"
        ])
    );
    assert_eq!(
        keys(&json["meta"]),
        expected(&[
            "D",
            "N",
            "diffusion",
            "kneighbors_effective",
            "kneighbors_requested",
            "lam",
            "quota",
            "request_id",
            "usage"
        ])
    );
    assert_eq!(
        keys(&json["meta"]["diffusion"]),
        expected(&[
            "beta",
            "gamma",
            "gate_max",
            "gate_mean",
            "gate_min",
            "graph_k"
        ])
    );
    assert_eq!(
        json["meta"]["lam"],
        serde_json::json!({"G": 1.0, "C": 0.5, "Q": 4.0, "P": 0.0})
    );
    assert_eq!(json["meta"]["usage"]["node_dim_units"], 30);
    assert_eq!(json["meta"]["usage"]["monthly"]["used"], 30);
    assert_eq!(json["meta"]["quota"]["remaining"], 970);
    assert_eq!(json["meta"]["request_id"], answer.header("x-request-id"));
    assert_eq!(
        json["receipt"]["meta"]["signature"]["payload"]["mode"],
        "extended"
    );
    assert!(json["timings_ms"]["diffusion_gate_ms"].is_number());
    assert_eq!(answer.header("x-quota-limit"), "1000");
    assert_eq!(answer.header("x-quota-remaining"), "970");
    assert_eq!(answer.header("x-monthly-used"), "30");
    assert!(
        answer.header("ratelimit").contains("\"units\";r=970;t="),
        "{answer:?}"
    );
    let free = house.key(Tier::Free).await;
    let unsigned = house
        .post(&free, "/v1/receipt", &format!(r#"{{"Y": {}}}"#, rows(3)))
        .await;
    assert!(
        unsigned.json()["receipt"]["meta"]
            .get("signature")
            .is_none()
    );
}

#[tokio::test]
async fn each_route_has_its_parts() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let body = format!(r#"{{"Y": {}, "chain": [0, 1]}}"#, rows(9));
    for (path, parts) in [
        ("/v1/settle", ["receipt", "chain_receipt"].as_slice()),
        ("/v1/settle/diffusion", &["receipt", "chain_receipt"]),
        ("/v1/receipt", &["receipt"]),
        ("/v1/bundle", &["bundle"]),
        ("/v1/chain/receipt", &["chain_receipt"]),
    ] {
        let json = house.post(&key, path, &body).await.json();
        let found: Vec<&str> = ["receipt", "bundle", "chain_receipt"]
            .into_iter()
            .filter(|part| json.get(part).is_some())
            .collect();
        assert_eq!(found, parts, "{path}");
    }
    let answer = house
        .post(
            &key,
            "/v1/chain/receipt",
            &format!(r#"{{"Y": {}}}"#, rows(3)),
        )
        .await;
    assert_eq!(answer.fields(), ["chain"]);
    let answer = house
        .post(
            &key,
            "/v1/settle",
            r#"{"Y": [[1, NaN]], "callback_url": "x"}"#,
        )
        .await;
    assert_eq!(answer.fields(), ["Y[0][1]"]);
    let answer = house.post(
        &key,
        "/v1/settle",
        r#"{"Y": [[1]], "callback_url": "https://a.b"}"#,
    );
    assert_eq!(answer.await.fields(), ["callback_url"]);
}

#[tokio::test]
async fn arrays_come_in_json_or_as_npy() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let body = format!(r#"{{"Y": {}, "options": {{"array": "u"}}}}"#, rows(4));
    let json = house.post(&key, "/v1/settle", &body).await.json();
    assert_eq!(json["arrays"]["u"].as_array().unwrap().len(), 4);
    let npy = request(Method::POST, "/v1/settle", &key)
        .header("content-type", "application/json")
        .header("accept", "application/x-npy, */*;q=0.1")
        .body(Body::from(body))
        .unwrap();
    let npy = house.send(npy).await;
    assert_eq!(npy.header("content-type"), "application/x-npy");
    assert_eq!(npy.body.len(), 128 + 4 * 4 * 3);
}

#[tokio::test]
async fn the_quota_holds_and_every_answer_is_in_the_ledger() {
    let house = House::small();
    let key = house.key(Tier::Free).await;
    let body = format!(r#"{{"Y": {}}}"#, rows(20));
    let post = |id: &'static str| {
        let request = request(Method::POST, "/v1/settle", &key)
            .header("content-type", "application/json")
            // The same id again is no way to work for free.
            .header("x-request-id", id)
            .body(Body::from(body.clone()))
            .unwrap();
        house.send(request)
    };
    for _ in 0..16 {
        assert_eq!(post("same").await.status, 200);
        house.clock.advance(1);
    }
    let refused = post("same").await;
    let detail = refused.problem(429);
    assert!(
        detail.contains("60 units") && detail.contains("40 of 1000"),
        "{detail}"
    );
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert_eq!(refused.header("x-quota-remaining"), "40");
    house.clock.advance(wait * 1_000);
    assert_eq!(post("same").await.status, 200);

    let usage = house.get(&key, "/v1/usage").await.json();
    assert_eq!(usage["month"]["used"], 17 * 60);
    assert_eq!(usage["window"]["used"], 60);
    let first = house.get(&key, "/v1/usage/ledger?limit=10").await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 10);
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/v1/usage/ledger?limit=10&cursor={cursor}");
    let second = house.get(&key, &path).await.json();
    assert_eq!(second["items"].as_array().unwrap().len(), 7);
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(second["items"][6]["seq"], 1);
    let csv = house
        .get(&key, "/v1/usage/ledger?format=csv&limit=100")
        .await;
    assert_eq!(String::from_utf8(csv.body).unwrap().lines().count(), 18);
    for (query, field) in [
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("format=xml", "format"),
    ] {
        assert_eq!(
            house
                .get(&key, &format!("/v1/usage/ledger?{query}"))
                .await
                .fields(),
            [field]
        );
    }
}

#[tokio::test]
async fn metrics_count_the_work() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let body = format!(r#"{{"Y": {}, "diffusion": {{}}}}"#, rows(7));
    house.post(&key, "/v1/settle/diffusion", &body).await;
    house.post(&key, "/v1/settle", "{}").await.problem(400);
    let text = String::from_utf8(house.get(&key, "/metrics").await.body).unwrap();
    for line in [
        r#"oscillink_settle_requests_total{status="ok"} 1"#,
        r#"oscillink_settle_requests_total{status="rejected"} 1"#,
        r#"oscillink_diffusion_requests_total{status="ok"} 1"#,
        "oscillink_settle_latency_seconds_count 2",
        "oscillink_diffusion_gate_ms_count 1",
        "oscillink_usage_nodes_total 7",
        "oscillink_usage_node_dim_units_total 21",
    ] {
        assert!(text.contains(line), "missing {line} in\n{text}");
    }
}

#[tokio::test]
async fn the_weights_of_accept_decide_the_form_of_an_array() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let body = format!(r#"{{"Y": {}, "options": {{"array": "u"}}}}"#, rows(5));
    let (npy, json) = ("application/x-npy", "application/json");
    for (accept, expected) in [
        ("application/x-npy", npy),
        ("application/json, application/x-npy", npy),
        ("application/x-npy;q=0.5, */*;q=0.1", npy),
        ("application/x-npy;q=0.5,application/json;q=0.9", json),
        ("application/x-npy;q=0, application/json", json),
        ("*/*", json),
    ] {
        let request = request(Method::POST, "/v1/settle", &key)
            .header("content-type", "application/json")
            .header("accept", accept);
        let answer = house.send(request.body(Body::from(body.clone())).unwrap());
        assert_eq!(answer.await.header("content-type"), expected, "{accept}");
    }
    // A job's array has one form: only who refuses it goes without.
    let job = house.post(&key, "/v1/jobs/settle", &body).await;
    let path = format!("{}/result?array=u", job.header("location"));
    for (accept, status) in [
        ("application/x-npy;q=0, application/json", 406),
        ("application/x-npy;q=0.5,application/json;q=0.9", 409),
        ("*/*", 409),
    ] {
        let request = request(Method::GET, &path, &key).header("accept", accept);
        let answer = house.send(request.body(Body::empty()).unwrap()).await;
        answer.problem(status);
    }
}
