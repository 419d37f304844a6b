//! Task queues of Cloud Tasks: each task is an HTTP request with a token to the queue's worker pool.
//!
//! The service delivers, retries, paces and pauses; its queues are set up from
//! `infra/queues`. A task's name makes creating it safe to repeat, which is why it is retried here.

mod queues;
mod request;
mod stats;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_tasks_v2::client::CloudTasks;
use oscillink_domain::QueueName;
use oscillink_ports::{PortError, QueueLimits, QueueStats, Task, TaskQueue};
use tokio::sync::Semaphore;

pub use queues::queue_limits;

use super::config::TasksConfig;
use super::error::{GcpError, connect_error};
use super::gax::{self, code, port_error};

/// The task queues of a project and location. Cheap to clone.
#[derive(Clone)]
pub struct CloudTasksQueue {
    inner: Arc<Inner>,
}

struct Inner {
    client: CloudTasks,
    listing: stats::Listing,
    config: TasksConfig,
    slots: Semaphore,
}

impl CloudTasksQueue {
    /// A client of the service. Nothing is sent before the first call.
    ///
    /// # Errors
    /// There are no credentials.
    pub async fn connect(config: TasksConfig) -> Result<Self, GcpError> {
        let mut builder = CloudTasks::builder();
        if let Some(endpoint) = &config.endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_credentials(anonymous::Builder::new().build());
        }
        let client = builder
            .build()
            .await
            .map_err(connect_error("Cloud Tasks"))?;
        Ok(Self {
            inner: Arc::new(Inner {
                slots: Semaphore::new(config.max_concurrent.max(1)),
                listing: stats::Listing::default(),
                client,
                config,
            }),
        })
    }
}

impl Inner {
    fn queue_name(&self, queue: QueueName) -> String {
        let config = &self.config;
        format!(
            "projects/{}/locations/{}/queues/{}{queue}",
            config.project, config.location, config.queue_prefix
        )
    }

    /// Bounds of a call that is safe to repeat.
    fn bounded<B: RequestOptionsBuilder>(&self, call: B) -> B {
        gax::bounded(call, self.config.tries, self.config.call_timeout)
    }

    /// Runs one call when there is a free place for it.
    async fn run<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let slot = self.slots.acquire().await;
        let _slot = slot.map_err(|closed| Failure(None, PortError::unavailable(closed)))?;
        // The client bounds each try; this bounds what it does around them.
        let limit = self.config.tries.max_total + self.config.call_timeout;
        let answer = tokio::time::timeout(limit, call).await;
        let answer = answer.map_err(|_| {
            let detail = format!("{what}: no answer within {limit:?}");
            Failure(None, PortError::Unavailable { detail })
        })?;
        answer.map_err(|error| Failure(code(&error), port_error(what, &error)))
    }

    async fn create(&self, task: Task) -> Result<(), PortError> {
        let parent = self.queue_name(task.queue);
        let request = request::task(&self.config, &parent, task)?;
        let call = self
            .client
            .create_task()
            .set_parent(parent)
            .set_task(request);
        self.run("create task", self.bounded(call).send()).await?;
        Ok(())
    }
}

/// A failed call: the service's code, and what it means.
struct Failure(Option<Code>, PortError);

impl From<Failure> for PortError {
    fn from(failure: Failure) -> Self {
        failure.1
    }
}

#[async_trait]
impl TaskQueue for CloudTasksQueue {
    async fn create(&self, tasks: Vec<Task>) -> Vec<Result<(), PortError>> {
        let inner = &self.inner;
        stream::iter(tasks.into_iter().map(|task| inner.create(task)))
            .buffered(inner.config.max_concurrent.max(1))
            .collect()
            .await
    }

    async fn delete(&self, queue: QueueName, name: &str) -> Result<(), PortError> {
        request::check_name(name)?;
        let inner = &self.inner;
        let name = format!("{}/tasks/{name}", inner.queue_name(queue));
        let call = inner.bounded(inner.client.delete_task().set_name(name));
        match inner.run("delete task", call.send()).await {
            Ok(()) | Err(Failure(Some(Code::NotFound), _)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn pause(&self, queue: QueueName) -> Result<(), PortError> {
        let inner = &self.inner;
        let call = inner.client.pause_queue().set_name(inner.queue_name(queue));
        inner.run("pause queue", inner.bounded(call).send()).await?;
        Ok(())
    }

    async fn resume(&self, queue: QueueName) -> Result<(), PortError> {
        let inner = &self.inner;
        let call = inner
            .client
            .resume_queue()
            .set_name(inner.queue_name(queue));
        inner
            .run("resume queue", inner.bounded(call).send())
            .await?;
        Ok(())
    }

    async fn limits(&self, queue: QueueName) -> Result<QueueLimits, PortError> {
        queues::get(&self.inner, queue)
            .await
            .map_err(PortError::from)
    }

    async fn set_limits(&self, queue: QueueName, limits: QueueLimits) -> Result<(), PortError> {
        let set = queues::set(&self.inner, queue, limits).await;
        set.map_err(PortError::from)
    }

    /// The service has no such numbers in this API: tasks are listed and counted, up to a bound,
    /// which costs a call per thousand. Depth and age are then lower bounds. For monitoring use
    /// the service's own metrics.
    async fn stats(&self, queue: QueueName) -> Result<QueueStats, PortError> {
        stats::of(&self.inner, queue).await
    }
}
