//! Event streams of jobs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, eventually, matrix};

/// The events of a stream that ends by itself: id, name, data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(": ").to_owned())
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("data"));
    blocks
        .map(|block| {
            let data = field(block, "data").unwrap();
            let data = serde_json::from_str(&data).unwrap();
            (
                field(block, "id").unwrap(),
                field(block, "event").unwrap(),
                data,
            )
        })
        .collect()
}

/// A server whose queue stands still, and a job that waits in it.
fn with_a_waiting_job() -> (Server, String) {
    let secret = "operators' secret";
    let server = Server::start_with(&[("OSCILLINK_ADMIN_SECRET", secret)]);
    let pause = server.post("/v1/admin/queues/settle/pause");
    assert_eq!(
        pause
            .header("x-admin-secret", secret)
            .send()
            .unwrap()
            .status(),
        200
    );
    let id = server.submit("settle", &json!({"Y": matrix(9, 4)}));
    let path = format!("/v1/jobs/{id}/events");
    (server, path)
}

#[test]
fn a_stream_tells_the_states_and_ends_with_the_job() {
    let server = Server::start();
    let id = server.submit("settle", &json!({"Y": matrix(2_000, 64)}));
    let path = format!("/v1/jobs/{id}/events");
    let answer = server.get(&path).send().unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let seen = events(&answer.text().unwrap());
    let (last_id, name, job) = seen.last().unwrap().clone();
    assert_eq!((name.as_str(), &job["status"]), ("status", &json!("done")));
    assert_eq!(job["job_id"], id);
    let mut ids: Vec<_> = seen.iter().map(|event| &event.0).collect();
    ids.dedup();
    assert_eq!(ids.len(), seen.len(), "every state once");

    // A client that comes back gets what it has not seen, and no invitation to come again at the end.
    let resumed = server
        .get(&path)
        .header("last-event-id", "0-queued")
        .send()
        .unwrap();
    let resumed = events(&resumed.text().unwrap());
    assert_eq!(resumed, [seen.last().unwrap().clone()]);
    let over = server
        .get(&path)
        .header("last-event-id", last_id)
        .send()
        .unwrap();
    assert_eq!(over.status(), 204);
}

#[test]
fn other_keys_have_no_stream_of_it() {
    let server = Server::start_with(&[
        ("OSCILLINK_API_KEYS", "owner-key-1,other-key-1"),
        ("OSCILLINK_HOST", "127.0.0.1"),
    ]);
    let http = reqwest::blocking::Client::new();
    let send = |request: reqwest::blocking::RequestBuilder, key: &str| {
        request.header("x-api-key", key).send().unwrap()
    };
    let submit = http
        .post(format!("{}/v1/jobs/settle", server.url))
        .json(&json!({"Y": matrix(9, 4)}));
    let job: Value = send(submit, "owner-key-1").json().unwrap();
    let url = format!(
        "{}/v1/jobs/{}/events",
        server.url,
        job["job_id"].as_str().unwrap()
    );
    assert_eq!(send(http.get(&url), "other-key-1").status(), 404);
    assert_eq!(send(http.get(&url), "owner-key-1").status(), 200);
}

#[test]
fn streams_end_when_the_server_does() {
    let (server, path) = with_a_waiting_job();
    let answer = server.get(&path).send().unwrap();
    let mut reader = BufReader::new(answer);
    let mut line = String::new();
    while !line.starts_with("data") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    assert!(line.contains("queued"), "{line}");
    let begun = Instant::now();
    let end = std::thread::spawn(move || reader.read_to_string(&mut String::new()));
    assert!(server.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(12));
    end.join().unwrap().unwrap();
}

#[test]
fn clients_that_never_read_cost_little_and_others_are_served() {
    let (server, path) = with_a_waiting_job();
    let before = server.rss_kib();
    let open: Vec<_> = (0..64).map(|_| server.get(&path).send().unwrap()).collect();
    assert!(open.iter().all(|answer| answer.status() == 200));
    let refused = server.get(&path).send().unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let grown = server.rss_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for 64 streams");
    let begun = Instant::now();
    assert_eq!(server.get("/health").send().unwrap().status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(open);
    eventually("places of closed streams", || {
        (server.get(&path).send().unwrap().status() == 200).then_some(())
    });
}
