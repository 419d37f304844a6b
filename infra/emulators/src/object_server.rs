//! A local object store that speaks the part of Cloud Storage's XML API that the adapter uses:
//! create-only writes, metadata, ranges, listing, deletion. Objects are kept in memory; faults come on
//! demand.

mod listing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::Serving;

/// Largest object, bytes.
const MAX_OBJECT_BYTES: usize = 512 << 20;
/// Every object's entity tag and last change: nothing that uses them is served.
const KNOWN: [(HeaderName, &str); 2] = [
    (header::ETAG, "\"1\""),
    (header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT"),
];

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    metadata: HeaderMap,
}

/// What the server does instead of what it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Answers 503 without doing it.
    Refuse,
    /// Does it, and answers 503.
    LoseAnswer,
    /// Does not answer for this long.
    Hang(Duration),
}

#[derive(Default)]
struct Stored {
    /// By `bucket/name`.
    objects: BTreeMap<String, Object>,
    faults: Vec<Fault>,
    requests: usize,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Stored>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running store; it and its objects end with their owner.
pub struct ObjectServer {
    address: String,
    stored: Shared,
    _serving: Serving,
}

impl ObjectServer {
    /// Starts on a free port, with empty buckets of any name.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let stored = Shared::default();
        let router = Router::new()
            .route("/{bucket}", get(listing::list))
            .route("/{bucket}/", get(listing::list))
            .route("/{bucket}/{*name}", any(object))
            .layer(DefaultBodyLimit::max(MAX_OBJECT_BYTES))
            .with_state(stored.clone());
        let serving = Serving::spawn(async move {
            // Its end is seen by those who call it.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self {
            address,
            stored,
            _serving: serving,
        })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next requests for objects meet these faults.
    pub fn fail_with(&self, faults: &[Fault]) {
        self.stored.lock().faults = faults.iter().rev().copied().collect();
    }

    /// Changes an object's bytes behind everyone's back; whether there is such an object.
    pub fn damage(&self, bucket: &str, name: &str) -> bool {
        let mut stored = self.stored.lock();
        let object = stored.objects.get_mut(&format!("{bucket}/{name}"));
        object
            .map(|object| object.bytes = Bytes::from_static(b"damaged"))
            .is_some()
    }

    /// The objects, as `bucket/name`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.stored.lock().objects.keys().cloned().collect()
    }

    /// Requests for objects so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.stored.lock().requests
    }
}

async fn object(
    State(shared): State<Shared>,
    Path((bucket, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fault = {
        let mut stored = shared.lock();
        stored.requests += 1;
        stored.faults.pop()
    };
    match fault {
        Some(Fault::Refuse) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::Hang(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let key = format!("{bucket}/{name}");
    let answer = answer(&mut shared.lock(), &key, &method, &headers, body);
    match fault {
        Some(Fault::LoseAnswer) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => answer,
    }
}

fn answer(
    stored: &mut Stored,
    key: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    match *method {
        Method::PUT => {
            let create_only = headers
                .get("x-goog-if-generation-match")
                .is_some_and(|generation| generation == "0");
            if create_only && stored.objects.contains_key(key) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            let metadata = headers
                .iter()
                .filter(|(name, _)| name.as_str().starts_with("x-goog-meta-"));
            let object = Object {
                bytes: body,
                metadata: metadata.map(|(n, v)| (n.clone(), v.clone())).collect(),
            };
            stored.objects.insert(key.to_owned(), object);
            KNOWN.into_response()
        }
        Method::DELETE if stored.objects.remove(key).is_some() => {
            StatusCode::NO_CONTENT.into_response()
        }
        Method::GET | Method::HEAD => match stored.objects.get(key) {
            Some(object) => read(object, headers),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::DELETE => StatusCode::NOT_FOUND.into_response(),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn read(object: &Object, headers: &HeaderMap) -> Response {
    let size = object.bytes.len();
    let range = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((start, end)) = range else {
        return (KNOWN, object.metadata.clone(), object.bytes.clone()).into_response();
    };
    let start = start.parse::<usize>().unwrap_or(usize::MAX);
    let end = end
        .parse::<usize>()
        .map_or(size, |last| last.saturating_add(1).min(size));
    if start >= end {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let part = format!("bytes {start}-{}/{size}", end - 1);
    let range = [(header::CONTENT_RANGE, part)];
    let bytes = object.bytes.slice(start..end);
    (StatusCode::PARTIAL_CONTENT, KNOWN, range, bytes).into_response()
}
