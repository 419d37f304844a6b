//! Request limits counted in this process.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::{Applied, Counted, Subject};
use crate::config::{Config, Endpoint, RequestLimit};

type Global = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;
type ByAddress =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// Addresses remembered before idle ones are forgotten.
const MAX_ADDRESSES: usize = 50_000;
/// Pause between clean-ups, which visit every address.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

/// The counts of this process.
pub(super) struct Local {
    global: Option<Global>,
    by_endpoint: Vec<(Endpoint, Global)>,
    by_address: Option<ByAddress>,
    cleaned_at: Mutex<Instant>,
    clock: DefaultClock,
}

impl Local {
    pub(super) fn new(config: &Config) -> Self {
        let direct = |limit| {
            let limiter = RateLimiter::direct(quota(limit));
            limiter.with_middleware::<StateInformationMiddleware>()
        };
        let groups = config.endpoint_limits.0.iter();
        Self {
            global: config.rate_limit.map(direct),
            by_endpoint: groups
                .map(|(endpoint, limit)| (*endpoint, direct(*limit)))
                .collect(),
            by_address: config.ip_rate_limit.map(|limit| {
                let limiter = RateLimiter::keyed(quota(limit));
                limiter.with_middleware::<StateInformationMiddleware>()
            }),
            cleaned_at: Mutex::new(Instant::now()),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request under each limit, up to the first that refuses it.
    pub(super) fn count(&self, applied: &[Applied]) -> Vec<Counted> {
        let mut counted = Vec::with_capacity(applied.len());
        for limit in applied {
            let outcome = self.count_one(limit.subject);
            counted.push(outcome);
            if matches!(outcome, Counted::Refused(_)) {
                break;
            }
        }
        counted
    }

    fn count_one(&self, subject: Subject) -> Counted {
        let outcome = match subject {
            Subject::Address(address) => self.by_address.as_ref().map(|limiter| {
                let outcome = limiter.check_key(&address);
                self.clean(limiter);
                outcome
            }),
            Subject::Endpoint(endpoint) => {
                let group = self
                    .by_endpoint
                    .iter()
                    .find(|(group, _)| *group == endpoint);
                group.map(|(_, limiter)| limiter.check())
            }
            Subject::Everyone => self.global.as_ref().map(RateLimiter::check),
        };
        match outcome {
            Some(Ok(state)) => Counted::Left(state.remaining_burst_capacity()),
            Some(Err(until)) => Counted::Refused(until.wait_time_from(self.clock.now())),
            // Every limit that applies has its limiter.
            None => Counted::Left(0),
        }
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
