//! Bodies of every type, encoding and size.

use std::io::Write;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use futures_util::stream;
use oscillink_domain::{ApiKey, Tier};
use oscillink_wire::{NumberArray, npy};

use super::harness::{Answer, House, request, rows};

fn matrix() -> Vec<u8> {
    let y = [[1.0_f32, 0.0], [0.9, 0.1], [0.8, 0.3], [0.0, 1.0]];
    npy::write(&NumberArray::Matrix(y.to_vec().into()))
}

async fn send(
    house: &House,
    key: &ApiKey,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let mut request = request(Method::POST, path, key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    house.send(request.body(Body::from(body)).unwrap()).await
}

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in parts {
        let head = format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        out.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    out.extend(b"--B--\r\n");
    out
}

#[tokio::test]
async fn one_request_in_every_form_gives_one_state() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let json = r#"{"Y": [[1,0],[0.9,0.1],[0.8,0.3],[0,1]], "psi": [1,0],
                   "params": {"kneighbors": 2}, "options": {"bundle_k": 2}}"#;
    let query = "/v1/settle?psi_row=0&kneighbors=2&options.bundle_k=2";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(json.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("Y.npy", zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(&matrix()).unwrap();
    let npz = zip.finish().unwrap().into_inner();
    let params = br#"{"psi": [1, 0], "kneighbors": 2, "bundle_k": 2}"#;
    let parts = multipart(&[("params", params), ("file", &matrix())]);
    let answers = [
        send(
            &house,
            &key,
            "/v1/settle",
            &[("content-type", "application/json; charset=utf-8")],
            json.into(),
        )
        .await,
        send(&house, &key, "/v1/settle", &[], json.into()).await,
        send(
            &house,
            &key,
            "/v1/settle",
            &[
                ("content-type", "application/json"),
                ("content-encoding", "gzip"),
            ],
            gzip,
        )
        .await,
        send(
            &house,
            &key,
            query,
            &[("content-type", "application/x-npy")],
            matrix(),
        )
        .await,
        send(
            &house,
            &key,
            query,
            &[("content-type", "application/octet-stream")],
            matrix(),
        )
        .await,
        send(
            &house,
            &key,
            query,
            &[("content-type", "application/zip")],
            npz,
        )
        .await,
        send(
            &house,
            &key,
            "/v1/settle",
            &[("content-type", "multipart/form-data; boundary=B")],
            parts,
        )
        .await,
    ];
    let first = answers[0].json();
    assert_eq!(first["bundle"].as_array().unwrap().len(), 2);
    for answer in &answers {
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        let answer = answer.json();
        assert_eq!(answer["state_sig"], first["state_sig"]);
        assert_eq!(answer["bundle"], first["bundle"]);
    }
}

#[tokio::test]
async fn types_and_encodings_that_are_not_known() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    for headers in [
        [("content-type", "text/plain"), ("x-a", "b")],
        [
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-a", "b"),
        ],
        [
            ("content-type", "application/json"),
            ("content-encoding", "br"),
        ],
        [
            ("content-type", "application/json"),
            ("content-encoding", "gzip, gzip"),
        ],
    ] {
        send(&house, &key, "/v1/settle", &headers, b"{}".into())
            .await
            .problem(415);
    }
    let json = ("content-type", "application/json");
    let zstd = [json, ("content-encoding", "zstd")];
    let broken = send(&house, &key, "/v1/settle", &zstd, b"x".into()).await;
    assert_eq!(broken.fields(), ["body"]);
    let form = ("content-type", "multipart/form-data; boundary=B");
    for (parts, field) in [
        (multipart(&[("params", b"{}")]), "Y"),
        (multipart(&[("other", b"")]), "other"),
        (multipart(&[("Y", b""), ("file", b"")]), "file"),
        (b"--B\r\nnothing".to_vec(), "body"),
    ] {
        assert_eq!(
            send(&house, &key, "/v1/settle", &[form], parts)
                .await
                .fields(),
            [field]
        );
    }
}

