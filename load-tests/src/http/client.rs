//! Connections to one target, kept and used again. For one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Answer, CallError, Streaming, Target};

/// Longest answer that is read, bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Longest a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// A pool of connections.
pub struct Client {
    target: Target,
    idle: RefCell<Vec<Sender>>,
    room: Semaphore,
    timeout: Duration,
    tls: Option<TlsConnector>,
    opened: Cell<u64>,
}

impl Client {
    /// A client of at most so many connections. Nothing is sent yet.
    #[must_use]
    pub fn new(target: Target, connections: usize, timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            tls: target.tls.then(tls_connector),
            target,
            idle: RefCell::default(),
            room: Semaphore::new(connections),
            timeout,
            opened: Cell::new(0),
        })
    }

    /// Where requests go.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Connections made so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// A request with the host header and nothing else.
    #[must_use]
    pub fn request(&self, method: http::Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, &self.target.authority)
    }

    /// Sends and reads the whole answer, within the client's time limit. The wait for a free
    /// connection counts.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(&self, request: Request<Full<Bytes>>) -> Result<Answer, CallError> {
        let limit = self.timeout;
        self.call_within(request, limit).await
    }

    /// The same with a time limit of its own.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call_within(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        tokio::time::timeout(limit, self.exchange(request))
            .await
            .unwrap_or(Err(CallError::Timeout))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, CallError> {
        let _room = self.room().await;
        let (sender, response) = self.send(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                CallError::TooLarge(MAX_ANSWER_BYTES)
            } else {
                CallError::Broken(error.to_string())
            }
        })?;
        self.keep(sender);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// Sends and gives the answer's head, its body as it comes. The time limit is for the head.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn open(
        self: &Rc<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<Streaming<'_>, CallError> {
        let sent = async {
            let room = self.room().await;
            let (sender, response) = self.send(request).await?;
            Ok(Streaming::new(self, room, sender, response))
        };
        tokio::time::timeout(self.timeout, sent)
            .await
            .unwrap_or(Err(CallError::Timeout))
    }

    async fn room(&self) -> SemaphorePermit<'_> {
        let room = self.room.acquire().await;
        room.expect("the semaphore lives as long as the client and is never closed")
    }

    /// Sends on a kept connection or a new one. A kept connection that the server has closed in
    /// the meantime gives the request back unsent; then the next one is tried.
    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Sender, http::Response<Incoming>), CallError> {
        loop {
            let kept = self.idle.borrow_mut().pop();
            let fresh = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            if sender.ready().await.is_err() {
                if fresh {
                    return Err(CallError::Broken("closed at once".to_owned()));
                }
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(CallError::Broken(error.error().to_string())),
                },
            }
        }
    }

    /// Takes a connection back whose answer has been read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        if !sender.is_closed() {
            self.idle.borrow_mut().push(sender);
        }
    }

    async fn connect(&self) -> Result<Sender, CallError> {
        let refused = |error: std::io::Error| CallError::Connect(error.to_string());
        let connected = async {
            let address = (self.target.host.as_str(), self.target.port);
            let stream = TcpStream::connect(address).await.map_err(refused)?;
            stream.set_nodelay(true).map_err(refused)?;
            let Some(tls) = &self.tls else {
                return handshake(stream).await;
            };
            let name = ServerName::try_from(self.target.host.clone())
                .map_err(|error| CallError::Connect(error.to_string()))?;
            handshake(tls.connect(name, stream).await.map_err(refused)?).await
        };
        let sender = tokio::time::timeout(CONNECT_TIMEOUT, connected)
            .await
            .unwrap_or_else(|_| Err(CallError::Connect("timed out".to_owned())))?;
        self.opened.set(self.opened.get() + 1);
        Ok(sender)
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| CallError::Connect(error.to_string()))?;
    tokio::task::spawn_local(async move {
        // What breaks a connection is told to the request that is on it.
        let _ = connection.await;
    });
    Ok(sender)
}

fn tls_connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
