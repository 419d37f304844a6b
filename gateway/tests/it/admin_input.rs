//! What operators send that is not meant, or said in two places.

use axum::body::Body;
use axum::http::Method;
use oscillink_domain::{ApiKey, Tier};
use serde_json::{Value, json};

use super::admin::{SECRET, house, post};
use super::harness::{request, rows};

#[tokio::test]
async fn errors_of_documents_name_the_field_by_its_path_in_plain_words() {
    let house = house();
    let whole = "must be a whole number, 0 or more, and not too large";
    for (path, body, field, detail) in [
        (
            "/keys",
            json!({"name": "a", "tier": "gold"}),
            "tier",
            "must be one of free, beta, pro, enterprise",
        ),
        (
            "/keys",
            json!({"name": "a", "tier": "pro", "overrides": {"max_nodes": "many"}}),
            "overrides.max_nodes",
            whole,
        ),
        (
            "/keys",
            json!({"name": "a", "tier": "pro", "overrides": {"max_nodes": -1}}),
            "overrides.max_nodes",
            whole,
        ),
        ("/keys", json!({"tier": "pro"}), "name", "is missing"),
        (
            "/keys/introspect",
            json!({"api_key": 5}),
            "api_key",
            "must be a text",
        ),
        ("/jobs/cancel", json!({"limit": "all"}), "limit", whole),
        (
            "/callbacks/redeliver",
            json!({"limit": 1.5}),
            "limit",
            whole,
        ),
    ] {
        let answer = post(&house, path, body.clone()).await;
        assert_eq!(answer.fields(), [field], "{body}");
        assert_eq!(answer.problem(400), format!("{field}: {detail}"), "{body}");
    }
    for (member, value) in [
        ("status", json!("lost")),
        ("kind", json!("bundle")),
        ("queue", json!("none")),
        ("key_id", json!("x")),
    ] {
        let answer = post(&house, "/jobs/cancel", json!({member: value})).await;
        assert_eq!(answer.fields(), [member]);
        let detail = answer.problem(400);
        assert!(
            !detail.contains("variant") && !detail.contains("line"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn every_list_refuses_parameters_that_it_does_not_have() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let document = oscillink_gateway::openapi::document();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array();
        let queried = |all: &Vec<Value>| all.iter().any(|parameter| parameter["in"] == "query");
        if !parameters.is_some_and(queried) {
            continue;
        }
        let id = if path.contains("/jobs/") {
            "job_0000000000000000000000"
        } else {
            "key_0000000000000000000000"
        };
        let path = format!("{}?nonsense=1", path.replace("{id}", id));
        let request = request(Method::GET, &path, &key).header("x-admin-secret", SECRET);
        let answer = house.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.fields(), ["nonsense"], "{path}");
        asked += 1;
    }
    assert!(asked >= 9, "{asked}");
}

#[tokio::test]
async fn only_dead_letters_are_retried() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let body = format!(r#"{{"Y": {}}}"#, rows(3));
    let job = house.post(&key, "/v1/jobs/settle", &body).await.json();
    let path = format!("/jobs/{}/retry", job["job_id"].as_str().unwrap());
    post(&house, "/jobs/cancel", json!({"all": true})).await;
    let detail = post(&house, &path, json!({})).await.problem(409);
    assert!(
        detail.contains("cancelled") && detail.contains("dead letter"),
        "{detail}"
    );
    post(&house, "/jobs/job_0000000000000000000000/retry", json!({}))
        .await
        .problem(404);
}

#[tokio::test]
async fn a_filter_that_cannot_be_meant_is_explained() {
    let house = house();
    let both = post(
        &house,
        "/jobs/cancel",
        json!({"status": "done", "all": true}),
    )
    .await;
    assert_eq!(both.fields(), ["all"]);
    let detail = both.problem(400);
    assert!(detail.contains("filter (status)"), "{detail}");
    let none = post(&house, "/jobs/cancel", json!({})).await;
    assert!(none.problem(400).contains("give a filter"));
}

#[tokio::test]
async fn an_operator_says_the_overlap_in_the_query_or_the_body() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let id = house.get(&key, "/v1/keys/self").await.json()["key_id"].clone();
    let path = format!("/keys/{}/rotate", id.as_str().unwrap());
    for (path, body, field) in [
        (format!("{path}?overlap_secs=0"), json!({}), "overlap_secs"),
        (path.clone(), json!({"overlap": 0}), "overlap"),
        (path.clone(), json!([0]), "body"),
    ] {
        assert_eq!(post(&house, &path, body).await.fields(), [field]);
    }
    assert_eq!(house.get(&key, "/v1/usage").await.status, 200);
    let rotated = post(&house, &path, json!({"overlap_seconds": 0})).await;
    assert_eq!(rotated.status, 200);
    house.get(&key, "/v1/usage").await.problem(401);
}

#[tokio::test]
async fn diffusion_switched_off_for_a_key_is_the_operators_to_switch_on() {
    let house = house();
    let new = json!({"name": "a", "tier": "pro", "overrides": {"diffusion": false}});
    let made = post(&house, "/keys", new).await.json();
    let key = ApiKey::parse(made["api_key"].as_str().unwrap()).unwrap();
    let body = format!(
        r#"{{"Y": {}, "psi": [1, 0, 0], "diffusion": {{}}}}"#,
        rows(5)
    );
    let detail = house.post(&key, "/v1/settle", &body).await.problem(402);
    assert!(
        detail.contains("switched off for this key") && detail.contains("operator"),
        "{detail}"
    );
    assert!(!detail.contains("upgrade"), "{detail}");
}
