//! Runs a router on a listener: bounded connections, patience with no client, and a drain at the end.

mod addresses;
mod descriptors;
mod guarded;
mod protocol;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use oscillink_telemetry::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use crate::config::Config;
use addresses::Addresses;
use guarded::Guarded;
use protocol::Protocol;

/// Pause after a failed accept: the process may be out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_STREAMS: u32 = 100;

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Connections at once; more wait in the listener's backlog.
    pub max_connections: usize,
    /// Of these, from one address (an IPv6 /64); 0 is no limit. More are closed at once.
    pub max_per_address: usize,
    /// Time for a request's headers to arrive; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Longest pause of a client that does not read its answer.
    pub write_timeout: Duration,
    /// Time for requests under way once shutdown has begun.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_per_address: 0,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(8),
        }
    }
}

impl From<&Config> for ServeOptions {
    fn from(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections,
            max_per_address: config.max_connections_per_address,
            ..Self::default()
        }
    }
}

/// Serves `router` until `shutdown` begins, then lets requests under way finish for a while.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
    options: ServeOptions,
) {
    let places = descriptors::room_for(options.max_connections);
    let places = Arc::new(Semaphore::new(places));
    let addresses = Addresses::new(options.max_per_address);
    let graceful = GracefulShutdown::new();
    let builder = Arc::new(builder(&options));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = shutdown.wait() => break,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let Some(turn) = addresses.enter(peer.ip()) else {
            tracing::debug!(%peer, "an address has all the connections that it may have");
            continue;
        };
        let (builder, router) = (Arc::clone(&builder), router.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            connection(stream, peer, router, &builder, watcher, options).await;
            drop((turn, place));
        });
    }
    drop(listener);
    if timeout(options.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still under way when the time to drain was over");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn builder(options: &ServeOptions) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(options.header_timeout)
        .keep_alive_timeout(options.header_timeout);
    builder
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    builder: &Builder<TokioExecutor>,
    watcher: Watcher,
    options: ServeOptions,
) {
    // Answers are written whole: waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    // The builder's own look at the first bytes would wait for them for ever.
    let Some(protocol) = protocol::peek(&stream, options.header_timeout).await else {
        return;
    };
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let io = TokioIo::new(Guarded::new(stream, options.write_timeout));
    let builder = match protocol {
        Protocol::Http1 => builder.clone().http1_only(),
        Protocol::Http2 => builder.clone().http2_only(),
    };
    let connection = builder.serve_connection(io, TowerToHyperService::new(service));
    // Clients that go away or break the protocol are not news.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
