//! Callbacks from the real server to a receiver on this machine.

use std::time::Duration;

use serde_json::json;

use crate::receiver::receiver;
use crate::support::{DEADLINE, Server, eventually, matrix, ok};

const SECRET: &str = "operators' secret";

const VARIABLES: [(&str, &str); 2] = [
    ("OSCILLINK_CALLBACK_ALLOW_PRIVATE", "true"),
    ("OSCILLINK_ADMIN_SECRET", SECRET),
];

/// Tries again at once.
fn hurry(server: &Server) {
    let limits = json!({"min_backoff_ms": 20, "max_backoff_ms": 20});
    let url = format!("{}/v1/admin/queues/callback/limits", server.url);
    let request = reqwest::blocking::Client::new().patch(url).json(&limits);
    ok(request.header("x-admin-secret", SECRET).send().unwrap());
}

#[test]
fn a_callback_is_tried_again_until_it_is_taken() {
    let server = Server::start_with(&VARIABLES);
    hurry(&server);
    let (address, incoming) = receiver();
    let url = format!("http://{address}/hook");
    let id = server.submit("settle", &json!({"Y": matrix(9, 4), "callback_url": url}));
    let mut ids = Vec::new();
    for status in [500, 302, 204] {
        let request = incoming.recv_timeout(DEADLINE).unwrap();
        assert_eq!(request.body["data"]["job_id"], id);
        assert_eq!(request.body["type"], "job.done");
        ids.push(request.id.clone());
        request.answer(status);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one id for every attempt");
    let job = eventually("the callback's end", || {
        let job = server.fetch(&format!("/v1/jobs/{id}"));
        (job["callback"]["status"] == "delivered").then_some(job)
    });
    assert_eq!(job["callback"]["attempts"], 3);
    assert_eq!(job["callback"]["last_status"], 204);

    let path = format!("/v1/jobs/{id}/callback/redeliver");
    ok(server.post(&path).send().unwrap());
    let again = incoming.recv_timeout(DEADLINE).unwrap();
    assert_eq!(again.id, ids[0]);
    again.answer(200);
}

#[test]
fn a_kill_between_delivery_and_record_repeats_it_under_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &VARIABLES);
    let (address, incoming) = receiver();
    let url = format!("http://{address}/");
    let id = server.submit("settle", &json!({"Y": matrix(9, 4), "callback_url": url}));
    let first = incoming.recv_timeout(DEADLINE).unwrap();
    // Taken by the receiver, but not recorded by the server.
    server.kill();
    let first_id = first.id.clone();
    first.answer(200);
    let server = Server::start_in(dir.path(), &VARIABLES);
    let second = incoming.recv_timeout(DEADLINE).unwrap();
    assert_eq!(second.id, first_id);
    assert_eq!(second.body["data"]["job_id"], id);
    second.answer(200);
    eventually("the callback's end", || {
        let job = server.fetch(&format!("/v1/jobs/{id}"));
        (job["callback"]["status"] == "delivered").then_some(())
    });
    assert!(
        incoming.recv_timeout(Duration::from_millis(300)).is_err(),
        "delivered is delivered"
    );
}

#[test]
fn dead_letters_are_listed_and_sent_anew_by_operators() {
    let mut variables = VARIABLES.to_vec();
    variables.push(("OSCILLINK_CALLBACK_MAX_ATTEMPTS", "2"));
    let server = Server::start_with(&variables);
    hurry(&server);
    let (address, incoming) = receiver();
    let url = format!("http://{address}/");
    let id = server.submit("settle", &json!({"Y": matrix(9, 4), "callback_url": url}));
    for _ in 0..2 {
        incoming.recv_timeout(DEADLINE).unwrap().answer(503);
    }
    let path = "/v1/admin/callbacks/undelivered";
    let letters = eventually("the dead letter", || {
        let request = server.get(path).header("x-admin-secret", SECRET);
        let letters = ok(request.send().unwrap());
        (letters["items"] != json!([])).then_some(letters)
    });
    assert_eq!(letters["items"][0]["job_id"], id);
    let request = server.post("/v1/admin/callbacks/redeliver");
    let done = ok(request.header("x-admin-secret", SECRET).send().unwrap());
    assert_eq!(done["redelivered"], 1);
    incoming.recv_timeout(DEADLINE).unwrap().answer(200);
    let request = server.get(path).header("x-admin-secret", SECRET);
    assert_eq!(ok(request.send().unwrap())["items"], json!([]));
}
