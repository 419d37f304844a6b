//! The server on a real socket: both protocols, slow clients, many clients, the drain.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use oscillink_gateway::{ServeOptions, serve};
use oscillink_telemetry::{Shutdown, ShutdownHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

struct Server {
    address: SocketAddr,
    shutdown: ShutdownHandle,
    running: JoinHandle<()>,
}

async fn server(options: ServeOptions) -> Server {
    let router = Router::new().route("/", get(|| async { "hello" })).route(
        "/slow",
        get(|| async {
            sleep(Duration::from_millis(300)).await;
            "slow"
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (handle, shutdown) = Shutdown::new();
    Server {
        address,
        shutdown: handle,
        running: tokio::spawn(serve(listener, router, shutdown, options)),
    }
}

fn hasty() -> ServeOptions {
    ServeOptions {
        header_timeout: Duration::from_millis(200),
        ..ServeOptions::default()
    }
}

async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // A connection with unread bytes is reset, which is as good as closed.
    let _ = timeout(Duration::from_secs(10), reading)
        .await
        .expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn it_speaks_both_protocols() {
    let server = server(hasty()).await;
    let text = exchange(
        server.address,
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("hello"),
        "{text}"
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "a settings frame");
}

#[tokio::test]
async fn clients_that_dawdle_are_dropped() {
    let server = server(hasty()).await;
    for begun in [
        b"".as_slice(),
        b"P",
        b"PRI",
        b"GET / HTTP/1.1\r\nhost:",
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let text = exchange(server.address, begun).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 "), "{text}");
    }
}

#[tokio::test]
async fn headers_are_bounded() {
    let server = server(hasty()).await;
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert!(
        exchange(server.address, many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(200_000));
    assert!(
        exchange(server.address, long.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_their_turn() {
    let options = ServeOptions {
        max_connections: 1,
        ..hasty()
    };
    let server = server(options).await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    let text = exchange(
        server.address,
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        text.ends_with("hello"),
        "the idle one was dropped first: {text}"
    );
    drop(idle);
}

#[tokio::test]
async fn requests_under_way_are_finished_before_it_ends() {
    let server = server(ServeOptions::default()).await;
    let slow = tokio::spawn(exchange(
        server.address,
        b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n",
    ));
    sleep(Duration::from_millis(100)).await;
    server.shutdown.begin();
    assert!(slow.await.unwrap().ends_with("slow"));
    timeout(Duration::from_secs(2), server.running)
        .await
        .unwrap()
        .unwrap();
    TcpStream::connect(server.address).await.unwrap_err();
}

#[tokio::test]
async fn one_address_cannot_hold_every_connection() {
    let options = ServeOptions {
        max_per_address: 2,
        ..ServeOptions::default()
    };
    let server = server(options).await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    assert_eq!(
        exchange(server.address, request).await,
        "",
        "closed at once"
    );
    held.pop();
    let closing = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let again = async {
        while !exchange(server.address, closing).await.ends_with("hello") {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), again)
        .await
        .expect("a closed connection gives its place back");
}
