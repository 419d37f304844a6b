//! The request's id: the client's own if it has a usable form, else a new one.

use axum::http::{HeaderMap, HeaderName};
use oscillink_domain::id::base62;
use oscillink_ports::Entropy;

/// Carries the id in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id accepted from a client, bytes.
const MAX_LEN: usize = 100;

/// A request's id.
#[derive(Clone, Debug)]
pub struct RequestId {
    /// As the client sees it.
    pub id: String,
    /// Unique whatever clients send: the id of the request's ledger row. A client that repeats its
    /// own id must not find its work already charged.
    pub unique: String,
}

impl RequestId {
    /// The id of a request with these headers.
    #[must_use]
    pub fn of(headers: &HeaderMap, entropy: &dyn Entropy) -> Self {
        let fresh = format!("req_{}", base62(&entropy.id_bytes()));
        let given = headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        match given.filter(|text| is_valid(text)) {
            Some(given) => Self {
                id: given.to_owned(),
                unique: format!("{given}.{fresh}"),
            },
            None => Self {
                id: fresh.clone(),
                unique: fresh,
            },
        }
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

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, out: &mut [u8]) {
            out.fill(7);
        }
    }

    #[test]
    fn usable_ids_are_kept_others_replaced() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, text.parse().unwrap());
            RequestId::of(&headers, &Sevens)
        };
        let kept = id("trace-1.a_b");
        assert_eq!(kept.id, "trace-1.a_b");
        assert!(kept.unique.starts_with("trace-1.a_b.req_"));
        for bad in ["", "a b", "a/b", &"x".repeat(101)] {
            let fresh = id(bad);
            assert!(
                fresh.id.starts_with("req_") && fresh.id == fresh.unique,
                "{bad}"
            );
        }
    }
}
