//! Bodies that a handler answered without reading: a connection over HTTP/1 takes no further request
//! until the last one's body has been read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::timeout;

/// Bytes that are read for the sake of the connection; beyond them a new one costs less.
const MOST: usize = 256 * 1024;
/// How long is waited for them.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where a body comes back to when it is dropped before its end.
pub(crate) struct Unread {
    place: Arc<Mutex<Option<Body>>>,
    /// The client sends nothing before it is told to.
    waits: bool,
}

impl Unread {
    /// Lends the request's body to whoever handles it. `None`: there is none, or the protocol can do
    /// without it.
    pub(crate) fn of(request: &mut Request) -> Option<Self> {
        if request.version() > Version::HTTP_11 || HttpBody::is_end_stream(request.body()) {
            return None;
        }
        let place = Arc::default();
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(Lent {
            body: Some(body),
            place: Arc::clone(&place),
        });
        let waits = request.headers().contains_key(header::EXPECT);
        Some(Self { place, waits })
    }

    /// Reads what is left of the body if it is little, else tells the client that the connection ends.
    pub(crate) async fn settle(self, response: &mut Response) {
        let left = self
            .place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(body) = left else {
            return;
        };
        if self.waits || !is_read(body).await {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

/// Whether the body could be read to its end.
async fn is_read(mut body: Body) -> bool {
    if HttpBody::size_hint(&body).lower() > MOST as u64 {
        return false;
    }
    let read = async {
        let mut left = MOST;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return false;
            };
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else {
                return false;
            };
            left = rest;
        }
        true
    };
    timeout(PATIENCE, read).await.unwrap_or(false)
}

struct Lent {
    /// `None` once it has ended.
    body: Option<Body>,
    place: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(&polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(HttpBody::size_hint);
        hint.unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = self.body.take();
        if let Some(body) = body.filter(|body| !HttpBody::is_end_stream(body)) {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            *place = Some(body);
        }
    }
}
