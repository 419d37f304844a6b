//! Deliveries as stories: the worker's own routes over an engine in memory.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests state expectations as tests do"
)]

mod shop;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{JobKind, JobStatus, QueueName};
use oscillink_ports::{TaskTarget as _, Verdict};
use oscillink_wire::Operation;
use oscillink_worker::{InProcess, NotAuthorised, PushAuth, router};
use tower::ServiceExt as _;

use shop::{delivery, payload, shop};

#[tokio::test]
async fn a_delivery_runs_the_job_once_however_often_it_comes() {
    let shop = shop(|_| {});
    let job = shop.submit(payload(4, 3, 12), 1).await;
    let target = InProcess::new(shop.worker.clone());
    for _ in 0..3 {
        assert_eq!(target.deliver(delivery(&job)).await, Verdict::Acknowledge);
    }
    let done = shop.job(&job).await;
    assert_eq!((done.status, done.attempts), (JobStatus::Done, 1));
    assert_eq!(shop.rows(&job).await, 1);
    let answer = shop.answer(&job).await;
    assert_eq!(answer["meta"]["request_id"], "req-1");
    assert_eq!(answer["bundle"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_receipt_is_signed_as_the_key_said_at_submission() {
    let shop = shop(|config| config.receipt_secret = Some("a secret".into()));
    let target = InProcess::new(shop.worker.clone());
    for (signed_receipts, signed) in [(None, true), (Some(false), false)] {
        let overrides = Overrides {
            signed_receipts,
            ..Overrides::default()
        };
        let job = shop.submit_with(payload(4, 3, 12), 1, &overrides).await;
        target.deliver(delivery(&job)).await;
        let answer = shop.answer(&job).await;
        let receipt = answer["receipt"].to_string();
        assert_eq!(
            receipt.contains("signature\":{"),
            signed,
            "{signed_receipts:?} {receipt}"
        );
    }
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_fails_for_good() {
    let shop = shop(|_| {});
    let job = shop.submit(Bytes::from_static(b"not a payload"), 1).await;
    let target = InProcess::new(shop.worker.clone());
    assert_eq!(target.deliver(delivery(&job)).await, Verdict::Acknowledge);
    let ended = shop.job(&job).await;
    assert_eq!((ended.status, ended.attempts), (JobStatus::Error, 1));
    assert_eq!(ended.error.unwrap().code, "invalid_input");
    assert_eq!(shop.rows(&job).await, 0, "what failed is not billed");
}

#[tokio::test]
async fn a_job_larger_than_the_worker_is_refused_and_the_worker_lives() {
    let shop = shop(|config| config.memory_bytes = 1 << 20);
    let large = shop.submit(payload(4, 3, 12), 2 << 20).await;
    let fits = shop.submit(payload(4, 3, 12), 1 << 20).await;
    let target = InProcess::new(shop.worker.clone());
    target.deliver(delivery(&large)).await;
    target.deliver(delivery(&fits)).await;
    assert_eq!(shop.job(&large).await.error.unwrap().code, "too_large");
    assert_eq!(shop.job(&fits).await.status, JobStatus::Done);
}

#[tokio::test]
async fn draining_hands_a_running_job_back() {
    let shop = shop(|_| {});
    let job = shop.submit(payload(8_000, 64, 10_000), 1).await;
    let target = InProcess::new(shop.worker.clone());
    let running = tokio::spawn({
        let delivery = delivery(&job);
        async move { target.deliver(delivery).await }
    });
    while shop.worker.running() == 0 {
        tokio::task::yield_now().await;
    }
    shop.worker.drain(Duration::ZERO).await;
    running.await.unwrap();
    let back = shop.job(&job).await;
    assert_eq!((back.status, back.attempts), (JobStatus::Queued, 0));
    let target = InProcess::new(shop.worker.clone());
    assert_eq!(
        target.deliver(delivery(&job)).await,
        Verdict::Retry,
        "a draining worker takes nothing"
    );
}

#[tokio::test]
async fn a_running_job_stops_when_its_client_cancels() {
    let shop = shop(|_| {});
    let job = shop.submit(payload(8_000, 64, 10_000), 1).await;
    let target = InProcess::new(shop.worker.clone());
    let running = tokio::spawn({
        let delivery = delivery(&job);
        async move { target.deliver(delivery).await }
    });
    while shop.job(&job).await.status != JobStatus::Running {
        tokio::task::yield_now().await;
    }
    shop.engine.cancel(&job.key_id, &job.id).await.unwrap();
    assert_eq!(running.await.unwrap(), Verdict::Acknowledge);
    assert_eq!(shop.job(&job).await.status, JobStatus::Cancelled);
    assert_eq!(shop.rows(&job).await, 0);
}

struct Password;

#[async_trait]
impl PushAuth for Password {
    async fn check(&self, authorization: Option<&str>) -> Result<(), NotAuthorised> {
        match authorization {
            Some("Bearer good") => Ok(()),
            Some("Bearer unknown issuer") => Err(NotAuthorised {
                detail: "no keys".into(),
                transient: true,
            }),
            _ => Err(NotAuthorised {
                detail: "wrong token".into(),
                transient: false,
            }),
        }
    }
}

#[tokio::test]
async fn the_endpoint_checks_caller_queue_and_body() {
    let shop = shop(|config| config.queues = vec![QueueName::Settle]);
    let app = router(shop.worker.clone(), Some(Arc::new(Password)));
    let send = async |path: &str, token: &str, body: Vec<u8>| {
        let request = Request::post(path)
            .header("authorization", token)
            .body(Body::from(body))
            .unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(
        send("/tasks/settle", "Bearer bad", vec![]).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        send("/tasks/settle", "Bearer unknown issuer", vec![]).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        send("/tasks/diffusion", "Bearer good", vec![]).await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        send("/tasks/nowhere", "Bearer good", vec![]).await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        send("/tasks/settle", "Bearer good", b"garbage".to_vec()).await,
        StatusCode::NO_CONTENT
    );
    let huge = vec![b' '; oscillink_ports::MAX_TASK_BYTES + 1];
    assert_eq!(
        send("/tasks/settle", "Bearer good", huge).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let open = |path: &str| {
        app.clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
    };
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(open(path).await.unwrap().status(), StatusCode::OK, "{path}");
    }
    // Naming an operation here keeps the job kinds and the wire operations in step.
    assert_eq!(Operation::from(JobKind::Chain), Operation::ChainReceipt);
}
