//! Cloud Tasks: Google's client, the emulator, and worker pools over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use libtest_mimic::Trial;
use oscillink_adapters::gcp::{CloudTasksQueue, TasksConfig};
use oscillink_domain::QueueName;
use oscillink_emulators::{Serving, TasksEmulator};
use oscillink_ports::conformance::queue::{self, QueueFixture, QueueHarness, Target};
use oscillink_ports::conformance::unique;
use oscillink_ports::{Delivery, PortError, QueueLimits, Task, TaskQueue, TaskTarget, Verdict};
use tokio::net::TcpListener;

use super::{Bench, project, trial};
use crate::conformance_trials;

/// Who the tokens are for.
pub const ACCOUNT: &str = "tasks@test.iam.gserviceaccount.com";
/// Shortest deadline of the service.
const MIN_DEADLINE: Duration = Duration::from_secs(15);

/// A worker pool's task endpoint.
pub struct Pool {
    pub address: String,
    _serving: Serving,
}

#[derive(Clone)]
struct Endpoint {
    target: Arc<dyn TaskTarget>,
    authorizations: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Pool {
    pub async fn start(
        target: Arc<dyn TaskTarget>,
        authorizations: Arc<std::sync::Mutex<Vec<String>>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let endpoint = Endpoint {
            target,
            authorizations,
        };
        let router = Router::new()
            .route("/tasks/{queue}", post(deliver))
            .with_state(endpoint);
        Self {
            address,
            _serving: Serving::spawn(async { axum::serve(listener, router).await.unwrap() }),
        }
    }
}

async fn deliver(
    State(endpoint): State<Endpoint>,
    Path(queue): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    endpoint
        .authorizations
        .lock()
        .unwrap()
        .extend(text("authorization"));
    let delivery = Delivery {
        queue: queue.parse().unwrap(),
        name: text("x-cloudtasks-taskname").unwrap(),
        body,
        retry_count: text("x-cloudtasks-taskretrycount")
            .unwrap()
            .parse()
            .unwrap(),
        traceparent: text("traceparent"),
    };
    match endpoint.target.deliver(delivery).await {
        Verdict::Acknowledge => StatusCode::NO_CONTENT,
        Verdict::Retry => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The Cloud Tasks emulator, without queues.
pub async fn start_tasks() -> TasksEmulator {
    TasksEmulator::start(Vec::new()).await.unwrap()
}

/// A configuration of queues that no other test has.
pub fn config(tasks: &TasksEmulator, pool: &str) -> TasksConfig {
    let workers = QueueName::ALL.iter().map(|queue| (*queue, pool.to_owned()));
    TasksConfig {
        location: "local".to_owned(),
        endpoint: Some(tasks.address().to_owned()),
        queue_prefix: format!("{}-", unique("q")),
        service_account: ACCOUNT.to_owned(),
        ..TasksConfig::new(&project(), workers.collect::<BTreeMap<_, _>>())
    }
}

/// Queues with their pool, kept as long as the harness.
struct Harness {
    tasks: TasksEmulator,
    pools: std::sync::Mutex<Vec<Pool>>,
}

#[async_trait]
impl QueueHarness for Harness {
    async fn start(&self, limits: QueueLimits, target: Arc<dyn TaskTarget>) -> Arc<dyn TaskQueue> {
        let pool = Pool::start(target, Arc::default()).await;
        let deadline = Duration::from_millis(limits.dispatch_deadline_ms.unsigned_abs());
        let queue = CloudTasksQueue::connect(TasksConfig {
            dispatch_deadline: deadline.max(MIN_DEADLINE),
            ..config(&self.tasks, &pool.address)
        });
        let queue = queue.await.unwrap();
        let all = QueueName::ALL.iter();
        let queues: Vec<_> = all.map(|name| (*name, limits)).collect();
        queue.ensure_queues(&queues).await.unwrap();
        self.pools.lock().unwrap().push(pool);
        Arc::new(queue)
    }
}

async fn fixture(check: &str) -> QueueFixture {
    QueueFixture {
        harness: Box::new(Harness {
            tasks: start_tasks().await,
            pools: std::sync::Mutex::default(),
        }),
        // A fifth of a second's deliveries, and at least ten.
        rate_burst: 10,
        min_deadline_ms: MIN_DEADLINE.as_millis() as i64,
        early_ms: match check {
            // Creation times are in whole seconds.
            "stats_tell_depth_and_age" => 1_000,
            // The deadline runs from the dispatch, which comes before the arrival.
            "a_delivery_past_its_deadline_failed" => 1_000,
            _ => 2,
        },
        keep: Box::new(()),
    }
}

pub fn trials(bench: &Arc<Bench>) -> Vec<Trial> {
    let mut trials = conformance_trials!(
        bench, queue,
        resource: |_: &Bench| Ok(()),
        fixture: async |(), check: &str| fixture(check).await,
        checks: [
            delivers_what_was_created,
            names_are_taken_while_and_after,
            each_task_has_its_own_result,
            tasks_follow_the_rules,
            waits_until_not_before,
            retries_with_growing_pauses,
            drops_a_task_after_its_attempts,
            a_delivery_past_its_deadline_failed,
            starts_no_more_than_the_rate,
            delivers_no_more_at_once_than_allowed,
            pauses_and_resumes,
            deletes_a_waiting_task,
            stats_tell_depth_and_age,
            a_burst_is_delivered_completely,
        ],
    );
    let nothing = |_: &Bench| Ok(());
    trials.extend([
        trial(
            bench,
            "queue::an_absent_service_is_unavailable",
            nothing,
            |()| an_absent_service_is_unavailable(),
        ),
        trial(
            bench,
            "queue::an_absent_queue_is_not_found",
            nothing,
            |()| an_absent_queue_is_not_found(),
        ),
        trial(
            bench,
            "queue::setting_up_again_changes_limits",
            nothing,
            |()| setting_up_again_changes_limits(),
        ),
    ]);
    trials
}

fn task(name: &str) -> Task {
    Task {
        queue: QueueName::Settle,
        name: name.to_owned(),
        body: Bytes::from_static(b"{}"),
        not_before: None,
        traceparent: None,
    }
}

/// Nobody listens: every call says so within its bounds, and may be tried again.
async fn an_absent_service_is_unavailable() {
    let tasks = start_tasks().await;
    let mut config = config(&tasks, "http://127.0.0.1:9");
    config.endpoint = Some("http://127.0.0.1:9".to_owned());
    config.tries.max_total = Duration::from_secs(2);
    let queue = CloudTasksQueue::connect(config).await.unwrap();
    let created = queue.create(vec![task("a"), task("b")]).await;
    assert!(
        created
            .iter()
            .all(|r| matches!(r, Err(PortError::Unavailable { .. }))),
        "{created:?}"
    );
    let stats = queue.stats(QueueName::Settle).await;
    assert!(
        matches!(stats, Err(PortError::Unavailable { .. })),
        "{stats:?}"
    );
}

/// A queue that was not set up is told from a service that is away.
async fn an_absent_queue_is_not_found() {
    let tasks = start_tasks().await;
    let queue = CloudTasksQueue::connect(config(&tasks, "http://127.0.0.1:9"))
        .await
        .unwrap();
    let created = queue.create(vec![task("a")]).await.remove(0);
    assert!(
        matches!(created, Err(PortError::NotFound { .. })),
        "{created:?}"
    );
    queue.delete(QueueName::Settle, "a").await.unwrap();
}

/// Set-up can be repeated, and its last word counts.
async fn setting_up_again_changes_limits() {
    let tasks = start_tasks().await;
    let target = Target::acknowledging();
    target.hold();
    let pool = Pool::start(target.clone(), Arc::default()).await;
    let queue = CloudTasksQueue::connect(config(&tasks, &pool.address))
        .await
        .unwrap();
    for max_concurrent in [10, 1] {
        let limits = QueueLimits {
            max_concurrent,
            ..QueueLimits::default()
        };
        queue
            .ensure_queues(&[(QueueName::Settle, limits)])
            .await
            .unwrap();
    }
    let created = queue.create(vec![task("a"), task("b")]).await;
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    target.wait_for_deliveries(1).await;
    assert_eq!(queue.stats(QueueName::Settle).await.unwrap().running, 1);
    target.release();
    target.wait_for_deliveries(2).await;
    assert_eq!(target.most_at_once(), 1);
}
