//! Settings of the gateway's own form.

use std::num::NonZeroU32;
use std::time::Duration;

use oscillink_domain::Tier;
use oscillink_domain::settings::Lookup;
use oscillink_domain::tier::UnknownTier;

/// Longest time that a setting may ask for: anything more is a slip of the keyboard.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A number of requests per window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimit {
    /// Requests.
    pub requests: NonZeroU32,
    /// Window.
    pub window: Duration,
}

impl RequestLimit {
    /// A limit in one variable and its window, in seconds, in another; none or 0 is no limit.
    pub(super) fn read(read: &mut Lookup<'_>, limit: &str, window: &str) -> Option<Self> {
        let window = seconds(read, window, Duration::from_secs(60));
        let requests = NonZeroU32::new(read.parsed(limit, 0_u32))?;
        Some(Self { requests, window })
    }
}

/// A time of 1 second to 30 days.
pub(super) fn seconds(read: &mut Lookup<'_>, name: &str, default: Duration) -> Duration {
    let time = read.seconds(name, default);
    if time > LONGEST {
        read.refuse(
            name,
            format_args!("must be at most {} seconds", LONGEST.as_secs()),
        );
        return default;
    }
    time
}

/// A number of proxies; `true` is one.
pub(super) fn proxies(read: &mut Lookup<'_>, name: &str) -> usize {
    match read.text(name).as_deref() {
        None | Some("false" | "no" | "off") => 0,
        Some("true" | "yes" | "on") => 1,
        Some(_) => read.parsed(name, 0),
    }
}

/// Tiers separated by commas; `none` is none of them.
pub(super) fn tiers(read: &mut Lookup<'_>, name: &str, default: Vec<Tier>) -> Vec<Tier> {
    let Some(text) = read.text(name).filter(|text| text != "none") else {
        return read.text(name).map_or(default, |_| Vec::new());
    };
    let parsed: Result<_, _> = text.split(',').map(|tier| tier.trim().parse()).collect();
    parsed.unwrap_or_else(|error: UnknownTier| {
        read.refuse(name, format_args!("cannot be used: {error}"));
        default
    })
}
