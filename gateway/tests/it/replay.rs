//! Requests that are repeated: idempotency keys, and results at hand.

use axum::body::Body;
use axum::http::Method;
use oscillink_domain::{ApiKey, KeyId, Sha256Hex, Tier};
use oscillink_engine::{Begun, Idempotency};
use serde_json::json;

use super::harness::{Answer, House, busy, request, rows};

async fn post(house: &House, key: &ApiKey, path: &str, idempotency: &str, body: String) -> Answer {
    let request = request(Method::POST, path, key)
        .header("content-type", "application/json")
        .header("idempotency-key", idempotency);
    house.send(request.body(Body::from(body)).unwrap()).await
}

fn body(n: usize) -> String {
    format!(r#"{{"Y": {}, "options": {{"bundle_k": 2}}}}"#, rows(n))
}

async fn charged(house: &House, key: &ApiKey) -> usize {
    let ledger = house.get(key, "/v1/usage/ledger").await.json();
    ledger["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_first_answer_is_given_again_and_charged_once() {
    let house = House::new();
    let (key, other) = (house.key(Tier::Pro).await, house.key(Tier::Pro).await);
    let first = post(&house, &key, "/v1/settle", "a", body(10)).await;
    assert_eq!(
        (first.status.as_u16(), first.header("idempotency-replayed")),
        (200, "")
    );
    house.clock.advance(60_000);
    let again = post(&house, &key, "/v1/settle", "a", body(10)).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (200, "true")
    );
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("content-type"), "application/json");
    assert_eq!(charged(&house, &key).await, 1);

    post(&house, &key, "/v1/settle", "a", body(11))
        .await
        .problem(422);
    post(&house, &key, "/v1/receipt", "a", body(10))
        .await
        .problem(422);
    let theirs = post(&house, &other, "/v1/settle", "a", body(10)).await;
    assert_eq!(theirs.header("idempotency-replayed"), "");
    house.clock.advance(25 * 3_600_000);
    let later = post(&house, &key, "/v1/settle", "a", body(10)).await;
    assert_eq!(
        later.header("idempotency-replayed"),
        "",
        "forgotten after a day"
    );
}

#[tokio::test]
async fn keys_are_visible_characters() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    for bad in ["", "a b", "a\tb", &"a".repeat(256)] {
        let answer = post(&house, &key, "/v1/settle", bad, body(5)).await;
        answer.problem(400);
        assert_eq!(
            answer.json()["errors"][0]["field"],
            "Idempotency-Key",
            "{bad:?}"
        );
    }
    let longest = "~".repeat(255);
    let answer = post(&house, &key, "/v1/settle", &longest, body(5)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_failure_leaves_the_key_free_for_the_same_request() {
    let house = House::small();
    let key = house.key(Tier::Free).await;
    // 1,000 units a window; 20 rows of 3 are 60.
    for n in 0..16 {
        assert_eq!(
            post(&house, &key, "/v1/settle", &format!("{n}"), body(20))
                .await
                .status,
            200
        );
    }
    post(&house, &key, "/v1/settle", "x", body(20))
        .await
        .problem(429);
    post(&house, &key, "/v1/settle", "x", body(20))
        .await
        .problem(429);
    house.clock.advance(3_600_000);
    let answer = post(&house, &key, "/v1/settle", "x", body(20)).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.header("idempotency-replayed")
        ),
        (200, "")
    );
}

#[tokio::test]
async fn answers_too_large_to_keep_are_made_again_and_not_charged_again() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let large = format!(r#"{{"Y": {}, "options": {{"array": "u"}}}}"#, rows(4_900));
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = post(&house, &key, "/v1/settle", "big", large.clone()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() > 100_000, "{}", answer.body.len());
        answers.push(answer.json()["arrays"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(charged(&house, &key).await, 1);
}

#[tokio::test]
async fn a_repeated_rotation_gives_the_same_secret() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let path = "/v1/keys/self/rotate?overlap_seconds=600";
    let first = post(&house, &key, path, "r", String::new()).await;
    let again = post(&house, &key, path, "r", String::new()).await;
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header("idempotency-replayed"), "true");
    let fresh = ApiKey::parse(first.json()["api_key"].as_str().unwrap()).unwrap();
    let own = house.get(&fresh, "/v1/keys/self").await.json();
    assert_eq!(own["secrets"].as_array().unwrap().len(), 2, "rotated once");
    post(&house, &fresh, path, "r", String::new())
        .await
        .problem(422);
    let other = post(&house, &key, path, "s", String::new()).await;
    assert_ne!(other.json()["api_key"], first.json()["api_key"]);
    house.clock.advance(601_000);
    house.get(&key, "/v1/usage").await.problem(401);
}

