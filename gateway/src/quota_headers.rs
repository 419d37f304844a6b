//! Headers that tell a client what is left of its quota.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use oscillink_domain::Timestamp;
use oscillink_engine::UsageView;

/// Units per window.
pub const QUOTA_LIMIT: HeaderName = HeaderName::from_static("x-quota-limit");
/// Units left in the window.
pub const QUOTA_REMAINING: HeaderName = HeaderName::from_static("x-quota-remaining");
/// End of the window, seconds since the epoch.
pub const QUOTA_RESET: HeaderName = HeaderName::from_static("x-quota-reset");
/// Units per month.
pub const MONTHLY_CAP: HeaderName = HeaderName::from_static("x-monthly-cap");
/// Units used and reserved this month.
pub const MONTHLY_USED: HeaderName = HeaderName::from_static("x-monthly-used");
/// Units left this month.
pub const MONTHLY_REMAINING: HeaderName = HeaderName::from_static("x-monthly-remaining");
/// What is left of each policy.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The policies in force.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Seconds from `now` to `then`, rounded up, zero when past.
pub fn seconds_until(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(then.millis_since(now))
        .unwrap_or(0)
        .div_ceil(1_000)
}

/// Whole seconds of a wait, rounded up.
pub fn seconds_until_duration(wait: std::time::Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Inserts the headers for `usage`; a period without a limit has none.
pub fn insert(headers: &mut HeaderMap, usage: &UsageView, now: Timestamp) {
    let (window, month) = (&usage.window, &usage.month);
    if let (Some(limit), Some(left)) = (window.limit, window.remaining()) {
        let reset = window.resets_at.as_millis().div_euclid(1_000);
        headers.insert(QUOTA_LIMIT, limit.get().into());
        headers.insert(QUOTA_REMAINING, left.get().into());
        headers.insert(QUOTA_RESET, reset.into());
        let seconds = seconds_until(window.resets_at, now);
        append_policy(headers, "units", limit.get(), None, left.get(), seconds);
    }
    if let (Some(limit), Some(left)) = (month.limit, month.remaining()) {
        headers.insert(MONTHLY_CAP, limit.get().into());
        headers.insert(MONTHLY_USED, month.tally.total().get().into());
        headers.insert(MONTHLY_REMAINING, left.get().into());
        let seconds = seconds_until(month.resets_at, now);
        append_policy(headers, "month", limit.get(), None, left.get(), seconds);
    }
}

/// Tells the request's log line how many units are left.
pub fn record(usage: &UsageView) {
    if let Some(left) = usage.window.remaining().or(usage.month.remaining()) {
        tracing::Span::current().record("quota_remaining", left.get());
    }
}

/// Adds a policy to `RateLimit-Policy` and its state to `RateLimit`.
pub fn append_policy(
    headers: &mut HeaderMap,
    name: &str,
    quota: u64,
    window_s: Option<u64>,
    remaining: u64,
    reset_s: u64,
) {
    let window = window_s.map_or(String::new(), |w| format!(";w={w}"));
    let policy = format!("\"{name}\";q={quota}{window}");
    let state = format!("\"{name}\";r={remaining};t={reset_s}");
    for (header, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(header, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use oscillink_domain::Units;
    use oscillink_domain::quota::Tally;
    use oscillink_engine::PeriodUsage;

    use super::*;

    #[test]
    fn a_limited_window_and_an_unlimited_month() {
        let period = |limit| PeriodUsage {
            limit,
            tally: Tally {
                reserved: Units::new(10),
                used: Units::new(20),
            },
            resets_at: Timestamp::from_millis(61_500),
        };
        let usage = UsageView {
            window: period(Some(Units::new(100))),
            month: period(None),
            period: "1970-01".into(),
            live_jobs: 0,
        };
        let mut headers = HeaderMap::new();
        insert(&mut headers, &usage, Timestamp::from_millis(1_000));
        assert_eq!(headers["x-quota-remaining"], "70");
        assert_eq!(headers["x-quota-reset"], "61");
        assert_eq!(headers["ratelimit"], "\"units\";r=70;t=61");
        assert_eq!(headers["ratelimit-policy"], "\"units\";q=100");
        assert!(!headers.contains_key("x-monthly-cap"));
    }
}
