//! Whatever a client sends: a 4xx with the field named, a server that stays up, memory that stays flat.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::support::{Server, matrix, npy, npy_header, ok};

const JSON: &str = "application/json";
const NPY: &str = "application/x-npy";

/// A refusal's status and everything it says.
fn refusal(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let text = response.text().unwrap();
    assert!(
        content_type.starts_with("application/problem+json"),
        "{status} {content_type}: {text}"
    );
    let body: Value = serde_json::from_str(&text).unwrap();
    assert!(
        body["detail"].is_string() && body["request_id"].is_string(),
        "{body}"
    );
    (status, body)
}

fn names(body: &Value, field: &str) -> bool {
    let errors = body["errors"].as_array().into_iter().flatten();
    errors
        .into_iter()
        .any(|error| error["field"].as_str() == Some(field))
}

fn gzip(bytes: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for part in bytes {
        encoder.write_all(&part).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn json_bodies_that_cannot_be_used_name_the_field() {
    let server = Server::start();
    let wide = json!({"Y": [vec![0.5; 17_000]]}).to_string();
    let cases: &[(&str, &str)] = &[
        (r#"{"Y":[]}"#, "Y"),
        (r#"{"Y":[[]]}"#, "Y"),
        (r#"{"Y":[[1,2],[3]]}"#, "Y[1]"),
        (r#"{"Y":[[1,NaN]]}"#, "Y[0][1]"),
        (r#"{"Y":[[1,Infinity]]}"#, "Y[0][1]"),
        (r#"{"Y":[[1,null]]}"#, "Y[0][1]"),
        (r#"{"Y":[[1,"2"]]}"#, "Y[0][1]"),
        (r#"{"Y":[[1,1e39]]}"#, "Y[0][1]"),
        (r#"{"Y":[[1,1e20]]}"#, "Y[0][1]"),
        (r#"{"Y":[[1,1e999]]}"#, "Y[0][1]"),
        (r#"{"Y":[1,2]}"#, "Y[0]"),
        (r#"{"Y":"rows"}"#, "Y"),
        (r#"{"psi":[1]}"#, "Y"),
        (r#"{"Y":[[1,2]],"psi":[1]}"#, "psi"),
        (r#"{"Y":[[1,2]],"psi":[1,null]}"#, "psi[1]"),
        (r#"{"Y":[[1,2]],"gates":[1,1]}"#, "gates"),
        (r#"{"Y":[[1,2]],"gates":[-1]}"#, "gates[0]"),
        (r#"{"Y":[[1,2],[2,1]],"chain":[0,2]}"#, "chain"),
        (r#"{"Y":[[1,2],[2,1]],"chain":[0]}"#, "chain"),
        (r#"{"Y":[[1,2],[2,1]],"chain":[0,0]}"#, "chain"),
        (
            r#"{"Y":[[1,2],[2,1]],"chain":[0,1],"chain_weights":[1,1]}"#,
            "chain_weights",
        ),
        (r#"{"Y":[[1,2]],"params":{"lamG":0}}"#, "params.lamG"),
        (r#"{"Y":[[1,2]],"params":{"lamC":-1}}"#, "params.lamC"),
        (
            r#"{"Y":[[1,2]],"params":{"kneighbors":0}}"#,
            "params.kneighbors",
        ),
        (
            r#"{"Y":[[1,2]],"params":{"kneighbors":1.5}}"#,
            "params.kneighbors",
        ),
        (r#"{"Y":[[1,2]],"params":{"lamX":1}}"#, "params.lamX"),
        (r#"{"Y":[[1,2]],"options":{"dt":0}}"#, "options.dt"),
        (
            r#"{"Y":[[1,2]],"options":{"max_iters":0}}"#,
            "options.max_iters",
        ),
        (r#"{"Y":[[1,2]],"options":{"tol":0}}"#, "options.tol"),
        (
            r#"{"Y":[[1,2]],"options":{"receipt_detail":"some"}}"#,
            "options.receipt_detail",
        ),
        (
            r#"{"Y":[[1,2]],"diffusion":{"gamma":0}}"#,
            "diffusion.gamma",
        ),
        (r#"{"Y":[[1,2]],"diffusion":{"gama":1}}"#, "diffusion.gama"),
        (r#"{"Y":[[1,2]],"Z":1}"#, "Z"),
        (r#"{"Y":[[1,2]],"Y":[[1,2]]}"#, "Y"),
        (r#"{"Y":[[1,2]]"#, "body"),
        ("[1,2]", "body"),
        ("null", "body"),
        ("", "body"),
        ("\u{feff}", "body"),
    ];
    for route in ["/v1/settle", "/v1/jobs/settle"] {
        for (body, field) in cases {
            let response = server
                .post(route)
                .header("content-type", JSON)
                .body(*body)
                .send()
                .unwrap();
            let (status, problem) = refusal(response);
            assert_eq!(status, 400, "{body}: {problem}");
            assert!(
                names(&problem, field),
                "{body}: {field} is not named in {problem}"
            );
        }
        let response = server
            .post(route)
            .header("content-type", JSON)
            .body(wide.clone())
            .send();
        let (status, problem) = refusal(response.unwrap());
        assert_eq!(status, 413, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains('Y'),
            "{problem}"
        );
    }
    let not_utf8 = server
        .post("/v1/settle")
        .header("content-type", JSON)
        .body(vec![b'{', 0xff, b'}']);
    assert_eq!(refusal(not_utf8.send().unwrap()).0, 400);
    let rows = json!({"Y": vec![[0.5]; 10_000]});
    let (status, problem) = refusal(server.post("/v1/settle").json(&rows).send().unwrap());
    assert_eq!(status, 413);
    assert!(
        problem["detail"].as_str().unwrap().contains("/v1/jobs/"),
        "{problem}"
    );
    ok(server.get("/health").send().unwrap());
}

#[test]
fn arrays_that_cannot_be_used_name_the_field() {
    let server = Server::start();
    let good = npy(&matrix(6, 4));
    let replace = |from: &str, to: &str| {
        let at = good
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        let mut bytes = good.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let mut nan = good.clone();
    let last = nan.len() - 4;
    nan[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let cases = [
        ("cut short", good[..good.len() - 3].to_vec(), "Y"),
        (
            "only a header",
            good[..good.len() - 6 * 4 * 4].to_vec(),
            "Y",
        ),
        ("only the magic", good[..6].to_vec(), "Y"),
        ("too long", [good.clone(), vec![0]].concat(), "Y"),
        ("NaN", nan, "Y[5][3]"),
        ("integers", replace("<f4", "<i4"), "Y"),
        ("objects", replace("<f4", "|O8"), "Y"),
        ("one dimension", replace("(6, 4)", "(24,) "), "Y"),
        ("no rows", replace("(6, 4)", "(0, 4)"), "Y"),
        ("rows it does not have", replace("(6, 4)", "(60,4)"), "Y"),
        ("not npy at all", b"hello".to_vec(), "Y"),
        ("empty", Vec::new(), "Y"),
    ];
    for (what, bytes, field) in cases {
        let response = server
            .post("/v1/settle")
            .header("content-type", NPY)
            .body(bytes)
            .send()
            .unwrap();
        let (status, problem) = refusal(response);
        assert_eq!(status, 400, "{what}: {problem}");
        assert!(
            names(&problem, field),
            "{what}: {field} is not named in {problem}"
        );
    }
    for shape in [
        "(9999999999999, 4)",
        "(4, 9999999999999)",
        "(-1, 4)",
        "(4294967296, 4294967296)",
    ] {
        let body = npy_header(shape);
        let response = server
            .post("/v1/settle")
            .header("content-type", NPY)
            .body(body)
            .send()
            .unwrap();
        let (status, problem) = refusal(response);
        assert!([400, 413].contains(&status), "{shape}: {problem}");
    }
    let response = server
        .post("/v1/settle")
        .header("content-type", "text/plain")
        .body("Y")
        .send();
    assert_eq!(refusal(response.unwrap()).0, 415);
    let response = server
        .post("/v1/settle?lamG=minus")
        .header("content-type", NPY)
        .body(good)
        .send()
        .unwrap();
    let (status, problem) = refusal(response);
    assert!(status == 400 && names(&problem, "params.lamG"), "{problem}");
}

#[test]
fn hostile_bodies_leave_the_memory_flat() {
    let server = Server::start();
    let request = json!({"Y": matrix(200, 32), "options": {"bundle_k": 3}});
    for _ in 0..20 {
        ok(server.post("/v1/settle").json(&request).send().unwrap());
    }
    let before = server.rss_kib();
    let zeros = |count: usize| std::iter::repeat_n(vec![b' '; 1 << 20], count);
    let bomb = gzip([br#"{"Y":["#.to_vec()].into_iter().chain(zeros(2_048)));
    assert!(bomb.len() < 4 << 20, "2 GiB in {} bytes", bomb.len());
    let deep = [
        r#"{"Y":"#.to_owned(),
        "[".repeat(10_000),
        "]".repeat(10_000),
        "}".to_owned(),
    ]
    .concat();
    let deep_objects = [
        r#"{"params":"#.repeat(10_000),
        "1".to_owned(),
        "}".repeat(10_000),
    ]
    .concat();
    for _ in 0..5 {
        for route in ["/v1/settle", "/v1/jobs/settle"] {
            let response = server
                .post(route)
                .header("content-type", JSON)
                .header("content-encoding", "gzip")
                .body(bomb.clone())
                .send()
                .unwrap();
            let (status, problem) = refusal(response);
            assert!([400, 413].contains(&status), "{problem}");
            for body in [&deep, &deep_objects] {
                let response = server
                    .post(route)
                    .header("content-type", JSON)
                    .body(body.clone())
                    .send()
                    .unwrap();
                let (status, problem) = refusal(response);
                assert_eq!(status, 400, "{problem}");
            }
        }
    }
    let not_gzip = server
        .post("/v1/settle")
        .header("content-type", JSON)
        .header("content-encoding", "gzip")
        .body("plain");
    assert_eq!(refusal(not_gzip.send().unwrap()).0, 400);
    let grown = server.rss_kib().saturating_sub(before);
    assert!(grown < 96 * 1024, "memory grew by {grown} KiB");
    ok(server.post("/v1/settle").json(&request).send().unwrap());
}

#[test]
fn a_declared_gigabyte_is_refused_before_it_is_sent() {
    let server = Server::start();
    let before = server.rss_kib();
    for route in ["/v1/settle", "/v1/jobs/settle"] {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let head = format!(
            "POST {route} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-type: {JSON}\r\n\
             content-length: 1073741824\r\n\r\n{{\"Y\":[[",
            server.key
        );
        let asked = Instant::now();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
    let grown = server.rss_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB");
}

#[test]
fn broken_http_is_answered_or_closed_and_nothing_else_suffers() {
    let server = Server::start();
    let attempts: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"POST /v1/settle HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/settle HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        &[b'A'; 100_000],
    ];
    for attempt in attempts {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // The server may hang up while we are still talking.
        let _ = stream.write_all(attempt);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("HTTP/1.1 5"), "{text}");
    }
    ok(server.get("/health").send().unwrap());
}
