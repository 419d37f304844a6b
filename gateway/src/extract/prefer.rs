//! The `Prefer` header (RFC 7240).

use std::time::Duration;

use axum::http::HeaderMap;

/// Longest wait that is granted.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What the client prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// A job is welcome when the work is too large to be answered at once.
    pub respond_async: bool,
    /// How long to wait for a change.
    pub wait: Option<Duration>,
}

impl Preferences {
    /// From all `Prefer` headers. What is not understood is ignored, as the RFC says.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut preferences = Self::default();
        let values = headers
            .get_all("prefer")
            .iter()
            .filter_map(|v| v.to_str().ok());
        for preference in values.flat_map(|text| text.split(',')) {
            let token = preference.split(';').next().unwrap_or_default().trim();
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => preferences.respond_async = true,
                "wait" => preferences.wait = seconds(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        preferences
    }
}

/// A wait of so many seconds, cut to the longest that is granted.
pub fn seconds(text: &str) -> Option<Duration> {
    text.parse()
        .ok()
        .map(|s| Duration::from_secs(s).min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_preferences_in_any_form() {
        let of = |texts: &[&str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append("prefer", text.parse().unwrap());
            }
            Preferences::of(&headers)
        };
        assert_eq!(of(&[]), Preferences::default());
        let both = of(&["handling=lenient, Respond-Async; x=1", "wait=10"]);
        assert!(both.respond_async);
        assert_eq!(both.wait, Some(Duration::from_secs(10)));
        assert_eq!(of(&["wait=9999"]).wait, Some(MAX_WAIT));
        assert_eq!(of(&["wait=-1"]).wait, None);
    }
}
