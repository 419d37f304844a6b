//! Batches: one job a line, one answer a line.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{Server, matrix};

fn line(kind: &str, custom_id: &str) -> Value {
    json!({"custom_id": custom_id, "kind": kind, "Y": matrix(12, 4), "chain": [0, 1, 2]})
}

fn answers(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn batch(
    server: &Server,
    body: impl Into<reqwest::blocking::Body>,
    key: Option<&str>,
) -> Vec<Value> {
    let mut request = server
        .post("/v1/jobs/batch")
        .header("content-type", "application/x-ndjson");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = request.body(body).send().unwrap();
    let status = answer.status();
    let text = answer.text().unwrap();
    assert_eq!(status, 200, "{text}");
    answers(&text)
}

#[test]
fn every_line_is_answered_in_its_place() {
    let server = Server::start();
    let body = [
        line("settle", "a").to_string(),
        line("chain", "b").to_string(),
        "{\"custom_id\": \"c\", \"Y\": [[1, 2], [3]]}".to_owned(),
        String::new(),
        "not json".to_owned(),
        line("lost", "e").to_string(),
        json!({"Y": matrix(12, 4)}).to_string(),
    ];
    let seen = batch(&server, body.join("\n"), None);
    let statuses: Vec<_> = seen.iter().map(|a| a["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 202, 400, 400, 400, 202], "{seen:#?}");
    let ids: Vec<_> = seen.iter().map(|a| a["custom_id"].as_str()).collect();
    assert_eq!(
        ids,
        [Some("a"), Some("b"), Some("c"), None, Some("e"), None]
    );
    assert_eq!(seen[1]["kind"], "chain");
    assert_eq!(seen[2]["error"]["errors"][0]["field"], "Y[1]");
    assert_eq!(seen[4]["error"]["errors"][0]["field"], "kind");
    for answer in seen.iter().filter(|answer| answer["status"] == 202) {
        let job = server.ended(answer["job_id"].as_str().unwrap());
        assert_eq!(job["status"], "done");
        assert_eq!(job["custom_id"], answer["custom_id"]);
    }
    assert_eq!(server.ledger().len(), 3);
}

#[test]
fn a_repeat_with_the_same_key_makes_no_new_jobs() {
    let server = Server::start();
    let lines: Vec<_> = (0..40)
        .map(|i| line("settle", &format!("l{i}")).to_string())
        .collect();
    // The client was cut off after a part of the batch and sends it whole.
    let part = batch(&server, lines[..25].join("\n"), Some("night"));
    let whole = batch(&server, lines.join("\n"), Some("night"));
    for (first, again) in part.iter().zip(&whole) {
        assert_eq!(first["job_id"], again["job_id"]);
        assert_eq!(
            (&first["replayed"], &again["replayed"]),
            (&json!(false), &json!(true))
        );
    }
    assert!(whole[25..].iter().all(|answer| answer["replayed"] == false));
    let other = batch(
        &server,
        line("settle", "changed").to_string(),
        Some("night"),
    );
    assert_eq!(other[0]["status"], 422);
    let other = batch(&server, lines[0].clone(), Some("day"));
    assert_eq!(other[0]["replayed"], false);
}

#[test]
fn a_client_that_reads_nothing_until_it_has_sent_everything_is_served() {
    let server = Server::start();
    let lines: Vec<_> = (0..3_000)
        .map(|i| format!("{{\"custom_id\": \"{i:0190}\"}}"))
        .collect();
    let seen = batch(&server, lines.join("\n"), None);
    assert_eq!(seen.len(), 3_000);
    for (i, answer) in seen.iter().enumerate() {
        assert_eq!(
            (&answer["line"], &answer["status"]),
            (&json!(i), &json!(400))
        );
    }
}

#[test]
fn lines_their_number_and_the_whole_are_bounded() {
    let server = Server::start_with(&[
        ("OSCILLINK_BATCH_MAX_LINES", "3"),
        ("OSCILLINK_BATCH_LINE_BYTES", "2000"),
        ("OSCILLINK_MAX_SYNC_BODY_BYTES", "10000"),
        ("OSCILLINK_MAX_BODY_BYTES", "10000"),
        ("OSCILLINK_BODY_MEMORY_BYTES", "1000000"),
    ]);
    let good = line("settle", "good").to_string();
    let long = format!("{{\"custom_id\": \"{}\"}}", "x".repeat(3_000));
    let seen = batch(
        &server,
        [good.as_str(), &long, &good, &good, &good].join("\n"),
        None,
    );
    let statuses: Vec<_> = seen.iter().map(|a| a["status"].as_u64().unwrap()).collect();
    assert_eq!(
        statuses,
        [202, 413, 202, 413],
        "the fourth line ends the batch"
    );
    let endless = "x".repeat(20_000);
    for (body, status) in [("", 400), ("\n \n", 400), (&endless, 413)] {
        let answer = server
            .post("/v1/jobs/batch")
            .body(body.to_owned())
            .send()
            .unwrap();
        assert_eq!(answer.status(), status);
    }
    let csv = server
        .post("/v1/jobs/batch")
        .header("content-type", "text/csv")
        .body("a")
        .send();
    assert_eq!(csv.unwrap().status(), 415);
}

#[test]
fn a_batch_that_ends_early_leaves_its_connection_usable() {
    let server = Server::start_with(&[("OSCILLINK_BATCH_MAX_LINES", "2")]);
    let line = format!("{{\"custom_id\": \"{}\"}}\n", "x".repeat(200_000));
    let body = line.repeat(20);
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let head = |request: &str, more: &str| {
        format!(
            "{request} HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n{more}\r\n",
            server.key
        )
    };
    let length = format!("content-length: {}\r\n", body.len());
    let request = head("POST /v1/jobs/batch", &length) + &body;
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read_until(&mut stream, b"\r\n0\r\n\r\n");
    assert!(answer.contains("a batch has at most 2 lines"), "{answer}");
    let request = head("GET /v1/usage", "connection: close\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read_until(&mut stream, b"}");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    while !read.ends_with(end) {
        let count = stream.read(&mut piece).unwrap();
        assert_ne!(count, 0, "closed after {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(read).unwrap()
}

#[test]
fn batches_can_be_compressed() {
    let server = Server::start();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let lines = [
        line("settle", "a").to_string(),
        line("settle", "b").to_string(),
    ];
    encoder.write_all(lines.join("\n").as_bytes()).unwrap();
    let request = server
        .post("/v1/jobs/batch")
        .header("content-encoding", "gzip");
    let answer = request.body(encoder.finish().unwrap()).send().unwrap();
    let seen = answers(&answer.text().unwrap());
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter().all(|answer| answer["status"] == 202),
        "{seen:?}"
    );
}
