//! A receiver of callbacks on a real socket, which answers as its script says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

/// What came in.
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

struct Desk {
    script: Vec<u16>,
    location: String,
    taken: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    sender: mpsc::UnboundedSender<Received>,
}

pub struct Receiver {
    address: SocketAddr,
    desk: Arc<Desk>,
    received: Mutex<mpsc::UnboundedReceiver<Received>>,
}

impl Receiver {
    /// Answers with these statuses, one after the other; 0 never answers.
    pub async fn start(script: &[u16]) -> Self {
        Self::with(script, "").await
    }

    pub async fn redirecting(to: &str) -> Self {
        Self::with(&[307], to).await
    }

    async fn with(script: &[u16], location: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            script: script.to_vec(),
            location: location.to_owned(),
            taken: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            sender,
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&desk));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            desk,
            received: Mutex::new(received),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came next.
    pub async fn next(&self) -> Received {
        let mut received = self.received.lock().await;
        let next = timeout(Duration::from_secs(10), received.recv()).await;
        next.expect("a callback comes").unwrap()
    }

    /// How much came.
    pub fn count(&self) -> usize {
        self.desk.taken.load(Ordering::SeqCst)
    }

    /// Requests that were open at the same time.
    pub fn most_at_once(&self) -> usize {
        self.desk.most.load(Ordering::SeqCst)
    }
}

struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn take(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Response {
    let open = desk.open.fetch_add(1, Ordering::SeqCst) + 1;
    let _open = Open(&desk.open);
    desk.most.fetch_max(open, Ordering::SeqCst);
    let place = desk.taken.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let received = Received {
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: to_bytes(body, 1 << 20).await.unwrap().into(),
    };
    let _ = desk.sender.send(received);
    match desk.script.get(place).copied().unwrap_or(200) {
        0 => std::future::pending().await,
        status => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("location", desk.location.clone())]).into_response()
        }
    }
}
