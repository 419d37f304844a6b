//! Stories that hold on every backend: on the embedded one by themselves, and on a rehearsed
//! deployment when `OSCILLINK_SERVER` and `OSCILLINK_API_KEY` name its gateway (`make cloud-stories`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Server, eventually, matrix, npy, ok};

fn request(rows: usize, columns: usize) -> Value {
    let rows = matrix(rows, columns);
    json!({"Y": rows, "psi": rows[0], "options": {"bundle_k": 3}})
}

/// Rows of the ledger that belong to these jobs.
fn billed(server: &Server, ids: &[String]) -> Vec<Value> {
    let mine: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let rows = server.ledger().into_iter();
    rows.filter(|row| row["job_id"].as_str().is_some_and(|id| mine.contains(id)))
        .collect()
}

#[test]
fn a_job_gives_the_answer_of_the_synchronous_call() {
    let server = Server::anywhere();
    let request = request(40, 8);
    let direct = ok(server.post("/v1/settle").json(&request).send().unwrap());
    let job = server.ended(&server.submit("settle", &request));
    assert_eq!(job["status"], "done", "{job}");
    assert_eq!(job["result"]["state_sig"], direct["state_sig"]);
    assert_eq!(job["result"]["bundle"], direct["bundle"]);
    assert_eq!(
        job["result"]["receipt"]["deltaH_total"],
        direct["receipt"]["deltaH_total"]
    );
}

#[test]
fn large_payloads_and_arrays_go_by_the_blob_store() {
    let server = Server::anywhere();
    // More than is read at once.
    let (rows, columns) = (2_800, 384);
    let id = server.submit_npy(&npy(&matrix(rows, columns)));
    assert_eq!(server.ended(&id)["status"], "done");
    let array = server.get(&format!("/v1/jobs/{id}/result?array=ustar"));
    let array = array.send().unwrap();
    assert_eq!(array.headers()["content-type"], "application/x-npy");
    assert!(array.bytes().unwrap().len() >= rows * columns * 4);
}

#[test]
fn a_small_jobs_arrays_are_those_of_the_same_request_answered_at_once() {
    let server = Server::anywhere();
    let mut body =
        json!({"Y": matrix(80, 32), "psi": vec![0.5; 32], "diffusion": {"enable": true}});
    let id = server.submit("diffusion", &body);
    assert_eq!(server.ended(&id)["status"], "done");
    for name in ["u", "ustar", "gates"] {
        let kept = server.get(&format!("/v1/jobs/{id}/result?array={name}"));
        let kept = kept.send().unwrap().error_for_status().unwrap();
        assert_eq!(kept.headers()["content-type"], "application/x-npy");
        body["options"] = json!({"array": name});
        let direct = server.post("/v1/settle/diffusion").json(&body);
        let direct = direct.header("accept", "application/x-npy").send().unwrap();
        assert_eq!(direct.headers()["content-type"], "application/x-npy");
        assert_eq!(kept.bytes().unwrap(), direct.bytes().unwrap(), "{name}");
    }
}

#[test]
fn every_job_ends_once_and_is_billed_once() {
    let server = Server::anywhere();
    let ids: Vec<String> = (0..12)
        .map(|n| {
            server.submit(
                if n % 3 == 0 { "diffusion" } else { "settle" },
                &request(20 + n, 6),
            )
        })
        .collect();
    let mut units = 0;
    for id in &ids {
        let job = server.ended(id);
        assert_eq!(job["status"], "done", "{job}");
        units += job["units"].as_u64().unwrap();
    }
    let rows = billed(&server, &ids);
    assert_eq!(rows.len(), ids.len());
    assert_eq!(
        rows.iter()
            .map(|row| row["units"].as_u64().unwrap())
            .sum::<u64>(),
        units
    );
}

#[test]
fn a_cancelled_job_stays_cancelled_and_costs_nothing() {
    let server = Server::anywhere();
    let id = server.submit_npy(&npy(&matrix(3_000, 256)));
    let answer = server.delete(&format!("/v1/jobs/{id}")).send().unwrap();
    assert!(answer.status().is_success());
    let job = server.ended(&id);
    if job["status"] == "done" {
        // It was faster than the request to stop.
        assert_eq!(billed(&server, &[id]).len(), 1);
    } else {
        assert_eq!(job["status"], "cancelled", "{job}");
        assert!(billed(&server, &[id]).is_empty());
    }
}

#[test]
fn the_same_idempotency_key_makes_one_job() {
    let server = Server::anywhere();
    let key = format!("story-{}", std::process::id());
    let send = |body: &Value| {
        server
            .post("/v1/jobs/settle")
            .header("idempotency-key", &key)
            .json(body)
            .send()
            .unwrap()
    };
    let first = ok(send(&request(20, 4)));
    let again = ok(send(&request(20, 4)));
    assert_eq!(first["job_id"], again["job_id"]);
    assert_eq!(send(&request(21, 4)).status(), 422);
    assert_eq!(
        server.ended(first["job_id"].as_str().unwrap())["status"],
        "done"
    );
}

#[test]
fn bad_input_is_refused_before_it_becomes_a_job() {
    let server = Server::anywhere();
    let mut ragged = request(5, 3);
    ragged["Y"][2] = json!([1.0]);
    let refused = server.post("/v1/jobs/settle").json(&ragged).send().unwrap();
    assert_eq!(refused.status(), 400);
    let problem: Value = refused.json().unwrap();
    assert!(
        problem["errors"][0]["field"]
            .as_str()
            .unwrap()
            .starts_with("Y[2]"),
        "{problem}"
    );
}

#[test]
fn jobs_are_listed_newest_first_page_by_page() {
    let server = Server::anywhere();
    let ids: Vec<String> = (0..5)
        .map(|_| server.submit("settle", &request(10, 4)))
        .collect();
    let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let found = eventually("all five in the list", || {
        let mut path = "/v1/jobs?limit=2".to_owned();
        let mut found = Vec::new();
        while found.len() < wanted.len() {
            let page = server.fetch(&path);
            for job in page["items"].as_array().unwrap() {
                let id = job["job_id"].as_str().unwrap();
                found.extend(wanted.contains(id).then(|| id.to_owned()));
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/jobs?limit=2&cursor={cursor}"),
                None => break,
            }
        }
        (found.len() == wanted.len()).then_some(found)
    });
    assert_eq!(found.first(), ids.last(), "newest first");
    for id in &ids {
        server.ended(id);
    }
}
