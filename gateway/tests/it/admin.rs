//! Operators' routes.

use axum::body::Body;
use axum::http::{Method, Request};
use oscillink_domain::billing::EventStatus;
use oscillink_domain::{ApiKey, Tier};
use oscillink_gateway::Config;
use oscillink_ports::EventHandler as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::harness::{Answer, House, busy, request, rows};

pub const SECRET: &str = "an operator's secret";

pub fn house() -> House {
    let config = Config {
        admin_secret: Some(SecretString::from(SECRET)),
        ..Config::default()
    };
    House::with(config, Default::default())
}

async fn admin(house: &House, method: Method, path: &str, body: Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/admin{path}"))
        .header("x-admin-secret", SECRET)
        .header("content-type", "application/json");
    house
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

async fn get(house: &House, path: &str) -> Value {
    let answer = admin(house, Method::GET, path, json!({})).await;
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    answer.json()
}

pub async fn post(house: &House, path: &str, body: Value) -> Answer {
    admin(house, Method::POST, path, body).await
}

#[tokio::test]
async fn only_the_secret_opens_them_and_without_one_they_do_not_exist() {
    let open = house();
    let key = open.key(Tier::Enterprise).await;
    open.get(&key, "/v1/admin/keys").await.problem(401);
    let wrong = request(Method::GET, "/v1/admin/keys", &key).header("x-admin-secret", "guess");
    open.send(wrong.body(Body::empty()).unwrap())
        .await
        .problem(401);
    let closed = House::new();
    for path in ["/keys", "/queues", "/system/sweep", "/jobs/dead-letters"] {
        admin(&closed, Method::GET, path, json!({}))
            .await
            .problem(404);
    }
}

#[tokio::test]
async fn a_key_is_made_changed_rotated_and_revoked() {
    let house = house();
    let made = post(&house, "/keys", json!({"name": "Acme", "tier": "pro"})).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let secret = ApiKey::parse(made["api_key"].as_str().unwrap()).unwrap();
    let path = format!("/keys/{}", made["key_id"].as_str().unwrap());
    assert_eq!(
        house.get(&secret, "/v1/keys/self").await.json()["tier"],
        "pro"
    );
    assert!(
        get(&house, &path).await.get("api_key").is_none(),
        "shown once"
    );
    let found = post(
        &house,
        "/keys/introspect",
        json!({"api_key": secret.reveal()}),
    )
    .await;
    assert_eq!(found.json()["key_id"], made["key_id"]);

    let change = json!({"tier": "beta", "overrides": {"max_nodes": 7}});
    let changed = admin(&house, Method::PATCH, &path, change).await.json();
    assert_eq!(
        (&changed["tier"], &changed["name"]),
        (&json!("beta"), &json!("Acme"))
    );
    let own = house.get(&secret, "/v1/keys/self").await.json();
    assert_eq!(
        (&own["tier"], &own["limits"]["max_nodes"]),
        (&json!("beta"), &json!(7))
    );
    admin(&house, Method::PATCH, &path, json!({"status": "suspended"})).await;
    house.get(&secret, "/v1/usage").await.problem(403);
    admin(&house, Method::PATCH, &path, json!({"status": "active"})).await;

    let rotated = post(
        &house,
        &format!("{path}/rotate?overlap_seconds=0"),
        json!({}),
    )
    .await;
    let fresh = ApiKey::parse(rotated.json()["api_key"].as_str().unwrap()).unwrap();
    house.get(&secret, "/v1/usage").await.problem(401);
    assert_eq!(house.get(&fresh, "/v1/usage").await.status, 200);

    for _ in 0..2 {
        let revoked = post(&house, &format!("{path}/revoke"), json!({})).await;
        assert_eq!(revoked.json()["status"], "revoked");
    }
    house.get(&fresh, "/v1/usage").await.problem(401);
    let again = admin(&house, Method::PATCH, &path, json!({"status": "active"})).await;
    again.problem(409);
    let listed = get(&house, "/keys?limit=1").await;
    assert_eq!(listed["items"][0]["key_id"], made["key_id"]);
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let house = house();
    for (body, word) in [
        (json!({}), "name"),
        (json!({"name": "", "tier": "pro"}), "name"),
        (json!({"name": "a", "tier": "gold"}), "tier"),
        (json!({"name": "a", "tier": "pro", "color": 1}), "color"),
        (
            json!({"name": "a", "tier": "pro", "overrides": [null]}),
            "overrides: must be an object",
        ),
        (json!(["a", "pro"]), "object"),
        (
            json!({"name": "a", "tier": "pro", "overrides": {"speed": 1}}),
            "speed",
        ),
    ] {
        let detail = post(&house, "/keys", body).await.problem(400);
        assert!(detail.contains(word), "{detail}");
    }
    for path in [
        "/keys/x",
        "/keys/key_0000000000000000000000",
        "/jobs/x",
        "/keys/x/usage",
    ] {
        admin(&house, Method::GET, path, json!({}))
            .await
            .problem(404);
    }
    for body in [
        json!({}),
        json!({"all": true, "kind": "settle"}),
        json!({"all": true, "limit": 0}),
    ] {
        post(&house, "/jobs/cancel", body).await.problem(400);
    }
    post(&house, "/queues/none/pause", json!({}))
        .await
        .problem(404);
}

#[tokio::test]
async fn jobs_that_match_are_cancelled_a_bounded_number_at_a_time() {
    let house = house();
    let (one, two) = (house.key(Tier::Pro).await, house.key(Tier::Pro).await);
    let body = format!(r#"{{"Y": {}, "chain": [0, 1]}}"#, rows(5));
    for (key, kind, count) in [(&one, "settle", 3), (&one, "chain", 2), (&two, "settle", 2)] {
        for _ in 0..count {
            let path = format!("/v1/jobs/{kind}");
            assert_eq!(house.post(key, &path, &body).await.status, 202);
            house.clock.advance(1);
        }
    }
    let id = house.get(&one, "/v1/keys/self").await.json()["key_id"].clone();
    let filter = json!({"key_id": id, "kind": "settle", "limit": 2});
    let first = post(&house, "/jobs/cancel", filter.clone()).await.json();
    assert_eq!(first, json!({"cancelled": 2, "stopping": 0, "more": true}));
    let second = post(&house, "/jobs/cancel", filter).await.json();
    assert_eq!(
        (&second["cancelled"], &second["more"]),
        (&json!(1), &json!(false))
    );
    let live = get(&house, "/jobs?queue=settle").await;
    assert_eq!(live["items"].as_array().unwrap().len(), 4);
    let job = live["items"][0].clone();
    assert_eq!(
        get(
            &house,
            &format!("/jobs/{}", job["job_id"].as_str().unwrap())
        )
        .await,
        job
    );
    let rest = post(&house, "/jobs/cancel", json!({"all": true}))
        .await
        .json();
    assert_eq!(rest["cancelled"], 4);
    assert_eq!(house.get(&two, "/v1/usage").await.json()["live_jobs"], 0);
}

#[tokio::test]
async fn queues_tiers_usage_and_the_sweep_are_seen() {
    let house = house();
    let key = house.key(Tier::Free).await;
    let body = format!(r#"{{"Y": {}}}"#, rows(5));
    house.post(&key, "/v1/settle", &body).await;
    house.post(&key, "/v1/jobs/settle", &body).await;
    let queues = get(&house, "/queues").await;
    let names: Vec<_> = queues["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| &q["queue"])
        .collect();
    assert_eq!(names, ["settle", "diffusion", "priority", "callback"]);
    assert_eq!(queues["items"][0]["live_jobs"], 1);
    assert!(
        queues["items"][0]["retry"]["dispatch_window"]
            .as_u64()
            .unwrap()
            > 0
    );
    let tiers = get(&house, "/tiers").await;
    assert_eq!(tiers["items"][0]["limits"]["monthly_units"], 5_000_000);
    let id = house.get(&key, "/v1/keys/self").await.json()["key_id"].clone();
    let path = format!("/keys/{}", id.as_str().unwrap());
    assert_eq!(
        get(&house, &format!("{path}/usage")).await["month"]["used"],
        15
    );
    let ledger = get(&house, &format!("{path}/ledger")).await;
    assert_eq!(ledger["items"][0]["event"], "settle");
    let swept = post(&house, "/system/sweep", json!({})).await;
    assert_eq!(swept.json()["expired"], 0);
    for (path, paused) in [
        ("/queues/settle/pause", true),
        ("/queues/settle/resume", false),
    ] {
        let answer = post(&house, path, json!({})).await;
        assert_eq!(answer.status, 200);
        let _ = paused;
    }
    assert_eq!(get(&house, "/jobs/dead-letters").await["items"], json!([]));
}

#[tokio::test]
async fn messages_of_the_payment_provider_are_listed_shown_and_replayed() {
    let house = house();
    let engine = house.gateway.engine();
    let failed = EventStatus::Failed;
    for (id, status) in [
        ("evt_1", None),
        ("evt_2", Some(failed)),
        ("evt_3", Some(failed)),
    ] {
        let raw = format!("{{\"id\":\"{id}\"}}");
        engine
            .record_webhook_event(id, "invoice.paid", &raw)
            .await
            .unwrap();
        if let Some(status) = status {
            let why = Some("no such price".to_owned());
            engine.close_webhook_event(id, status, why).await.unwrap();
        }
        house.clock.advance(10);
    }
    let page = get(&house, "/webhook-events?limit=2").await;
    assert_eq!(page["items"][0]["id"], "evt_3");
    assert!(page["items"][0].get("raw").is_none());
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = get(&house, &format!("/webhook-events?limit=2&cursor={cursor}")).await;
    assert_eq!(rest["items"][0]["id"], "evt_1");
    assert!(rest["next_cursor"].is_null());
    let list = get(&house, "/webhook-events?status=failed").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][1]["error"], "no such price");

    let shown = get(&house, "/webhook-events/evt_2").await;
    assert_eq!(shown["raw"], "{\"id\":\"evt_2\"}");
    for outcome in ["opened", "already_open"] {
        let answer = post(&house, "/webhook-events/evt_2/replay", json!({})).await;
        assert_eq!(answer.json()["outcome"], outcome);
    }
    let opened = get(&house, "/webhook-events/evt_2").await;
    assert_eq!(
        (&opened["status"], &opened["attempts"]),
        (&json!("received"), &json!(0))
    );
    post(&house, "/webhook-events/evt_9/replay", json!({}))
        .await
        .problem(404);
    post(&house, "/webhook-events/a%2Fb/replay", json!({}))
        .await
        .problem(404);
    let wrong = admin(
        &house,
        Method::GET,
        "/webhook-events?status=lost",
        json!({}),
    )
    .await;
    assert_eq!(wrong.fields(), ["status"]);
    assert_eq!(get(&house, "/prices").await["items"], json!([]));
}

async fn once(house: &House, path: &str, idempotency: &str, body: Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v1/admin{path}"))
        .header("x-admin-secret", SECRET)
        .header("idempotency-key", idempotency);
    house
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

#[tokio::test]
async fn a_key_is_made_and_rotated_once_for_each_idempotency_key_and_no_secret_is_kept() {
    let house = house();
    let acme = json!({"name": "Acme", "tier": "pro"});
    let first = once(&house, "/keys", "make", acme.clone()).await;
    let again = once(&house, "/keys", "make", acme).await;
    assert_eq!(
        (first.status, again.status),
        (201.try_into().unwrap(), 201.try_into().unwrap())
    );
    assert_eq!(first.json()["api_key"], again.json()["api_key"]);
    assert_eq!(
        get(&house, "/keys").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    once(
        &house,
        "/keys",
        "make",
        json!({"name": "Other", "tier": "pro"}),
    )
    .await
    .problem(422);

    let path = format!("/keys/{}/rotate", first.json()["key_id"].as_str().unwrap());
    let rotated = once(&house, &path, "turn", json!({})).await.json();
    let repeat = once(&house, &path, "turn", json!({})).await.json();
    assert_ne!(rotated["api_key"], first.json()["api_key"]);
    assert_eq!(rotated["api_key"], repeat["api_key"]);
    assert_eq!(repeat["secrets"].as_array().unwrap().len(), 2);
    let stored = house.stored();
    for secret in [&first.json()["api_key"], &rotated["api_key"]] {
        assert!(!stored.contains(secret.as_str().unwrap()), "kept in clear");
    }
}

#[tokio::test]
async fn other_actions_are_answered_once_for_each_idempotency_key() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let body = format!(r#"{{"Y": {}}}"#, rows(4));
    house.post(&key, "/v1/jobs/settle", &body).await;
    let first = once(&house, "/jobs/cancel", "all", json!({"all": true})).await;
    assert_eq!(first.json()["cancelled"], 1);
    let repeat = once(&house, "/jobs/cancel", "all", json!({"all": true})).await;
    assert_eq!(repeat.body, first.body);
    assert_eq!(repeat.header("idempotency-replayed"), "true");
    // Nothing is remembered of those who are not operators.
    let stranger =
        request(Method::POST, "/v1/admin/system/sweep", &key).header("idempotency-key", "s");
    house
        .send(stranger.body(Body::empty()).unwrap())
        .await
        .problem(401);
    assert_eq!(
        once(&house, "/system/sweep", "s", json!({})).await.status,
        200
    );
}

#[tokio::test]
async fn limits_of_a_queue_are_set_and_wrong_ones_refused() {
    let house = house();
    let path = "/queues/callback/limits";
    let change = json!({"max_per_second": 2.5, "max_concurrent": 3});
    let set = admin(&house, Method::PATCH, path, change).await.json();
    assert_eq!(set["limits"]["max_per_second"], 2.5);
    let queues = get(&house, "/queues").await;
    assert_eq!(queues["items"][3]["limits"]["max_concurrent"], 3);
    assert_ne!(queues["items"][0]["limits"]["max_concurrent"], 3);
    for (field, value) in [
        ("max_per_second", json!(0)),
        ("max_concurrent", json!(0)),
        ("min_backoff_ms", json!(-1)),
        ("max_backoff_ms", json!(1)),
        ("max_doublings", json!(17)),
        ("dispatch_deadline_ms", json!(0)),
    ] {
        let wrong = admin(&house, Method::PATCH, path, json!({field: value})).await;
        assert_eq!(wrong.fields(), [field]);
    }
    admin(&house, Method::PATCH, path, json!({"rate": 1}))
        .await
        .problem(400);
    admin(&house, Method::PATCH, "/queues/other/limits", json!({}))
        .await
        .problem(404);
    let drained = post(&house, "/queues/settle/drain?wait=1", json!({}))
        .await
        .json();
    assert_eq!(
        (&drained["paused"], &drained["running"]),
        (&json!(true), &json!(0))
    );
}

#[tokio::test]
async fn what_changes_a_key_on_one_instance_is_heard_of_on_the_others() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let (second, router) = house.second_instance();
    let ask = async || {
        let request = request(Method::GET, "/v1/usage", &key).body(Body::empty());
        let answer = busy(router.clone().oneshot(request.unwrap())).await;
        answer.unwrap().status()
    };
    assert_eq!(ask().await, 200);
    let id = house.get(&key, "/v1/keys/self").await.json()["key_id"].clone();
    let path = format!("/keys/{}", id.as_str().unwrap());
    admin(&house, Method::PATCH, &path, json!({"status": "suspended"})).await;
    assert_eq!(ask().await, 200, "it remembers, until it hears of it");
    busy(house.gateway.engine().relay_events()).await.unwrap();
    for event in house.events() {
        assert!(second.keys().handle(event).await);
    }
    assert_eq!(ask().await, 403);
}
