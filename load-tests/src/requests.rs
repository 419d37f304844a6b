//! Requests of the API.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;

use crate::http::Client;
use crate::problem::Body;

/// What a request is built with; all of it valid by construction.
const VALID: &str = "methods, paths and headers were checked before the run";

/// A GET with a key.
#[must_use]
pub fn get(client: &Client, path: &str, key: &HeaderValue) -> Request<Full<Bytes>> {
    client
        .request(Method::GET, path)
        .header("x-api-key", key)
        .body(Full::default())
        .expect(VALID)
}

/// A GET without a key.
#[must_use]
pub fn probe(client: &Client, path: &str) -> Request<Full<Bytes>> {
    client
        .request(Method::GET, path)
        .body(Full::default())
        .expect(VALID)
}

/// A POST of a problem. `query` is put behind the problem's own; `repeatable` sends the request's
/// id as idempotency key too.
#[must_use]
pub fn post_problem(
    client: &Client,
    (path, query): (&str, &str),
    key: &HeaderValue,
    id: &str,
    body: &Body,
    repeatable: bool,
) -> Request<Full<Bytes>> {
    let parts = [body.query.as_str(), query];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let path = match parts.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", parts.join("&")),
    };
    let mut request = client
        .request(Method::POST, &path)
        .header("x-api-key", key)
        .header("x-request-id", id)
        .header(http::header::CONTENT_TYPE, body.media_type);
    if repeatable {
        request = request.header("idempotency-key", id);
    }
    request.body(Full::new(body.bytes.clone())).expect(VALID)
}

/// Text as a value in a query.
#[must_use]
pub fn in_query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_of_a_query_are_escaped() {
        assert_eq!(super::in_query("http://a/b?c"), "http%3A%2F%2Fa%2Fb%3Fc");
    }
}
