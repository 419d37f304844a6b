//! Queue and bus whose hand-overs are spans of the traces that the messages belong to, so that what
//! takes a message continues from its hand-over.

use std::sync::Arc;

use async_trait::async_trait;
use oscillink_domain::event::Topic;
use oscillink_domain::{Event, QueueName};
use oscillink_ports::{
    Bus, EventHandler, PortError, Publication, QueueLimits, QueueStats, Task, TaskQueue,
};
use oscillink_telemetry::{TraceParent, current_traceparent, span};
use tracing::Span;

/// A queue with spans.
pub struct TracedQueue(pub Arc<dyn TaskQueue>);

/// A bus with spans.
pub struct TracedBus(pub Arc<dyn Bus>);

/// Spans of hand-overs under way; dropping them ends them.
#[derive(Default)]
struct Sending(Vec<Span>);

impl Sending {
    /// Begins the hand-over of a message, which from now on continues from it, if its trace is
    /// recorded.
    fn begin(&mut self, destination: &str, id: &str, traceparent: &mut Option<String>) {
        if !is_sampled(traceparent.as_deref()) {
            return;
        }
        let span = span::send(destination, id, traceparent.as_deref());
        *traceparent = span.in_scope(|| current_traceparent(traceparent.as_deref()));
        self.0.push(span);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        for span in &self.0 {
            // A span lasts until it is left for the last time.
            span.in_scope(|| {});
        }
    }
}

fn is_sampled(traceparent: Option<&str>) -> bool {
    let context = traceparent.and_then(TraceParent::parse);
    context.is_some_and(|context| context.sampled)
}

#[async_trait]
impl TaskQueue for TracedQueue {
    async fn create(&self, mut tasks: Vec<Task>) -> Vec<Result<(), PortError>> {
        let mut sending = Sending::default();
        for task in &mut tasks {
            sending.begin(task.queue.as_str(), &task.name, &mut task.traceparent);
        }
        self.0.create(tasks).await
    }

    async fn delete(&self, queue: QueueName, name: &str) -> Result<(), PortError> {
        self.0.delete(queue, name).await
    }

    async fn pause(&self, queue: QueueName) -> Result<(), PortError> {
        self.0.pause(queue).await
    }

    async fn resume(&self, queue: QueueName) -> Result<(), PortError> {
        self.0.resume(queue).await
    }

    async fn limits(&self, queue: QueueName) -> Result<QueueLimits, PortError> {
        self.0.limits(queue).await
    }

    async fn set_limits(&self, queue: QueueName, limits: QueueLimits) -> Result<(), PortError> {
        self.0.set_limits(queue, limits).await
    }

    async fn stats(&self, queue: QueueName) -> Result<QueueStats, PortError> {
        self.0.stats(queue).await
    }
}

#[async_trait]
impl Bus for TracedBus {
    async fn publish(
        &self,
        topic: Topic,
        ordering_key: &str,
        event: &Event,
    ) -> Result<(), PortError> {
        self.0.publish(topic, ordering_key, event).await
    }

    fn may_be_heard(&self, topic: Topic) -> bool {
        self.0.may_be_heard(topic)
    }

    async fn publish_all(&self, publications: &[Publication]) -> Vec<Result<(), PortError>> {
        let sampled = |publication: &Publication| {
            is_sampled(publication.event.metadata.traceparent.as_deref())
        };
        if !publications.iter().any(sampled) {
            return self.0.publish_all(publications).await;
        }
        let mut publications = publications.to_vec();
        let mut sending = Sending::default();
        for Publication { topic, event, .. } in &mut publications {
            let id = event.event_id.as_str();
            sending.begin(topic.as_str(), id, &mut event.metadata.traceparent);
        }
        self.0.publish_all(&publications).await
    }

    async fn subscribe(
        &self,
        topic: Topic,
        subscription: &str,
        ephemeral: bool,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        let bus = &self.0;
        bus.subscribe(topic, subscription, ephemeral, handler).await
    }

    async fn subscribe_dead_letters(
        &self,
        topic: Topic,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        self.0.subscribe_dead_letters(topic, handler).await
    }

    async fn check(&self) -> Result<(), PortError> {
        self.0.check().await
    }
}