#[tokio::test]
async fn tiers_with_the_cache_are_answered_from_it() {
    let house = House::new();
    let (enterprise, pro) = (
        house.key(Tier::Enterprise).await,
        house.key(Tier::Pro).await,
    );
    let own = house.get(&pro, "/v1/keys/self").await;
    assert_eq!(own.status, 200);
    let id = {
        let engine = house.gateway.engine().clone();
        let hash = enterprise.hash();
        let found = busy(async move { engine.find_key(&hash).await }).await;
        found.unwrap().unwrap().key_id
    };
    let engine = house.gateway.engine().clone();
    busy(async move {
        let active = oscillink_domain::KeyStatus::Active;
        engine.set_key_status(&id, active).await
    })
    .await
    .unwrap();
    let path = "/v1/settle";
    let miss = house.post(&enterprise, path, &body(10)).await;
    let hit = house.post(&enterprise, path, &body(10)).await;
    assert_eq!(
        (miss.header("x-cache"), hit.header("x-cache")),
        ("miss", "hit")
    );
    let (mut a, mut b) = (miss.json(), hit.json());
    assert_ne!(a["meta"]["request_id"], b["meta"]["request_id"]);
    a["meta"]["request_id"] = json!(null);
    b["meta"]["request_id"] = json!(null);
    assert_eq!(a, b);
    assert_eq!(charged(&house, &enterprise).await, 2, "a hit counts");
    let other = house.post(&enterprise, path, &body(11)).await;
    assert_eq!(other.header("x-cache"), "miss");
    let other = house.post(&enterprise, "/v1/bundle", &body(10)).await;
    assert_eq!(other.header("x-cache"), "miss");
    let fresh = request(Method::POST, path, &enterprise)
        .header("content-type", "application/json")
        .header("cache-control", "no-cache");
    let fresh = house.send(fresh.body(Body::from(body(10))).unwrap()).await;
    assert_eq!(fresh.header("x-cache"), "miss");
    for _ in 0..2 {
        let plain = house.post(&pro, path, &body(10)).await;
        assert!(!plain.headers.contains_key("x-cache"));
    }
}

#[tokio::test]
async fn a_request_under_way_holds_its_key_and_a_crash_does_not_hold_it_for_ever() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let id = house.get(&key, "/v1/keys/self").await.json()["key_id"]
        .as_str()
        .and_then(|id| id.parse::<KeyId>().ok())
        .unwrap();
    // Another process took the key, charged the work, and died.
    let hash = Sha256Hex::of_parts([b"/settle".as_slice(), b"json", body(10).as_bytes()]);
    let idempotency = Idempotency {
        key: "a".into(),
        request_hash: hash,
    };
    let engine = house.gateway.engine().clone();
    let begun = busy(async {
        engine
            .begin_answer(&id, &idempotency, 60_000)
            .await
            .unwrap()
    })
    .await;
    let Begun::Go(ticket) = begun else {
        panic!("nobody had the key")
    };
    let waiting = post(&house, &key, "/v1/settle", "a", body(10)).await;
    waiting.problem(409);
    assert_eq!(waiting.header("retry-after"), "1");
    assert!(
        waiting.json()["type"]
            .as_str()
            .unwrap()
            .ends_with("in-flight")
    );
    house.clock.advance(60_000);
    let answer = post(&house, &key, "/v1/settle", "a", body(10)).await;
    assert_eq!(answer.status, 200);
    let ledger = house.get(&key, "/v1/usage/ledger").await.json();
    assert_eq!(
        ledger["items"][0]["id"], ticket.effect_id,
        "what the first had done would be found"
    );
    // The first comes back from the dead: its end is not the other's.
    busy(async { engine.release_answer(&ticket).await.unwrap() }).await;
    let again = post(&house, &key, "/v1/settle", "a", body(10)).await;
    assert_eq!(again.body, answer.body);
}

#[tokio::test]
async fn ledger_rows_carry_the_id_that_the_client_sees() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    for _ in 0..2 {
        let own = request(Method::POST, "/v1/settle", &key)
            .header("content-type", "application/json")
            .header("x-request-id", "mine");
        assert_eq!(
            house
                .send(own.body(Body::from(body(5))).unwrap())
                .await
                .status,
            200
        );
    }
    let ledger = house.get(&key, "/v1/usage/ledger").await.json();
    let rows = ledger["items"].as_array().unwrap();
    assert_eq!(
        rows.len(),
        2,
        "a client's id that comes twice is charged twice"
    );
    assert!(rows.iter().all(|row| row["request_id"] == "mine"));
    assert_ne!(rows[0]["id"], rows[1]["id"]);
}
