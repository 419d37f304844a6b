//! An answer whose body is read as it comes, for server-sent events.

use std::rc::Rc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::SemaphorePermit;

use super::CallError;
use super::client::{Client, Sender};

/// A body under way. Dropped before its end, its connection is closed.
pub struct Streaming<'a> {
    client: &'a Rc<Client>,
    _room: SemaphorePermit<'a>,
    sender: Option<Sender>,
    status: StatusCode,
    body: Incoming,
}

impl<'a> Streaming<'a> {
    pub(super) fn new(
        client: &'a Rc<Client>,
        room: SemaphorePermit<'a>,
        sender: Sender,
        response: Response<Incoming>,
    ) -> Self {
        Self {
            client,
            _room: room,
            sender: Some(sender),
            status: response.status(),
            body: response.into_body(),
        }
    }

    /// The answer's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(CallError::Broken(error.to_string())),
                None => {
                    if let Some(sender) = self.sender.take() {
                        self.client.keep(sender);
                    }
                    return Ok(None);
                }
            }
        }
    }
}
