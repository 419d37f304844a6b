//! Jobs: accepted, looked at, listed, cancelled.

use axum::body::Body;
use axum::http::Method;
use oscillink_domain::{ApiKey, Tier};

use super::harness::{Answer, House, request, rows};

fn body(n: usize) -> String {
    format!(
        r#"{{"Y": {}, "chain": [0, 1], "custom_id": "mine"}}"#,
        rows(n)
    )
}

async fn delete(house: &House, key: &ApiKey, path: &str) -> Answer {
    house
        .send(
            request(Method::DELETE, path, key)
                .body(Body::empty())
                .unwrap(),
        )
        .await
}

#[tokio::test]
async fn a_job_is_accepted_seen_and_cancelled() {
    let house = House::small();
    let key = house.key(Tier::Pro).await;
    let accepted = house.post(&key, "/v1/jobs/chain", &body(40)).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.header("x-quota-remaining"), "880");
    let path = accepted.header("location").to_owned();
    let job = accepted.json();
    assert_eq!(
        (&job["kind"], &job["status"]),
        (&"chain".into(), &"queued".into())
    );
    assert_eq!(job["created"], "2026-09-21T14:13:20.000Z");
    assert_eq!(
        (&job["units"], &job["custom_id"]),
        (&120.into(), &"mine".into())
    );
    assert!(job.get("result").is_none() && job.get("error").is_none());

    let seen = house.get(&key, &path).await;
    assert_eq!(seen.json(), job);
    let known = request(Method::GET, &path, &key).header("if-none-match", seen.header("etag"));
    let known = house.send(known.body(Body::empty()).unwrap()).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert!(
        house
            .get(&key, &format!("{path}/result"))
            .await
            .problem(409)
            .contains("queued")
    );

    let cancelled = delete(&house, &key, &path).await;
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(
        delete(&house, &key, &path).await.json()["status"],
        "cancelled"
    );
    let usage = house.get(&key, "/v1/usage").await;
    assert_eq!(usage.header("x-quota-remaining"), "1000");
}

#[tokio::test]
async fn another_keys_job_does_not_exist() {
    let house = House::small();
    let (owner, other) = (house.key(Tier::Pro).await, house.key(Tier::Pro).await);
    let path = house
        .post(&owner, "/v1/jobs/settle", &body(3))
        .await
        .header("location")
        .to_owned();
    house.get(&other, &path).await.problem(404);
    house
        .get(&other, &format!("{path}/result"))
        .await
        .problem(404);
    delete(&house, &other, &path).await.problem(404);
    assert_eq!(
        house.get(&other, "/v1/jobs").await.json()["items"],
        serde_json::json!([])
    );
    assert_eq!(house.get(&owner, &path).await.json()["status"], "queued");
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job() {
    let house = House::small();
    let (key, other) = (house.key(Tier::Pro).await, house.key(Tier::Pro).await);
    let post = |key: &ApiKey, path: &str, idempotency: &str, n| {
        let request = request(Method::POST, path, key)
            .header("content-type", "application/json")
            .header("idempotency-key", idempotency);
        house.send(request.body(Body::from(body(n))).unwrap())
    };
    let first = post(&key, "/v1/jobs/settle", "a", 3).await;
    let again = post(&key, "/v1/jobs/settle", "a", 3).await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json()["job_id"], first.json()["job_id"]);
    assert_eq!(again.header("idempotency-replayed"), "true");
    post(&key, "/v1/jobs/settle", "a", 4).await.problem(422);
    post(&key, "/v1/jobs/chain", "a", 3).await.problem(422);
    let theirs = post(&other, "/v1/jobs/settle", "a", 3).await;
    assert_ne!(theirs.json()["job_id"], first.json()["job_id"]);
    let long = "x".repeat(256);
    assert_eq!(
        post(&key, "/v1/jobs/settle", &long, 3).await.fields(),
        ["Idempotency-Key"]
    );
}

#[tokio::test]
async fn jobs_are_listed_newest_first() {
    let house = House::small();
    let key = house.key(Tier::Pro).await;
    for kind in ["settle", "chain", "settle"] {
        house
            .post(&key, &format!("/v1/jobs/{kind}"), &body(3))
            .await;
        house.clock.advance(1_000);
    }
    let kinds = |answer: Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().cloned().unwrap();
        items
            .iter()
            .map(|job| job["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = house.get(&key, "/v1/jobs?limit=2").await;
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(kinds(first), ["settle", "chain"]);
    assert_eq!(
        kinds(house.get(&key, &format!("/v1/jobs?cursor={cursor}")).await),
        ["settle"]
    );
    assert_eq!(
        kinds(house.get(&key, "/v1/jobs?kind=chain&status=queued").await),
        ["chain"]
    );
    let since = "/v1/jobs?since=2026-09-21T14:13:22Z";
    assert_eq!(kinds(house.get(&key, since).await), ["settle"]);
    for (query, field) in [
        ("status=lost", "status"),
        ("kind=bundle", "kind"),
        ("since=yesterday", "since"),
        ("limit=1000", "limit"),
        ("cursor=%00", "cursor"),
        ("foo=1", "foo"),
        ("limit=1&limit=2", "limit"),
    ] {
        assert_eq!(
            house.get(&key, &format!("/v1/jobs?{query}")).await.fields(),
            [field]
        );
    }
}

#[tokio::test]
async fn a_quota_without_room_accepts_nothing() {
    let house = House::small();
    let key = house.key(Tier::Pro).await;
    for _ in 0..8 {
        assert_eq!(
            house.post(&key, "/v1/jobs/settle", &body(40)).await.status,
            202
        );
    }
    let refused = house.post(&key, "/v1/jobs/settle", &body(40)).await;
    assert!(refused.problem(429).contains("40 of 1000"));
    assert_eq!(refused.header("x-quota-remaining"), "40");
    let wrong = body(3).replace("mine\"", "mine\", \"callback_url\": \"https://127.0.0.1/\"");
    assert_eq!(
        house.post(&key, "/v1/jobs/settle", &wrong).await.fields(),
        ["callback_url"]
    );
}

#[tokio::test]
async fn a_parameter_given_twice_is_named() {
    let house = House::small();
    let key = house.key(Tier::Pro).await;
    let accepted = house.post(&key, "/v1/jobs/settle", &body(3)).await;
    let path = format!("{}?wait=1&wait=2", accepted.header("location"));
    let answer = house.get(&key, &path).await;
    assert_eq!(answer.fields(), ["wait"]);
    assert_eq!(answer.problem(400), "wait: is given twice");
}
