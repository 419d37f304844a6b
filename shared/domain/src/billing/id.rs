//! Identifiers that the payment provider gives out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id accepted, bytes. Checkout sessions have the longest, about 70.
const MAX_LEN: usize = 150;

/// An id of the payment provider: `sub_…`, `cus_…`, `evt_…`, `cs_…`, `price_…`. Letters, digits and
/// underscores only, so that it can name a document and stand in a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BillingId(String);

/// The text is not such an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an id of the payment provider: expected 1 to {MAX_LEN} letters, digits or underscores"
)]
pub struct InvalidBillingId;

impl BillingId {
    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BillingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BillingId {
    type Err = InvalidBillingId;

    fn from_str(text: &str) -> Result<Self, InvalidBillingId> {
        let valid = (1..=MAX_LEN).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBillingId)
        }
    }
}

impl<'de> Deserialize<'de> for BillingId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_their_place() {
        assert!("sub_1MowQVLkdIwHu7ixeRlqHVzs".parse::<BillingId>().is_ok());
        for bad in ["", "a/b", "..", "a b", "é", &"x".repeat(151)] {
            assert!(bad.parse::<BillingId>().is_err(), "{bad:?}");
        }
    }
}
