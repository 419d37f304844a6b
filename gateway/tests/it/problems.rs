//! Every error is a problem document.

use axum::body::Body;
use axum::http::{Method, Request};
use oscillink_domain::{KeyStatus, Tier};
use oscillink_gateway::Config;
use oscillink_testkit::FaultRates;

use super::harness::{House, busy, request, rows};

#[tokio::test]
async fn routes_and_methods() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    for path in ["/", "/v1", "/v1/nothing", "/v2/settle", "/v1/settle/"] {
        house.get(&key, path).await.problem(404);
    }
    let answer = house.get(&key, "/v1/settle").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), "POST");
    for id in [
        "job_0000000000000000000000",
        "nonsense",
        "..%2F..%2Fetc",
        "%00",
    ] {
        house
            .get(&key, &format!("/v1/jobs/{id}"))
            .await
            .problem(404);
    }
}

#[tokio::test]
async fn keys() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let with = |name: &'static str, value: String| {
        let request = Request::get("/v1/keys/self").header(name, value);
        house.send(request.body(Body::empty()).unwrap())
    };
    let none = house
        .send(Request::get("/v1/keys/self").body(Body::empty()).unwrap())
        .await;
    none.problem(401);
    assert_eq!(
        none.header("www-authenticate"),
        "Bearer realm=\"oscillink\""
    );
    for wrong in ["x", "ok_unknown_but_long_enough", "has a space in it", ""] {
        with("x-api-key", wrong.to_owned()).await.problem(401);
    }
    with("authorization", "Basic abcdefgh".to_owned())
        .await
        .problem(401);
    let bearer = with("authorization", format!("bearer {}", key.reveal())).await;
    let view = bearer.json();
    assert_eq!(
        (&view["tier"], &view["features"]["diffusion"]),
        (&"pro".into(), &true.into())
    );
    assert!(
        !String::from_utf8(bearer.body)
            .unwrap()
            .contains(key.reveal())
    );
    let pending = house.key(Tier::Enterprise).await;
    assert!(
        house
            .get(&pending, "/v1/usage")
            .await
            .problem(403)
            .contains("activation")
    );
    // The route of a job is not told apart without a key.
    house
        .send(
            Request::get("/v1/jobs/nonsense")
                .body(Body::empty())
                .unwrap(),
        )
        .await
        .problem(401);
}

#[tokio::test]
async fn a_changed_key_counts_at_once_when_its_event_arrives() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    assert_eq!(house.get(&key, "/v1/keys/self").await.status, 200);
    let engine = house.gateway.engine();
    let record = busy(engine.find_key(&key.hash())).await.unwrap().unwrap();
    busy(engine.set_key_status(&record.key_id, KeyStatus::Suspended))
        .await
        .unwrap();
    assert_eq!(
        house.get(&key, "/v1/keys/self").await.status,
        200,
        "remembered"
    );
    house.gateway.keys().invalidate(&key.hash());
    house.get(&key, "/v1/keys/self").await.problem(403);
}

#[tokio::test]
async fn rotation_shows_a_new_secret_and_ends_the_old() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let answer = house
        .post(&key, "/v1/keys/self/rotate?overlap_seconds=60", "")
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let fresh = answer.json()["api_key"].as_str().unwrap().to_owned();
    let fresh = oscillink_domain::ApiKey::parse(&fresh).unwrap();
    for secret in [&key, &fresh] {
        assert_eq!(house.get(secret, "/v1/keys/self").await.status, 200);
    }
    house.clock.advance(61_000);
    house.get(&key, "/v1/keys/self").await.problem(401);
    assert_eq!(house.get(&fresh, "/v1/keys/self").await.status, 200);
    let wrong = house
        .post(&fresh, "/v1/keys/self/rotate?overlap_seconds=-1", "")
        .await;
    assert_eq!(wrong.fields(), ["overlap_seconds"]);
}

