//! Takes callbacks (Standard Webhooks) on a port of its own and notes each one.

mod signature;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use crate::books::{Books, Kind, Ticket};
pub use signature::CallbackSecret;

/// Connections at once.
const MAX_CONNECTIONS: usize = 512;
/// Largest callback.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Bad signatures are told by their job; this begins the path.
const PATH: &str = "/callback/";

/// A receiver of callbacks.
pub struct Receiver {
    base: String,
    shared: Rc<Shared>,
}

struct Shared {
    books: Rc<RefCell<Books>>,
    secrets: Vec<CallbackSecret>,
    awaited: RefCell<HashMap<Ticket, oneshot::Sender<Instant>>>,
}

impl Receiver {
    /// Listens on `address`; callbacks are asked for at `public`, or at the address itself. Without
    /// secrets signatures are not checked.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(
        address: SocketAddr,
        public: Option<String>,
        secrets: Vec<CallbackSecret>,
        books: Rc<RefCell<Books>>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let own = format!("http://{}", listener.local_addr()?);
        let shared = Rc::new(Shared {
            books,
            secrets,
            awaited: RefCell::default(),
        });
        tokio::task::spawn_local(serve(listener, Rc::clone(&shared)));
        Ok(Self {
            base: public.unwrap_or(own),
            shared,
        })
    }

    /// Are signatures checked?
    #[must_use]
    pub fn checks_signatures(&self) -> bool {
        !self.shared.secrets.is_empty()
    }

    /// Where the callback of a job goes.
    #[must_use]
    pub fn url(&self, ticket: Ticket) -> String {
        format!("{}{PATH}{}", self.base, ticket.0)
    }

    /// Tells when the first callback of a job comes. To be asked for before the job is submitted.
    pub fn expect(&self, ticket: Ticket) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        self.shared.awaited.borrow_mut().insert(ticket, sender);
        receiver
    }
}

async fn serve(listener: TcpListener, shared: Rc<Shared>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        // A connection that fails while it is accepted is its client's loss.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let shared = Rc::clone(&shared);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| handle(&shared, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // Callers that hang up early have been noted if their callback was whole.
            let _ = connection.await;
            drop(permit);
        });
    }
}

async fn handle(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let arrived = Instant::now();
    let status = match take(shared, request, arrived).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(status) => status,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

async fn take(
    shared: &Shared,
    request: Request<Incoming>,
    arrived: Instant,
) -> Result<(), StatusCode> {
    let (head, body) = request.into_parts();
    let number = head.uri.path().strip_prefix(PATH);
    let ticket = number
        .and_then(|number| number.parse().ok())
        .map(Ticket)
        .filter(|ticket| (ticket.0 as usize) < shared.books.borrow().len())
        .ok_or(StatusCode::NOT_FOUND)?;
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let event = header("webhook-id").unwrap_or_default();
    if !shared.secrets.is_empty() {
        let signed = signature::Signed {
            id: event,
            timestamp: header("webhook-timestamp").unwrap_or_default(),
            signature: header("webhook-signature").unwrap_or_default(),
            body: &body,
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = since.map_or(0, |since| since.as_secs());
        if !shared
            .secrets
            .iter()
            .any(|secret| signed.is_by(secret, now_s))
        {
            let mut books = shared.books.borrow_mut();
            let id = books.id(ticket);
            let detail = format!("{id}: the callback {event:?} is not signed as it should be");
            books.violations.add(Kind::BadSignature, detail);
        }
    }
    shared.books.borrow_mut().called_back(ticket, event);
    if let Some(waiting) = shared.awaited.borrow_mut().remove(&ticket) {
        // Nobody waits any more when the run is over.
        let _ = waiting.send(arrived);
    }
    Ok(())
}
