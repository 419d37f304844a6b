//! A point in time as whole milliseconds since the Unix epoch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Stored as an integer, shown as RFC 3339.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A time far enough away to mean "never" and still printable.
    pub const FAR_FUTURE: Self = Self(253_402_300_799_000);

    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `ms` milliseconds (negative goes back), saturating.
    #[must_use]
    pub const fn plus_millis(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The UTC calendar month, `YYYY-MM`: the period of the monthly cap.
    #[must_use]
    pub fn month(self) -> String {
        let text = self.to_string();
        text.get(..7).unwrap_or("0000-00").to_owned()
    }

    /// The UTC calendar day, `YYYY-MM-DD`.
    #[must_use]
    pub fn day(self) -> String {
        let text = self.to_string();
        text.get(..10).unwrap_or("0000-00-00").to_owned()
    }

    /// Parses RFC 3339, for example `2026-01-31T12:00:00Z`.
    ///
    /// # Errors
    /// The text is not a timestamp with an offset.
    pub fn parse_rfc3339(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>()
            .map(|t| Self(t.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds. Values outside jiff's range (year 9999) print as the epoch's edge.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clamped = self.0.clamp(-62_135_596_800_000, 253_402_207_199_999);
        match jiff::Timestamp::from_millisecond(clamped) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_parses_and_names_its_month() {
        let t = Timestamp::from_millis(1_767_225_599_123);
        assert_eq!(t.to_string(), "2025-12-31T23:59:59.123Z");
        assert_eq!(Timestamp::parse_rfc3339(&t.to_string()).unwrap(), t);
        assert_eq!(t.month(), "2025-12");
        assert_eq!(t.plus_millis(1_000).month(), "2026-01");
        assert_eq!(t.day(), "2025-12-31");
        assert!(Timestamp::FAR_FUTURE.to_string().starts_with("9999-12-3"));
    }
}
