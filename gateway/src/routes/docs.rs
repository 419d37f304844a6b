//! The API's description, for programs and for people. Nothing here asks for anything from outside.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oscillink_domain::Sha256Hex;

use crate::error::{Kind, Problem};
use crate::openapi::DOCUMENT;

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = include_str!("docs/docs.js");
const STYLE: &str = include_str!("docs/docs.css");

/// What the page may do: its own script and style, and requests to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /openapi.json`
pub async fn document(headers: HeaderMap) -> Response {
    let text: &'static str = DOCUMENT.as_str();
    let tag = format!("\"{}\"", Sha256Hex::of(text.as_bytes()).prefix());
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut answer = HeaderMap::new();
    if let Ok(tag) = tag.parse() {
        answer.insert(header::ETAG, tag);
    }
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if known {
        return (StatusCode::NOT_MODIFIED, answer).into_response();
    }
    let media = HeaderValue::from_static("application/json");
    answer.insert(header::CONTENT_TYPE, media);
    (answer, text).into_response()
}

/// `GET /docs`
pub async fn page() -> Response {
    served("text/html; charset=utf-8", PAGE)
}

/// `GET /docs/{file}`
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    match name.as_str() {
        "docs.js" => Ok(served("text/javascript; charset=utf-8", SCRIPT)),
        "docs.css" => Ok(served("text/css; charset=utf-8", STYLE)),
        _ => Err(Problem::new(Kind::NotFound, "there is no such file")),
    }
}

fn served(media: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
    ];
    (headers, text).into_response()
}
