//! Clients that take without giving: idle, slow, never reading. Others keep their latency.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::support::{Server, matrix, ok};

/// As many as the service is to bear.
const IDLE: usize = 10_000;
/// Open files of this process besides them.
const RESERVE: u64 = 256;
/// Memory of one idle connection, KiB.
const KIB_EACH: u64 = 16;

/// The median time of a small settle, one after the other.
fn latency(server: &Server) -> Duration {
    let request = json!({"Y": matrix(20, 8)});
    let mut times: Vec<_> = (0..15)
        .map(|_| {
            let begun = Instant::now();
            ok(server.post("/v1/settle").json(&request).send().unwrap());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Raises this process's limit of open files; gives how many connections it may have.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = (IDLE as u64 + RESERVE).min(limit.maximum.unwrap_or(u64::MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
    IDLE.min((wanted - RESERVE) as usize)
}

#[test]
fn ten_thousand_idle_clients_cost_little() {
    let count = connections();
    let server = Server::start();
    let before = latency(&server);
    let memory = server.rss_kib();
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        // Half of them use their connection, the others never speak. The answers also keep this client
        // from being faster than the listener, whose full backlog would cost it a second each time.
        if index % 2 == 0 {
            stream
                .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
                .unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
        }
        open.push(stream);
    }
    let after = latency(&server);
    let grown = server.rss_kib().saturating_sub(memory);
    println!("{count} idle: {before:?} before, {after:?} after, {grown} KiB");
    assert!(
        after < before * 5 + Duration::from_millis(50),
        "{before:?}, then {after:?}"
    );
    let bound = KIB_EACH * count as u64 + 8 * 1024;
    assert!(grown < bound, "{grown} KiB for {count} connections");
    drop(open);
}

#[test]
fn a_body_that_nobody_wanted_does_not_spoil_the_connection() {
    let server = Server::start();
    let head = |length: usize, more: &str| {
        format!(
            "POST /v1/settle HTTP/1.1\r\nhost: a\r\nx-api-key: wrong-key\r\ncontent-length: {length}\r\n{more}\r\n"
        )
    };
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    for _ in 0..20 {
        // Refused by its key, before the body is there.
        stream.write_all(head(30_000, "").as_bytes()).unwrap();
        stream.write_all(&[b'x'; 30_000]).unwrap();
        let answer = answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    // One that is too long to be read for nothing, and one that would have to be asked for.
    for (length, more) in [(50_000_000, ""), (10, "expect: 100-continue\r\n")] {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.write_all(head(length, more).as_bytes()).unwrap();
        let answer = answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

/// An answer with a length.
fn answer(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect("a length").parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    text
}

#[test]
fn slow_clients_do_not_hold_up_others() {
    let server = Server::start();
    let before = latency(&server);
    let mut slow: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(server.addr()).unwrap())
        .collect();
    let head = format!(
        "POST /v1/settle HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-length: 60000000\r\n\r\n",
        server.key
    );
    for (index, stream) in slow.iter_mut().enumerate() {
        // Some never finish their headers, others never their body.
        let sent = if index % 2 == 0 { &head[..20] } else { &head };
        stream.write_all(sent.as_bytes()).unwrap();
    }
    for round in 0..5 {
        for stream in &mut slow {
            // The server may have given up on it.
            let _ = stream.write_all(if round == 0 { b"x" } else { b" " });
        }
        let now = latency(&server);
        assert!(
            now < before * 5 + Duration::from_millis(50),
            "{before:?}, then {now:?}"
        );
    }
}

#[test]
fn clients_that_do_not_read_their_answers_cost_little() {
    let server = Server::start();
    let id = server.submit(
        "settle",
        &json!({"Y": matrix(4_000, 128), "options": {"array": "u"}}),
    );
    assert_eq!(server.ended(&id)["status"], "done");
    let request = format!(
        "GET /v1/jobs/{id}/result?array=u HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n\r\n",
        server.key
    );
    let before = latency(&server);
    let memory = server.rss_kib();
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        open.push(stream);
    }
    let after = latency(&server);
    assert!(
        after < before * 5 + Duration::from_millis(50),
        "{before:?}, then {after:?}"
    );
    let grown = server.rss_kib().saturating_sub(memory);
    assert!(grown < 200 * 1024, "{grown} KiB for 40 answers of 2 MB");
    drop(open);
}
