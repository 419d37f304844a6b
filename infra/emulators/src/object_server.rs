//! A local object store that speaks the part of Cloud Storage's XML API that the adapter uses:
//! create-only writes, ranges, listing, deletion. Objects are kept in memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Largest object, bytes.
const MAX_OBJECT_BYTES: usize = 512 << 20;
/// Most names of one listing.
const PAGE: usize = 1_000;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A running store; it ends with its owner.
pub struct ObjectServer {
    address: String,
    serving: JoinHandle<()>,
}

impl ObjectServer {
    /// Starts on a free port, empty.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/{bucket}", any(list))
            .route("/{bucket}/", any(list))
            .route("/{bucket}/{*name}", any(object))
            .layer(DefaultBodyLimit::disable())
            .with_state(Objects::default());
        let serving = tokio::spawn(async move {
            // Its end is seen by those who call it.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { address, serving })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked(objects: &Objects) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn object(
    State(objects): State<Objects>,
    Path((bucket, name)): Path<(String, String)>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let key = format!("{bucket}/{name}");
    match *request.method() {
        Method::PUT => {
            let create_only = headers
                .get("x-goog-if-generation-match")
                .is_some_and(|value| value == "0");
            let Ok(bytes) = axum::body::to_bytes(request.into_body(), MAX_OBJECT_BYTES).await
            else {
                return StatusCode::PAYLOAD_TOO_LARGE.into_response();
            };
            let mut objects = locked(&objects);
            if create_only && objects.contains_key(&key) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            objects.insert(key, bytes);
            (StatusCode::OK, [(header::ETAG, "\"1\""), GENERATION]).into_response()
        }
        Method::GET | Method::HEAD => match locked(&objects).get(&key) {
            Some(bytes) => read(bytes, &headers),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::DELETE => match locked(&objects).remove(&key) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

const GENERATION: (header::HeaderName, &str) =
    (header::HeaderName::from_static("x-goog-generation"), "1");
const MODIFIED: (header::HeaderName, &str) =
    (header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT");

fn read(bytes: &Bytes, headers: &HeaderMap) -> Response {
    let total = bytes.len();
    let range = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let known = [(header::ETAG, "\"1\""), GENERATION, MODIFIED];
    let Some(range) = range else {
        return (known, Body::from(bytes.clone())).into_response();
    };
    let (start, end) = range.split_once('-').unwrap_or((range, ""));
    let start = start.parse::<usize>().unwrap_or(0);
    let end = end
        .parse::<usize>()
        .map_or(total, |last| last.saturating_add(1).min(total));
    if start >= total || start >= end {
        let all = format!("bytes */{total}");
        return (
            StatusCode::RANGE_NOT_SATISFIABLE,
            [(header::CONTENT_RANGE, all)],
        )
            .into_response();
    }
    let part = format!("bytes {start}-{}/{total}", end - 1);
    (
        StatusCode::PARTIAL_CONTENT,
        known,
        [(header::CONTENT_RANGE, part)],
        bytes.slice(start..end),
    )
        .into_response()
}

async fn list(
    State(objects): State<Objects>,
    Path(bucket): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let prefix = query.get("prefix").map_or("", String::as_str);
    // Listing goes on behind a name; the token of a next page is that name.
    let after = query
        .get("continuation-token")
        .or_else(|| query.get("start-after"));
    let limit = query
        .get("max-keys")
        .and_then(|n| n.parse().ok())
        .unwrap_or(PAGE)
        .min(PAGE);
    let objects = locked(&objects);
    let own = format!("{bucket}/");
    let mut found = objects
        .iter()
        .filter_map(|(key, bytes)| Some((key.strip_prefix(&own)?, bytes)))
        .filter(|(name, _)| {
            name.starts_with(prefix) && after.is_none_or(|after| *name > after.as_str())
        });
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let more = found.next().is_some();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>");
    for (name, bytes) in &page {
        // Names are of [A-Za-z0-9._/-]: nothing to escape. Writing to a string does not fail.
        let _ = write!(
            xml,
            "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>\"1\"</ETag><Size>{}</Size></Contents>",
            bytes.len()
        );
    }
    let _ = write!(xml, "<IsTruncated>{more}</IsTruncated>");
    if let Some((last, _)) = page.last().filter(|_| more) {
        let _ = write!(xml, "<NextContinuationToken>{last}</NextContinuationToken>");
    }
    xml.push_str("</ListBucketResult>");
    ([(header::CONTENT_TYPE, "application/xml")], xml).into_response()
}
