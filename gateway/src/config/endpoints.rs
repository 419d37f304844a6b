//! Request limits of groups of routes.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::RequestLimit;

/// A group of routes that cost about the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Synchronous computing.
    Settle,
    /// Submitting one job.
    Submit,
    /// Submitting a batch.
    Batch,
    /// Looking, listing, cancelling.
    Jobs,
    /// Usage and keys.
    Account,
    /// Operators.
    Admin,
}

impl Endpoint {
    const ALL: [Self; 6] = [
        Self::Settle,
        Self::Submit,
        Self::Batch,
        Self::Jobs,
        Self::Account,
        Self::Admin,
    ];

    /// The name in settings and headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Submit => "submit",
            Self::Batch => "batch",
            Self::Jobs => "jobs",
            Self::Account => "account",
            Self::Admin => "admin",
        }
    }

    /// The group of a route below `/v1`.
    #[must_use]
    pub fn of(route: &str) -> Self {
        match route.strip_prefix("/v1").unwrap_or(route) {
            "/jobs/settle" | "/jobs/diffusion" | "/jobs/chain" => Self::Submit,
            "/jobs/batch" => Self::Batch,
            path if path.starts_with("/jobs") => Self::Jobs,
            path if path.starts_with("/usage") || path.starts_with("/keys") => Self::Account,
            path if path.starts_with("/admin") => Self::Admin,
            _ => Self::Settle,
        }
    }
}

/// Limits of groups, as `settle=600/60,batch=10/60` says: requests in so many seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointLimits(pub Vec<(Endpoint, RequestLimit)>);

impl FromStr for EndpointLimits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items.map(item).collect::<Result<_, _>>().map(Self)
    }
}

fn item(text: &str) -> Result<(Endpoint, RequestLimit), String> {
    let refuse = || {
        let names: Vec<_> = Endpoint::ALL.iter().map(|e| e.as_str()).collect();
        format!(
            "{text:?} is not a limit such as settle=600/60; groups are {}",
            names.join(", ")
        )
    };
    let (name, limit) = text.split_once('=').ok_or_else(refuse)?;
    let (requests, window) = limit.split_once('/').unwrap_or((limit, "60"));
    let endpoint = Endpoint::ALL
        .into_iter()
        .find(|e| e.as_str() == name.trim());
    let requests: NonZeroU32 = requests.trim().parse().map_err(|_| refuse())?;
    let window: u32 = window.trim().parse().map_err(|_| refuse())?;
    if window == 0 {
        return Err(refuse());
    }
    let limit = RequestLimit {
        requests,
        window: Duration::from_secs(window.into()),
    };
    Ok((endpoint.ok_or_else(refuse)?, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_refused() {
        let limits: EndpointLimits = "settle=600/10, batch=5".parse().unwrap();
        let read: Vec<_> = limits
            .0
            .iter()
            .map(|(e, l)| (e.as_str(), l.window.as_secs()))
            .collect();
        assert_eq!(read, [("settle", 10), ("batch", 60)]);
        for bad in ["settle", "none=1/1", "settle=0/1", "settle=1/0", "settle=x"] {
            assert!(bad.parse::<EndpointLimits>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_route_has_its_group() {
        for (route, group) in [
            ("/v1/chain/receipt", Endpoint::Settle),
            ("/v1/jobs/chain", Endpoint::Submit),
            ("/v1/jobs/batch", Endpoint::Batch),
            ("/v1/jobs/{id}/events", Endpoint::Jobs),
            ("/v1/keys/self/rotate", Endpoint::Account),
            ("/v1/admin/jobs/{id}", Endpoint::Admin),
        ] {
            assert_eq!(Endpoint::of(route), group, "{route}");
        }
    }
}