#[tokio::test]
async fn too_much_is_refused_with_advice() {
    let house = House::small();
    let (pro, free) = (house.key(Tier::Pro).await, house.key(Tier::Free).await);
    let json = |n| format!(r#"{{"Y": {}}}"#, rows(n));
    assert_eq!(
        house.post(&pro, "/v1/settle", &json(30)).await.status,
        200,
        "half more than baseline"
    );
    let detail = house.post(&pro, "/v1/settle", &json(31)).await.problem(413);
    assert!(
        detail.contains("30 rows") && detail.contains("/v1/jobs/settle"),
        "{detail}"
    );
    house
        .post(&free, "/v1/settle", &json(21))
        .await
        .problem(413);
    house
        .post(&pro, "/v1/jobs/settle", &json(61))
        .await
        .problem(413);
    let wide = r#"{"Y": [[1,2,3,4,5,6,7,8,9,10,11,12,13]]}"#;
    house.post(&pro, "/v1/settle", wide).await.problem(413);
    // The declared length is enough; the body is never asked for.
    let body = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let declared = request(Method::POST, "/v1/settle", &pro)
        .header("content-type", "application/json")
        .header("content-length", "99999999999")
        .body(body)
        .unwrap();
    house.send(declared).await.problem(413);
    // Nor can it be exceeded without being declared.
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 100_000]));
    let endless = request(Method::POST, "/v1/settle", &pro)
        .header("content-type", "application/json")
        .body(Body::from_stream(endless))
        .unwrap();
    house.send(endless).await.problem(413);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 50_000_000]).unwrap();
    let bomb = bomb.finish().unwrap();
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    send(&house, &pro, "/v1/settle", &headers, bomb)
        .await
        .problem(413);
}

#[tokio::test]
async fn jobs_have_a_limit_of_columns_of_their_own() {
    // 8 columns at once, half more for pro; 30 for jobs.
    let house = House::small();
    let key = house.key(Tier::Pro).await;
    let wide = |d: usize| format!(r#"{{"Y": [{:?}, {:?}]}}"#, vec![1.0; d], vec![2.0; d]);
    let detail = house.post(&key, "/v1/settle", &wide(13)).await.problem(413);
    assert!(detail.contains("12 columns"), "{detail}");
    assert!(detail.contains("/v1/jobs/settle"), "{detail}");
    assert!(
        detail.contains("at most 60 rows and 30 columns"),
        "{detail}"
    );
    assert!(!detail.contains("npy"), "{detail}");
    let headers = [
        ("content-type", "application/json"),
        ("prefer", "respond-async"),
    ];
    let json = |d| wide(d).into_bytes();
    for path in ["/v1/settle", "/v1/jobs/settle"] {
        let accepted = send(&house, &key, path, &headers, json(30)).await;
        assert_eq!(accepted.status, 202, "{path}");
        let refused = send(&house, &key, path, &headers, json(31)).await;
        let detail = refused.problem(413);
        assert!(detail.contains("30 columns"), "{detail}");
        assert!(!detail.contains("npy"), "{detail}");
    }
    let lines = format!("{}\n{}\n", wide(30), wide(31));
    let headers = [("content-type", "application/x-ndjson")];
    let answers = send(&house, &key, "/v1/jobs/batch", &headers, lines.into()).await;
    let answers = String::from_utf8(answers.body.to_vec()).unwrap();
    let statuses: Vec<_> = answers
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["status"].clone())
        .collect();
    assert_eq!(statuses, [202, 413]);
}

