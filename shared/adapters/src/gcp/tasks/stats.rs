//! What can be seen of a queue by listing its tasks.
//!
//! Listing goes over gRPC: over REST, Google's client asks for it in a way that the service takes and
//! the emulator does not.

use gcloud_sdk::google::cloud::tasks::v2::cloud_tasks_client::CloudTasksClient;
use gcloud_sdk::google::cloud::tasks::v2::task::View;
use gcloud_sdk::google::cloud::tasks::v2::{ListTasksRequest, ListTasksResponse, Task};
use gcloud_sdk::tonic::{Request, Status};
use gcloud_sdk::{GoogleApi, GoogleAuthMiddleware};
use google_cloud_auth::credentials::anonymous;
use google_cloud_tasks_v2::model::queue::State;
use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::{PortError, QueueStats};
use tokio::sync::OnceCell;

use super::Inner;
use crate::gcp::config::TasksConfig;
use crate::gcp::grpc::{is_transient, port_error};
use crate::gcp::retry::Trying;

const SERVICE: &str = "https://cloudtasks.googleapis.com";
/// Tasks of a page; the service's limit.
const PAGE: i32 = 1_000;
/// Pages read at the most.
const MAX_PAGES: usize = 10;

type Api = GoogleApi<CloudTasksClient<GoogleAuthMiddleware>>;

/// Lists tasks; connects when first asked.
#[derive(Default)]
pub(super) struct Listing(OnceCell<Api>);

impl Listing {
    async fn api(&self, config: &TasksConfig) -> Result<&Api, PortError> {
        let connect = || async {
            let nobody = || anonymous::Builder::new().build();
            match &config.endpoint {
                Some(endpoint) => {
                    let make = CloudTasksClient::new;
                    GoogleApi::from_function_with_credentials(make, endpoint, None, nobody()).await
                }
                None => GoogleApi::from_function(CloudTasksClient::new, SERVICE, None).await,
            }
        };
        let connected = self.0.get_or_try_init(connect).await;
        connected.map_err(|error| PortError::Unavailable {
            detail: format!("Cloud Tasks: {error}"),
        })
    }

    async fn page(
        &self,
        config: &TasksConfig,
        message: ListTasksRequest,
    ) -> Result<ListTasksResponse, PortError> {
        let mut trying = Trying::new(config.tries);
        loop {
            let ask = async {
                let mut request = Request::new(message.clone());
                request.set_timeout(config.call_timeout);
                let mut client = self.api(config).await?.get();
                Ok(client.list_tasks(request).await)
            };
            let answer: Result<_, PortError> = tokio::time::timeout(config.call_timeout, ask)
                .await
                .unwrap_or_else(|_| Ok(Err(Status::deadline_exceeded("no answer in time"))));
            match answer {
                Ok(Ok(page)) => return Ok(page.into_inner()),
                Ok(Err(status)) if is_transient(&status) && trying.again().await => {}
                Ok(Err(status)) => return Err(port_error("list tasks", &status)),
                Err(error) if error.is_transient() && trying.again().await => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Counts the tasks of `queue`, up to ten thousand.
pub(super) async fn of(inner: &Inner, queue: QueueName) -> Result<QueueStats, PortError> {
    let name = inner.queue_name(queue);
    let call = inner.bounded(inner.client.get_queue().set_name(&name));
    let found = inner.run("get queue", call.send()).await?;
    let mut stats = QueueStats {
        paused: found.state == State::Paused,
        ..QueueStats::default()
    };
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let message = ListTasksRequest {
            parent: name.clone(),
            response_view: View::Basic.into(),
            page_size: PAGE,
            page_token,
        };
        let page = inner.listing.page(&inner.config, message).await?;
        page.tasks.iter().for_each(|task| add(&mut stats, task));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(stats)
}

fn add(stats: &mut QueueStats, task: &Task) {
    stats.depth += 1;
    // The counts would not tell: responses that ask for a retry are not counted.
    let last = task.last_attempt.as_ref();
    stats.running += u64::from(last.is_some_and(|attempt| attempt.response_time.is_none()));
    let created = task.create_time.as_ref().map(|at| {
        let ms = at.seconds.saturating_mul(1_000) + i64::from(at.nanos) / 1_000_000;
        Timestamp::from_millis(ms)
    });
    stats.oldest = match (stats.oldest, created) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    };
}
