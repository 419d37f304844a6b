//! Request limits: all clients together, each group of routes, and each address for itself. They are
//! counted in this process, or in Redis for all instances together.

mod local;
mod shared;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::http::HeaderMap;
use oscillink_telemetry::Metrics;
use oscillink_telemetry::metrics::LimitLabel;

use crate::config::{Config, Endpoint, EndpointLimits, RequestLimit};
use crate::error::{Kind, Problem};
use crate::quota_headers::{append_policy, seconds_until_duration};
use local::Local;
use shared::Shared;

/// One limit that a request falls under.
#[derive(Clone, Copy, Debug)]
struct Applied {
    /// Its name in headers and texts.
    name: &'static str,
    limit: RequestLimit,
    subject: Subject,
}

/// Whose requests it counts.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Address(IpAddr),
    Endpoint(Endpoint),
    Everyone,
}

/// What counting a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// It may pass, and so many more at once.
    Left(u32),
    /// It may be repeated after this time.
    Refused(Duration),
}

/// The request limits in force.
pub struct RequestLimits {
    global: Option<RequestLimit>,
    by_endpoint: EndpointLimits,
    by_address: Option<RequestLimit>,
    local: Local,
    shared: Option<Shared>,
    metrics: Metrics,
}

impl RequestLimits {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        Self {
            global: config.rate_limit,
            by_endpoint: config.endpoint_limits.clone(),
            by_address: config.ip_rate_limit,
            local: Local::new(config),
            shared: config
                .redis
                .as_ref()
                .map(|redis| Shared::new(redis, metrics.clone())),
            metrics: metrics.clone(),
        }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn are_off(&self) -> bool {
        self.global.is_none() && self.by_address.is_none() && self.by_endpoint.0.is_empty()
    }

    /// Counts a request from `address` to `endpoint`; gives the headers that tell what is left.
    ///
    /// # Errors
    /// A limit is reached.
    pub async fn count(
        &self,
        address: Option<IpAddr>,
        endpoint: Endpoint,
    ) -> Result<HeaderMap, Problem> {
        let applied = self.applied(address, endpoint);
        let counted = match &self.shared {
            Some(shared) => shared.count(&applied).await,
            None => None,
        };
        // Without Redis each instance keeps the limits for itself until it is back.
        let counted = counted.unwrap_or_else(|| self.local.count(&applied));
        let mut headers = HeaderMap::new();
        for (applied, counted) in applied.iter().zip(counted) {
            match counted {
                Counted::Left(left) => describe(&mut headers, applied, left),
                Counted::Refused(wait) => {
                    let label = LimitLabel {
                        limit: applied.name,
                    };
                    self.metrics
                        .rate_limit_rejections
                        .get_or_create(&label)
                        .inc();
                    return Err(refuse(applied, wait));
                }
            }
        }
        Ok(headers)
    }

    /// The limits that a request falls under, in the order in which they count it. The address first:
    /// one noisy client must not use up what is everyone's.
    fn applied(&self, address: Option<IpAddr>, endpoint: Endpoint) -> Vec<Applied> {
        let by_address = self
            .by_address
            .zip(address)
            .map(|(limit, address)| Applied {
                name: "address",
                limit,
                subject: Subject::Address(network(address)),
            });
        let groups = self.by_endpoint.0.iter();
        let by_endpoint = groups
            .filter(|(group, _)| *group == endpoint)
            .map(|(group, limit)| Applied {
                name: group.as_str(),
                limit: *limit,
                subject: Subject::Endpoint(*group),
            });
        let global = self.global.map(|limit| Applied {
            name: "global",
            limit,
            subject: Subject::Everyone,
        });
        by_address
            .into_iter()
            .chain(by_endpoint)
            .chain(global)
            .collect()
    }
}

fn refuse(applied: &Applied, wait: Duration) -> Problem {
    let Applied { name, limit, .. } = applied;
    let detail = format!(
        "more than {} requests in {} s ({name} limit)",
        limit.requests,
        limit.window.as_secs()
    );
    let mut headers = HeaderMap::new();
    describe(&mut headers, applied, 0);
    let problem = Problem::new(Kind::RateLimited, detail);
    let problem = headers.iter().fold(problem, |problem, (name, value)| {
        problem.header(name.clone(), value.clone())
    });
    problem.retry_after(seconds_until_duration(wait))
}

fn describe(headers: &mut HeaderMap, applied: &Applied, left: u32) {
    let Applied { name, limit, .. } = applied;
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
pub fn network(address: IpAddr) -> IpAddr {
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

    #[tokio::test]
    async fn each_address_has_its_own_limit_and_all_share_one() {
        let limits = RequestLimits::new(&config(5, 2), &Metrics::new());
        let from = async |text: &str| {
            let address = text.parse().unwrap();
            limits.count(Some(address), Endpoint::Jobs).await
        };
        let headers = from("10.0.0.1").await.unwrap();
        let policies: Vec<_> = headers.get_all("ratelimit-policy").iter().collect();
        assert_eq!(policies, ["\"address\";q=2;w=60", "\"global\";q=5;w=60"]);
        from("10.0.0.1").await.unwrap();
        assert_eq!(from("10.0.0.1").await.unwrap_err().status(), 429);
        // One /64 is one client.
        from("2001:db8::1").await.unwrap();
        from("2001:db8::ffff").await.unwrap();
        from("2001:db8::2").await.unwrap_err();
        from("10.0.0.2").await.unwrap();
        from("10.0.0.3").await.unwrap_err();
    }

    #[tokio::test]
    async fn a_group_of_routes_has_its_own_limit() {
        let mut config = config(0, 0);
        config.endpoint_limits = "batch=1/60".parse().unwrap();
        let limits = RequestLimits::new(&config, &Metrics::new());
        limits.count(None, Endpoint::Batch).await.unwrap();
        limits.count(None, Endpoint::Batch).await.unwrap_err();
        limits.count(None, Endpoint::Settle).await.unwrap();
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
