//! Requests per window, and room for computing.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use oscillink_domain::Tier;
use oscillink_gateway::{Config, RequestLimit};

use super::harness::{House, request, rows};

#[tokio::test]
async fn an_address_can_ask_so_often() {
    let config = Config {
        ip_rate_limit: Some(RequestLimit {
            requests: NonZeroU32::new(3).unwrap(),
            window: Duration::from_secs(60),
        }),
        trusted_proxies: 1,
        ..Config::default()
    };
    let house = House::with(config, Default::default());
    let key = house.key(Tier::Pro).await;
    let from = |address: &'static str| {
        let peer: std::net::SocketAddr = "10.0.0.1:1".parse().unwrap();
        let request = request(Method::GET, "/v1/usage", &key)
            .header("x-forwarded-for", format!("1.1.1.1, {address}"))
            .extension(ConnectInfo(peer));
        house.send(request.body(Body::empty()).unwrap())
    };
    for left in ["2", "1", "0"] {
        let answer = from("203.0.113.1").await;
        assert_eq!(answer.status, 200);
        let state = answer.headers.get_all("ratelimit").iter();
        let states: Vec<_> = state.map(|v| v.to_str().unwrap()).collect();
        assert!(
            states
                .iter()
                .any(|s| s.starts_with(&format!("\"address\";r={left};")))
        );
    }
    let refused = from("203.0.113.1").await;
    refused.problem(429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 20);
    assert_eq!(from("203.0.113.2").await.status, 200);
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(
            house.get(&key, path).await.status,
            200,
            "probes are not limited"
        );
    }
}

#[tokio::test]
async fn work_that_finds_no_room_is_sent_away() {
    let config = Config {
        inline_concurrency: 1,
        inline_wait: Duration::ZERO,
        inline_threads: 1,
        ..Config::default()
    };
    let house = House::with(config, Default::default());
    let key = house.key(Tier::Pro).await;
    let large = format!(r#"{{"Y": {}}}"#, rows(5_000));
    let small = format!(r#"{{"Y": {}}}"#, rows(3));
    // Which of the two finds the other at work is up to the machine: until a small one was sent away.
    for _ in 0..100 {
        let done = Cell::new(false);
        let first = async {
            let answer = house.post(&key, "/v1/settle", &large).await;
            done.set(true);
            answer
        };
        // Small ones knock for as long as the large one is at work.
        let others = async {
            while !done.get() {
                let answer = house.post(&key, "/v1/settle", &small).await;
                if answer.status != 200 {
                    return Some(answer);
                }
                tokio::task::yield_now().await;
            }
            None
        };
        let (_, refused) = tokio::join!(first, others);
        if let Some(refused) = refused {
            refused.problem(503);
            assert_eq!(refused.header("retry-after"), "1");
            assert_eq!(house.post(&key, "/v1/settle", &small).await.status, 200);
            return;
        }
    }
    panic!("none was sent away");
}

#[tokio::test]
async fn work_that_takes_too_long_or_too_much_memory_belongs_to_jobs() {
    let config = Config {
        sync_timeout: Duration::from_millis(1),
        ..Config::default()
    };
    let house = House::with(config, Default::default());
    let key = house.key(Tier::Pro).await;
    let large = format!(r#"{{"Y": {}}}"#, rows(5_000));
    let detail = house.post(&key, "/v1/settle", &large).await.problem(503);
    assert!(detail.contains("/v1/jobs"), "{detail}");
    let config = Config {
        inline_memory_bytes: 1 << 20,
        ..Config::default()
    };
    let house = House::with(config, Default::default());
    let key = house.key(Tier::Pro).await;
    let detail = house.post(&key, "/v1/settle", &large).await.problem(413);
    assert!(detail.contains("/v1/jobs"), "{detail}");
}
