//! Callbacks as clients see them: where they may go, their secret, and asking for one again.

use axum::body::Body;
use axum::http::Method;
use oscillink_domain::callback::Attempted;
use oscillink_domain::{ApiKey, JobId, Tier};
use oscillink_engine::{CallbackTask, EngineConfig};
use oscillink_gateway::Config;
use secrecy::SecretString;
use serde_json::json;

use super::harness::{Answer, House, busy, request, rows};

fn house() -> House {
    let engine = EngineConfig {
        callback_secret: Some(SecretString::from("the service's own secret")),
        callback_attempts: 1,
        ..EngineConfig::default()
    };
    House::with(Config::default(), engine)
}

fn body(url: &str) -> String {
    format!(r#"{{"Y": {}, "callback_url": "{url}"}}"#, rows(3))
}

async fn cancelled_job(house: &House, key: &ApiKey) -> String {
    let body = body("https://hooks.example.com/");
    let job = house.post(key, "/v1/jobs/settle", &body);
    let id = job.await.json()["job_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}");
    let cancel = request(Method::DELETE, &path, key).body(Body::empty());
    assert_eq!(house.send(cancel.unwrap()).await.status, 200);
    id
}

async fn keyed(house: &House, key: &ApiKey, path: &str, idempotency: &str) -> Answer {
    let request = request(Method::POST, path, key).header("idempotency-key", idempotency);
    house.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn callbacks_go_to_public_addresses_and_only_where_they_can_be_signed() {
    let open = house();
    let key = open.key(Tier::Pro).await;
    for url in [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://[fd00::1]/",
        "https://169.254.169.254/latest",
        "https://0x7f.1/",
        "https://printer.local/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com\\\\@10.0.0.1/",
    ] {
        let refused = open.post(&key, "/v1/jobs/settle", &body(url)).await;
        assert_eq!(refused.fields(), ["callback_url"], "{url}");
    }
    let closed = House::new();
    let key = closed.key(Tier::Pro).await;
    let body = body("https://hooks.example.com/");
    let job = closed.post(&key, "/v1/jobs/settle", &body);
    let detail = job.await.problem(403);
    assert!(detail.contains("callback_url"), "{detail}");
    closed
        .get(&key, "/v1/keys/self/callback-secret")
        .await
        .problem(403);
}

#[tokio::test]
async fn a_key_has_a_secret_of_its_own_and_rotates_it_once_for_each_idempotency_key() {
    let house = house();
    let (one, two) = (house.key(Tier::Pro).await, house.key(Tier::Pro).await);
    let path = "/v1/keys/self/callback-secret";
    let secret = |answer: Answer| answer.json()["secret"].as_str().unwrap().to_owned();
    let first = secret(house.get(&one, path).await);
    assert!(first.starts_with("whsec_"), "{first}");
    assert_eq!(secret(house.get(&one, path).await), first);
    assert_ne!(secret(house.get(&two, path).await), first);

    let rotate = format!("{path}/rotate?overlap_seconds=60");
    let rotated = keyed(&house, &one, &rotate, "r1").await;
    assert_eq!(rotated.header("idempotency-replayed"), "");
    let second = secret(rotated);
    let again = keyed(&house, &one, &rotate, "r1").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(secret(again), second);
    keyed(&house, &one, &format!("{path}/rotate"), "r1")
        .await
        .problem(422);
    let shown = house.get(&one, path).await.json();
    assert_eq!(shown["secret"], second.as_str());
    assert!(shown["previous_signs_until"].is_string());
    house.clock.advance(60_000);
    let later = house.get(&one, path).await.json();
    assert!(later["previous_signs_until"].is_null());
}

#[tokio::test]
async fn the_job_tells_how_far_its_callback_is_and_it_can_be_asked_for_again() {
    let house = house();
    let (owner, other) = (house.key(Tier::Pro).await, house.key(Tier::Pro).await);
    let id = cancelled_job(&house, &owner).await;
    let path = format!("/v1/jobs/{id}");
    let pending = house.get(&owner, &path).await;
    assert_eq!(pending.json()["callback"]["status"], "pending");
    let task = CallbackTask {
        job_id: id.parse::<JobId>().unwrap(),
        dispatch: 0,
    };
    let failed = Attempted {
        status: Some(503),
        error: Some("the receiver answered 503".to_owned()),
        is_final: false,
    };
    let engine = house.gateway.engine();
    busy(engine.record_callback(&task, failed)).await.unwrap();
    let dead = house.get(&owner, &path).await;
    assert_ne!(dead.header("etag"), pending.header("etag"));
    let callback = dead.json()["callback"].clone();
    assert_eq!(
        (&callback["status"], &callback["last_status"]),
        (&json!("undelivered"), &json!(503))
    );
    let redeliver = format!("{path}/callback/redeliver");
    house.post(&other, &redeliver, "").await.problem(404);
    let again = house.post(&owner, &redeliver, "").await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json()["callback"]["status"], "pending");
    let first = keyed(&house, &owner, &redeliver, "again").await;
    let repeat = keyed(&house, &owner, &redeliver, "again").await;
    assert_eq!(first.body, repeat.body);
    assert_eq!(repeat.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn there_must_be_a_callback_and_an_end_to_report() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let without = format!(r#"{{"Y": {}}}"#, rows(3));
    let with = body("https://hooks.example.com/");
    for (json, reason) in [(without, "no callback_url"), (with, "queued")] {
        let job = house.post(&key, "/v1/jobs/settle", &json).await.json();
        let path = format!(
            "/v1/jobs/{}/callback/redeliver",
            job["job_id"].as_str().unwrap()
        );
        let detail = house.post(&key, &path, "").await.problem(409);
        assert!(detail.contains(reason), "{detail}");
    }
}