#[tokio::test]
async fn advice_names_jobs_only_where_a_job_may_hold_more() {
    let house = House::small();
    let overrides = serde_json::from_str(r#"{"max_job_nodes": 10, "max_job_dim": 8}"#).unwrap();
    let key = house.key_with(Tier::Free, overrides).await;
    let json = |n| format!(r#"{{"Y": {}}}"#, rows(n));
    let wide = r#"{"Y": [[1,2,3,4,5,6,7,8,9]]}"#;
    for body in [json(21), wide.to_owned()] {
        let detail = house.post(&key, "/v1/settle", &body).await.problem(413);
        assert!(!detail.contains("/v1/jobs"), "{detail}");
        assert!(detail.contains("at most 10 rows and 8 columns"), "{detail}");
        assert!(!detail.contains("npy"), "{detail}");
    }
    // Read within the limits of an answer at once, but not to be answered at once, nor as a job.
    let named = format!(r#"{{"Y": {}, "custom_id": "a"}}"#, rows(15));
    let headers = [
        ("content-type", "application/json"),
        ("prefer", "respond-async"),
    ];
    let refused = send(&house, &key, "/v1/settle", &headers, named.into_bytes()).await;
    let detail = refused.problem(413);
    assert!(detail.contains("at most 10 rows and 8 columns"), "{detail}");
    let endless = vec![b' '; 2_000_000];
    let headers = [("content-type", "application/json")];
    let refused = send(&house, &key, "/v1/jobs/settle", &headers, endless).await;
    assert!(refused.problem(413).contains("float32 .npy"));
}

#[tokio::test]
async fn null_parameters_are_left_out() {
    let house = House::small();
    let key = house.key(Tier::Pro).await;
    let body = r#"{"Y": [[1, 2], [3, 4]], "params": {"lamG": null, "deterministic_k": null},
        "options": {"tol": null, "dt": null, "receipt_detail": null},
        "diffusion": {"enable": false, "gamma": null}}"#;
    let answer = house.post(&key, "/v1/settle", body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
}

#[tokio::test]
async fn large_work_becomes_a_job_when_the_client_agrees() {
    let house = House::small();
    let key = house.key(Tier::Pro).await;
    let json = |n| format!(r#"{{"Y": {}}}"#, rows(n)).into_bytes();
    let headers = [
        ("content-type", "application/json"),
        ("prefer", "respond-async"),
    ];
    let small = send(&house, &key, "/v1/settle", &headers, json(5)).await;
    assert_eq!(small.status, 200);
    let large = send(&house, &key, "/v1/settle", &headers, json(40)).await;
    assert_eq!(large.status, 202);
    assert_eq!(large.header("preference-applied"), "respond-async");
    let id = large.json()["job_id"].as_str().unwrap().to_owned();
    assert_eq!(large.header("location"), format!("/v1/jobs/{id}"));
    send(&house, &key, "/v1/settle", &headers, json(61))
        .await
        .problem(413);
    for path in ["/v1/receipt", "/v1/bundle"] {
        let large = send(&house, &key, path, &headers, json(40)).await;
        assert_eq!(large.status, 202, "{path}");
        assert_eq!(large.json()["kind"], "settle");
    }
    // What only a job has makes a job of small work, too.
    let named = format!(r#"{{"Y": {}, "custom_id": "mine"}}"#, rows(5)).into_bytes();
    let small = send(&house, &key, "/v1/settle", &headers, named.clone()).await;
    assert_eq!(small.status, 202);
    assert_eq!(small.json()["custom_id"], "mine");
    let refused = send(&house, &key, "/v1/settle", &headers[..1], named).await;
    assert!(refused.problem(400).contains("custom_id"));
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_are_given_up() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let drip = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Some((Ok::<_, std::io::Error>(b" ".to_vec()), ()))
    });
    for body in [
        Body::from_stream(drip),
        Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>()),
    ] {
        let request = request(Method::POST, "/v1/settle", &key)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        house.send_patiently(request).await.problem(408);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_fault() {
    let house = House::new();
    let key = house.key(Tier::Pro).await;
    let broken = stream::iter([
        Ok(b"{\"Y\": ".to_vec()),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let request = request(Method::POST, "/v1/settle", &key)
        .header("content-type", "application/json")
        .body(Body::from_stream(broken))
        .unwrap();
    assert_eq!(house.send(request).await.fields(), ["body"]);
}
