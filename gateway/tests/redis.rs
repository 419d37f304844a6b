//! Request limits that instances share through a real Redis. Ignored where there is no `redis-server`,
//! unless OSCILLINK_REQUIRE_REDIS is 1.

#![allow(
    clippy::unwrap_used,
    reason = "tests state their expectations with unwrap"
)]
#![allow(dead_code, reason = "the harness serves other tests too")]

#[path = "it/harness.rs"]
mod harness;

use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use libtest_mimic::{Arguments, Trial};
use oscillink_domain::Tier;
use oscillink_gateway::{Config, RequestLimit};

use harness::House;

const DEADLINE: Duration = Duration::from_secs(20);

/// A Redis that keeps nothing.
struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::start_on(port)
    }

    fn start_on(port: u16) -> Self {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < DEADLINE, "Redis did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { port, child }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Already ended ones give an error that does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn house(redis: &str, requests: u32) -> House {
    let config = Config {
        rate_limit: NonZeroU32::new(requests).map(|requests| RequestLimit {
            requests,
            window: Duration::from_secs(3_600),
        }),
        redis: Some(redis.parse().unwrap()),
        ..Config::default()
    };
    House::with(config, Default::default())
}

/// What is left of the limit, or `None` where the request was refused.
async fn ask(house: &House, key: &oscillink_domain::ApiKey) -> Option<u32> {
    let answer = house.get(key, "/v1/keys/self").await;
    if answer.status == 429 {
        answer.problem(429);
        assert!(!answer.header("retry-after").is_empty());
        return None;
    }
    assert_eq!(answer.status, 200);
    let state = answer.header("ratelimit").to_owned();
    let left = state.strip_prefix("\"global\";r=").unwrap();
    Some(left.split(';').next().unwrap().parse().unwrap())
}

async fn two_instances_share_one_limit_exactly() {
    let redis = Redis::start();
    let (one, two) = (house(&redis.url(), 50), house(&redis.url(), 50));
    let (first, second) = (one.key(Tier::Pro).await, two.key(Tier::Pro).await);
    let asked = (0..60).flat_map(|_| [(&one, &first), (&two, &second)]);
    let answers = join_all(asked.map(|(house, key)| ask(house, key))).await;
    let mut left: Vec<u32> = answers.into_iter().flatten().collect();
    left.sort_unstable();
    assert_eq!(left, (0..50).collect::<Vec<_>>(), "each place once");
    assert_eq!(one.gateway.metrics().shared_limit_fallbacks.get(), 0);
}

async fn without_redis_each_instance_limits_alone_until_it_is_back() {
    let redis = Redis::start();
    let (port, house) = (redis.port, house(&redis.url(), 1_000));
    let key = house.key(Tier::Pro).await;
    for left in (990..1_000).rev() {
        assert_eq!(ask(&house, &key).await, Some(left));
    }
    let fallbacks = || house.gateway.metrics().shared_limit_fallbacks.get();
    drop(redis);
    assert_eq!(ask(&house, &key).await, Some(999), "its own count");
    assert_eq!(ask(&house, &key).await, Some(998));
    assert_eq!(fallbacks(), 2);
    let _redis = Redis::start_on(port);
    let begun = Instant::now();
    // The new Redis counts from the beginning.
    while ask(&house, &key).await != Some(999) {
        assert!(begun.elapsed() < DEADLINE, "Redis was not asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = fallbacks();
    assert_eq!(ask(&house, &key).await, Some(998));
    assert_eq!(fallbacks(), before);
}

async fn a_redis_that_does_not_answer_costs_one_short_wait() {
    let redis = Redis::start();
    let house = house(&redis.url(), 1_000);
    let key = house.key(Tier::Pro).await;
    assert_eq!(ask(&house, &key).await, Some(999));
    redis.signal("-STOP");
    let begun = Instant::now();
    assert_eq!(ask(&house, &key).await, Some(999));
    let first = begun.elapsed();
    for _ in 0..20 {
        assert!(ask(&house, &key).await.is_some());
    }
    let all = begun.elapsed();
    redis.signal("-CONT");
    assert!(first < Duration::from_millis(900), "{first:?}");
    assert!(all < first + Duration::from_millis(900), "{all:?}");
}

fn main() -> ExitCode {
    let required = std::env::var("OSCILLINK_REQUIRE_REDIS").is_ok_and(|value| value == "1");
    let there = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let ignored = !there && !required;
    let trials = vec![
        trial(
            "two_instances_share_one_limit_exactly",
            ignored,
            two_instances_share_one_limit_exactly,
        ),
        trial(
            "without_redis_each_instance_limits_alone_until_it_is_back",
            ignored,
            without_redis_each_instance_limits_alone_until_it_is_back,
        ),
        trial(
            "a_redis_that_does_not_answer_costs_one_short_wait",
            ignored,
            a_redis_that_does_not_answer_costs_one_short_wait,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial<F: Future<Output = ()>>(
    name: &str,
    ignored: bool,
    story: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    let run = move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(story());
        Ok(())
    };
    Trial::test(name, run).with_ignored_flag(ignored)
}
