//! Request limits: all clients together, each group of routes, and each address for itself.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::config::{Config, Endpoint, RequestLimit};
use crate::error::{Kind, Problem};
use crate::quota_headers::{append_policy, seconds_until_duration};

type Global = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;
type ByAddress =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// Addresses remembered before idle ones are forgotten.
const MAX_ADDRESSES: usize = 50_000;
/// Pause between clean-ups, which visit every address.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

/// The request limits in force.
pub struct RequestLimits {
    global: Option<(RequestLimit, Global)>,
    by_endpoint: Vec<(Endpoint, (RequestLimit, Global))>,
    by_address: Option<(RequestLimit, ByAddress)>,
    cleaned_at: Mutex<Instant>,
    clock: DefaultClock,
}

impl RequestLimits {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let direct = |limit| {
            let limiter = RateLimiter::direct(quota(limit));
            (
                limit,
                limiter.with_middleware::<StateInformationMiddleware>(),
            )
        };
        let global = config.rate_limit.map(direct);
        let groups = config.endpoint_limits.0.iter();
        let by_endpoint = groups.map(|(endpoint, limit)| (*endpoint, direct(*limit)));
        let by_address = config.ip_rate_limit.map(|limit| {
            let limiter = RateLimiter::keyed(quota(limit));
            (
                limit,
                limiter.with_middleware::<StateInformationMiddleware>(),
            )
        });
        Self {
            by_endpoint: by_endpoint.collect(),
            global,
            by_address,
            cleaned_at: Mutex::new(Instant::now()),
            clock: DefaultClock::default(),
        }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn are_off(&self) -> bool {
        self.global.is_none() && self.by_address.is_none() && self.by_endpoint.is_empty()
    }

    /// Counts a request from `address` to `endpoint`; gives the headers that tell what is left.
    ///
    /// # Errors
    /// A limit is reached.
    pub fn count(&self, address: Option<IpAddr>, endpoint: Endpoint) -> Result<HeaderMap, Problem> {
        let mut headers = HeaderMap::new();
        // The address first: one noisy client must not use up what is everyone's.
        if let (Some((limit, limiter)), Some(address)) = (&self.by_address, address) {
            let outcome = limiter.check_key(&network(address));
            self.clean(limiter);
            let left = outcome.map_err(|until| {
                self.refuse("address", *limit, until.wait_time_from(self.clock.now()))
            })?;
            describe(
                &mut headers,
                "address",
                *limit,
                left.remaining_burst_capacity(),
            );
        }
        let own = self
            .by_endpoint
            .iter()
            .filter(|(group, _)| *group == endpoint);
        let own = own.map(|(group, limit)| (group.as_str(), limit));
        for (name, (limit, limiter)) in own.chain(self.global.iter().map(|g| ("global", g))) {
            let left = limiter.check().map_err(|until| {
                self.refuse(name, *limit, until.wait_time_from(self.clock.now()))
            })?;
            describe(&mut headers, name, *limit, left.remaining_burst_capacity());
        }
        Ok(headers)
    }

    fn refuse(&self, name: &str, limit: RequestLimit, wait: Duration) -> Problem {
        let detail = format!(
            "more than {} requests in {} s ({name} limit)",
            limit.requests,
            limit.window.as_secs()
        );
        let mut headers = HeaderMap::new();
        describe(&mut headers, name, limit, 0);
        let problem = Problem::new(Kind::RateLimited, detail);
        let problem = headers.iter().fold(problem, |problem, (name, value)| {
            problem.header(name.clone(), value.clone())
        });
        problem.retry_after(seconds_until_duration(wait))
    }

    fn clean(&self, limiter: &ByAddress) {
        if limiter.len() <= MAX_ADDRESSES {
            return;
        }
        let Ok(mut cleaned_at) = self.cleaned_at.try_lock() else {
            return;
        };
        if cleaned_at.elapsed() >= CLEAN_EVERY {
            limiter.retain_recent();
            limiter.shrink_to_fit();
            *cleaned_at = Instant::now();
        }
    }
}

/// A full window's requests may come at once; they come back evenly.
fn quota(limit: RequestLimit) -> Quota {
    let period = limit.window / limit.requests.get();
    Quota::with_period(period.max(Duration::from_nanos(1))).map_or_else(
        || Quota::per_second(limit.requests),
        |q| q.allow_burst(limit.requests),
    )
}

fn describe(headers: &mut HeaderMap, name: &str, limit: RequestLimit, left: u32) {
    let (requests, window) = (limit.requests.get(), limit.window.as_secs());
    // The time until all of it is back.
    let missing = u64::from(requests.saturating_sub(left));
    let reset = missing.saturating_mul(window).div_ceil(u64::from(requests));
    append_policy(
        headers,
        name,
        requests.into(),
        Some(window),
        left.into(),
        reset,
    );
}

/// IPv6 clients have whole networks: they are counted by their /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

/// The client's address: the peer's, or with `trusted_proxies` in front, what the outermost of them
/// saw. Entries further left are the client's own claim.
pub fn client_address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted_proxies: usize,
) -> Option<IpAddr> {
    if trusted_proxies == 0 {
        return peer;
    }
    let entries: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .collect();
    let place = entries.len().checked_sub(trusted_proxies);
    let claimed = place.and_then(|place| entries.get(place)?.parse().ok());
    claimed.or(peer)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn config(global: u32, by_address: u32) -> Config {
        let limit = |n| {
            NonZeroU32::new(n).map(|requests| RequestLimit {
                requests,
                window: Duration::from_secs(60),
            })
        };
        Config {
            rate_limit: limit(global),
            ip_rate_limit: limit(by_address),
            ..Config::default()
        }
    }

    #[test]
    fn each_address_has_its_own_limit_and_all_share_one() {
        let limits = RequestLimits::new(&config(5, 2));
        let from = |text: &str| limits.count(Some(text.parse().unwrap()), Endpoint::Jobs);
        let headers = from("10.0.0.1").unwrap();
        let policies: Vec<_> = headers.get_all("ratelimit-policy").iter().collect();
        assert_eq!(policies, ["\"address\";q=2;w=60", "\"global\";q=5;w=60"]);
        from("10.0.0.1").unwrap();
        assert_eq!(from("10.0.0.1").unwrap_err().status(), 429);
        // One /64 is one client.
        from("2001:db8::1").unwrap();
        from("2001:db8::ffff").unwrap();
        from("2001:db8::2").unwrap_err();
        from("10.0.0.2").unwrap();
        from("10.0.0.3").unwrap_err();
    }

    #[test]
    fn a_group_of_routes_has_its_own_limit() {
        let mut config = config(0, 0);
        config.endpoint_limits = "batch=1/60".parse().unwrap();
        let limits = RequestLimits::new(&config);
        limits.count(None, Endpoint::Batch).unwrap();
        limits.count(None, Endpoint::Batch).unwrap_err();
        limits.count(None, Endpoint::Settle).unwrap();
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            "6.6.6.6, 1.2.3.4, 10.0.0.9".parse().unwrap(),
        );
        let peer = "10.0.0.1".parse().ok();
        let address = |proxies| client_address(peer, &headers, proxies).unwrap().to_string();
        assert_eq!(address(0), "10.0.0.1");
        assert_eq!(address(1), "10.0.0.9");
        assert_eq!(address(2), "1.2.3.4");
        assert_eq!(address(9), "10.0.0.1");
    }
}