#[tokio::test]
async fn rotations_ignore_nothing_that_they_are_told() {
    let config = Config::default();
    let engine = oscillink_engine::EngineConfig {
        callback_secret: Some("0123456789abcdef".into()),
        ..Default::default()
    };
    let house = House::with(config, engine);
    let key = house.key(Tier::Pro).await;
    for path in [
        "/v1/keys/self/callback-secret/rotate",
        "/v1/keys/self/rotate",
    ] {
        for (query, body, field) in [
            ("?overlap_secs=0", "", "overlap_secs"),
            (
                "?overlap_seconds=1&overlap_seconds=0",
                "",
                "overlap_seconds",
            ),
            ("", r#"{"overlap_secs": 0}"#, "overlap_secs"),
            ("", r#"{"overlap_seconds": -1}"#, "overlap_seconds"),
            ("", r#"{"overlap_seconds": "soon"}"#, "overlap_seconds"),
            (
                "?overlap_seconds=0",
                r#"{"overlap_seconds": -2}"#,
                "overlap_seconds",
            ),
            ("", "0", "body"),
        ] {
            let answer = house.post(&key, &format!("{path}{query}"), body).await;
            assert_eq!(answer.fields(), [field], "{path}{query} {body}");
        }
        // Tools name a type of their own also where they send nothing.
        let empty = request(Method::POST, path, &key)
            .header("content-type", "application/x-www-form-urlencoded");
        let empty = house.send(empty.body(Body::empty()).unwrap()).await;
        assert_eq!(empty.status, 200, "{path}");
    }
    let rotated = house
        .post(
            &key,
            "/v1/keys/self/rotate?overlap_seconds=60",
            r#"{"overlap_seconds": 0.0}"#,
        )
        .await;
    assert_eq!(rotated.status, 200);
    house.get(&key, "/v1/keys/self").await.problem(401);
}

#[tokio::test]
async fn tiers_and_switches() {
    let house = House::new();
    let (free, pro) = (house.key(Tier::Free).await, house.key(Tier::Pro).await);
    let body = format!(
        r#"{{"Y": {}, "psi": [1, 0, 0], "diffusion": {{}}}}"#,
        rows(5)
    );
    let off = body.replace("{}}", r#"{"enable": false}}"#);
    for path in [
        "/v1/settle/diffusion",
        "/v1/settle",
        "/v1/jobs/diffusion",
        "/v1/jobs/settle",
    ] {
        let detail = house.post(&free, path, &body).await.problem(402);
        assert!(
            detail.contains("upgrade") && detail.contains("free"),
            "{detail}"
        );
        assert!(house.post(&free, path, &off).await.status.is_success());
        assert!(house.post(&pro, path, &body).await.status.is_success());
    }
    let config = Config {
        diffusion_enabled: false,
        ..Config::default()
    };
    let house = House::with(config, Default::default());
    let pro = house.key(Tier::Pro).await;
    let detail = house
        .post(&pro, "/v1/settle/diffusion", &body)
        .await
        .problem(403);
    assert!(detail.contains("switched off"), "{detail}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_unavailable_not_an_error() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    house.faults.set_rates(FaultRates {
        fail_before: 1,
        ..FaultRates::default()
    });
    let answer = house.get(&key, "/v1/usage").await;
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(house.get(&key, "/health").await.status, 200);
}

#[tokio::test]
async fn request_ids_go_in_and_out() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let send = |id: &'static str| {
        let request = request(Method::GET, "/v1/nothing", &key).header("x-request-id", id);
        house.send(request.body(Body::empty()).unwrap())
    };
    let kept = send("my-trace.1").await;
    kept.problem(404);
    assert_eq!(kept.header("x-request-id"), "my-trace.1");
    for bad in ["a b", "a\"b", "<script>", "x/../y"] {
        assert!(
            send(bad).await.header("x-request-id").starts_with("req_"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn answers_are_hardened_and_measured() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let answer = house.get(&key, "/v1/nothing").await;
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(name), value);
    }
    house
        .get(&key, "/v1/jobs/job_0000000000000000000000")
        .await
        .problem(404);
    let metrics = house.get(&key, "/metrics").await;
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        r#"oscillink_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"oscillink_http_requests_total{method="GET",route="/v1/jobs/{id}",status="404"} 1"#,
        "oscillink_key_cache_misses_total 1",
    ] {
        assert!(text.contains(line), "missing {line} in\n{text}");
    }
}

#[tokio::test]
async fn protected_metrics_need_the_secret() {
    let config = Config {
        metrics_protected: true,
        admin_secret: Some("0123456789abcdef".into()),
        ..Config::default()
    };
    let house = House::with(config, Default::default());
    let send = |secret: &'static str| {
        let request = Request::get("/metrics").header("x-admin-secret", secret);
        house.send(request.body(Body::empty()).unwrap())
    };
    send("").await.problem(401);
    send("0123456789abcdeX").await.problem(401);
    assert_eq!(send("0123456789abcdef").await.status, 200);
}

#[tokio::test]
async fn browsers_are_let_in_only_from_known_origins() {
    let config = Config {
        cors_origins: "https://app.example".parse().unwrap(),
        ..Config::default()
    };
    let house = House::with(config, Default::default());
    let preflight = |origin: &'static str| {
        let request = Request::options("/v1/settle")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-api-key, cache-control");
        house.send(request.body(Body::empty()).unwrap())
    };
    let known = preflight("https://app.example").await;
    assert_eq!(known.status, 200);
    assert_eq!(
        known.header("access-control-allow-origin"),
        "https://app.example"
    );
    let allowed = known.header("access-control-allow-headers");
    assert!(allowed.contains("cache-control"), "{allowed}");
    let unknown = preflight("https://evil.example").await;
    assert_eq!(unknown.header("access-control-allow-origin"), "");
    // Errors can be read by the page too.
    let request = Request::get("/v1/usage").header("origin", "https://app.example");
    let refused = house.send(request.body(Body::empty()).unwrap()).await;
    refused.problem(401);
    let exposed = refused.header("access-control-expose-headers");
    assert!(exposed.contains("preference-applied"), "{exposed}");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://app.example"
    );
}
