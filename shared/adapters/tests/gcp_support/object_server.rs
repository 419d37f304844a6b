//! A local server of as much of Cloud Storage's XML API as the adapter uses, with faults on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use tokio::net::TcpListener;

use super::queue::Background;

/// Names of a page at the most, fewer than the service's, so that pages are turned.
const MAX_PAGE: usize = 5;
const WRITTEN: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

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
    objects: BTreeMap<String, Object>,
    faults: Vec<Fault>,
    requests: usize,
}

type Shared = Arc<Mutex<Stored>>;

/// The server; its objects go with it.
pub struct ObjectServer {
    pub address: String,
    stored: Shared,
    _serving: Background,
}

impl ObjectServer {
    pub async fn start() -> Self {
        let stored = Shared::default();
        let router = Router::new()
            .route("/{bucket}", get(list))
            .route("/{bucket}/{*object}", any(object))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&stored));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            stored,
            _serving: Background::spawn(async { axum::serve(listener, router).await.unwrap() }),
        }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap()
    }

    /// The next requests for objects meet these faults.
    pub fn fail_with(&self, faults: &[Fault]) {
        self.stored().faults = faults.iter().rev().copied().collect();
    }

    /// Changes an object's bytes behind everyone's back.
    pub fn damage(&self, name: &str) {
        let mut stored = self.stored();
        let object = stored.objects.get_mut(name).unwrap();
        object.bytes = Bytes::from_static(b"damaged");
    }

    /// The objects' names.
    pub fn names(&self) -> Vec<String> {
        self.stored().objects.keys().cloned().collect()
    }

    /// Requests for objects so far.
    pub fn requests(&self) -> usize {
        self.stored().requests
    }
}

async fn object(
    State(stored): State<Shared>,
    Path((_, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fault = {
        let mut stored = stored.lock().unwrap();
        stored.requests += 1;
        stored.faults.pop()
    };
    match fault {
        Some(Fault::Refuse) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::Hang(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let answer = answer(&mut stored.lock().unwrap(), &name, &method, &headers, body);
    match fault {
        Some(Fault::LoseAnswer) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => answer,
    }
}

fn answer(
    stored: &mut Stored,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    match *method {
        Method::PUT => {
            let create_only = headers
                .get("x-goog-if-generation-match")
                .is_some_and(|generation| generation == "0");
            if create_only && stored.objects.contains_key(name) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            let metadata = headers
                .iter()
                .filter(|(n, _)| n.as_str().starts_with("x-goog-meta-"));
            let object = Object {
                bytes: body,
                metadata: metadata.map(|(n, v)| (n.clone(), v.clone())).collect(),
            };
            stored.objects.insert(name.to_owned(), object);
            [(header::ETAG, "\"1\""), (header::LAST_MODIFIED, WRITTEN)].into_response()
        }
        Method::DELETE if stored.objects.remove(name).is_some() => {
            StatusCode::NO_CONTENT.into_response()
        }
        Method::GET | Method::HEAD => match stored.objects.get(name) {
            Some(object) => read(
                object,
                headers.get(header::RANGE).map(|r| r.to_str().unwrap()),
            ),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn read(object: &Object, range: Option<&str>) -> Response {
    let size = object.bytes.len();
    let fixed = [(header::ETAG, "\"1\""), (header::LAST_MODIFIED, WRITTEN)];
    let Some(range) = range else {
        return (fixed, object.metadata.clone(), object.bytes.clone()).into_response();
    };
    let (start, end) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse::<u64>().map_or(size, |last| {
        usize::try_from(last.saturating_add(1)).unwrap().min(size)
    });
    if start >= size {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let part = format!("bytes {start}-{}/{size}", end - 1);
    let bytes = object.bytes.slice(start..end);
    let range = [(header::CONTENT_RANGE, part)];
    (StatusCode::PARTIAL_CONTENT, fixed, range, bytes).into_response()
}

async fn list(
    State(stored): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> String {
    let text = |name: &str| query.get(name).cloned().unwrap_or_default();
    let (prefix, after) = (
        text("prefix"),
        text("start-after").max(text("continuation-token")),
    );
    let most = text("max-keys").parse().unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let stored = stored.lock().unwrap();
    let names = stored.objects.iter();
    let mut found = names.filter(|(name, _)| name.starts_with(&prefix) && **name > after);
    let page: Vec<_> = found.by_ref().take(most).collect();
    let more = found.next().is_some();
    let next = page
        .last()
        .filter(|_| more)
        .map_or(String::new(), |(name, _)| {
            format!("<NextContinuationToken>{name}</NextContinuationToken>")
        });
    let contents: String = page
        .iter()
        .map(|(name, object)| {
            format!(
                "<Contents><Key>{name}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"1\"</ETag><Size>{}</Size></Contents>",
                object.bytes.len()
            )
        })
        .collect();
    format!("<?xml version='1.0'?><ListBucketResult>{contents}{next}</ListBucketResult>")
}
