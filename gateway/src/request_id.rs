//! The request's id: the client's own if it has a usable form, else a new one.

use axum::http::{HeaderMap, HeaderName};
use oscillink_domain::id::base62;

/// Carries the id in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id accepted from a client, bytes.
const MAX_LEN: usize = 100;

/// A request's id, as the client sees it. Clients may repeat their own.
#[derive(Clone, Debug)]
pub struct RequestId {
    /// The id.
    pub id: String,
    /// Made here, so that no other request has it.
    pub is_ours: bool,
}

impl RequestId {
    /// The id of a request with these headers; `new_id` makes one.
    #[must_use]
    pub fn of(headers: &HeaderMap, new_id: impl FnOnce() -> [u8; 16]) -> Self {
        let given = headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        let (id, is_ours) = match given.filter(|text| is_valid(text)) {
            Some(given) => (given.to_owned(), false),
            None => (format!("req_{}", base62(&new_id())), true),
        };
        Self { id, is_ours }
    }
}

fn is_valid(text: &str) -> bool {
    (1..=MAX_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_ids_are_kept_others_replaced() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, text.parse().unwrap());
            RequestId::of(&headers, || [7; 16]).id
        };
        assert_eq!(id("trace-1.a_b"), "trace-1.a_b");
        for bad in ["", "a b", "a/b", &"x".repeat(101)] {
            assert!(id(bad).starts_with("req_"), "{bad}");
        }
    }
}
